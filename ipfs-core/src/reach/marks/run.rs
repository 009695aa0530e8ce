//! Entries in a sorted file.

use std::{cmp::Reverse, collections::BinaryHeap};

use ipfs_traits::{Result, work::giving_way};

use crate::reach::scratch::{ScratchFile, Writer};

/// Sorted entries in a file, of 16 bytes each, with a filter and the beginning of each page in
/// memory.
#[derive(Debug)]
pub(super) struct Run {
    file: ScratchFile,
    len: u64,
    /// The upper half of the first entry of each page.
    pages: Vec<u64>,
    filter: Filter,
}

const ENTRY: usize = 16;

/// Entries of a page: 4 KiB, what a disk reads at least.
const PAGE: usize = 256;

impl Run {
    /// Writes entries, which come ascending; at most `room` of them.
    pub(super) fn write(
        file: ScratchFile,
        room: usize,
        entries: impl Iterator<Item = Result<u128>>,
    ) -> Result<Self> {
        let (mut pages, mut filter) = (Vec::new(), Filter::new(room));
        let (mut writer, mut len) = (Writer::new(&file), 0);
        for entry in giving_way(entries) {
            let entry = entry?;
            if len % PAGE == 0 {
                pages.push((entry >> 64) as u64);
            }
            len += 1;
            filter.insert(entry);
            writer.write(&entry.to_le_bytes())?;
        }
        writer.finish()?;
        Ok(Self { file, len: len as u64, pages, filter })
    }

    /// Writes all entries of some runs, which have none in common.
    pub(super) fn merge(file: ScratchFile, runs: &[Self]) -> Result<Self> {
        let room = runs.iter().map(|run| run.len as usize).sum();
        let mut sources: Vec<_> = runs.iter().map(Self::entries).collect();
        let mut next = BinaryHeap::new();
        for (source, entries) in sources.iter_mut().enumerate() {
            if let Some(entry) = entries.next() {
                next.push(Reverse((entry?, source)));
            }
        }
        let merged = std::iter::from_fn(|| {
            let Reverse((entry, source)) = next.pop()?;
            match sources[source].next() {
                Some(Ok(following)) => next.push(Reverse((following, source))),
                Some(Err(error)) => return Some(Err(error)),
                None => {}
            }
            Some(Ok(entry))
        });
        Self::write(file, room, merged)
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Whether an entry is there, or one of another class. The page that was read last is kept for
    /// the next one.
    pub(super) fn contains(
        &self,
        entry: u128,
        any_class: bool,
        last: &mut Option<(usize, Vec<u128>)>,
    ) -> Result<bool> {
        if !self.filter.contains(entry) {
            return Ok(false);
        }
        let high = (entry >> 64) as u64;
        // Those of one upper half may begin on the page before.
        let first = self.pages.partition_point(|page| *page < high).saturating_sub(1);
        let ignored = if any_class { 8 } else { 0 };
        for page in (first..self.pages.len()).take_while(|page| self.pages[*page] <= high) {
            let entries = match last {
                Some((number, entries)) if *number == page => entries,
                _ => &mut last.insert((page, self.page(page)?)).1,
            };
            let place = entries.partition_point(|found| found >> ignored < entry >> ignored);
            if entries.get(place).is_some_and(|found| found >> ignored == entry >> ignored) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn page(&self, page: usize) -> Result<Vec<u128>> {
        let begin = page * PAGE;
        let count = (self.len as usize - begin).min(PAGE);
        let mut bytes = vec![0; count * ENTRY];
        self.file.read_at(&mut bytes, (begin * ENTRY) as u64)?;
        let entries = bytes.as_chunks::<ENTRY>().0.iter();
        Ok(entries.map(|entry| u128::from_le_bytes(*entry)).collect())
    }

    fn entries(&self) -> impl Iterator<Item = Result<u128>> {
        (0..self.pages.len()).flat_map(|page| match self.page(page) {
            Ok(entries) => entries.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }
}

/// Says of most entries that are not there that they are not: 10 bits for each.
#[derive(Debug)]
struct Filter(Vec<u64>);

const BITS: usize = 10;
const MARKS: u64 = 6;

impl Filter {
    fn new(entries: usize) -> Self {
        Self(vec![0; (entries * BITS).div_ceil(64).max(1)])
    }

    fn insert(&mut self, entry: u128) {
        for (word, bit) in self.places(entry) {
            self.0[word] |= bit;
        }
    }

    fn contains(&self, entry: u128) -> bool {
        self.places(entry).all(|(word, bit)| self.0[word] & bit != 0)
    }

    /// By what is above the class, so that those of all classes have the same places.
    fn places(&self, entry: u128) -> impl Iterator<Item = (usize, u64)> + use<> {
        let words = self.0.len() as u128;
        let (from, step) = ((entry >> 64) as u64, (entry >> 8) as u64 | 1);
        (0..MARKS).map(move |n| {
            let place = from.wrapping_add(n.wrapping_mul(step));
            (((u128::from(place) * words) >> 64) as usize, 1 << (place % 64))
        })
    }
}
