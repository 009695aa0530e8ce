//! Looking for multihashes in an index, wherever it is.

use ipfs_traits::{Bytes, Error, Multihash, Result};

use super::{
    OFFSET,
    parse::{Group, Place, WHAT, groups},
};

/// Entries that are read at once: some 5 kB of them.
const PAGE: u64 = 128;

/// Entries that are read at once from end to end.
const STRIDE: u64 = 32 * PAGE;

/// Sections of one digest that are looked at: a block may be there several times, and the same
/// digest of another hash function too.
const MOST: usize = 16;

/// A place among the entries: a group, and an entry of it.
pub(in crate::car) type Position = (usize, u64);

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::car) struct Entry {
    /// The hash function, where the index says it.
    pub(in crate::car) code: Option<u64>,
    pub(in crate::car) digest: Bytes,
    pub(in crate::car) offset: u64,
}

/// An index whose entries are known to be in order. In memory are eight bytes for each 128 entries.
#[derive(Debug)]
pub(in crate::car) struct Index {
    place: Place,
    groups: Vec<Searched>,
}

#[derive(Debug)]
struct Searched {
    group: Group,
    /// The beginning of the first digest of each page.
    fences: Vec<u64>,
}

impl Index {
    /// Reads an index from end to end.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for what is no index, or not in order; [`Error::Unsupported`] for a form
    /// that is not known; [`Error::Limit`].
    pub(in crate::car) fn open(place: Place) -> Result<Self> {
        let groups = groups(&place)?.into_iter().map(|group| Searched::check(&place, group));
        let groups = groups.collect::<Result<_>>()?;
        Ok(Self { place, groups })
    }

    /// Where sections of this multihash may begin, at most 16 of them.
    pub(in crate::car) fn find(&self, hash: &Multihash) -> Result<Vec<u64>> {
        let width = hash.digest().len() + OFFSET;
        let fits = |group: &&Searched| {
            group.group.width == width && group.group.code.is_none_or(|code| code == hash.code())
        };
        let mut found = Vec::new();
        for group in self.groups.iter().filter(fits) {
            group.find(&self.place, hash.digest(), &mut found)?;
        }
        found.truncate(MOST);
        Ok(found)
    }

    /// Entries in a group from one on, a page of them, and where to go on; `None` at the end.
    ///
    /// The first position is 0 and 0.
    pub(in crate::car) fn page(
        &self,
        (mut group, entry): Position,
    ) -> Result<Option<(Vec<Entry>, Position)>> {
        let mut from = entry;
        while let Some(Searched { group: now, .. }) = self.groups.get(group) {
            let many = PAGE.min(now.count.saturating_sub(from));
            if many > 0 {
                let bytes = now.read(&self.place, from, many)?;
                let entries = (0..many as usize).map(|i| {
                    let entry = bytes.slice(i * now.width..(i + 1) * now.width);
                    let (digest, offset) = (entry.slice(..now.width - OFFSET), offset_of(&entry));
                    Entry { code: now.code, digest, offset }
                });
                return Ok(Some((entries.collect(), (group, from + many))));
            }
            (group, from) = (group + 1, 0);
        }
        Ok(None)
    }
}

impl Group {
    fn read(&self, place: &Place, from: u64, many: u64) -> Result<Bytes> {
        place.read(self.at + from * self.width as u64, many as usize * self.width)
    }
}

impl Searched {
    /// Sees that a group is in order, and notes how its pages begin.
    fn check(place: &Place, group: Group) -> Result<Self> {
        let (mut fences, mut last) = (Vec::new(), Vec::new());
        for from in (0..group.count).step_by(STRIDE as usize) {
            let bytes = group.read(place, from, STRIDE.min(group.count - from))?;
            for (i, entry) in bytes.chunks_exact(group.width).enumerate() {
                let digest = digest_of(entry);
                if digest < &last[..] {
                    return Err(Error::malformed(WHAT, "its entries are not in order"));
                }
                if (i as u64).is_multiple_of(PAGE) {
                    fences.push(fence(digest));
                }
                last.clear();
                last.extend_from_slice(digest);
            }
        }
        Ok(Self { group, fences })
    }

    fn find(&self, place: &Place, digest: &[u8], found: &mut Vec<u64>) -> Result<()> {
        let fence = fence(digest);
        let page = self.fences.partition_point(|first| *first < fence).saturating_sub(1) as u64;
        let last = self.fences.partition_point(|first| *first <= fence) as u64;
        // Where many digests begin alike, as those of strangers may, half of them at a time.
        let (mut low, mut high) = (page * PAGE, (last * PAGE).min(self.group.count));
        while high - low > PAGE {
            let middle = low + (high - low) / 2;
            let entry = self.group.read(place, middle, 1)?;
            match digest_of(&entry) < digest {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        // From the first that is not less on, as many as there may be.
        let many = (high - low + MOST as u64).min(self.group.count - low);
        let bytes = self.group.read(place, low, many)?;
        let equal = bytes.chunks_exact(self.group.width).filter(|entry| digest_of(entry) == digest);
        found.extend(equal.map(offset_of));
        Ok(())
    }
}

fn digest_of(entry: &[u8]) -> &[u8] {
    &entry[..entry.len() - OFFSET]
}

fn offset_of(entry: &[u8]) -> u64 {
    let mut offset = [0; OFFSET];
    offset.copy_from_slice(&entry[entry.len() - OFFSET..]);
    u64::from_le_bytes(offset)
}

/// The beginning of a digest, as a number in the same order.
fn fence(digest: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = digest.len().min(8);
    first[..len].copy_from_slice(&digest[..len]);
    u64::from_be_bytes(first)
}
