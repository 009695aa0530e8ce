//! The one way past holds and pins: for blocks that are damaged.

use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::lock::Mutex;
use ipfs_traits::{Blockstore, Cid, Error, Result};

use super::look::{Condition, look};
use crate::Node;

/// Deletes what is damaged, also if it is held or pinned: what is kept so is worth nothing.
///
/// The lock is held from looking at a block until it is deleted: otherwise of two who mend the same
/// one the second would delete what the first has fetched.
#[derive(Debug, Default)]
pub(crate) struct Damage(Arc<Mutex<()>>);

impl Damage {
    /// Deletes a block if it is damaged, still.
    ///
    /// Whoever asks for it meanwhile, or begins to hold it, waits until that is over; and who holds it
    /// already keeps all others from deleting it. So a damaged record stays what it is until it is
    /// deleted here. It is done to the end even if nobody waits for it any more, as each deletion is.
    pub(super) async fn delete(&self, node: &Node, cid: Cid) -> Result<()> {
        let (done, result) = oneshot::channel();
        let (runtime, node, lock) = (node.runtime().clone(), node.clone(), self.0.clone());
        let work = async move {
            let _mending = lock.lock().await;
            let _deletion = node.keeper().holds.delete([cid.hash()].into_iter());
            let _ = done.send(delete(&node, cid).await);
        };
        runtime.spawn(Box::pin(work)).detach();
        result.await.map_err(|_| Error::Closed("the runtime"))?
    }
}

async fn delete(node: &Node, cid: Cid) -> Result<()> {
    let _open = node.stay_open().await?;
    match &look(node, vec![cid]).await?[..] {
        [(_, Condition::Damaged)] => node.guarded().bare().delete_many(&[cid]).await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::{Block, BlockstoreExt, HashTable, codes, memory::MemoryStore};

    use super::*;

    /// Two mend one block: the second must not delete what the first has fetched.
    #[tokio::test]
    async fn what_is_whole_by_now_is_not_deleted() {
        let hashes = HashTable::standard();
        let block = |data: &'static str| Block::of(codes::RAW, codes::SHA2_256, data, &hashes);
        let (good, bad) = (block("good").unwrap(), block("bad").unwrap());
        let store = MemoryStore::new();
        store.put(good.clone()).await.unwrap();
        store.put(Block::trusted(*bad.cid(), "worse".into())).await.unwrap();
        let node = Node::builder().store(Arc::new(store)).offline().spawn().await.unwrap();
        let hold = node.hold();
        for block in [&good, &bad] {
            hold.keep([block.hash()].into_iter()).await.unwrap();
            node.damage().delete(&node, *block.cid()).await.unwrap();
        }
        assert_eq!(node.blocks().get(good.cid()).await.unwrap(), good);
        assert!(!node.blocks().has(bad.cid()).await.unwrap());
    }
}
