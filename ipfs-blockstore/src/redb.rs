//! Small durable state in one file, by redb.

mod file;

use std::{
    collections::VecDeque,
    ops::Bound,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_channel::oneshot;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future, stream};
use ipfs_traits::{Batch, Datastore, Error, Result, Runtime, RuntimeExt};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
};

use crate::files::{Disk, Files};

/// A [`Datastore`] in a file of its own.
///
/// Commits are durable when they return; those that wait for the disk at the same time share one
/// sync. One process at a time has the file open.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state.redb");
/// use std::sync::Arc;
///
/// use ipfs_blockstore::RedbDatastore;
/// use ipfs_traits::{Batch, Datastore, TokioRuntime};
///
/// let state = RedbDatastore::open(&path, Arc::new(TokioRuntime::current()?)).await?;
/// state.commit(Batch::new().put("answer", "42")).await?;
/// assert_eq!(state.get(b"answer").await?, Some("42".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct RedbDatastore(Arc<Inner>);

struct Inner {
    /// Empty when it is closed.
    database: RwLock<Option<Database>>,
    runtime: Arc<dyn Runtime>,
    /// Commits that wait for the one that runs.
    queue: Mutex<VecDeque<Waiting>>,
    /// Held by the commit that runs.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redb")
    }
}

struct Waiting {
    batch: Batch,
    done: oneshot::Sender<Result<bool>>,
}

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// Memory for pages. The default of redb is 1 GiB; small state needs little.
const CACHE: usize = 4 << 20;

/// Entries in one page of a scan, and bytes of them after which it ends.
const PAGE: usize = 1024;
const PAGE_BYTES: usize = 256 << 10;

/// Commits that share one sync at the most: each waits only for so many others.
const GROUP: usize = 1024;

impl RedbDatastore {
    /// Opens the file, which is made if it is not there, and so is its folder.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when somebody else has it open; [`Error::Newer`] for a file of a newer
    /// redb; [`Error::Component`] for what the disk or redb says.
    pub async fn open(path: impl Into<PathBuf>, runtime: Arc<dyn Runtime>) -> Result<Self> {
        let path = std::path::absolute(path.into()).map_err(failed)?;
        let folder = path.parent().map(PathBuf::from);
        let folder = folder.ok_or_else(|| Error::invalid("path", "it names no file"))?;
        let disk = runtime.blocking(move || Disk::open(&folder).map_err(failed)).await??;
        Self::open_on(Arc::new(disk), path, runtime).await
    }

    /// Opens the file on a file system of the caller's, whose folder it lies in.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_on(
        files: Arc<dyn Files>,
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self> {
        let path = path.into();
        let database = runtime.blocking(move || file::open(&*files, &path)).await??;
        let database = RwLock::new(Some(database));
        let (queue, turn) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { database, runtime, queue, turn })))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Database) -> T + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let work = move || {
            let open = inner.database.read().unwrap_or_else(PoisonError::into_inner);
            Ok(work(&inner, open.as_ref().ok_or(CLOSED)?))
        };
        self.0.runtime.blocking(work).await?
    }
}

const CLOSED: Error = Error::Closed("the state file");

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::component("state file", error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Commits what waits, all in one transaction with one sync.
    fn commit_waiting(&self, database: &Database) {
        let _turn = lock(&self.turn);
        let group: Vec<Waiting> = {
            let mut queue = lock(&self.queue);
            let count = queue.len().min(GROUP);
            queue.drain(..count).collect()
        };
        if group.is_empty() {
            // The one that had the turn before has done it all.
            return;
        }
        let (batches, done): (Vec<Batch>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.batch, waiting.done)).unzip();
        match commit_all(database, batches) {
            Ok(outcomes) => {
                for (done, outcome) in done.into_iter().zip(outcomes) {
                    let _ = done.send(Ok(outcome));
                }
            }
            Err(error) => done.into_iter().for_each(|done| drop(done.send(Err(error.clone())))),
        }
    }
}

fn get(database: &Database, key: &[u8]) -> Result<Option<Bytes>> {
    let transaction = database.begin_read().map_err(failed)?;
    let table = match transaction.open_table(TABLE) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(failed)?,
    };
    let value = table.get(key).map_err(failed)?;
    Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
}

