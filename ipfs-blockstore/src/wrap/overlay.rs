//! Several stores as one.

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, Blockstore, Cid, Error, Multihash, Result, Usage, codes};

/// Reads from several stores and writes to one: what is put lies in the upper store, and what is not
/// found there is looked for in the lower ones, in their order.
///
/// A block that a lower store has is not put again. It cannot be deleted either: a delete of it is
/// [`Error::Unsupported`], after what could be deleted is gone. [`usage`](Blockstore::usage),
/// [`compact`](Blockstore::compact) and [`flush`](Blockstore::flush) are the upper store's;
/// [`close`](Blockstore::close) closes all.
///
/// ```
/// # futures::executor::block_on(async {
/// use std::sync::Arc;
///
/// use ipfs_blockstore::{Blockstore, BlockstoreExt, OverlayStore};
/// use ipfs_traits::{codes, memory::MemoryStore, Block, HashTable};
///
/// let (upper, lower) = (MemoryStore::new(), MemoryStore::new());
/// let block = Block::of(codes::RAW, codes::SHA2_256, "below", &HashTable::standard())?;
/// lower.put(block.clone()).await?;
/// let store = OverlayStore::new(Arc::new(upper), [Arc::new(lower) as Arc<dyn Blockstore>]);
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OverlayStore {
    upper: Arc<dyn Blockstore>,
    lower: Arc<[Arc<dyn Blockstore>]>,
}

impl OverlayStore {
    /// A store that writes to `upper` and reads from all.
    pub fn new(
        upper: Arc<dyn Blockstore>,
        lower: impl IntoIterator<Item = Arc<dyn Blockstore>>,
    ) -> Self {
        Self { upper, lower: lower.into_iter().collect() }
    }
}

/// Which of these lie in any of the stores.
async fn held(stores: &[Arc<dyn Blockstore>], cids: &[Cid]) -> Result<Vec<bool>> {
    let mut held = vec![false; cids.len()];
    for store in stores {
        for (held, size) in std::iter::zip(&mut held, store.sizes(cids).await?) {
            *held |= size.is_some();
        }
    }
    Ok(held)
}

/// A page without what stores before this one have listed.
async fn unlisted(
    before: &[Arc<dyn Blockstore>],
    page: Vec<(Multihash, u64)>,
) -> Result<Vec<(Multihash, u64)>> {
    let cids: Vec<Cid> = page.iter().map(|(hash, _)| Cid::new_v1(codes::RAW, *hash)).collect();
    let listed = held(before, &cids).await?;
    Ok(std::iter::zip(page, listed).filter(|(_, listed)| !listed).map(|(entry, _)| entry).collect())
}

#[async_trait]
impl Blockstore for OverlayStore {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let mut found = self.upper.get_many(cids).await;
        for store in &*self.lower {
            // One that is damaged above may be whole below.
            let missing: Vec<usize> =
                (0..cids.len()).filter(|&i| !matches!(found[i], Ok(Some(_)))).collect();
            if missing.is_empty() {
                break;
            }
            let asked: Vec<Cid> = missing.iter().map(|&i| cids[i]).collect();
            for (&i, below) in std::iter::zip(&missing, store.get_many(&asked).await) {
                if found[i].is_ok() || matches!(below, Ok(Some(_))) {
                    found[i] = below;
                }
            }
        }
        found
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let mut sizes = self.upper.sizes(cids).await?;
        for store in &*self.lower {
            let missing: Vec<usize> = (0..cids.len()).filter(|&i| sizes[i].is_none()).collect();
            if missing.is_empty() {
                break;
            }
            let asked: Vec<Cid> = missing.iter().map(|&i| cids[i]).collect();
            for (&i, below) in std::iter::zip(&missing, store.sizes(&asked).await?) {
                sizes[i] = below;
            }
        }
        Ok(sizes)
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        let below = held(&self.lower, &cids).await?;
        let new = std::iter::zip(blocks, below).filter(|(_, below)| !below);
        let new: Vec<Block> = new.map(|(block, _)| block.clone()).collect();
        self.upper.put_many(&new).await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.upper.delete_many(cids).await?;
        match held(&self.lower, cids).await?.contains(&true) {
            true => Err(Error::unsupported("deleting what lies in a lower store")),
            false => Ok(()),
        }
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let stores: Vec<_> = std::iter::once(&self.upper).chain(&*self.lower).cloned().collect();
        let lists = (0..stores.len()).map(move |i| {
            let before: Arc<[Arc<dyn Blockstore>]> = stores[..i].into();
            stores[i]
                .list()
                .then(move |page| {
                    let before = before.clone();
                    async move { unlisted(&before, page?).await }
                })
                .boxed()
        });
        // An error ends the listing: what follows it would look whole.
        stream::iter(lists)
            .flatten()
            .scan(false, |failed, page| {
                let item = (!*failed).then_some(page);
                *failed |= item.as_ref().is_some_and(Result::is_err);
                async move { item }
            })
            .boxed()
    }

    async fn flush(&self) -> Result<()> {
        self.upper.flush().await
    }

    async fn usage(&self) -> Result<Option<Usage>> {
        self.upper.usage().await
    }

    async fn compact(&self) -> Result<()> {
        self.upper.compact().await
    }

    fn shared(&self) -> bool {
        self.upper.shared()
    }

    async fn close(&self) -> Result<()> {
        let mut closed = self.upper.close().await;
        for store in &*self.lower {
            closed = closed.and(store.close().await);
        }
        closed
    }
}
