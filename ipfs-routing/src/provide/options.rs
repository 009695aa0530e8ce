//! How a provider works.

use std::time::Duration;

use ipfs_traits::{Error, Result};

/// How a [`Provider`](super::Provider) works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How often every key is announced: each 22 hours by default, as Kubo does. Peers keep a record
    /// for 48 hours, so that one missed announcement is made up for by the next.
    pub interval: Duration,
    /// How many keys a batch of the sweep has at least on average, when there are many: 256 by
    /// default. That many share the lookup of their region; twice as many cost twice the memory of
    /// those who hold them and save little of what the records themselves weigh.
    pub batch: usize,
    /// The most keys in one call of the router: 4,096 by default, half a megabyte of memory.
    pub max_batch: usize,
    /// Batches of the sweep at once: 2 by default. One keeps the schedule; the second makes up for
    /// lost time without taking the whole uplink of a home.
    pub sweeping: usize,
    /// Batches of new keys at once, beside those of the sweep: 4 by default, since somebody waits for
    /// these.
    pub announcing: usize,
    /// When a batch or a listing of the source that failed is tried again: after a minute by
    /// default, and after twice that each time, an hour at the most.
    pub retry: Duration,
    /// The most keys that wait to be announced at once: 1,048,576 by default, about 60 MB of the
    /// datastore.
    pub queue: usize,
    /// The most keys that are taken from one listing of the source: 16,777,216 by default, 1 GB of
    /// the datastore. At that number a batch has all of 4,096 keys.
    pub keys: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(22 * 3600),
            batch: 256,
            max_batch: 4096,
            sweeping: 2,
            announcing: 4,
            retry: Duration::from_secs(60),
            queue: 1 << 20,
            keys: 1 << 24,
        }
    }
}

/// The longest interval, 38 hours: an announcement is up to a quarter of it late after an outage,
/// and must still come before the record of 48 hours ends.
pub const MAX_INTERVAL: Duration = Duration::from_secs(38 * 3600);

/// The shortest interval, a minute: the work of a cycle is cut into parts of milliseconds.
pub const MIN_INTERVAL: Duration = Duration::from_secs(60);

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |reason: &'static str| Err(Error::invalid("options of the provider", reason));
        if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&self.interval) {
            return wrong("the interval is not between a minute and 38 hours");
        }
        if self.batch == 0 || self.max_batch < self.batch {
            return wrong("a batch is empty, or larger than the largest");
        }
        if self.sweeping == 0 || self.announcing == 0 {
            return wrong("no batch may be under way");
        }
        if self.retry.is_zero() {
            return wrong("failures are tried again without a pause");
        }
        Ok(())
    }
}
