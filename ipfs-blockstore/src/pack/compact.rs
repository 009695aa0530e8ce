//! Giving back the space of what is dead, while the store is in use.
//!
//! What is alive in a segment is appended to the newest one, as it stands; once that is durable the
//! segment is removed. Each record that has moved says so in its frame, so that a crash at any point
//! leaves each block found in exactly one place.

mod living;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, lock::OwnedMutexGuard, stream};
use ipfs_traits::{Bytes, Error, Result, Runtime, RuntimeExt, work::give_way};

use self::living::{Alive, Living};
use super::{
    Inner, PackStore,
    error::PackError,
    frame::Position,
    index::Content,
    log::Prepared,
    place::Place,
    scan::{Found, Scan, Stretch},
    segment::Segment,
    write::AT_ONCE,
};
use crate::files::OpenFile;

/// Bytes of a segment that are gone through in one go.
const STEP: u32 = 4 << 20;

/// Bytes within which records are read and moved at once: so long whoever puts may have to wait.
const RUN: u64 = 256 << 10;

/// How long nothing may be deleted before a compaction begins by itself: what goes soon is not to be
/// moved before. And how many times as long that is waited for.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: u32 = 60;

/// What a compaction has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Segments that were worth it.
    pub due: u64,
    /// How many of them are gone.
    pub segments: u64,
    /// Bytes that were moved.
    pub moved: u64,
    /// Bytes on disk of the segments that are gone: less what was moved, that is what was freed.
    pub removed: u64,
}

/// A compaction under way. It does not hold the store, so that one which goes on in the background
/// ends with the store.
struct Compaction {
    turn: Arc<Turn>,
    due: VecDeque<Arc<Segment>>,
    living: Living,
    now: Option<Emptying>,
    done: Compacted,
    /// How long to wait, so that not more is moved than may be.
    pause: Duration,
}

/// The right to compact: also of the step that still runs when nobody waits for it any more.
struct Turn {
    store: Weak<Inner>,
    _one: OwnedMutexGuard<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            store.log().watch(std::iter::empty());
        }
    }
}

/// A segment that is being emptied.
struct Emptying {
    segment: Arc<Segment>,
    alive: Alive,
    /// Where to go on.
    at: Option<u32>,
    moved: u64,
    /// Records that are alive, but are damaged or not found: the segment stays for them.
    damaged: u64,
}

/// What a step of a compaction has done.
enum Step {
    Moved,
    Emptied,
    Ended,
}

impl PackStore {
    /// Compacts all segments in which much is dead ([`Options::dead_share`](super::Options)), and
    /// says after each how far it has come.
    ///
    /// Readers and writers go on meanwhile. Dropping the stream ends the work after what it is
    /// doing; nothing is lost by that.
    ///
    /// # Errors
    ///
    /// What the disk says. A segment in which a block is damaged stays, and is no error.
    pub fn compacting(&self) -> BoxStream<'static, Result<Compacted>> {
        let store = self.clone();
        let begin = async move {
            let compaction = Compaction::begin(&store).await?;
            Ok(stream::try_unfold((store, compaction), |(store, mut compaction)| async move {
                loop {
                    store.0.runtime.sleep(compaction.pause).await;
                    match compaction.step(&store).await? {
                        Step::Ended => return Ok(None),
                        Step::Emptied => return Ok(Some((compaction.done, (store, compaction)))),
                        Step::Moved => {}
                    }
                }
            }))
        };
        begin.try_flatten_stream().boxed()
    }

    /// Starts a compaction that nobody waits for, if enough has died for it.
    pub(super) fn compact_when_due(&self) {
        {
            let mut log = self.0.log();
            let is_due = self.0.options.compact_after.is_some_and(|enough| log.died >= enough);
            if !is_due || std::mem::replace(&mut log.compaction_due, true) {
                return;
            }
        }
        let (store, runtime) = (Arc::downgrade(&self.0), self.0.runtime.clone());
        let compact = async move {
            quiet(&store, &*runtime).await;
            let Some(first) = store.upgrade().map(Self) else { return Ok(()) };
            let mut compaction = Compaction::begin(&first).await?;
            drop(first);
            while let Some(store) = store.upgrade().map(Self) {
                if matches!(compaction.step(&store).await?, Step::Ended) {
                    break;
                }
                drop(store);
                runtime.sleep(compaction.pause).await;
            }
            Ok::<_, Error>(())
        };
        let compact = compact.map(|done| match done {
            Ok(()) | Err(Error::Closed(_)) => {}
            Err(error) => tracing::warn!(%error, "a compaction in the background failed"),
        });
        self.0.runtime.spawn(Box::pin(compact)).detach();
    }
}

