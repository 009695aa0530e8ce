//! Blocks in segments: few large files, each a CAR that any reader reads.

mod compact;
mod error;
mod frame;
mod index;
mod log;
mod options;
mod place;
mod read;
mod recover;
mod scan;
mod segment;
mod verify;
mod write;

use std::{
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{TryStreamExt, future};
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, Runtime, RuntimeExt, Usage, limits,
};

pub use self::{
    compact::Compacted,
    options::{Options, Stats},
    verify::{Mend, Verified},
};
use self::{
    error::PackError,
    index::Index,
    log::Log,
    recover::{Recovered, Site, recover},
    segment::Segments,
};
use crate::files::{Disk, Files, Lock};

/// A folder of segments, into which blocks are appended, and an index that says where each lies.
///
/// # Durability
///
/// A put is appended to the newest segment, and seen by every reader. [`flush`](Blockstore::flush)
/// syncs that segment, once for all callers that wait; nothing else has to reach the disk, for the
/// index can be made from the segments again. What a crash leaves of a put that was not flushed is
/// found out by its checksum and is not there; what was flushed is. A store that is dropped without
/// a flush may lose what was not flushed.
///
/// When a sync fails, nobody can know what reached the disk: from then on the store only reads, and
/// every put, delete and flush gives the error, until it is opened again.
///
/// # Space
///
/// A deleted block is dead bytes in its segment until [`compact`](Blockstore::compact) moves what is
/// alive there elsewhere and removes the segment. Readers and writers go on meanwhile.
///
/// # Limits
///
/// One process at a time, by a lock. Memory: 1.5 bytes a block, and at most some 20 MB for what is new.
///
/// The format of all files is in `DESIGN.md`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("blocks");
/// use std::sync::Arc;
///
/// use ipfs_blockstore::{Blockstore, BlockstoreExt, PackStore};
/// use ipfs_traits::{codes, Block, HashTable, TokioRuntime};
///
/// let store = PackStore::open(&path, Arc::new(TokioRuntime::current()?)).await?;
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// store.put(block.clone()).await?;
/// store.flush().await?;
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct PackStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    files: Arc<dyn Files>,
    runtime: Arc<dyn Runtime>,
    options: Options,
    segments: Segments,
    index: Index,
    /// Held by the one who is the next to have the log: so whoever lets go of it only to take it
    /// again comes after those who wait.
    entrance: Mutex<()>,
    log: Mutex<Log>,
    /// Held by whoever waits for the commit that runs: the others queue here, and not on threads.
    turn: futures_util::lock::Mutex<()>,
    /// Held by the commit that runs, to its end, even if nobody waits for it any more.
    commit: Mutex<()>,
    /// Held by whoever writes the index.
    maintenance: Mutex<()>,
    /// Held by whoever compacts.
    compaction: Arc<futures_util::lock::Mutex<()>>,
    /// Held for reading by all that works on the folder, so that closing waits for it; empty when
    /// the store is closed.
    lock: RwLock<Option<Lock>>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    syncs: AtomicU64,
    damaged: u64,
}

/// Threads that read the blocks of one call at the same time.
const READERS: usize = 4;

/// Blocks that are worth a thread, for another one is not free.
const SHARE: usize = 32;

/// Keys of the index in memory: some 7 MB of them. More are written to a file.
const TABLE: usize = 32 << 10;

/// The folder of the index.
const INDEX: &str = "index";

/// The file that is locked.
const LOCK: &str = ".lock";

/// The file that says what the folder is.
const VERSION: &str = "PACK";

const WHAT: &str = "pack store";

impl PackStore {
    /// Opens the store in the folder `root`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when somebody else has it open; [`Error::Newer`] when a newer version wrote
    /// it; [`Error::Malformed`] for a folder that is another thing; [`Error::Component`] for what
    /// the disk says.
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
            runtime.blocking(move || Disk::open(&root).map_err(PackError::io("open", &root)))
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

    /// What the store holds and has done.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Runs `work` on the store where it may block, unless the store is closed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PackError> + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let work = move || {
            let open = inner.lock.read().unwrap_or_else(PoisonError::into_inner);
            match open.is_some() {
                true => Ok(work(&inner)?),
                false => Err(Error::Closed("the store")),
            }
        };
        self.0.runtime.blocking(work).await?
    }
}

