//! Limits of bytes a second, which may change while they hold.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use ipfs_traits::{Runtime, RuntimeExt};

use super::lock;
use crate::policy::RateLimits;

/// How long a wait may be until the limits are looked at again.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The most that a debt grows to: a limit that is far too small must not stop a peer for ever.
const MAX_DEBT: Duration = Duration::from_secs(600);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// The limits of an exchange, and what all peers together have used of them.
#[derive(Debug)]
pub(super) struct Rates {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: RateLimits,
    /// Which change of the limits this is: what was owed before is forgiven.
    change: u64,
    up: Debt,
    down: Debt,
}

/// Until when what was used is to be waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Debt {
    until: Option<Instant>,
    change: u64,
}

impl Debt {
    fn add(&mut self, bytes: usize, limit: Option<u64>, change: u64, now: Instant) {
        let Some(limit) = limit else { return };
        let more = Duration::from_secs_f64(bytes as f64 / limit.max(1) as f64).min(MAX_DEBT);
        let from = self.left(change).map_or(now, |until| until.max(now));
        *self = Self { until: Some((from + more).min(now + MAX_DEBT)), change };
    }

    fn left(&self, change: u64) -> Option<Instant> {
        self.until.filter(|_| self.change == change)
    }
}

impl Rates {
    pub(super) fn new(limits: RateLimits) -> Self {
        let (up, down) = (Debt::default(), Debt::default());
        Self { state: Mutex::new(State { limits, change: 0, up, down }) }
    }

    pub(super) fn limits(&self) -> RateLimits {
        lock(&self.state).limits
    }

    pub(super) fn set(&self, limits: RateLimits) {
        let mut state = lock(&self.state);
        state.limits = limits;
        state.change += 1;
    }

    /// So many bytes went, to or from the peer of this debt.
    pub(super) fn used(&self, way: Way, peer: &mut Debt, bytes: usize, now: Instant) {
        let mut state = lock(&self.state);
        let State { limits, change, up, down } = &mut *state;
        let (all, of_all, of_peer) = match way {
            Way::Up => (up, limits.up, limits.up_per_peer),
            Way::Down => (down, limits.down, limits.down_per_peer),
        };
        all.add(bytes, of_all, *change, now);
        peer.add(bytes, of_peer, *change, now);
    }

    /// When more may go; `None` for now.
    pub(super) fn free_at(&self, way: Way, peer: &Debt, now: Instant) -> Option<Instant> {
        let state = lock(&self.state);
        let all = if way == Way::Up { &state.up } else { &state.down };
        let until = all.left(state.change).max(peer.left(state.change));
        until.filter(|until| *until > now)
    }

    /// Waits until more may go.
    pub(super) async fn wait(&self, runtime: &dyn Runtime, way: Way, peer: &Mutex<Debt>) {
        loop {
            let now = runtime.now();
            let debt = *lock(peer);
            let Some(until) = self.free_at(way, &debt, now) else { return };
            runtime.sleep(until.min(now + LOOK) - now).await;
        }
    }
}
