//! Any number of peers in one process, joined without sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures_channel::mpsc;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use super::pipe::{self, Cutter, End};
use crate::{
    Error, Inbound, Multiaddr, Network, NetworkStats, PeerId, PeerInfo, Protection, Result,
    network::{Event, EventHub, Protocol, Reachability, Stream},
};

/// Where the networks of one process meet. Clones are the same hub.
///
/// ```
/// use futures::{executor::block_on, AsyncReadExt, AsyncWriteExt, StreamExt};
/// use ipfs_traits::{memory::{peer_id, MemoryHub}, network::Protocol, Network};
///
/// # block_on(async {
/// let hub = MemoryHub::new();
/// let (a, b) = (hub.join(peer_id(1))?, hub.join(peer_id(2))?);
/// let hello = [Protocol::from_static("/hello/1")];
/// let mut guests = b.accept(&hello, 8)?;
///
/// a.connect(&peer_id(2).into()).await?;
/// let mut stream = a.open(peer_id(2), &hello).await?;
/// stream.write_all(b"hello").await?;
/// stream.close().await?;
///
/// let mut guest = guests.next().await.expect("a is here");
/// let mut said = String::new();
/// guest.stream.read_to_string(&mut said).await?;
/// assert_eq!((guest.peer, &said[..]), (peer_id(1), "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryHub(Arc<Mutex<Peers>>);

#[derive(Debug, Default)]
struct Peers {
    peers: BTreeMap<PeerId, Arc<Node>>,
    connections: BTreeSet<(PeerId, PeerId)>,
    streams: Vec<((PeerId, PeerId), Cutter)>,
    joined: u64,
}

#[derive(Debug)]
struct Node {
    id: PeerId,
    address: Multiaddr,
    events: EventHub,
    acceptors: Mutex<BTreeMap<Protocol, Arc<Acceptor>>>,
    refused: AtomicU64,
}

/// Takes the streams of a call of `accept`.
#[derive(Debug)]
struct Acceptor {
    inbound: mpsc::UnboundedSender<Inbound>,
    max_per_peer: usize,
    alive: Arc<Mutex<BTreeMap<PeerId, usize>>>,
}

/// Counts an inbound stream as long as it lives.
#[derive(Debug)]
pub(super) struct Permit {
    peer: PeerId,
    alive: Arc<Mutex<BTreeMap<PeerId, usize>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut alive = lock(&self.alive);
        if let Some(count) = alive.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                alive.remove(&self.peer);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, the same from both of its sides.
fn pair(a: PeerId, b: PeerId) -> (PeerId, PeerId) {
    (a.min(b), a.max(b))
}

impl MemoryHub {
    /// A hub without peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The network of a new peer.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when the peer is here already.
    pub fn join(&self, id: PeerId) -> Result<MemoryNetwork> {
        let mut peers = self.lock();
        if peers.peers.contains_key(&id) {
            return Err(Error::InUse(format!("peer {id}").into()));
        }
        peers.joined += 1;
        let node = Arc::new(Node {
            id,
            address: Multiaddr::empty().with(multiaddr::Protocol::Memory(peers.joined)),
            events: EventHub::new(),
            acceptors: Mutex::default(),
            refused: AtomicU64::new(0),
        });
        node.events.reachability(Reachability::Public);
        peers.peers.insert(id, node.clone());
        Ok(MemoryNetwork { hub: self.clone(), node })
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        lock(&self.0)
    }

    /// Cuts a connection: its streams are reset, and both sides are told.
    fn cut(&self, a: PeerId, b: PeerId) {
        let mut peers = self.lock();
        let connection = pair(a, b);
        if !peers.connections.remove(&connection) {
            return;
        }
        let streams = std::mem::take(&mut peers.streams);
        let (gone, kept) = streams.into_iter().partition(|(of, _)| *of == connection);
        peers.streams = kept;
        let ends = [peers.peers.get(&a).cloned(), peers.peers.get(&b).cloned()];
        drop(peers);
        let gone: Vec<(_, Cutter)> = gone;
        gone.iter().for_each(|(_, cutter)| cutter.cut());
        for (node, other) in ends.into_iter().zip([b, a]) {
            if let Some(node) = node {
                node.events.gone(other);
            }
        }
    }
}

impl Node {
    fn protocols(&self) -> Vec<Protocol> {
        lock(&self.acceptors).keys().cloned().collect()
    }