impl Inner {
    fn open(
        files: Arc<dyn Files>,
        root: PathBuf,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Result<Self, PackError> {
        let lock = root.join(LOCK);
        let lock = files
            .lock(&lock)
            .map_err(PackError::io("lock", &lock))?
            .ok_or_else(|| Error::InUse(format!("the store in {}", root.display()).into()))?;
        check_version(&*files, &root)?;
        let folder = root.join(INDEX);
        match files.create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(PackError::io("make", &folder))?,
        }
        let segments = Segments::find(files.clone(), &root)?;
        let hashes = &options.hashes;
        let site = Site { files: &files, root: &root, index: &folder, segments: &segments, hashes };
        let Recovered { index, log, damaged } = recover(site)?;
        Ok(Self {
            root,
            files,
            runtime,
            options,
            segments,
            index,
            entrance: Mutex::new(()),
            log: Mutex::new(log),
            turn: futures_util::lock::Mutex::new(()),
            commit: Mutex::new(()),
            maintenance: Mutex::new(()),
            compaction: Arc::default(),
            lock: RwLock::new(Some(lock)),
            counters: Counters { damaged, ..Counters::default() },
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        let _entrance = self.entrance.lock().unwrap_or_else(PoisonError::into_inner);
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> Stats {
        let log = self.log();
        let sum = |of: fn(&index::Content) -> u64| log.contents().map(of).sum();
        let (blocks, alive) = (sum(|content| content.blocks), sum(|content| content.alive));
        Stats {
            blocks,
            alive,
            on_disk: log.on_disk,
            segments: log.contents().count() as u64,
            commits: self.counters.commits.load(Ordering::Relaxed),
            syncs: self.counters.syncs.load(Ordering::Relaxed),
            committed: log.durable,
            damaged: self.counters.damaged,
        }
    }
}

/// Reads what the folder is, or says it in a new one.
fn check_version(files: &dyn Files, root: &Path) -> Result<(), PackError> {
    const START: &str = "IPFS blocks in segments, version ";
    let path = root.join(VERSION);
    let text = match files.read(&path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let write = || {
                let temp = root.join(".PACK.new");
                match files.remove(&temp) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => files.create(&temp, format!("{START}{}\n", frame::VERSION).as_bytes())?,
                }
                files.sync_file(&temp)?;
                files.rename(&temp, &path)?;
                files.sync_dir(root)
            };
            return write().map_err(PackError::io("write", &path));
        }
        Err(error) => return Err(PackError::io("read", &path)(error)),
    };
    let version = text.strip_prefix(START).and_then(|version| version.trim().parse().ok());
    match version {
        Some(frame::VERSION) => Ok(()),
        Some(found) => Err(Error::Newer { what: WHAT, found, known: frame::VERSION }.into()),
        None => Err(Error::malformed(WHAT, "the file PACK does not begin as it should").into()),
    }
}

#[async_trait]
impl Blockstore for PackStore {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let threads = (cids.len() / SHARE).clamp(1, READERS);
        let shares = cids.chunks(cids.len().div_ceil(threads).max(1)).map(|share| async move {
            let asked = share.to_vec();
            let found = self.blocking(move |inner| Ok(inner.get_many(&asked))).await;
            found.unwrap_or_else(|error| vec![Err(error); share.len()])
        });
        future::join_all(shares).await.concat()
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let asked = cids.to_vec();
        self.blocking(move |inner| inner.sizes(&asked)).await
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        blocks.iter().try_for_each(|block| limits::check_stored_size(block.len()))?;
        let blocks = blocks.to_vec();
        let backlog = self.blocking(move |inner| inner.put_many(&blocks)).await?;
        self.settle(backlog).await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let cids = cids.to_vec();
        let many = cids.len() >= write::AT_ONCE;
        self.blocking(move |inner| inner.delete_many(&cids)).await?;
        self.compact_when_due();
        if many { self.keep_index_up().await } else { self.settle_index().await }
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.pages()
    }

    async fn flush(&self) -> Result<()> {
        self.commit().await
    }

    async fn usage(&self) -> Result<Option<Usage>> {
        let stats = self.stats();
        let mut usage = Usage::of_bytes(stats.alive);
        (usage.blocks, usage.on_disk) = (Some(stats.blocks), Some(stats.on_disk));
        usage.limit = self.0.options.max_bytes;
        Ok(Some(usage))
    }

    async fn compact(&self) -> Result<()> {
        self.compacting().try_for_each(|_| future::ready(Ok(()))).await
    }

    async fn close(&self) -> Result<()> {
        let maintained = match self.blocking(|inner| inner.maintain(true)).await {
            Err(Error::Closed(_)) => return Ok(()),
            maintained => maintained,
        };
        let flushed = self.commit().await;
        let inner = self.0.clone();
        let close = move || inner.lock.write().unwrap_or_else(PoisonError::into_inner).take();
        self.0.runtime.blocking(close).await?;
        maintained.and(flushed)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(WHAT).field("root", &self.root).field("stats", &self.stats()).finish()
    }
}
