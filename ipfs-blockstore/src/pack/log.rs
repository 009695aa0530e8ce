//! Appending to the newest segment.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use ipfs_traits::{Block, Error, Multihash, car};

use super::{
    error::PackError,
    frame::{Batch, MAX_KILLS, MAX_RECORDS, Opening, Position, Record, Salt},
    index::{Checkpoint, Content},
    place::Place,
    segment::{Segment, Segments, new_salt},
};
use crate::files::OpenFile;

/// Records below this are copied together for one write; larger ones are written as they are.
const SMALL: usize = 32 << 10;

/// Bytes that are copied together for one write.
const GATHER: usize = 256 << 10;

/// The end of the store, where all is appended: one at a time holds it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) segment: Arc<Segment>,
    file: Arc<dyn OpenFile>,
    salt: Salt,
    /// Where the segment ends.
    pub(super) end: u32,
    /// What no frame tells of yet.
    batch: Batch,
    /// Files that are full and not synced.
    unsynced: Vec<Arc<dyn OpenFile>>,
    /// Whether segments were made whose names are not synced.
    named: bool,
    /// All segments up to this one are durable.
    pub(super) durable_segment: u32,
    /// What each segment holds.
    contents: BTreeMap<u32, Content>,
    /// Bytes of all segments.
    pub(super) on_disk: u64,
    /// Bytes of blocks that died since a compaction began.
    pub(super) died: u64,
    /// Whether one was started that has not begun yet.
    pub(super) compaction_due: bool,
    /// Where in the segments that are being emptied records have died since that began.
    watched: HashMap<u32, HashSet<u32>>,
    /// Bytes that were appended since a commit began.
    pub(super) unsynced_bytes: u64,
    /// Counts what was put and deleted, and how much of it is durable.
    pub(super) changes: u64,
    pub(super) durable: u64,
    /// Counts the records that are no longer found: they were deleted, or have moved.
    pub(super) displaced: u64,
    /// Whether a commit in the background, or the writing of the index, was started.
    pub(super) commit_due: bool,
    pub(super) maintenance_due: bool,
    /// A sync has failed.
    failed: Option<Error>,
}

/// A record that is to be appended.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) key: Multihash,
    head: Vec<u8>,
    data: bytes::Bytes,
    crc: u32,
    pub(super) moved: Option<Position>,
}

impl Prepared {
    pub(super) fn block(block: &Block) -> Self {
        let head = car::section_head(block.cid(), block.len());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(block.data());
        let (crc, data) = (crc.finalize(), block.data().clone());
        Self { key: *block.hash(), head, data, crc, moved: None }
    }

    /// A section as it stands elsewhere, which this one takes the place of.
    pub(super) fn section(
        key: Multihash,
        head: usize,
        section: bytes::Bytes,
        from: &Place,
    ) -> Self {
        let moved = Some(Position { segment: from.segment, offset: from.offset });
        let (head, data) = (section[..head].to_vec(), section.slice(head..));
        Self { key, head, data, crc: from.crc, moved }
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }
}

/// What a commit has to sync.
pub(super) struct Unsynced {
    pub(super) files: Vec<Arc<dyn OpenFile>>,
    pub(super) names: bool,
    pub(super) changes: u64,
    pub(super) segment: u32,
}

/// What stands at the end of the newest segment when the store is opened.
pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn OpenFile>,
    pub(super) salt: Salt,
    pub(super) end: u32,
    /// What no frame tells of.
    pub(super) batch: Batch,
}

