//! Choices by chance, the same for the same seed.

use std::time::SystemTime;

use ipfs_traits::{HashTable, Multihash, Parts, codes};

/// A small generator (SplitMix64) for choices that nobody gains by guessing: which peer comes first,
/// how much longer a wait is.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// For one purpose of a node: another one in each node and at each start, and in a test the same.
    pub(crate) fn of(parts: &Parts, purpose: &str) -> Self {
        let since = parts.runtime().wall().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default().as_nanos().to_le_bytes();
        let seed = [purpose.as_bytes(), &parts.peer().to_bytes(), &since].concat();
        let hash = HashTable::standard().hash(codes::SHA2_256, &seed);
        let hash: Multihash = hash.expect("SHA2-256 is a standard function");
        Self(hash.digest().iter().fold(0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte)))
    }

    /// Another one.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
