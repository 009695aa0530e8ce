//! What could not be had.

use std::collections::BTreeSet;

use ipfs_traits::{Cid, Error, Missing, Result};

/// Blocks that an error names: enough to go on from, and some 200 kB.
const MAX_NAMED: usize = 1000;

/// What could not be had.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    named: Vec<Missing>,
    cids: BTreeSet<Cid>,
    count: u64,
}

impl Lacking {
    pub(crate) fn add(&mut self, cid: Cid, why: Error) {
        if self.cids.contains(&cid) {
            return;
        }
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.cids.insert(cid);
            self.named.push(Missing::new(cid, why));
        }
    }

    /// Some whose names are not at hand.
    pub(crate) const fn add_unnamed(&mut self, count: u64) {
        self.count += count;
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// How many, and the first of them.
    pub(crate) fn into_parts(self) -> (u64, Vec<Missing>) {
        (self.count, self.named)
    }

    /// An error if something could not be had.
    pub(crate) fn into_result(self) -> Result<()> {
        match self.into_parts() {
            (0, _) => Ok(()),
            (count, named) => Err(Error::incomplete(count, named)),
        }
    }
}