/// Waits until nothing was deleted for a while, but not for ever.
async fn quiet(store: &Weak<Inner>, runtime: &dyn Runtime) {
    let died = || store.upgrade().map(|store| store.log().died);
    for _ in 0..PATIENCE {
        let before = died();
        runtime.sleep(QUIET).await;
        if died() == before {
            return;
        }
    }
}

impl Compaction {
    async fn begin(store: &PackStore) -> Result<Self> {
        let one = store.0.compaction.clone().lock_owned().await;
        let turn = Arc::new(Turn { store: Arc::downgrade(&store.0), _one: one });
        let due = store.blocking(Inner::due).await?;
        let done = Compacted { due: due.len() as u64, ..Compacted::default() };
        let (living, pause) = (Living::default(), Duration::ZERO);
        Ok(Self { turn, due: due.into(), living, now: None, done, pause })
    }

    async fn step(&mut self, store: &PackStore) -> Result<Step> {
        let Some(mut emptying) = self.next(store).await? else { return Ok(Step::Ended) };
        let (before, turn) = (emptying.moved, self.turn.clone());
        let step = move |inner: &Inner| {
            let _turn = turn;
            let more = inner.empty_some(&mut emptying)?;
            Ok((more, emptying))
        };
        let (more, emptying) = store.blocking(step).await?;
        store.keep_index_up().await?;
        let moved = emptying.moved - before;
        self.done.moved += moved;
        let rate = store.0.options.compact_rate;
        let seconds = rate.map_or(0.0, |rate| moved as f64 / rate.max(1) as f64);
        self.pause = Duration::from_secs_f64(seconds);
        if more {
            self.now = Some(emptying);
            return Ok(Step::Moved);
        }
        self.remove(store, &emptying).await?;
        Ok(Step::Emptied)
    }

    /// What is being emptied, or is the next.
    async fn next(&mut self, store: &PackStore) -> Result<Option<Emptying>> {
        if let Some(now) = self.now.take() {
            return Ok(Some(now));
        }
        let Some(segment) = self.due.pop_front() else { return Ok(None) };
        if !self.living.knows(&segment) {
            let next: Vec<u32> =
                std::iter::once(&segment).chain(&self.due).map(|s| s.number).collect();
            let turn = self.turn.clone();
            let look = move |inner: &Inner| {
                let _turn = turn;
                inner.living(&next)
            };
            self.living = store.blocking(look).await?;
        }
        let alive = self.living.take(&segment);
        Ok(Some(Emptying { segment, alive, at: None, moved: 0, damaged: 0 }))
    }

    /// Removes a segment from which all has moved.
    async fn remove(&mut self, store: &PackStore, emptied: &Emptying) -> Result<()> {
        // The index has to know where all is, and what was deleted: of a segment that is gone
        // nobody can read which block it was that a frame calls dead.
        store.blocking(|inner| inner.maintain(true)).await?;
        store.commit().await?;
        if emptied.damaged > 0 {
            let path = emptied.segment.path.display();
            tracing::warn!(%path, "a segment stays, for blocks in it are damaged");
            return Ok(());
        }
        let segment = emptied.segment.clone();
        self.done.removed += store.blocking(move |inner| inner.remove(&segment)).await?;
        self.done.segments += 1;
        Ok(())
    }
}

/// Records in groups that lie close together.
fn runs(mut records: &[Found]) -> Vec<&[Found]> {
    let mut runs = Vec::new();
    while let Some(first) = records.first() {
        let extent = |place: &Place| u64::from(place.offset - first.place.offset) + place.section();
        let close = records.iter().take(AT_ONCE);
        let close = close.take_while(|found| extent(&found.place) <= RUN).count();
        // The first may be larger by itself.
        let (run, rest) = records.split_at(close.max(1));
        runs.push(run);
        records = rest;
    }
    runs
}

impl Inner {
    /// The segments in which so much is dead that they are worth moving, the most dead first. The
    /// newest is closed if it is one of them.
    fn due(&self) -> Result<Vec<Arc<Segment>>, PackError> {
        let mut log = self.log();
        log.check()?;
        (log.died, log.compaction_due) = (0, false);
        let dead = |content: &Content| 1.0 - content.alive as f64 / content.all.max(1) as f64;
        let mut due: Vec<(u64, u32)> = log
            .contents()
            .filter(|content| content.all > 0 || content.segment != log.segment.number)
            .filter(|content| dead(content) >= self.options.dead_share)
            .map(|content| (content.alive, content.segment))
            .collect();
        due.sort_unstable();
        if due.iter().any(|(_, segment)| *segment == log.segment.number) {
            log.roll(&self.segments)?;
        }
        Ok(due.into_iter().filter_map(|(_, segment)| self.segments.get(segment)).collect())
    }

