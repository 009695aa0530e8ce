//! What the crates of the family share to wait for one another.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Error, Result};
use futures_channel::oneshot;
use futures_util::{
    FutureExt,
    future::{Either, Shared, select},
};

/// Locks, also after another thread has panicked: for what is never left half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Done when a [`Latch`] is closed.
pub type Closed = Shared<oneshot::Receiver<()>>;

/// Open until it is closed, for good. Clones are the same one.
///
/// ```
/// use futures::executor::block_on;
/// use ipfs_traits::{Error, sync::Latch};
///
/// let latch = Latch::new("the shop");
/// let waits = latch.guard(std::future::pending::<Result<(), Error>>());
/// latch.close();
/// assert!(matches!(block_on(waits), Err(Error::Closed("the shop"))));
/// ```
#[derive(Clone)]
pub struct Latch {
    /// Dropped when it is closed.
    open: Arc<Mutex<Option<oneshot::Sender<()>>>>,
    closed: Closed,
    what: &'static str,
}

impl Latch {
    /// An open one, of what errors call `what`.
    pub fn new(what: &'static str) -> Self {
        let (open, closed) = oneshot::channel();
        Self { open: Arc::new(Mutex::new(Some(open))), closed: closed.shared(), what }
    }

    /// Closes it; closing twice is no error.
    pub fn close(&self) {
        // Bound first: those who wait are woken without the lock.
        let open = lock(&self.open).take();
        drop(open);
    }

    /// What those get who come too late.
    pub fn error(&self) -> Error {
        Error::Closed(self.what)
    }

    /// Whether it is still open.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once it is closed.
    pub fn check(&self) -> Result<()> {
        if lock(&self.open).is_some() { Ok(()) } else { Err(self.error()) }
    }

    /// Waits until it is closed.
    pub fn closed(&self) -> Closed {
        self.closed.clone()
    }

    /// What the future gives, or [`Error::Closed`] when it is closed before.
    ///
    /// # Errors
    ///
    /// That, and those of the future.
    pub async fn guard<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
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
