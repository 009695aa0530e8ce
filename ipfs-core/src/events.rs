//! What happens in a node, told to those who listen.

mod peers;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use ipfs_routing::ipns::Name;
use ipfs_traits::{Cid, Network, PeerId, sync::lock};

use self::peers::Peers;
use crate::{Node, Path};

/// Something that happened in a node: see [`Node::events`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// The first connection to this peer came to be.
    Connected(PeerId),
    /// The last connection to this peer is gone.
    Disconnected(PeerId),
    /// Files were added, or a CAR was imported, and are durable.
    Added {
        /// The root; of a CAR, one of those that it names.
        root: Cid,
    },
    /// A [`fetch`](Node::fetch) has ended with all that it was to bring.
    Fetched {
        /// What its path led to.
        root: Cid,
        /// How many blocks had not been here.
        blocks: u64,
        /// Bytes of these.
        bytes: u64,
    },
    /// A DAG was pinned.
    Pinned {
        /// Its root.
        root: Cid,
        /// The name that the pin was given.
        name: Option<Arc<str>>,
    },
    /// A DAG is pinned no longer.
    Unpinned {
        /// Its root.
        root: Cid,
    },
    /// A path was published by [`Names`](crate::Names). Bringing it out again is no event.
    Published {
        /// The name under which it is found.
        name: Name,
        /// Where the name leads.
        path: Path,
    },
    /// A garbage collection began.
    CollectionBegan,
    /// A garbage collection ended, done or not.
    CollectionEnded {
        /// How many blocks it has deleted.
        blocks: u64,
        /// Bytes of these.
        bytes: u64,
    },
    /// So many events of the node were left out here, because more than [`Events::MAX_WAITING`]
    /// waited to be read.
    Lagged(u64),
    /// The node was closed. The last event.
    Closed,
}

impl Node {
    /// What happens in this node from now on: a stream that ends when the node is closed, or its
    /// last handle dropped.
    ///
    /// When it is first read, it tells of the peers that are connected then. Events of peers, and
    /// those of all else, come in the order in which they happened; between the two kinds there is
    /// none.
    ///
    /// Nothing waits for a reader. One that is slow finds [`NodeEvent::Lagged`] where the oldest
    /// events were; of peers it is told what has changed in the end. The stream keeps no node alive
    /// and needs no task, and a node that nobody listens to does nothing for it.
    ///
    /// ```
    /// use futures::StreamExt;
    /// use ipfs_core::{Node, NodeEvent};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let mut events = node.events();
    /// let root = node.unixfs().add_bytes("hello").await?.cid;
    /// assert_eq!(events.next().await, Some(NodeEvent::Added { root }));
    /// node.close().await?;
    /// assert_eq!(events.next().await, Some(NodeEvent::Closed));
    /// assert_eq!(events.next().await, None);
    /// # Ok::<(), ipfs_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn events(&self) -> Events {
        self.bus().subscribe(&**self.network())
    }
}

/// What happens in a node: see [`Node::events`].
#[must_use = "events are left out when nobody reads them"]
pub struct Events {
    bus: Arc<Shared>,
    id: u64,
    peers: Peers,
}

/// Where a node tells what happens. It is closed when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Bus(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How many listen: with none, telling costs no more than to look at this.
    listening: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    readers: BTreeMap<u64, Reader>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Reader {
    waiting: VecDeque<NodeEvent>,
    left_out: u64,
    waker: Option<Waker>,
}

impl Bus {
    pub(crate) fn emit(&self, event: NodeEvent) {
        if self.0.listening.load(Ordering::Relaxed) > 0 {
            lock(&self.0.state).tell(event);
        }
    }

