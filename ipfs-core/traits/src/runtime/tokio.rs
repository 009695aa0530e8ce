//! The adapter for tokio.

use std::time::{Instant, SystemTime};

use futures_core::future::BoxFuture;
use tokio::runtime::Handle;

use super::{Runtime, Task};
use crate::{Error, Result};

/// A tokio runtime that the host already has. None is ever created here.
///
/// It needs tokio's timers, so a runtime built by hand has to have `enable_time` (and `enable_io`
/// for the libp2p network).
#[derive(Clone, Debug)]
pub struct TokioRuntime(Handle);

impl TokioRuntime {
    /// The runtime that this code runs in.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside of any tokio runtime.
    pub fn current() -> Result<Self> {
        Handle::try_current()
            .map(Self)
            .map_err(|_| Error::invalid("runtime", "this thread is in no tokio runtime"))
    }

    /// The runtime of a handle.
    pub const fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The handle.
    pub const fn handle(&self) -> &Handle {
        &self.0
    }
}

impl Runtime for TokioRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        let (task, future) = Task::new(future);
        self.0.spawn(future);
        task
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        let _inside = self.0.enter();
        Box::pin(tokio::time::sleep_until(t.into()))
    }

    fn now(&self) -> Instant {
        // With tokio's clock paused, a test's time is tokio's.
        let _inside = self.0.enter();
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
