//! Import: files, streams and directory trees become blocks in a store.
//!
//! Content is read, hashed and stored in batches that overlap: while one batch is hashed where
//! blocking work goes, many leaves side by side, the next one is read and the one before is stored.
//! What is held is a few batches, whatever the size of the content.

mod assemble;
mod batch;
mod chunks;
pub(crate) mod cut;
mod directory;
mod disk;
mod entries;
mod file;
mod keep;
pub(crate) mod leaves;
mod runs;
mod tree;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;
use futures_core::{Stream, future::BoxFuture};
use futures_io::AsyncRead;
use futures_util::{FutureExt, StreamExt};
use ipfs_traits::{
    Blockstore, Cid, Error, HashTable, Origin, ReferenceSink, Result, Runtime,
    work::{Meter, Work},
};

pub use self::entries::{NewContent, NewEntry};
use self::{
    entries::Entries,
    keep::{Blocks, Keep},
    runs::{FromBytes, FromReader, Runs},
};
use crate::{
    Params,
    attributes::Attributes,
    child::Child,
    tar::{self, Reader},
};

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
    keep: Keep,
    runtime: Arc<dyn Runtime>,
    /// Batches that are hashed and stored at the same time.
    at_once: usize,
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
        let keep = Keep { store, references: None, only_hash: false };
        let (meter, counters) = (Meter::default(), Arc::default());
        Self(Context { params, hashes, keep, runtime, at_once: at_once(), meter, counters })
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

    /// Makes all blocks, and keeps none: to learn the CID of something. Nothing reaches the store or
    /// what takes references.
    #[must_use]
    pub fn only_hash(mut self) -> Self {
        self.0.keep.only_hash = true;
        self
    }

    /// Leaves the bytes of files where they are: `sink` takes a reference to each leaf, and the
    /// store everything else. Content must lie in a file ([`path`](Self::path),
    /// [`NewContent::Disk`]) or at a URL ([`url`](Self::url)), and leaves must be raw; if not, the
    /// import fails with [`Error::Invalid`].
    #[must_use]
    pub fn references(mut self, sink: Arc<dyn ReferenceSink>) -> Self {
        self.0.keep.references = Some(sink);
        self
    }

    /// Imports bytes as a file.
    pub fn bytes(&self, bytes: impl Into<Bytes>) -> Import {
        let bytes = bytes.into();
        self.start(|context| async move { context.alone(FromBytes(bytes), None).await }.boxed())
    }

    /// Imports what `reader` gives, to its end, as a file.
    pub fn reader(&self, reader: impl AsyncRead + Send + 'static) -> Import {
        self.read(None, reader)
    }

    /// Imports what `reader` gives, to its end, as a file: the content that is found at `url`, to
    /// which [`references`](Self::references) then refer.
    pub fn url(&self, url: impl Into<Arc<str>>, reader: impl AsyncRead + Send + 'static) -> Import {
        self.read(Some(Origin::Url(url.into())), reader)
    }

    fn read(&self, origin: Option<Origin>, reader: impl AsyncRead + Send + 'static) -> Import {
        self.start(|context| {
            let runs = FromReader(Box::pin(reader));
            async move { context.alone(runs, origin).await }.boxed()
        })
    }

    /// Imports a file, a symbolic link, or a directory with all that is below it.
    ///
    /// [`Params`] says what becomes of symbolic links and which entries are left out. Names and the
    /// targets of links are taken as they are, in bytes, on Unix, and must be Unicode elsewhere. The
    /// CID does not depend on the order in which the file system lists a directory.
    ///
    /// What is no file, directory or link (a socket, a device) is an error, and so is a pipe, unless
    /// it is `path` itself: that is read to its end, as a file.
    pub fn path(&self, path: impl Into<PathBuf>) -> Import {
        let path = path.into();
        self.start(|context| async move { context.path(path).await }.boxed())
    }

    /// Imports a tree whose entries come one after the other, in any order. An error among them ends
    /// the import.
    ///
    /// Of each entry name and CID are held until all have come, some 200 bytes; of their content no
    /// more than of any other import. The next entry is not asked for before a
    /// [reader](NewContent::Reader) has come to its end. Which entries of a disk are left out
    /// matters nothing here.
    ///
    /// Two things at one path, and a name that could not stand on a disk (an empty one, `.`, `..`,
    /// one with a slash or a zero byte), fail with [`Error::Invalid`]; a path of more than
    /// [`NewEntry::MAX_DEPTH`] names fails with [`Error::Limit`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use futures::stream;
    /// # use ipfs_traits::{memory::MemoryStore, VirtualRuntime};
    /// # use ipfs_unixfs::Importer;
    /// use ipfs_unixfs::NewEntry;
    /// # let runtime = VirtualRuntime::new();
    /// # let importer = Importer::new(Arc::new(MemoryStore::new()), Arc::new(runtime.clone()));
    ///
    /// let entries = [
    ///     NewEntry::file(["docs", "hello.txt"], "hello"),
    ///     NewEntry::symlink(["readme"], "docs/hello.txt"),
    /// ];
    /// let entries = stream::iter(entries.map(Ok));
    /// let imported = runtime.block_on(importer.entries(entries)).unwrap()?;
    /// assert_eq!((imported.files, imported.directories, imported.symlinks), (1, 2, 1));
    /// # Ok::<(), ipfs_traits::Error>(())
    /// ```
    pub fn entries(
        &self,
        entries: impl Stream<Item = Result<NewEntry>> + Send + 'static,
    ) -> Import {
        let entries = Entries(entries.boxed());
        self.start(|context| async move { context.entries(entries).await }.boxed())
    }

    /// Imports what is in a tar archive, compressed or not, as it is read.
    ///
    /// The root is a directory of what stands at the top of the archive, or, by
    /// [`Reader::strip_root`], what stands there alone: of an archive that `ipfs get --archive` has
    /// made, the very root that it was made of, under the parameters that this was made with. Modes
    /// and times are written as [`Params`] says. Otherwise it is as [`entries`](Self::entries): two
    /// entries at one path fail, and so do the links and devices that [`Reader`] does not read.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use futures::{TryStreamExt};
    /// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
    /// # use ipfs_unixfs::{Exporter, Importer, NewEntry};
    /// use ipfs_unixfs::tar::Reader;
    /// # let runtime = VirtualRuntime::new();
    /// # let store = Arc::new(MemoryStore::new());
    /// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
    /// # let exporter = Exporter::new(Arc::new(Local(store)), Arc::new(runtime.clone()));
    /// # runtime.block_on(async {
    /// # let entries = futures::stream::iter([Ok(NewEntry::file(["hello.txt"], "hello"))]);
    /// # let root = importer.entries(entries).await?.cid;
    ///
    /// let archive = exporter.tar(&root).map_err(std::io::Error::other).into_async_read();
    /// let imported = importer.tar(Reader::new(archive).strip_root()).await?;
    /// assert_eq!(imported.cid, root);
    /// # Ok::<(), ipfs_traits::Error>(())
    /// # }).unwrap()?;
    /// # Ok::<(), ipfs_traits::Error>(())
    /// ```
    pub fn tar(&self, archive: Reader) -> Import {
        self.entries(tar::Entries::new(archive))
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
            context.keep.check(&context.params)?;
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
            only_hash: self.keep.only_hash,
            references: self.keep.refers(),
            params: (*self.params).clone(),
        }
    }

    /// A file that is the whole import.
    async fn alone(&self, runs: impl Runs, origin: Option<Origin>) -> Result<Child> {
        let root = self.file(runs, origin, Attributes::NONE).await?;
        self.wrap(Some(root)).await
    }

    /// Makes the root the only entry of a directory, if that is asked for. `None` is a root that is
    /// to be dropped there.
    async fn wrap(&self, root: Option<Child>) -> Result<Child> {
        let entries = match (self.params.wrap.clone(), root) {
            (None, Some(root)) => return Ok(root),
            (name, root) => name.zip(root).into_iter().collect(),
        };
        let mut blocks = Blocks::default();
        let root = self.directory(entries, Attributes::NONE, &mut blocks).await?;
        self.put(blocks).await?;
        Ok(root)
    }
}

/// How many batches are hashed and stored at once: what keeps every core busy, and no more than
/// memory has room for.
fn at_once() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST_AT_ONCE)
}

/// The most batches that are hashed and stored at once, each of up to 16 MiB.
const MOST_AT_ONCE: usize = 4;

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
    /// Blocks put into the store or referred to, those that were there already included, and
    /// without those that are in their CIDs.
    pub blocks: u64,
    /// Whether they were not put anywhere, but only made.
    pub only_hash: bool,
    /// Whether leaves were left where they are, and referred to.
    pub references: bool,
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
    /// What a reader says: an error of ours that came through it is that error.
    fn stream(error: std::io::Error) -> Error {
        error.downcast::<Error>().unwrap_or_else(|error| Self::Stream(error).into())
    }

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
