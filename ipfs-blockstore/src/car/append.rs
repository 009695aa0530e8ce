//! A CARv2 that blocks are appended to.

mod dead;
mod log;
mod read;
mod resume;

use std::{
    collections::HashMap,
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{
    Block, Blockstore, Cid, Error, HashTable, Multihash, Result, Runtime, RuntimeExt, Usage, car,
    limits,
};

use self::log::Log;
use super::{
    WHAT,
    file::CarFile,
    file_error,
    v2::{self, PRAGMA},
};
use crate::files::{Disk, Files, Lock, Open, OpenFile};

/// A CARv2 file as a store that is written to: an archive that grows, and that any CAR reader reads
/// once it was closed.
///
/// # Durability
///
/// A put appends a section; [`flush`](Blockstore::flush) syncs the file, once for all callers that
/// wait. [`close`](Blockstore::close) writes the index and finishes the header. A store that was not
/// closed, or whose process or machine died, is resumed when it is opened again: all sections are
/// read and hashed, what is torn at the end is cut off, and what is damaged elsewhere costs that
/// block alone. After a failed sync the store only reads, until it is opened again.
///
/// # Deletes
///
/// A deleted block's section is marked dead where it stands: its CID is replaced by that of what is
/// left of it, so that the archive stays one that every reader reads. Its room is not given back: an
/// [`export`](super::export) of what is alive makes a smaller archive.
///
/// # Limits
///
/// Some 150 bytes of memory a block. Everything that is read is hashed, for a CAR has no other
/// checksum: blocks of unknown hash functions are not taken ([`Error::UnknownHash`]), and blocks of
/// identity CIDs are not stored, for they need not be. One process at a time has the file open, by a
/// lock on a file beside it, which ends in `.lock` and stays there.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("some.car");
/// use std::sync::Arc;
///
/// use ipfs_blockstore::{car::{AppendOptions, AppendableCar}, Blockstore, BlockstoreExt, CarStore};
/// use ipfs_traits::{codes, Block, HashTable, TokioRuntime};
///
/// let runtime = Arc::new(TokioRuntime::current()?);
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let mut options = AppendOptions::default();
/// options.roots = vec![*block.cid()];
/// let archive = AppendableCar::open_with(&path, runtime.clone(), options).await?;
/// archive.put(block.clone()).await?;
/// archive.close().await?;
///
/// let store = CarStore::open(&path, runtime).await?;
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct AppendableCar(Arc<Inner>);

/// How an [`AppendableCar`] is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppendOptions {
    /// The roots that a new archive names. One that is there keeps its own: if these are others,
    /// and not none, it is not opened.
    pub roots: Vec<Cid>,
    /// The hash functions by which blocks are known to be whole.
    pub hashes: HashTable,
    /// The most bytes that the file may take before its index is written; beyond it a put gives
    /// [`Error::Full`] and stores nothing. No limit by default.
    pub max_bytes: Option<u64>,
}

impl Default for AppendOptions {
    fn default() -> Self {
        Self { roots: Vec::new(), hashes: HashTable::standard(), max_bytes: None }
    }
}

struct Inner {
    path: PathBuf,
    file: Arc<dyn OpenFile>,
    runtime: Arc<dyn Runtime>,
    options: AppendOptions,
    roots: Vec<Cid>,
    /// Where in the file the CARv1 begins.
    start: u64,
    index: RwLock<Found>,
    log: Mutex<Log>,
    /// Held by whoever waits for the commit that runs: the others queue here, and not on threads.
    turn: futures_util::lock::Mutex<()>,
    /// Held by the commit that runs, to its end, even if nobody waits for it any more.
    commit: Mutex<()>,
    /// Held for reading by all that works on the file, so that closing waits for it; empty when the
    /// store is closed.
    lock: RwLock<Option<Lock>>,
}

/// The blocks that are there.
type Found = HashMap<Multihash, Section>;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Section {
    /// Where in the file its section begins, at the length.
    at: u64,
    /// Bytes of the length and the CID.
    head: u8,
    /// Bytes of the block.
    len: u32,
}

const CLOSED: Error = Error::Closed("the archive");

impl AppendableCar {
    /// Opens an archive, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when somebody else has it open; [`Error::Malformed`] for what is no CARv2;
    /// [`Error::Invalid`] for other roots; [`Error::Component`] for what the disk says.
    pub async fn open(path: impl Into<PathBuf>, runtime: Arc<dyn Runtime>) -> Result<Self> {
        Self::open_with(path, runtime, AppendOptions::default()).await
    }

    /// Opens an archive with options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        options: AppendOptions,
    ) -> Result<Self> {
        Self::open_on(Arc::new(Disk::reading()), path, runtime, options).await
    }

    /// Opens an archive on a file system of the caller's.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_on(
        files: Arc<dyn Files>,
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        options: AppendOptions,
    ) -> Result<Self> {
        let (path, blocking) = (path.into(), runtime.clone());
        let open = move || Inner::open(&*files, path, runtime, options);
        Ok(Self(Arc::new(blocking.blocking(open).await??)))
    }

    /// The roots that the header names, whether they are there or not.
    pub fn roots(&self) -> &[Cid] {
        &self.0.roots
    }

    /// Runs `work` where it may block, unless the store is closed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let work = move || {
            let open = inner.lock.read().unwrap_or_else(PoisonError::into_inner);
            if open.is_none() { Err(CLOSED) } else { Ok(work(&inner)) }
        };
        self.0.runtime.blocking(work).await?
    }
}

