//! Stores that break one promise each.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use ipfs_traits::memory::MemoryStore;
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, async_trait, conformance, limits,
};

use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum StoreFault {
    None,
    AbsenceIsAnError,
    ForgetsUnflushed,
    CidAsFirstPut,
    KeyedByCid,
    WrongOrder,
    DeleteOnFlush,
    DeletesAll,
    ListsTwice,
    ListSkips,
    OnePage,
    WrongSizes,
    RefusesEmpty,
    TakesTooLarge,
    LosesPartOfBatch,
    UsageIsWrong,
    CompactLoses,
}

/// A store with one fault.
#[derive(Debug)]
struct Store {
    fault: StoreFault,
    inner: Arc<MemoryStore>,
    unflushed: Mutex<Vec<Cid>>,
    first_cids: Mutex<Vec<Cid>>,
}

impl Store {
    fn new(fault: StoreFault) -> Self {
        let (unflushed, first_cids) = (Mutex::default(), Mutex::default());
        Self { fault, inner: Arc::default(), unflushed, first_cids }
    }
    fn has(&self, fault: StoreFault) -> bool {
        self.fault == fault
    }
    fn hidden(&self, cid: &Cid) -> bool {
        self.has(StoreFault::ForgetsUnflushed) && self.unflushed.lock().unwrap().contains(cid)
    }
    fn rekey(&self, cid: &Cid) -> Cid {
        let first = self.first_cids.lock().unwrap();
        let first = first.iter().find(|first| first.hash() == cid.hash());
        *first.filter(|_| self.has(StoreFault::CidAsFirstPut)).unwrap_or(cid)
    }
}

#[async_trait]
impl Blockstore for Store {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let mut found = self.inner.get_many(cids).await;
        for (cid, found) in cids.iter().zip(&mut found) {
            let other_cid =
                self.has(StoreFault::KeyedByCid) && !self.first_cids.lock().unwrap().contains(cid);
            if self.hidden(cid) || other_cid {
                *found = Ok(None);
            }
            if self.has(StoreFault::AbsenceIsAnError) && matches!(found, Ok(None)) {
                *found = Err(Error::NotFound(*cid));
            }
            if let Ok(Some(block)) = found {
                *block = Block::trusted(self.rekey(cid), block.data().clone());
            }
        }
        if self.has(StoreFault::WrongOrder) {
            found.reverse();
        }
        found
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let more = u64::from(self.has(StoreFault::WrongSizes));
        let sizes = self.inner.sizes(cids).await?.into_iter();
        Ok(sizes.map(|size| size.map(|size| size + more)).collect())
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        if self.has(StoreFault::RefusesEmpty) && blocks.iter().any(Block::is_empty) {
            return Err(Error::invalid("block", "it is empty"));
        }
        let cids = blocks.iter().map(|block| *block.cid());
        self.unflushed.lock().unwrap().extend(cids.clone());
        self.first_cids.lock().unwrap().extend(cids);
        if self.has(StoreFault::TakesTooLarge)
            && blocks.iter().any(|block| block.len() > limits::MAX_STORED_BLOCK)
        {
            return Ok(());
        }
        let keep = blocks.len()
            - usize::from(self.has(StoreFault::LosesPartOfBatch)).min(blocks.len() / 10);
        self.inner.put_many(&blocks[..keep]).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        match self.fault {
            StoreFault::DeleteOnFlush => Ok(()),
            StoreFault::DeletesAll => {
                let all = self.inner.list().next().await.unwrap_or(Ok(Vec::new()))?;
                let all: Vec<Cid> = all.iter().map(|(hash, _)| Cid::new_v1(0x55, *hash)).collect();
                self.inner.delete_many(&all).await
            }
            _ => self.inner.delete_many(cids).await,
        }
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let fault = self.fault;
        match fault {
            StoreFault::ListsTwice => self.inner.list().chain(self.inner.list()).boxed(),
            StoreFault::ListSkips => self.inner.list().skip(1).boxed(),
            StoreFault::OnePage => {
                let pages = self.inner.list();
                async move {
                    let pages: Vec<_> = pages.map(Result::unwrap).collect().await;
                    Ok(pages.concat())
                }
                .into_stream()
                .boxed()
            }
            _ => self.inner.list(),
        }
    }
    async fn flush(&self) -> Result<()> {
        self.unflushed.lock().unwrap().clear();
        Ok(())
    }
    async fn usage(&self) -> Result<Option<ipfs_traits::Usage>> {
        let usage = self.inner.usage().await?;
        let more = u64::from(self.has(StoreFault::UsageIsWrong));
        Ok(usage.map(|usage| ipfs_traits::Usage::of_bytes(usage.bytes + more)))
    }
    async fn compact(&self) -> Result<()> {
        if self.has(StoreFault::CompactLoses) {
            let some = self.inner.list().next().await.unwrap_or(Ok(Vec::new()))?;
            self.inner.delete_many(&[Cid::new_v1(0x55, some[0].0)]).await?;
        }
        Ok(())
    }
}

#[test]
fn wrong_stores_are_caught() {
    use StoreFault as F;
    let run = |fault| block_on(conformance::blockstore(|| async move { Ok(Store::new(fault)) }));
    run(F::None).unwrap();
    for fault in [
        F::AbsenceIsAnError,
        F::ForgetsUnflushed,
        F::CidAsFirstPut,
        F::KeyedByCid,
        F::WrongOrder,
        F::DeleteOnFlush,
        F::DeletesAll,
        F::ListsTwice,
        F::ListSkips,
        F::OnePage,
        F::WrongSizes,
        F::RefusesEmpty,
        F::TakesTooLarge,
        F::LosesPartOfBatch,
        F::UsageIsWrong,
        F::CompactLoses,
    ] {
        caught(fault, run(fault));
    }
}
