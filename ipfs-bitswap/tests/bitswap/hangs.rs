//! Nothing hangs: a peer, a store or a router that stops, at every point where it can, and all that
//! a host may wait for. Each wait ends in its time, or by being dropped or closed.

mod stopped;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    AsyncWriteExt, FutureExt, StreamExt, future,
    future::{Either, select},
    stream::{self, BoxStream},
};
use ipfs_bitswap::{
    Options,
    message::{Entry, Message, V1_2_0, Want},
};
use ipfs_traits::{
    Block, BlockSource, Blockstore, BlockstoreExt, Cid, Error, Exchange, Multihash, Network, Parts,
    PeerInfo, Result, Routing, async_trait,
    memory::{MemoryNetwork, peer_id},
};

use self::stopped::{BAD, FRIEND, STOPS, Stop, Stopped, VICTIM, misbehave};
use crate::{
    place::{Node, Place, all, say},
    world::blocks,
};

/// How long a wait may take that one peer stands in the way of and another can end: silence is seen
/// after 5 s.
const SOON: Duration = Duration::from_secs(15);

/// How long what waits for nobody may take.
const AT_ONCE: Duration = Duration::from_millis(1);

const SECOND: Duration = Duration::from_secs(1);

/// A node beside which a peer stops, and one that has these blocks.
struct Scene {
    place: Place,
    victim: Node,
    friend: Node,
    bad: Arc<MemoryNetwork>,
    blocks: Vec<Block>,
}

/// One that nobody has.
fn absent() -> Block {
    blocks(91, 1, 5000).remove(0)
}

impl Scene {
    fn new(stop: Stop) -> Self {
        let (place, blocks) = (Place::new(), blocks(90, 50, 20_000));
        let victim = place.node_with(VICTIM, Options::default(), |parts| {
            let network = parts.network().unwrap().clone();
            parts.set_network(Arc::new(Stopped::new(network, stop)));
        });
        let (friend, bad) = (place.node(FRIEND), place.stranger(BAD));
        place.run(async {
            friend.store.put_many(&blocks).await.unwrap();
            let guests = bad.accept(&[V1_2_0], 128).unwrap();
            bad.connect(&peer_id(VICTIM).into()).await.unwrap();
            friend.network.connect(&peer_id(VICTIM).into()).await.unwrap();
            place.beside(misbehave(bad.clone(), guests, stop));
            place.sleep(SECOND).await;
        });
        Self { place, victim, friend, bad, blocks }
    }

    /// The peer goes, in the middle of what it does, or stays.
    fn go_after(&self, time: Option<Duration>) {
        let Some(time) = time else { return };
        let (runtime, bad) = (self.place.runtime.clone(), self.bad.clone());
        self.place.beside(async move {
            ipfs_traits::RuntimeExt::sleep(&runtime, time).await;
            bad.disconnect(peer_id(VICTIM)).await.unwrap();
        });
    }

    /// Whoever has them gives them, whatever the other one does.
    async fn get_what_is_there(&self) {
        let session = self.victim.bitswap.session(None);
        let one = session.get(self.blocks[0].cid());
        assert_eq!(self.place.within(SOON, one).await.unwrap(), self.blocks[0]);
        let session = self.victim.bitswap.session(None);
        let rest = all(&session, &self.blocks[1..]);
        assert_eq!(self.place.within(SOON * 2, rest).await.unwrap().len(), 49);
    }

    /// What nobody has is waited for, and given up as soon as it is dropped.
    async fn give_up_what_is_not(&self) {
        let session = self.victim.bitswap.session(None);
        let cid = *absent().cid();
        let many = session.get_many(stream::iter([cid]).boxed());
        let one = session.get(&cid);
        let waiting = select(one, many.into_future());
        let minute = self.place.sleep(SECOND * 60).boxed();
        assert!(matches!(select(waiting, minute).await, Either::Right(_)), "nobody has it");
        assert_eq!(self.victim.bitswap.wantlist(), []);
        drop(session);
    }

