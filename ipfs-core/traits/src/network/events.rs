//! What happens to peers, told to any number of readers without gaps and without endless queues.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures_core::stream::{BoxStream, Stream};
use futures_util::StreamExt;

use super::Protocol;
use crate::{Multiaddr, PeerId};

/// What happened to a peer, or to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// All that is now. The first event, and again for a reader that fell behind: it takes the
    /// place of everything told before.
    Snapshot(Snapshot),
    /// The first connection to this peer came to be.
    Connected(PeerId),
    /// The protocols that this peer says it speaks: all of them, in place of those told before.
    Protocols(PeerId, Arc<[Protocol]>),
    /// Where this peer says it can be reached: all its addresses, in place of those told before. It
    /// may say anything; told before its protocols, where both change at once.
    Addresses(PeerId, Arc<[Multiaddr]>),
    /// The last connection to this peer is gone.
    Gone(PeerId),
    /// Whether others can reach this node has changed.
    Reachability(Reachability),
}

/// All that a network knows of its peers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The connected peers, each once.
    pub peers: Vec<PeerState>,
    /// Whether others can reach this node.
    pub reachability: Reachability,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerState {
    /// Who.
    pub peer: PeerId,
    /// The protocols that it says it speaks, once it has said so.
    pub protocols: Option<Arc<[Protocol]>>,
    /// Where it says it can be reached; empty until it has said so.
    pub addresses: Arc<[Multiaddr]>,
}

/// Whether others can reach this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// Nothing says either way yet.
    #[default]
    Unknown,
    /// Anyone can.
    Public,
    /// Only those that this node connects to, or that are near.
    Private,
}

/// Keeps what is true of the peers, and tells readers of it: the event half of a
/// [`Network`](super::Network), for those who write one.
///
/// ```
/// use futures::{executor::block_on, StreamExt};
/// use ipfs_traits::{memory, network::{Event, EventHub}};
///
/// # block_on(async {
/// let hub = EventHub::new();
/// let mut events = hub.subscribe();
/// assert!(matches!(events.next().await, Some(Event::Snapshot(now)) if now.peers.is_empty()));
/// let peer = memory::peer_id(1);
/// hub.connected(peer);
/// hub.connected(peer); // a second connection is no news
/// hub.gone(peer);
/// hub.close();
/// assert_eq!(events.next().await, Some(Event::Connected(peer)));
/// assert_eq!(events.next().await, Some(Event::Gone(peer)));
/// assert_eq!(events.next().await, None);
/// # });
/// ```
#[derive(Debug, Default)]
pub struct EventHub(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<PeerId, Known>,
    reachability: Reachability,
    readers: Vec<Weak<Mutex<Reader>>>,
    closed: bool,
}

/// What a connected peer has said.
#[derive(Debug, Default)]
struct Known {
    protocols: Option<Arc<[Protocol]>>,
    addresses: Arc<[Multiaddr]>,
}

#[derive(Debug, Default)]
struct Reader {
    queue: VecDeque<Event>,
    /// The queue overflowed, or nothing was told yet: a snapshot comes first.
    lagging: bool,
    waker: Option<Waker>,
}

/// Events that wait for one reader. Beyond it a snapshot says the same in less.
const MAX_QUEUED: usize = 256;

/// Addresses that are kept of a peer. Few machines have more; a peer that names thousands fills
/// nobody's memory.
pub const MAX_ADDRESSES: usize = 32;

/// Bytes of an address that is kept: what a relayed one with certificate hashes needs, twice.
pub const MAX_ADDRESS: usize = 512;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventHub {
    /// A hub of a network without peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection to the peer came to be. Only the first one is told.
    pub fn connected(&self, peer: PeerId) {
        let mut state = lock(&self.0);
        if let Entry::Vacant(entry) = state.peers.entry(peer) {
            entry.insert(Known::default());
            state.tell(&Event::Connected(peer));
        }
    }

    /// The peer said what it speaks. Told when it differs from before and the peer is connected.
    pub fn protocols(&self, peer: PeerId, mut protocols: Vec<Protocol>) {
        protocols.sort();
        protocols.dedup();
        let protocols: Arc<[Protocol]> = protocols.into();
        let mut state = lock(&self.0);
        if let Some(known) = state.peers.get_mut(&peer)
            && known.protocols.as_ref() != Some(&protocols)
        {
            known.protocols = Some(protocols.clone());
            state.tell(&Event::Protocols(peer, protocols));
        }
    }

    /// The peer said where it can be reached. Told when it differs from before and the peer is
    /// connected; addresses beyond [`MAX_ADDRESSES`] or longer than [`MAX_ADDRESS`] are left out.
    pub fn addresses(&self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        addresses.retain(|address| address.len() <= MAX_ADDRESS);
        addresses.truncate(MAX_ADDRESSES);
        let addresses: Arc<[Multiaddr]> = addresses.into();
        let mut state = lock(&self.0);
        if let Some(known) = state.peers.get_mut(&peer)
            && known.addresses != addresses
        {
            known.addresses = addresses.clone();
            state.tell(&Event::Addresses(peer, addresses));
        }
    }

    /// The last connection to the peer is gone.
    pub fn gone(&self, peer: PeerId) {
        let mut state = lock(&self.0);
        if state.peers.remove(&peer).is_some() {
            state.tell(&Event::Gone(peer));
        }
    }

    /// Whether others can reach this node. Told when it changes.
    pub fn reachability(&self, reachability: Reachability) {
        let mut state = lock(&self.0);
        if state.reachability != reachability {
            state.reachability = reachability;
            state.tell(&Event::Reachability(reachability));
        }
    }

    /// What is true now.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.0).snapshot()
    }

    /// Whether the peer is connected.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        lock(&self.0).peers.contains_key(peer)
    }

    /// Events from now on, with a snapshot first.
    pub fn subscribe(&self) -> BoxStream<'static, Event> {
        let reader = Arc::new(Mutex::new(Reader { lagging: true, ..Reader::default() }));
        lock(&self.0).readers.push(Arc::downgrade(&reader));
        Subscription { hub: self.0.clone(), reader }.boxed()
    }

    /// Ends every subscription, once it has given what it still holds.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        state.each_reader(|reader| reader.wake());
    }
}

