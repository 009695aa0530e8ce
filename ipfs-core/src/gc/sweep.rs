//! Deleting what is not kept.

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use ipfs_traits::{
    Blockstore, Cid, Multihash, Result, codes,
    work::{Meter, giving_way},
};

use super::Collected;
use crate::{
    Node, NodeEvent,
    hold::{Collection, Deletion},
    reach::Reach,
};

/// Goes through all blocks that are here.
pub(super) struct Sweep {
    node: Node,
    marks: Reach,
    collection: Collection,
    meter: Meter,
    done: Collected,
    /// Those who listen know of it.
    is_told: bool,
    /// More was marked since the batch was looked at.
    is_stale: bool,
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if self.is_told {
            let Collected { deleted_blocks: blocks, deleted_bytes: bytes, .. } = self.done;
            self.node.emit(NodeEvent::CollectionEnded { blocks, bytes });
        }
    }
}

/// Blocks that are looked at in one go: so many that marks in files are read in order.
const BATCH: usize = 32 << 10;

/// Blocks that are deleted in one go: so few that nobody waits long for one of them.
const DELETED: usize = 2048;

/// The same, where other nodes have to be told of each batch, and the store flushed after it.
const TOLD: usize = 8192;

/// A block that is here: its multihash, and its size in bytes.
type Listed = (Multihash, u64);

/// A batch of what is here.
struct Looked {
    /// How many blocks are marked, and their bytes.
    marked: (u64, u64),
    /// Those that are not.
    garbage: Vec<Listed>,
}

/// Looks which of some blocks are marked.
async fn look(marks: Reach, listed: Vec<Listed>) -> Result<Looked> {
    let (listed, are_marked) = marks.contains(listed, |(hash, _)| hash).await?;
    let (mut marked, mut garbage) = ((0, 0), Vec::new());
    for (block, is_marked) in giving_way(listed.into_iter().zip(are_marked)) {
        match is_marked {
            true => marked = (marked.0 + 1, marked.1 + block.1),
            false => garbage.push(block),
        }
    }
    Ok(Looked { marked, garbage })
}

impl Sweep {
    pub(super) fn new(node: &Node, marks: Reach, collection: Collection, meter: Meter) -> Self {
        let (done, is_told, is_stale) = (Collected::default(), false, false);
        Self { node: node.clone(), marks, collection, meter, done, is_told, is_stale }
    }

    /// Deletes all that is not kept.
    pub(super) async fn delete(mut self) -> Result<Collected> {
        self.is_told = true;
        self.node.emit(NodeEvent::CollectionBegan);
        let mut batches = self.batches();
        while let Some(looked) = batches.try_next().await? {
            self.count_marked(&looked);
            let most = if self.collection.is_shared() { TOLD } else { DELETED };
            for some in looked.garbage.chunks(most) {
                self.delete_some(some.to_vec()).await?;
            }
        }
        self.collection.end().await?;
        Ok(self.done)
    }

    /// Counts what would be deleted.
    pub(super) async fn count(mut self) -> Result<Collected> {
        let mut batches = self.batches();
        while let Some(looked) = batches.try_next().await? {
            self.count_marked(&looked);
            let (garbage, are_free, _) = self.choose(looked.garbage, true).await?;
            self.count_deleted(&garbage, &are_free);
        }
        self.collection.end().await?;
        Ok(self.done)
    }

    /// The batches of what is here.
    fn batches(&self) -> BoxStream<'static, Result<Looked>> {
        let marks = self.marks.clone();
        let listed = crate::batches::pages(self.node.keeper().site.store.list(), BATCH);
        listed.and_then(move |listed| look(marks.clone(), listed)).boxed()
    }

    fn count_marked(&mut self, looked: &Looked) {
        self.meter.blocks(looked.marked.0 + looked.garbage.len() as u64);
        self.keep(looked.marked);
        self.is_stale = false;
    }

    const fn keep(&mut self, (blocks, bytes): (u64, u64)) {
        self.done.kept_blocks += blocks;
        self.done.kept_bytes += bytes;
    }

    async fn delete_some(&mut self, garbage: Vec<Listed>) -> Result<()> {
        let (garbage, are_free, deletion) = self.choose(garbage, false).await?;
        let free = garbage.iter().zip(&are_free).filter(|(_, is_free)| **is_free);
        let cids: Vec<Cid> = free.map(|((hash, _), _)| Cid::new_v1(codes::RAW, *hash)).collect();
        match cids.is_empty() {
            true => deletion.end().await?,
            false => self.node.guarded().delete_to_the_end(cids, deletion).await?,
        }
        self.count_deleted(&garbage, &are_free);
        Ok(())
    }

    /// Begins to delete those that nothing keeps, also nothing that came since they were looked at.
    async fn choose(
        &mut self,
        mut garbage: Vec<Listed>,
        is_dry: bool,
    ) -> Result<(Vec<Listed>, Vec<bool>, Deletion)> {
        loop {
            if self.is_stale {
                let looked = look(self.marks.clone(), garbage).await?;
                self.keep(looked.marked);
                garbage = looked.garbage;
            }
            let hashes: Vec<Multihash> = garbage.iter().map(|(hash, _)| *hash).collect();
            match self.collection.delete(&hashes, is_dry).await? {
                Ok((are_free, deletion)) => return Ok((garbage, are_free, deletion)),
                Err(new_roots) => self.marks.passing_missing().run(new_roots).await?,
            }
            self.is_stale = true;
        }
    }

    fn count_deleted(&mut self, garbage: &[Listed], are_free: &[bool]) {
        for ((_, size), is_free) in garbage.iter().zip(are_free) {
            if *is_free {
                self.done.deleted_blocks += 1;
                self.done.deleted_bytes += size;
                self.meter.bytes(*size);
            } else {
                self.done.kept_blocks += 1;
                self.done.kept_bytes += size;
            }
        }
    }
}
