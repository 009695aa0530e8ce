//! The host's async runtime, as far as this family needs one.

#[cfg(feature = "tokio")]
mod tokio;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use futures_channel::oneshot;
use futures_core::future::BoxFuture;
use futures_util::future::{AbortHandle, Either, abortable, select};

#[cfg(feature = "tokio")]
pub use self::tokio::TokioRuntime;
use crate::{Error, Result};

/// Runs tasks, tells the time and waits.
///
/// # Contract
///
/// A spawned future is polled until it is done or its [`Task`] is dropped; dropping aborts it, at
/// the next point where it waits. A closure given to [`spawn_blocking`](Self::spawn_blocking) may
/// block its thread, runs to its end, and is run even if nobody waits for it.
/// [`sleep_until`](Self::sleep_until) is done no earlier than `t`, and at once when `t` is past.
///
/// [`now`](Self::now) never goes back. Waiting and the two clocks belong together: a runtime for
/// tests can stand still and jump ([`VirtualRuntime`](crate::VirtualRuntime)).
///
/// # Implementing
///
/// ```
/// use std::time::{Instant, SystemTime};
///
/// use futures::future::BoxFuture;
/// use ipfs_traits::{Runtime, Task};
///
/// /// The runtime of an application on smol.
/// #[derive(Debug)]
/// struct Smol;
///
/// impl Runtime for Smol {
///     fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
///         let (task, future) = Task::new(future);
///         smol::spawn(future).detach();
///         task
///     }
///     fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
///         smol::unblock(work).detach();
///     }
///     fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
///         Box::pin(async move {
///             smol::Timer::at(t).await;
///         })
///     }
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///     fn wall(&self) -> SystemTime {
///         SystemTime::now()
///     }
/// }
///
/// smol::block_on(ipfs_traits::conformance::runtime(std::sync::Arc::new(Smol))).unwrap();
/// ```
///
/// [`conformance::runtime`](crate::conformance::runtime) checks an implementation.
///
/// # Cancel safety
///
/// A sleep may be dropped at any time.
///
/// # Errors
///
/// There are none. A host that shuts its runtime down drops the futures that run on it.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// Runs a future; make the [`Task`] with [`Task::new`].
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task;

    /// Runs a closure where it may block.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);

    /// Waits until `t`.
    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()>;

    /// The time, for measuring and waiting.
    fn now(&self) -> Instant;

    /// The time of day, for what is compared between machines.
    fn wall(&self) -> SystemTime;
}

impl<T: Runtime + ?Sized> Runtime for Arc<T> {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        (**self).spawn(future)
    }
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        (**self).spawn_blocking(work);
    }
    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        (**self).sleep_until(t)
    }
    fn now(&self) -> Instant {
        (**self).now()
    }
    fn wall(&self) -> SystemTime {
        (**self).wall()
    }
}

/// What is built on a [`Runtime`]'s five calls.
#[async_trait]
pub trait RuntimeExt: Runtime {
    /// Waits for `time`.
    async fn sleep(&self, time: Duration) {
        self.sleep_until(self.now() + time).await;
    }

    /// Runs `work` where it may block, and gives what it returns.
    ///
    /// Dropping the future does not stop the work.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the runtime was shut down, or the work panicked.
    async fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        self.spawn_blocking(Box::new(move || drop(done.send(work()))));
        result.await.map_err(|_| Error::Closed("the runtime"))
    }

    /// Gives what `future` gives, if it does so within `time`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], naming `what`.
    async fn timeout<T, F>(&self, time: Duration, what: &'static str, future: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        match select(std::pin::pin!(future), self.sleep_until(self.now() + time)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Error::TimedOut(what)),
        }
    }
}

impl<T: Runtime + ?Sized> RuntimeExt for T {}

/// A running future. Dropping it aborts the future.
#[must_use = "dropping a task aborts it"]
pub struct Task {
    abort: Option<AbortHandle>,
    done: oneshot::Receiver<()>,
}

impl Task {
    /// The handle for `future`, and the future that a runtime has to run.
    pub fn new(future: BoxFuture<'static, ()>) -> (Self, BoxFuture<'static, ()>) {
        let (future, abort) = abortable(future);
        let (finished, done) = oneshot::channel();
        let run = async move {
            let _ = future.await;
            let _ = finished.send(());
        };
        (Self { abort: Some(abort), done }, Box::pin(run))
    }

    /// Waits until the future is done, was aborted, or panicked.
    pub async fn join(mut self) {
        let _ = (&mut self.done).await;
    }

    /// Aborts the future and waits until it is dropped.
    pub async fn stop(mut self) {
        if let Some(abort) = self.abort.take() {
            abort.abort();
        }
        let _ = (&mut self.done).await;
    }

    /// Lets the future run on its own.
    pub fn detach(mut self) {
        self.abort = None;
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.done).poll(cx).map(drop)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}
