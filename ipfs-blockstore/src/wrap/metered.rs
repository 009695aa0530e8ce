//! A store that counts what is done with it.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use ipfs_traits::{Block, Blockstore, Cid, Multihash, Result, Runtime, Usage};

use super::pass_on;

/// Counts the calls of another store, their blocks and bytes, and how long they took.
///
/// A call whose future is dropped is not counted.
#[derive(Clone, Debug)]
pub struct MeteredStore<S> {
    inner: S,
    runtime: Arc<dyn Runtime>,
    metrics: Arc<Mutex<Metrics>>,
}

/// What a [`MeteredStore`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Reads.
    pub get: Operation,
    /// Questions for sizes.
    pub size: Operation,
    /// Puts.
    pub put: Operation,
    /// Deletes.
    pub delete: Operation,
    /// Flushes.
    pub flush: Operation,
}

/// What was counted of one kind of call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Calls.
    pub calls: u64,
    /// Blocks that were asked for or given in them.
    pub blocks: u64,
    /// Of these, the ones that were there, for reads and sizes.
    pub found: u64,
    /// Bytes of blocks that were read or put.
    pub bytes: u64,
    /// Calls that failed; of reads, blocks.
    pub errors: u64,
    /// How long the calls took.
    pub latency: Histogram,
}

/// How many calls took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BUCKETS],
}

impl Histogram {
    /// The last bucket holds all that took longer than 18 minutes.
    const BUCKETS: usize = 32;

    /// Counts a call.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.counts[bucket.min(Self::BUCKETS - 1)] += 1;
    }

    /// The buckets: a duration, and how many calls took less than that and at least half of it.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        (0..).map(|bucket| Duration::from_micros(1 << bucket)).zip(self.counts)
    }

    /// A duration within which this share of the calls was done, from 0 to 1; `None` before there
    /// was one.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.counts.iter().sum();
        let mut left = (all as f64 * share).ceil().max(1.0) as u64;
        self.buckets().find_map(|(bound, count)| {
            let reached = count >= left;
            left = left.saturating_sub(count);
            (reached && all > 0).then_some(bound)
        })
    }
}

impl<S: Blockstore> MeteredStore<S> {
    /// A store that counts the calls of this one, by this runtime's clock.
    pub fn new(inner: S, runtime: Arc<dyn Runtime>) -> Self {
        Self { inner, runtime, metrics: Arc::default() }
    }

    /// What was counted so far.
    pub fn metrics(&self) -> Metrics {
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a call, and counts it.
    async fn count<T>(
        &self,
        of: fn(&mut Metrics) -> &mut Operation,
        call: impl Future<Output = T>,
        more: impl FnOnce(&T, &mut Operation),
    ) -> T {
        let start = self.runtime.now();
        let answer = call.await;
        let took = self.runtime.now().saturating_duration_since(start);
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let operation = of(&mut metrics);
        operation.calls += 1;
        operation.latency.add(took);
        more(&answer, operation);
        answer
    }
}

#[async_trait]
impl<S: Blockstore> Blockstore for MeteredStore<S> {
    pass_on!(list, usage, compact, shared, close);

    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let call = self.inner.get_many(cids);
        self.count(
            |metrics| &mut metrics.get,
            call,
            |found, get| {
                get.blocks += found.len() as u64;
                for block in found {
                    match block {
                        Ok(Some(block)) => {
                            get.found += 1;
                            get.bytes += block.len() as u64;
                        }
                        Ok(None) => {}
                        Err(_) => get.errors += 1,
                    }
                }
            },
        )
        .await
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let call = self.inner.sizes(cids);
        self.count(
            |metrics| &mut metrics.size,
            call,
            |sizes, size| {
                size.blocks += cids.len() as u64;
                match sizes {
                    Ok(sizes) => size.found += sizes.iter().flatten().count() as u64,
                    Err(_) => size.errors += 1,
                }
            },
        )
        .await
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let call = self.inner.put_many(blocks);
        self.count(
            |metrics| &mut metrics.put,
            call,
            |done, put| {
                put.blocks += blocks.len() as u64;
                match done {
                    Ok(()) => put.bytes += blocks.iter().map(|b| b.len() as u64).sum::<u64>(),
                    Err(_) => put.errors += 1,
                }
            },
        )
        .await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let call = self.inner.delete_many(cids);
        self.count(
            |metrics| &mut metrics.delete,
            call,
            |done, delete| {
                delete.blocks += cids.len() as u64;
                delete.errors += u64::from(done.is_err());
            },
        )
        .await
    }

    async fn flush(&self) -> Result<()> {
        let call = self.inner.flush();
        let more = |done: &Result<()>, flush: &mut Operation| {
            flush.errors += u64::from(done.is_err());
        };
        self.count(|metrics| &mut metrics.flush, call, more).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_tells_how_long_calls_took() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in [0, 1, 3, 900, 1_000, u64::MAX] {
            histogram.add(Duration::from_micros(micros));
        }
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        let bounds = [1, 2, 4, 1024, 1 << 31].map(Duration::from_micros);
        assert_eq!(filled, std::iter::zip(bounds, [1, 1, 1, 2, 1]).collect::<Vec<_>>());
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(4)));
        assert_eq!(histogram.quantile(0.8), Some(Duration::from_micros(1024)));
        assert_eq!(histogram.quantile(0.0), Some(Duration::from_micros(1)));
    }
}
