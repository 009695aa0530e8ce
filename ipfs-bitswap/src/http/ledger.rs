//! What a session has had from which gateway.

use std::sync::{Arc, Mutex};

use ipfs_traits::{Giver, GiverStats, SessionStats};

use super::{gateway::Gateway, wants::Given};
use ipfs_traits::sync::lock;

/// Counts for one session.
#[derive(Debug)]
pub(super) struct Ledger(Mutex<SessionStats>);

impl Ledger {
    pub(super) fn new(gateways: &[Arc<Gateway>]) -> Arc<Self> {
        let mut stats = SessionStats::default();
        let giver = |gateway: &Arc<Gateway>| GiverStats::new(Giver::Url(gateway.url().clone()));
        stats.givers = gateways.iter().map(giver).collect();
        Arc::new(Self(Mutex::new(stats)))
    }

    /// A gateway is asked for a block, as long as what this gives lives.
    pub(super) fn ask(self: &Arc<Self>, gateway: usize) -> Asked {
        let mut stats = lock(&self.0);
        stats.givers[gateway].asked += 1;
        stats.givers[gateway].in_flight += 1;
        Asked { ledger: self.clone(), gateway }
    }

    pub(super) fn wanted(&self) {
        lock(&self.0).wanted += 1;
    }

    /// So many are no longer waited for.
    pub(super) fn unwanted(&self, times: usize) {
        let mut stats = lock(&self.0);
        stats.wanted = stats.wanted.saturating_sub(times as u64);
    }

    /// A block came, and answers what was wanted so many times.
    pub(super) fn gave(&self, given: &Given, times: usize) {
        let (times, len) = (times as u64, given.block.len() as u64);
        let mut stats = lock(&self.0);
        stats.blocks += times;
        stats.bytes += len * times;
        let giver = &mut stats.givers[given.gateway];
        giver.blocks += 1;
        giver.bytes += len;
    }

    /// One came that nobody was asked for.
    pub(super) fn told(&self, len: usize) {
        let mut stats = lock(&self.0);
        stats.blocks += 1;
        stats.bytes += len as u64;
    }

    pub(super) fn stats(&self, gateways: &[Arc<Gateway>]) -> SessionStats {
        let mut stats = lock(&self.0).clone();
        std::iter::zip(&mut stats.givers, gateways).for_each(|(giver, gateway)| {
            gateway.describe(giver);
        });
        stats.givers.retain(|giver| giver.asked + giver.blocks > 0);
        stats
    }
}

/// A request under way.
pub(super) struct Asked {
    ledger: Arc<Ledger>,
    gateway: usize,
}

impl Asked {
    pub(super) fn failed(&self) {
        lock(&self.ledger.0).givers[self.gateway].failures += 1;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.ledger.0).givers[self.gateway].in_flight -= 1;
    }
}
