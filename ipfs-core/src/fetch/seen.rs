//! The blocks that were come to.

use std::{
    collections::{HashMap, hash_map::Entry, hash_map::RandomState},
    hash::BuildHasher,
};

use ipfs_traits::Cid;

/// The blocks that were come to, and how near to the root: some 40 bytes each.
///
/// A CID is known by 128 bits of two keyed hashes, so that nobody who does not know the keys can
/// make two that are taken for one; by chance it happens among a billion once in 10²⁰ times.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: [RandomState; 2],
    at: HashMap<[u64; 2], u32>,
}

/// Of a block of which only a part was wanted.
const IN_PART: u32 = u32::MAX;

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// It was come to, but not to all that is wanted of it now.
    InPart,
    /// All that is wanted of it.
    Whole,
}

impl Seen {
    /// Comes to a block so far from the root (where that matters), of which all is wanted or a part.
    pub(super) fn come_to(&mut self, cid: &Cid, depth: usize, is_whole: bool) -> Known {
        let depth = match is_whole {
            true => u32::try_from(depth).unwrap_or(IN_PART).min(IN_PART - 1),
            false => IN_PART,
        };
        let key = [self.keys[0].hash_one(cid), self.keys[1].hash_one(cid)];
        match self.at.entry(key) {
            Entry::Vacant(place) => {
                place.insert(depth);
                Known::New
            }
            Entry::Occupied(place) if *place.get() != IN_PART && *place.get() <= depth => {
                Known::Whole
            }
            Entry::Occupied(mut place) => {
                place.insert(depth.min(*place.get()));
                Known::InPart
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_new_once_and_looked_at_again_only_for_more() {
        let (mut seen, cid) = (Seen::default(), Cid::default());
        let other = "bafkqaaa".parse().unwrap();
        let mut come = |cid, depth, is_whole| seen.come_to(cid, depth, is_whole);
        assert_eq!(come(&cid, 7, false), Known::New);
        assert_eq!(come(&cid, 7, false), Known::InPart, "it may be another part");
        assert_eq!(come(&cid, 7, true), Known::InPart);
        assert_eq!(come(&cid, 7, true), Known::Whole);
        assert_eq!(come(&cid, 9, false), Known::Whole);
        assert_eq!(come(&cid, 6, true), Known::InPart, "more is within reach");
        assert_eq!(come(&cid, 8, true), Known::Whole);
        assert_eq!(come(&other, usize::MAX, true), Known::New);
        assert_eq!(come(&other, usize::MAX, true), Known::Whole);
    }
}
