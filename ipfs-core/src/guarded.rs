//! The one store of a node, through which all reading and writing goes.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use futures_channel::oneshot;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, Blockstore, Cid, Error, Multihash, Result, Runtime, Usage, async_trait};

use crate::{
    hold::{Deletion, Holds},
    keeper::Keeper,
};

/// A store that deletes nothing that is held or pinned, answers identity CIDs itself, and ends with
/// its node. Clones are the same store.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    store: Arc<dyn Blockstore>,
    runtime: Arc<dyn Runtime>,
    holds: Holds,
    /// Knows the pins, once the node has its datastore.
    keeper: Arc<OnceLock<Arc<Keeper>>>,
    closed: Arc<AtomicBool>,
}

impl Guarded {
    pub(crate) fn new(store: Arc<dyn Blockstore>, runtime: Arc<dyn Runtime>, holds: Holds) -> Self {
        Self { store, runtime, holds, keeper: Arc::default(), closed: Arc::default() }
    }

    /// Deletes nothing from now on that is pinned.
    pub(crate) fn guard_pins(&self, keeper: &Arc<Keeper>) {
        // There is one for each node.
        let _ = self.keeper.set(keeper.clone());
    }

    /// The store below, which deletes what it is told to, and notes nothing.
    pub(crate) fn bare(&self) -> &Arc<dyn Blockstore> {
        &self.store
    }

    /// Refuses every later call, and closes the store below.
    pub(crate) async fn shut_down(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        self.store.close().await
    }

    fn open(&self) -> Result<&Arc<dyn Blockstore>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed("the node"));
        }
        Ok(&self.store)
    }

    /// Puts blocks, of which a collection that runs when they are there knows.
    async fn put_noted(&self, store: &Arc<dyn Blockstore>, blocks: &[Block]) -> Result<()> {
        let hashes = || blocks.iter().map(Block::hash);
        let noted = self.holds.touch(hashes()).await?;
        store.put_many(blocks).await?;
        let running = self.holds.touch(hashes()).await?;
        if running != (None, None) && running != noted {
            // It began meanwhile, and may have deleted some.
            store.put_many(blocks).await?;
        }
        Ok(())
    }

    /// Has collections that run keep these. Another node is told only of what is here: strangers may
    /// ask for whatever they like.
    async fn ask_for(&self, store: &Arc<dyn Blockstore>, cids: &[Cid]) -> Result<()> {
        self.holds.touch_here(cids.iter().map(Cid::hash)).await;
        if let Some(lease) = self.holds.lease()
            && lease.other().await?.is_some()
        {
            let stored = stored(cids);
            let sizes = store.sizes(&stored).await?;
            let here = std::iter::zip(&stored, sizes).filter(|(_, size)| size.is_some());
            let here: Vec<&Cid> = here.map(|(cid, _)| cid).collect();
            self.holds.touch(here.iter().map(|cid| cid.hash())).await?;
        }
        Ok(())
    }

    /// Deletes to the end even if nobody waits for it any more: a hold that waits for the deletion
    /// must not see it go on afterwards.
    pub(crate) async fn delete_to_the_end(&self, cids: Vec<Cid>, deletion: Deletion) -> Result<()> {
        let (done, result) = oneshot::channel();
        let store = self.open()?.clone();
        let delete = async move {
            let mut deleted = store.delete_many(&cids).await;
            if deletion.is_shared() {
                // Others see what was flushed.
                deleted = deleted.and(store.flush().await);
            }
            let _ = done.send(deleted.and(deletion.end().await));
        };
        self.runtime.spawn(Box::pin(delete)).detach();
        result.await.map_err(|_| Error::Closed("the runtime"))?
    }
}

/// The blocks that a store has to hold: not those that their CIDs hold.
fn stored(cids: &[Cid]) -> Vec<Cid> {
    cids.iter().filter(|cid| Block::inline(cid).is_none()).copied().collect()
}

