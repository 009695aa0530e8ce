//! Export: files, ranges, directories and trees are read from blocks.

mod ahead;
mod disk;
mod file;
pub(crate) mod names;
mod tree;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{BlockSource, Cid, Error, Result, Runtime};

pub use self::{
    disk::{Disk, Export, Exported},
    file::File,
    tree::{Item, Tree},
};
use crate::{
    Name, Node,
    tar::{self, Archive},
};

/// Reads files and trees from a source of blocks: a store, a session with peers, or both.
///
/// ```
/// # use std::sync::Arc;
/// # use futures::{AsyncReadExt, AsyncSeekExt, TryStreamExt};
/// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
/// # use ipfs_unixfs::{Exporter, Importer};
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # std::fs::create_dir(folder.path().join("in"))?;
/// # std::fs::write(folder.path().join("in/hello.txt"), "hello world")?;
/// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
/// # let root = importer.path(folder.path().join("in")).await?.cid;
/// # let target = folder.path().join("out");
/// let exporter = Exporter::new(Arc::new(Local(store)), Arc::new(runtime.clone()));
///
/// let entries: Vec<_> = exporter.list(&root).await?.try_collect().await?;
/// assert_eq!(entries[0].name, "hello.txt");
///
/// let cid = exporter.resolve(&root, ["hello.txt"]).await?;
/// let mut file = exporter.open(&cid).await?;
/// file.seek(std::io::SeekFrom::Start(6)).await?;
/// let mut text = String::new();
/// file.read_to_string(&mut text).await?;
/// assert_eq!(text, "world");
///
/// exporter.write(&root, &target).await?;
/// assert_eq!(std::fs::read_to_string(target.join("hello.txt"))?, "hello world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Exporter {
    source: Arc<dyn BlockSource>,
    runtime: Arc<dyn Runtime>,
}

/// What every call says of a name that is not there.
fn no_entry(name: &[u8], within: Cid) -> Error {
    Error::NoEntry { name: String::from_utf8_lossy(name).into(), within: Box::new(within) }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Its root.
    pub cid: Cid,
    /// Bytes of all blocks below it, as the directory states them: a hint, which may be wrong.
    pub dag_size: Option<u64>,
}

/// What a CID leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stat {
    /// A file.
    #[non_exhaustive]
    File {
        /// Its bytes.
        size: u64,
    },
    /// A directory.
    #[non_exhaustive]
    Directory {
        /// Its entries.
        entries: usize,
    },
    /// A symbolic link.
    #[non_exhaustive]
    Symlink {
        /// Where it points: a stranger's bytes, which may be any path, or none.
        target: Bytes,
    },
    /// A directory spread over many blocks, which this version does not read.
    ShardedDirectory,
}

impl Exporter {
    /// An exporter that reads from `source`, and writes files where `runtime` may block.
    pub fn new(source: Arc<dyn BlockSource>, runtime: Arc<dyn Runtime>) -> Self {
        Self { source, runtime }
    }

    async fn node(&self, cid: &Cid) -> Result<Node> {
        Node::parse(&self.source.get(cid).await?)
    }

    /// Opens a file for reading: its first block is fetched, and no other.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no file; [`Error::Malformed`]; what the source says.
    pub async fn open(&self, cid: &Cid) -> Result<File> {
        Ok(File::new(self.source.clone(), self.node(cid).await?.into_file()?))
    }

    /// What a CID leads to, from its first block.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`] for what is not UnixFS; [`Error::Malformed`]; what the source says.
    pub async fn stat(&self, cid: &Cid) -> Result<Stat> {
        Ok(match self.node(cid).await? {
            Node::File(file) => Stat::File { size: file.size() },
            Node::Directory(directory) => Stat::Directory { entries: directory.len() },
            Node::Symlink(link) => Stat::Symlink { target: link.target },
            Node::Shard => Stat::ShardedDirectory,
        })
    }

