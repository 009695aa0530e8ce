//! Opening a store: what was written after the last checkpoint is read again, and an index that is
//! lost is made anew.

mod rebuild;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use ipfs_traits::HashTable;

use super::{
    error::PackError,
    frame::{Batch, MAX_RECORDS, Opening, Position},
    index::{Checkpoint, Content, Index},
    log::{Log, Tail, add, take},
    place::Place,
    scan::{Found, Scan, Stretch},
    segment::{Segment, Segments, new_salt},
};
use crate::files::Files;

/// A store as it is found.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) log: Log,
    /// Records that were found to be damaged.
    pub(super) damaged: u64,
}

/// Where a store is.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) files: &'a Arc<dyn Files>,
    pub(super) root: &'a Path,
    /// The folder of the index.
    pub(super) index: &'a Path,
    pub(super) segments: &'a Segments,
    pub(super) hashes: &'a HashTable,
}

/// Reads again what the index does not hold, or all if there is no index that can be used.
pub(super) fn recover(site: Site<'_>) -> Result<Recovered, PackError> {
    let index = match Index::open(site.files.clone(), site.index.to_owned()) {
        Ok(index) => index,
        Err(PackError::Damaged { path }) => {
            tracing::warn!(path = %path.display(), "the index is damaged, and is made anew");
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(index) = index {
        let mut recovery = Recovery::new(site, index);
        let checkpoint = recovery.index.checkpoint();
        match recovery.replay(&checkpoint) {
            Ok(true) => return recovery.finish(),
            Ok(false) | Err(PackError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        tracing::warn!("the index does not fit the segments, and is made anew");
    }
    clear(site.files, site.index)?;
    let index = Index::create(site.files.clone(), site.index.to_owned())?;
    let mut recovery = Recovery::new(site, index);
    recovery.rebuild()?;
    recovery.finish()
}

struct Recovery<'a> {
    site: Site<'a>,
    index: Index,
    contents: BTreeMap<u32, Content>,
    /// The end of the newest segment.
    tail: Option<Tail>,
    /// Segments that were read, and may not be synced.
    unsynced: Vec<Arc<Segment>>,
    /// Records that must not be taken for whole ones later.
    kills: Vec<Position>,
    damaged: u64,
    /// Segments up to this one were whole once: nothing in them was cut off by a crash.
    durable: u32,
}

impl<'a> Recovery<'a> {
    fn new(site: Site<'a>, index: Index) -> Self {
        let (contents, unsynced, kills) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { site, index, contents, tail: None, unsynced, kills, damaged: 0, durable: 0 }
    }

    fn scan(&self, segment: &Arc<Segment>) -> Result<Scan<'a>, PackError> {
        let file = self.site.segments.open(segment)?;
        Scan::new(segment.number, segment.path.clone(), file, self.site.hashes)
    }

    /// Takes over what was written after the checkpoint; `false` when the index cannot be right.
    fn replay(&mut self, checkpoint: &Checkpoint) -> Result<bool, PackError> {
        let contents = checkpoint.segments.iter().map(|content| (content.segment, *content));
        self.contents.extend(contents);
        for segment in self.site.segments.all() {
            if segment.number < checkpoint.segment {
                continue;
            }
            let mut scan = self.scan(&segment)?;
            if segment.number == checkpoint.segment {
                if scan.opening().is_none() || checkpoint.offset > scan.len() {
                    return Ok(false);
                }
                scan = scan.from(checkpoint.offset);
            }
            self.read_on(&segment, scan, Self::take_over)?;
        }
        // A segment that was given up after the checkpoint has moved its blocks by now.
        let is_there = |content: &Content| self.site.segments.get(content.segment).is_some();
        let lost = self.contents.values().any(|content| content.blocks > 0 && !is_there(content));
        self.contents.retain(|_, content| self.site.segments.get(content.segment).is_some());
        Ok(!lost)
    }

    /// Takes over what is left of a segment, which may be the newest.
    fn read_on(
        &mut self,
        segment: &Arc<Segment>,
        mut scan: Scan<'_>,
        take_over: impl Fn(&mut Self, &Stretch) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        self.unsynced.push(segment.clone());
        let new = Content { segment: segment.number, ..Content::default() };
        self.contents.entry(segment.number).or_insert(new);
        let mut batch = Batch { first: scan.at(), ..Batch::default() };
        let mut end = scan.at();
        while let Some(stretch) = scan.next()? {
            take_over(self, &stretch)?;
            end = stretch.end;
            batch = Batch { first: end, ..Batch::default() };
            if let Some(records) = stretch.frameless {
                let len: u32 = records.iter().map(|record| record.len).sum();
                batch = Batch { first: end - len, records, kills: Vec::new() };
            }
        }
        let file = self.site.segments.open(segment)?;
        if end < scan.len() && segment.number > self.durable {
            // What is behind the last record came to no end.
            file.set_len(end.into()).map_err(PackError::io("cut", &segment.path))?;
        }
        // Where more records have no frame than a frame takes, the segment is not gone on with.
        let opening = scan.opening().filter(|_| batch.records.len() <= MAX_RECORDS);
        self.tail = opening.map(|Opening { salt, .. }| {
            let segment = segment.clone();
            Tail { segment, file, salt, end, batch }
        });
        Ok(())
    }

    fn take_over(&mut self, stretch: &Stretch) -> Result<(), PackError> {
        self.note_broken(stretch);
        for found in &stretch.records {
            if let Some(before) = self.place(found)? {
                take(&mut self.contents, &before);
            }
            add(&mut self.contents, &found.place);
            self.index.apply([(found.key, Some(found.place))]);
        }
        stretch.kills.iter().try_for_each(|kill| self.kill(*kill))
    }

    /// Remembers what is damaged. A record that has moved is looked at whenever an index is made
    /// anew; that another one is damaged has to be told.
    fn note_broken(&mut self, stretch: &Stretch) {
        self.damaged += stretch.broken.len() as u64;
        let unmoved = stretch.broken.iter().filter(|(_, moved)| moved.is_none());
        self.kills.extend(unmoved.map(|(at, _)| *at));
    }

    fn place(&self, found: &Found) -> Result<Option<Place>, PackError> {
        Ok(self.index.get_many(&[found.key])?.pop().flatten())
    }

    /// A record is dead, if it is the one that is found.
    fn kill(&mut self, at: Position) -> Result<(), PackError> {
        let Some(head) = self.site.segments.head(at)? else { return Ok(()) };
        let key = *head.cid.hash();
        let place = self.index.get_many(&[key])?.pop().flatten();
        let is_it = |place: &Place| (place.segment, place.offset) == (at.segment, at.offset);
        if let Some(place) = place.filter(is_it) {
            take(&mut self.contents, &place);
            self.index.apply([(key, None)]);
        }
        Ok(())
    }

    /// Makes durable what was read, and opens the end of the newest segment.
    fn finish(mut self) -> Result<Recovered, PackError> {
        let segments = self.site.segments;
        self.remove_unborn()?;
        let newest = segments.all().last().map_or(0, |segment| segment.number);
        let tail = match self.tail.take().filter(|tail| tail.segment.number == newest) {
            Some(tail) => tail,
            None => self.begin(newest + 1)?,
        };
        for segment in &self.unsynced {
            let file = segments.open(segment)?;
            file.sync().map_err(PackError::io("sync", &segment.path))?;
        }
        let (files, root) = (self.site.files, self.site.root);
        files.sync_dir(root).map_err(PackError::io("sync", root))?;
        let mut on_disk = 0;
        for segment in segments.all() {
            let len = files.len(&segment.path);
            on_disk += len.map_err(PackError::io("read", &segment.path))?;
        }
        if self.index.checkpoint().is_unfinished() {
            let segments = self.contents.values().copied().collect();
            let (segment, offset) = (tail.segment.number, tail.batch.first);
            self.index.freeze(Checkpoint { segment, offset, segments });
            while self.index.write_frozen()? {}
        }
        let durable = tail.segment.number - 1;
        let mut log = Log::new(tail, self.contents, on_disk, durable);
        for kill in self.kills {
            log.kill(kill)?;
            log.changes += 1;
        }
        Ok(Recovered { index: self.index, log, damaged: self.damaged })
    }

    /// Removes a newest segment of which nothing reached the disk.
    fn remove_unborn(&mut self) -> Result<(), PackError> {
        let Some(newest) = self.site.segments.all().pop() else { return Ok(()) };
        let content = self.contents.get(&newest.number).copied().unwrap_or_default();
        if self.tail.is_none() && content.all == 0 && self.scan(&newest)?.opening().is_none() {
            self.contents.remove(&newest.number);
            // Its number is given to the next one.
            self.kills.retain(|at| at.segment != newest.number);
            self.unsynced.retain(|segment| segment.number != newest.number);
            self.site.segments.remove(&newest)?;
        }
        Ok(())
    }

    /// Begins a segment, when there is none or the newest cannot be gone on with.
    fn begin(&mut self, number: u32) -> Result<Tail, PackError> {
        let opening = Opening { salt: new_salt(), segment: number, durable: 0 };
        let (segment, end) = self.site.segments.create(&opening)?;
        self.unsynced.push(segment.clone());
        let content = Content { segment: number, ..Content::default() };
        self.contents.insert(number, content);
        let file = self.site.segments.open(&segment)?;
        let batch = Batch { first: end, ..Batch::default() };
        Ok(Tail { segment, file, salt: opening.salt, end, batch })
    }
}

/// Removes an index that cannot be used.
fn clear(files: &Arc<dyn Files>, folder: &Path) -> Result<(), PackError> {
    for (name, is_dir) in files.list(folder).map_err(PackError::io("list", folder))? {
        if !is_dir {
            let path = folder.join(name);
            files.remove(&path).map_err(PackError::io("remove", &path))?;
        }
    }
    Ok(())
}
