//! What the host's callers, its swarm and its connections share.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use async_channel::Sender;
use futures_channel::mpsc;
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use ipfs_traits::{
    Error, Inbound, Multiaddr, NetworkStats, PeerId, Protection, Result,
    network::{EventHub, Protocol},
};
use libp2p::{StreamProtocol, swarm::ConnectionId};

use super::{
    CLOSED,
    handler::Command,
    traffic::{Counter, Counters},
};

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) events: EventHub,
    state: Mutex<State>,
    /// Grows with each change of the protocols.
    version: AtomicU64,
    refused: AtomicU64,
    /// Streams of all peers that they opened and that are alive.
    streams: Arc<AtomicUsize>,
    max_streams: usize,
    traffic: Arc<Counter>,
}

#[derive(Debug, Default)]
struct State {
    acceptors: BTreeMap<Protocol, Arc<Acceptor>>,
    /// The names of `acceptors`, in a form that is cheap to hand out.
    protocols: Arc<[StreamProtocol]>,
    peers: HashMap<PeerId, Peer>,
    addresses: Vec<Multiaddr>,
    /// What went by each protocol: those that are accepted, and those that were opened.
    traffic: BTreeMap<Protocol, Arc<Counter>>,
    closed: bool,
}

/// What is known of a peer that is connected or protected.
#[derive(Debug, Default)]
struct Peer {
    /// The oldest first: that is the one both sides keep when they dialed each other at once.
    connections: Vec<(ConnectionId, Sender<Command>)>,
    /// How many protect it.
    protected: Arc<AtomicUsize>,
    traffic: Arc<Counter>,
}

/// Takes the streams of one call of `accept`.
#[derive(Debug)]
struct Acceptor {
    /// Never longer than the permits of all peers.
    inbound: mpsc::UnboundedSender<Inbound>,
    max_per_peer: usize,
    alive: Arc<Alive>,
}

/// The streams of an acceptor that are alive, by peer.
#[derive(Debug, Default)]
struct Alive(Mutex<HashMap<PeerId, usize>>);

/// Counts a stream among those of its peer while it lives.
#[derive(Debug)]
struct Permit {
    peer: PeerId,
    alive: Arc<Alive>,
}

/// Counts a stream among all while it lives.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

