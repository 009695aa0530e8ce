//! An index file: keys in order, each with its place, and never changed once it is written.
//!
//! The bytes are described in `DESIGN.md`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_traits::{Multihash, varint};

use super::{
    super::{error::PackError, place::Place},
    filter::Filter,
};
use crate::files::{Files, Open, OpenFile};

/// Bytes of a page, the unit of a read: 41 keys of SHA-256.
pub(super) const PAGE: usize = 2048;

/// Bytes of the checksum at the end of a page, and of the footer.
pub(super) const CHECKSUM: usize = 4;

/// Bytes that are written or read at once when a file is written or read from end to end.
pub(super) const STRIDE: usize = 128 * PAGE;

pub(super) const MAGIC: [u8; 8] = *b"pkindex1";

/// What ends the file: the length of the footer, its checksum, and the magic bytes.
const TRAILER: usize = 4 + CHECKSUM + MAGIC.len();

/// The longest footer that is read: room for a group of every hash function and length there is.
const MAX_FOOTER: usize = 1 << 20;

/// A key, and where its block lies; `None` says that it was deleted.
pub(super) type Entry = (Multihash, Option<Place>);

/// The place of a block that was deleted: no block is so long.
pub(super) const DELETED: u32 = u32::MAX;

/// A file of the index, open for lookups. The filter and the first key of each page are in memory:
/// 1.5 bytes a key.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn OpenFile>,
    pub(super) number: u32,
    /// Keys in it, those deleted too.
    pub(super) count: u64,
    pub(super) groups: Vec<Group>,
    /// Of each page, the first eight bytes of its first digest.
    pub(super) fences: Vec<u64>,
    pub(super) filter: Filter,
}

/// Keys of one hash function and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) code: u64,
    pub(super) size: u8,
    pub(super) count: u64,
    pub(super) first_page: u32,
    pub(super) pages: u32,
}

impl Group {
    pub(super) fn width(&self) -> usize {
        usize::from(self.size) + Place::ENCODED
    }

    pub(super) fn in_page(&self) -> usize {
        (PAGE - CHECKSUM) / self.width()
    }

    /// How many keys the page has that is this one of the group.
    fn keys_of(&self, page: u32) -> usize {
        let before = u64::from(page) * self.in_page() as u64;
        usize::try_from(self.count.saturating_sub(before)).unwrap_or(usize::MAX).min(self.in_page())
    }
}

/// What most keys differ in: their hash function, length, and first eight bytes. Where it differs, it
/// is in the order of the keys.
pub(super) type Rank = (u64, u8, u64);

pub(super) fn rank(key: &Multihash) -> Rank {
    (key.code(), key.size(), fence(key.digest()))
}

pub(super) fn fence(digest: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = digest.len().min(8);
    first[..len].copy_from_slice(&digest[..len]);
    u64::from_be_bytes(first)
}

