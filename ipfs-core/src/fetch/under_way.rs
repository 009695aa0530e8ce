//! A fetch under way, and how it is watched.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use futures_util::{FutureExt, future::FusedFuture};
use ipfs_traits::{Error, Result, Runtime, Session, Task};

use super::{
    Fetched,
    progress::{FetchProgress, Shared},
};
use crate::NodeSource;

/// How often progress is told at most: as often as an eye can follow numbers.
const AT_MOST: Duration = Duration::from_millis(100);

/// How often progress is told at least, so that the rate of what stands still is seen to fall.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A fetch under way: a future that gives the result. Dropping it cancels the fetch.
///
/// It goes on by itself: how often it is looked at does not matter.
#[must_use = "dropping it cancels the fetch"]
pub struct Fetching {
    _task: Task,
    result: oneshot::Receiver<Result<Fetched>>,
    /// The result, once it is here and until it is taken.
    done: Option<Result<Fetched>>,
    source: NodeSource,
    shared: Arc<Shared>,
    told: Option<Told>,
}

/// What was told last.
#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    version: u64,
    /// It was the end.
    is_last: bool,
}

impl Fetching {
    pub(super) fn spawn(
        runtime: &dyn Runtime,
        work: impl Future<Output = Result<Fetched>> + Send + 'static,
        source: NodeSource,
        shared: Arc<Shared>,
    ) -> Self {
        let (done, result) = oneshot::channel();
        let task = runtime.spawn(Box::pin(async move {
            // Nobody waits for it any more: then it was dropped.
            let _ = done.send(work.await);
        }));
        Self { _task: task, result, done: None, source, shared, told: None }
    }

    /// How far it is now.
    pub fn progress(&self) -> FetchProgress {
        FetchProgress { session: self.source.stats(), ..self.shared.read().0 }
    }

    /// How far it is, as soon as it is further than what was told before: at most ten times and at
    /// least once a second. What happened in between is in what is told next, and nothing is queued.
    /// The last one, at the end, is followed by `None`; then the result is there.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    pub async fn next(&mut self) -> Option<FetchProgress> {
        if self.told.is_some_and(|told| told.is_last) {
            return None;
        }
        let runtime = self.shared.runtime.clone();
        let told = self.told;
        let after = |time| told.map_or_else(|| runtime.now(), |told| told.at + time);
        let mut earliest = runtime.sleep_until(after(AT_MOST)).fuse();
        let mut latest = runtime.sleep_until(after(AT_LEAST)).fuse();
        let is_last = poll_fn(|cx| {
            if self.poll_done(cx).is_ready() {
                return Poll::Ready(true);
            }
            if !earliest.is_terminated() && earliest.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            match told.map(|told| self.shared.poll_changed(told.version, cx)) {
                None | Some(Poll::Ready(())) => Poll::Ready(false),
                Some(Poll::Pending) => latest.poll_unpin(cx).map(|()| false),
            }
        })
        .await;
        let (progress, version) = self.shared.read();
        self.told = Some(Told { at: runtime.now(), version, is_last });
        Some(FetchProgress { session: self.source.stats(), ..progress })
    }

    /// Waits for the result, without taking it.
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.done.is_none() {
            let result = std::task::ready!(self.result.poll_unpin(cx));
            // The runtime was shut down, or the filter panicked.
            self.done = Some(result.unwrap_or(Err(Error::Closed("the fetch"))));
        }
        Poll::Ready(())
    }
}

impl Future for Fetching {
    type Output = Result<Fetched>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        std::task::ready!(self.poll_done(cx));
        Poll::Ready(self.done.take().unwrap_or(Err(Error::Closed("the fetch"))))
    }
}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching").field("progress", &self.shared.read().0).finish_non_exhaustive()
    }
}