    /// The entries of a directory, as they stand in it; none of them is fetched.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory, [`Error::Unsupported`] for a sharded one;
    /// [`Error::Malformed`]; what the source says.
    pub async fn list(&self, cid: &Cid) -> Result<BoxStream<'static, Result<Entry>>> {
        let directory = self.node(cid).await?.into_directory()?;
        let entries = directory
            .into_entries()
            .map(|link| Ok(Entry { name: link.name, cid: link.cid, dag_size: link.tsize }));
        Ok(stream::iter(entries).boxed())
    }

    /// What lies at the end of a path through directories, from `root`. An empty path leads to the
    /// root itself.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a name that is not there; otherwise as [`list`](Self::list).
    pub async fn resolve(
        &self,
        root: &Cid,
        path: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<Cid> {
        let mut at = *root;
        for name in path {
            let directory = self.node(&at).await?.into_directory()?;
            let name = name.as_ref();
            let entry = directory.get(name).map(|link| link.cid);
            at = entry.ok_or_else(|| no_entry(name, at))?;
        }
        Ok(at)
    }

    /// All that is below `root`, in order, read ahead.
    pub fn tree(&self, root: &Cid) -> Tree {
        Tree::new(self.source.clone(), *root)
    }

    /// All that is below `root` as a tar archive, in which the root is called by its CID.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use futures::{AsyncReadExt, TryStreamExt};
    /// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
    /// # use ipfs_unixfs::{Exporter, Importer};
    /// # let runtime = VirtualRuntime::new();
    /// # let store = Arc::new(MemoryStore::new());
    /// # runtime.block_on(async {
    /// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
    /// # let root = importer.bytes("hello world").await?.cid;
    /// # let exporter = Exporter::new(Arc::new(Local(store)), Arc::new(runtime.clone()));
    /// let mut reader = exporter.tar(&root).map_err(std::io::Error::other).into_async_read();
    /// let mut bytes = Vec::new();
    /// reader.read_to_end(&mut bytes).await?;
    /// assert!(bytes.starts_with(root.to_string().as_bytes()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn tar(&self, root: &Cid) -> Archive {
        let name = root.to_string().into();
        Archive::new(self.tree(root), name, &tar::Options::default(), self.runtime.clone())
    }

    /// The same, under another name, compressed, or with another time.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that make no sense.
    pub fn tar_with(&self, root: &Cid, options: &tar::Options) -> Result<Archive> {
        options.check()?;
        let name = options.name.clone().unwrap_or_else(|| root.to_string().into());
        Ok(Archive::new(self.tree(root), name, options, self.runtime.clone()))
    }

    /// Writes the file, symbolic link or directory at `root` to disk, as `target`, where nothing may
    /// be yet: [`write_with`](Self::write_with) the default options.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when the target exists; otherwise as [`write_with`](Self::write_with).
    pub fn write(&self, root: &Cid, target: impl Into<PathBuf>) -> Export {
        self.write_with(root, target, Disk::default())
    }

    /// Writes the file, symbolic link or directory at `root` to disk, as `target`.
    ///
    /// What is below `root` is a stranger's: a name that would lead out of the target, or that the
    /// platform cannot hold, is an error, nothing is written through a symbolic link, and of modes
    /// only the rights to read, write and execute are taken over. Where symbolic links point is
    /// theirs, and may be anywhere: whoever opens files below the target afterwards looks where they
    /// lead.
    ///
    /// All is written in a folder of its own beside the target, which on Unix nobody else may look
    /// into, and then renamed, so that the target is there whole or not at all; of a root that is a
    /// directory, its own mode and time are told right after. On Unix every step is done within the
    /// handle of a directory that this export made or entered without following a link. Elsewhere it
    /// is done by path: there, whoever may write to the directory of the target must not be an
    /// enemy.
    ///
    /// Directories may be 1,024 deep, and names have at most 255 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when the target exists and is not to be replaced, when two entries have one
    /// name on this disk, or when the same export is under way; [`Error::Malformed`] for a bad name
    /// and for blocks that lie; [`Error::Limit`] for a long name; [`Error::Unsupported`] for a
    /// sharded directory; [`Error::Component`] for what the disk says; what the source says.
    pub fn write_with(&self, root: &Cid, target: impl Into<PathBuf>, options: Disk) -> Export {
        disk::write(self.clone(), *root, target.into(), options)
    }
}
