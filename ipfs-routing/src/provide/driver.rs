//! Does what the plan says. The one part of the provider that waits.

use std::{
    future::pending,
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures_channel::{mpsc, oneshot};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use ipfs_traits::{Error, Multihash, Result, Routing, Runtime, RuntimeExt};

use super::{
    Source, lock,
    plan::{Job, Next, Plan, Time},
    schedule::UNITS,
    table::{ENTRIES, KEYS, NEW, Placed, Table, place, record},
};

/// How long a router may take for a batch: a quarter of an hour is enough for 4,096 keys over a slow
/// uplink, and one that never answers must not hold a place for ever.
const BATCH: Duration = Duration::from_secs(900);

/// How long a listing of the source may take. Ten million keys take some minutes, and the sweep waits
/// meanwhile.
const LISTING: Duration = Duration::from_secs(3600);

/// What the provider's handles and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) routing: Arc<dyn Routing>,
    pub(super) source: Arc<dyn Source>,
    pub(super) table: Table,
    pub(super) plan: Mutex<Plan>,
    pub(super) passes: Mutex<Passes>,
    /// Wakes the task. It holds one message: more would say nothing more.
    pub(super) wake: Mutex<mpsc::Sender<()>>,
}

/// Those who wait for a full pass: until the source is listed for it, while it is, and while all is
/// announced.
#[derive(Debug, Default)]
pub(super) struct Passes {
    pub(super) wanted: Vec<oneshot::Sender<Result<()>>>,
    listing: Vec<oneshot::Sender<Result<()>>>,
    announcing: Vec<oneshot::Sender<Result<()>>>,
}

impl Passes {
    fn begin(&mut self) {
        self.listing = std::mem::take(&mut self.wanted);
    }
}

/// A job that has ended: with how many keys of the source, or that were announced, or with how many
/// of its units that have no key left.
struct Ended {
    job: Job,
    began: Time,
    result: Result<u64>,
}