    /// Tells that the node is closed, and ends every stream after that; closing twice is no error.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0.state);
        state.tell(NodeEvent::Closed);
        state.closed = true;
    }

    fn subscribe(&self, network: &dyn Network) -> Events {
        let peers = Peers::new(network.events());
        let mut state = lock(&self.0.state);
        let id = state.next;
        state.next += 1;
        let mut reader = Reader::default();
        if state.closed {
            reader.push(NodeEvent::Closed);
        }
        state.readers.insert(id, reader);
        self.0.listening.store(state.readers.len(), Ordering::Relaxed);
        Events { bus: self.0.clone(), id, peers }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn tell(&mut self, event: NodeEvent) {
        if !self.closed {
            self.readers.values_mut().for_each(|reader| reader.push(event.clone()));
        }
    }
}

impl Events {
    /// Events that wait for one reader, at the most: some hundred kilobytes, and more than a program
    /// that reads falls behind by. Beyond it the oldest are left out.
    pub const MAX_WAITING: usize = 1024;
}

impl Reader {
    fn push(&mut self, event: NodeEvent) {
        if self.waiting.len() == Events::MAX_WAITING {
            self.waiting.pop_front();
            self.left_out += 1;
        }
        self.waiting.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Events {
    type Item = NodeEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        // Peers first: the end of the node comes after all that the network has told.
        if let Poll::Ready(Some(event)) = self.peers.poll(cx) {
            return Poll::Ready(Some(event));
        }
        let mut state = lock(&self.bus.state);
        let closed = state.closed;
        let Some(reader) = state.readers.get_mut(&self.id) else { return Poll::Ready(None) };
        if reader.left_out > 0 {
            let left_out = std::mem::take(&mut reader.left_out);
            return Poll::Ready(Some(NodeEvent::Lagged(left_out)));
        }
        match reader.waiting.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if closed => Poll::Ready(None),
            None => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = lock(&self.bus.state);
        let reader = state.readers.remove(&self.id);
        self.bus.listening.store(state.readers.len(), Ordering::Relaxed);
        drop(state);
        // Its waker is dropped without the lock.
        drop(reader);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, executor::block_on};
    use ipfs_traits::{NoNetwork, memory};

    use super::*;

    fn network() -> NoNetwork {
        NoNetwork::new(memory::peer_id(1))
    }

    fn ended(blocks: u64) -> NodeEvent {
        NodeEvent::CollectionEnded { blocks, bytes: 0 }
    }

    #[test]
    fn who_is_slow_is_told_how_much_was_left_out_and_fills_no_memory() {
        let (bus, network) = (Bus::default(), network());
        let (mut slow, mut quick) = (bus.subscribe(&network), bus.subscribe(&network));
        let all = Events::MAX_WAITING as u64 + 100;
        for number in 0..all {
            bus.emit(ended(number));
            assert_eq!(quick.next().now_or_never(), Some(Some(ended(number))));
        }
        assert!(
            lock(&bus.0.state).readers.values().all(|it| it.waiting.len() <= Events::MAX_WAITING)
        );
        assert_eq!(slow.next().now_or_never(), Some(Some(NodeEvent::Lagged(100))));
        for number in 100..all {
            assert_eq!(slow.next().now_or_never(), Some(Some(ended(number))));
        }
        assert_eq!(slow.next().now_or_never(), None);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let (bus, network) = (Bus::default(), network());
        bus.emit(ended(1));
        drop(bus.subscribe(&network));
        assert_eq!(bus.0.listening.load(Ordering::Relaxed), 0);
        assert!(lock(&bus.0.state).readers.is_empty());
        let mut later = bus.subscribe(&network);
        assert_eq!(later.next().now_or_never(), None, "what was before is not told");
    }

    #[test]
    fn it_ends_once_and_last() {
        let (bus, network) = (Bus::default(), network());
        let before = bus.subscribe(&network);
        bus.emit(ended(1));
        bus.close();
        bus.close();
        bus.emit(ended(2));
        let after = bus.subscribe(&network);
        drop(bus);
        let expected = [ended(1), NodeEvent::Closed];
        assert_eq!(block_on(before.collect::<Vec<_>>()), expected);
        assert_eq!(block_on(after.collect::<Vec<_>>()), [NodeEvent::Closed]);
    }
}
