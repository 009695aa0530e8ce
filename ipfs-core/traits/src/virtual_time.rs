//! A runtime for tests whose clock stands still while there is work, and then jumps.

use std::{
    collections::{BinaryHeap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant, SystemTime},
};

use futures_core::future::BoxFuture;

use crate::{Runtime, Task};

/// Runs futures on one thread, in a fixed order, on a clock of its own: a minute of waiting takes no
/// time, and the same program runs the same way each time.
///
/// Clones are the same runtime. Blocking work is run in its turn, like a task.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use ipfs_traits::{Runtime, RuntimeExt, VirtualRuntime};
///
/// let runtime = VirtualRuntime::new();
/// let before = runtime.now();
/// runtime.block_on(runtime.sleep(Duration::from_secs(3600))).unwrap();
/// assert_eq!(runtime.now() - before, Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct VirtualRuntime(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    elapsed: Duration,
    ready: VecDeque<Arc<Job>>,
    timers: BinaryHeap<Timer>,
    /// Numbers timers, so that equal times keep the order in which they were set.
    set: u64,
}

struct Timer {
    at: Duration,
    order: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    /// The earliest is the greatest, which is what the heap gives first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The program has stopped: no task can go on, and no timer is set.
#[derive(Debug, thiserror::Error)]
#[error("nothing is left to run, and what was waited for is not done")]
pub struct Stalled;

impl VirtualRuntime {
    /// A runtime whose clock has not moved yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared { start: Instant::now(), state: Mutex::default() }))
    }

    /// Runs `future`, and what it has spawned, until it is done. What is spawned goes on in the next
    /// call.
    ///
    /// # Errors
    ///
    /// [`Stalled`] when it can never be done.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = woken.clone().into();
        loop {
            if woken.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Ok(value);
            }
            // Bound before the `if`: the lock must not be held while a job runs.
            let next = self.0.state().ready.pop_front();
            if let Some(job) = next {
                job.run();
            } else if !woken.0.load(Ordering::Relaxed) {
                self.0.jump()?;
            }
        }
    }
}

impl Default for VirtualRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock to the next timer, and wakes who waits for it.
    fn jump(&self) -> Result<(), Stalled> {
        let mut state = self.state();
        let timer = state.timers.pop().ok_or(Stalled)?;
        state.elapsed = state.elapsed.max(timer.at);
        drop(state);
        timer.waker.wake();
        Ok(())
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A spawned future, queued at most once at a time.
struct Job {
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    queued: AtomicBool,
    runtime: Weak<Shared>,
}

impl Job {
    fn start(future: BoxFuture<'static, ()>, runtime: &Arc<Shared>) {
        let future = Mutex::new(Some(future));
        let runtime = Arc::downgrade(runtime);
        Arc::new(Self { future, queued: AtomicBool::new(false), runtime }).wake();
    }

    fn run(self: Arc<Self>) {
        self.queued.store(false, Ordering::Relaxed);
        let waker = self.clone().into();
        let mut slot = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(future) = slot.as_mut()
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *slot = None;
        }
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        if let Some(runtime) = self.runtime.upgrade()
            && !self.queued.swap(true, Ordering::Relaxed)
        {
            runtime.state().ready.push_back(self);
        }
    }
}

impl Runtime for VirtualRuntime {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        let (task, future) = Task::new(future);
        Job::start(future, &self.0);
        task
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Job::start(Box::pin(async move { work() }), &self.0);
    }

    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        let at = t.saturating_duration_since(self.0.start);
        Box::pin(Sleep { at, waker: None, shared: self.0.clone() })
    }

    fn now(&self) -> Instant {
        self.0.start + self.0.state().elapsed
    }

    fn wall(&self) -> SystemTime {
        /// 2026-01-01, so that a test's time of day is the same on every day.
        const EPOCH: Duration = Duration::from_secs(1_767_225_600);
        SystemTime::UNIX_EPOCH + EPOCH + self.0.state().elapsed
    }
}

impl fmt::Debug for VirtualRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualRuntime({:?})", self.0.state().elapsed)
    }
}

struct Sleep {
    at: Duration,
    /// Whom the timer that was set wakes.
    waker: Option<Waker>,
    shared: Arc<Shared>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared.clone();
        let mut state = shared.state();
        if state.elapsed >= self.at {
            return Poll::Ready(());
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            state.set += 1;
            let order = state.set;
            state.timers.push(Timer { at: self.at, order, waker: cx.waker().clone() });
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RuntimeExt;

    #[test]
    fn timers_fire_in_order_and_take_no_time() {
        let runtime = VirtualRuntime::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<Task> = [3_u64, 1, 2, 1]
            .into_iter()
            .enumerate()
            .map(|(i, hours)| {
                let (clock, order) = (runtime.clone(), order.clone());
                runtime.spawn(Box::pin(async move {
                    clock.sleep(Duration::from_secs(hours * 3600)).await;
                    order.lock().unwrap().push(i);
                }))
            })
            .collect();
        runtime.block_on(futures::future::join_all(tasks)).unwrap();
        assert_eq!(*order.lock().unwrap(), [1, 3, 2, 0]);
    }

    #[test]
    fn a_program_that_cannot_go_on_is_stalled() {
        let runtime = VirtualRuntime::new();
        assert!(runtime.block_on(std::future::pending::<()>()).is_err());
    }

    #[test]
    fn a_dropped_task_is_aborted() {
        let runtime = VirtualRuntime::new();
        let alive = Arc::new(());
        let inside = alive.clone();
        let task = runtime.spawn(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(inside);
        }));
        runtime.block_on(runtime.sleep(Duration::from_secs(1))).unwrap();
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(task);
        runtime.block_on(runtime.sleep(Duration::from_secs(1))).unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
