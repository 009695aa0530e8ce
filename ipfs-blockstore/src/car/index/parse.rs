//! Reading the heads of an index.

use std::sync::Arc;

use ipfs_traits::{Bytes, Error, Result, limits, varint};

use super::{IndexKind, OFFSET};
use crate::{car::file_error, files::OpenFile};

/// What errors of an index name.
pub(super) const WHAT: &str = "CAR index";

/// The most groups that are read: there are hardly so many hash functions and lengths.
const MAX_GROUPS: usize = 1 << 10;

/// Where the bytes of an index are.
#[derive(Clone, Debug)]
pub(in crate::car) enum Place {
    Memory(Bytes),
    /// In a file, from a place on to another.
    File {
        file: Arc<dyn OpenFile>,
        path: Arc<std::path::Path>,
        from: u64,
        to: u64,
    },
}

impl Place {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { from, to, .. } => to.saturating_sub(*from),
        }
    }

    /// So many bytes; fewer are an error.
    pub(super) fn read(&self, at: u64, len: usize) -> Result<Bytes> {
        match at.checked_add(len as u64) {
            Some(end) if end <= self.len() => {}
            _ => return Err(Error::malformed(WHAT, "it is cut off")),
        }
        match self {
            // Within the length of bytes that are in memory.
            Self::Memory(bytes) => Ok(bytes.slice(at as usize..at as usize + len)),
            Self::File { file, path, from, .. } => {
                let mut bytes = vec![0; len];
                let read = file.read_at(&mut bytes, from + at).map_err(file_error("read", path))?;
                match read == len {
                    true => Ok(bytes.into()),
                    false => Err(Error::malformed(WHAT, "it is cut off")),
                }
            }
        }
    }
}

/// Entries of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The hash function, where the form of the index says it.
    pub(super) code: Option<u64>,
    /// Bytes of an entry.
    pub(super) width: usize,
    pub(super) count: u64,
    /// Where the first entry is.
    pub(super) at: u64,
}

/// The groups of an index, their entries unread.
///
/// Nothing is set aside for a count: what does not follow ends it.
pub(super) fn groups(place: &Place) -> Result<Vec<Group>> {
    let mut heads = Heads { place, at: 0, groups: Vec::new() };
    let code = heads.varint()?;
    match IndexKind::of(code) {
        Some(IndexKind::Sorted) => heads.widths(None)?,
        Some(IndexKind::MultihashSorted) => {
            for _ in 0..heads.word()? {
                let code = heads.long()?;
                heads.widths(Some(code))?;
            }
        }
        None => return Err(Error::unsupported(format!("a CAR index of the form 0x{code:x}"))),
    }
    Ok(heads.groups)
}

struct Heads<'a> {
    place: &'a Place,
    at: u64,
    groups: Vec<Group>,
}

impl Heads<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut taken = [0; N];
        taken.copy_from_slice(&self.place.read(self.at, N)?);
        self.at += N as u64;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn long(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn varint(&mut self) -> Result<u64> {
        let most = self.place.len().min(varint::MAX_LEN as u64) as usize;
        let bytes = self.place.read(self.at, most)?;
        let (number, rest) = varint::read(&bytes, WHAT)?;
        self.at += (bytes.len() - rest.len()) as u64;
        Ok(number)
    }

    fn widths(&mut self, code: Option<u64>) -> Result<()> {
        for _ in 0..self.word()? {
            if self.groups.len() >= MAX_GROUPS {
                return Err(Error::limit(
                    "groups of a CAR index",
                    MAX_GROUPS,
                    self.groups.len() + 1,
                ));
            }
            let (width, bytes) = (self.word()? as usize, self.long()?);
            let group = self.group(code, width, bytes)?;
            self.groups.push(group);
        }
        Ok(())
    }

    fn group(&mut self, code: Option<u64>, width: usize, bytes: u64) -> Result<Group> {
        // Kubo's digests may be longer than ours: such entries are there, and never asked for.
        if !(OFFSET..=OFFSET + limits::MAX_CID).contains(&width) {
            return Err(Error::malformed(WHAT, "its entries have no width that they could have"));
        }
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.place.len());
        let end = end.ok_or_else(|| Error::malformed(WHAT, "it is cut off"))?;
        if !bytes.is_multiple_of(width as u64) {
            return Err(Error::malformed(WHAT, "its entries are not whole"));
        }
        let group = Group { code, width, count: bytes / width as u64, at: self.at };
        self.at = end;
        Ok(group)
    }
}
