//! Several exchanges as one.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{Either, pending, select},
    stream::{self, BoxStream},
};
use ipfs_bitswap::combine::{Combined, MISSES};
use ipfs_traits::{
    Block, BlockSource, Cid, Error, Exchange, Giver, GiverStats, OfflineExchange, PeerInfo, Recipe,
    Result, Runtime, RuntimeExt, Session, SessionStats, VirtualRuntime, async_trait, conformance,
    memory::peer_id, recipe,
};

use crate::world::blocks;

/// What an exchange does with a block that it does not have.
#[derive(Clone, Copy, Debug)]
enum Miss {
    Absent,
    Broken,
    Silent,
}

/// An exchange that does as it is told.
#[derive(Clone, Debug)]
struct Fake {
    runtime: VirtualRuntime,
    blocks: Arc<BTreeMap<Cid, Block>>,
    /// How long it takes, in milliseconds.
    takes: u64,
    miss: Miss,
    /// Blocks that one of its streams looks for at once.
    window: usize,
    seen: Arc<Seen>,
}

/// What was asked of it.
#[derive(Debug, Default)]
struct Seen {
    asked: AtomicUsize,
    gave: AtomicUsize,
    under_way: Arc<()>,
    told: AtomicUsize,
    providers: AtomicUsize,
    closed: AtomicBool,
}

impl Fake {
    fn new(runtime: &VirtualRuntime, blocks: &[Block], takes: u64, miss: Miss) -> Self {
        let blocks = blocks.iter().map(|block| (*block.cid(), block.clone())).collect();
        let (runtime, seen) = (runtime.clone(), Arc::default());
        Self { runtime, blocks: Arc::new(blocks), takes, miss, window: 32, seen }
    }

    fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::Relaxed)
    }

    fn under_way(&self) -> usize {
        Arc::strong_count(&self.seen.under_way) - 1
    }

    async fn find(self, cid: Cid) -> Result<Block> {
        self.seen.asked.fetch_add(1, Ordering::Relaxed);
        let _under_way = self.seen.under_way.clone();
        RuntimeExt::sleep(&self.runtime, Duration::from_millis(self.takes)).await;
        match (self.blocks.get(&cid), self.miss) {
            (Some(block), _) => {
                self.seen.gave.fetch_add(1, Ordering::Relaxed);
                Ok(block.clone())
            }
            (None, Miss::Absent) => Err(Error::NotFound(cid)),
            (None, Miss::Broken) => Err(Error::TimedOut("a fake")),
            (None, Miss::Silent) => pending().await,
        }
    }
}

#[async_trait]
impl BlockSource for Fake {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.clone().find(*cid).await
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let fake = self.clone();
        let find = move |cid| fake.clone().find(cid).map(move |answer| (cid, answer));
        cids.map(find).buffer_unordered(self.window).boxed()
    }
}

impl Session for Fake {
    fn providers(&self, peers: &[PeerInfo]) {
        self.seen.providers.fetch_add(peers.len(), Ordering::Relaxed);
    }

    fn stats(&self) -> SessionStats {
        let mut stats = SessionStats::default();
        stats.blocks = self.seen.gave.load(Ordering::Relaxed) as u64;
        let mut giver = GiverStats::new(Giver::Url("fake".into()));
        giver.blocks = stats.blocks;
        stats.givers.push(giver);
        stats
    }
}

#[async_trait]
impl Exchange for Fake {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(self.clone())
    }

    async fn notify(&self, blocks: &[Block]) -> Result<()> {
        self.seen.told.fetch_add(blocks.len(), Ordering::Relaxed);
        if matches!(self.miss, Miss::Broken) { Err(Error::TimedOut("a fake")) } else { Ok(()) }
    }

    async fn close(&self) -> Result<()> {
        self.seen.closed.store(true, Ordering::Relaxed);
        if matches!(self.miss, Miss::Broken) { Err(Error::TimedOut("a fake")) } else { Ok(()) }
    }
}

