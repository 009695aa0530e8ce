//! Import: files, streams and directory trees become blocks in a store.
//!
//! Content is read, hashed and stored in batches that overlap: while one batch is hashed where
//! blocking work goes, many leaves side by side, the next one is read and the one before is stored.
//! What is held is a few batches, whatever the size of the content.

mod balanced;
mod chunks;
mod directory;
mod file;
mod leaves;
mod tree;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_io::AsyncRead;
use futures_util::FutureExt;
use ipfs_traits::{
    Block, Blockstore, Cid, Error, HashTable, Result, Runtime,
    work::{Meter, Work},
};

use self::chunks::{FromBytes, FromReader};
use crate::{Params, child::Child};

/// Makes blocks of files and trees, and puts them into a store.
///
/// It does not flush the store: whoever needs the import durable does that once at the end.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_traits::{memory::MemoryStore, VirtualRuntime};
/// use ipfs_unixfs::{Importer, Params};
///
/// let runtime = VirtualRuntime::new();
/// let store = Arc::new(MemoryStore::new());
/// let importer = Importer::new(store, Arc::new(runtime.clone()));
///
/// // What `ipfs add --cid-version=1 --raw-leaves` prints.
/// let imported = runtime.block_on(importer.bytes("hello world")).unwrap()?;
/// assert_eq!(
///     imported.cid.to_string(),
///     "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
/// );
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Importer(Context);

/// What every part of an import needs.
#[derive(Clone, Debug)]
struct Context {
    params: Arc<Params>,
    hashes: HashTable,
    store: Arc<dyn Blockstore>,
    runtime: Arc<dyn Runtime>,
    meter: Meter,
    counters: Arc<Counters>,
}

/// Counts what the meter does not.
#[derive(Debug, Default)]
struct Counters {
    directories: AtomicU64,
    symlinks: AtomicU64,
    blocks: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Importer {
    /// An importer into `store`, with default parameters and the standard hash functions, that
    /// blocks where `runtime` says.
    pub fn new(store: Arc<dyn Blockstore>, runtime: Arc<dyn Runtime>) -> Self {
        let (params, hashes) = (Arc::default(), HashTable::standard());
        let (meter, counters) = (Meter::default(), Arc::default());
        Self(Context { params, hashes, store, runtime, meter, counters })
    }

    /// Uses these parameters.
    #[must_use]
    pub fn params(mut self, params: Params) -> Self {
        self.0.params = Arc::new(params);
        self
    }

    /// Uses these hash functions.
    #[must_use]
    pub fn hashes(mut self, hashes: HashTable) -> Self {
        self.0.hashes = hashes;
        self
    }

    /// Imports bytes as a file.
    pub fn bytes(&self, bytes: impl Into<Bytes>) -> Import {
        let bytes = bytes.into();
        self.start(|context| async move { context.file(FromBytes::new(bytes)).await }.boxed())
    }

    /// Imports what `reader` gives, to its end, as a file.
    pub fn reader(&self, reader: impl AsyncRead + Send + 'static) -> Import {
        self.start(|context| {
            async move { context.file(FromReader::new(Box::pin(reader))).await }.boxed()
        })
    }

    /// Imports a file, a symbolic link, or a directory with all that is below it.
    ///
    /// Symbolic links are kept as such, never followed. The CID does not depend on the order in
    /// which the file system lists a directory.
    pub fn path(&self, path: impl Into<PathBuf>) -> Import {
        let path = path.into();
        self.start(|context| async move { context.path(path).await }.boxed())
    }

    /// Nothing is done, and nothing is checked, before the import is polled.
    fn start(
        &self,
        work: impl FnOnce(Context) -> BoxFuture<'static, Result<Child>> + Send + 'static,
    ) -> Import {
        let (meter, counters) = (Meter::default(), Arc::default());
        let context = Context { meter: meter.clone(), counters, ..self.0.clone() };
        Work::new(meter, async move {
            context.params.check_with(&context.hashes)?;
            let root = work(context.clone()).await?;
            Ok(context.imported(&root))
        })
    }
}

impl Context {
    fn imported(&self, root: &Child) -> Imported {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let done = self.meter.read();
        Imported {
            cid: root.cid,
            bytes: done.bytes,
            dag_size: root.tsize,
            files: done.files,
            directories: count(&self.counters.directories),
            symlinks: count(&self.counters.symlinks),
            blocks: count(&self.counters.blocks),
            params: (*self.params).clone(),
        }
    }

    /// Puts blocks into the store, and counts them.
    async fn put(&self, blocks: &[Block]) -> Result<()> {
        if !blocks.is_empty() {
            self.store.put_many(blocks).await?;
            add(&self.counters.blocks, blocks.len() as u64);
        }
        Ok(())
    }
}

/// An import under way.
pub type Import = Work<Imported>;

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The root.
    pub cid: Cid,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of all blocks, those that stand in several places counted in each: the size that
    /// directories state.
    pub dag_size: u64,
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Blocks put into the store, those that were there already included.
    pub blocks: u64,
    /// What it was made with: the same content and parameters give the same root again.
    pub params: Params,
}

/// What went wrong with a file of an import.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot read the stream")]
    Stream(#[source] std::io::Error),
}

impl FileError {
    fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        |source| Self::Read { path, source }.into()
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::component("import", error)
    }
}
