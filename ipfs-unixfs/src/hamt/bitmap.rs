//! Which slots of a shard are taken.

use ipfs_traits::{Error, Result};

/// A bit for each of up to 1,024 slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bitmap([u64; 16]);

impl Bitmap {
    /// The bitmap of a shard with `fanout` slots, which is at most 1,024: big end first, and without
    /// the zeros that would come first.
    pub(super) fn parse(bytes: &[u8], fanout: usize) -> Result<Self> {
        if bytes.len() > fanout / 8 {
            return Err(Error::malformed("HAMT bitmap", "it has more slots than the fanout"));
        }
        let mut words = [0; 16];
        for (at, byte) in bytes.iter().rev().enumerate() {
            words[at / 8] |= u64::from(*byte) << (8 * (at % 8));
        }
        Ok(Self(words))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let bytes = self.0.iter().rev().flat_map(|word| word.to_be_bytes());
        bytes.skip_while(|byte| *byte == 0).collect()
    }

    pub(super) const fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub(super) const fn clear(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    pub(super) const fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] & 1 << (slot % 64) != 0
    }

    /// How many slots are taken.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many of the slots before this one are taken: where its link stands.
    pub(super) fn before(&self, slot: usize) -> usize {
        let whole: u32 = self.0[..slot / 64].iter().map(|word| word.count_ones()).sum();
        let part = self.0[slot / 64] & ((1 << (slot % 64)) - 1);
        (whole + part.count_ones()) as usize
    }

    /// The slots that are taken, ascending.
    pub(super) fn slots(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.wrapping_sub(1);
                (bit < 64).then_some(64 * at + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leading_zeros_are_left_out() {
        let mut bitmap = Bitmap::default();
        assert!(bitmap.to_bytes().is_empty());
        bitmap.set(0);
        assert_eq!(bitmap.to_bytes(), [1]);
        bitmap.set(15);
        assert_eq!(bitmap.to_bytes(), [0x80, 1]);
        bitmap.clear(15);
        assert_eq!(bitmap.to_bytes(), [1]);
    }

    #[test]
    fn more_slots_than_the_fanout_are_refused() {
        assert!(Bitmap::parse(&[0; 32], 256).is_ok());
        assert!(matches!(Bitmap::parse(&[0; 33], 256), Err(Error::Malformed { .. })));
        assert!(Bitmap::parse(&[1; 129], 1024).is_err());
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_slots(slots in prop::collection::btree_set(0..1024_usize, 0..200)) {
            let mut bitmap = Bitmap::default();
            slots.iter().for_each(|slot| bitmap.set(*slot));
            prop_assert_eq!(Bitmap::parse(&bitmap.to_bytes(), 1024).unwrap(), bitmap);
            prop_assert_eq!(bitmap.count(), slots.len());
            prop_assert!(bitmap.slots().eq(slots.iter().copied()));
            for slot in 0..1024 {
                prop_assert_eq!(bitmap.has(slot), slots.contains(&slot));
                prop_assert_eq!(bitmap.before(slot), slots.range(..slot).count());
            }
        }
    }
}