impl Run {
    /// Opens a file, and reads what is kept of it in memory.
    pub(super) fn open(files: &dyn Files, path: &Path, number: u32) -> Result<Self, PackError> {
        let file = files.open(path, Open::Existing).map_err(PackError::io("open", path))?;
        let damaged = || PackError::damaged(path);
        let len = file.len().map_err(PackError::io("read", path))?;
        let read = |offset: u64, len: usize| read_exact(&*file, path, offset, len);

        let trailer_at = len.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
        let trailer = read(trailer_at, TRAILER)?;
        let word = |at: usize| {
            u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]])
        };
        if trailer[8..] != MAGIC || word(0) as usize > MAX_FOOTER {
            return Err(damaged());
        }
        let footer_at = trailer_at.checked_sub(u64::from(word(0))).ok_or_else(damaged)?;
        let footer = read(footer_at, word(0) as usize)?;
        if crc32fast::hash(&footer) != word(4) {
            return Err(damaged());
        }
        let groups = parse_footer(&footer).ok_or_else(damaged)?;

        let pages: u64 = groups.iter().map(|group| u64::from(group.pages)).sum();
        let fences_at = pages * PAGE as u64;
        let filter_at = fences_at + pages * 8;
        let memory = footer_at
            .checked_sub(fences_at)
            .filter(|_| filter_at + CHECKSUM as u64 <= footer_at)
            .ok_or_else(damaged)?;
        let memory = read(fences_at, usize::try_from(memory).map_err(|_| damaged())?)?;
        let (memory, checksum) = memory.split_at(memory.len() - CHECKSUM);
        if crc32fast::hash(memory).to_le_bytes() != checksum {
            return Err(damaged());
        }
        let (fences, filter) = memory.split_at((pages * 8) as usize);
        let fences = fences.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let filter = Filter::decode(filter).ok_or_else(damaged)?;
        let (path, fences) = (path.to_owned(), fences.collect());
        let count = groups.iter().map(|group| group.count).sum();
        Ok(Self { path, file, number, count, groups, fences, filter })
    }

    /// Whether it may say something of a key with this fingerprint.
    pub(super) fn may_hold(&self, fingerprint: u64) -> bool {
        self.filter.may_hold(fingerprint)
    }

    /// What this file says of a key: `None` when it says nothing. Keys that are asked for in order
    /// share the pages that were read last.
    pub(super) fn get(
        &self,
        key: &Multihash,
        last: &mut LastPages,
    ) -> Result<Option<Option<Place>>, PackError> {
        let is_its = |group: &&Group| (group.code, group.size) == (key.code(), key.size());
        let Some(group) = self.groups.iter().find(is_its) else { return Ok(None) };
        let digest = key.digest();
        let first = group.first_page as usize;
        let fences = &self.fences[first..first + group.pages as usize];
        // The last page whose first digest is not beyond this one. Where many digests begin with the
        // same eight bytes, the pages themselves say which that is.
        let wanted = fence(digest);
        let mut low = fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        let mut high = fences.partition_point(|fence| *fence <= wanted);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let page = self.page(group, middle, last)?;
            if page[..digest.len()] <= *digest { low = middle } else { high = middle }
        }
        let page = self.page(group, low, last)?;
        let keys = page[..group.keys_of(low as u32) * group.width()].chunks_exact(group.width());
        Ok(search(keys, digest))
    }

    fn page<'a>(
        &self,
        group: &Group,
        page: usize,
        last: &'a mut LastPages,
    ) -> Result<&'a [u8], PackError> {
        let offset = (u64::from(group.first_page) + page as u64) * PAGE as u64;
        if !last.has(self.number, offset) {
            let many = if last.is_near(self.number, offset) { AHEAD } else { 1 };
            let end = self.fences.len() as u64 * PAGE as u64;
            let len = usize::try_from(end - offset).unwrap_or(usize::MAX).min(many * PAGE);
            last.forget();
            last.bytes.resize(len, 0);
            let read = self.file.read_at(&mut last.bytes, offset);
            let read = read.map_err(PackError::io("read", &self.path))?;
            last.bytes.truncate(read / PAGE * PAGE);
            if last.bytes.is_empty() {
                return Err(PackError::damaged(&self.path));
            }
            (last.run, last.start) = (Some(self.number), offset);
        }
        last.whole(offset).ok_or_else(|| PackError::damaged(&self.path))
    }

    /// All keys, in order.
    pub(super) fn entries(self: &Arc<Self>) -> Entries {
        Entries { run: self.clone(), group: 0, page: 0, key: 0, stride: Vec::new(), stride_at: 0 }
    }
}

/// Pages that are read at once where those before were asked for too, and how far behind these they
/// may lie.
const AHEAD: usize = 8;
const NEAR: u64 = 4 * PAGE as u64;

/// The pages that were read last.
#[derive(Debug, Default)]
pub(super) struct LastPages {
    /// Of which run, and where they begin.
    run: Option<u32>,
    start: u64,
    bytes: Vec<u8>,
    /// A bit for each that is known to be whole.
    checked: u8,
}

impl LastPages {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn has(&self, run: u32, offset: u64) -> bool {
        self.run == Some(run) && (self.start..self.end()).contains(&offset)
    }

    fn is_near(&self, run: u32, offset: u64) -> bool {
        self.run == Some(run) && (self.end()..=self.end() + NEAR).contains(&offset)
    }

    fn forget(&mut self) {
        (self.run, self.checked) = (None, 0);
    }

    /// The page here, if it is whole.
    fn whole(&mut self, offset: u64) -> Option<&[u8]> {
        let at = (offset - self.start) as usize;
        let (page, bit) = (&self.bytes[at..at + PAGE], 1 << (at / PAGE));
        if self.checked & bit == 0 {
            if !is_whole(page) {
                self.run = None;
                return None;
            }
            self.checked |= bit;
        }
        Some(page)
    }
}

