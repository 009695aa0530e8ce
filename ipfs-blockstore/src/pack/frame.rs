//! Frames: the blocks in a segment that are ours, and say what stands between them.
//!
//! The bytes are described in `DESIGN.md`.

use std::ops::Range;

use ipfs_traits::{Block, Bytes, Cid, HashTable, car, codes, varint};

use super::error::PackError;

/// What the frames of one segment begin with, and no block that is put into it does.
pub(super) type Salt = [u8; 16];

/// The version of the format of segments that is written.
pub(super) const VERSION: u64 = 1;

/// Bytes that every frame begins with: the salt, and how many bytes it has.
const START: usize = size_of::<Salt>() + 4;

/// Bytes of a frame's section before the frame itself, but for the length: its CID.
const CID: usize = 36;

/// What those CIDs begin with: CIDv1, raw, SHA-256 of 32 bytes.
const RAW: [u8; 4] = [1, codes::RAW as u8, codes::SHA2_256 as u8, 32];

/// The longest frame that is read: far more than [`MAX_RECORDS`] and [`MAX_KILLS`] take.
pub(super) const MAX: usize = 1 << 20;

/// Records after which a frame is written, even if nobody waits for it.
pub(super) const MAX_RECORDS: usize = 4096;

/// Kills after which one is.
pub(super) const MAX_KILLS: usize = 4096;

/// A record of a segment, by where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// The first frame of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) salt: Salt,
    pub(super) segment: u32,
    /// All segments up to this one were durable when it was written.
    pub(super) durable: u32,
}

/// A frame behind records: how long they are, and which records are dead from here on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where the first record begins; the last ends where the frame's section begins.
    pub(super) first: u32,
    pub(super) records: Vec<Record>,
    pub(super) kills: Vec<Position>,
}

/// What a frame says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Bytes of the section.
    pub(super) len: u32,
    /// CRC-32 of it.
    pub(super) crc: u32,
    /// The record that it takes the place of, which is dead if this one is whole.
    pub(super) moved: Option<Position>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Opening(Opening),
    Batch(Batch),
}

const OPENING: u64 = 0;
const BATCH: u64 = 1;

impl Opening {
    /// Bytes of the section, whatever it says: what follows is found even if it is damaged.
    pub(super) const SECTION: u32 = 1 + CID as u32 + START as u32 + 10;

    /// Where it ends, and what is put into the segment begins.
    pub(super) fn end() -> u32 {
        car::header(&[]).len() as u32 + Self::SECTION
    }

    pub(super) fn section(&self) -> Result<Vec<u8>, PackError> {
        section(&self.salt, |out| {
            varint::write(OPENING, out);
            varint::write(VERSION, out);
            out.extend(self.segment.to_le_bytes());
            out.extend(self.durable.to_le_bytes());
        })
    }
}

impl Batch {
    /// Where the last record ends.
    pub(super) fn end(&self) -> Option<u32> {
        self.records.iter().try_fold(self.first, |end, record| end.checked_add(record.len))
    }

    pub(super) fn section(&self, salt: &Salt) -> Result<Vec<u8>, PackError> {
        section(salt, |out| {
            varint::write(BATCH, out);
            varint::write(self.first.into(), out);
            varint::write(self.records.len() as u64, out);
            for record in &self.records {
                let moved = u64::from(record.moved.is_some());
                varint::write(u64::from(record.len) << 1 | moved, out);
                out.extend(record.crc.to_le_bytes());
                record.moved.iter().for_each(|from| from.write(out));
            }
            varint::write(self.kills.len() as u64, out);
            self.kills.iter().for_each(|kill| kill.write(out));
        })
    }
}

impl Position {
    fn write(self, out: &mut Vec<u8>) {
        varint::write(self.segment.into(), out);
        varint::write(self.offset.into(), out);
    }
}

/// The section of a frame.
fn section(salt: &Salt, body: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, PackError> {
    let mut data = salt.to_vec();
    data.extend([0; 4]);
    body(&mut data);
    let len = data.len() as u32;
    data[START - 4..START].copy_from_slice(&len.to_le_bytes());
    let block = Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard())?;
    let mut section = car::section_head(block.cid(), block.len());
    section.extend_from_slice(block.data());
    Ok(section)
}

/// Reads a frame from the bytes of its block, if they are one and hash to its CID.
pub(super) fn parse(cid: &Cid, data: &Bytes) -> Option<Frame> {
    Block::verify(*cid, data.clone(), &HashTable::standard()).ok()?;
    let salt = Salt::try_from(data.get(..16)?).ok()?;
    let mut reader = Reader(data.get(START..)?);
    let frame = match reader.number()? {
        OPENING => {
            // A later version is told apart by the file of the store.
            let _version = reader.number()?;
            let (segment, durable) = (reader.word()?, reader.word()?);
            Frame::Opening(Opening { salt, segment, durable })
        }
        BATCH => Frame::Batch(reader.batch()?),
        _ => return None,
    };
    (reader.0.is_empty() && len_of(data)? == data.len()).then_some(frame)
}

