//! A filter that says of most keys that are absent that they are, without a read.

use ipfs_traits::Multihash;

/// A Bloom filter whose bits for one key lie in one cache line.
///
/// Ten bits a key and six of them set: 1.5 % of the keys that are absent pass.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<Line>);

type Line = [u64; 8];

const BITS_A_KEY: u64 = 10;
const SET: u32 = 6;

/// Bytes of a line.
const LINE: usize = 64;

/// What the filter looks at: 64 bits that depend on all of the key that matters.
///
/// Digests look like chance already; the product mixes those that do not.
pub(super) fn fingerprint(key: &Multihash) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = key.code() ^ (u64::from(key.size()) << 56);
    for part in key.digest().chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
        hash ^= hash >> 32;
    }
    hash
}

impl Filter {
    /// An empty filter for so many keys.
    pub(super) fn new(keys: u64) -> Self {
        let lines = (keys * BITS_A_KEY).div_ceil(LINE as u64 * 8).max(1);
        Self(vec![[0; 8]; usize::try_from(lines).unwrap_or(usize::MAX)])
    }

    /// The filter of these bytes, which are whole lines.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (lines, more) = words.as_chunks::<8>();
        let whole = rest.is_empty() && more.is_empty() && !lines.is_empty();
        let line = |line: &[[u8; 8]; 8]| line.map(u64::from_le_bytes);
        whole.then(|| Self(lines.iter().map(line).collect()))
    }

    /// What [`decode`](Self::decode) reads, in words of eight bytes, the lowest first.
    pub(super) fn words(&self) -> impl Iterator<Item = &u64> {
        self.0.iter().flatten()
    }

    pub(super) fn insert(&mut self, fingerprint: u64) {
        let line = self.line(fingerprint);
        for (word, bit) in bits(fingerprint) {
            self.0[line][word] |= bit;
        }
    }

    pub(super) fn may_hold(&self, fingerprint: u64) -> bool {
        let line = &self.0[self.line(fingerprint)];
        bits(fingerprint).all(|(word, bit)| line[word] & bit != 0)
    }

    /// The upper half chooses the line, the lower half the bits in it.
    fn line(&self, fingerprint: u64) -> usize {
        (((fingerprint >> 32) * self.0.len() as u64) >> 32) as usize
    }
}

/// The bits of a key in its line: the word, and the bit in it.
fn bits(fingerprint: u64) -> impl Iterator<Item = (usize, u64)> {
    let mut state = fingerprint;
    (0..SET).map(move |_| {
        // Nine bits a time from a product of the lower half.
        state = (state & 0xffff_ffff).wrapping_mul(0x9e37_79b1).rotate_left(23);
        ((state >> 6) as usize & 7, 1 << (state & 63))
    })
}

#[cfg(test)]
mod tests {
    use ipfs_traits::{HashTable, codes};

    use super::*;

    #[test]
    fn holds_what_was_inserted_and_little_else() {
        let hashes = HashTable::standard();
        let key = |n: u32| hashes.hash(codes::SHA2_256, &n.to_be_bytes()).unwrap();
        let mut filter = Filter::new(20_000);
        (0..20_000).for_each(|n| filter.insert(fingerprint(&key(n))));
        let bytes: Vec<u8> = filter.words().flat_map(|word| word.to_le_bytes()).collect();
        let filter = Filter::decode(&bytes).unwrap();
        assert!((0..20_000).all(|n| filter.may_hold(fingerprint(&key(n)))));
        let passed = (20_000..60_000).filter(|n| filter.may_hold(fingerprint(&key(*n)))).count();
        assert!(passed < 1_000, "{passed} of 40,000");
    }

    #[test]
    fn keys_that_do_not_look_like_chance_are_spread_too() {
        let key = |n: u64| Multihash::wrap(codes::IDENTITY, &n.to_be_bytes()).unwrap();
        let mut filter = Filter::new(20_000);
        (0..20_000).for_each(|n| filter.insert(fingerprint(&key(n))));
        let passed = (20_000..60_000).filter(|n| filter.may_hold(fingerprint(&key(*n)))).count();
        assert!(passed < 1_200, "{passed} of 40,000");
    }

    #[test]
    fn bytes_that_are_no_lines_are_refused() {
        assert!(Filter::decode(&[]).is_none());
        assert!(Filter::decode(&[0; 63]).is_none());
        assert!(Filter::decode(&[0; 72]).is_none());
    }
}
