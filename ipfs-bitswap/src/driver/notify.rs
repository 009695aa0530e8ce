//! Tells one waiting task that something has changed.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

use futures_util::task::AtomicWaker;

/// Remembers that it was told until somebody waits for it. One task waits at a time.
#[derive(Debug, Default)]
pub(super) struct Notify {
    told: AtomicBool,
    waker: AtomicWaker,
}

impl Notify {
    pub(super) fn tell(&self) {
        self.told.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Nothing was told.
    pub(super) fn forget(&self) {
        self.told.store(false, Ordering::Release);
    }

    pub(super) async fn wait(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.told.swap(false, Ordering::AcqRel) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
