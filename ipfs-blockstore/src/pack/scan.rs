//! Reading a segment from a frame to the next: what is in it, whatever has become of it.

use std::{path::PathBuf, sync::Arc};

use ipfs_traits::{Block, Bytes, HashTable, Multihash, car, work::give_way};

use super::{
    error::PackError,
    frame::{self, Batch, Frame, Opening, Position, Salt},
    place::Place,
};
use crate::{
    files::OpenFile,
    section::{Head, MAX_HEAD},
};

/// Bytes that are read at once, so that many small records are one read.
const WINDOW: usize = 32 << 10;

/// Bytes among which a frame is searched at once.
const SEARCH: usize = 4 * frame::MAX;

/// Reads a segment.
pub(super) struct Scan<'a> {
    segment: u32,
    window: Window,
    hashes: &'a HashTable,
    len: u32,
    opening: Option<Opening>,
    at: u32,
    check: bool,
}

/// A frame that was searched for: where its section begins and ends.
struct Searched {
    salt: Salt,
    batch: Batch,
    begin: u32,
    end: u32,
}

/// A record that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Multihash,
    pub(super) place: Place,
    pub(super) moved: Option<Position>,
}

/// What lies before a frame, and what the frame says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) records: Vec<Found>,
    pub(super) kills: Vec<Position>,
    /// Records that are damaged, and which each was to take the place of.
    pub(super) broken: Vec<(Position, Option<Position>)>,
    /// Where it ends: what is behind it is the next one, or nothing.
    pub(super) end: u32,
    /// What a frame would say of the records, when there is none: nobody knows whether they were
    /// meant to stay.
    pub(super) frameless: Option<Vec<frame::Record>>,
}

impl<'a> Scan<'a> {
    /// A reader of a segment from its beginning.
    pub(super) fn new(
        segment: u32,
        path: PathBuf,
        file: Arc<dyn OpenFile>,
        hashes: &'a HashTable,
    ) -> Result<Self, PackError> {
        let len = file.len().map_err(PackError::io("read", &path))?;
        let len = u32::try_from(len).map_err(|_| PackError::damaged(&path))?;
        let window = Window { path, file, start: 0, bytes: Vec::new() };
        let (header, at) = (car::header(&[]).len() as u32, Opening::end());
        let mut scan = Self { segment, window, hashes, len, opening: None, at, check: true };
        if let Some((Frame::Opening(opening), _)) = scan.frame_at(header)?
            && opening.segment == segment
        {
            scan.opening = Some(opening);
        } else {
            scan.opening = scan.learn()?;
        }
        Ok(scan)
    }

    /// The same from a place where a stretch begins.
    pub(super) const fn from(mut self, at: u32) -> Self {
        self.at = at;
        self
    }

    /// Believes what frames say of records, and does not read these, but for those that have moved.
    pub(super) const fn without_check(mut self) -> Self {
        self.check = false;
        self
    }

    /// Where the segment ends.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// How the segment begins, if that can be read.
    pub(super) const fn opening(&self) -> Option<Opening> {
        self.opening
    }

    /// Where the next stretch begins.
    pub(super) const fn at(&self) -> u32 {
        self.at
    }

