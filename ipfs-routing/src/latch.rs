//! A door that is closed once, and streams that end by it or by the clock.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_channel::oneshot;
use futures_core::{Stream, future::BoxFuture, stream::BoxStream};
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, Shared, select},
};
use ipfs_traits::{Error, Result};

/// Locks, also after another thread has panicked: nothing behind these locks is left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Open until it is closed, for good. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Latch {
    /// Dropped when it is closed.
    open: Arc<Mutex<Option<oneshot::Sender<()>>>>,
    closed: Shared<oneshot::Receiver<()>>,
    what: &'static str,
}

impl Latch {
    /// An open one, of what errors call `what`.
    pub(crate) fn new(what: &'static str) -> Self {
        let (open, closed) = oneshot::channel();
        Self { open: Arc::new(Mutex::new(Some(open))), closed: closed.shared(), what }
    }

    pub(crate) fn close(&self) {
        // Bound first: those who wait are woken without the lock.
        let open = lock(&self.open).take();
        drop(open);
    }

    /// [`Error::Closed`] once it is closed.
    pub(crate) fn check(&self) -> Result<()> {
        if lock(&self.open).is_some() { Ok(()) } else { Err(Error::Closed(self.what)) }
    }

    /// Done when it is closed, with what is then told.
    pub(crate) fn closed(&self) -> BoxFuture<'static, Error> {
        let what = self.what;
        self.closed.clone().map(move |_| Error::Closed(what)).boxed()
    }

    /// What the future gives, or [`Error::Closed`] when it is closed before.
    pub(crate) async fn guard<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.check()?;
        match select(std::pin::pin!(future), self.closed()).await {
            Either::Left((result, _)) => result,
            Either::Right((error, _)) => Err(error),
        }
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latch({}, {})", self.what, if self.check().is_ok() { "open" } else { "closed" })
    }
}

/// The stream, until it has nothing to give and one of `ends` is done: then that error, and the end.
pub(crate) fn until<T: 'static>(
    stream: BoxStream<'static, Result<T>>,
    ends: Vec<BoxFuture<'static, Error>>,
) -> BoxStream<'static, Result<T>> {
    Until { stream: Some(stream), ends }.boxed()
}

struct Until<T> {
    stream: Option<BoxStream<'static, Result<T>>>,
    ends: Vec<BoxFuture<'static, Error>>,
}

impl<T> Stream for Until<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        if let Poll::Ready(item) = stream.poll_next_unpin(cx) {
            return Poll::Ready(item);
        }
        for end in &mut self.ends {
            if let Poll::Ready(error) = end.poll_unpin(cx) {
                self.stream = None;
                self.ends = Vec::new();
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Pending
    }
}
