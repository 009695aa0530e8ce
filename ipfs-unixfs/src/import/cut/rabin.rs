//! Rabin fingerprints: cutting where the fingerprint of the last 16 bytes ends in zeros.
//!
//! The fingerprint is the remainder of the bytes, taken as a polynomial over two elements, by one of
//! degree 53. As it depends on 16 bytes alone, the search begins just before the first place where a
//! piece may end, and can go on at several places at once: one place after the other would wait for
//! a table each time.

use self::tables::{REDUCE, REMOVE};

mod tables;

/// Bytes that a fingerprint is of.
const WINDOW: usize = 16;

/// Places that are searched at once.
const LANES: usize = 4;

/// Bytes of one lane between two looks at which was first.
const LANE: usize = 1024;

/// Where pieces end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rabin {
    min: usize,
    max: usize,
    mask: u64,
}

impl Rabin {
    /// `16 <= min < avg < max`.
    pub(super) const fn new(min: usize, avg: usize, max: usize) -> Self {
        Self { min, max, mask: (1 << avg.ilog2()) - 1 }
    }

    /// How long the next piece is.
    pub(super) fn next(&self, rest: &[u8]) -> usize {
        let most = rest.len().min(self.max);
        if most <= self.min {
            return most;
        }
        if is_cut(fingerprint(rest, self.min), self.mask) {
            return self.min;
        }
        let mut at = self.min;
        // Where ends are near each other, lanes would mostly search behind the first one.
        let sparse = self.mask as usize > 8 * LANES * LANE;
        while sparse && most - at >= LANES * LANE && !self.lanes_find(rest, at) {
            at += LANES * LANE;
        }
        self.first(rest, at, most).unwrap_or(most)
    }

    /// The first place after `at` where a piece may end, up to `most`.
    fn first(&self, rest: &[u8], at: usize, most: usize) -> Option<usize> {
        let mut print = fingerprint(rest, at);
        let mut pairs = std::iter::zip(&rest[at - WINDOW..most - WINDOW], &rest[at..most]);
        let found = pairs.position(|(old, new)| {
            print = slide(print, *old, *new);
            is_cut(print, self.mask)
        });
        found.map(|passed| at + passed + 1)
    }

    /// Whether there is such a place within the lanes after `at`.
    fn lanes_find(&self, rest: &[u8], at: usize) -> bool {
        let lane = |number: usize| at + number * LANE;
        let bytes = |from: usize| -> &[u8; LANE] {
            rest[from..].first_chunk().expect("all lanes were seen to lie within")
        };
        let mut prints: [u64; LANES] = std::array::from_fn(|i| fingerprint(rest, lane(i)));
        let old: [&[u8; LANE]; LANES] = std::array::from_fn(|i| bytes(lane(i) - WINDOW));
        let new: [&[u8; LANE]; LANES] = std::array::from_fn(|i| bytes(lane(i)));
        for step in 0..LANE {
            let mut found = false;
            for i in 0..LANES {
                prints[i] = slide(prints[i], old[i][step], new[i][step]);
                found |= is_cut(prints[i], self.mask);
            }
            if found {
                return true;
            }
        }
        false
    }
}

const fn is_cut(print: u64, mask: u64) -> bool {
    print & mask == 0
}

/// The fingerprint of the 16 bytes before `end`.
fn fingerprint(rest: &[u8], end: usize) -> u64 {
    rest[end - WINDOW..end].iter().fold(0, |print, byte| append(print, *byte))
}

/// Takes the oldest byte out and the next one in.
fn slide(print: u64, old: u8, new: u8) -> u64 {
    append(print ^ REMOVE[usize::from(old)], new)
}

fn append(print: u64, byte: u8) -> u64 {
    // A fingerprint has 53 bits; the table takes away the eight that go beyond them.
    let above = (print >> (tables::DEGREE - 8)) as u8;
    ((print << 8) | u64::from(byte)) ^ REDUCE[usize::from(above)]
}
