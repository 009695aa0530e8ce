//! Runtimes that break one promise each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use ipfs_traits::{Runtime, Task, VirtualRuntime, conformance};

use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum ClockFault {
    WakesEarly,
    NeverAborts,
    LosesBlocking,
    GoesBack,
}

/// A runtime with one fault, over a virtual one.
#[derive(Debug)]
struct Clock(ClockFault, VirtualRuntime, AtomicBool);

impl Runtime for Clock {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        if self.0 == ClockFault::NeverAborts {
            self.1.spawn(future).detach();
            return Task::new(Box::pin(std::future::ready(()))).0;
        }
        self.1.spawn(future)
    }
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        if self.0 != ClockFault::LosesBlocking {
            self.1.spawn_blocking(work);
        }
    }
    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        match self.0 {
            ClockFault::WakesEarly => Box::pin(std::future::ready(())),
            _ => self.1.sleep_until(t),
        }
    }
    fn now(&self) -> Instant {
        let back = self.0 == ClockFault::GoesBack && self.2.fetch_xor(true, Ordering::Relaxed);
        self.1.now() + Duration::from_secs(if back { 5 } else { 9 })
    }
    fn wall(&self) -> SystemTime {
        self.1.wall()
    }
}

#[test]
fn wrong_runtimes_are_caught() {
    use ClockFault as F;
    for fault in [F::WakesEarly, F::LosesBlocking, F::GoesBack] {
        let inner = VirtualRuntime::new();
        let clock = Arc::new(Clock(fault, inner.clone(), AtomicBool::new(false)));
        caught(fault, inner.block_on(conformance::runtime(clock)).unwrap());
    }
    // A future that is never aborted is one that the suite waits for until nothing is left to run.
    let inner = VirtualRuntime::new();
    let clock = Arc::new(Clock(F::NeverAborts, inner.clone(), AtomicBool::new(false)));
    assert!(inner.block_on(conformance::runtime(clock)).is_err());
}
