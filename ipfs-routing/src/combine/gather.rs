//! One lookup in several routers, each in its turn.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{Stream, future::BoxFuture, stream::BoxStream};
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{self, SelectAll},
};
use ipfs_traits::{Error, Result, Routing, Runtime};

use super::{LONGEST, Turn, outcome::nothing_found};

type Ask<T> = Box<dyn Fn(Arc<dyn Routing>) -> BoxStream<'static, Result<T>> + Send>;

/// What the routers find, as it comes. If that is nothing, why.
pub(super) struct Gather<T> {
    runtime: Arc<dyn Runtime>,
    routers: Arc<[(Turn, Arc<dyn Routing>)]>,
    ask: Ask<T>,
    /// Those that look. Each ends with its first error.
    looking: SelectAll<BoxStream<'static, Result<T>>>,
    /// How many have been asked, or passed over.
    asked: usize,
    /// Done when it is the turn of the next one, while others look.
    timer: Option<BoxFuture<'static, ()>>,
    found: bool,
    errors: Vec<Error>,
    ended: bool,
}

impl<T: Send + 'static> Gather<T> {
    pub(super) fn new(
        runtime: Arc<dyn Runtime>,
        routers: Arc<[(Turn, Arc<dyn Routing>)]>,
        ask: Ask<T>,
    ) -> Self {
        Self {
            runtime,
            routers,
            ask,
            looking: SelectAll::new(),
            asked: 0,
            timer: None,
            found: false,
            errors: Vec::new(),
            ended: false,
        }
    }

    /// Asks those whose turn it is. `idle` says that nobody looks any more.
    fn ask(&mut self, cx: &mut Context<'_>, mut idle: bool) {
        while let Some((turn, router)) = self.routers.get(self.asked) {
            let due = match turn {
                _ if self.asked == 0 => true,
                Turn::Otherwise if idle && self.found => {
                    self.asked += 1;
                    continue;
                }
                Turn::Otherwise => idle,
                Turn::After(_) => {
                    idle || self.timer.as_mut().is_none_or(|timer| timer.poll_unpin(cx).is_ready())
                }
            };
            if !due {
                return;
            }
            let found = (self.ask)(router.clone());
            let next = |mut found: BoxStream<'static, Result<T>>| async move {
                Ok(found.try_next().await?.map(|item| (item, found)))
            };
            self.looking.push(stream::try_unfold(found, next).boxed());
            self.asked += 1;
            idle = false;
            self.timer = match self.routers.get(self.asked) {
                Some((Turn::After(time), _)) if !time.is_zero() => {
                    Some(self.runtime.sleep_until(self.runtime.now() + (*time).min(LONGEST)))
                }
                _ => None,
            };
        }
    }
}

impl<T: Send + 'static> Stream for Gather<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut idle = false;
        loop {
            self.ask(cx, idle);
            match self.looking.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    self.found = true;
                    return Poll::Ready(Some(Ok(item)));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "one of several routers failed");
                    self.errors.push(error);
                }
                Poll::Ready(None) if self.asked < self.routers.len() => idle = true,
                Poll::Ready(None) => {
                    self.ended = true;
                    let errors = std::mem::take(&mut self.errors);
                    let error = nothing_found(self.routers.len(), errors);
                    return Poll::Ready(error.filter(|_| !self.found).map(Err));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