impl Log {
    pub(super) fn new(
        tail: Tail,
        contents: BTreeMap<u32, Content>,
        on_disk: u64,
        durable_segment: u32,
    ) -> Self {
        let Tail { segment, file, salt, end, batch } = tail;
        Self {
            segment,
            file,
            salt,
            end,
            batch,
            unsynced: Vec::new(),
            named: false,
            durable_segment,
            contents,
            on_disk,
            died: 0,
            compaction_due: false,
            watched: HashMap::new(),
            unsynced_bytes: 0,
            changes: 0,
            durable: 0,
            displaced: 0,
            commit_due: false,
            maintenance_due: false,
            failed: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), PackError> {
        self.failed.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// From now on the store only reads: after a failed sync a later one may succeed without the
    /// data that the first one lost.
    pub(super) fn fail(&mut self, error: PackError) -> PackError {
        self.failed.get_or_insert(error.into()).clone().into()
    }

    pub(super) fn contents(&self) -> impl Iterator<Item = &Content> {
        self.contents.values()
    }

    /// How many blocks are found in a segment.
    pub(super) fn blocks_in(&self, segment: u32) -> u64 {
        self.contents.get(&segment).map_or(0, |content| content.blocks)
    }

    pub(super) fn forget(&mut self, segment: u32, bytes: u64) {
        self.contents.remove(&segment);
        self.on_disk = self.on_disk.saturating_sub(bytes);
    }

    /// Appends records, and says where each is.
    ///
    /// When it fails, a part of them may be there; the places that are given are.
    pub(super) fn append(
        &mut self,
        segments: &Segments,
        segment_size: u32,
        records: &[Prepared],
    ) -> (Vec<(Multihash, Place)>, Result<(), PackError>) {
        let mut places = Vec::with_capacity(records.len());
        let mut rest = records;
        while !rest.is_empty() {
            let written = self.make_room(segments, segment_size, &rest[0]).and_then(|()| {
                let many = self.fitting(segment_size, rest);
                let (now, later) = rest.split_at(many);
                rest = later;
                self.write(now, &mut places)
            });
            if let Err(error) = written {
                return (places, Err(error));
            }
        }
        (places, Ok(()))
    }

    /// How many records go into this segment, and before the next frame.
    fn fitting(&self, segment_size: u32, records: &[Prepared]) -> usize {
        let mut end = u64::from(self.end);
        let most = MAX_RECORDS.saturating_sub(self.batch.records.len());
        let fits = |record: &&Prepared| {
            end += record.len() as u64;
            end <= u64::from(segment_size) && !record.data.starts_with(&self.salt)
        };
        // The first always goes: a segment was begun for it if need be.
        records.iter().take(most).take_while(fits).count().max(1)
    }

    /// Begins another segment if this one is full, and writes a frame if many records wait for one.
    fn make_room(
        &mut self,
        segments: &Segments,
        segment_size: u32,
        record: &Prepared,
    ) -> Result<(), PackError> {
        if self.batch.records.len() >= MAX_RECORDS {
            self.write_frame()?;
        }
        let full = u64::from(self.end) + record.len() as u64 > u64::from(segment_size);
        if full && self.end > Opening::end() {
            self.roll(segments)?;
        }
        // A block that begins like this segment's frames goes into one where they begin otherwise.
        while record.data.starts_with(&self.salt) {
            self.roll(segments)?;
        }
        Ok(())
    }

    /// Writes records one after the other.
    fn write(
        &mut self,
        records: &[Prepared],
        places: &mut Vec<(Multihash, Place)>,
    ) -> Result<(), PackError> {
        self.write_bytes(records)?;
        for record in records {
            let (head, len) = (record.head.len() as u8, record.data.len() as u32);
            let (segment, offset) = (self.segment.number, self.end);
            places.push((record.key, Place { segment, offset, head, len, crc: record.crc }));
            let len = record.len() as u32;
            self.batch.records.push(Record { len, crc: record.crc, moved: record.moved });
            self.end += len;
        }
        Ok(())
    }

    fn write_bytes(&mut self, records: &[Prepared]) -> Result<(), PackError> {
        let all = records.iter().map(Prepared::len).sum::<usize>();
        let mut at = u64::from(self.end);
        let mut gathered = Vec::with_capacity(all.min(GATHER + SMALL));
        let mut write = || {
            for record in records {
                gathered.extend_from_slice(&record.head);
                if record.data.len() < SMALL {
                    gathered.extend_from_slice(&record.data);
                }
                if record.data.len() >= SMALL || gathered.len() >= GATHER {
                    self.file.write_at(&gathered, at)?;
                    at += gathered.len() as u64;
                    gathered.clear();
                }
                if record.data.len() >= SMALL {
                    self.file.write_at(&record.data, at)?;
                    at += record.data.len() as u64;
                }
            }
            self.file.write_at(&gathered, at)?;
            Ok(at + gathered.len() as u64)
        };
        match write() {
            Ok(end) => {
                self.on_disk += end - u64::from(self.end);
                self.unsynced_bytes += end - u64::from(self.end);
                Ok(())
            }
            Err(error) => Err(self.take_back(error)),
        }
    }

    /// Cuts off what was written in part.
    fn take_back(&mut self, error: std::io::Error) -> PackError {
        let error = PackError::io("write", &self.segment.path)(error);
        match self.file.set_len(self.end.into()) {
            Ok(()) => error,
            Err(_) => self.fail(error),
        }
    }

    /// Writes a frame for all that has none.
    pub(super) fn write_frame(&mut self) -> Result<(), PackError> {
        if self.batch.records.is_empty() && self.batch.kills.is_empty() {
            return Ok(());
        }
        let section = self.batch.section(&self.salt)?;
        if let Err(error) = self.file.write_at(&section, self.end.into()) {
            return Err(self.take_back(error));
        }
        self.end += section.len() as u32;
        self.on_disk += section.len() as u64;
        self.unsynced_bytes += section.len() as u64;
        self.batch = Batch { first: self.end, ..Batch::default() };
        Ok(())
    }

    /// Begins a new segment.
    pub(super) fn roll(&mut self, segments: &Segments) -> Result<(), PackError> {
        self.write_frame()?;
        let (salt, durable) = (new_salt(), self.durable_segment);
        let opening = Opening { salt, segment: self.segment.number + 1, durable };
        let (segment, end) = segments.create(&opening)?;
        let file = segments.open(&segment)?;
        self.unsynced.push(std::mem::replace(&mut self.file, file));
        let content = Content { segment: segment.number, ..Content::default() };
        self.contents.insert(segment.number, content);
        self.on_disk += u64::from(end);
        (self.segment, self.salt, self.end, self.named) = (segment, salt, end, true);
        self.batch = Batch { first: end, ..Batch::default() };
        Ok(())
    }

    /// A record is dead from now on.
    pub(super) fn kill(&mut self, at: Position) -> Result<(), PackError> {
        if self.batch.kills.len() >= MAX_KILLS {
            self.write_frame()?;
        }
        self.batch.kills.push(at);
        Ok(())
    }

    /// Counts a record that was appended.
    pub(super) fn count(&mut self, place: &Place) {
        add(&mut self.contents, place);
    }

    /// Counts a record that has moved away.
    pub(super) fn count_moved(&mut self, place: &Place) {
        self.displaced += 1;
        take(&mut self.contents, place);
    }

    /// Counts a record that was deleted.
    pub(super) fn count_dead(&mut self, place: &Place) {
        self.displaced += 1;
        self.died += place.section();
        take(&mut self.contents, place);
        if let Some(died) = self.watched.get_mut(&place.segment) {
            died.insert(place.offset);
        }
    }

    /// Notes from now on what dies in these segments, and in no others.
    pub(super) fn watch(&mut self, segments: impl Iterator<Item = u32>) {
        self.watched = segments.map(|segment| (segment, HashSet::new())).collect();
    }

    /// Whether a record has died since its segment is watched.
    pub(super) fn has_died(&self, at: Position) -> bool {
        self.watched.get(&at.segment).is_some_and(|died| died.contains(&at.offset))
    }

    /// What a commit has to sync for all that was changed so far to be durable.
    pub(super) fn begin_commit(&mut self) -> Result<Option<Unsynced>, PackError> {
        self.check()?;
        self.commit_due = false;
        self.write_frame()?;
        if self.durable == self.changes {
            return Ok(None);
        }
        let mut files = std::mem::take(&mut self.unsynced);
        files.push(self.file.clone());
        self.unsynced_bytes = 0;
        let (names, segment) = (std::mem::take(&mut self.named), self.segment.number);
        Ok(Some(Unsynced { files, names, changes: self.changes, segment }))
    }

    pub(super) fn end_commit(&mut self, done: &Unsynced) {
        self.durable = self.durable.max(done.changes);
        self.durable_segment = self.durable_segment.max(done.segment - 1);
    }

    /// Where the log is, and what is in the segments, for the index to be written.
    pub(super) fn checkpoint(&mut self) -> Result<Checkpoint, PackError> {
        self.check()?;
        self.write_frame()?;
        let segments = self.contents.values().copied().collect();
        Ok(Checkpoint { segment: self.segment.number, offset: self.end, segments })
    }
}

/// Counts a record as one of its segment's that is found.
pub(super) fn add(contents: &mut BTreeMap<u32, Content>, place: &Place) {
    let new = Content { segment: place.segment, ..Content::default() };
    let content = contents.entry(place.segment).or_insert(new);
    content.blocks += 1;
    content.alive += u64::from(place.len);
    content.all += u64::from(place.len);
}

/// Counts a record as one of its segment's that is not found any more.
pub(super) fn take(contents: &mut BTreeMap<u32, Content>, place: &Place) {
    if let Some(content) = contents.get_mut(&place.segment) {
        content.blocks = content.blocks.saturating_sub(1);
        content.alive = content.alive.saturating_sub(place.len.into());
    }
}
