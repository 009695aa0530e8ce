//! What a run has been told, and so has to be true.

use std::collections::BTreeMap;

use ipfs_core::Cid;

/// What may be the case: one thing, or, while a change is under way, another one.
#[derive(Clone, Debug)]
pub(super) struct Possible<T>(Vec<T>);

impl<T: Default> Default for Possible<T> {
    fn default() -> Self {
        Self(vec![T::default()])
    }
}

impl<T: Clone + PartialEq> Possible<T> {
    /// What is the case, but for what is under way.
    pub(super) fn now(&self) -> T {
        self.0[0].clone()
    }

    pub(super) fn begin(&mut self, after: T) {
        self.0.push(after);
    }

    pub(super) fn done(&mut self) {
        self.0.drain(..self.0.len() - 1);
    }

    pub(super) fn failed(&mut self) {
        self.0.truncate(1);
    }

    pub(super) fn allows(&self, found: &T) -> bool {
        self.0.contains(found)
    }
}

/// Names of pins, by what is pinned.
pub(super) type Pins = BTreeMap<Cid, String>;

/// What the mutable tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    File(Vec<u8>),
}

pub(super) type Tree = BTreeMap<String, Entry>;

/// Who pins: each has roots of their own, so that it is known what comes of it.
pub(super) const OWNERS: usize = 3;

/// What is known of a run. It outlives the node.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) pins: [Possible<Pins>; OWNERS],
    pub(super) tree: Possible<Tree>,
    /// The number of the collection that runs for sure.
    pub(super) collecting: Option<u64>,
    pub(super) counts: Counts,
    /// What was not as it should be.
    pub(super) wrong: Option<String>,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) collections: u64,
    pub(super) deleted: u64,
    pub(super) pins: u64,
    pub(super) unpins: u64,
    pub(super) held: u64,
    pub(super) noted: u64,
    pub(super) flushes: u64,
    /// Blocks deleted one by one.
    pub(super) deletes: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.collections += other.collections;
        self.deleted += other.deleted;
        self.pins += other.pins;
        self.unpins += other.unpins;
        self.held += other.held;
        self.noted += other.noted;
        self.flushes += other.flushes;
        self.deletes += other.deletes;
    }
}
