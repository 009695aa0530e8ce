//! How far a fetch is.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use ipfs_traits::{Runtime, SessionStats};

/// How far a fetch is: a state, not a step. What is asked for twice in a row may be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchProgress {
    /// Blocks that were here already.
    pub here_blocks: u64,
    /// Bytes of them.
    pub here_bytes: u64,
    /// Blocks that were fetched, and are stored.
    pub fetched_blocks: u64,
    /// Bytes of them.
    pub fetched_bytes: u64,
    /// Bytes a second that were fetched, over the last five seconds.
    pub rate: u64,
    /// Blocks that are asked for now.
    pub wanted: u64,
    /// Links that are known and not followed yet. Some may lead to blocks that were had already.
    pub queued: u64,
    /// Blocks that could not be had or followed so far.
    pub missing: u64,
    /// What the session has done, and who gave what; empty as long as nobody had to be asked.
    pub session: SessionStats,
}

/// Where a block came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Here,
    Peers,
}

/// What the work and those who watch it share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    progress: FetchProgress,
    rate: Rate,
    /// When an answer came last.
    last: Instant,
    /// Rises with each change.
    version: u64,
    watching: Option<Waker>,
}

impl Shared {
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        let last = runtime.now();
        let (progress, rate) = (FetchProgress::default(), Rate::new(last));
        let state = State { progress, rate, last, version: 0, watching: None };
        Self { runtime, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an answer came last.
    pub(super) fn last(&self) -> Instant {
        self.state().last
    }

    /// Begins to wait anew.
    pub(super) fn answered(&self) {
        let now = self.runtime.now();
        self.state().last = now;
    }

    /// Counts a block.
    pub(super) fn came(&self, from: From, bytes: usize) {
        let (now, bytes) = (self.runtime.now(), bytes as u64);
        let mut state = self.state();
        let progress = &mut state.progress;
        match from {
            From::Here => {
                progress.here_blocks += 1;
                progress.here_bytes += bytes;
            }
            From::Peers => {
                progress.fetched_blocks += 1;
                progress.fetched_bytes += bytes;
                state.rate.add(now, bytes);
            }
        }
        state.last = now;
    }

    /// Says what is on its way, and wakes who watches.
    pub(super) fn tell(&self, wanted: u64, queued: u64, missing: u64) {
        let mut state = self.state();
        let progress = &mut state.progress;
        (progress.wanted, progress.queued, progress.missing) = (wanted, queued, missing);
        state.version += 1;
        if let Some(watching) = state.watching.take() {
            watching.wake();
        }
    }

    /// Waits until there is another state than the one of this version.
    pub(super) fn poll_changed(&self, version: u64, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.version != version {
            return Poll::Ready(());
        }
        state.watching = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How far it is, but for the session, and the version of that.
    pub(super) fn read(&self) -> (FetchProgress, u64) {
        let now = self.runtime.now();
        let mut state = self.state();
        let rate = state.rate.read(now);
        (FetchProgress { rate, ..state.progress.clone() }, state.version)
    }
}

/// How long bytes count for the rate.
const RECENT: Duration = Duration::from_secs(5);

/// What comes within this is one sample, so that there are few.
const SAMPLE: Duration = Duration::from_millis(100);

/// Bytes a second over recent seconds.
#[derive(Debug)]
struct Rate {
    began: Instant,
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    const fn new(began: Instant) -> Self {
        Self { began, samples: VecDeque::new() }
    }

    fn add(&mut self, now: Instant, bytes: u64) {
        match self.samples.back_mut() {
            Some((at, sum)) if now.saturating_duration_since(*at) < SAMPLE => *sum += bytes,
            _ => self.samples.push_back((now, bytes)),
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) > RECENT;
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    fn read(&mut self, now: Instant) -> u64 {
        self.forget(now);
        let time = now.saturating_duration_since(self.began).clamp(SAMPLE, RECENT);
        let bytes: u64 = self.samples.iter().map(|(_, bytes)| bytes).sum();
        (bytes as f64 / time.as_secs_f64()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_recent_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(start);
        assert_eq!(rate.read(at(0)), 0);
        (0..2000).for_each(|ms| rate.add(at(ms), 10));
        assert_eq!(rate.read(at(2000)), 10_000);
        assert!(rate.samples.len() <= 20);
        assert_eq!(rate.read(at(5000)), 4000);
        assert!((1900..=2100).contains(&rate.read(at(6000))));
        assert_eq!(rate.read(at(7500)), 0);
        assert!(rate.samples.is_empty());
    }
}
