//! Export: files, ranges, directories and trees are read from blocks.

mod content;
mod disk;
mod file;
mod list;
mod measure;
pub(crate) mod names;
mod resolve;
mod stat;
mod tree;

use std::{path::PathBuf, sync::Arc};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use ipfs_traits::{BlockSource, Cid, Error, Result, Runtime};

pub use self::{
    disk::{Disk, Export, Exported},
    file::File,
    list::{Entry, Listed},
    resolve::{LinksOnPath, Resolution},
    stat::{Stat, StatKind},
    tree::{Item, Tree},
};
use crate::{
    Name, Node,
    tar::{self, Archive},
};

/// Reads files and trees from a source of blocks: a store, a session with peers, or both.
///
/// It reads what Kubo reads, old and odd things too; what contradicts itself is a typed error.
/// `src/export/DESIGN.md` lists what is taken and what is refused. Errors that are met at some place
/// in a tree are an [`Error::At`] that names it.
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

impl Exporter {
    /// An exporter that reads from `source`, and writes files where `runtime` may block.
    pub fn new(source: Arc<dyn BlockSource>, runtime: Arc<dyn Runtime>) -> Self {
        Self { source, runtime }
    }

    async fn node(&self, cid: &Cid) -> Result<Node> {
        Node::parse(&self.source.get(cid).await?)
    }

    /// Opens a file for reading: its first block is fetched, and no other, unless the file does not
    /// say how large its parts are. Those are then all fetched to find out.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no file; [`Error::Malformed`]; [`Error::Limit`] for a file
    /// of more than a million parts that do not say their sizes; what the source says.
    pub async fn open(&self, cid: &Cid) -> Result<File> {
        let mut node = self.node(cid).await?;
        for depth in 1.. {
            content::check_depth(depth)?;
            match node {
                Node::Metadata(metadata) => node = self.node(&metadata.file()).await?,
                Node::Unmeasured(file) => {
                    let file = measure::measure(self.source.clone(), file).await?;
                    return Ok(File::new(self.source.clone(), file));
                }
                other => return Ok(File::new(self.source.clone(), other.into_file()?)),
            }
        }
        Err(Error::Closed("the numbers"))
    }

    /// What a CID leads to, from its first block, and whatever else says how large a file is.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`] for what is not UnixFS; [`Error::Malformed`]; what the source says.
    pub async fn stat(&self, cid: &Cid) -> Result<Stat> {
        stat::stat(&self.source, cid).await
    }

    /// The entries of a directory, as they stand in it; none of them is fetched. A sharded directory
    /// is read ahead, and its entries come in the order of their names' hashes, always the same.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory; [`Error::Malformed`]; what the source says.
    /// The stream ends with an error; one that ends without is whole.
    pub async fn list(&self, cid: &Cid) -> Result<BoxStream<'static, Result<Entry>>> {
        let listing = list::listing(self.source.clone(), cid, false).await?;
        Ok(listing.map_ok(|listed| listed.entry).boxed())
    }

    /// The entries of a directory in the same order, each with what it is. Their first blocks are
    /// fetched ahead, up to 128 at once.
    ///
    /// Of a raw block whose size the directory states that size is believed, as Kubo does, and the
    /// block not fetched.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list); an entry that cannot be had, or not be understood, ends the stream,
    /// with an [`Error::At`] that names it.
    pub async fn list_with(&self, cid: &Cid) -> Result<BoxStream<'static, Result<Listed>>> {
        let listing = list::listing(self.source.clone(), cid, true).await?;
        Ok(listing.map_ok(list::resolved).boxed())
    }

    /// What lies at the end of a path through directories, from `root`. An empty path leads to the
    /// root itself. Of a sharded directory a block a level is read.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a name that is not there; [`Error::WrongKind`] for a way through a
    /// file or a symbolic link; an [`Error::At`] that names the place, with
    /// [`Error::UnknownCodec`] for a way through what is not UnixFS, [`Error::Malformed`], or what
    /// the source says.
    pub async fn resolve(
        &self,
        root: &Cid,
        path: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<Cid> {
        self.resolve_with(root, path, LinksOnPath::Report).await?.found()
    }

    /// How far a path leads: to its end, to a symbolic link on it, or to a block that is not UnixFS.
    /// Symbolic links are followed if that is said, up to 32 of them and never out of the root.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve); [`Error::Limit`] for more than 32 symbolic links.
    pub async fn resolve_with(
        &self,
        root: &Cid,
        path: impl IntoIterator<Item: AsRef<[u8]>>,
        symlinks: LinksOnPath,
    ) -> Result<Resolution> {
        let names = path.into_iter().map(|name| Name::from(name.as_ref())).collect();
        resolve::resolve(&self.source, *root, names, symlinks).await
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
