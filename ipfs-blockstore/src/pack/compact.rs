//! Giving back the space of what is dead, while the store is in use.
//!
//! What is alive in a segment is appended to the newest one, as it stands; once that is durable the
//! segment is removed. Each record that has moved says so in its frame, so that a crash at any point
//! leaves each block found in exactly one place.

use std::{sync::Arc, time::Duration, vec};

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, lock::OwnedMutexGuard, stream};
use ipfs_traits::{Bytes, Error, Result, RuntimeExt};

use super::{
    Inner, PackStore,
    error::PackError,
    frame::Position,
    index::Content,
    log::Prepared,
    place::Place,
    scan::{Found, Scan, Stretch},
    segment::Segment,
    write::Backlog,
};
use crate::files::OpenFile;

/// Bytes of a segment that are gone through in one go.
const STEP: u32 = 4 << 20;

/// Bytes within which records are read and moved at once, and how many at the most: so long whoever
/// puts or gets may have to wait.
const RUN: u64 = 1 << 20;
const RUN_RECORDS: usize = 1024;

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
    _one: OwnedMutexGuard<()>,
    due: vec::IntoIter<Arc<Segment>>,
    now: Option<Emptying>,
    done: Compacted,
    /// How long to wait, so that not more is moved than may be.
    pause: Duration,
}

/// A segment that is being emptied.
struct Emptying {
    segment: Arc<Segment>,
    /// Where to go on.
    at: Option<u32>,
    moved: u64,
    /// Records that are found, but are damaged: the segment stays for them.
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
        if !self.0.log().take_died(self.0.options.compact_after) {
            return;
        }
        let (store, runtime) = (Arc::downgrade(&self.0), self.0.runtime.clone());
        let store = move || store.upgrade().map(Self);
        let compact = async move {
            let Some(first) = store() else { return Ok(()) };
            let mut compaction = Compaction::begin(&first).await?;
            drop(first);
            while let Some(store) = store() {
                if matches!(compaction.step(&store).await?, Step::Ended) {
                    break;
                }
                drop(store);
                runtime.sleep(compaction.pause).await;
            }
            Ok::<_, Error>(())
        };
        let compact = compact.map(|done| {
            if let Err(error) = done {
                tracing::warn!(%error, "a compaction in the background failed");
            }
        });
        self.0.runtime.spawn(Box::pin(compact)).detach();
    }
}

impl Compaction {
    async fn begin(store: &PackStore) -> Result<Self> {
        let _one = store.0.compaction.clone().lock_owned().await;
        let due = store.blocking(Inner::due).await?;
        let done = Compacted { due: due.len() as u64, ..Compacted::default() };
        Ok(Self { _one, due: due.into_iter(), now: None, done, pause: Duration::ZERO })
    }

    async fn step(&mut self, store: &PackStore) -> Result<Step> {
        let now = self.now.take().or_else(|| self.due.next().map(Emptying::new));
        let Some(mut emptying) = now else { return Ok(Step::Ended) };
        let before = emptying.moved;
        let step = move |inner: &Inner| {
            let more = inner.empty_some(&mut emptying)?;
            Ok((more, emptying))
        };
        let (more, emptying) = store.blocking(step).await?;
        store.settle(Backlog::Small).await?;
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
        let close = records.iter().take(RUN_RECORDS);
        let close = close.take_while(|found| extent(&found.place) <= RUN).count();
        // The first may be larger by itself.
        let (run, rest) = records.split_at(close.max(1));
        runs.push(run);
        records = rest;
    }
    runs
}

impl Emptying {
    const fn new(segment: Arc<Segment>) -> Self {
        Self { segment, at: None, moved: 0, damaged: 0 }
    }
}

impl Inner {
    /// The segments in which so much is dead that they are worth moving, the most dead first. The
    /// newest is closed if it is one of them.
    fn due(&self) -> Result<Vec<Arc<Segment>>, PackError> {
        let mut log = self.log();
        log.check()?;
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
            let Some(stretch) = scan.next()? else { return Ok(false) };
            self.carry_kills(&segment, &stretch)?;
            for run in runs(&self.alive(stretch.records)?) {
                self.move_run(run, &*file, emptying)?;
            }
            emptying.at = Some(scan.at());
        }
        Ok(true)
    }

    /// Those of some records that are found.
    fn alive(&self, mut records: Vec<Found>) -> Result<Vec<Found>, PackError> {
        let keys: Vec<_> = records.iter().map(|found| found.key).collect();
        let mut places = self.index.get_many(&keys)?.into_iter();
        records.retain(|found| places.next().flatten() == Some(found.place));
        Ok(records)
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
        let (bytes, seen) = (Bytes::from(bytes), self.log().changes);
        let mut ready = Vec::with_capacity(run.len());
        for found in self.alive(run.to_vec())? {
            let from = (found.place.offset - begin) as usize;
            let section = from..from + found.place.section() as usize;
            if section.end > bytes.len()
                || crc32fast::hash(&bytes[section.clone()]) != found.place.crc
            {
                emptying.damaged += 1;
                continue;
            }
            let (head, section) = (usize::from(found.place.head), bytes.slice(section));
            ready.push((found, Prepared::section(found.key, head, section, &found.place)));
        }
        let mut log = self.log();
        log.check()?;
        if log.changes != seen {
            // Some may have been deleted meanwhile.
            let alive = self.alive(ready.iter().map(|(found, _)| *found).collect())?;
            let mut alive = alive.iter().peekable();
            ready.retain(|(found, _)| alive.next_if_eq(&found).is_some());
        }
        let (from, records): (Vec<_>, Vec<_>) = ready.into_iter().unzip();
        let (places, written) = log.append(&self.segments, self.options.segment_size(), &records);
        log.changes += places.len() as u64;
        for ((_, place), found) in std::iter::zip(&places, &from) {
            log.count(place);
            log.discount(&found.place);
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
        let mut log = self.log();
        for kill in kills {
            log.kill(kill)?;
            log.changes += 1;
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
