//! What is to be done next. It does no IO and has no clock.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use ipfs_traits::Error;

use super::{
    Options, Stats, instant,
    schedule::{Schedule, UNITS},
    table::State,
};

/// How often the clock is looked at while nothing is due: it may have been set, or the machine may
/// have slept.
const CHECK: Duration = Duration::from_secs(300);

/// The longest pause before something that failed is tried again.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// After so many batches in a row that failed, whatever their errors, the node is taken to be
/// offline, until one succeeds.
const OUTAGE: u32 = 3;

/// While the node is offline, one batch is tried after a minute, then two, four, and each five
/// minutes: what comes back is used soon, and a phone is not kept awake.
const PROBE: Duration = Duration::from_secs(60);
const MAX_PROBE: Duration = Duration::from_secs(300);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// List the source, as the listing of this number.
    List(u64),
    /// Announce all keys of these units.
    Sweep(Range<usize>),
    /// Announce keys that wait in these units, each with how many do.
    Announce(Vec<(usize, usize)>),
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Start(Job),
    /// Nothing before this time, unless something happens.
    Wait(Instant),
}

/// The two clocks: one to measure and wait, one for what is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) now: Instant,
    /// Milliseconds of the wall clock.
    pub(super) wall: u64,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) state: State,
    pub(super) schedule: Schedule,
    /// How many keys of each unit wait and are not being announced; a few too many where one was
    /// queued twice.
    waiting: Vec<usize>,
    /// How many keys wait or are being announced.
    pub(super) queued: usize,
    pub(super) paused: bool,
    pub(super) last_error: Option<Error>,
    /// The source is to be listed now, for a full pass.
    pub(super) pass: bool,
    listing: bool,
    list_again: Option<Retry>,
    sweeps: Lane,
    announces: Lane,
    /// Where in the keyspace the next keys that wait are taken.
    cursor: usize,
    /// Batches that did not fail.
    successes: u64,
    /// Batches that failed since, but for those whose last try had failed before.
    strikes: u32,
    probe: Option<Instant>,
    /// How long a batch of the sweep takes, on average of late.
    pace: Option<Duration>,
}

/// Something that failed, and when it is tried again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    failures: u32,
    at: Instant,
    /// How many batches had not failed by then.
    successes: u64,
}

/// Batches of one kind: those under way and those that failed, by unit.
#[derive(Debug)]
struct Lane {
    busy: Vec<bool>,
    running: usize,
    retries: BTreeMap<usize, Retry>,
}

impl Plan {
    pub(super) fn new(
        options: Options,
        state: State,
        mut schedule: Schedule,
        waiting: Vec<usize>,
    ) -> Self {
        schedule.size(state.known as usize, options.batch);
        Self {
            options,
            state,
            schedule,
            queued: waiting.iter().sum(),
            waiting,
            paused: false,
            last_error: None,
            pass: false,
            listing: false,
            list_again: None,
            sweeps: Lane::new(),
            announces: Lane::new(),
            cursor: 0,
            successes: 0,
            strikes: 0,
            probe: None,
            pace: None,
        }
    }

    /// What to do now: call it until it says to wait, and again then, and when anything has changed.
    pub(super) fn next(&mut self, time: Time) -> Next {
        if self.paused {
            return Next::Wait(time.now + CHECK);
        }
        self.schedule.settle(time.wall, &mut self.state.began);
        let job = self.list(time).or_else(|| self.announce(time)).or_else(|| self.sweep(time));
        match job {
            Some(job) => Next::Start(job),
            None => Next::Wait(self.wake(time)),
        }
    }

    fn list(&mut self, time: Time) -> Option<Job> {
        let waits = self.list_again.is_some_and(|again| again.at > time.now);
        let due = self.list_due() <= time.wall && !waits;
        if self.listing || !(due || self.pass) {
            return None;
        }
        (self.listing, self.pass) = (true, false);
        Some(Job::List(self.state.generation.wrapping_add(1)))
    }

    /// When the source is listed next: at the beginning of each interval.
    fn list_due(&self) -> u64 {
        match self.state.began {
            0 => 0,
            began => self.schedule.after(0, began),
        }
    }

