//! Blocks as files, in the layout of Kubo's flatfs.

mod commit;
mod folder;
mod layout;
mod list;
mod options;
mod read;
mod usage;
mod write;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, Runtime, RuntimeExt, Usage, limits,
};

use self::{
    folder::{Found, Trust},
    usage::Tally,
};
pub use self::{layout::Sharding, options::Options};
use crate::files::{Disk, Files, Lock};

/// A folder with a file for each block, as Kubo has it in `blocks/`: Kubo opens what this store
/// wrote, and the other way round, though not at the same time.
///
/// # Durability
///
/// A block that was put is first a file in `.temp/`, where reads find it. [`flush`](Blockstore::flush)
/// syncs those files, gives them their names, and syncs the names; one such commit serves all
/// callers that wait for it. So a file under its final name is always whole, a crash loses only what
/// was not flushed, and a put may be repeated. Commits also run by themselves in the background, so
/// that a long import does not leave all writing to its end. A store that is dropped without a flush
/// loses what was not flushed.
///
/// When a sync fails, nobody can know what reached the disk: from then on the store only reads, and
/// every put, delete and flush gives the error, until it is opened again.
///
/// # Limits
///
/// One process at a time, by a lock. Each block costs a file: 4 KiB of disk and an inode, at the
/// least. What Kubo wrote was perhaps never synced; [`Options::verify_reads`] hashes all that is
/// read. Blocks whose multihash has more than 64 bytes of digest, which Kubo can write, are not
/// found, nor are files that lie in another directory than the sharding says.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("blocks");
/// use std::sync::Arc;
///
/// use ipfs_blockstore::{Blockstore, BlockstoreExt, FlatStore};
/// use ipfs_traits::{codes, Block, HashTable, TokioRuntime};
///
/// let store = FlatStore::open(&path, Arc::new(TokioRuntime::current()?)).await?;
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// store.put(block.clone()).await?;
/// store.flush().await?;
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FlatStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    files: Arc<dyn Files>,
    runtime: Arc<dyn Runtime>,
    sharding: Sharding,
    trust: Trust,
    options: Options,
    state: Mutex<State>,
    /// Held by whoever waits for the commit that runs: the others queue here, and not on threads.
    turn: futures_util::lock::Mutex<()>,
    /// Held by the commit that runs, to its end, even if nobody waits for it any more.
    commit: Mutex<()>,
    /// Held for reading by all that works on the folder, so that closing waits for it; empty when
    /// the store is closed.
    lock: RwLock<Option<Lock>>,
}

#[derive(Debug, Default)]
struct State {
    /// Blocks that were put and have no name yet.
    pending: HashMap<Multihash, Pending>,
    pending_bytes: u64,
    /// Directories whose names have changed since they were synced.
    changed: BTreeSet<PathBuf>,
    /// Files that had their names before, were put again, and may not be synced.
    unsynced: BTreeSet<PathBuf>,
    /// Directories that are known to be there.
    directories: HashSet<String>,
    /// Numbers the files in `.temp/`.
    temp: u64,
    /// Counts what was put and deleted, and how much of it a commit has made durable.
    changes: u64,
    durable: u64,
    /// Whether a commit in the background was started and has not begun yet.
    commit_due: bool,
    tally: Tally,
    /// A sync has failed.
    failed: Option<Error>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    temp: u64,
    len: u64,
}

/// The folder of files that have no name yet.
const TEMP: &str = ".temp";

/// The file that is locked. A dot keeps it out of Kubo's listing.
const LOCK: &str = ".lock";

impl FlatStore {
    /// Opens the store in the folder `root`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when somebody else has it open; [`Error::Malformed`] or [`Error::Newer`] for
    /// a `SHARDING` file that this version does not read, and for a folder that has none and is not
    /// empty; [`Error::Invalid`] when the options ask for another sharding than the folder has;
    /// [`Error::Component`] for what the disk says.
    pub async fn open(root: impl Into<PathBuf>, runtime: Arc<dyn Runtime>) -> Result<Self> {
        Self::open_with(root, runtime, Options::default()).await
    }

