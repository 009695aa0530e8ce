//! What was written or asked for while garbage is collected.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which blocks were touched: a filter of fixed size. It may take another one for touched, which
/// then stays until the next collection; never the other way round.
#[derive(Debug)]
pub(crate) struct Touched(Vec<Chunk>);

/// A piece of it: large ones are seldom given back to the system.
type Chunk = Box<[AtomicU64]>;
const WORDS: usize = 8 << 10;

/// Bits for each block that is there when it begins: of as many that are touched, some 5 of 1,000
/// others are taken for touched.
const BITS: u64 = 16;

/// Chunks that a filter has at least, and at most: 128 kB, and 8 MiB.
const LEAST: u64 = 2;
const MOST: u64 = 128;

/// Bits that stand for a block.
const MARKS: u64 = 3;

impl Touched {
    /// A filter for so many blocks.
    pub(crate) fn for_blocks(blocks: Option<u64>) -> Self {
        let chunks = blocks.map_or(MOST, |blocks| blocks.saturating_mul(BITS) / CHUNK_BITS + 1);
        let chunk = |_| (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Self((0..chunks.clamp(LEAST, MOST)).map(chunk).collect())
    }

    /// Whoever has to know of it afterwards learns that it was inserted by a lock.
    pub(crate) fn insert(&self, print: u64) {
        for (chunk, word, bit) in self.places(print) {
            self.0[chunk][word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn contains(&self, print: u64) -> bool {
        self.places(print)
            .all(|(chunk, word, bit)| self.0[chunk][word].load(Ordering::Relaxed) & bit != 0)
    }

    fn places(&self, print: u64) -> impl Iterator<Item = (usize, usize, u64)> + use<> {
        let bits = self.0.len() as u64 * CHUNK_BITS;
        // The print is a part of a digest: only its bits have to be spread.
        let step = print.rotate_left(32) | 1;
        (0..MARKS).map(move |n| {
            let place = (print.wrapping_add(n.wrapping_mul(step)) ^ (print >> 37)) % bits;
            let (chunk, within) = (place / CHUNK_BITS, place % CHUNK_BITS);
            (chunk as usize, (within / 64) as usize, 1 << (within % 64))
        })
    }
}

const CHUNK_BITS: u64 = WORDS as u64 * 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(1_u64), |n| {
            Some(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_add(1))
        })
    }

    #[test]
    fn what_was_touched_is_known_and_little_else() {
        let touched = Touched::for_blocks(Some(100_000));
        numbers().take(100_000).for_each(|print| touched.insert(print));
        assert!(numbers().take(100_000).all(|print| touched.contains(print)));
        let wrong = numbers().skip(200_000).take(100_000).filter(|print| touched.contains(*print));
        let wrong = wrong.count();
        assert!(wrong < 1000, "{wrong}");
        assert_eq!(Touched::for_blocks(None).0.len(), 128);
    }
}
