//! How long a fetch may take.

use std::{future, sync::Arc, time::Duration};

use futures_core::future::BoxFuture;
use ipfs_traits::Error;

use super::progress::Shared;

/// How long a fetch may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// In all.
    pub(super) timeout: Option<Duration>,
    /// Without an answer.
    pub(super) stall: Option<Duration>,
}

/// Why a fetch is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// All its time is up.
    TimedOut,
    /// Nothing came for too long.
    Stalled,
}

impl Late {
    /// Why what was waited for is missing.
    pub(super) const fn why(self) -> Error {
        match self {
            Self::TimedOut => Error::TimedOut("the fetch"),
            Self::Stalled => Error::TimedOut("the wait for the next block"),
        }
    }
}

impl Times {
    /// Waits, from now on, until it is too late; a second call does not begin `timeout` anew.
    pub(super) fn watch(self, shared: Arc<Shared>) -> impl Fn() -> BoxFuture<'static, Late> {
        let deadline = self.timeout.and_then(|time| shared.runtime.now().checked_add(time));
        move || {
            let shared = shared.clone();
            Box::pin(async move {
                loop {
                    // A time beyond the clock's end is none.
                    let stalled = self.stall.and_then(|time| shared.last().checked_add(time));
                    let stalled = stalled.map(|at| (at, Late::Stalled));
                    let timed_out = deadline.map(|at| (at, Late::TimedOut));
                    let Some((at, late)) =
                        stalled.into_iter().chain(timed_out).min_by_key(|(at, _)| *at)
                    else {
                        return future::pending().await;
                    };
                    if shared.runtime.now() >= at {
                        return late;
                    }
                    // An answer that comes meanwhile is seen when this is over.
                    shared.runtime.sleep_until(at).await;
                }
            })
        }
    }
}
