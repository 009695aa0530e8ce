//! How long an endpoint that fails is left alone.

use std::time::{Duration, Instant};

/// The first pause after a failure: long enough for a server that restarts.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause, also of those that a server asks for: one that is back is used within a minute.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    failures: u32,
}

impl Pause {
    /// Whether it may be asked.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// It has failed, and may have said for how long. Requests that were under way when the pause
    /// began say nothing new by failing.
    pub(super) fn failed(&mut self, now: Instant, asked: Option<Duration>) {
        if self.is_over(now) {
            let doubled = FIRST * (1 << self.failures.min(6));
            self.until = Some(now + asked.unwrap_or(doubled).min(MAX_PAUSE));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// It has answered.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
    }
}
