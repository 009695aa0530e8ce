//! A store of one's own: it keeps what was used last in memory, in front of any other store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::stream::BoxStream;
use ipfs_traits::*;

#[derive(Debug)]
pub(crate) struct Cached<S> {
    below: S,
    recent: Mutex<Recent>,
}

/// Blocks in the order in which they were used.
#[derive(Debug)]
struct Recent {
    blocks: HashMap<Multihash, (u64, Block)>,
    order: BTreeMap<u64, Multihash>,
    clock: u64,
    bytes: usize,
    limit: usize,
    /// How many deletes there were: what was read before one must not be kept after it.
    deletes: u64,
}

impl<S: Blockstore> Cached<S> {
    pub(crate) fn new(below: S, limit: usize) -> Self {
        let (blocks, order) = (HashMap::new(), BTreeMap::new());
        let recent = Mutex::new(Recent { blocks, order, clock: 0, bytes: 0, limit, deletes: 0 });
        Self { below, recent }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps blocks that were there after so many deletes.
    fn keep<'a>(&self, deletes: u64, blocks: impl Iterator<Item = &'a Block>) {
        let mut recent = self.recent();
        if recent.deletes == deletes {
            blocks.for_each(|block| recent.insert(block.clone()));
        }
    }
}

impl Recent {
    fn remove(&mut self, hash: &Multihash) -> Option<Block> {
        let (used, block) = self.blocks.remove(hash)?;
        self.order.remove(&used);
        self.bytes -= block.len();
        Some(block)
    }

    fn insert(&mut self, block: Block) {
        self.remove(block.hash());
        self.clock += 1;
        self.bytes += block.len();
        self.order.insert(self.clock, *block.hash());
        self.blocks.insert(*block.hash(), (self.clock, block));
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.order.first_key_value().map(|(n, hash)| (*n, *hash))
            else {
                break;
            };
            self.remove(&oldest);
        }
    }

    fn get(&mut self, cid: &Cid) -> Option<Block> {
        let block = self.remove(cid.hash())?;
        self.insert(block.clone());
        block.with_cid(*cid).ok()
    }
}

#[async_trait]
impl<S: Blockstore> Blockstore for Cached<S> {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let (near, deletes): (Vec<Option<Block>>, u64) = {
            let mut recent = self.recent();
            (cids.iter().map(|cid| recent.get(cid)).collect(), recent.deletes)
        };
        let far: Vec<Cid> = std::iter::zip(cids, &near)
            .filter_map(|(cid, near)| near.is_none().then_some(*cid))
            .collect();
        let far = self.below.get_many(&far).await;
        self.keep(deletes, far.iter().filter_map(|found| found.as_ref().ok()?.as_ref()));
        let mut far = far.into_iter();
        let answer = |near: Option<Block>| match near {
            Some(block) => Ok(Some(block)),
            None => far.next().unwrap_or(Ok(None)),
        };
        near.into_iter().map(answer).collect()
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.below.sizes(cids).await
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let deletes = self.recent().deletes;
        self.below.put_many(blocks).await?;
        self.keep(deletes, blocks.iter());
        Ok(())
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let forget = || {
            let mut recent = self.recent();
            recent.deletes += 1;
            cids.iter().for_each(|cid| drop(recent.remove(cid.hash())));
        };
        // Before, so that nothing read meanwhile is kept; and after, for what was read before.
        forget();
        let deleted = self.below.delete_many(cids).await;
        forget();
        deleted
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.below.list()
    }

    async fn flush(&self) -> Result<()> {
        self.below.flush().await
    }

    async fn close(&self) -> Result<()> {
        self.below.close().await
    }
}
