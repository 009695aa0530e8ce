//! Keys in memory, in many small pieces.
//!
//! Allocators give large pieces of memory back to the system only when nothing that came later lies
//! above them, and remember for the whole process how large they were. What grows and goes again and
//! again is therefore never large.

use std::{collections::HashMap, hash::BuildHasher, iter::Flatten, vec};

use ipfs_traits::Multihash;

use super::{super::place::Place, hasher::Keyed, run::Entry};

/// What was changed lately; `None` for what was deleted.
#[derive(Clone, Debug)]
pub(super) struct Table {
    parts: Vec<HashMap<Multihash, Option<Place>, Keyed>>,
    keyed: Keyed,
}

/// A table has so many keys in each part that none takes more than some 100 kB.
const PARTS: usize = 256;

/// Entries that are sorted together.
const CHUNK: usize = 1024;

/// Entries in order.
pub(super) type Sorted = Flatten<vec::IntoIter<Vec<Entry>>>;

impl Default for Table {
    fn default() -> Self {
        let keyed = Keyed::default();
        Self { parts: vec![HashMap::with_hasher(keyed); PARTS], keyed }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(HashMap::is_empty)
    }

    pub(super) fn get(&self, key: &Multihash) -> Option<&Option<Place>> {
        self.parts[self.part(key)].get(key)
    }

    pub(super) fn extend(&mut self, changes: impl IntoIterator<Item = Entry>) {
        for (key, place) in changes {
            let part = self.part(&key);
            self.parts[part].insert(key, place);
        }
    }

    /// All entries, in order.
    pub(super) fn sorted(&self) -> Sorted {
        let mut entries: Vec<(&Multihash, &Option<Place>)> = self.parts.iter().flatten().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let chunk = |chunk: &[(&Multihash, &Option<Place>)]| {
            chunk.iter().map(|(key, place)| (**key, **place)).collect()
        };
        entries.chunks(CHUNK).map(chunk).collect::<Vec<_>>().into_iter().flatten()
    }

    /// By the upper bits of the hash; the maps go by the others.
    fn part(&self, key: &Multihash) -> usize {
        (self.keyed.hash_one(key) >> 48) as usize % PARTS
    }
}