    /// The next stretch, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Stretch>, PackError> {
        if self.at >= self.len {
            return Ok(None);
        }
        let (heads, behind) = self.walk()?;
        let salt = self.opening.map(|opening| opening.salt);
        let frame = match salt {
            Some(salt) => match self.batch_at(behind)? {
                // The frame that ends what was walked over.
                Some((batch, end)) if batch.first == self.at => Some((batch, behind, end)),
                _ => self.search(Some(&salt))?.map(|found| (found.batch, found.begin, found.end)),
            },
            None => None,
        };
        let mut stretch = Stretch::default();
        match frame {
            Some((batch, section, end)) => {
                // What lies before it belongs to a frame that is lost.
                let before = heads.iter().take_while(|(at, _)| *at < batch.first);
                self.judge(before.copied().collect(), &mut stretch)?;
                self.believe(&batch, section, &heads, &mut stretch)?;
                (stretch.kills, stretch.end) = (batch.kills, end);
            }
            None => {
                let records = self.judge(heads, &mut stretch)?;
                (stretch.frameless, stretch.end) = (Some(records), behind);
                self.at = self.len;
                return Ok(Some(stretch));
            }
        }
        self.at = stretch.end;
        Ok(Some(stretch))
    }

    /// The sections from here on, up to a frame or to what cannot be a section, and where that is.
    fn walk(&mut self) -> Result<(Vec<(u32, Head)>, u32), PackError> {
        let (mut heads, mut at) = (Vec::new(), self.at);
        let salt = self.opening.map(|opening| opening.salt);
        while at < self.len {
            let bytes = self.window.get(at, MAX_HEAD + size_of::<Salt>())?;
            let Some(head) = Head::parse(bytes) else { break };
            let is_frame = salt.is_some_and(|salt| bytes[head.head..].starts_with(&salt));
            if is_frame || head.section() as u64 > u64::from(self.len - at) {
                break;
            }
            heads.push((at, head));
            at += head.section() as u32;
        }
        Ok((heads, at))
    }

    /// The frame whose section begins here, and where it ends.
    fn frame_at(&mut self, at: u32) -> Result<Option<(Frame, u32)>, PackError> {
        let Some(head) = Head::parse(self.window.get(at, MAX_HEAD)?) else { return Ok(None) };
        if head.len > frame::MAX {
            return Ok(None);
        }
        let section = self.window.get(at, head.section())?;
        if section.len() != head.section() {
            return Ok(None);
        }
        let frame = frame::parse(&head.cid, &Bytes::copy_from_slice(&section[head.head..]));
        Ok(frame.map(|frame| (frame, at + head.section() as u32)))
    }

    fn batch_at(&mut self, at: u32) -> Result<Option<(Batch, u32)>, PackError> {
        match self.frame_at(at)? {
            Some((Frame::Batch(batch), end)) => Ok(Some((batch, end))),
            _ => Ok(None),
        }
    }

    /// How frames begin here, from the first that is whole, where the opening one is damaged. One
    /// that is part of a block would have to know where in the segment it lies.
    fn learn(&mut self) -> Result<Option<Opening>, PackError> {
        let Some(found) = self.search(None)? else { return Ok(None) };
        Ok(Some(Opening { salt: found.salt, segment: self.segment, durable: 0 }))
    }

    /// The next frame that is whole, wherever it is.
    fn search(&mut self, salt: Option<&Salt>) -> Result<Option<Searched>, PackError> {
        let mut from = self.at;
        while from < self.len {
            let bytes = self.window.get(from, SEARCH)?.to_vec();
            let mut at = 0;
            while let Some(found) = frame::find(salt, &bytes, at) {
                at = found.start + 1;
                let Some(section) = frame::section_of(&found) else { continue };
                let begin = from + section as u32;
                if let Some((batch, end)) = self.batch_at(begin)?
                    && batch.first >= self.at
                    && batch.end() == Some(begin)
                    && let Some(salt) = bytes[found].first_chunk()
                {
                    return Ok(Some(Searched { salt: *salt, batch, begin, end }));
                }
            }
            // A frame that is cut off here is whole in the next window.
            from = from.saturating_add((SEARCH - frame::MAX) as u32);
        }
        Ok(None)
    }

    /// Takes over the records that a frame tells of.
    fn believe(
        &mut self,
        batch: &Batch,
        section: u32,
        heads: &[(u32, Head)],
        stretch: &mut Stretch,
    ) -> Result<(), PackError> {
        let mut at = batch.first;
        for record in &batch.records {
            let Some(next) = at.checked_add(record.len).filter(|next| *next <= section) else {
                break;
            };
            let known = heads.binary_search_by_key(&at, |(at, _)| *at).ok().map(|i| heads[i].1);
            let head = match known {
                Some(head) => Some(head),
                None => Head::parse(self.window.get(at, MAX_HEAD)?),
            };
            let head = head.filter(|head| head.section() == record.len as usize);
            let check = self.check || record.moved.is_some();
            let whole = !check || self.checksum(at, record.len)? == Some(record.crc);
            match head.filter(|_| whole) {
                Some(head) => {
                    let place = self.place(at, &head, record.crc);
                    let (key, moved) = (*head.cid.hash(), record.moved);
                    stretch.records.push(Found { key, place, moved });
                }
                None => stretch.broken.push((self.position(at), record.moved)),
            }
            at = next;
        }
        Ok(())
    }

    /// Takes over the records of which no frame tells, if they hash to their CIDs; gives what a
    /// frame would say of all of them.
    fn judge(
        &mut self,
        heads: Vec<(u32, Head)>,
        stretch: &mut Stretch,
    ) -> Result<Vec<frame::Record>, PackError> {
        let mut records = Vec::new();
        for (at, head) in heads {
            let len = head.section() as u32;
            let section = self.window.get(at, head.section())?;
            let (crc, data) = (crc32fast::hash(section), section.get(head.head..));
            let data = Bytes::copy_from_slice(data.unwrap_or_default());
            let whole = Block::verify(head.cid, data, self.hashes).is_ok();
            if whole {
                let place = self.place(at, &head, crc);
                stretch.records.push(Found { key: *head.cid.hash(), place, moved: None });
            } else {
                stretch.broken.push((self.position(at), None));
            }
            // One that is damaged must never look whole.
            let crc = if whole { crc } else { !crc };
            records.push(frame::Record { len, crc, moved: None });
        }
        Ok(records)
    }

    fn checksum(&mut self, at: u32, len: u32) -> Result<Option<u32>, PackError> {
        let section = self.window.get(at, len as usize)?;
        Ok((section.len() == len as usize).then(|| crc32fast::hash(section)))
    }

    const fn position(&self, offset: u32) -> Position {
        Position { segment: self.segment, offset }
    }

    fn place(&self, offset: u32, head: &Head, crc: u32) -> Place {
        let (segment, len) = (self.segment, head.len as u32);
        Place { segment, offset, head: head.head as u8, len, crc }
    }
}

/// A part of a file that was read at once.
struct Window {
    path: PathBuf,
    file: Arc<dyn OpenFile>,
    start: u32,
    bytes: Vec<u8>,
}

impl Window {
    /// Bytes of the file, fewer only at its end.
    fn get(&mut self, at: u32, len: usize) -> Result<&[u8], PackError> {
        let inside = at.checked_sub(self.start).map(|from| from as usize);
        if let Some(from) = inside.filter(|from| from + len <= self.bytes.len()) {
            return Ok(&self.bytes[from..from + len]);
        }
        give_way();
        self.bytes.resize(len.max(WINDOW), 0);
        let read = self.file.read_at(&mut self.bytes, at.into());
        let read = read.map_err(PackError::io("read", &self.path))?;
        self.bytes.truncate(read);
        self.start = at;
        Ok(&self.bytes[..len.min(read)])
    }
}