/// Finds a digest among the keys of a page.
fn search<'a>(
    mut keys: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    digest: &[u8],
) -> Option<Option<Place>> {
    let (mut low, mut high) = (0, keys.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match keys.clone().nth(middle)?[..digest.len()].cmp(digest) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                return place(&keys.nth(middle)?[digest.len()..]);
            }
        }
    }
    None
}

fn place(bytes: &[u8]) -> Option<Option<Place>> {
    let place = Place::decode(bytes.try_into().ok()?);
    Some((place.len != DELETED).then_some(place))
}

fn is_whole(page: &[u8]) -> bool {
    let (keys, checksum) = page.split_at(page.len() - CHECKSUM);
    crc32fast::hash(keys).to_le_bytes() == checksum
}

fn read_exact(
    file: &dyn OpenFile,
    path: &Path,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, PackError> {
    let mut bytes = vec![0; len];
    match file.read_at(&mut bytes, offset).map_err(PackError::io("read", path))? == len {
        true => Ok(bytes),
        false => Err(PackError::damaged(path)),
    }
}

fn parse_footer(footer: &[u8]) -> Option<Vec<Group>> {
    let (mut rest, mut groups, mut first_page) = (footer, Vec::<Group>::new(), 0_u32);
    while !rest.is_empty() {
        let mut next = || {
            let (number, after) = varint::read(rest, "index").ok()?;
            rest = after;
            Some(number)
        };
        let (code, size, count) = (next()?, u8::try_from(next()?).ok()?, next()?);
        let mut group = Group { code, size, count, first_page, pages: 0 };
        if usize::from(size) > ipfs_traits::limits::MAX_DIGEST || count == 0 {
            return None;
        }
        if groups.last().is_some_and(|last| (last.code, last.size) >= (code, size)) {
            return None;
        }
        group.pages = u32::try_from(count.div_ceil(group.in_page() as u64)).ok()?;
        first_page = first_page.checked_add(group.pages)?;
        groups.push(group);
    }
    Some(groups)
}

/// The keys of a run, in order.
#[derive(Debug)]
pub(super) struct Entries {
    run: Arc<Run>,
    group: usize,
    page: u32,
    key: usize,
    stride: Vec<u8>,
    stride_at: u64,
}

impl Entries {
    /// The next key, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackError> {
        let run = self.run.clone();
        loop {
            let Some(group) = run.groups.get(self.group) else { return Ok(None) };
            if self.key < group.keys_of(self.page) {
                let at = self.key * group.width();
                let page = self.load(u64::from(group.first_page + self.page))?;
                let entry = &page[at..at + group.width()];
                let (digest, rest) = entry.split_at(usize::from(group.size));
                let key = Multihash::wrap(group.code, digest).ok();
                let Some((key, place)) = key.zip(place(rest)) else {
                    return Err(PackError::damaged(&run.path));
                };
                self.key += 1;
                return Ok(Some((key, place)));
            }
            (self.page, self.key) = (self.page + 1, 0);
            if self.page >= group.pages {
                (self.group, self.page) = (self.group + 1, 0);
            }
        }
    }

    /// A page, from among those that were read at once.
    fn load(&mut self, page: u64) -> Result<&[u8], PackError> {
        let offset = page * PAGE as u64;
        if offset < self.stride_at || offset >= self.stride_at + self.stride.len() as u64 {
            let end = self.run.fences.len() as u64 * PAGE as u64;
            let len = usize::try_from(end - offset).unwrap_or(STRIDE).min(STRIDE);
            self.stride = read_exact(&*self.run.file, &self.run.path, offset, len)?;
            self.stride_at = offset;
            if !self.stride.chunks(PAGE).all(is_whole) {
                return Err(PackError::damaged(&self.run.path));
            }
        }
        Ok(&self.stride[(offset - self.stride_at) as usize..][..PAGE])
    }
}

/// Removes a file that is no longer, or not yet, part of the index.
pub(super) fn remove(files: &dyn Files, path: &Path) -> Result<(), PackError> {
    match files.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(PackError::io("remove", path)),
    }
}