impl State {
    fn tell(&mut self, event: &Event) {
        self.each_reader(|reader| reader.push(event));
    }

    fn each_reader(&mut self, mut act: impl FnMut(&mut Reader)) {
        self.readers.retain(|reader| match reader.upgrade() {
            Some(reader) => {
                act(&mut lock(&reader));
                true
            }
            None => false,
        });
    }

    fn snapshot(&self) -> Snapshot {
        let peers = self.peers.iter();
        let state = |(peer, known): (&PeerId, &Known)| PeerState {
            peer: *peer,
            protocols: known.protocols.clone(),
            addresses: known.addresses.clone(),
        };
        Snapshot { peers: peers.map(state).collect(), reachability: self.reachability }
    }
}

impl Reader {
    fn push(&mut self, event: &Event) {
        if self.lagging {
            // The snapshot that is due will hold it.
        } else if self.queue.len() < MAX_QUEUED {
            self.queue.push_back(event.clone());
        } else {
            self.queue.clear();
            self.lagging = true;
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct Subscription {
    hub: Arc<Mutex<State>>,
    reader: Arc<Mutex<Reader>>,
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        // The hub is locked first, as where events are told: nothing falls between the two.
        let hub = lock(&self.hub);
        let mut reader = lock(&self.reader);
        if std::mem::take(&mut reader.lagging) {
            return Poll::Ready(Some(Event::Snapshot(hub.snapshot())));
        }
        match reader.queue.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if hub.closed => Poll::Ready(None),
            None => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, executor::block_on};

    use super::*;
    use crate::memory;

    fn peers(n: usize) -> Vec<PeerId> {
        (0..n as u64).map(memory::peer_id).collect()
    }

    #[test]
    fn a_laggard_gets_a_snapshot_and_then_goes_on() {
        block_on(async {
            let hub = EventHub::new();
            let mut events = hub.subscribe();
            assert!(matches!(events.next().await, Some(Event::Snapshot(_))));
            let many = peers(MAX_QUEUED + 1);
            many.iter().for_each(|peer| hub.connected(*peer));
            let Some(Event::Snapshot(now)) = events.next().await else { panic!("a snapshot") };
            assert_eq!(now.peers.len(), many.len());
            hub.gone(many[0]);
            assert_eq!(events.next().await, Some(Event::Gone(many[0])));
            assert!(events.next().now_or_never().is_none());
        });
    }

    #[test]
    fn only_news_is_told() {
        block_on(async {
            let hub = EventHub::new();
            let mut events = hub.subscribe();
            events.next().await;
            let peer = memory::peer_id(1);
            let speaks = |name| vec![Protocol::from_static(name)];
            hub.protocols(peer, speaks("/a")); // not connected: no news
            hub.gone(peer);
            hub.connected(peer);
            hub.protocols(peer, speaks("/a"));
            hub.protocols(peer, speaks("/a"));
            let at: Multiaddr = "/memory/1".parse().unwrap();
            hub.addresses(peer, vec![at.clone()]);
            hub.addresses(peer, vec![at.clone()]);
            hub.reachability(Reachability::Public);
            hub.reachability(Reachability::Public);
            hub.close();
            let told: Vec<Event> = events.collect().await;
            let expected = [
                Event::Connected(peer),
                Event::Protocols(peer, speaks("/a").into()),
                Event::Addresses(peer, vec![at].into()),
                Event::Reachability(Reachability::Public),
            ];
            assert_eq!(told, expected);
        });
    }

    /// A peer names addresses without end: few of them are kept.
    #[test]
    fn addresses_are_bounded() {
        let (hub, peer) = (EventHub::new(), memory::peer_id(1));
        hub.connected(peer);
        let long = format!("/dns4/{}/tcp/1", "a".repeat(MAX_ADDRESS)).parse().unwrap();
        let mut many = vec![long];
        many.extend((0..10_000).map(|n| format!("/memory/{n}").parse::<Multiaddr>().unwrap()));
        hub.addresses(peer, many);
        let kept = hub.snapshot().peers[0].addresses.clone();
        assert_eq!(kept.len(), MAX_ADDRESSES);
        assert!(kept.iter().all(|address| address.len() <= MAX_ADDRESS));
    }

    #[test]
    fn dropped_readers_are_forgotten() {
        let hub = EventHub::new();
        drop(hub.subscribe());
        hub.connected(memory::peer_id(1));
        assert!(lock(&hub.0).readers.is_empty());
    }
}