impl Inner {
    fn open(
        files: &dyn Files,
        path: PathBuf,
        runtime: Arc<dyn Runtime>,
        options: AppendOptions,
    ) -> Result<Self> {
        let lock = beside(&path, "", ".lock");
        let lock = files
            .lock(&lock)
            .map_err(file_error("lock", &lock))?
            .ok_or_else(|| Error::InUse(format!("the archive {}", path.display()).into()))?;
        let file = match files.open(&path, Open::Existing) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create(files, &path, &options.roots)?;
                files.open(&path, Open::Existing)
            }
            file => file,
        };
        let file = file.map_err(file_error("open", &path))?;
        // Whoever made it may not have lived to sync its name.
        files.sync_dir(folder_of(&path)).map_err(file_error("sync", &path))?;
        let resumed = resume::resume(file.clone(), &path, &options.hashes)?;
        let roots: Vec<Cid> = resumed.car.roots.roots().collect();
        if !options.roots.is_empty() && options.roots != roots {
            return Err(Error::invalid("roots", "the archive that is there names others"));
        }
        Ok(Self {
            path,
            file,
            runtime,
            options,
            roots,
            start: resumed.car.data.start,
            index: RwLock::new(resumed.found),
            log: Mutex::new(resumed.log),
            turn: futures_util::lock::Mutex::new(()),
            commit: Mutex::new(()),
            lock: RwLock::new(Some(lock)),
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> RwLockReadGuard<'_, Found> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn found_mut(&self) -> RwLockWriteGuard<'_, Found> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs what was put and deleted.
    fn commit(&self) -> Result<()> {
        // Whoever waited for the commit before may have gone, and left it running.
        let _running = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = {
            let log = self.log();
            log.check()?;
            if log.durable == log.changes {
                return Ok(());
            }
            log.changes
        };
        let synced = self.file.sync().map_err(file_error("sync", &self.path));
        let mut log = self.log();
        synced.map_err(|error| log.fail(error))?;
        log.durable = log.durable.max(changes);
        Ok(())
    }
}

/// A name beside another one.
fn beside(path: &Path, before: &str, behind: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{before}{name}{behind}"))
}

fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Makes an archive without blocks, whole and durable before it has its name; the name is the
/// caller's to sync.
fn create(files: &dyn Files, path: &Path, roots: &[Cid]) -> Result<()> {
    let temp = beside(path, ".new.", "");
    let header = v2::Header { data_offset: v2::START, ..v2::Header::default() };
    let content = [&PRAGMA[..], &header.encode(), &car::header(roots)].concat();
    let make = || {
        match files.remove(&temp) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => files.create(&temp, &content)?,
        }
        files.sync_file(&temp)?;
        files.rename(&temp, path)
    };
    make().map_err(file_error("make", path))
}

#[async_trait]
impl Blockstore for AppendableCar {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let asked = cids.to_vec();
        match self.blocking(move |inner| inner.get_many(&asked)).await {
            Ok(found) => found,
            Err(error) => cids.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let index = self.0.found();
        let stored = |cid: &Cid| index.get(cid.hash()).map(|section| u64::from(section.len));
        let inline = |cid: &Cid| Block::inline(cid).map(|block| block.len() as u64);
        Ok(cids.iter().map(|cid| inline(cid).or_else(|| stored(cid))).collect())
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        for block in blocks {
            limits::check_stored_size(block.len())?;
            self.0.options.hashes.check(block.cid())?;
        }
        let blocks = blocks.to_vec();
        self.blocking(move |inner| inner.put_many(&blocks)).await?
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let cids = cids.to_vec();
        self.blocking(move |inner| inner.delete_many(&cids)).await?
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        const PAGE: usize = 1024;
        let inner = self.0.clone();
        let all = move || {
            let index = inner.found();
            index.iter().map(|(hash, section)| (*hash, section.len.into())).collect::<Vec<_>>()
        };
        let pages = stream::once(async move { stream::iter(all()) }).flatten().chunks(PAGE);
        pages.map(Ok).boxed()
    }

    async fn flush(&self) -> Result<()> {
        let wanted = self.0.log().changes;
        let turn = self.0.turn.lock().await;
        if self.0.log().durable < wanted {
            self.blocking(Inner::commit).await??;
        }
        drop(turn);
        self.0.log().check()
    }

    async fn usage(&self) -> Result<Option<Usage>> {
        let log = self.0.log();
        let mut usage = Usage::of_bytes(log.bytes);
        (usage.blocks, usage.on_disk) = (Some(self.0.found().len() as u64), Some(log.end));
        usage.limit = self.0.options.max_bytes;
        Ok(Some(usage))
    }

    /// Also writes the index, and finishes the header: from then on it is an archive like any other.
    async fn close(&self) -> Result<()> {
        let finished =
            match self.blocking(|inner| inner.commit().and_then(|()| inner.finish())).await {
                Err(Error::Closed(_)) => return Ok(()),
                finished => finished.and_then(|finished| finished),
            };
        let inner = self.0.clone();
        let close = move || inner.lock.write().unwrap_or_else(PoisonError::into_inner).take();
        self.0.runtime.blocking(close).await?;
        finished
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(WHAT).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Section {
    fn of(at: u64, head: &crate::section::Head) -> Self {
        Self { at, head: head.head as u8, len: head.len as u32 }
    }

    const fn bytes(&self) -> u64 {
        self.head as u64 + self.len as u64
    }
}

/// The CARv1 of a file, from a place on to another.
fn data_of(file: Arc<dyn OpenFile>, path: &Path, from: u64, to: u64) -> Result<CarFile> {
    CarFile::with_data(file, path, None, from..to)
}
