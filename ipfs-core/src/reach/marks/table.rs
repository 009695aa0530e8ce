//! Entries in memory: a table of open addressing.

/// A set of numbers that are spread evenly, but for their lowest 8 bits; 0 is none of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<u128>,
    len: usize,
}

/// Slots of the first table.
const FIRST: usize = 1 << 10;

/// What of an entry says where its place is: what is above the class.
const fn print(entry: u128) -> u128 {
    entry >> 8
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry; whether it is new.
    pub(super) fn insert(&mut self, entry: u128) -> bool {
        if self.len * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        match self.find(|slot| slot == entry, entry) {
            Ok(_) => false,
            Err(free) => {
                self.slots[free] = entry;
                self.len += 1;
                true
            }
        }
    }

    /// Whether there is an entry that differs in its lowest 8 bits at most.
    pub(super) fn contains_any(&self, entry: u128) -> bool {
        !self.slots.is_empty() && self.find(|slot| print(slot) == print(entry), entry).is_ok()
    }

    /// All entries, ascending; afterwards it is empty, and keeps its room.
    pub(super) fn take(&mut self) -> Vec<u128> {
        let mut entries: Vec<u128> =
            self.slots.iter().copied().filter(|entry| *entry != 0).collect();
        entries.sort_unstable();
        self.slots.fill(0);
        self.len = 0;
        entries
    }

    /// The place of an entry, or the free one where it would be.
    fn find(&self, is_it: impl Fn(u128) -> bool, entry: u128) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut place = (print(entry) as usize) & mask;
        loop {
            match self.slots[place] {
                0 => return Err(place),
                slot if is_it(slot) => return Ok(place),
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let room = (self.slots.len() * 2).max(FIRST);
        for entry in std::mem::replace(&mut self.slots, vec![0; room]) {
            if entry != 0
                && let Err(free) = self.find(|slot| slot == entry, entry)
            {
                self.slots[free] = entry;
            }
        }
    }
}
