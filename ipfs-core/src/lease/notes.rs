//! What one hold has told others that it keeps.

use std::collections::HashSet;

use crate::hold::Print;

/// Whose notes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A hold of this node.
    Hold(u64),
    /// What was written or asked for without one, while a collection ran.
    Touched(u64),
}

impl Owner {
    /// What the keys of its notes have behind the number of the node.
    pub(super) fn key(self, page: u64) -> [u8; 17] {
        let (kind, id) = match self {
            Self::Hold(id) => (0, id),
            Self::Touched(number) => (1, number),
        };
        let mut key = [kind; 17];
        key[1..9].copy_from_slice(&id.to_be_bytes());
        key[9..].copy_from_slice(&page.to_be_bytes());
        key
    }
}

/// Blocks of a page: the last one is written again with each batch that is added, so it is small.
const PAGE: usize = 512;

/// All that is kept, in pages.
#[derive(Debug, Default)]
pub(super) struct Notes {
    all: HashSet<Print>,
    /// The pages before the last one.
    full: u64,
    last: Vec<Print>,
    /// The number of the node under which they are written, once they are.
    pub(super) since: Option<u64>,
    /// The hold is gone, and its blocks are kept until this collection is over.
    pub(super) until: Option<u64>,
    /// They counted for nothing for some time.
    pub(super) are_lost: bool,
}

impl Notes {
    /// Adds those that are new; gives the pages that have changed.
    pub(super) fn add(&mut self, prints: &[Print]) -> Vec<(u64, Vec<Print>)> {
        let mut changed = Vec::new();
        let before = self.all.len();
        for print in prints.iter().filter(|print| self.all.insert(**print)) {
            if self.last.len() == PAGE {
                changed.push((self.full, std::mem::take(&mut self.last)));
                self.full += 1;
            }
            self.last.push(*print);
        }
        if self.all.len() > before {
            changed.push((self.full, self.last.clone()));
        }
        changed
    }

    /// The numbers of all pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        0..=self.full
    }

    /// All pages, as if nothing were written yet.
    pub(super) fn begin_again(&mut self) -> Vec<(u64, Vec<Print>)> {
        let all = std::mem::take(&mut self.all).into_iter().collect::<Vec<_>>();
        (self.full, self.since) = (0, None);
        self.last.clear();
        self.add(&all)
    }

    /// Forgets what it was.
    pub(super) fn lose(&mut self) {
        *self = Self { until: self.until, are_lost: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_filled_one_after_the_other() {
        let mut notes = Notes::default();
        let prints: Vec<Print> = (0..PAGE as u64 + 2).collect();
        assert_eq!(notes.add(&prints[..1]), [(0, vec![0])]);
        let changed = notes.add(&prints);
        assert_eq!(changed[0].1, prints[..PAGE]);
        assert_eq!(changed[1], (1, prints[PAGE..].to_vec()));
        assert!(notes.add(&prints).is_empty(), "nothing is new");
        assert_eq!(notes.begin_again().iter().map(|page| page.1.len()).sum::<usize>(), PAGE + 2);
        assert!(notes.pages().eq([0, 1]));
    }
}
