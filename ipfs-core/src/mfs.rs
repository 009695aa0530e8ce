//! The node's mutable tree.

use std::sync::Arc;

use ipfs_traits::Result;
use ipfs_unixfs::mfs::{Mfs, Options, Parts};

use crate::{Node, source::NodeSource, writer::Writer};

impl Node {
    /// The node's mutable tree of files and directories, with the default [`Options`]: see
    /// [`mfs_with`](Self::mfs_with).
    ///
    /// ```
    /// # use ipfs_core::Node;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let photo = node.unixfs().add_bytes("a photo").await?;
    /// let tree = node.mfs().await?;
    /// tree.mkdir("/photos", false).await?;
    /// tree.put("/photos/first.jpg", &photo.cid).await?;
    /// let root = tree.flush().await?;
    /// assert_eq!(node.unixfs().resolve(format!("/ipfs/{root}/photos/first.jpg")).await?, photo.cid);
    /// # Ok::<(), ipfs_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`mfs_with`](Self::mfs_with).
    pub async fn mfs(&self) -> Result<Mfs> {
        self.mfs_with(Options { hashes: self.hashes().clone(), ..Options::default() }).await
    }

    /// The node's mutable tree, opened with these options unless it is open already: as long as a
    /// handle of it lives, all callers get the same tree.
    ///
    /// Its root stands in the node's datastore, under the default key whatever the options say, for
    /// what collects garbage has to find it. What is not here is fetched when it is read, and
    /// what the tree reads and writes is held ([`Hold`](crate::Hold)) as long as a handle lives.
    /// Closing the node does not flush it.
    ///
    /// # Errors
    ///
    /// Those of [`Mfs::open`].
    pub async fn mfs_with(&self, options: Options) -> Result<Mfs> {
        if let Some(tree) = self.open_mfs().upgrade() {
            return Ok(tree);
        }
        let hold = self.hold();
        let node = self.under(&hold);
        let parts = Parts {
            source: Arc::new(NodeSource::new(node.clone(), None)),
            store: Arc::new(Writer { node, hold }),
            datastore: self.datastore().clone(),
            runtime: self.runtime().clone(),
        };
        let key = Options::default().key;
        let tree = Mfs::open(parts, Options { key, ..options }).await?;
        let mut open = self.open_mfs();
        // Somebody else may have been quicker.
        let tree = open.upgrade().unwrap_or(tree);
        *open = tree.downgrade();
        Ok(tree)
    }
}
