//! A door that is closed once, and those who wait for it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_channel::oneshot;
use futures_util::{
    FutureExt,
    future::{Either, Shared, select},
};
use ipfs_traits::{Error, Result};

/// Locks, also after another thread has panicked: nothing behind these locks is left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Done when a [`Latch`] is closed.
pub(crate) type Closed = Shared<oneshot::Receiver<()>>;

/// Open until it is closed, for good. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Latch {
    /// Dropped when it is closed.
    open: Arc<Mutex<Option<oneshot::Sender<()>>>>,
    closed: Closed,
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

    /// What those get who come too late.
    pub(crate) fn error(&self) -> Error {
        Error::Closed(self.what)
    }

    /// [`Error::Closed`] once it is closed.
    pub(crate) fn check(&self) -> Result<()> {
        if lock(&self.open).is_some() { Ok(()) } else { Err(self.error()) }
    }

    /// Waits until it is closed.
    pub(crate) fn closed(&self) -> Closed {
        self.closed.clone()
    }

    /// What the future gives, or [`Error::Closed`] when it is closed before.
    pub(crate) async fn guard<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.check()?;
        match select(std::pin::pin!(future), self.closed()).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(self.error()),
        }
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latch({}, {})", self.what, if self.check().is_ok() { "open" } else { "closed" })
    }
}