/// Milliseconds of the wall clock; 0 for a clock that is before 1970.
pub(super) fn wall(runtime: &dyn Runtime) -> u64 {
    let since = runtime.wall().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

impl Shared {
    /// Runs until it is dropped.
    pub(super) async fn drive(self: Arc<Self>, mut woken: mpsc::Receiver<()>) {
        let mut running = FuturesUnordered::new();
        loop {
            let until = loop {
                let next = lock(&self.plan).next(self.time());
                match next {
                    Next::Start(job) => running.push(self.run(job)),
                    Next::Wait(until) => break until,
                }
            };
            let ended = async {
                match running.next().await {
                    Some(ended) => ended,
                    None => pending().await,
                }
            };
            let idle = select(woken.next(), self.runtime.sleep_until(until));
            if let Either::Left((ended, _)) = select(pin!(ended), idle).await {
                self.end(ended).await;
            }
        }
    }

    pub(super) fn wake(&self) {
        let _ = lock(&self.wake).try_send(());
    }

    pub(super) fn time(&self) -> Time {
        Time { now: self.runtime.now(), wall: wall(&*self.runtime) }
    }

    async fn run(&self, job: Job) -> Ended {
        let began = self.time();
        let result = match &job {
            Job::List(generation) => {
                lock(&self.passes).begin();
                let list = self.list(*generation);
                self.runtime.timeout(LISTING, "listing what is to be announced", list).await
            }
            Job::Sweep(slot) => self.sweep(slot.clone()).await,
            Job::Announce(units) => self.announce(units).await,
        };
        Ended { job, began, result }
    }

    /// Brings the table to what the source has.
    async fn list(&self, generation: u64) -> Result<u64> {
        let most = lock(&self.plan).options.keys;
        let mut source = self.source.keys();
        let (mut taken, mut keys) = (0, Vec::new());
        'source: while let Some(page) = source.try_next().await? {
            // A page counts as a key, or a source of empty ones would never end.
            for key in page.into_iter().map(Some).chain([None]) {
                if taken == most {
                    self.note(Error::limit("keys of a source", most, taken + 1));
                    break 'source;
                }
                taken += 1;
                keys.extend(key);
                if keys.len() == ENTRIES {
                    self.table.note(&place(keys.drain(..)), generation).await?;
                }
            }
        }
        self.table.note(&place(keys), generation).await?;
        let mut known = 0;
        for unit in 0..UNITS {
            known += self.table.tidy(unit, generation).await?;
        }
        Ok(known)
    }

    async fn sweep(&self, slot: Range<usize>) -> Result<u64> {
        let most = lock(&self.plan).options.max_batch;
        let (mut announced, mut batch) = (0, Vec::new());
        let mut pages = pin!(self.table.keys(KEYS, slot));
        while let Some(page) = pages.try_next().await? {
            for placed in page {
                batch.push(placed.key);
                if batch.len() == most {
                    announced += self.provide(std::mem::take(&mut batch)).await?;
                }
            }
        }
        Ok(announced + self.provide(batch).await?)
    }

    async fn announce(&self, units: &[(usize, usize)]) -> Result<u64> {
        let most = lock(&self.plan).options.max_batch;
        let (mut batch, mut whole) = (Vec::<Placed>::new(), units.len());
        let mut pages = pin!(self.table.keys(NEW, units.iter().map(|(unit, _)| *unit)));
        'read: while let Some(page) = pages.try_next().await? {
            for placed in page {
                if batch.len() == most {
                    whole = units.iter().take_while(|(unit, _)| *unit < placed.unit).count();
                    break 'read;
                }
                batch.push(placed);
            }
        }
        self.provide(batch.iter().map(|placed| placed.key).collect()).await?;
        self.table.dequeue(&batch).await?;
        Ok(whole as u64)
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<u64> {
        let count = keys.len() as u64;
        if count > 0 {
            let provide = self.routing.provide(keys);
            self.runtime.timeout(BATCH, "announcing keys", provide).await?;
        }
        Ok(count)
    }

    fn note(&self, error: Error) {
        tracing::debug!(%error, "providing");
        lock(&self.plan).last_error = Some(error);
    }

    async fn end(&self, Ended { job, began, result }: Ended) {
        let time = self.time();
        let done = match &result {
            Ok(count) => Some(*count),
            Err(error) => {
                self.note(error.clone());
                None
            }
        };
        let changed = match job {
            Job::List(_) => self.listed(began, result, time),
            Job::Sweep(slot) => {
                let done = done.map(|keys| (keys, time.now - began.now));
                lock(&self.plan).swept(slot.clone(), done, time);
                done.map(|_| slot)
            }
            Job::Announce(units) => {
                lock(&self.plan).announced(&units, done.map(|whole| whole as usize), time);
                None
            }
        };
        if let Some(units) = changed {
            let batch = {
                let plan = lock(&self.plan);
                record(&plan.state, &plan.schedule, units)
            };
            if let Err(error) = self.table.save(batch).await {
                self.note(error);
            }
        }
        self.passed();
    }

    /// Says which units have changed.
    fn listed(&self, began: Time, result: Result<u64>, time: Time) -> Option<Range<usize>> {
        let mut passes = lock(&self.passes);
        let waiting = std::mem::take(&mut passes.listing);
        let mut plan = lock(&self.plan);
        plan.listed(began.wall, result.as_ref().ok().copied(), time);
        match result {
            Err(error) => {
                waiting.into_iter().for_each(|pass| drop(pass.send(Err(error.clone()))));
                None
            }
            Ok(_) if waiting.is_empty() => Some(0..0),
            Ok(_) => {
                plan.all_due();
                passes.announcing.extend(waiting);
                Some(0..UNITS)
            }
        }
    }

    /// Tells those who waited for a full pass, when there was one.
    fn passed(&self) {
        let mut passes = lock(&self.passes);
        if !passes.announcing.is_empty() && lock(&self.plan).none_left() {
            passes.announcing.drain(..).for_each(|pass| drop(pass.send(Ok(()))));
        }
    }
}