/// Runs it, for a day at the most: then what it waits for is not going to come.
fn run<T>(runtime: &VirtualRuntime, future: impl Future<Output = T>) -> T {
    let day = RuntimeExt::sleep(runtime, Duration::from_secs(24 * 3600));
    match runtime.block_on(select(pin!(future), day)).unwrap() {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("it waits in vain"),
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn tiered(runtime: &VirtualRuntime, fakes: &[&Fake]) -> Combined {
    let tiers = fakes.iter().map(|fake| (Arc::new((*fake).clone()) as Arc<dyn Exchange>, SECOND));
    Combined::tiered(Arc::new(runtime.clone()), tiers)
}

fn racing(runtime: &VirtualRuntime, fakes: &[&Fake]) -> Combined {
    let all = fakes.iter().map(|fake| Arc::new((*fake).clone()) as Arc<dyn Exchange>);
    Combined::racing(Arc::new(runtime.clone()), all)
}

async fn all(session: &Arc<dyn Session>, blocks: &[Block]) -> Vec<Result<Block>> {
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let answers: Vec<_> = session.get_many(stream::iter(cids).boxed()).collect().await;
    answers.into_iter().map(|(_, block)| block).collect()
}

#[test]
fn keeps_the_promises_of_an_exchange() {
    for miss in [Miss::Absent, Miss::Broken, Miss::Silent] {
        for window in [1, 32] {
            for takes in [0, 5, 1500] {
                let runtime = VirtualRuntime::new();
                let halves = |blocks: &[Block]| {
                    let first = Fake::new(&runtime, &blocks[..100], takes, miss);
                    let second = Fake::new(&runtime, blocks, 7, Miss::Absent);
                    (Fake { window, ..first }, second)
                };
                run(&runtime, async {
                    let checked = conformance::exchange(|blocks| {
                        let (first, second) = halves(&blocks);
                        let made = racing(&runtime, &[&first, &second]);
                        async move { Ok(made) }
                    });
                    closed(checked.await, miss);
                    let checked = conformance::exchange(|blocks| {
                        let (first, second) = halves(&blocks);
                        let made = tiered(&runtime, &[&first, &second]);
                        async move { Ok(made) }
                    });
                    closed(checked.await, miss);
                });
            }
        }
    }
}

/// The broken fake says so when it is told of blocks, which comes last; all else has to be kept.
fn closed(verdict: Result<(), conformance::Violation>, miss: Miss) {
    match (verdict, miss) {
        (Err(violation), Miss::Broken) => assert_eq!(violation.rule, "new blocks may be told of"),
        (verdict, _) => verdict.unwrap(),
    }
}

#[test]
fn the_next_is_asked_when_one_fails_at_once_and_when_it_is_silent_after_its_time() {
    let block = blocks(1, 1, 100).remove(0);
    for (miss, millis) in [(Miss::Absent, 10), (Miss::Broken, 10), (Miss::Silent, 1005)] {
        let runtime = VirtualRuntime::new();
        let start = runtime.now();
        let first = Fake::new(&runtime, &[], 5, miss);
        let second = Fake::new(&runtime, std::slice::from_ref(&block), 5, Miss::Absent);
        let third = Fake::new(&runtime, std::slice::from_ref(&block), 5, Miss::Absent);
        let both = tiered(&runtime, &[&first, &second, &third]);
        let session = both.session(None);
        let found = run(&runtime, session.get(block.cid())).unwrap();
        assert_eq!(found, block);
        assert_eq!((runtime.now() - start).as_millis(), millis, "{miss:?}");
        assert_eq!((first.asked(), second.asked(), third.asked()), (1, 1, 0));
        assert_eq!((first.under_way(), second.under_way()), (0, 0));
        let stats = session.stats();
        assert_eq!((stats.blocks, stats.bytes, stats.wanted), (1, 100, 0));
    }
}

#[test]
fn the_one_before_goes_on_being_asked_and_may_still_be_first() {
    let (runtime, block) = (VirtualRuntime::new(), blocks(2, 1, 100).remove(0));
    let first = Fake::new(&runtime, std::slice::from_ref(&block), 1500, Miss::Absent);
    let second = Fake::new(&runtime, std::slice::from_ref(&block), 60_000, Miss::Absent);
    let start = runtime.now();
    let session = tiered(&runtime, &[&first, &second]).session(None);
    run(&runtime, session.get(block.cid())).unwrap();
    assert_eq!((runtime.now() - start).as_millis(), 1500);
    assert_eq!((second.asked(), second.under_way()), (1, 0));
}

#[test]
fn absent_in_all_is_not_found_and_another_error_is_told_first() {
    let (runtime, block) = (VirtualRuntime::new(), blocks(3, 1, 100).remove(0));
    let absent = Fake::new(&runtime, &[], 5, Miss::Absent);
    let broken = Fake::new(&runtime, &[], 1, Miss::Broken);
    for make in [tiered, racing] {
        let get = |fakes: &[&Fake]| {
            let session = make(&runtime, fakes).session(None);
            run(&runtime, session.get(block.cid()))
        };
        let none = get(&[&absent, &absent]);
        assert!(matches!(none, Err(Error::NotFound(cid)) if cid == *block.cid()), "{none:?}");
        for fakes in [[&absent, &broken], [&broken, &absent]] {
            let failed = get(&fakes);
            assert!(matches!(failed, Err(Error::TimedOut("a fake"))), "{failed:?}");
        }
        let none = get(&[]);
        assert!(matches!(none, Err(Error::NotFound(_))), "{none:?}");
    }
}

#[test]
fn the_first_of_a_race_wins_and_the_rest_is_no_longer_asked() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(4, 100, 100));
    let slow = Fake::new(&runtime, &blocks, 10_000, Miss::Absent);
    let fast = Fake::new(&runtime, &blocks, 10, Miss::Absent);
    let start = runtime.now();
    let session = racing(&runtime, &[&slow, &fast]).session(None);
    let found = run(&runtime, all(&session, &blocks));
    assert!(found.len() == 100 && found.iter().all(Result::is_ok));
    assert!(runtime.now() - start < SECOND);
    assert_eq!((slow.under_way(), fast.under_way()), (0, 0));
    assert_eq!(session.stats().blocks, 100);
}