/// Puts the answers of the store between those of the CIDs that answer themselves.
fn merge<T>(cids: &[Cid], answers: Vec<T>, inline: impl Fn(Block) -> T) -> Vec<T> {
    let mut answers = answers.into_iter();
    cids.iter()
        .filter_map(|cid| Block::inline(cid).map(&inline).or_else(|| answers.next()))
        .collect()
}

#[async_trait]
impl Blockstore for Guarded {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let store = match self.open() {
            Ok(store) => store,
            Err(closed) => return cids.iter().map(|_| Err(closed.clone())).collect(),
        };
        if let Err(error) = self.ask_for(store, cids).await {
            return cids.iter().map(|_| Err(error.clone())).collect();
        }
        if cids.iter().all(|cid| Block::inline(cid).is_none()) {
            return store.get_many(cids).await;
        }
        merge(cids, store.get_many(&stored(cids)).await, |block| Ok(Some(block)))
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let store = self.open()?;
        self.ask_for(store, cids).await?;
        let sizes = store.sizes(&stored(cids)).await?;
        Ok(merge(cids, sizes, |block| Some(block.len() as u64)))
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let store = self.open()?;
        if blocks.iter().all(|block| Block::inline(block.cid()).is_none()) {
            return self.put_noted(store, blocks).await;
        }
        let not_inline = |block: &&Block| Block::inline(block.cid()).is_none();
        let blocks: Vec<Block> = blocks.iter().filter(not_inline).cloned().collect();
        self.put_noted(store, &blocks).await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let cids = stored(cids);
        let mut deletion = match self.holds.delete(cids.iter().map(Cid::hash)) {
            Ok(deletion) => deletion,
            Err(place) => return Err(Error::InUse(format!("block {}", cids[place]).into())),
        };
        // Whoever holds or pins one of them from now on waits for this deletion.
        let taken = deletion.take_lease().await;
        let checked = match self.keeper.get() {
            Some(keeper) if taken.is_ok() => keeper.check_unpinned(&cids).await,
            _ => taken,
        };
        match checked {
            Ok(()) => self.delete_to_the_end(cids, deletion).await,
            Err(error) => deletion.end().await.and(Err(error)),
        }
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        match self.open() {
            Ok(store) => store.list(),
            Err(closed) => stream::iter([Err(closed)]).boxed(),
        }
    }

    async fn flush(&self) -> Result<()> {
        self.open()?.flush().await
    }

    async fn usage(&self) -> Result<Option<Usage>> {
        self.open()?.usage().await
    }

    async fn compact(&self) -> Result<()> {
        self.open()?.compact().await
    }

    fn shared(&self) -> bool {
        self.store.shared()
    }

    /// The store is its node's to close.
    async fn close(&self) -> Result<()> {
        Err(Error::unsupported("closing the store of a node, but for the node"))
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::{BlockstoreExt, TokioRuntime, conformance, memory::MemoryStore};

    use super::*;

    fn guarded() -> Guarded {
        let runtime = Arc::new(TokioRuntime::current().unwrap());
        Guarded::new(Arc::new(MemoryStore::new()), runtime, Holds::default())
    }

    #[tokio::test]
    async fn it_is_a_store_like_any_other() {
        conformance::blockstore(|| async { Ok(guarded()) }).await.unwrap();
    }

    #[tokio::test]
    async fn identity_cids_answer_themselves() {
        let (store, cid) = (guarded(), "bafkqac3imvwgy3zao5xxe3de".parse().unwrap());
        let block = Block::inline(&cid).unwrap();
        store.put(block.clone()).await.unwrap();
        assert!(store.list().next().await.is_none(), "nothing is stored");
        assert_eq!(store.get(&cid).await.unwrap(), Some(block.clone()));
        assert_eq!(store.size(&cid).await.unwrap(), Some(11));
        let other = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
        let both = store.get_many(&[other, cid]).await;
        assert!(matches!(&both[..], [Ok(None), Ok(Some(found))] if *found == block));
    }
}