    /// Keys that wait, as near to each other as there are enough. What failed together is
    /// not put together again.
    fn announce(&mut self, time: Time) -> Option<Job> {
        let offline = self.offline();
        if !self.room(self.announces.running, self.options.announcing, time) {
            return None;
        }
        let lane = &self.announces;
        let ready =
            |unit: &usize| self.waiting[*unit] > 0 && lane.ready(*unit..*unit + 1, time, offline);
        let mut candidates = (self.cursor..UNITS).chain(0..self.cursor).filter(ready);
        let first = match offline {
            true => candidates.min_by_key(|unit| lane.failures(*unit))?,
            false => candidates.next()?,
        };
        let mut units = vec![(first, self.waiting[first])];
        let mut keys = self.waiting[first];
        for unit in (first + 1..UNITS).filter(ready) {
            if keys >= self.options.batch || lane.failures(unit) > 0 {
                break;
            }
            keys += self.waiting[unit];
            units.push((unit, self.waiting[unit]));
        }
        self.cursor = units.last().map_or(0, |(last, _)| last + 1);
        self.announces.start(units.iter().map(|(unit, _)| *unit));
        units.iter().for_each(|(unit, _)| self.waiting[*unit] = 0);
        Some(Job::Announce(units))
    }

    /// The slot that is most overdue.
    fn sweep(&mut self, time: Time) -> Option<Job> {
        if self.state.began == 0
            || self.listing
            || !self.room(self.sweeps.running, self.options.sweeping, time)
        {
            return None;
        }
        let offline = self.offline();
        let due = self.schedule.slots().map(|slot| (self.schedule.due(slot.clone()), slot));
        let ready = due.filter(|(due, slot)| {
            *due <= time.wall && self.sweeps.ready(slot.clone(), time, offline)
        });
        let (_, slot) = ready.min_by_key(|(due, slot)| {
            (if offline { self.sweeps.failures(slot.start) } else { 0 }, *due)
        })?;
        self.sweeps.start(slot.clone());
        Some(Job::Sweep(slot))
    }

    fn offline(&self) -> bool {
        self.strikes >= OUTAGE
    }

    /// Whether another batch may be started.
    fn room(&self, running: usize, most: usize, time: Time) -> bool {
        match self.probe {
            Some(at) => at <= time.now && self.sweeps.running + self.announces.running == 0,
            None => running < most,
        }
    }

    fn wake(&self, time: Time) -> Instant {
        let lanes = [&self.sweeps, &self.announces].into_iter();
        let retries = lanes.flat_map(|lane| lane.retries.values()).chain(&self.list_again);
        let instants = retries.map(|retry| retry.at).chain(self.probe).filter(|at| *at > time.now);
        let slots = self.schedule.slots().map(|slot| self.schedule.due(slot));
        let due = slots.chain([self.list_due()]).filter(|due| *due > time.wall);
        let due = due.map(|due| time.now + Duration::from_millis(due - time.wall).min(CHECK));
        instants.chain(due).fold(time.now + CHECK, Instant::min)
    }

    /// A listing has ended: with how many keys, or not whole.
    pub(super) fn listed(&mut self, began: u64, keys: Option<u64>, time: Time) {
        self.listing = false;
        let Some(known) = keys else {
            let failures = self.list_again.map_or(1, |again| again.failures + 1);
            self.list_again = Some(self.retry(failures, time));
            return;
        };
        self.list_again = None;
        let State { anchor, generation, .. } = self.state;
        let generation = generation.wrapping_add(1);
        self.state = State { anchor, generation, began: began.max(1), known, announced: 0 };
        self.schedule.size(known as usize, self.options.batch);
    }

    /// Makes every unit due.
    pub(super) fn all_due(&mut self) {
        self.schedule.stamps_mut().fill(0);
    }

    /// Whether all that was made due has been announced.
    pub(super) fn none_left(&self) -> bool {
        !self.schedule.stamps().contains(&0)
    }

    /// A batch of the sweep has ended: with how many keys, after how long; or it failed.
    pub(super) fn swept(&mut self, slot: Range<usize>, done: Option<(u64, Duration)>, time: Time) {
        self.sweeps.end(slot.clone(), done.is_some());
        let Some((keys, took)) = done else {
            let again = self.retry(self.sweeps.failures(slot.start) + 1, time);
            let before = self.sweeps.retries.insert(slot.start, again);
            return self.failed(before, time);
        };
        self.schedule.stamps_mut()[slot].fill(time.wall.max(1));
        self.state.announced = self.state.announced.saturating_add(keys);
        if keys > 0 {
            self.pace = Some(self.pace.map_or(took, |pace| (pace * 7 + took) / 8));
            self.succeeded(time);
        }
    }

