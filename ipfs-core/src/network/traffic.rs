//! How many bytes went, by peer and by protocol.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ipfs_traits::network::Traffic;

/// Bytes both ways, counted by many streams.
#[derive(Debug, Default)]
pub(super) struct Counter {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counter {
    pub(super) fn read(&self) -> Traffic {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Traffic::new(read(&self.received), read(&self.sent))
    }
}

/// Where the bytes of one stream are counted: all, those of its protocol, those of its peer.
#[derive(Clone, Debug)]
pub(super) struct Counters(pub(super) [Arc<Counter>; 3]);

impl Counters {
    pub(super) fn received(&self, bytes: usize) {
        for counter in &self.0 {
            counter.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        for counter in &self.0 {
            counter.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}
