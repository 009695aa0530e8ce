//! Which records are alive in the segments that are emptied.
//!
//! To look each of them up would read a page of the index for almost every one; to go through the
//! whole index once, in its order, is some fifty times cheaper.

use std::collections::HashMap;

use ipfs_traits::work::giving_way;

use super::super::{Inner, error::PackError, segment::Segment};

/// Records that are known to be alive at a time, if one segment does not have more: 8 MiB of them.
const MOST: u64 = 2 << 20;

/// The records that were alive in some segments when it was made. What dies afterwards is noted in
/// the log.
#[derive(Debug, Default)]
pub(super) struct Living(HashMap<u32, Vec<u32>>);

/// Where the records begin that are alive in a segment, in their order.
#[derive(Debug)]
pub(super) struct Alive {
    offsets: Vec<u32>,
    next: usize,
    /// Those that were not come across.
    passed: Vec<u32>,
}

impl Living {
    pub(super) fn knows(&self, segment: &Segment) -> bool {
        self.0.contains_key(&segment.number)
    }

    pub(super) fn take(&mut self, segment: &Segment) -> Alive {
        let offsets = self.0.remove(&segment.number).unwrap_or_default();
        Alive { offsets, next: 0, passed: Vec::new() }
    }
}

impl Alive {
    /// Whether a record is alive that begins here; they are asked for in their order.
    pub(super) fn has(&mut self, offset: u32) -> bool {
        while let Some(next) = self.offsets.get(self.next).filter(|next| **next <= offset) {
            self.next += 1;
            if *next == offset {
                return true;
            }
            self.passed.push(*next);
        }
        false
    }

    /// Those that nobody has asked for.
    pub(super) fn end(&mut self) -> Vec<u32> {
        self.passed.extend(&self.offsets[self.next..]);
        self.next = self.offsets.len();
        std::mem::take(&mut self.passed)
    }
}

impl Inner {
    /// The records that are alive in the first of these segments, at least in one. What dies in them
    /// from now on is noted.
    pub(super) fn living(&self, segments: &[u32]) -> Result<Living, PackError> {
        let mut living = {
            let mut log = self.log();
            let mut blocks = 0;
            let fits = |segment: &&u32| {
                blocks += log.blocks_in(**segment);
                blocks <= MOST
            };
            let many = segments.iter().take_while(fits).count().max(1);
            log.watch(segments[..many].iter().copied());
            Living(segments[..many].iter().map(|segment| (*segment, Vec::new())).collect())
        };
        self.index.note_damage(self.find_living(&mut living))?;
        Ok(living)
    }

    fn find_living(&self, living: &mut Living) -> Result<(), PackError> {
        let mut keys = self.index.snapshot().keys()?;
        for key in giving_way(std::iter::from_fn(|| keys.next().transpose())) {
            let (_, place) = key?;
            if let Some(offsets) = living.0.get_mut(&place.segment) {
                offsets.push(place.offset);
            }
        }
        living.0.values_mut().for_each(|offsets| offsets.sort_unstable());
        Ok(())
    }
}