    /// Hands the far end of a stream to whoever accepts the protocol.
    fn offer(&self, from: PeerId, protocol: &Protocol) -> Result<End> {
        let acceptor = lock(&self.acceptors).get(protocol).cloned();
        let acceptor = acceptor.ok_or_else(|| Error::unsupported(protocol.to_string()))?;
        let permit = acceptor.admit(from).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        let (near, far) = pipe::pipe(permit);
        let stream = Stream::new(protocol.clone(), far);
        // A failure means that the acceptor has just gone, and the stream is reset by its drop.
        let _ = acceptor.inbound.unbounded_send(Inbound { peer: from, stream });
        Ok(near)
    }
}

impl Acceptor {
    fn admit(&self, peer: PeerId) -> Result<Permit> {
        let mut alive = lock(&self.alive);
        let count = alive.entry(peer).or_default();
        if *count >= self.max_per_peer {
            return Err(Error::limit("streams of a peer", self.max_per_peer, *count + 1));
        }
        *count += 1;
        Ok(Permit { peer, alive: self.alive.clone() })
    }
}

/// The network of one peer of a [`MemoryHub`]. Dropping it, or closing it, takes the peer away.
///
/// The queue of accepted streams is bounded for each peer, and peers are in the same process: there
/// is no other bound.
#[derive(Debug)]
pub struct MemoryNetwork {
    hub: MemoryHub,
    node: Arc<Node>,
}

impl MemoryNetwork {
    /// Tells the connected peers which protocols are accepted here now.
    fn tell_protocols(hub: &MemoryHub, node: &Node) {
        let peers = hub.lock();
        let neighbours = peers.connections.iter().filter_map(|(a, b)| match node.id {
            id if id == *a => peers.peers.get(b),
            id if id == *b => peers.peers.get(a),
            _ => None,
        });
        for neighbour in neighbours {
            neighbour.events.protocols(node.id, node.protocols());
        }
    }

    fn leave(&self) {
        let neighbours: Vec<(PeerId, PeerId)> =
            self.hub.lock().connections.iter().copied().collect();
        for (a, b) in
            neighbours.into_iter().filter(|(a, b)| self.node.id == *a || self.node.id == *b)
        {
            self.hub.cut(a, b);
        }
        self.hub.lock().peers.remove(&self.node.id);
        lock(&self.node.acceptors).clear();
        self.node.events.close();
    }
}

impl Drop for MemoryNetwork {
    fn drop(&mut self) {
        self.leave();
    }
}

#[async_trait]
impl Network for MemoryNetwork {
    fn local_peer(&self) -> PeerId {
        self.node.id
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        vec![self.node.address.clone()]
    }

    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        let local = self.node.id;
        let mut peers = self.hub.lock();
        if !peers.peers.contains_key(&local) {
            return Err(Error::Closed("the network"));
        }
        let other = peers.peers.get(&peer.id).filter(|other| other.id != local).cloned();
        let other = other.ok_or(Error::Unreachable(peer.id, None))?;
        if peers.connections.insert(pair(local, other.id)) {
            self.node.events.connected(other.id);
            other.events.connected(local);
            for (here, there) in [(&self.node, &other), (&other, &self.node)] {
                here.events.addresses(there.id, vec![there.address.clone()]);
                here.events.protocols(there.id, there.protocols());
            }
        }
        Ok(())
    }

    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.hub.cut(self.node.id, peer);
        Ok(())
    }

    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        let mut peers = self.hub.lock();
        let connection = pair(self.node.id, peer);
        let connected = peers.connections.contains(&connection);
        let other = peers.peers.get(&peer).filter(|_| connected).cloned();
        let other = other.ok_or(Error::Unreachable(peer, None))?;
        let spoken = other.protocols();
        let protocol = protocols
            .iter()
            .find(|protocol| spoken.contains(protocol))
            .ok_or_else(|| Error::unsupported(format!("{protocols:?} at {peer}")))?;
        let end = other.offer(self.node.id, protocol)?;
        peers.streams.retain(|(_, cutter)| !cutter.is_stale());
        peers.streams.push((connection, end.cutter()));
        Ok(Stream::new(protocol.clone(), end))
    }

    fn accept(
        &self,
        protocols: &[Protocol],
        max_per_peer: usize,
    ) -> Result<BoxStream<'static, Inbound>> {
        let (inbound, streams) = mpsc::unbounded();
        let acceptor = Arc::new(Acceptor { inbound, max_per_peer, alive: Arc::default() });
        let mut acceptors = lock(&self.node.acceptors);
        if let Some(taken) = protocols.iter().find(|protocol| acceptors.contains_key(protocol)) {
            return Err(Error::InUse(taken.to_string().into()));
        }
        for protocol in protocols {
            acceptors.insert(protocol.clone(), acceptor.clone());
        }
        drop(acceptors);
        Self::tell_protocols(&self.hub, &self.node);
        let (hub, node) = (self.hub.clone(), self.node.clone());
        // Weak, so that the stream ends when the network closes and forgets its acceptors.
        let acceptor = Arc::downgrade(&acceptor);
        let end = Protection::new(move || {
            lock(&node.acceptors).retain(|_, other| Arc::as_ptr(other) != acceptor.as_ptr());
            Self::tell_protocols(&hub, &node);
        });
        Ok(streams
            .map(move |inbound| {
                let _ = &end;
                inbound
            })
            .boxed())
    }

    fn events(&self) -> BoxStream<'static, Event> {
        self.node.events.subscribe()
    }

    fn protect(&self, _: PeerId, _: &'static str, _: u32) -> Protection {
        // Connections in memory cost nothing, and none is ever given up.
        Protection::none()
    }

    fn stats(&self) -> NetworkStats {
        let refused_streams = self.node.refused.load(Ordering::Relaxed);
        NetworkStats { refused_streams, ..NetworkStats::default() }
    }

    async fn close(&self) -> Result<()> {
        self.leave();
        Ok(())
    }
}
