//! Sources, sessions and exchanges that break one promise each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::executor::block_on;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use ipfs_traits::memory::MemoryStore;
use ipfs_traits::{
    Block, BlockSource, Cid, Error, Exchange, Giver, GiverStats, Local, Result, Session,
    SessionStats, async_trait, conformance,
};

use super::super::conformance::store_of;
use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum SourceFault {
    None,
    NoInline,
    AnswersOnce,
    WrongBlock,
    TakesAll,
    NeverEnough,
    CountsTooFew,
    WantsForever,
    CreditsTooMuch,
    NoSecondClose,
}

/// A source, a session and an exchange with one fault.
#[derive(Clone, Debug)]
struct Fetch {
    fault: SourceFault,
    inner: Local<Arc<MemoryStore>>,
    closed: Arc<AtomicBool>,
}

impl Fetch {
    async fn new(fault: SourceFault, blocks: Vec<Block>) -> Result<Self> {
        Ok(Self { fault, inner: Local(store_of(&blocks).await?), closed: Arc::default() })
    }
}

#[async_trait]
impl BlockSource for Fetch {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        match self.fault {
            SourceFault::NoInline if cid.hash().code() == 0 => Err(Error::NotFound(*cid)),
            _ => self.inner.get(cid).await,
        }
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        match self.fault {
            SourceFault::AnswersOnce => {
                let mut seen = std::collections::BTreeSet::new();
                let once = cids.filter(move |cid| std::future::ready(seen.insert(*cid)));
                self.inner.get_many(once.boxed())
            }
            SourceFault::WrongBlock => {
                let mut last: Option<Block> = None;
                let shift = move |(cid, block): (Cid, Result<Block>)| {
                    let block = block.unwrap();
                    let given = last.replace(block.clone()).unwrap_or(block);
                    (cid, Ok(given))
                };
                self.inner.get_many(cids).map(shift).boxed()
            }
            SourceFault::TakesAll => {
                let source = self.inner.clone();
                async move { source.get_many(stream::iter(cids.collect::<Vec<_>>().await).boxed()) }
                    .flatten_stream()
                    .boxed()
            }
            SourceFault::NeverEnough => self.inner.get_many(cids).take(100).boxed(),
            _ => self.inner.get_many(cids),
        }
    }
}

impl Session for Fetch {
    fn stats(&self) -> SessionStats {
        let mut stats = SessionStats::default();
        stats.blocks = u64::from(self.fault == SourceFault::CountsTooFew);
        stats.wanted = u64::from(self.fault == SourceFault::WantsForever);
        if self.fault == SourceFault::CreditsTooMuch {
            let mut giver = GiverStats::new(Giver::Url("https://example.com".into()));
            giver.blocks = 1;
            stats.givers.push(giver);
        }
        stats
    }
}

#[async_trait]
impl Exchange for Fetch {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(self.clone())
    }
    async fn close(&self) -> Result<()> {
        let again = self.closed.swap(true, Ordering::Relaxed);
        match again && self.fault == SourceFault::NoSecondClose {
            true => Err(Error::Closed("the exchange")),
            false => Ok(()),
        }
    }
}

#[test]
fn wrong_sources_and_exchanges_are_caught() {
    use SourceFault as F;
    let source = |fault| block_on(conformance::source(|blocks| Fetch::new(fault, blocks)));
    let exchange = |fault| block_on(conformance::exchange(|blocks| Fetch::new(fault, blocks)));
    source(F::None).unwrap();
    exchange(F::None).unwrap();
    for fault in [F::NoInline, F::AnswersOnce, F::WrongBlock, F::TakesAll, F::NeverEnough] {
        caught(fault, source(fault));
        caught(fault, exchange(fault));
    }
    for fault in [F::CountsTooFew, F::WantsForever, F::CreditsTooMuch, F::NoSecondClose] {
        caught(fault, exchange(fault));
    }
}
