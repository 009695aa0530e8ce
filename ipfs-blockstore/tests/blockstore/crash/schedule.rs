//! Who runs when: several futures in an order that a seed chooses, and for whom each call to the
//! files is made.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Instant, SystemTime},
};

use futures::future::{BoxFuture, LocalBoxFuture, poll_fn};
use ipfs_traits::{Runtime, Task, VirtualRuntime};

use crate::{faulty::Faulty, numbers::Numbers};

/// What a call counts as that nobody waits for.
pub(super) const BACKGROUND: &str = "background";

/// A runtime that tells the files for whom it works.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    pub(super) runtime: VirtualRuntime,
    pub(super) files: Faulty,
}

impl Runtime for Labelled {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        self.runtime.spawn(Box::pin(labelled(self.files.clone(), BACKGROUND, future)))
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        let files = self.files.clone();
        let label = files.label("");
        files.label(label);
        self.runtime.spawn_blocking(Box::new(move || {
            let before = files.label(label);
            work();
            files.label(before);
        }));
    }

    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        self.runtime.sleep_until(t)
    }

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn wall(&self) -> SystemTime {
        self.runtime.wall()
    }
}

/// A future, all of whose calls to the files are made for `label`.
pub(super) async fn labelled<T>(
    files: Faulty,
    label: &'static str,
    future: impl Future<Output = T>,
) -> T {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        let before = files.label(label);
        let poll = future.as_mut().poll(cx);
        files.label(before);
        poll
    })
    .await
}

/// Whether a future has asked to be polled.
struct Woken {
    woken: AtomicBool,
    all: Mutex<Option<Waker>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        if let Some(all) = &*self.all.lock().unwrap() {
            all.wake_by_ref();
        }
    }
}

struct Side<'a> {
    future: Option<LocalBoxFuture<'a, ()>>,
    woken: Arc<Woken>,
}

impl Side<'_> {
    fn is_due(&self) -> bool {
        self.future.is_some() && self.woken.woken.load(Ordering::Relaxed)
    }

    fn poll(&mut self) {
        self.woken.woken.store(false, Ordering::Relaxed);
        let waker = self.woken.clone().into();
        let Some(future) = &mut self.future else { return };
        if Pin::new(future).poll(&mut Context::from_waker(&waker)).is_ready() {
            self.future = None;
        }
    }
}

/// Runs futures side by side until all are done. Which of those that can go on is next, and whether
/// others have their turn before it, the numbers say.
pub(super) async fn interleaved(futures: Vec<LocalBoxFuture<'_, ()>>, mut numbers: Numbers) {
    let side = |future| {
        let woken = Woken { woken: AtomicBool::new(true), all: Mutex::default() };
        Side { future: Some(future), woken: Arc::new(woken) }
    };
    let mut sides: Vec<Side<'_>> = futures.into_iter().map(side).collect();
    poll_fn(|cx| {
        for side in &sides {
            *side.woken.all.lock().unwrap() = Some(cx.waker().clone());
        }
        loop {
            let due: Vec<usize> = (0..sides.len()).filter(|&i| sides[i].is_due()).collect();
            if due.is_empty() {
                break;
            }
            sides[due[numbers.below(due.len() as u64) as usize]].poll();
            if numbers.below(2) == 0 {
                // Those in the background first.
                cx.waker().wake_by_ref();
                break;
            }
        }
        match sides.iter().all(|side| side.future.is_none()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}