/// What a stream has that a peer opened.
#[derive(Debug)]
pub(super) struct Permits(#[expect(dead_code, reason = "held")] (Permit, Place));

/// A stream that is taken: its permits and counters, what it speaks, and where it goes.
pub(super) struct Admission {
    pub(super) permits: Permits,
    pub(super) counters: Counters,
    pub(super) protocol: Protocol,
    pub(super) to: mpsc::UnboundedSender<Inbound>,
}

/// Protocols whose traffic is counted each by itself: as many as a node has, and some that were
/// only tried.
const MAX_PROTOCOLS: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Permit {
    fn take(peer: PeerId, alive: &Arc<Alive>, most: usize) -> Option<Self> {
        let mut counts = lock(&alive.0);
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { peer, alive: alive.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.alive.0);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

impl Place {
    fn take(all: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(all.clone());
        (all.fetch_add(1, Ordering::SeqCst) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Registry {
    /// Of a network whose peers may have so many streams in all.
    pub(super) fn new(max_streams: usize) -> Self {
        Self {
            events: EventHub::default(),
            state: Mutex::default(),
            version: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            streams: Arc::default(),
            max_streams,
            traffic: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The protocols that are accepted, and which change this is.
    pub(super) fn protocols(&self) -> (Arc<[StreamProtocol]>, u64) {
        let state = self.lock();
        (state.protocols.clone(), self.version.load(Ordering::SeqCst))
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    pub(super) fn accept(
        self: &Arc<Self>,
        protocols: &[Protocol],
        max_per_peer: usize,
    ) -> Result<BoxStream<'static, Inbound>> {
        let mut state = self.lock();
        if state.closed {
            return Err(CLOSED);
        }
        if let Some(taken) = protocols.iter().find(|name| state.acceptors.contains_key(name)) {
            return Err(Error::InUse(format!("protocol {taken}").into()));
        }
        let (inbound, accepted) = mpsc::unbounded();
        let acceptor = Arc::new(Acceptor { inbound, max_per_peer, alive: Arc::default() });
        for protocol in protocols {
            state.acceptors.insert(protocol.clone(), acceptor.clone());
        }
        self.protocols_changed(&mut state);
        let accepting =
            Accepting { accepted, registry: self.clone(), protocols: protocols.to_vec() };
        Ok(accepting.boxed())
    }

    /// Lets every connection look at the protocols again.
    fn protocols_changed(&self, state: &mut State) {
        let name = |name: &Protocol| StreamProtocol::try_from_owned(name.as_str().to_owned()).ok();
        state.protocols = state.acceptors.keys().filter_map(name).collect();
        self.version.fetch_add(1, Ordering::SeqCst);
        state.peers.values().for_each(Peer::wake);
    }

    /// A place for a new stream of `peer`, and where it goes; otherwise it is counted as refused.
    pub(super) fn admit(&self, peer: PeerId, protocol: &str) -> Option<Admission> {
        let protocol = Protocol::new(protocol).ok()?;
        // It may have gone while the stream was negotiated.
        let acceptor = self.lock().acceptors.get(&protocol)?.clone();
        let permit = Permit::take(peer, &acceptor.alive, acceptor.max_per_peer);
        let place = Place::take(&self.streams, self.max_streams);
        let (Some(permit), Some(place)) = (permit, place) else {
            self.refused.fetch_add(1, Ordering::SeqCst);
            tracing::debug!(%peer, %protocol, "a stream beyond the bound is reset");
            return None;
        };
        let (permits, counters) = (Permits((permit, place)), self.counters(peer, &protocol));
        Some(Admission { permits, counters, protocol, to: acceptor.inbound.clone() })
    }

    /// Where the bytes of a stream are counted.
    pub(super) fn counters(&self, peer: PeerId, protocol: &Protocol) -> Counters {
        let mut state = self.lock();
        let of_peer = state.peers.get(&peer).map(|peer| peer.traffic.clone()).unwrap_or_default();
        let room = state.traffic.len() < MAX_PROTOCOLS || state.traffic.contains_key(protocol);
        let of_protocol = match room {
            true => state.traffic.entry(protocol.clone()).or_default().clone(),
            false => Arc::default(),
        };
        Counters([self.traffic.clone(), of_protocol, of_peer])
    }

    /// A connection is there: it can be sent commands from now on, and the peer is told of.
    pub(super) fn connected(
        &self,
        peer: PeerId,
        id: ConnectionId,
        commands: Sender<Command>,
    ) -> Arc<AtomicUsize> {
        let mut state = self.lock();
        let known = state.peers.entry(peer).or_default();
        known.connections.push((id, commands));
        self.events.connected(peer);
        known.protected.clone()
    }

    pub(super) fn disconnected(&self, peer: PeerId, id: ConnectionId) {
        let mut state = self.lock();
        let Some(known) = state.peers.get_mut(&peer) else { return };
        known.connections.retain(|(other, _)| *other != id);
        if known.connections.is_empty() {
            self.events.gone(peer);
        }
        state.forget(peer);
    }

    pub(super) fn connections(&self, peer: PeerId) -> Result<Vec<Sender<Command>>> {
        let state = self.lock();
        if state.closed {
            return Err(CLOSED);
        }
        let connections = state.peers.get(&peer).map(|peer| peer.connections.iter());
        Ok(connections.into_iter().flatten().map(|(_, commands)| commands.clone()).collect())
    }

    pub(super) fn is_connected(&self, peer: PeerId) -> Result<bool> {
        Ok(!self.connections(peer)?.is_empty())
    }

    pub(super) fn protect(self: &Arc<Self>, peer: PeerId) -> Protection {
        self.change_protection(peer, |count| count.fetch_add(1, Ordering::SeqCst));
        let registry = self.clone();
        Protection::new(move || {
            registry.change_protection(peer, |count| count.fetch_sub(1, Ordering::SeqCst));
        })
    }

    fn change_protection(&self, peer: PeerId, change: impl FnOnce(&AtomicUsize) -> usize) {
        let mut state = self.lock();
        let known = state.peers.entry(peer).or_default();
        change(&known.protected);
        known.wake();
        state.forget(peer);
    }

    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        self.lock().addresses.clone()
    }

    pub(super) fn set_addresses(&self, addresses: Vec<Multiaddr>) {
        self.lock().addresses = addresses;
    }

    pub(super) fn stats(&self) -> NetworkStats {
        let state = self.lock();
        let mut stats = NetworkStats::default();
        stats.refused_streams = self.refused.load(Ordering::SeqCst);
        stats.traffic = self.traffic.read();
        let protocols = state.traffic.iter();
        stats.protocols = protocols.map(|(name, traffic)| (name.clone(), traffic.read())).collect();
        let connected = state.peers.iter().filter(|(_, peer)| !peer.connections.is_empty());
        stats.peers = connected.map(|(id, peer)| (*id, peer.traffic.read())).collect();
        stats
    }

    /// Ends what waits here; everything later gives an error.
    pub(super) fn close(&self) {
        let ended = {
            let mut state = self.lock();
            state.closed = true;
            state.addresses.clear();
            state.protocols = Arc::default();
            std::mem::take(&mut state.acceptors)
        };
        // The streams of those who accept end when their senders go.
        ended.values().for_each(|acceptor| acceptor.inbound.close_channel());
        self.events.close();
    }
}

impl State {
    /// Forgets a peer of whom there is nothing to know.
    fn forget(&mut self, peer: PeerId) {
        let idle = |known: &Peer| {
            known.connections.is_empty() && known.protected.load(Ordering::SeqCst) == 0
        };
        if self.peers.get(&peer).is_some_and(idle) {
            self.peers.remove(&peer);
        }
    }
}

impl Peer {
    /// Has the connections looked at. One whose queue is full will be anyway.
    fn wake(&self) {
        for (_, commands) in &self.connections {
            let _ = commands.try_send(Command::Wake);
        }
    }
}

/// The streams that are accepted; peers are no longer told of the protocols when it is dropped.
struct Accepting {
    accepted: mpsc::UnboundedReceiver<Inbound>,
    registry: Arc<Registry>,
    protocols: Vec<Protocol>,
}

impl Stream for Accepting {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        Pin::new(&mut self.accepted).poll_next(cx)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        for protocol in &self.protocols {
            state.acceptors.remove(protocol);
        }
        self.registry.protocols_changed(&mut state);
    }
}