    /// Keys wait in these units.
    pub(super) fn queue(&mut self, units: impl Iterator<Item = usize>) {
        units.for_each(|unit| self.waiting[unit] += 1);
    }

    /// A batch of keys that waited has ended: with all keys of so many of its units; or it failed.
    pub(super) fn announced(&mut self, units: &[(usize, usize)], done: Option<usize>, time: Time) {
        let (whole, rest) = units.split_at(done.unwrap_or(0));
        self.announces.end(units.iter().map(|(unit, _)| *unit), done.is_some());
        self.queued -= whole.iter().map(|(_, keys)| keys).sum::<usize>();
        rest.iter().for_each(|(unit, keys)| self.waiting[*unit] += keys);
        if done.is_some() {
            return self.succeeded(time);
        }
        let mut before = None;
        for (unit, _) in units {
            let again = self.retry(self.announces.failures(*unit) + 1, time);
            before = self.announces.retries.insert(*unit, again);
        }
        self.failed(before, time);
    }

    /// A batch failed, maybe not for the first time. One that failed while others did not says
    /// nothing of the network.
    fn failed(&mut self, before: Option<Retry>, time: Time) {
        if before.is_none_or(|before| before.successes == self.successes) {
            self.strikes = self.strikes.saturating_add(1);
        }
        if self.offline() {
            let pause = PROBE.saturating_mul(1 << (self.strikes - OUTAGE).min(16));
            self.probe = Some(time.now + pause.min(MAX_PROBE));
        }
    }

    /// After an outage all that failed during it is tried at once.
    fn succeeded(&mut self, time: Time) {
        if self.offline() {
            let lanes = [&mut self.sweeps, &mut self.announces].into_iter();
            lanes.flat_map(|lane| lane.retries.values_mut()).for_each(|retry| retry.at = time.now);
        }
        self.successes += 1;
        (self.strikes, self.probe) = (0, None);
    }

    fn retry(&self, failures: u32, time: Time) -> Retry {
        let pause = self.options.retry.saturating_mul(1 << (failures - 1).min(16));
        Retry { failures, at: time.now + pause.min(MAX_RETRY), successes: self.successes }
    }

    /// The number of the listing that keys belong to which are new now.
    pub(super) fn generation(&self) -> u64 {
        self.state.generation.wrapping_add(u64::from(self.listing))
    }

    pub(super) fn stats(&self, time: Time) -> Stats {
        let State { known, announced, began, .. } = self.state;
        Stats {
            known,
            announced,
            failing: self.sweeps.retries.len() + self.announces.retries.len(),
            queued: self.queued,
            began: (began > 0).then(|| instant(began)),
            completes: self.completes(time).map(instant),
            paused: self.paused,
            last_error: self.last_error.clone(),
        }
    }

    /// When the sweep has announced all, as far as can be told.
    fn completes(&self, time: Time) -> Option<u64> {
        let end = self.list_due();
        let due = self.schedule.slots().map(|slot| self.schedule.due(slot));
        let left: Vec<u64> = due.filter(|due| *due < end).collect();
        let last = *left.iter().max()?;
        let pace = self.pace.filter(|_| !self.paused && !self.offline())?;
        let overdue = left.iter().filter(|due| **due <= time.wall).count();
        let work = pace.as_millis() as u64 * overdue as u64 / self.options.sweeping as u64;
        Some(last.max(time.wall + work))
    }
}

impl Lane {
    fn new() -> Self {
        Self { busy: vec![false; UNITS], running: 0, retries: BTreeMap::new() }
    }

    fn ready(&self, mut units: Range<usize>, time: Time, offline: bool) -> bool {
        let waits = self.retries.get(&units.start).is_some_and(|retry| retry.at > time.now);
        (offline || !waits) && !units.any(|unit| self.busy[unit])
    }

    fn failures(&self, unit: usize) -> u32 {
        self.retries.get(&unit).map_or(0, |retry| retry.failures)
    }

    fn start(&mut self, units: impl Iterator<Item = usize>) {
        units.for_each(|unit| self.busy[unit] = true);
        self.running += 1;
    }

    fn end(&mut self, units: impl Iterator<Item = usize>, done: bool) {
        for unit in units {
            self.busy[unit] = false;
            if done {
                self.retries.remove(&unit);
            }
        }
        self.running -= 1;
    }
}
