//! One file: pieces become leaves, leaves become a tree, batches overlap.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Origin, Result, RuntimeExt};

use super::{
    Context,
    chunks::{Batch, Chunks},
    keep::Blocks,
    leaves::leaves,
    runs::Runs,
};
use crate::{
    attributes::Attributes,
    child::{Child, Sealer},
    data::Kind,
    layout::Growing,
};

/// Inner nodes that wait to be stored together.
const NODES: usize = 64;

impl Context {
    /// Imports one file, of which `found` is known; an empty one is a leaf without content.
    pub(super) async fn file(
        &self,
        runs: impl Runs,
        origin: Option<Origin>,
        found: Attributes,
    ) -> Result<Child> {
        let origin = self.keep.origin(origin)?;
        let attributes = Attributes::of(&self.params, Kind::File, found);
        let mut chunks = Chunks::new(runs, &self.params.chunker, self.runtime.clone());
        let first = chunks.next().await?;
        let root = match first.pieces.len() < 2 && Growing::one_is_all(self.params.layout) {
            true => self.leaf(first, origin.as_ref(), attributes).await?,
            false => self.tree_of(first, chunks, origin.as_ref(), attributes).await?,
        };
        self.meter.files(1);
        Ok(root)
    }

    /// A file of one leaf, or none.
    async fn leaf(
        &self,
        mut batch: Batch,
        origin: Option<&Origin>,
        attributes: Attributes,
    ) -> Result<Child> {
        if batch.pieces.is_empty() {
            batch.pieces.push(Bytes::new());
        }
        Ok(self.leaves(batch, origin, attributes).await?[0])
    }

    /// A file of many leaves.
    async fn tree_of(
        &self,
        first: Batch,
        chunks: Chunks<impl Runs>,
        origin: Option<&Origin>,
        attributes: Attributes,
    ) -> Result<Child> {
        let later = stream::try_unfold(chunks, move |mut chunks| async move {
            let batch = chunks.next().await?;
            Ok((!batch.pieces.is_empty()).then_some((batch, chunks)))
        });
        let stored = stream::iter([Ok(first)])
            .chain(later)
            .map_ok(|batch| self.leaves(batch, origin, Attributes::NONE))
            .try_buffered(self.at_once);
        let mut stored = std::pin::pin!(stored);

        let sealer = Sealer::nodes(&self.params, &self.hashes);
        let mut tree = Growing::new(&self.params, &sealer);
        let mut nodes = Vec::new();
        while let Some(leaves) = stored.try_next().await? {
            for leaf in leaves {
                tree.push(leaf, &mut nodes)?;
            }
            if nodes.len() >= NODES {
                self.put(std::mem::take(&mut nodes).into()).await?;
            }
        }
        let root = tree.finish(attributes, &mut nodes)?;
        self.put(nodes.into()).await?;
        Ok(root.expect("there are leaves"))
    }

    /// Makes and stores the leaves of a batch, and gives its memory back.
    async fn leaves(
        &self,
        batch: Batch,
        origin: Option<&Origin>,
        attributes: Attributes,
    ) -> Result<Vec<Child>> {
        let pieces = batch.pieces.iter().map(|piece| (piece.clone(), attributes)).collect();
        let (params, hashes) = (self.params.clone(), self.hashes.clone());
        let made = self.runtime.blocking(move || leaves(&params, &hashes, pieces)).await??;
        let (mut blocks, mut offset) = (Blocks::default(), batch.offset);
        let mut children = Vec::with_capacity(made.len());
        for (block, child) in made {
            blocks.add_leaf(block, origin, offset);
            offset += child.size;
            children.push(child);
        }
        self.put(blocks).await?;
        batch.done();
        self.meter.bytes(children.iter().map(|child| child.size).sum());
        Ok(children)
    }
}
