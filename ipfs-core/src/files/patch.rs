//! Trees changed at a path, and how two trees differ.

use std::sync::Arc;

use futures_core::Stream;
#[cfg(doc)]
use ipfs_traits::Error;
use ipfs_traits::{Blockstore, Cid, Result};
use ipfs_unixfs::{Change, Diff, Patcher, Target};

use super::{UnixFs, checked};
use crate::{Hold, IntoPath, Path, writer::Writer};

/// A tree after a change: what it was before is still there, under its own CID.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Patched {
    /// The new root.
    pub cid: Cid,
    /// Bytes of all blocks below it, as the directories state them.
    pub dag_size: u64,
    /// Keeps what was written, and what was read for it, until dropped. What the change did not
    /// touch is kept by whatever kept it before.
    pub hold: Hold,
}

/// A change under way: its hold, and where it writes.
struct Desk {
    hold: Hold,
    store: Arc<Writer>,
    patcher: Patcher,
}

impl UnixFs {
    /// The tree at the root of `path` with `target` at the end of it, in the place of what was
    /// there. Of `target` the first block is read, and nothing of it is copied. Directories on the
    /// way that are not there are made if `parents` says so.
    ///
    /// Blocks that are changed keep the version and hash function of their CIDs; directories that
    /// are made, and when one is sharded, is up to the [parameters](Self::params). The new tree is
    /// durable when this is done.
    ///
    /// ```
    /// # use ipfs_core::Node;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let files = node.unixfs();
    /// let (empty, photo) = (files.add_entries(futures::stream::empty()).await?, files.add_bytes("a photo").await?);
    /// let album = files.add_link(format!("/ipfs/{}/2026/1.jpg", empty.cid), &photo.cid, true).await?;
    /// assert_eq!(files.resolve(format!("/ipfs/{}/2026/1.jpg", album.cid)).await?, photo.cid);
    /// # Ok::<(), ipfs_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Patcher::add_link`], and for `target` those of [`resolve`](Self::resolve).
    pub async fn add_link(
        &self,
        path: impl IntoPath,
        target: impl IntoPath,
        parents: bool,
    ) -> Result<Patched> {
        let (path, target) = (self.node.immutable(path).await?, self.resolve(target).await?);
        let desk = self.desk(&path)?;
        let patcher = desk.patcher.clone().make_parents(parents);
        let target = patcher.target(&target).await?;
        let root = patcher.add_link(path.root()?, names(&path), target).await?;
        desk.done(root).await
    }

    /// The tree at the root of `path` without what is at the end of it. A directory that becomes
    /// empty stays. Otherwise as [`add_link`](Self::add_link).
    ///
    /// # Errors
    ///
    /// Those of [`Patcher::remove_link`].
    pub async fn remove_link(&self, path: impl IntoPath) -> Result<Patched> {
        let path = self.node.immutable(path).await?;
        let desk = self.desk(&path)?;
        let root = desk.patcher.remove_link(path.root()?, names(&path)).await?;
        desk.done(root).await
    }

    /// The tree that `path` leads to after these changes, which may be those that
    /// [`diff`](Self::diff) finds.
    ///
    /// # Errors
    ///
    /// Those of [`Patcher::apply`] and [`resolve`](Self::resolve).
    pub async fn apply(
        &self,
        path: impl IntoPath,
        changes: impl Stream<Item = Result<Change>>,
    ) -> Result<Patched> {
        let path = self.node.immutable(path).await?;
        let (root, desk) = (self.resolve(&path).await?, self.desk(&path)?);
        let root = desk.patcher.apply(&root, changes).await?;
        desk.done(root).await
    }

    /// How what is at `after` differs from what is at `before`: see [`Diff`]. What is not here is
    /// fetched, ahead.
    ///
    /// ```
    /// # use futures::TryStreamExt;
    /// # use ipfs_core::Node;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// # let files = node.unixfs();
    /// # let empty = files.add_entries(futures::stream::empty()).await?;
    /// # let photo = files.add_bytes("a photo").await?;
    /// let album = files.add_link(format!("/ipfs/{}/1.jpg", empty.cid), &photo.cid, false).await?;
    /// let changes: Vec<_> = files.diff(&empty.cid, &album.cid).await?.try_collect().await?;
    /// assert_eq!(changes.len(), 1);
    /// assert_eq!(changes[0].to_string(), format!("+ {} \"1.jpg\"", photo.cid));
    /// # Ok::<(), ipfs_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`resolve`](Self::resolve); the stream gives those of [`Diff`].
    pub async fn diff(&self, before: impl IntoPath, after: impl IntoPath) -> Result<Diff> {
        let (before, after) = (self.resolve(before).await?, self.resolve(after).await?);
        Ok(Diff::new(Arc::new(self.node.source(&after)), &before, &after))
    }

    fn desk(&self, path: &Path) -> Result<Desk> {
        let root = checked(path)?.root()?;
        let hold = self.node.hold_of_writes();
        let node = self.node.under(&hold);
        let source = Arc::new(node.source(root));
        let store = Arc::new(Writer { node, hold: hold.clone() });
        let patcher = Patcher::new(source, store.clone())
            .params(self.params.clone())
            .hashes(self.node.hashes().clone());
        Ok(Desk { hold, store, patcher })
    }
}

impl Desk {
    async fn done(self, root: Target) -> Result<Patched> {
        self.store.flush().await?;
        Ok(Patched { cid: root.cid, dag_size: root.dag_size, hold: self.hold })
    }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.segments().iter().map(String::as_str)
}
