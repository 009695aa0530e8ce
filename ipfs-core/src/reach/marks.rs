//! The blocks that were come to, in bounded memory.

mod run;
mod table;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use ipfs_traits::{Multihash, Result, work::giving_way};

use self::{run::Run, table::Table};
use super::scratch::Scratch;

/// A set of blocks, each with what it was come to for.
///
/// A block is known by 120 bits of keyed hashes of its multihash: nobody who does not know the keys
/// can make two that are taken for one, and by chance it happens among a billion once in 10¹⁸ times.
/// So many are kept in memory; the others go into sorted files, of which some two bytes a block
/// stay there.
#[derive(Debug)]
pub(crate) struct Marks {
    keys: [RandomState; 2],
    table: Table,
    runs: Vec<Run>,
    most: usize,
    scratch: Option<Arc<Scratch>>,
}

/// What a block was come to for.
pub(crate) type Class = u8;

/// For itself, and not for what it links to.
pub(crate) const ALONE: Class = 0;

/// By a codec that nobody knows.
pub(crate) const UNKNOWN: Class = Class::MAX;

/// Blocks that are kept in memory where there is a place for the others: some 16 MB of them.
const IN_MEMORY: usize = 11 << 16;

/// Files that are merged into one.
const RUNS: usize = 8;

impl Marks {
    /// An empty set, which may use files in a folder; without one all is in memory.
    pub(crate) fn new(scratch: Option<Arc<Scratch>>) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { keys, table: Table::default(), runs: Vec::new(), most: IN_MEMORY, scratch }
    }

    #[cfg(test)]
    pub(crate) fn with_most(mut self, blocks: usize) -> Self {
        self.most = blocks;
        self
    }

    /// Comes to some blocks; says of each whether it is new, for its class.
    pub(crate) fn insert(&mut self, blocks: &[(Multihash, Class)]) -> Result<Vec<bool>> {
        let mut new = Vec::with_capacity(blocks.len());
        for (hash, class) in giving_way(blocks) {
            let entry = self.print(hash) | u128::from(*class);
            let is_new = !self.is_in_runs(entry)? && self.table.insert(entry);
            new.push(is_new);
        }
        if self.table.len() >= self.most {
            self.spill()?;
        }
        Ok(new)
    }

    /// Whether these blocks were come to, for whatever.
    pub(crate) fn contains<'a>(
        &self,
        hashes: impl Iterator<Item = &'a Multihash>,
    ) -> Result<Vec<bool>> {
        let prints: Vec<u128> = giving_way(hashes).map(|hash| self.print(hash)).collect();
        let known = giving_way(&prints).map(|print| self.table.contains_any(*print));
        let mut known: Vec<bool> = known.collect();
        if self.runs.is_empty() {
            return Ok(known);
        }
        // In the order of the files, so that each page is read once.
        let mut order: Vec<usize> = (0..prints.len()).filter(|at| !known[*at]).collect();
        order.sort_unstable_by_key(|at| prints[*at]);
        for run in &self.runs {
            let mut page = None;
            for at in giving_way(&order) {
                known[*at] = known[*at] || run.contains(prints[*at], true, &mut page)?;
            }
        }
        Ok(known)
    }

    /// Frees what memory it can, for the time when nothing is added any more.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.runs.is_empty() { Ok(()) } else { self.spill() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.table.len() as u64 + self.runs.iter().map(Run::len).sum::<u64>()
    }

    fn is_in_runs(&self, entry: u128) -> Result<bool> {
        for run in &self.runs {
            if run.contains(entry, false, &mut None)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// 120 bits above those of the class.
    fn print(&self, hash: &Multihash) -> u128 {
        let [high, low] = [self.keys[0].hash_one(hash), self.keys[1].hash_one(hash)];
        (u128::from(high) << 64 | u128::from(low)) & !u128::from(Class::MAX)
    }

    /// Moves what is in memory into a file.
    fn spill(&mut self) -> Result<()> {
        let Some(scratch) = &self.scratch else { return Ok(()) };
        let (count, entries) = (self.table.len(), self.table.take());
        self.runs.push(Run::write(scratch.file()?, count, entries.map(Ok))?);
        if self.runs.len() >= RUNS {
            let merged = Run::merge(scratch.file()?, &self.runs)?;
            self.runs = vec![merged];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::{HashTable, codes};

    use super::*;

    fn hash(n: u64) -> Multihash {
        HashTable::standard().hash(codes::SHA2_256, &n.to_le_bytes()).unwrap()
    }

    #[test]
    fn what_goes_to_files_is_still_known() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Arc::new(Scratch::new(folder.path().join("scratch")));
        for scratch in [None, Some(scratch)] {
            let mut marks = Marks::new(scratch).with_most(100);
            for from in (0..5000).step_by(50) {
                let some: Vec<_> = (from..from + 60).map(|n| (hash(n), 1)).collect();
                let new = marks.insert(&some).unwrap();
                let expected = |n: usize| from == 0 || n >= 10;
                assert!(new.iter().enumerate().all(|(n, new)| *new == expected(n)), "{from}");
            }
            assert_eq!(marks.len(), 5010);
            let other_class = marks.insert(&[(hash(7), 2), (hash(7), 2), (hash(7), 1)]).unwrap();
            assert_eq!(other_class, [true, false, false]);
            let asked: Vec<_> = (4000..6000).map(hash).collect();
            let known = marks.contains(asked.iter()).unwrap();
            assert_eq!(known.iter().filter(|known| **known).count(), 1010);
            assert!(known[..1010].iter().all(|known| *known));
        }
    }
}
