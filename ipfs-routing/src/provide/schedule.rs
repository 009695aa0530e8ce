//! When each part of the keyspace is due.

use std::ops::Range;

/// Parts into which the keyspace is cut: 4,096. With an interval of 22 hours there is then a batch
/// each 19 seconds at the most, and 16 million keys fill batches of 4,096.
pub(super) const UNITS: usize = 1 << UNIT_BITS;
pub(super) const UNIT_BITS: u32 = 12;

/// Slots that there are at least: 256, as many as the public network of some 10,000 servers has
/// regions of about two buckets. With few keys each region costs a lookup of its own in any case.
const MIN_SLOT_BITS: u32 = 8;

/// For each unit when it was last announced, and from that when it is due.
///
/// Every unit has a fixed place in the interval, its phase, so that the work stays spread evenly
/// whatever happens. It is due at the first phase that is more than a quarter of an interval after it
/// was last announced: what was late is not announced twice in a row, and never later than a quarter
/// of an interval.
///
/// Times are of the wall clock, in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Phase 0. It is the node's own, or all nodes would announce the same region at the same time.
    pub(super) anchor: u64,
    interval: u64,
    /// When each was last announced; 0 for one that is due whatever its phase.
    stamps: Vec<u64>,
    slot_bits: u32,
}

impl Schedule {
    /// One on which all units come in the interval after `anchor`.
    pub(super) fn new(anchor: u64, interval: u64) -> Self {
        let mut new = Self { anchor, interval, stamps: vec![0; UNITS], slot_bits: MIN_SLOT_BITS };
        for unit in 0..UNITS {
            new.stamps[unit] =
                anchor.saturating_add(new.phase(unit)).saturating_sub(interval).max(1);
        }
        new
    }

    pub(super) fn stamps(&self) -> &[u64] {
        &self.stamps
    }

    pub(super) fn stamps_mut(&mut self) -> &mut [u64] {
        &mut self.stamps
    }

    /// Chooses how many slots there are: as many as leave each `batch` keys on average.
    pub(super) fn size(&mut self, keys: usize, batch: usize) {
        let bits = (keys / batch).checked_ilog2().unwrap_or(0);
        self.slot_bits = bits.clamp(MIN_SLOT_BITS, UNIT_BITS);
    }

    /// The units of each slot, in the order of the keyspace.
    pub(super) fn slots(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let width = 1 << (UNIT_BITS - self.slot_bits);
        (0..UNITS).step_by(width).map(move |first| first..first + width)
    }

    /// When a slot is due.
    pub(super) fn due(&self, slot: Range<usize>) -> u64 {
        slot.map(|unit| self.after(unit, self.stamps[unit])).min().unwrap_or(u64::MAX)
    }

    /// The first time of a unit's phase that is more than a quarter of an interval after `time`.
    pub(super) fn after(&self, unit: usize, time: u64) -> u64 {
        let early = time.saturating_add(self.interval / 4);
        let phase = (self.anchor % self.interval + self.phase(unit)) % self.interval;
        let past = (early % self.interval + self.interval - phase) % self.interval;
        early.saturating_add(self.interval - past)
    }

    /// Takes back what was announced, or listed, in the future: the clock was wrong then, or is now. How long ago
    /// it was is unknown, so the next phase is taken.
    pub(super) fn settle(&mut self, now: u64, listed: &mut u64) {
        let before = now.saturating_sub(self.interval / 4).max(1);
        for stamp in self.stamps.iter_mut().chain([listed]) {
            if *stamp > now {
                *stamp = before;
            }
        }
    }

    fn phase(&self, unit: usize) -> u64 {
        self.interval * unit as u64 / UNITS as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 500_000 * HOUR;

    fn schedule() -> Schedule {
        Schedule::new(NOW, 22 * HOUR)
    }

    #[test]
    fn a_new_schedule_fills_the_interval_evenly() {
        let new = schedule();
        let due: Vec<u64> = new.slots().map(|slot| new.due(slot) - NOW).collect();
        assert_eq!(due.len(), 256);
        let even: Vec<u64> = (0..256).map(|slot| 22 * HOUR * slot / 256).collect();
        assert_eq!(due, even);
    }

    #[test]
    fn slots_grow_in_number_with_the_keys() {
        let mut of = schedule();
        for (keys, slots) in [(0, 256), (1, 256), (100_000, 256), (1 << 20, 4096), (10 << 20, 4096)]
        {
            of.size(keys, 256);
            assert_eq!(of.slots().count(), slots, "{keys} keys");
            assert_eq!(of.slots().flatten().collect::<Vec<_>>(), (0..UNITS).collect::<Vec<_>>());
        }
        of.size(1_000_000, 256);
        assert_eq!(of.slots().count(), 2048);
    }

    /// Whenever a unit was announced, its phase comes back between a quarter and five quarters later.
    #[test]
    fn what_was_late_keeps_its_phase() {
        let of = schedule();
        for unit in [0, 1, 2048, UNITS - 1] {
            for late in (0..50).map(|hour| NOW + hour * HOUR + 7) {
                let wait = of.after(unit, late) - late;
                assert!(wait > 22 * HOUR / 4 && wait <= 22 * HOUR * 5 / 4, "{unit} {late} {wait}");
                assert_eq!((of.after(unit, late) - NOW) % (22 * HOUR), of.phase(unit));
            }
        }
    }

    #[test]
    fn no_clock_makes_it_panic() {
        for anchor in [0, 1, NOW] {
            let mut of = Schedule::new(anchor, 22 * HOUR);
            for now in [0, 1, NOW, u64::MAX] {
                of.stamps_mut()[3] = now;
                of.settle(now, &mut 0);
                let _ = of.due(0..UNITS);
                of.settle(0, &mut 0);
            }
        }
    }
}