    /// What does not wait for anybody.
    async fn tell(&self) {
        let told = self.victim.bitswap.notify(&self.blocks);
        self.place.within(AT_ONCE, told).await.unwrap();
    }

    /// The end of the exchange is the end of every wait.
    async fn end(self, close: bool) {
        let Self { place, victim, .. } = &self;
        let session = victim.bitswap.session(None);
        let cid = *absent().cid();
        let mut one = session.get(&cid);
        let mut many = session.get_many(stream::iter([cid]).boxed());
        assert!((&mut one).now_or_never().is_none() && many.next().now_or_never().is_none());
        place.sleep(SECOND * 7).await;
        match close {
            true => place.within(AT_ONCE, victim.bitswap.close()).await.unwrap(),
            false => drop(self.victim.bitswap),
        }
        let ends = future::join(&mut one, many.next());
        let (one, many) = self.place.within(AT_ONCE, ends).await;
        assert!(matches!(one, Err(Error::Closed(_))), "{one:?}");
        assert!(matches!(many, Some((_, Err(Error::Closed(_))))), "{many:?}");
    }
}

/// Every point at which a peer can stop, and every wait that there is; the peer stays, or goes in the
/// middle of it.
#[test]
fn a_peer_that_stops_anywhere_holds_up_nobody() {
    for (i, stop) in STOPS.into_iter().enumerate() {
        for gone in [None, Some(Duration::ZERO), Some(SECOND * 3)] {
            let scene = Scene::new(stop);
            println!("{stop:?}, gone after {gone:?}");
            scene.go_after(gone);
            scene.place.run(async {
                scene.get_what_is_there().await;
                scene.give_up_what_is_not().await;
                scene.tell().await;
            });
            let runtime = scene.place.runtime.clone();
            let close = i % 2 == usize::from(gone.is_some());
            runtime.block_on(scene.end(close)).unwrap();
        }
    }
}

/// boxo#1164: one send that failed, or a peer that was busy for a while, was for good. Here a peer
/// that could not be written to was forgotten until it came anew or spoke, and what it alone had
/// never came, though it was well again.
#[test]
fn a_peer_that_could_not_be_written_to_is_tried_again() {
    for stop in [Stop::Opening, Stop::Negotiating, Stop::Taking, Stop::Flushing] {
        let place = Place::new();
        let mut stopped = None;
        let victim = place.node_with(VICTIM, Options::default(), |parts| {
            let network = Arc::new(Stopped::new(parts.network().unwrap().clone(), stop));
            parts.set_network(network.clone());
            stopped = Some(network);
        });
        let (stopped, other) = (stopped.unwrap(), place.node(BAD));
        let block = blocks(92, 1, 5000).remove(0);
        place.run(async {
            other.store.put(block.clone()).await.unwrap();
            victim.network.connect(&peer_id(BAD).into()).await.unwrap();
            let session = victim.bitswap.session(None);
            let mut waiting = session.get(block.cid());
            let hour = place.sleep(SECOND * 3600).boxed();
            assert!(matches!(select(&mut waiting, hour).await, Either::Right(_)), "{stop:?}");
            let opened = stopped.opened.load(Ordering::Relaxed);
            assert!((6..200).contains(&opened), "{opened} streams in an hour");
            *stopped.stop.lock().unwrap() = None;
            // It is left alone for five minutes at the most.
            assert_eq!(place.within(SECOND * 400, waiting).await.unwrap(), block);
        });
    }
}

/// Streams that waited for memory were woken one by one, and only the last of them: the others were
/// never read on, though there was memory again.
#[test]
fn many_large_messages_at_once_are_all_read() {
    let place = Place::new();
    let (victim, giver) = (place.node(VICTIM), place.stranger(FRIEND));
    let blocks = blocks(93, 24, 1 << 20);
    place.run_within(SECOND, async {
        let _guests = giver.accept(&[V1_2_0], 128).unwrap();
        giver.connect(&peer_id(VICTIM).into()).await.unwrap();
        let session = victim.bitswap.session(None);
        let give = |block: Block| {
            let giver = giver.clone();
            async move {
                let mut stream = giver.open(peer_id(VICTIM), &[V1_2_0]).await.unwrap();
                let blocks = vec![block];
                say(&mut stream, &Message { blocks, ..Message::default() }).await.unwrap();
                stream.close().await.unwrap();
            }
        };
        let gives = future::join_all(blocks.iter().cloned().map(give));
        let (got, _) = future::join(all(&session, &blocks), gives).await;
        assert_eq!(got.unwrap().len(), 24);
    });
}

