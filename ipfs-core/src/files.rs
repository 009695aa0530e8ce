//! Files and directories.

mod patch;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_io::AsyncRead;
use ipfs_traits::{Blockstore, Cid, Error, ReferenceSink, Result};
use ipfs_unixfs::{
    Disk, Entry, Export, Exporter, File, Import, Imported, Importer, LinksOnPath, Listed, NewEntry,
    Params, Resolution, Stat, Tree, Work,
    tar::{self, Archive},
};

pub use self::patch::Patched;
use crate::{
    Hold, IntoPath, Namespace, Node, NodeEvent, NodeSource, Path,
    writer::{References, Writer},
};

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
    references: Option<Arc<dyn ReferenceSink>>,
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
        Self { node, params: Params::default(), references: None }
    }

    /// Adds with these parameters; the default is the profile `unixfs-v1-2025`.
    #[must_use]
    pub fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// Leaves the bytes of files where they are: `sink`, which belongs to the node's store, takes a
    /// reference to each leaf. Only content in files and at URLs can be added so, and only with raw
    /// leaves.
    #[must_use]
    pub fn references(mut self, sink: Arc<dyn ReferenceSink>) -> Self {
        self.references = Some(sink);
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

    /// The same of what is found at `url`, to which [`references`](Self::references) then refer.
    ///
    /// # Errors
    ///
    /// As [`add_reader`](Self::add_reader).
    pub fn add_url(
        &self,
        url: impl Into<Arc<str>>,
        reader: impl AsyncRead + Send + 'static,
    ) -> Adding {
        self.add(|importer| importer.url(url, reader))
    }

    /// Adds a file, a symbolic link, or a directory with all that is below it. Links are kept as
    /// such, and hidden files are left out, unless [`Params`] says otherwise. What was added is
    /// durable when the work is done.
    ///
    /// # Errors
    ///
    /// As [`add_bytes`](Self::add_bytes), and [`Error::Component`] naming a file that cannot be
    /// read.
    pub fn add_path(&self, path: impl Into<PathBuf>) -> Adding {
        self.add(|importer| importer.path(path))
    }

    /// Adds a tree whose entries come one after the other, in any order: an archive, a form that was
    /// uploaded. What was added is durable when the work is done.
    ///
    /// # Errors
    ///
    /// As [`add_reader`](Self::add_reader), and [`Error::Invalid`] for two things at one path or a
    /// name that no disk could hold.
    pub fn add_entries(
        &self,
        entries: impl Stream<Item = Result<NewEntry>> + Send + 'static,
    ) -> Adding {
        self.add(|importer| importer.entries(entries))
    }

    /// Adds what is in a tar archive, compressed or not, as it is read: see [`Importer::tar`]. What
    /// was added is durable when the work is done.
    ///
    /// # Errors
    ///
    /// Those of [`tar::Reader`]; otherwise as [`add_entries`](Self::add_entries).
    pub fn add_tar(&self, archive: tar::Reader) -> Adding {
        self.add(|importer| importer.tar(archive))
    }

    /// An importer with this node's parameters that keeps nothing: to learn the CID of something
    /// without adding it.
    ///
    /// ```
    /// # use ipfs_core::Node;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let imported = node.unixfs().only_hash().bytes("hello world").await?;
    /// assert!(node.blocks().get(&imported.cid).await.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn only_hash(&self) -> Importer {
        self.importer(self.node.store()).only_hash()
    }

    fn importer(&self, store: Arc<dyn Blockstore>) -> Importer {
        Importer::new(store, self.node.runtime().clone())
            .params(self.params.clone())
            .hashes(self.node.hashes().clone())
    }

    fn add(&self, start: impl FnOnce(Importer) -> Import) -> Adding {
        let hold = self.node.hold_of_writes();
        let store = Arc::new(Writer { node: self.node.clone(), hold: hold.clone() });
        let mut importer = self.importer(store.clone());
        if let Some(sink) = &self.references {
            let (node, hold, sink) = (self.node.clone(), hold.clone(), sink.clone());
            importer = importer.references(Arc::new(References { node, hold, sink }));
        }
        let node = self.node.clone();
        start(importer).and_then(|report| async move {
            store.flush().await?;
            node.announce_added(report.cid).await;
            node.emit(NodeEvent::Added { root: report.cid });
            Ok(Added { cid: report.cid, report, hold })
        })
    }

    /// Opens a file: `AsyncRead`, `AsyncSeek`, and byte ranges. It reads ahead, and fetches what is
    /// not here. Errors of its blocks name the path ([`Error::At`]).
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no file; otherwise as [`resolve`](Self::resolve).
    pub async fn open(&self, path: impl IntoPath) -> Result<File> {
        let path = self.node.immutable(path).await?;
        let (exporter, cid) = self.at(&path).await?;
        let file = exporter.open(&cid).await.map_err(|error| blame(&path, error))?;
        Ok(file.at(path.to_string()))
    }

    /// What a path leads to, from its first block.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn stat(&self, path: impl IntoPath) -> Result<Stat> {
        let path = self.node.immutable(path).await?;
        let (exporter, cid) = self.at(&path).await?;
        exporter.stat(&cid).await.map_err(|error| blame(&path, error))
    }

    /// The entries of a directory; none of them is fetched.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory; otherwise as [`resolve`](Self::resolve), at
    /// once or as the last item of the stream.
    pub async fn list(&self, path: impl IntoPath) -> Result<BoxStream<'static, Result<Entry>>> {
        let path = self.node.immutable(path).await?;
        let (exporter, cid) = self.at(&path).await?;
        exporter.list(&cid).await.map_err(|error| blame(&path, error))
    }

    /// The entries of a directory, each with what it is; their first blocks are fetched ahead.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list); [`Exporter::list_with`] says more.
    pub async fn list_with(
        &self,
        path: impl IntoPath,
    ) -> Result<BoxStream<'static, Result<Listed>>> {
        let path = self.node.immutable(path).await?;
        let (exporter, cid) = self.at(&path).await?;
        exporter.list_with(&cid).await.map_err(|error| blame(&path, error))
    }

    /// The CID at the end of a path, through directories and, with the node's codecs, through
    /// whatever else links to them. The block itself is not fetched.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`] and [`Names::resolve`](crate::Names::resolve); [`Error::NoEntry`] for a
    /// name that is not there; [`Error::WrongKind`] for a way through a file or a symbolic link, or
    /// to a value within a block; an [`Error::At`] that names the place, with what
    /// [`Blocks::get`](crate::Blocks::get) says.
    pub async fn resolve(&self, path: impl IntoPath) -> Result<Cid> {
        Ok(self.at(&self.node.immutable(path).await?).await?.1)
    }

    /// How far a path leads through directories, with symbolic links reported or followed: see
    /// [`Exporter::resolve_with`].
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve); [`Error::Limit`] for more than 32 symbolic links.
    pub async fn resolve_with(
        &self,
        path: impl IntoPath,
        symlinks: LinksOnPath,
    ) -> Result<Resolution> {
        let path = checked(&self.node.immutable(path).await?)?.clone();
        let root = path.root()?;
        let exporter = self.exporter(self.node.source(root));
        exporter.resolve_with(root, path.segments(), symlinks).await
    }

    async fn at(&self, path: &Path) -> Result<(Exporter, Cid)> {
        let source = self.node.source(checked(path)?.root()?);
        let found = self.node.dag().locate(&source, path).await?;
        if !found.rest.is_empty() {
            return Err(Error::WrongKind { expected: "a block", found: "a value inside of one" });
        }
        Ok((self.exporter(source), found.cid))
    }

    fn exporter(&self, source: NodeSource) -> Exporter {
        Exporter::new(Arc::new(source), self.node.runtime().clone())
    }

    /// All that is below a path, in order, read ahead.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn tree(&self, path: impl IntoPath) -> Result<Tree> {
        let (exporter, cid) = self.at(&self.node.immutable(path).await?).await?;
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
            let (exporter, cid) = files.at(&files.node.immutable(path?).await?).await?;
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
        let (exporter, cid) = self.at(&self.node.immutable(path).await?).await?;
        exporter.tar_with(&cid, options)
    }
}

/// A path that leads to files.
fn checked(path: &Path) -> Result<&Path> {
    match path.namespace() {
        Namespace::Ipld => Err(Error::invalid("path", "files are found below /ipfs")),
        _ => Ok(path),
    }
}

/// Says where an error was met, unless it is about the path and not about its blocks.
fn blame(path: &Path, error: Error) -> Error {
    match error {
        Error::WrongKind { .. } => error,
        error => error.at(path.to_string()),
    }
}
