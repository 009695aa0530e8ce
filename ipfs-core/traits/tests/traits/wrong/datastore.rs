//! Datastores that break one promise each.

use futures::executor::block_on;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use ipfs_traits::memory::MemoryDatastore;
use ipfs_traits::{Batch, Bytes, Datastore, Result, async_trait, conformance};

use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum TableFault {
    None,
    IgnoresExpectations,
    HalfOfABatch,
    FirstWriteHolds,
    NoBounds,
    ScanUnsorted,
    ScanIgnoresPrefix,
    OnePage,
    EmptyIsAbsent,
}

/// A datastore with one fault.
#[derive(Debug)]
struct Table(TableFault, MemoryDatastore);

#[async_trait]
impl Datastore for Table {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.1.get(key).await?;
        Ok(found.filter(|value| self.0 != TableFault::EmptyIsAbsent || !value.is_empty()))
    }
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        match self.0 {
            TableFault::ScanIgnoresPrefix => self.1.scan(b""),
            TableFault::ScanUnsorted => {
                let reverse = |page: Result<Vec<_>>| page.map(|p| p.into_iter().rev().collect());
                self.1.scan(prefix).map(reverse).boxed()
            }
            TableFault::OnePage => {
                let pages = self.1.scan(prefix);
                async move { Ok(pages.map(Result::unwrap).concat().await) }.into_stream().boxed()
            }
            _ => self.1.scan(prefix),
        }
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        let rebuilt = |writes: Vec<(Bytes, Option<Bytes>)>,
                       expected: Vec<(Bytes, Option<Bytes>)>| {
            let batch = expected.into_iter().fold(Batch::new(), |b, (k, v)| b.expect(k, v));
            writes.into_iter().fold(batch, |b, (key, value)| match value {
                Some(value) => b.put(key, value),
                None => b.delete(key),
            })
        };
        let expected = || batch.expectations().map(|(k, v)| (k.clone(), v.cloned())).collect();
        let writes: Vec<_> = batch.clone().into_writes().collect();
        let changed = match self.0 {
            TableFault::IgnoresExpectations => rebuilt(writes, Vec::new()),
            TableFault::HalfOfABatch => {
                rebuilt(writes[..writes.len().div_ceil(2)].into(), expected())
            }
            TableFault::FirstWriteHolds => rebuilt(writes.into_iter().rev().collect(), expected()),
            TableFault::NoBounds => {
                let small = |(k, _): &(Bytes, Option<Bytes>)| k.len() <= Batch::MAX_KEY;
                let cut = |(k, v): (Bytes, Option<Bytes>)| {
                    (k, v.map(|v| v.slice(..v.len().min(Batch::MAX_VALUE))))
                };
                rebuilt(writes.into_iter().filter(small).map(cut).collect(), expected())
            }
            _ => batch,
        };
        self.1.commit(changed).await
    }
}

#[test]
fn wrong_datastores_are_caught() {
    use TableFault as F;
    let make = |fault| async move { Ok(Table(fault, MemoryDatastore::new())) };
    let run = |fault| block_on(conformance::datastore(|| make(fault)));
    run(F::None).unwrap();
    for fault in [
        F::IgnoresExpectations,
        F::HalfOfABatch,
        F::FirstWriteHolds,
        F::NoBounds,
        F::ScanUnsorted,
        F::ScanIgnoresPrefix,
        F::OnePage,
        F::EmptyIsAbsent,
    ] {
        caught(fault, run(fault));
    }
    let forgets = block_on(conformance::datastore_reopen(|| async { Ok(MemoryDatastore::new()) }));
    caught("a datastore that forgets", forgets);
}