/// boxo#1142: a peer that asked for much and read nothing kept those who send from serving others.
#[test]
fn one_that_asks_and_never_reads_holds_up_no_other() {
    let scene = Scene::new(Stop::Reading);
    let Scene { place, victim, friend, bad, .. } = &scene;
    let large = blocks(94, 60, 100_000);
    place.run(async {
        victim.store.put_many(&large).await.unwrap();
        let mut asks = bad.open(peer_id(VICTIM), &[V1_2_0]).await.unwrap();
        let entry = |block: &Block| {
            let (cid, want) = (*block.cid(), Want::Block);
            Entry { cid, want, priority: 1, send_dont_have: true }
        };
        let entries = large.iter().map(entry).collect();
        say(&mut asks, &Message { entries, ..Message::default() }).await.unwrap();
        place.sleep(SECOND).await;
        let session = friend.bitswap.session(None);
        assert_eq!(place.within(SECOND, all(&session, &large)).await.unwrap().len(), 60);
        place.within(AT_ONCE, victim.bitswap.notify(&large)).await.unwrap();
        // Its blocks do not stay in memory either: three attempts, at 12.5 kB/s, are enough.
        place.sleep(SECOND * 240).await;
        assert_eq!(victim.bitswap.stats().reading, 0);
        place.within(AT_ONCE, victim.bitswap.close()).await.unwrap();
    });
}

/// A store that never answers for some blocks.
#[derive(Debug)]
struct Half {
    store: Arc<dyn Blockstore>,
    stuck: Cid,
    sizes: bool,
}

#[async_trait]
impl Blockstore for Half {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        if cids.contains(&self.stuck) {
            future::pending::<()>().await;
        }
        self.store.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        if self.sizes && cids.contains(&self.stuck) {
            future::pending::<()>().await;
        }
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.store.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.store.list()
    }
    async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }
}

#[test]
fn a_store_that_never_answers_one_peer_answers_the_others() {
    for sizes in [true, false] {
        let place = Place::new();
        let (stuck, good) = (absent(), blocks(95, 20, 5000));
        let cid = *stuck.cid();
        let victim = place.node_with(VICTIM, Options::default(), |parts| {
            let store = parts.store().unwrap().clone();
            parts.set_store(Arc::new(Half { store, stuck: cid, sizes }));
        });
        let (asks, other) = (place.node(BAD), place.node(FRIEND));
        place.run(async {
            victim.store.put_many(&good).await.unwrap();
            victim.store.put(stuck.clone()).await.unwrap();
            asks.network.connect(&peer_id(VICTIM).into()).await.unwrap();
            other.network.connect(&peer_id(VICTIM).into()).await.unwrap();
            let session = asks.bitswap.session(None);
            let mut waiting = session.get(&cid);
            let pause = place.sleep(SECOND * 30).boxed();
            assert!(matches!(select(&mut waiting, pause).await, Either::Right(_)));
            let session = other.bitswap.session(None);
            assert_eq!(place.within(SOON, all(&session, &good)).await.unwrap().len(), 20);
            place.within(AT_ONCE, victim.bitswap.notify(&good)).await.unwrap();
            place.within(AT_ONCE, victim.bitswap.close()).await.unwrap();
            place.within(AT_ONCE, asks.bitswap.close()).await.unwrap();
            assert!(matches!(place.within(AT_ONCE, waiting).await, Err(Error::Closed(_))));
        });
    }
}

