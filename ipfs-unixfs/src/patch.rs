//! Trees changed at a path: only the blocks on the way there are read and made again.

mod open;
mod plain;

use std::sync::Arc;

use futures_core::Stream;
use futures_util::{StreamExt, stream};
#[cfg(doc)]
use ipfs_traits::Error;
use ipfs_traits::{BlockSource, Blockstore, Cid, HashTable, Result};

use self::open::Way;
use crate::{Change, Name, Params, Target};

/// Changes trees at a path, as `ipfs object patch` does: each change gives a new root, and what is
/// not on the way of the path is neither read nor written.
///
/// Every block that is changed gets a CID of the version and hash function that it had, as with
/// Kubo. Directories that are made on the way get CIDs as [`params`](Self::params) say; Kubo's are
/// those of [`Params::unixfs_v0_2015`]. With these parameters, and as long as no directory changes
/// its form, the new root is the one that Kubo gives.
///
/// Unlike `ipfs object patch`, which refuses a root that is a sharded directory, spoils one below
/// the root, and never splits one that grows:
/// - Sharded directories are changed as such, and directories change their form at the sizes that
///   the parameters say.
/// - A file or a symbolic link on the way is an error, also below the root.
/// - Identity CIDs become others of the parameters' hash function beyond 64 bytes, not beyond 128.
///
/// ```
/// # use std::sync::Arc;
/// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
/// use ipfs_unixfs::{Exporter, Importer, Patcher};
///
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("a.txt"), "a")?;
/// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
/// let root = importer.path(folder.path()).await?.cid;
/// let file = importer.bytes("hello").await?.cid;
///
/// let source = Arc::new(Local(store.clone()));
/// let patcher = Patcher::new(source.clone(), store).make_parents(true);
/// let target = patcher.target(&file).await?;
/// let more = patcher.add_link(&root, ["new", "hello.txt"], target).await?;
///
/// let exporter = Exporter::new(source, Arc::new(runtime.clone()));
/// assert_eq!(exporter.resolve(&more.cid, ["new", "hello.txt"]).await?, file);
///
/// let less = patcher.remove_link(&more.cid, ["new"]).await?;
/// assert_eq!(less.cid, root);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Patcher {
    source: Arc<dyn BlockSource>,
    store: Arc<dyn Blockstore>,
    params: Params,
    hashes: HashTable,
    make_parents: bool,
    allow_plain: bool,
}

impl Patcher {
    /// A patcher with default parameters and the standard hash functions, that reads from `source`,
    /// which gives also what `store` has, and puts new blocks into `store`. It does not flush it.
    pub fn new(source: Arc<dyn BlockSource>, store: Arc<dyn Blockstore>) -> Self {
        let (params, hashes) = (Params::default(), HashTable::standard());
        Self { source, store, params, hashes, make_parents: false, allow_plain: false }
    }

    /// Uses these parameters: when directories are sharded, and what CIDs those get that are made on
    /// the way.
    #[must_use]
    pub fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// Uses these hash functions.
    #[must_use]
    pub fn hashes(mut self, hashes: HashTable) -> Self {
        self.hashes = hashes;
        self
    }

    /// Whether directories that are not there are made on the way of what is added. Without it they
    /// are an error, since a misspelt path is more often the reason.
    #[must_use]
    pub const fn make_parents(mut self, make: bool) -> Self {
        self.make_parents = make;
        self
    }

    /// Whether dag-pb nodes that are not UnixFS may be changed: their links are, and their data
    /// stays. Without it they are an error. Files and symbolic links always are, since a link more
    /// would spoil them.
    #[must_use]
    pub const fn allow_plain(mut self, allow: bool) -> Self {
        self.allow_plain = allow;
        self
    }

    /// What [`add_link`](Self::add_link) needs to know of what it links to. Its first block is read
    /// and no other.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for a dag-pb block that is none; what the source says.
    pub async fn target(&self, cid: &Cid) -> Result<Target> {
        Target::of(&self.source.get(cid).await?)
    }

    /// The tree at `root` with `target` at `path`, in the place of what was there.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a directory on the way that is not there, unless it is to be made;
    /// [`Error::WrongKind`] for what is on the way and no directory; [`Error::Invalid`] for a path
    /// without names, or with an empty one; [`Error::Limit`] for one of more than 1,024 names, and
    /// for a directory that has no room in one block and must not have more; [`Error::Malformed`];
    /// what the source and the store say.
    pub async fn add_link(
        &self,
        root: &Cid,
        path: impl IntoIterator<Item: Into<Name>>,
        target: Target,
    ) -> Result<Target> {
        let path = path.into_iter().map(Into::into).collect();
        self.apply_one(root, Change::Added { path, after: target }).await
    }

    /// The tree at `root` without what is at `path`. A directory that becomes empty stays.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] if there is nothing; otherwise as [`add_link`](Self::add_link).
    pub async fn remove_link(
        &self,
        root: &Cid,
        path: impl IntoIterator<Item: Into<Name>>,
    ) -> Result<Target> {
        let path = path.into_iter().map(Into::into).collect();
        // What stands there does not matter.
        let before = Target { cid: *root, dag_size: 0 };
        self.apply_one(root, Change::Removed { path, before }).await
    }

    async fn apply_one(&self, root: &Cid, change: Change) -> Result<Target> {
        self.apply(root, stream::iter([Ok(change)])).await
    }

    /// The tree at `root` after these changes, one after the other. What they say was there before
    /// is not compared with what is.
    ///
    /// A directory is read and written once for each run of changes in it: those of a
    /// [`Diff`](crate::Diff) are in that order. What is in memory are the directories on the way of
    /// one path, and of sharded ones what was changed.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use futures::{TryStreamExt, stream};
    /// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
    /// use ipfs_unixfs::{Change, Diff, Importer, Patcher};
    ///
    /// # let runtime = VirtualRuntime::new();
    /// # let store = Arc::new(MemoryStore::new());
    /// # runtime.block_on(async {
    /// # let folder = tempfile::tempdir()?;
    /// # std::fs::write(folder.path().join("a.txt"), "a")?;
    /// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
    /// let before = importer.path(folder.path()).await?.cid;
    /// std::fs::write(folder.path().join("b.txt"), "b")?;
    /// let after = importer.path(folder.path()).await?.cid;
    ///
    /// let source = Arc::new(Local(store.clone()));
    /// let changes: Vec<Change> = Diff::new(source.clone(), &before, &after).try_collect().await?;
    /// assert_eq!(changes.len(), 1);
    /// assert_eq!(changes[0].path(), ["b.txt"]);
    ///
    /// let patcher = Patcher::new(source, store);
    /// let changes = stream::iter(changes.into_iter().map(Ok));
    /// assert_eq!(patcher.apply(&before, changes).await?.cid, after);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The first that `changes` give; otherwise as [`add_link`](Self::add_link) and
    /// [`remove_link`](Self::remove_link). Some new blocks may be in the store then.
    pub async fn apply(
        &self,
        root: &Cid,
        changes: impl Stream<Item = Result<Change>>,
    ) -> Result<Target> {
        self.params.check_with(&self.hashes)?;
        let mut way = Way::new(self, *root);
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            way.change(change?).await?;
        }
        way.end().await
    }
}
