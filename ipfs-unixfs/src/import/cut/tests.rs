//! Chunkers beside a plain reading of what they are, and in runs.

use proptest::prelude::*;

use super::{Cutting, buzhash, rabin::Rabin, *};
use crate::Chunking;

/// Bytes without a pattern, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// The remainder of 16 bytes by the polynomial, a bit at a time.
fn remainder(window: &[u8]) -> u64 {
    let mut value: u64 = 0;
    for bit in window.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        value = value << 1 | u64::from(bit);
        if value >> 53 == 1 {
            value ^= 17_437_180_132_763_653;
        }
    }
    value
}

#[test]
fn rabin_cuts_where_the_remainder_ends_in_zeros() {
    let bytes = noise(7, 60_000);
    for (min, avg, max) in
        [(16, 17, 18), (16, 256, 300), (100, 1024, 5000), (18, 4097_usize, 50_000)]
    {
        let mask = (1_u64 << avg.ilog2()) - 1;
        let plain = |rest: &[u8]| {
            let most = rest.len().min(max);
            let ends = |len: &usize| remainder(&rest[*len - 16..*len]) & mask == 0;
            (min..most).find(ends).unwrap_or(most)
        };
        let (rabin, mut at) = (Rabin::new(min, avg, max), 0);
        while at < bytes.len() {
            let len = rabin.next(&bytes[at..]);
            assert_eq!(len, plain(&bytes[at..]), "{min}-{avg}-{max} at {at}");
            at += len;
        }
    }
}

/// Averages that are searched in lanes give what one place after the other gives.
#[test]
fn rabin_finds_the_same_in_lanes() {
    let bytes = noise(9, 3 << 20);
    let rabin = Rabin::new(20_000, 1 << 16, 1 << 20);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let len = rabin.next(rest);
        assert!(
            rest.len() == len
                || len == 1 << 20
                || remainder(&rest[len - 16..len]).is_multiple_of(65536)
        );
        for earlier in (20_000..len).step_by(61) {
            assert_ne!(remainder(&rest[earlier - 16..earlier]) % 65536, 0, "{earlier} of {len}");
        }
        at += len;
    }
}

#[test]
fn buzhash_keeps_its_bounds() {
    for len in [1, 1000, 131_071, 131_072] {
        assert_eq!(buzhash::next(&noise(3, len)), len);
    }
    assert_eq!(buzhash::next(&vec![1; 3 << 20]), 512 << 10);
    assert_eq!(buzhash::next(&vec![0; 3 << 20]), 128 << 10);
    assert!((131_072..=524_288).contains(&buzhash::next(&noise(5, 1 << 20))));
}

fn chunkers() -> impl Strategy<Value = Chunker> {
    prop_oneof![
        (1..2000_usize).prop_map(Chunker::Fixed),
        (16..40_usize, 1..300_usize, 1..900_usize).prop_map(|(min, avg, max)| Chunker::Rabin {
            min,
            avg: min + avg,
            max: min + avg + max
        }),
        Just(Chunker::Rabin { min: 2000, avg: 65_536, max: 100_000 }),
        Just(Chunker::Buzhash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever runs begin and end, and however many pieces are taken at once.
    #[test]
    fn in_pieces_as_at_once(
        chunker in chunkers(),
        seed in any::<u64>(),
        len in 0..700_000_usize,
        steps in prop::collection::vec((1..300_000_usize, 1..20_usize), 1..5),
    ) {
        let content = Bytes::from(noise(seed, len));
        let whole = Cutting::whole(&chunker, content.clone()).unwrap();
        prop_assert!(whole.concat() == content);
        prop_assert!(whole.iter().all(|piece| piece.len() <= chunker.max_size()));

        let mut cutting = Cutting::new(&chunker);
        let (mut read, mut run, mut pieces) = (0, Bytes::new(), Vec::new());
        for &(step, count) in steps.iter().cycle() {
            let (left, end) = (run.len(), (read + step).min(len));
            let bytes = content.slice(read - left..end);
            read = end;
            run = bytes;
            let some = cutting.cut(&mut run, read == len, count, step).unwrap();
            pieces.extend(some);
            if read == len && run.is_empty() {
                break;
            }
        }
        pieces.extend((len == 0).then(Bytes::new));
        prop_assert!(pieces == whole);
    }
}

/// Cuts as it was told.
#[derive(Clone, Debug)]
struct Told(usize);

impl Chunking for Told {
    fn name(&self) -> &str {
        "told"
    }
    fn max_size(&self) -> usize {
        100
    }
    fn start(&self) -> Box<dyn Cutter> {
        Box::new(self.clone())
    }
}

impl Cutter for Told {
    fn next(&mut self, _: &[u8]) -> usize {
        self.0
    }
}

#[test]
fn a_piece_out_of_bounds_is_an_error() {
    for (len, of) in [(0, 1000), (101, 1000), (11, 10), (usize::MAX, 1000)] {
        let chunker = Chunker::custom(Told(len)).unwrap();
        let error = Cutting::whole(&chunker, vec![0; of].into()).unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "chunker", .. }), "{error}");
    }
    let chunker = Chunker::custom(Told(10)).unwrap();
    assert_eq!(Cutting::whole(&chunker, vec![0; 1000].into()).unwrap().len(), 100);
}
