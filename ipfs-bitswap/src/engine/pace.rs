//! How fast a peer answers, how much may be asked of it at once, and how far it is trusted.
//!
//! What may be on its way is a window of bytes, as in TCP. It doubles with each round as long as
//! that makes the blocks come faster; then it is held at what fills the link twice (the product of
//! rate and latency) and a little more, so that the peer is never without work and the blocks do
//! not queue up at it either.

use std::time::{Duration, Instant};

/// How fast a peer is taken to be until it has shown it, in bytes a second: fast enough to be tried.
const FIRST_RATE: f64 = 20e6;

/// How soon a peer is taken to answer until it has shown it.
const FIRST_LATENCY: Duration = Duration::from_millis(50);

/// Differences below this are taken for chance.
const SAME_LATENCY: Duration = Duration::from_millis(20);

/// The window until more is known: few blocks to lose on a slow peer, and six doublings below the
/// largest window.
const FIRST_WINDOW: f64 = 1e6;

/// What is on its way beside what the link itself holds: the peer reads and sends it meanwhile.
const SLACK: f64 = 2e6;

/// The largest window: more than a link of 600 MB/s holds at a round trip of 100 ms.
const MAX_WINDOW: f64 = 64e6;

/// Blocks that may be asked for however large they are: one is sent while the other is read.
const LEAST_BLOCKS: usize = 2;

/// The least time over which a rate is measured.
const ROUND: Duration = Duration::from_millis(20);

/// By how much a round has to be faster than those before to be worth a larger window.
const FASTER: f64 = 1.15;

/// Rounds after which a larger window is tried again, in case the link has become better.
const TRY_AGAIN: u32 = 16;

/// What is left of trust after a failure. Each success brings a part of the rest back.
const FAILED: f64 = 0.4;
const REGAINED: f64 = 0.1;

/// Below this a peer is asked for one block at a time, and after all others.
const DISTRUST: f64 = 0.3;

/// How well one peer answers.
#[derive(Debug)]
pub(super) struct Pace {
    latency: Duration,
    /// Whether the latency was measured.
    met: bool,
    rate: f64,
    /// Whether the rate was measured.
    timed: bool,
    /// The most that a round has brought, in bytes a second.
    peak: f64,
    window: f64,
    growing: bool,
    round: Option<Round>,
    /// Rounds since the window was last made larger to see.
    quiet: u32,
    trust: f64,
    failures: u64,
    gave: bool,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    since: Instant,
    bytes: usize,
    /// Whether there was more to ask than the window took.
    full: bool,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            latency: FIRST_LATENCY,
            met: false,
            rate: FIRST_RATE,
            timed: false,
            peak: 0.0,
            window: FIRST_WINDOW,
            growing: true,
            round: None,
            quiet: 0,
            trust: 1.0,
            failures: 0,
            gave: false,
        }
    }

    /// How soon it answers, as far as that has been seen.
    pub(super) const fn latency(&self) -> Duration {
        self.latency
    }

    pub(super) const fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether it has ever given a block.
    pub(super) const fn gave(&self) -> bool {
        self.gave
    }

    pub(super) fn measured_latency(&self) -> Option<Duration> {
        self.met.then_some(self.latency)
    }

    pub(super) fn measured_rate(&self) -> Option<u64> {
        self.timed.then_some(self.rate as u64)
    }

    /// Whether it failed so much that others come first.
    pub(super) fn is_distrusted(&self) -> bool {
        self.trust < DISTRUST
    }

    /// How long to wait for one that failed before it is asked once more: the longer the more it is
    /// distrusted.
    pub(super) fn with_doubt(&self, wait: Duration) -> Duration {
        wait.div_f64(self.trust)
    }

    /// How long so many bytes should take, in seconds.
    pub(super) fn takes(&self, bytes: f64) -> f64 {
        bytes / self.rate
    }

    /// How long a block asked of it now should take behind `backlog` bytes, in seconds, compared
    /// with a peer that answers as soon as the best. Peers that are about as near count as equally
    /// near, so that all of them are kept busy; those that failed count as slower.
    pub(super) fn expected(&self, best: Duration, backlog: f64) -> f64 {
        let farther = self.latency.saturating_sub(best * 2 + SAME_LATENCY);
        (farther.as_secs_f64() + self.takes(backlog)) / self.trust
    }

    /// Whether one more block may be asked for beside `asked` ones.
    pub(super) fn has_room(&mut self, asked: usize, block_size: f64) -> bool {
        let least = if self.is_distrusted() { 1 } else { LEAST_BLOCKS };
        let room = asked < least
            || (!self.is_distrusted() && (asked + 1) as f64 * block_size <= self.window);
        if let Some(round) = &mut self.round {
            round.full |= !room;
        }
        room
    }

    /// A block was asked for.
    pub(super) fn begin(&mut self, now: Instant) {
        self.round.get_or_insert(Round { since: now, bytes: 0, full: false });
    }

    /// Nothing is asked for any more: what comes later says nothing of how fast it is.
    pub(super) const fn pause(&mut self) {
        self.round = None;
    }

    /// It has answered whether it has a block.
    pub(super) fn answered(&mut self, took: Duration) {
        self.latency = match self.met {
            true => took.min((self.latency * 7 + took) / 8),
            false => took,
        };
        self.met = true;
    }

    /// A block has come, that was asked for at `asked` if it was asked for once. It comes behind
    /// others, and tells how far the peer is only when it came sooner than was thought.
    pub(super) fn received(&mut self, bytes: usize, asked: Option<Instant>, now: Instant) {
        self.gave = true;
        self.trust += (1.0 - self.trust) * REGAINED;
        if let Some(asked) = asked {
            let took = now.saturating_duration_since(asked);
            self.latency = if self.met { self.latency.min(took) } else { took };
            self.met = true;
        }
        let Some(round) = &mut self.round else { return };
        round.bytes += bytes;
        let length = now.saturating_duration_since(round.since);
        if asked.is_some_and(|asked| asked >= round.since) && length >= ROUND {
            let round = *round;
            self.round = Some(Round { since: now, bytes: 0, full: false });
            self.end_round(round.bytes as f64 / length.as_secs_f64(), round.full);
        }
    }

    fn end_round(&mut self, rate: f64, full: bool) {
        // A peer that had little to do was not slow for it: then only more than was thought counts.
        // So it is with one whose window still grows.
        if rate > self.rate || (full && !self.growing) {
            self.rate = if self.timed { self.rate * 0.7 + rate * 0.3 } else { rate };
            self.timed = true;
        }
        if !full {
            return;
        }
        let faster = rate > self.peak * FASTER;
        self.peak = rate.max(self.peak * 0.98);
        self.quiet = if faster { 0 } else { self.quiet + 1 };
        self.growing = faster || (self.growing && self.quiet < 3);
        if self.growing || self.quiet.is_multiple_of(TRY_AGAIN) {
            self.window *= 2.0;
        } else {
            let enough = 2.0 * self.rate * self.latency.as_secs_f64() + SLACK;
            self.window = enough.max(self.window * 0.875);
        }
        self.window = self.window.clamp(FIRST_WINDOW, MAX_WINDOW);
    }

    /// It did not give what it was asked for in time, or gave something else.
    pub(super) fn failed(&mut self) {
        self.failures += 1;
        self.trust = (self.trust * FAILED).max(0.01);
        self.window = (self.window / 2.0).max(FIRST_WINDOW);
        self.growing = false;
    }
}
