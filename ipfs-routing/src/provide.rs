//! What a node has, announced again and again while it has it.
//!
//! A [`Provider`] lists its [`Source`] once in an interval, and hands every key to a [`Routing`] once
//! in an interval, in the order of the keyspace and spread evenly over the time. Keys that stand near
//! each other go in one call: a DHT looks once for the peers of a region, and sends each of them all
//! keys that it is close to. What is new is announced at once, beside that.
//!
//! All that must last stands in a [`Datastore`]; after a restart the sweep goes on where it was.
//!
//! # How finely the keyspace is cut
//!
//! Into slots of equal width, 256 to 4,096, the most that leave each 256 keys on average: 256 slots for
//! 100,000 keys, 2,048 for a million, 4,096 from there. In the network of n peers a slot of n / slots
//! peers is announced to those and some 20 around it (k = 20), and each record goes to 20 of them. With
//! n = 10,000, records of 250 bytes and 22 hours:
//!
//! | keys | slots | calls | peers of a slot | connections | records sent | bytes a second |
//! |---|---|---|---|---|---|---|
//! | 100,000 | 256, of 391 keys | one in 5.2 minutes | 59 | 15,100 | 2 million | 6,300 |
//! | 1,000,000 | 2,048, of 488 keys | one in 39 seconds | 25 | 51,000 | 20 million | 63,100 |
//!
//! One by one, the same keys would take as many lookups, and 20 connections each.
//!
//! # When something fails
//!
//! | what | what follows |
//! |---|---|
//! | a batch | the others go on; it is tried again after a minute, then two, four … an hour |
//! | three batches in a row | the node is taken to be offline: one batch is tried each minute, later each five, until one succeeds, and then all |
//! | the node was off or offline | what is overdue is announced as fast as allowed, the most overdue first |
//! | a listing of the source | what was known is kept and announced, and the listing is tried again |
//! | the wall clock goes back | what was announced in the future is due at its next place in the interval |
//! | the datastore | what could not be read is tried again; what could not be written is done again after a restart |

mod announcements;
mod driver;
mod options;
mod plan;
mod schedule;
mod source;
mod table;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures_channel::{mpsc, oneshot};
use ipfs_traits::{Datastore, Error, Multihash, Result, Routing, Runtime, Task, sync::lock};

pub use self::{
    announcements::Announcements,
    options::{MAX_INTERVAL, MIN_INTERVAL, Options},
    source::{All, Nothing, Source, from_fn},
};
use self::{
    driver::Shared,
    plan::Plan,
    table::{ENTRIES, Table, place},
};

/// Keeps the keys of a [`Source`] announced, and announces new ones at once.
///
/// A clone is the same provider. It works in a task, until it is closed or the last clone is dropped.
/// Of a datastore only one provider may be at work; it writes under `provide/`.
///
/// Keys of identity multihashes are left out: their blocks are in the key.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_routing::provide::{All, Options, Provider};
/// use ipfs_traits::{
///     Block, BlockstoreExt, HashTable, Routing, VirtualRuntime, codes,
///     memory::{MemoryDatastore, MemoryStore, RoutingTable, peer_id},
/// };
/// # use futures::StreamExt;
///
/// # let runtime = VirtualRuntime::new();
/// # runtime.clone().block_on(async {
/// let routing = Arc::new(RoutingTable::new().join(peer_id(1).into()));
/// let blocks = Arc::new(MemoryStore::new());
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// blocks.put(block.clone()).await?;
///
/// let provider = Provider::spawn(
///     Arc::new(runtime),
///     routing.clone(),
///     Arc::new(MemoryDatastore::new()),
///     Arc::new(All(blocks)),
///     Options::default(),
/// )
/// .await?;
/// provider.sweep_now().await?;
/// assert_eq!(provider.stats().announced, 1);
/// assert_eq!(routing.find_providers(block.hash(), 1).count().await, 1);
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Provider(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// None once it is closed.
    task: Mutex<Option<Task>>,
}

/// How far a [`Provider`] is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys that the last whole listing of the source had.
    pub known: u64,
    /// Keys that the sweep has announced since that listing. Together with what is due again because
    /// it was announced early, it can be more than `known`.
    pub announced: u64,
    /// Batches that failed and will be tried again.
    pub failing: usize,
    /// Keys handed to [`Provider::announce`] that have not been announced yet. One that was handed
    /// over twice may count twice.
    pub queued: usize,
    /// When the last whole listing was begun, and with it the present cycle.
    pub began: Option<SystemTime>,
    /// When the sweep will have announced all: as scheduled, or later when more is overdue than can be
    /// announced by then at the present rate. `None` while that is not known: before a batch was
    /// announced, while paused or offline, and when nothing is left to announce.
    pub completes: Option<SystemTime>,
    /// Nothing new is begun.
    pub paused: bool,
    /// The last that went wrong.
    pub last_error: Option<Error>,
}