/// What one exchange never answers would fill its window, and it would then be asked for nothing.
#[test]
fn what_others_gave_does_not_fill_the_window_of_one_that_is_silent() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(5, 2000, 100));
    // One block of ten is not there.
    let most: Vec<Block> =
        blocks.iter().enumerate().filter(|(i, _)| i % 10 > 0).map(|(_, b)| b.clone()).collect();
    for window in [1, 4, 32] {
        let first = Fake { window, ..Fake::new(&runtime, &most, 1, Miss::Silent) };
        let second = Fake::new(&runtime, &blocks, 50, Miss::Absent);
        let start = runtime.now();
        let session = tiered(&runtime, &[&first, &second]).session(None);
        let found = run(&runtime, all(&session, &blocks));
        assert!(found.len() == 2000 && found.iter().all(Result::is_ok));
        let took = runtime.now() - start;
        println!("window {window}: {took:?}, asked {} and {}", first.asked(), second.asked());
        assert!(took < Duration::from_secs(40), "{took:?}");
        // Of ten that it takes one stays: a window that is never emptied is full after so many.
        let (full, gave) = (10 * window, first.seen.gave.load(Ordering::Relaxed));
        assert!(gave > full * 3 / 2, "window {window}: {gave} came from the first");
        let stats = session.stats();
        let given: u64 = stats.givers.iter().map(|giver| giver.blocks).sum();
        assert_eq!((stats.blocks, stats.wanted), (2000, 0));
        assert!(given <= 2000, "{stats:?}");
    }
}

#[test]
fn one_that_keeps_one_waiting_is_no_longer_waited_for() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(6, 200, 100));
    let silent = Fake::new(&runtime, &[], 1, Miss::Silent);
    let second = Fake::new(&runtime, &blocks, 1, Miss::Absent);
    let session = tiered(&runtime, &[&silent, &second]).session(None);
    let start = runtime.now();
    run(&runtime, async {
        for block in &blocks {
            session.get(block.cid()).await.unwrap();
        }
    });
    let took = (runtime.now() - start).as_secs();
    assert_eq!(took, u64::from(MISSES));
    assert_eq!(silent.asked(), 200, "it is asked all the same");
}

#[test]
fn all_are_told_named_providers_and_closed_and_the_first_error_is_given() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(7, 3, 100));
    let broken = Fake::new(&runtime, &[], 1, Miss::Broken);
    let silent = Fake::new(&runtime, &[], 1, Miss::Silent);
    let both = tiered(&runtime, &[&broken, &silent]);
    run(&runtime, async {
        let session = both.session(None);
        session.providers(&[PeerInfo::from(peer_id(1))]);
        let told = both.notify(&blocks).await;
        assert!(matches!(told, Err(Error::TimedOut("a fake"))));
        let work = async { session.get(blocks[0].cid()).await };
        let close = async {
            RuntimeExt::sleep(&runtime, SECOND).await;
            let closed = both.close().await;
            assert!(matches!(closed, Err(Error::TimedOut("a fake"))));
        };
        let (answer, ()) = futures::join!(work, close);
        assert!(matches!(answer, Err(Error::Closed(_))), "{answer:?}");
        let late = all(&session, &blocks).await;
        assert!(late.len() == 3 && late.iter().all(|a| matches!(a, Err(Error::Closed(_)))));
        assert!(matches!(both.notify(&blocks).await, Err(Error::Closed(_))));
        assert_eq!(session.stats().wanted, 0);
    });
    for fake in [&broken, &silent] {
        assert_eq!(fake.seen.told.load(Ordering::Relaxed), 3);
        assert_eq!(fake.seen.providers.load(Ordering::Relaxed), 1);
        assert!(fake.seen.closed.load(Ordering::Relaxed));
    }
}