    /// Opens the store with options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        root: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Result<Self> {
        let root = root.into();
        let disk = {
            let root = root.clone();
            runtime.blocking(move || Disk::open(&root).map_err(FlatError::of("open", &root)))
        };
        let files = Arc::new(disk.await??);
        Self::open_on(files, root, runtime, options).await
    }

    /// Opens the store on a file system of the caller's, whose folder is `root`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_on(
        files: Arc<dyn Files>,
        root: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Result<Self> {
        let (root, blocking) = (root.into(), runtime.clone());
        let open = move || Inner::open(files, root, runtime, options);
        Ok(Self(Arc::new(blocking.blocking(open).await??)))
    }

    /// How blocks are spread over directories here.
    pub fn sharding(&self) -> Sharding {
        self.0.sharding
    }

    /// The lengths of all files and directories of the folder in bytes, about: the figure that Kubo
    /// keeps in `diskUsage.cache`, and this store with it. `None` where neither has counted.
    pub fn disk_usage(&self) -> Option<u64> {
        let state = self.0.state();
        state.tally.disk().map(|disk| disk.bytes.saturating_add(state.pending_bytes))
    }

    /// Runs `work` on the store where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T> {
        self.0.blocking(work).await
    }
}

const CLOSED: Error = Error::Closed("the store");

impl Inner {
    fn open(
        files: Arc<dyn Files>,
        root: PathBuf,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Result<Self> {
        let lock = root.join(LOCK);
        let lock = files
            .lock(&lock)
            .map_err(FlatError::of("lock", &lock))?
            .ok_or_else(|| Error::InUse(format!("the store in {}", root.display()).into()))?;
        let Found { sharding, tally, trust } = folder::open(&*files, &root, &options)?;
        let state = Mutex::new(State { tally, ..State::default() });
        let (turn, commit) = (futures_util::lock::Mutex::new(()), Mutex::new(()));
        let lock = RwLock::new(Some(lock));
        Ok(Self { root, files, runtime, sharding, trust, options, state, turn, commit, lock })
    }

    /// Runs `work` where it may block, unless the store is closed.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let inner = self.clone();
        let work = move || {
            let open = inner.lock.read().unwrap_or_else(PoisonError::into_inner);
            if open.is_none() { Err(CLOSED) } else { Ok(work(&inner)) }
        };
        self.runtime.blocking(work).await?
    }

    /// Gives up the lock, once all that works on the folder is done.
    async fn close(self: &Arc<Self>) -> Result<()> {
        let inner = self.clone();
        let close = move || {
            let mut lock = inner.lock.write().unwrap_or_else(PoisonError::into_inner);
            if lock.is_some()
                && let Err(error) = inner.leave()
            {
                tracing::warn!(%error, "what is known of the folder was not written");
            }
            lock.take()
        };
        self.runtime.blocking(close).await.map(drop)
    }

    fn usage(&self) -> Option<Usage> {
        let state = self.state();
        let named = state.tally.counted()?;
        let mut usage = Usage::of_bytes(named.bytes.saturating_add(state.pending_bytes));
        usage.blocks = Some(named.blocks.saturating_add(state.pending.len() as u64));
        Some(usage)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of a block, and its file there.
    fn place(&self, hash: &Multihash) -> (String, PathBuf) {
        let key = crate::key::of(hash);
        let directory = self.sharding.directory(&key);
        let file = self.root.join(&directory).join(layout::file_name(&key));
        (directory, file)
    }

    fn temp_path(&self, number: u64) -> PathBuf {
        self.root.join(TEMP).join(number.to_string())
    }
}

impl State {
    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn forget(&mut self, hash: &Multihash) -> Option<Pending> {
        let pending = self.pending.remove(hash)?;
        self.pending_bytes -= pending.len;
        Some(pending)
    }
}

fn ignore(result: io::Result<()>, kind: io::ErrorKind) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        other => other,
    }
}

#[async_trait]
impl Blockstore for FlatStore {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.in_shares(cids, Inner::get).await
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.in_shares(cids, Inner::size).await.into_iter().collect()
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        blocks.iter().try_for_each(|block| limits::check_stored_size(block.len()))?;
        let blocks = blocks.to_vec();
        match self.blocking(move |inner| inner.put_many(&blocks)).await?? {
            write::Backlog::Small => Ok(()),
            write::Backlog::Growing => {
                self.commit_in_background();
                Ok(())
            }
            write::Backlog::Full => self.flush().await,
        }
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let cids = cids.to_vec();
        self.blocking(move |inner| inner.delete_many(&cids)).await?
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        list::list(self.0.clone())
    }

    async fn flush(&self) -> Result<()> {
        commit::flush(&self.0).await
    }

    /// Known where the store has made the folder, or was closed, or a listing has come to its end
    /// since. The blocks are counted, and not what a file takes on disk.
    async fn usage(&self) -> Result<Option<Usage>> {
        Ok(self.0.usage())
    }

    async fn close(&self) -> Result<()> {
        let flushed = match self.flush().await {
            Err(Error::Closed(_)) => Ok(()),
            flushed => flushed,
        };
        self.0.close().await.and(flushed)
    }
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
struct FlatError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FlatError {
    fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::component("flat store", Self { action, path, source })
    }
}
