//! What was written or asked for while garbage is collected.

/// Which blocks were touched: a filter of fixed size. It may take another one for touched, which
/// then stays until the next collection; never the other way round.
#[derive(Debug)]
pub(crate) struct Touched(Vec<u64>);

/// Bits for each block that is there when it begins: of as many that are touched, some 5 of 1,000
/// others are taken for touched.
const BITS: u64 = 16;

/// Bits that a filter has at least, and at most: 128 kB, and 8 MiB.
const LEAST: u64 = 1 << 20;
const MOST: u64 = 1 << 26;

/// Bits that stand for a block.
const MARKS: u64 = 3;

impl Touched {
    /// A filter for so many blocks.
    pub(crate) fn for_blocks(blocks: Option<u64>) -> Self {
        let bits = blocks.unwrap_or(MOST).saturating_mul(BITS).clamp(LEAST, MOST);
        Self(vec![0; (bits.next_power_of_two() / 64) as usize])
    }

    pub(crate) fn insert(&mut self, print: u64) {
        for (word, bit) in self.places(print) {
            self.0[word] |= bit;
        }
    }

    pub(crate) fn contains(&self, print: u64) -> bool {
        self.places(print).all(|(word, bit)| self.0[word] & bit != 0)
    }

    fn places(&self, print: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let words = self.0.len() as u64;
        // The print is a part of a digest: only its bits have to be spread.
        let step = print.rotate_left(32) | 1;
        (0..MARKS).map(move |n| {
            let place = print.wrapping_add(n.wrapping_mul(step)) ^ (print >> 37);
            (((place / 64) % words) as usize, 1 << (place % 64))
        })
    }
}

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
        let mut touched = Touched::for_blocks(Some(100_000));
        numbers().take(100_000).for_each(|print| touched.insert(print));
        assert!(numbers().take(100_000).all(|print| touched.contains(print)));
        let wrong = numbers().skip(200_000).take(100_000).filter(|print| touched.contains(*print));
        let wrong = wrong.count();
        assert!(wrong < 1000, "{wrong}");
        assert_eq!(Touched::for_blocks(None).0.len(), 1 << 20);
    }
}
