//! Keys in memory, in many small pieces.
//!
//! Allocators give large pieces of memory back to the system only when nothing that came later lies
//! above them, and remember for the whole process how large they were. What grows and goes again and
//! again is therefore never large.

use std::{collections::HashMap, hash::BuildHasher, iter::Flatten, sync::Arc, vec};

use ipfs_traits::{Multihash, work::give_way};

use super::{
    super::place::Place,
    hasher::Keyed,
    run::{Entry, Rank, rank},
};

/// What was changed lately; `None` for what was deleted.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Those of a clone are shared until they change.
    parts: Vec<Arc<Part>>,
    keyed: Keyed,
}

type Part = HashMap<Multihash, Option<Place>, Keyed>;

/// A table has so many keys in each part that none takes more than some 100 kB.
const PARTS: usize = 256;

/// Entries that are sorted together.
const CHUNK: usize = 1024;

type Ranked<'a> = (Rank, &'a Multihash, &'a Option<Place>);

/// Sorts entries, and gives way meanwhile.
fn sort(entries: &mut [Ranked<'_>]) {
    give_way();
    let order = |a: &Ranked<'_>, b: &Ranked<'_>| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1));
    if entries.len() <= CHUNK {
        entries.sort_unstable_by(order);
    } else {
        let (lower, _, upper) = entries.select_nth_unstable_by(entries.len() / 2, order);
        sort(lower);
        sort(upper);
    }
}

/// Entries in order.
pub(super) type Sorted = Flatten<vec::IntoIter<Vec<Entry>>>;

impl Default for Table {
    fn default() -> Self {
        let keyed = Keyed::default();
        let parts = (0..PARTS).map(|_| Arc::new(HashMap::with_hasher(keyed))).collect();
        Self { parts, keyed }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    pub(super) fn get(&self, key: &Multihash) -> Option<&Option<Place>> {
        self.parts[self.part(key)].get(key)
    }

    pub(super) fn extend(&mut self, changes: impl IntoIterator<Item = Entry>) {
        for (key, place) in changes {
            let part = self.part(&key);
            Arc::make_mut(&mut self.parts[part]).insert(key, place);
        }
    }

    /// All entries, in order.
    pub(super) fn sorted(&self) -> Sorted {
        let entries = self.parts.iter().flat_map(|part| part.iter());
        let mut entries: Vec<Ranked<'_>> =
            entries.map(|(key, place)| (rank(key), key, place)).collect();
        sort(&mut entries);
        let chunk =
            |chunk: &[Ranked<'_>]| chunk.iter().map(|(_, key, place)| (**key, **place)).collect();
        entries.chunks(CHUNK).map(chunk).collect::<Vec<_>>().into_iter().flatten()
    }

    /// By the upper bits of the hash; the maps go by the others.
    fn part(&self, key: &Multihash) -> usize {
        (self.keyed.hash_one(key) >> 48) as usize % PARTS
    }
}
