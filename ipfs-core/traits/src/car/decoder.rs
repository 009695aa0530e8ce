//! Reading a CARv1 from pieces of any size.

use bytes::{Buf, Bytes, BytesMut};

use super::{Header, MAX_HEADER, max_section};
use crate::{Cid, Error, Result, limits, read_cid, varint};

const WHAT: &str = "CAR";

/// Reads a CARv1 from the pieces that it is fed, a header and then sections.
///
/// The blocks are not verified: give them to [`Block::verify`](crate::Block::verify), many at once.
/// A section that lies whole within one piece shares the piece's memory. What is held is at most
/// one section and the pieces pushed since: take all with [`next`](Self::next) before the next
/// [`push`](Self::push).
#[derive(Debug)]
pub struct Decoder {
    pieces: Pieces,
    max_block: usize,
    header: bool,
    failed: bool,
    /// Bytes taken so far: where the next item begins.
    offset: u64,
}

/// What a [`Decoder`] reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The header, first and once.
    Header(Header),
    /// A section.
    Section(Section),
}

/// One block of an archive, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The CID that it is said to have.
    pub cid: Cid,
    /// Its bytes.
    pub data: Bytes,
    /// Where in the archive the section begins, in bytes: at its length.
    pub offset: u64,
}

impl Decoder {
    /// A decoder that takes blocks of up to [`limits::MAX_BLOCK`] bytes.
    pub fn new() -> Self {
        Self::with_max_block(limits::MAX_BLOCK)
    }

    /// A decoder that takes blocks of up to this many bytes.
    pub fn with_max_block(max_block: usize) -> Self {
        let pieces = Pieces::default();
        Self { pieces, max_block, header: false, failed: false, offset: 0 }
    }

