//! A router that writes down what it is told, a disk that fails, a clock that is set: all virtual.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_routing::{
    Position, Routing,
    provide::{Options, Provider, Source, from_fn},
};
use ipfs_traits::{
    Batch, Bytes, Datastore, Error, Multihash, Result, Runtime, RuntimeExt, Task, VirtualRuntime,
    async_trait, memory::MemoryDatastore,
};

use crate::numbers::Numbers;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const INTERVAL: Duration = Duration::from_secs(22 * 3600);

/// Where providers live and die.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) router: Arc<Router>,
    pub(crate) disk: Arc<Disk>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Clock::default();
        let router = Router {
            clock: clock.clone(),
            start: clock.now(),
            takes: Mutex::default(),
            fails: Mutex::new(Box::new(|_| false)),
            calls: Mutex::default(),
        };
        Self { clock, router: Arc::new(router), disk: Arc::new(Disk::default()) }
    }

    /// Runs `test` in virtual time.
    pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        let world = Self::new();
        let runtime = world.clock.runtime.clone();
        runtime.block_on(test(world)).unwrap();
    }

    pub(crate) async fn spawn(&self, source: impl Source, options: Options) -> Result<Provider> {
        let (clock, source) = (Arc::new(self.clock.clone()), Arc::new(source));
        Provider::spawn(clock, self.router.clone(), self.disk.clone(), source, options).await
    }

    pub(crate) async fn provider(&self, source: impl Source) -> Provider {
        self.spawn(source, Options::default()).await.unwrap()
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        RuntimeExt::sleep(&self.clock, time).await;
    }
}

/// A virtual clock, whose time of day can be set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) runtime: VirtualRuntime,
    skew: Arc<AtomicI64>,
}

impl Clock {
    /// Sets the time of day so many hours ahead.
    pub(crate) fn set_ahead(&self, hours: i64) {
        self.skew.store(hours * 3600, Ordering::Relaxed);
    }
}

impl Runtime for Clock {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        self.runtime.spawn(future)
    }
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }
    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        self.runtime.sleep_until(t)
    }
    fn now(&self) -> Instant {
        self.runtime.now()
    }
    fn wall(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        let wall = self.runtime.wall();
        if skew < 0 { wall.checked_sub(by).unwrap() } else { wall + by }
    }
}

/// What was asked of a [`Router`].
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Since the world began.
    pub(crate) at: Duration,
    pub(crate) keys: Vec<Multihash>,
    pub(crate) failed: bool,
}

type Fails = dyn Fn(&[Multihash]) -> bool + Send;

pub(crate) struct Router {
    clock: Clock,
    start: Instant,
    takes: Mutex<Duration>,
    fails: Mutex<Box<Fails>>,
    calls: Mutex<Vec<Call>>,
}

impl Router {
    /// How long each call takes.
    pub(crate) fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    /// Which calls fail.
    pub(crate) fn fails(&self, fails: impl Fn(&[Multihash]) -> bool + Send + 'static) {
        *self.fails.lock().unwrap() = Box::new(fails);
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now() - self.start
    }

    /// The calls so far, which are then forgotten.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// How often each key was announced by the calls so far, which are then forgotten.
    pub(crate) fn counts(&self) -> BTreeMap<Multihash, usize> {
        counts(&self.calls())
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

#[async_trait]
impl Routing for Router {
    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        let failed = (self.fails.lock().unwrap())(&keys);
        let at = self.now();
        self.calls.lock().unwrap().push(Call { at, keys, failed });
        let takes = *self.takes.lock().unwrap();
        if !takes.is_zero() {
            RuntimeExt::sleep(&self.clock, takes).await;
        }
        if failed { Err(Error::TimedOut("a lookup")) } else { Ok(()) }
    }
}

/// A datastore in memory that can be told to fail.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) table: MemoryDatastore,
    /// Commits that still succeed.
    pub(crate) commits: AtomicUsize,
    /// Reads that still succeed.
    pub(crate) reads: AtomicUsize,
}

impl Default for Disk {
    fn default() -> Self {
        let (commits, reads) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(usize::MAX));
        Self { table: MemoryDatastore::new(), commits, reads }
    }
}

fn spend(left: &AtomicUsize) -> Result<()> {
    let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
        usize::MAX => Some(left),
        _ => left.checked_sub(1),
    });
    spent.map(drop).map_err(|_| Error::component("disk", "it is full of holes"))
}

#[async_trait]
impl Datastore for Disk {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        spend(&self.reads)?;
        self.table.get(key).await
    }
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        match spend(&self.reads) {
            Ok(()) => self.table.scan(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        spend(&self.commits)?;
        self.table.commit(batch).await
    }
}

pub(crate) fn key(number: u64) -> Multihash {
    let mut numbers = Numbers(number);
    let digest: Vec<u8> = (0..4).flat_map(|_| numbers.next().to_be_bytes()).collect();
    Multihash::wrap(0x12, &digest).unwrap()
}

pub(crate) fn keys(numbers: std::ops::Range<u64>) -> Vec<Multihash> {
    numbers.map(key).collect()
}

/// A source that lists these keys, 1,000 in a page.
pub(crate) fn source(keys: &[Multihash]) -> impl Source + use<> {
    let keys: Arc<[Multihash]> = keys.into();
    from_fn(move || {
        let keys = keys.clone();
        let pages = (0..keys.len()).step_by(1000);
        stream::iter(pages.map(move |at| Ok(keys[at..keys.len().min(at + 1000)].to_vec()))).boxed()
    })
}

pub(crate) fn counts(calls: &[Call]) -> BTreeMap<Multihash, usize> {
    let mut counts = BTreeMap::new();
    let done = calls.iter().filter(|call| !call.failed);
    for key in done.flat_map(|call| &call.keys) {
        *counts.entry(*key).or_insert(0) += 1;
    }
    counts
}

/// All keys, each announced once.
#[track_caller]
pub(crate) fn each_once(counts: &BTreeMap<Multihash, usize>, keys: &[Multihash]) {
    assert_eq!(counts.len(), keys.len());
    assert!(keys.iter().all(|key| counts.get(key) == Some(&1)));
}

/// The first byte of a position: in which 256th of the keyspace a key stands.
pub(crate) fn region(key: &Multihash) -> u8 {
    Position::of_block(key).as_bytes()[0]
}
