//! What a [`Runtime`] promises.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use futures_util::{FutureExt, future::join_all};

use super::{Promise, Verdict, check, same};
use crate::{Error, Runtime, RuntimeExt};

/// Checks a [`Runtime`], which has to be running what is spawned while this waits.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn runtime(runtime: Arc<dyn Runtime>) -> Verdict {
    tasks(&runtime).await?;
    blocking(&runtime).await?;
    clock(&runtime).await
}

async fn tasks(runtime: &Arc<dyn Runtime>) -> Verdict {
    let rule = "a spawned future runs to its end";
    let (tell, told) = oneshot::channel();
    let task = runtime.spawn(Box::pin(async move {
        let _ = tell.send(7);
    }));
    same(told.await.ok(), Some(7), rule)?;
    task.join().await;

    let rule = "dropping a task aborts and drops its future";
    let (held, gone) = oneshot::channel::<()>();
    drop(runtime.spawn(Box::pin(async move {
        std::future::pending::<()>().await;
        drop(held);
    })));
    same(gone.await.is_err(), true, rule)?;

    let rule = "a detached task goes on";
    let (tell, told) = oneshot::channel();
    let (go, gate) = oneshot::channel::<()>();
    let waits = async move {
        let _ = gate.await;
        let _ = tell.send(8);
    };
    runtime.spawn(Box::pin(waits)).detach();
    let _ = go.send(());
    same(told.await.ok(), Some(8), rule)
}

async fn blocking(runtime: &Arc<dyn Runtime>) -> Verdict {
    let rule = "blocking work runs and gives its result";
    let work = (0..32).map(|i| runtime.blocking(move || i * 2));
    let results: Result<Vec<i32>, Error> = join_all(work).await.into_iter().collect();
    same(results.promised(rule)?, (0..32).map(|i| i * 2).collect(), rule)?;
    let rule = "blocking work runs even if nobody waits for it";
    let (tell, told) = oneshot::channel();
    drop(runtime.blocking(move || tell.send(9)).now_or_never());
    same(told.await.ok(), Some(9), rule)
}

async fn clock(runtime: &Arc<dyn Runtime>) -> Verdict {
    let rule = "a sleep is done no earlier than it should";
    let start = runtime.now();
    let times = [5, 1, 3].map(Duration::from_millis);
    let ends: Vec<Instant> = join_all(times.map(|time| async move {
        runtime.sleep_until(start + time).await;
        runtime.now()
    }))
    .await;
    for (time, end) in times.into_iter().zip(ends) {
        check(end >= start + time, rule, || format!("{time:?} took {:?}", end - start))?;
    }
    let rule = "a sleep until what is past is done at once";
    runtime.sleep_until(start).await;
    let rule_back = "the clock never goes back";
    let (a, b) = (runtime.now(), runtime.now());
    check(a <= b, rule_back, || format!("{a:?} then {b:?}"))?;
    let timed = runtime.timeout(Duration::from_millis(1), "nothing", std::future::pending()).await;
    let timed: Result<(), Error> = timed;
    check(matches!(timed, Err(Error::TimedOut("nothing"))), rule, || format!("{timed:?}"))
}
