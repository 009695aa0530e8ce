//! Blocks as files, in the layout of Kubo's flatfs.

mod commit;
mod layout;
mod read;
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
    Block, Blockstore, Cid, Error, HashTable, Multihash, Result, Runtime, RuntimeExt, limits,
};

pub use self::layout::Sharding;
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
/// read.
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

/// How a [`FlatStore`] is opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Hash every block that is read, and give [`Error::Corrupt`] for one that does not fit its
    /// multihash. Off by default: what this store wrote is synced before it has its name, and
    /// hashing halves the speed of reading.
    pub verify_reads: Option<HashTable>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    files: Arc<dyn Files>,
    runtime: Arc<dyn Runtime>,
    sharding: Sharding,
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
    /// Directories that are known to be there.
    directories: HashSet<String>,
    /// Numbers the files in `.temp/`.
    temp: u64,
    /// Counts what was put and deleted, and how much of it a commit has made durable.
    changes: u64,
    durable: u64,
    /// Whether a commit in the background was started and has not begun yet.
    commit_due: bool,
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

/// Kubo's count of the bytes in the folder, which it makes anew when it is missing.
const DISK_USAGE: &str = "diskUsage.cache";

const README: &str = "_README";
const README_TEXT: &str = "Each file here is one IPFS block, named by its multihash in base32.\n\
    The file SHARDING says how blocks are spread over directories.\n\
    Changing anything by hand can lose data.\n";

impl FlatStore {
    /// Opens the store in the folder `root`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when somebody else has it open; [`Error::Malformed`] or [`Error::Newer`] for
    /// a `SHARDING` file that this version does not read; [`Error::Component`] for what the disk
    /// says.
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
        let sharding = open_sharding(&*files, &root)?;
        clear_temp(&*files, &root.join(TEMP))?;
        let usage = root.join(DISK_USAGE);
        ignore(files.remove(&usage), io::ErrorKind::NotFound)
            .map_err(FlatError::of("remove", &usage))?;
        sync_what_is_there(&*files, &root)?;
        let (state, turn) = (Mutex::default(), futures_util::lock::Mutex::new(()));
        let (commit, lock) = (Mutex::new(()), RwLock::new(Some(lock)));
        Ok(Self { root, files, runtime, sharding, options, state, turn, commit, lock })
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
        let close = move || inner.lock.write().unwrap_or_else(PoisonError::into_inner).take();
        self.runtime.blocking(close).await.map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of a block, and its file there.
    fn place(&self, hash: &Multihash) -> (String, PathBuf) {
        let key = layout::key(hash);
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

/// Reads how blocks are spread, or decides it for a new folder.
fn open_sharding(files: &dyn Files, root: &Path) -> Result<Sharding> {
    let path = root.join(layout::SHARDING);
    match files.read(&path) {
        Ok(text) => Sharding::parse(&String::from_utf8_lossy(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let sharding = Sharding::default();
            create_durable(files, root, README, README_TEXT)?;
            create_durable(files, root, layout::SHARDING, &format!("{sharding}\n"))?;
            Ok(sharding)
        }
        Err(error) => Err(FlatError::of("read", &path)(error)),
    }
}

/// Makes a file that is there whole or not at all.
fn create_durable(files: &dyn Files, root: &Path, name: &str, text: &str) -> Result<()> {
    let (path, temp) = (root.join(name), root.join(format!(".{name}.temp")));
    let make = || {
        ignore(files.remove(&temp), io::ErrorKind::NotFound)?;
        files.create(&temp, text.as_bytes())?;
        files.sync_file(&temp)?;
        files.rename(&temp, &path)?;
        files.sync_dir(root)
    };
    make().map_err(FlatError::of("write", &path))
}

/// Removes what a crash has left.
fn clear_temp(files: &dyn Files, temp: &Path) -> Result<()> {
    let clear = || {
        ignore(files.create_dir(temp), io::ErrorKind::AlreadyExists)?;
        for (name, is_dir) in files.list(temp)? {
            if !is_dir {
                files.remove(&temp.join(name))?;
            }
        }
        Ok(())
    };
    clear().map_err(FlatError::of("clear", temp))
}

/// Makes durable what an earlier process named and did not live to sync: a put of it finds it here,
/// and a flush then says that it is safe.
fn sync_what_is_there(files: &dyn Files, root: &Path) -> Result<()> {
    let sync = || {
        if files.sync_all()? {
            return Ok(());
        }
        for (name, is_dir) in files.list(root)? {
            if is_dir {
                files.sync_dir(&root.join(name))?;
            }
        }
        files.sync_dir(root)
    };
    sync().map_err(FlatError::of("sync", root))
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
        let asked = cids.to_vec();
        match self.blocking(move |inner| inner.get_many(&asked)).await {
            Ok(found) => found,
            Err(error) => cids.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let asked = cids.to_vec();
        self.blocking(move |inner| inner.sizes(&asked)).await?
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
        read::list(self.0.clone())
    }

    async fn flush(&self) -> Result<()> {
        commit::flush(&self.0).await
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