#[test]
fn dropping_ends_what_is_under_way() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(8, 50, 100));
    let silent = Fake::new(&runtime, &[], 1, Miss::Silent);
    for make in [tiered, racing] {
        let session = make(&runtime, &[&silent, &silent]).session(None);
        run(&runtime, async {
            let work = pin!(all(&session, &blocks));
            let wait = pin!(RuntimeExt::sleep(&runtime, 3 * SECOND));
            assert!(matches!(select(work, wait).await, Either::Right(_)));
        });
        assert_eq!((silent.under_way(), session.stats().wanted), (0, 0));
    }
}

#[test]
fn one_that_was_closed_by_itself_is_passed_over() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(9, 50, 100));
    let hub = ipfs_traits::memory::MemoryHub::new();
    let mut parts = ipfs_traits::Parts::new(
        Arc::new(runtime.clone()),
        ipfs_traits::HashTable::standard(),
        Arc::default(),
        peer_id(1),
    );
    parts.set_store(Arc::new(ipfs_traits::memory::MemoryStore::new()));
    parts.set_network(Arc::new(hub.join(peer_id(1)).unwrap()));
    parts.set_routing(Arc::new(ipfs_traits::NoRouting));
    let bitswap = ipfs_bitswap::Bitswap::spawn(&parts, ipfs_bitswap::Options::default()).unwrap();
    let second = Fake::new(&runtime, &blocks, 1, Miss::Absent);
    let tiers: [(Arc<dyn Exchange>, Duration); 3] = [
        (Arc::new(bitswap.clone()), 60 * SECOND),
        (Arc::new(OfflineExchange), 60 * SECOND),
        (Arc::new(second), SECOND),
    ];
    let both = Combined::tiered(Arc::new(runtime.clone()), tiers);
    let start = runtime.now();
    let session = both.session(None);
    run(&runtime, async {
        let close = async {
            RuntimeExt::sleep(&runtime, SECOND).await;
            bitswap.close().await.unwrap();
        };
        let (found, ()) = futures::join!(all(&session, &blocks), close);
        assert!(found.len() == 50 && found.iter().all(Result::is_ok));
        assert!(all(&session, &blocks).await.iter().all(Result::is_ok));
    });
    assert!((runtime.now() - start).as_secs() < 2);
}

#[test]
fn it_is_built_from_how_its_exchanges_are_built() {
    let (runtime, blocks) = (VirtualRuntime::new(), blocks(10, 3, 100));
    let parts = ipfs_traits::Parts::new(
        Arc::new(runtime.clone()),
        ipfs_traits::HashTable::standard(),
        Arc::default(),
        peer_id(1),
    );
    let silent = Fake::new(&runtime, &[], 1, Miss::Silent);
    let second = Fake::new(&runtime, &blocks, 1, Miss::Absent);
    let third = Fake::new(&runtime, &blocks, 1, Miss::Absent);
    run(&runtime, async {
        let made = Combined::first(silent.clone())
            .after(3 * SECOND, second.clone())
            .after(9 * SECOND, third.clone());
        let both = Recipe::<dyn Exchange>::build(Box::new(made), &parts).await.unwrap();
        let start = runtime.now();
        assert!(all(&both.session(None), &blocks).await.iter().all(Result::is_ok));
        let took = runtime.now() - start;
        assert!((3 * SECOND..4 * SECOND).contains(&took), "{took:?}");
        assert_eq!((second.asked(), third.asked()), (3, 0));

        // What was built before one that cannot be is closed.
        let none = recipe(|_| async { Err::<Arc<dyn Exchange>, _>(Error::TimedOut("a recipe")) });
        let made = Combined::first(silent.clone()).after(SECOND, none).after(SECOND, second);
        let failed = Recipe::<dyn Exchange>::build(Box::new(made), &parts).await;
        assert!(matches!(failed, Err(Error::TimedOut("a recipe"))));
        assert!(silent.seen.closed.load(Ordering::Relaxed));
    });
}
