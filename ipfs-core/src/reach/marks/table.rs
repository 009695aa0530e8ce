//! Entries in memory: tables of open addressing, many and small, for what grows and goes again and
//! again as one large piece is seldom given back to the system.

/// A set of numbers that are spread evenly, but for their lowest 8 bits; 0 is none of them.
#[derive(Debug)]
pub(super) struct Table {
    parts: Vec<Part>,
    len: usize,
}

/// A part for each value of the uppermost 8 bits.
const PARTS: usize = 256;

/// The entries of one part.
#[derive(Clone, Debug, Default)]
struct Part {
    slots: Vec<u128>,
    len: usize,
}

/// Slots that a part begins with.
const FIRST: usize = 16;

/// What of an entry says where its place is: what is above the class.
const fn print(entry: u128) -> u128 {
    entry >> 8
}

impl Default for Table {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS], len: 0 }
    }
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry; whether it is new.
    pub(super) fn insert(&mut self, entry: u128) -> bool {
        let is_new = self.parts[part(entry)].insert(entry);
        self.len += usize::from(is_new);
        is_new
    }

    /// Whether there is an entry that differs in its lowest 8 bits at most.
    pub(super) fn contains_any(&self, entry: u128) -> bool {
        let part = &self.parts[part(entry)];
        part.len > 0 && part.find(|slot| print(slot) == print(entry), entry).is_ok()
    }

    /// All entries, ascending; afterwards it is empty.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u128> + use<> {
        let parts = std::mem::take(self).parts.into_iter();
        parts.flat_map(|part| {
            let mut entries = part.slots;
            entries.retain(|entry| *entry != 0);
            entries.sort_unstable();
            entries
        })
    }
}

const fn part(entry: u128) -> usize {
    (entry >> 120) as usize
}

impl Part {
    fn insert(&mut self, entry: u128) -> bool {
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