/// Writes batches one after the other, durably; says of each whether its expectations held.
fn commit_all(database: &Database, batches: Vec<Batch>) -> Result<Vec<bool>> {
    let transaction = database.begin_write().map_err(failed)?;
    let mut table = transaction.open_table(TABLE).map_err(failed)?;
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let holds = holds(&table, &batch)?;
        if holds {
            write(&mut table, batch)?;
        }
        outcomes.push(holds);
    }
    drop(table);
    if outcomes.contains(&true) {
        // The default durability of redb: on disk when it returns.
        transaction.commit().map_err(failed)?;
    } else {
        transaction.abort().map_err(failed)?;
    }
    Ok(outcomes)
}

fn holds(table: &Table<'_, &[u8], &[u8]>, batch: &Batch) -> Result<bool> {
    for (key, expected) in batch.expectations() {
        let found = table.get(&key[..]).map_err(failed)?;
        if found.as_ref().map(|value| value.value()) != expected.map(|value| &value[..]) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write(table: &mut Table<'_, &[u8], &[u8]>, batch: Batch) -> Result<()> {
    for (key, value) in batch.into_writes() {
        match value {
            Some(value) => drop(table.insert(&key[..], &value[..]).map_err(failed)?),
            None => drop(table.remove(&key[..]).map_err(failed)?),
        }
    }
    Ok(())
}

#[async_trait]
impl Datastore for RedbDatastore {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let key = key.to_vec();
        self.blocking(move |_, database| get(database, &key)).await?
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        let scan = Scan { prefix: prefix.to_vec(), last: None, is_over: false, transaction: None };
        let first = future::maybe_done(self.clone().page(scan).boxed());
        stream::unfold(Some((self.clone(), first)), |state| async move {
            let (store, mut turn) = state?;
            (&mut turn).await;
            match Pin::new(&mut turn).take_output()? {
                Ok((page, _)) if page.is_empty() => None,
                Ok((page, scan)) if scan.is_over => Some((Ok(page), None)),
                Ok((page, scan)) => {
                    // The next one is read while this one is looked at.
                    let mut next = future::maybe_done(store.clone().page(scan).boxed());
                    let _ = (&mut next).now_or_never();
                    Some((Ok(page), Some((store, next))))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn commit(&self, batch: Batch) -> Result<bool> {
        batch.check()?;
        let (done, outcome) = oneshot::channel();
        lock(&self.0.queue).push_back(Waiting { batch, done });
        self.blocking(Inner::commit_waiting).await?;
        outcome.await.map_err(|_| CLOSED)?
    }

    async fn close(&self) -> Result<()> {
        let inner = self.0.clone();
        let close = move || {
            let closed = inner.database.write().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        };
        self.0.runtime.blocking(close).await
    }
}

type Page = Vec<(Bytes, Bytes)>;

impl RedbDatastore {
    /// The next page of a scan, and what is left of it.
    async fn page(self, mut scan: Scan) -> Result<(Page, Scan)> {
        self.blocking(move |_, database| Ok((scan.page(database)?, scan))).await?
    }
}

/// A scan of one moment, which goes on where it left off.
struct Scan {
    prefix: Vec<u8>,
    last: Option<Bytes>,
    /// Nothing comes after it.
    is_over: bool,
    transaction: Option<ReadTransaction>,
}

impl Scan {
    fn page(&mut self, database: &Database) -> Result<Page> {
        let transaction = match &mut self.transaction {
            Some(transaction) => transaction,
            none => none.insert(database.begin_read().map_err(failed)?),
        };
        let table = match transaction.open_table(TABLE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table.map_err(failed)?,
        };
        let from = match &self.last {
            Some(last) => Bound::Excluded(&last[..]),
            None => Bound::Included(&self.prefix[..]),
        };
        let mut entries = table.range::<&[u8]>((from, Bound::Unbounded)).map_err(failed)?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < PAGE && bytes < PAGE_BYTES {
            let entry = entries.next().transpose().map_err(failed)?;
            let Some((key, value)) = entry.filter(|(key, _)| key.value().starts_with(&self.prefix))
            else {
                self.is_over = true;
                break;
            };
            let entry = (key.value(), value.value());
            page.push((Bytes::copy_from_slice(entry.0), Bytes::copy_from_slice(entry.1)));
            bytes += entry.0.len() + entry.1.len();
        }
        self.last = page.last().map(|(key, _)| key.clone());
        Ok(page)
    }
}