/// How long a frame says that it is.
fn len_of(data: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(data.get(START - 4..START)?.try_into().ok()?) as usize)
}

/// Where in `bytes`, from `at` on, something begins as a frame does and is as long as it says. Without
/// a salt it is whatever stands behind the CID of a raw block.
pub(super) fn find(salt: Option<&Salt>, bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
    loop {
        let rest = bytes.get(at..)?;
        let begin = match salt {
            Some(salt) => at + rest.windows(salt.len()).position(|window| window == salt)?,
            None => {
                let cid = at.saturating_sub(CID);
                let raw = bytes[cid..].windows(RAW.len()).position(|window| window == RAW)?;
                cid + raw + CID
            }
        };
        at = begin + 1;
        let room = bytes.len().checked_sub(begin)?;
        if let Some(len) = len_of(&bytes[begin..]).filter(|len| *len <= MAX.min(room)) {
            return Some(begin..begin + len);
        }
    }
}

/// Where the section of a frame begins that stands here.
pub(super) fn section_of(frame: &Range<usize>) -> Option<usize> {
    frame.start.checked_sub(CID + varint::len((CID + frame.len()) as u64))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = varint::read(self.0, "frame").ok()?;
        self.0 = rest;
        Some(number)
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position { segment: self.small()?, offset: self.small()? })
    }

    // Nothing is set aside for a count: what does not follow ends it.
    fn batch(&mut self) -> Option<Batch> {
        let mut batch = Batch { first: self.small()?, ..Batch::default() };
        for _ in 0..self.number()? {
            let len = self.number()?;
            let crc = self.word()?;
            let moved = if len & 1 == 1 { Some(self.position()?) } else { None };
            batch.records.push(Record { len: u32::try_from(len >> 1).ok()?, crc, moved });
        }
        for _ in 0..self.number()? {
            batch.kills.push(self.position()?);
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = *b"salt of 16 bytes";

    fn read(section: &[u8]) -> Option<Frame> {
        let (_, rest) = varint::read(section, "test").unwrap();
        let (cid, used) = ipfs_traits::read_cid(rest).unwrap();
        parse(&cid, &Bytes::copy_from_slice(&rest[used..]))
    }

    fn batch() -> Batch {
        let position = |offset| Position { segment: 7, offset };
        let record = |len, moved| Record { len, crc: 0xdead_beef, moved };
        let records = vec![record(100, None), record(1 << 26, Some(position(5)))];
        Batch { first: 1234, records, kills: vec![position(u32::MAX), position(0)] }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let opening = Opening { salt: SALT, segment: 9, durable: 7 };
        let section = opening.section().unwrap();
        assert_eq!(section.len() as u32, Opening::SECTION);
        assert_eq!(read(&section), Some(Frame::Opening(opening)));
        assert_eq!(read(&batch().section(&SALT).unwrap()), Some(Frame::Batch(batch())));
        let empty = Batch::default();
        assert_eq!(read(&empty.section(&SALT).unwrap()), Some(Frame::Batch(empty)));
    }

    #[test]
    fn any_change_is_seen() {
        let section = batch().section(&SALT).unwrap();
        for at in 1 + CID..section.len() {
            let mut other = section.clone();
            other[at] ^= 1;
            assert_eq!(read(&other), None);
        }
    }

    #[test]
    fn frames_are_found_among_other_bytes() {
        let section = batch().section(&SALT).unwrap();
        let before = [&SALT[..], &[0xff; 50], &SALT[..5]].concat();
        let bytes = [&before[..], &section, b"more"].concat();
        let frame = find(Some(&SALT), &bytes, 0).unwrap();
        assert_eq!(section_of(&frame), Some(before.len()));
        assert_eq!(find(None, &bytes, 0), Some(frame.clone()));
        assert_eq!(find(None, &bytes, frame.start + 1), None);
        assert_eq!(frame.end, bytes.len() - 4);
        assert_eq!(find(Some(&SALT), &bytes, frame.start + 1), None);
        assert_eq!(find(Some(&SALT), &bytes[..bytes.len() - 5], 0), None);
        assert_eq!(section_of(&(3..40)), None);
    }

    #[test]
    fn the_largest_frame_is_read() {
        let position = Position { segment: u32::MAX, offset: u32::MAX };
        let record = Record { len: u32::MAX, crc: 1, moved: Some(position) };
        let records = vec![record; MAX_RECORDS];
        let full = Batch { first: u32::MAX, records, kills: vec![position; MAX_KILLS] };
        assert!(full.section(&SALT).unwrap().len() < MAX);
    }
}