    /// Moves what is alive in the next stretch of a segment; `false` when there is none.
    fn empty_some(&self, emptying: &mut Emptying) -> Result<bool, PackError> {
        let segment = emptying.segment.clone();
        let file = self.segments.open(&segment)?;
        let scan =
            Scan::new(segment.number, segment.path.clone(), file.clone(), &self.options.hashes)?;
        let scan = match emptying.at {
            Some(at) => scan.from(at),
            None => scan,
        };
        let (begin, mut scan) = (scan.at(), scan.without_check());
        while scan.at() - begin < STEP {
            let Some(mut stretch) = scan.next()? else {
                emptying.damaged += self.lost(segment.number, emptying.alive.end());
                return Ok(false);
            };
            self.carry_kills(&segment, &stretch)?;
            stretch.records.retain(|found| emptying.alive.has(found.place.offset));
            for run in runs(&stretch.records) {
                self.move_run(run, &*file, emptying)?;
            }
            emptying.at = Some(scan.at());
        }
        Ok(true)
    }

    /// How many of the records that were not come across are alive.
    fn lost(&self, segment: u32, passed: Vec<u32>) -> u64 {
        let log = self.log();
        let at = passed.into_iter().map(|offset| Position { segment, offset });
        at.filter(|at| !log.has_died(*at)).count() as u64
    }

    /// Moves records that lie close together, those that are still alive.
    fn move_run(
        &self,
        run: &[Found],
        file: &dyn OpenFile,
        emptying: &mut Emptying,
    ) -> Result<(), PackError> {
        let [Some(first), Some(last)] = [run.first(), run.last()] else { return Ok(()) };
        let begin = first.place.offset;
        let len = u64::from(last.place.offset - begin) + last.place.section();
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, begin.into());
        let read = read.map_err(PackError::io("read", &emptying.segment.path))?;
        bytes.truncate(read);
        let bytes = Bytes::from(bytes);
        give_way();
        let mut ready = Vec::with_capacity(run.len());
        for Found { key, place, .. } in run {
            let from = (place.offset - begin) as usize;
            let section = from..from + place.section() as usize;
            if section.end > bytes.len() || crc32fast::hash(&bytes[section.clone()]) != place.crc {
                emptying.damaged += 1;
                continue;
            }
            let section = bytes.slice(section);
            ready.push((place, Prepared::section(*key, place.head.into(), section, place)));
        }
        let mut log = self.log();
        log.check()?;
        let has_died =
            |at: &Place| log.has_died(Position { segment: at.segment, offset: at.offset });
        ready.retain(|(place, _)| !has_died(place));
        let (from, records): (Vec<_>, Vec<_>) = ready.into_iter().unzip();
        let (places, written) = log.append(&self.segments, self.options.segment_size(), &records);
        log.changes += places.len() as u64;
        for ((_, place), from) in std::iter::zip(&places, from) {
            log.count(place);
            log.count_moved(from);
        }
        emptying.moved += places.iter().map(|(_, place)| place.section()).sum::<u64>();
        self.index.apply(places.into_iter().map(|(key, place)| (key, Some(place))));
        written
    }

    /// Says again which records of other segments are dead, where only this one says so.
    fn carry_kills(&self, segment: &Segment, stretch: &Stretch) -> Result<(), PackError> {
        let moved = stretch.records.iter().filter_map(|found| found.moved);
        let is_there =
            |at: &Position| at.segment != segment.number && self.segments.get(at.segment).is_some();
        let kills: Vec<Position> =
            stretch.kills.iter().copied().chain(moved).filter(is_there).collect();
        for some in kills.chunks(AT_ONCE) {
            give_way();
            let mut log = self.log();
            for kill in some {
                log.kill(*kill)?;
                log.changes += 1;
            }
        }
        Ok(())
    }

    /// Removes a segment from which all has moved, durably.
    fn remove(&self, segment: &Segment) -> Result<u64, PackError> {
        let bytes = self.files.len(&segment.path).map_err(PackError::io("read", &segment.path))?;
        self.log().forget(segment.number, bytes);
        self.segments.remove(segment)?;
        // It must not come back: what is dead in it is no longer said anywhere from now on.
        let synced = self.files.sync_dir(&self.root);
        synced.map_err(|error| self.fail(PackError::io("sync", &self.root)(error)))?;
        Ok(bytes)
    }
}