    /// Feeds the next piece of the archive.
    pub fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }

    /// The next item, or `None` when more has to be pushed first.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] and [`Error::Limit`]; every later call then gives an error too.
    #[allow(clippy::should_implement_trait, reason = "an iterator's `None` would be its end")]
    pub fn next(&mut self) -> Result<Option<Item>> {
        if self.failed {
            return Err(Error::malformed(WHAT, "it went wrong before"));
        }
        let item = self.read();
        self.failed = item.is_err();
        item
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when a section or the header is cut off: such an archive never looks
    /// like a whole one.
    pub fn finish(&self) -> Result<()> {
        if !self.failed && self.header && self.pieces.len == 0 {
            return Ok(());
        }
        Err(Error::malformed(WHAT, "it is cut off"))
    }

    fn read(&mut self) -> Result<Option<Item>> {
        let Some((len, head)) = self.pieces.peek_varint()? else {
            return Ok(None);
        };
        let len = self.check_len(len)?;
        let offset = self.offset;
        let Some(body) = self.pieces.take(head, len) else {
            return Ok(None);
        };
        self.offset += (head + len) as u64;
        if !self.header {
            self.header = true;
            return Header::parse(&body).map(|header| Some(Item::Header(header)));
        }
        let (cid, used) = read_cid(&body)?;
        let data = body.slice(used..);
        if data.len() > self.max_block {
            return Err(Error::limit("bytes of a block", self.max_block, data.len()));
        }
        Ok(Some(Item::Section(Section { cid, data, offset })))
    }

    /// The length of the next item, if it may be so long.
    fn check_len(&self, len: u64) -> Result<usize> {
        let (what, limit) = match self.header {
            false => ("bytes of a CAR header", MAX_HEADER),
            true => ("bytes of a CAR section", max_section(self.max_block)),
        };
        match usize::try_from(len) {
            Ok(0) => Err(Error::malformed(WHAT, "a section has no CID")),
            Ok(len) if len <= limit => Ok(len),
            _ => Err(Error::Limit { what, limit: limit as u64, actual: len }),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes that arrived in pieces, given out in runs.
#[derive(Debug, Default)]
struct Pieces {
    pieces: std::collections::VecDeque<Bytes>,
    len: usize,
}

/// Pieces below this are copied together: each kept apart takes some 50 bytes more than it holds,
/// and a stranger may send them one byte at a time.
const SMALL: usize = 1 << 10;

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        match self.pieces.pop_back() {
            Some(last) if last.len() < SMALL && piece.len() < SMALL => {
                let mut both = last.try_into_mut().unwrap_or_else(|last| BytesMut::from(&last[..]));
                both.extend_from_slice(&piece);
                self.pieces.push_back(both.freeze());
            }
            last => self.pieces.extend(last.into_iter().chain([piece])),
        }
    }

    /// The varint at the front and how many bytes it takes, without taking it.
    fn peek_varint(&self) -> Result<Option<(u64, usize)>> {
        let mut head = [0; varint::MAX_LEN];
        let mut filled = 0;
        for byte in self.pieces.iter().flatten().take(head.len()) {
            head[filled] = *byte;
            filled += 1;
        }
        let found = varint::read_partial(&head[..filled], WHAT)?;
        Ok(found.map(|(value, rest)| (value, filled - rest.len())))
    }

    /// Takes away `skip` bytes and then `len` more, which it gives; `None` if there are not so many.
    fn take(&mut self, skip: usize, len: usize) -> Option<Bytes> {
        if self.len < skip + len {
            return None;
        }
        self.len -= skip + len;
        self.drop_front(skip);
        let front = self.pieces.front_mut()?;
        if front.len() >= len {
            let run = front.split_to(len);
            self.drop_front(0);
            return Some(run);
        }
        let mut run = BytesMut::with_capacity(len);
        while run.len() < len {
            let front = self.pieces.front_mut()?;
            let part = front.len().min(len - run.len());
            run.extend_from_slice(&front[..part]);
            self.drop_front(part);
        }
        Some(run.freeze())
    }

    fn drop_front(&mut self, mut count: usize) {
        while let Some(front) = self.pieces.front_mut() {
            let part = front.len().min(count);
            front.advance(part);
            count -= part;
            if !front.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, HashTable, car, codes};

    fn archive(blocks: &[Block]) -> Vec<u8> {
        let mut file = car::header(&[]);
        for block in blocks {
            let before = file.len();
            file.extend(car::section_head(block.cid(), block.len()));
            file.extend(block.data());
            assert_eq!(file.len() - before, car::section_len(block.cid(), block.len()));
        }
        file
    }

    fn blocks() -> Vec<Block> {
        let hashes = HashTable::standard();
        [0, 1, 127, 128, 5000]
            .map(|len| Block::of(codes::RAW, codes::SHA2_256, vec![7; len], &hashes).unwrap())
            .to_vec()
    }

    fn sections(decoder: &mut Decoder) -> Vec<Section> {
        let mut found = Vec::new();
        while let Some(item) = decoder.next().unwrap() {
            if let Item::Section(section) = item {
                found.push(section);
            }
        }
        found
    }

    #[test]
    fn the_same_whatever_the_pieces() {
        let blocks = blocks();
        let file = archive(&blocks);
        for size in [1, 2, 3, 64, 1000, file.len()] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for piece in file.chunks(size) {
                decoder.push(Bytes::copy_from_slice(piece));
                found.extend(sections(&mut decoder));
            }
            decoder.finish().unwrap();
            assert_eq!(found.len(), blocks.len());
            for (section, block) in found.iter().zip(&blocks) {
                assert_eq!((&section.cid, &section.data), (block.cid(), block.data()));
                let head = car::section_head(block.cid(), block.len());
                assert!(file[section.offset as usize..].starts_with(&head));
            }
        }
    }

    #[test]
    fn cut_off_is_never_a_clean_end() {
        let blocks = blocks();
        let file = archive(&blocks);
        let mut ends = vec![car::header(&[]).len()];
        for block in &blocks {
            ends.push(ends[ends.len() - 1] + car::section_len(block.cid(), block.len()));
        }
        for cut in 0..file.len() {
            let mut decoder = Decoder::new();
            decoder.push(Bytes::copy_from_slice(&file[..cut]));
            sections(&mut decoder);
            assert_eq!(decoder.finish().is_ok(), ends.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_held() {
        let mut head = car::header(&[]);
        varint::write((limits::MAX_BLOCK + limits::MAX_CID + 1) as u64, &mut head);
        let mut decoder = Decoder::new();
        decoder.push(head.into());
        assert!(matches!(decoder.next(), Ok(Some(Item::Header(_)))));
        assert!(matches!(decoder.next(), Err(Error::Limit { .. })));
        assert!(decoder.next().is_err() && decoder.finish().is_err());

        let mut decoder = Decoder::new();
        decoder.push(Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f]));
        assert!(matches!(decoder.next(), Err(Error::Limit { .. })));

        let mut decoder = Decoder::with_max_block(4);
        decoder.push(archive(&blocks()).into());
        let mut next = || decoder.next();
        assert!(next().is_ok() && next().is_ok() && next().is_ok());
        assert!(matches!(next(), Err(Error::Limit { limit: 4, actual: 127, .. })));
    }

    #[test]
    fn a_section_without_a_cid_is_refused() {
        for body in [&[0][..], &[1, 0x55], &[2, 0x55, 0x12]] {
            let mut file = car::header(&[]);
            file.extend(body);
            let mut decoder = Decoder::new();
            decoder.push(file.into());
            assert!(decoder.next().is_ok());
            assert!(matches!(decoder.next(), Err(Error::Malformed { .. })));
        }
    }
}
