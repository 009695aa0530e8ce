//! One file: pieces become leaves, leaves become a tree, batches overlap.

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use ipfs_traits::{Block, Result, RuntimeExt};

use super::{
    Context,
    balanced::Balanced,
    chunks::{Batch, Chunks},
    leaves::leaves,
};
use crate::child::{Child, Sealer};

/// Batches that are hashed and stored at once, while the next is read.
const BATCHES: usize = 2;

/// Inner nodes that wait to be stored together.
const NODES: usize = 64;

impl Context {
    /// Imports one file; an empty one is a leaf without content.
    pub(super) async fn file(&self, chunks: impl Chunks) -> Result<Child> {
        let chunker = self.params.chunker;
        let batches = stream::try_unfold(chunks, move |mut chunks| async move {
            let batch = chunks.next(chunker).await?;
            Ok((!batch.pieces.is_empty()).then_some((batch, chunks)))
        });
        let stored = batches.map_ok(|batch| self.leaf_batch(batch)).try_buffered(BATCHES);
        let mut stored = std::pin::pin!(stored);

        let sealer = Sealer::nodes(&self.params, &self.hashes);
        let mut tree = Balanced::new(&self.params, &sealer);
        let mut nodes = Vec::new();
        while let Some(leaves) = stored.try_next().await? {
            for leaf in leaves {
                tree.push(leaf, &mut nodes)?;
            }
            if nodes.len() >= NODES {
                self.put(&std::mem::take(&mut nodes)).await?;
            }
        }
        let root = tree.finish(&mut nodes)?;
        self.put(&nodes).await?;
        let root = match root {
            Some(root) => root,
            None => self.leaves(vec![Bytes::new()]).await?[0],
        };
        self.meter.files(1);
        Ok(root)
    }

    /// Makes and stores the leaves of a batch, and gives its memory back.
    async fn leaf_batch(&self, batch: Batch) -> Result<Vec<Child>> {
        let children = self.leaves(batch.pieces.clone()).await?;
        batch.done();
        Ok(children)
    }

    /// Makes and stores leaves.
    async fn leaves(&self, pieces: Vec<Bytes>) -> Result<Vec<Child>> {
        let (params, hashes) = (self.params.clone(), self.hashes.clone());
        let made = self.runtime.blocking(move || leaves(&params, &hashes, pieces)).await??;
        let (blocks, children): (Vec<Block>, Vec<Child>) = made.into_iter().unzip();
        self.put(&blocks).await?;
        self.meter.bytes(children.iter().map(|child| child.size).sum());
        Ok(children)
    }
}
