//! Files and directories.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_io::AsyncRead;
use ipfs_traits::{Blockstore, Cid, Error, Result};
use ipfs_unixfs::{
    Disk, Entry, Export, Exporter, File, Import, Imported, Importer, Params, Stat, Tree, Work,
    tar::{self, Archive},
};

use crate::{Hold, IntoPath, Namespace, Node, Path, node::Writer};

/// Files and directories: see [`Node::unixfs`].
///
/// ```
/// # use futures::AsyncReadExt;
/// # use ipfs_core::Node;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let node = Node::builder().offline().spawn().await?;
/// let added = node.unixfs().add_bytes("hello world").await?;
/// assert_eq!(
///     added.cid.to_string(),
///     "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
/// );
/// let mut text = String::new();
/// node.unixfs().open(&added.cid).await?.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct UnixFs {
    node: Node,
    params: Params,
}

/// What was added.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Added {
    /// The root.
    pub cid: Cid,
    /// Counts, and what it was made with.
    pub report: Imported,
    /// Keeps all of it until dropped.
    pub hold: Hold,
}

/// An addition under way: a future, and a stream of its progress.
pub type Adding = Work<Added>;

impl UnixFs {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, params: Params::default() }
    }

    /// Adds with these parameters; the default is the profile `unixfs-v1-2025`.
    #[must_use]
    pub fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// Adds bytes as a file. What was added is durable when the work is done.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for parameters that make no sense; what the store says.
    pub fn add_bytes(&self, bytes: impl Into<Bytes>) -> Adding {
        let bytes = bytes.into();
        self.add(|importer| importer.bytes(bytes))
    }

    /// Adds what `reader` gives, to its end, as a file. What was added is durable when the work is
    /// done.
    ///
    /// # Errors
    ///
    /// As [`add_bytes`](Self::add_bytes), and [`Error::Component`] with what the reader says.
    pub fn add_reader(&self, reader: impl AsyncRead + Send + 'static) -> Adding {
        self.add(|importer| importer.reader(reader))
    }

    /// Adds a file, a symbolic link, or a directory with all that is below it. Links are kept as
    /// such, never followed; hidden files are left out unless [`Params`] says otherwise. What was
    /// added is durable when the work is done.
    ///
    /// # Errors
    ///
    /// As [`add_bytes`](Self::add_bytes), and [`Error::Component`] naming a file that cannot be
    /// read.
    pub fn add_path(&self, path: impl Into<PathBuf>) -> Adding {
        self.add(|importer| importer.path(path))
    }

    fn add(&self, start: impl FnOnce(Importer) -> Import) -> Adding {
        let hold = self.node.hold_of_writes();
        let store = Arc::new(Writer { node: self.node.clone(), hold: hold.clone() });
        let importer = Importer::new(store.clone(), self.node.runtime().clone())
            .params(self.params.clone())
            .hashes(self.node.hashes().clone());
        start(importer).and_then(|report| async move {
            store.flush().await?;
            Ok(Added { cid: report.cid, report, hold })
        })
    }

    fn exporter(&self, root: &Cid) -> Exporter {
        Exporter::new(Arc::new(self.node.source(root)), self.node.runtime().clone())
    }

    /// Opens a file: `AsyncRead`, `AsyncSeek`, and byte ranges. It reads ahead, and fetches what is
    /// not here.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no file; otherwise as [`resolve`](Self::resolve).
    pub async fn open(&self, path: impl IntoPath) -> Result<File> {
        let (exporter, cid) = self.at(path.into_path()?).await?;
        exporter.open(&cid).await
    }

    /// What a path leads to, from its first block.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn stat(&self, path: impl IntoPath) -> Result<Stat> {
        let (exporter, cid) = self.at(path.into_path()?).await?;
        exporter.stat(&cid).await
    }

    /// The entries of a directory; none of them is fetched.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory; [`Error::Unsupported`] for a sharded one;
    /// otherwise as [`resolve`](Self::resolve).
    pub async fn list(&self, path: impl IntoPath) -> Result<BoxStream<'static, Result<Entry>>> {
        let (exporter, cid) = self.at(path.into_path()?).await?;
        exporter.list(&cid).await
    }

    /// The CID at the end of a path through directories.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`]; [`Error::NoEntry`] for a name that is not there;
    /// [`Error::Unsupported`] for a sharded directory; what
    /// [`Blocks::get`](crate::Blocks::get) says.
    pub async fn resolve(&self, path: impl IntoPath) -> Result<Cid> {
        Ok(self.at(path.into_path()?).await?.1)
    }

    async fn at(&self, path: Path) -> Result<(Exporter, Cid)> {
        if path.namespace() != Namespace::Ipfs {
            return Err(Error::invalid("path", "files are found below /ipfs"));
        }
        let exporter = self.exporter(path.root());
        let segments = path.segments().iter().map(String::as_str);
        let cid = exporter.resolve(path.root(), segments).await?;
        Ok((exporter, cid))
    }

    /// All that is below a path, in order, read ahead.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn tree(&self, path: impl IntoPath) -> Result<Tree> {
        let (exporter, cid) = self.at(path.into_path()?).await?;
        Ok(exporter.tree(&cid))
    }

    /// Writes the file, link or directory that a path leads to as `target`, where nothing may be
    /// yet. It appears there whole or not at all, and no name in it can lead out of it.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when the target exists; [`Error::Malformed`] for a name that a disk must
    /// not be given; otherwise as [`resolve`](Self::resolve).
    pub fn write(&self, path: impl IntoPath, target: impl Into<PathBuf>) -> Export {
        self.write_with(path, target, Disk::default())
    }

    /// The same, told whether modes and times are taken over, what is at the target is replaced, an
    /// export that was stopped is gone on with, and all is synced.
    ///
    /// # Errors
    ///
    /// Those of [`Exporter::write_with`]; otherwise as [`resolve`](Self::resolve).
    pub fn write_with(
        &self,
        path: impl IntoPath,
        target: impl Into<PathBuf>,
        options: Disk,
    ) -> Export {
        let (files, path, target) = (self.clone(), path.into_path(), target.into());
        Work::after(async move {
            let (exporter, cid) = files.at(path?).await?;
            Ok(exporter.write_with(&cid, target, options))
        })
    }

    /// The file, link or directory that a path leads to as a tar archive, fetched and made as it is
    /// read.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that make no sense; otherwise as [`resolve`](Self::resolve).
    pub async fn tar(&self, path: impl IntoPath, options: &tar::Options) -> Result<Archive> {
        let (exporter, cid) = self.at(path.into_path()?).await?;
        exporter.tar_with(&cid, options)
    }
}