const CLOSED: Error = Error::Closed("the provider");

impl Provider {
    /// Starts to announce, where the provider before on this datastore has stopped.
    ///
    /// The first sweep begins when the source has been listed, and takes a whole interval:
    /// [`sweep_now`](Self::sweep_now) is for those who cannot wait.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that make no sense; [`Error::Malformed`] and [`Error::Newer`]
    /// for what is in the datastore; what the datastore says.
    pub async fn spawn(
        runtime: Arc<dyn Runtime>,
        routing: Arc<dyn Routing>,
        datastore: Arc<dyn Datastore>,
        source: Arc<dyn Source>,
        options: Options,
    ) -> Result<Self> {
        options.check()?;
        let (table, interval) = (Table(datastore), options.interval.as_millis() as u64);
        let (state, schedule) = table.load(driver::wall(&*runtime), interval).await?;
        let plan = Mutex::new(Plan::new(options, state, schedule, table.waiting().await?));
        let (wake, woken) = mpsc::channel(0);
        let (passes, wake) = (Mutex::default(), Mutex::new(wake));
        let shared = Arc::new(Shared { runtime, routing, source, table, plan, passes, wake });
        let task = shared.runtime.spawn(Box::pin(shared.clone().drive(woken)));
        Ok(Self(Arc::new(Handle { shared, task: Mutex::new(Some(task)) })))
    }

    /// Announces keys as soon as possible, ahead of the sweep, and again with the sweep until a later
    /// listing of the source does not have them.
    ///
    /// Returns when they are durably queued: they then go out even after a restart.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] when more would wait than [`Options::queue`], and nothing is queued then;
    /// [`Error::Closed`]; what the datastore says, and some of them are queued then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some of the keys are queued; some may go out only after a restart, or with the sweep.
    pub async fn announce(&self, keys: impl IntoIterator<Item = Multihash>) -> Result<()> {
        self.check()?;
        let (shared, keys) = (&self.0.shared, place(keys));
        let mut reserved = Reserved::new(shared, keys.len())?;
        for keys in keys.chunks(ENTRIES) {
            let generation = lock(&shared.plan).generation();
            shared.table.queue(keys, generation).await?;
            reserved.keys -= keys.len();
            lock(&shared.plan).queue(keys.iter().map(|placed| placed.unit));
            shared.wake();
        }
        Ok(())
    }

    /// Lists the source and announces all of it as fast as allowed; returns when that is done.
    /// Afterwards the sweep keeps its times.
    ///
    /// It goes on when the future is dropped, and after a restart from when the source was listed.
    /// While batches fail it goes on trying them.
    ///
    /// # Errors
    ///
    /// What the source says, and what the datastore says to its listing; [`Error::Closed`].
    pub async fn sweep_now(&self) -> Result<()> {
        let (done, passed) = oneshot::channel();
        {
            // `close` forgets those who wait after it has taken the task.
            let mut passes = lock(&self.0.shared.passes);
            self.check()?;
            passes.wanted.push(done);
        }
        lock(&self.0.shared.plan).pass = true;
        self.0.shared.wake();
        passed.await.unwrap_or(Err(CLOSED))
    }

    /// How far it is.
    pub fn stats(&self) -> Stats {
        let time = self.0.shared.time();
        lock(&self.0.shared.plan).stats(time)
    }

    /// Begins nothing new until [`resume`](Self::resume). What is under way ends.
    pub fn pause(&self) {
        lock(&self.0.shared.plan).paused = true;
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        lock(&self.0.shared.plan).paused = false;
        self.0.shared.wake();
    }

    /// Ends it, and what is under way. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// There are none.
    pub async fn close(&self) -> Result<()> {
        let task = lock(&self.0.task).take();
        if let Some(task) = task {
            task.stop().await;
        }
        let waiting = std::mem::take(&mut *lock(&self.0.shared.passes));
        drop(waiting);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        lock(&self.0.task).as_ref().map(drop).ok_or(CLOSED)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.stats()).finish()
    }
}

/// Room in the queue for keys that are being written; given back when they are not.
struct Reserved<'a> {
    shared: &'a Shared,
    keys: usize,
}

impl<'a> Reserved<'a> {
    fn new(shared: &'a Shared, keys: usize) -> Result<Self> {
        let mut plan = lock(&shared.plan);
        let (most, all) = (plan.options.queue, plan.queued + keys);
        if all > most {
            return Err(Error::limit("keys that wait to be announced", most, all));
        }
        plan.queued = all;
        Ok(Self { shared, keys })
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        lock(&self.shared.plan).queued -= self.keys;
    }
}

fn instant(wall: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(wall)
}
