//! Giving back the space of what is dead, while the store is in use.
//!
//! What is alive in a segment is appended to the newest one, as it stands; once that is durable the
//! segment is removed. Each record that has moved says so in its frame, so that a crash at any point
//! leaves each block found in exactly one place.

use std::{sync::Arc, time::Duration};

use ipfs_traits::{Bytes, Result};

use super::{
    Inner, PackStore,
    error::PackError,
    frame::Position,
    index::Content,
    log::Prepared,
    scan::{Found, Scan, Stretch},
    segment::Segment,
    write::Backlog,
};

/// Records that are moved at once: each may have as much as a block.
const MOVED_AT_ONCE: usize = 64;

/// What a compaction has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compacted {
    pub(super) segments: u64,
    /// Bytes that were moved.
    pub(super) moved: u64,
    /// Bytes that the segments took which are gone.
    pub(super) removed: u64,
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

impl PackStore {
    /// Compacts all segments in which much is dead.
    pub(super) async fn compact_now(&self) -> Result<Compacted> {
        let _one = self.0.compaction.lock().await;
        let mut done = Compacted::default();
        let due = self.blocking(Inner::due).await?;
        for segment in due {
            let emptied = self.empty(&segment).await?;
            done.moved += emptied.moved;
            // The index has to know where all is, and what was deleted: of a segment that is gone
            // nobody can read which block it was that a frame calls dead.
            self.blocking(|inner| inner.maintain(true)).await?;
            self.commit().await?;
            if emptied.damaged > 0 {
                let path = segment.path.display();
                tracing::warn!(%path, "a segment stays, for blocks in it are damaged");
                continue;
            }
            done.removed += self.blocking(move |inner| inner.remove(&segment)).await?;
            done.segments += 1;
        }
        Ok(done)
    }

    /// Moves what is alive in a segment.
    async fn empty(&self, segment: &Arc<Segment>) -> Result<Emptying> {
        let mut emptying = Emptying { segment: segment.clone(), at: None, moved: 0, damaged: 0 };
        loop {
            let (start, before) = (self.0.runtime.now(), emptying.moved);
            let step = move |inner: &Inner| {
                let more = inner.empty_some(&mut emptying)?;
                Ok((more, emptying))
            };
            let (more, next) = self.blocking(step).await?;
            emptying = next;
            if !more {
                return Ok(emptying);
            }
            self.settle(Backlog::Small).await?;
            if let Some(rate) = self.0.options.compact_rate {
                let seconds = (emptying.moved - before) as f64 / rate.max(1) as f64;
                self.0.runtime.sleep_until(start + Duration::from_secs_f64(seconds)).await;
            }
        }
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
        let segment = &emptying.segment;
        let file = self.segments.open(segment)?;
        let scan = Scan::new(segment.number, segment.path.clone(), file, &self.options.hashes)?;
        let mut scan = match emptying.at {
            Some(at) => scan.from(at),
            None => scan,
        }
        .without_check();
        let Some(stretch) = scan.next()? else { return Ok(false) };
        emptying.at = Some(scan.at());
        self.carry_kills(segment, &stretch)?;
        for some in stretch.records.chunks(MOVED_AT_ONCE) {
            self.move_alive(some, emptying)?;
        }
        Ok(true)
    }

    /// Moves those of some records that are alive.
    fn move_alive(&self, records: &[Found], emptying: &mut Emptying) -> Result<(), PackError> {
        let keys: Vec<_> = records.iter().map(|found| found.key).collect();
        let mut ready = Vec::new();
        for (found, place) in std::iter::zip(records, self.index.get_many(&keys)?) {
            if place != Some(found.place) {
                continue;
            }
            let Some(section) = self.segments.section(&found.place)? else { continue };
            if crc32fast::hash(&section) != found.place.crc {
                emptying.damaged += 1;
                continue;
            }
            let head = usize::from(found.place.head);
            ready.push((
                found.place,
                Prepared::section(found.key, head, Bytes::from(section), &found.place),
            ));
        }
        let mut log = self.log();
        log.check()?;
        // Some may have been deleted meanwhile.
        let keys: Vec<_> = ready.iter().map(|(_, record)| record.key).collect();
        let places = self.index.get_many(&keys)?.into_iter();
        let alive: Vec<_> = std::iter::zip(ready, places)
            .filter(|((from, _), place)| *place == Some(*from))
            .map(|(ready, _)| ready)
            .collect();
        let (from, records): (Vec<_>, Vec<_>) = alive.into_iter().unzip();
        let (places, written) = log.append(&self.segments, self.options.segment_size(), &records);
        log.changes += places.len() as u64;
        for ((_, place), from) in std::iter::zip(&places, &from) {
            log.count(place);
            log.discount(from);
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