/// What a router does with a search.
#[derive(Clone, Copy, Debug)]
enum Search {
    Nothing,
    /// Always one more, at once.
    Endless,
    EndlessErrors,
}

/// A router that does this with the first searches, and then finds one peer.
#[derive(Debug)]
struct Router {
    search: Search,
    left: AtomicUsize,
    peer: PeerInfo,
}

impl Routing for Router {
    fn find_providers(&self, _: &Multihash, _: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let left = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err() {
            return stream::iter([Ok(self.peer.clone())]).boxed();
        }
        match self.search {
            Search::Nothing => stream::pending().boxed(),
            Search::Endless => stream::repeat_with(|| Ok(peer_id(77).into())).boxed(),
            Search::EndlessErrors => {
                stream::repeat_with(|| Err(Error::TimedOut("a search"))).boxed()
            }
        }
    }
}

#[test]
fn searches_that_never_end_are_given_up_and_later_ones_find() {
    for search in [Search::Nothing, Search::Endless, Search::EndlessErrors] {
        let place = Place::new();
        let (friend, block) = (place.node(FRIEND), absent());
        let peer = PeerInfo::new(peer_id(FRIEND), friend.network.addresses());
        let router = Router { search, left: AtomicUsize::new(12), peer };
        let set = |parts: &mut Parts| parts.set_routing(Arc::new(router));
        let victim = place.node_with(VICTIM, Options::default(), set);
        place.run(async {
            friend.store.put(block.clone()).await.unwrap();
            let sessions: Vec<_> = (0..4).map(|_| victim.bitswap.session(None)).collect();
            let waits: Vec<_> = sessions.iter().map(|session| session.get(block.cid())).collect();
            let found = place.within(SECOND * 60, future::join_all(waits)).await;
            assert!(found.into_iter().all(|found| found.unwrap() == block), "{search:?}");
        });
    }
}

/// Blocks of 10 kB that follow many small ones, while nobody reads: all that were asked for had to be
/// asked for again, still counted as on their way, and none ever was.
#[test]
fn large_blocks_that_follow_small_ones_unread_are_asked_for_again() {
    let place = Place::new();
    let mut options = Options::default();
    options.window = 64 << 10;
    let (near, far) = (place.node_with(VICTIM, options, |_| ()), place.node(FRIEND));
    let (small, large) = (blocks(96, 300, 100), blocks(97, 500, 10_000));
    place.run_within(SECOND * 60, async {
        far.store.put_many(&small).await.unwrap();
        far.store.put_many(&large).await.unwrap();
        near.network.connect(&peer_id(FRIEND).into()).await.unwrap();
        let cids: Vec<Cid> = small.iter().chain(&large).map(|block| *block.cid()).collect();
        let session = near.bitswap.session(None);
        let mut answers = session.get_many(stream::iter(cids).boxed());
        for _ in 0..300 {
            answers.next().await.unwrap().1.unwrap();
        }
        place.sleep(SECOND * 10).await;
        assert_eq!(answers.map(|(_, block)| block.unwrap()).count().await, 500);
    });
}

/// One CID without end was taken without end, as long as its block did not come.
#[test]
fn a_cid_that_is_repeated_without_end_is_not_taken_without_end() {
    let place = Place::new();
    let (near, far) = (place.node(VICTIM), place.node(FRIEND));
    let block = absent();
    let taken = Arc::new(AtomicUsize::new(0));
    let (cid, count) = (*block.cid(), taken.clone());
    let cids = stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        cid
    });
    place.run_within(SECOND * 60, async {
        let session = near.bitswap.session(None);
        let mut answers = session.get_many(cids.take(5000).boxed());
        assert!(answers.next().now_or_never().is_none());
        assert_eq!(taken.load(Ordering::Relaxed), 1024);
        far.store.put(block.clone()).await.unwrap();
        near.network.connect(&peer_id(FRIEND).into()).await.unwrap();
        assert_eq!(answers.map(|(_, found)| assert_eq!(found.unwrap(), block)).count().await, 5000);
    });
}
