//! DAGs in CAR files.

mod here;

use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use ipfs_blockstore::car::{self, Export, Order, ReadOptions};
use ipfs_traits::{Blockstore, Cid, Error, Missing, Result, limits, work::Work};

use self::here::Here;
use super::Dag;
use crate::{Hold, Node, NodeEvent, fetch::Lacking, writer::Writer};

/// Pins that are made at the same time, as many as share one sync.
const PINS: usize = 256;

async fn pin(node: &Node, roots: &[Cid]) -> Result<()> {
    let pins = stream::iter(roots.to_vec()).map(|root| node.pins().add(root).into_future());
    pins.buffer_unordered(PINS).try_for_each(|_| future::ready(Ok(()))).await
}

/// How a CAR is imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Takes blocks of up to 64 MiB. By default one beyond 2 MiB is refused, because no other node
    /// could fetch it by bitswap.
    pub allow_large: bool,
    /// Fails unless the blocks of all roots that the header names are here in the end, out of the
    /// archive or from before. They need not be by default, because an archive may hold any part of
    /// a DAG.
    pub require_roots: bool,
    /// Pins the roots that the header names, as Kubo does: a root that is not
    /// whole with what is here fails the import, and others may be pinned then. By default
    /// nothing is pinned.
    pub pin_roots: bool,
}

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
    /// Keeps all of them, and the roots, until dropped.
    pub hold: Hold,
}

/// What was exported of that which is here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportedLocal {
    /// Blocks in the CAR.
    pub blocks: u64,
    /// Bytes of the CAR, its header and heads too.
    pub bytes: u64,
    /// How many blocks were left out, as far as they are known: what lies below them is not.
    pub left_out: u64,
    /// The first thousand of them, each with the reason: it is not here, is damaged, or cannot be
    /// understood.
    pub missing: Vec<Missing>,
}

impl Dag {
    /// Stores all blocks of a CAR of version 1 or 2, each verified, and each of at most 2 MiB. They
    /// are durable when the work is done.
    ///
    /// A DAG may be spread over several archives: imported [under](crate::Node::under) one hold they
    /// are kept together.
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
        self.import_with(input, ImportOptions::default())
    }

    /// As [`import`](Self::import), with larger blocks, only with the roots, or with pins of them.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import); [`Error::Incomplete`] for roots that are not here and must be, or
    /// are not whole and shall be pinned.
    pub fn import_with(
        &self,
        input: impl AsyncRead + Send + 'static,
        options: ImportOptions,
    ) -> Work<ImportedCar> {
        let (node, hold) = (self.node.clone(), self.node.hold_of_writes());
        let store = Arc::new(Writer { node: node.clone(), hold: hold.clone() });
        let mut read = ReadOptions::default();
        read.hashes = node.hashes().clone();
        if options.allow_large {
            read.max_block = limits::MAX_STORED_BLOCK;
        }
        let import = car::import(input, store, node.runtime().clone(), read);
        import.and_then(move |done| async move {
            let car::Imported { roots, blocks, bytes, .. } = done;
            // Those that were here before are kept as well.
            hold.keep(roots.iter().map(Cid::hash)).await?;
            if options.require_roots {
                all_here(node.guarded(), &roots).await?;
            }
            if options.pin_roots {
                pin(&node, &roots).await?;
            }
            roots.iter().for_each(|root| node.emit(NodeEvent::Added { root: *root }));
            Ok(ImportedCar { roots, blocks, bytes, hold })
        })
    }

    /// Writes all blocks below some roots as a CARv1, depth first and each once, and closes `out`.
    /// What is not here is fetched. It is byte for byte what Kubo's `dag export` writes.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`]; what the codecs, [`Blocks::get`](crate::Blocks::get) and `out` say.
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

    /// As [`export`](Self::export), but nothing is fetched: blocks that are not here, are damaged, or
    /// cannot be understood are left out with what lies below them, and named. Those that their CIDs
    /// hold are left out, too, as Kubo's `dag export --local-only` does it.
    ///
    /// ```
    /// # use futures::io::AllowStdIo;
    /// # use ipfs_core::{Error, Ipld, Node};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let leaf = node.dag().put(&Ipld::String("hello".into())).await?;
    /// let root = node.dag().put(&Ipld::List(vec![Ipld::Link(leaf)])).await?;
    /// node.blocks().delete(&leaf).await?;
    ///
    /// let file = AllowStdIo::new(tempfile::tempfile()?);
    /// let exported = node.dag().export_local(&[root], file).await?;
    /// assert_eq!((exported.blocks, exported.left_out), (1, 1));
    /// assert_eq!(exported.missing[0].cid, leaf);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`], and what the codecs say, of a block that its CID holds; what the
    /// store says but of single blocks; what `out` says.
    pub fn export_local(
        &self,
        roots: &[Cid],
        out: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Work<ExportedLocal> {
        let codecs = self.node.codecs().clone();
        let here = Here::new(self.source(roots), codecs.clone());
        let mut order = Order::default();
        (order.partial, order.without_identity) = (true, true);
        let export = car::export(Arc::new(here.clone()), codecs, roots, out, order);
        export.and_then(move |done| async move {
            let (left_out, missing) = here.left_out();
            Ok(ExportedLocal { blocks: done.blocks, bytes: done.bytes, left_out, missing })
        })
    }
}

async fn all_here(store: &dyn Blockstore, roots: &[Cid]) -> Result<()> {
    let mut missing = Lacking::default();
    for (root, size) in std::iter::zip(roots, store.sizes(roots).await?) {
        if size.is_none() {
            missing.add(*root, Error::NotFound(*root));
        }
    }
    missing.into_result()
}
