//! The hash of a name, bit by bit.

use ipfs_traits::{Error, Result};

/// The multicodec of `murmur3-x64-64`, the only hash function that names are spread by.
pub(crate) const MURMUR3: u64 = 0x22;

/// The hash of a name, of which a part was used on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameHash {
    hash: u64,
    used: u32,
}

impl NameHash {
    pub(crate) fn of(name: &[u8]) -> Self {
        Self { hash: murmur3(name), used: 0 }
    }

    /// All bits, of which the highest are used first: names in the order of these numbers are in the
    /// order of their places at every level.
    pub(crate) const fn order(&self) -> u64 {
        self.hash
    }

    /// The next bits as the number of a slot.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] when there are not so many left: names that agree in all 64 cannot be told
    /// apart, and a tree that is deeper was made to be walked for ever.
    pub(crate) fn next(&mut self, bits: u32) -> Result<usize> {
        let used = self.used + bits;
        if used > u64::BITS {
            let levels = (u64::BITS / bits) as usize;
            return Err(Error::limit("levels of a sharded directory", levels, levels + 1));
        }
        let slot = (self.hash << self.used) >> (u64::BITS - bits);
        self.used = used;
        // At most 10 bits.
        Ok(slot as usize)
    }
}

/// The first half of the 128-bit MurmurHash3 for 64-bit machines, with the seed 0.
fn murmur3(data: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = data.as_chunks::<16>();
    for block in blocks {
        let [k1, k2] = halves(block);
        h1 = (h1 ^ mix1(k1)).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(k2)).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // A rest of zeros changes nothing.
    let mut rest = [0; 16];
    rest[..tail.len()].copy_from_slice(tail);
    let [k1, k2] = halves(&rest);
    h1 ^= mix1(k1);
    h2 ^= mix2(k2);
    let len = data.len() as u64;
    h1 ^= len;
    h2 ^= len;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

fn halves(block: &[u8; 16]) -> [u64; 2] {
    let number = u128::from_le_bytes(*block);
    [number as u64, (number >> 64) as u64]
}

const fn finish(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of names as they stand in directories that others have made, and of MurmurHash's own
    /// tests.
    #[test]
    fn hashes_that_others_give() {
        assert_eq!(murmur3(b""), 0);
        assert_eq!(murmur3(b"hello"), 0xcbd8_a7b3_41bd_9b02);
        assert_eq!(murmur3(b"hello, world"), 0x342f_ac62_3a5e_bc8e);
        assert_eq!(murmur3(b"19 Jan 2038 at 3:14:07 AM"), 0xb89e_5988_b737_affc);
        assert_eq!(murmur3(b"The quick brown fox jumps over the lazy dog."), 0xcd99_481f_9ee9_02c9);
    }

    #[test]
    fn slots_are_the_bits_from_the_highest_on() {
        let hash = NameHash { hash: 0b1010_1100_1111 << 52 | 0b101, used: 0 };
        let slots = |bits: u32, count: usize| {
            let mut hash = hash;
            (0..count).map(|_| hash.next(bits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(slots(8, 2), [0b1010_1100, 0b1111_0000]);
        assert_eq!(slots(3, 4), [0b101, 0b011, 0b001, 0b111]);
        assert_eq!(slots(8, 8)[7], 0b101);
    }

    #[test]
    fn a_hash_has_64_bits() {
        let mut hash = NameHash::of(b"name");
        assert!((0..6).all(|_| hash.next(10).is_ok()));
        assert!(matches!(hash.next(10), Err(Error::Limit { limit: 6, .. })));
        let mut hash = NameHash::of(b"name");
        assert!((0..8).all(|_| hash.next(8).is_ok()));
        assert!(hash.next(8).is_err());
    }
}
