//! DAGs in CAR files.

use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use ipfs_blockstore::car::{self, Export, Order, ReadOptions};
use ipfs_traits::{Cid, work::Work};

use super::Dag;
use crate::{Hold, NodeEvent, writer::Writer};

/// What was imported from a CAR.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportedCar {
    /// The roots that its header names, whether they were there or not.
    pub roots: Vec<Cid>,
    /// Blocks in it.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Keeps all of them until dropped.
    pub hold: Hold,
}

impl Dag {
    /// Stores all blocks of a CAR of version 1 or 2, each verified, and each of at most 2 MiB. They
    /// are durable when the work is done.
    ///
    /// # Errors
    ///
    /// Those of a [`Reader`](car::Reader), and what the store says. What was stored by then stays,
    /// and is not held.
    ///
    /// ```
    /// # use futures::io::{AllowStdIo, Cursor};
    /// # use ipfs_core::{Error, Ipld, Node};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("some.car");
    /// let leaf = node.dag().put(&Ipld::String("hello".into())).await?;
    /// let root = node.dag().put(&Ipld::List(vec![Ipld::Link(leaf)])).await?;
    /// let file = AllowStdIo::new(std::fs::File::create(&path)?);
    /// node.dag().export(&[root], file).await?;
    ///
    /// let other = Node::builder().offline().spawn().await?;
    /// let imported = other.dag().import(AllowStdIo::new(std::fs::File::open(&path)?)).await?;
    /// assert_eq!((&imported.roots[..], imported.blocks), (&[root][..], 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn import(&self, input: impl AsyncRead + Send + 'static) -> Work<ImportedCar> {
        let hold = self.node.hold_of_writes();
        let store = Arc::new(Writer { node: self.node.clone(), hold: hold.clone() });
        let mut options = ReadOptions::default();
        options.hashes = self.node.hashes().clone();
        let import = car::import(input, store, self.node.runtime().clone(), options);
        let node = self.node.clone();
        import.and_then(|done| async move {
            let car::Imported { roots, blocks, bytes, .. } = done;
            roots.iter().for_each(|root| node.emit(NodeEvent::Added { root: *root }));
            Ok(ImportedCar { roots, blocks, bytes, hold })
        })
    }

    /// Writes all blocks below some roots as a CARv1, depth first and each once, and closes `out`.
    /// What is not here is fetched. It is byte for byte what Kubo's `dag export` writes.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`](crate::Error::UnknownCodec); what the codecs,
    /// [`Blocks::get`](crate::Blocks::get) and `out` say.
    pub fn export(&self, roots: &[Cid], out: impl AsyncWrite + Unpin + Send + 'static) -> Export {
        self.export_with(roots, out, Order::default())
    }

    /// As [`export`](Self::export), with what of the DAG is written.
    ///
    /// # Errors
    ///
    /// As [`export`](Self::export), and those that [`Order`] names.
    pub fn export_with(
        &self,
        roots: &[Cid],
        out: impl AsyncWrite + Unpin + Send + 'static,
        order: Order,
    ) -> Export {
        car::export(self.source(roots), self.node.codecs().clone(), roots, out, order)
    }
}
