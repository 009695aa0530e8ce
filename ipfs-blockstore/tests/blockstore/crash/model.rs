//! What is known of each block, by what was acknowledged.

use std::collections::BTreeMap;

use ipfs_traits::Multihash;

/// A put or a delete of a block, with its place in time.
#[derive(Clone, Copy, Debug)]
struct Write {
    put: bool,
    began: u64,
    /// `None` while it is under way, or when it failed.
    ended: Option<u64>,
    durable: bool,
    /// When it was seen that another write came after it.
    overtaken: Option<u64>,
}

/// The writes of each block that may be its last one, now or after a crash.
///
/// Writes that overlap may happen in either order; of those that do not, the later one counts. A
/// flush makes durable what had ended before it began. After a crash a block is as one of its writes
/// has left it, but none after which one came that is durable.
#[derive(Clone, Debug)]
pub(super) struct Model {
    clock: u64,
    blocks: BTreeMap<Multihash, Vec<Write>>,
    /// When the newest write of each block began.
    newest: BTreeMap<Multihash, u64>,
}

/// Which of the two states are possible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Possible {
    pub(super) present: bool,
    pub(super) absent: bool,
}

impl Possible {
    fn of<'a>(writes: impl Iterator<Item = &'a Write>) -> Self {
        writes.fold(Self { present: false, absent: false }, |so_far, write| Self {
            present: so_far.present | write.put,
            absent: so_far.absent | !write.put,
        })
    }

    pub(super) const fn is(self, present: bool) -> bool {
        if present { self.present } else { self.absent }
    }
}

/// A read under way, and what it may find if nobody writes meanwhile.
#[derive(Debug)]
pub(super) struct Reading {
    began: u64,
    before: BTreeMap<Multihash, Possible>,
}

impl Model {
    /// Nothing of these is there.
    pub(super) fn new(hashes: impl Iterator<Item = Multihash>) -> Self {
        let blocks: BTreeMap<_, _> =
            hashes.map(|hash| (hash, vec![Self::settled(false)])).collect();
        let newest = blocks.keys().map(|hash| (*hash, 0)).collect();
        Self { clock: 1, blocks, newest }
    }

    const fn settled(put: bool) -> Write {
        Write { put, began: 0, ended: Some(0), durable: true, overtaken: None }
    }

    /// All of it is there, and durable.
    pub(super) fn all_present(&mut self) {
        self.blocks.values_mut().for_each(|writes| *writes = vec![Self::settled(true)]);
    }

    pub(super) fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A put or a delete begins; gives when.
    pub(super) fn begin(&mut self, hashes: &[Multihash], put: bool) -> u64 {
        let began = self.now();
        for hash in hashes {
            // A batch may name a block twice.
            if self.newest.insert(*hash, began) != Some(began) {
                let writes = self.blocks.get_mut(hash).unwrap();
                writes.push(Write { put, began, ended: None, durable: false, overtaken: None });
            }
        }
        began
    }

    /// The one that began then has returned.
    pub(super) fn end(&mut self, hashes: &[Multihash], began: u64) {
        let now = self.now();
        for hash in hashes {
            let writes = self.blocks.get_mut(hash).unwrap().iter_mut();
            writes.filter(|write| write.began == began).for_each(|write| write.ended = Some(now));
        }
    }

    /// A flush that began then has returned.
    pub(super) fn flushed(&mut self, began: u64) {
        for writes in self.blocks.values_mut() {
            for write in writes.iter_mut() {
                write.durable |= write.ended.is_some_and(|ended| ended < began);
            }
            writes.retain(|write| write.overtaken.is_none_or(|overtaken| overtaken > began));
            let last = writes.iter().filter(|write| write.durable).map(|write| write.began).max();
            let last = last.unwrap_or(0);
            writes.retain(|write| write.ended.is_none_or(|ended| ended >= last));
        }
    }

    /// What a block may be after a crash.
    pub(super) fn after_crash(&self, hash: &Multihash) -> Possible {
        Possible::of(self.blocks[hash].iter())
    }

    /// A read of these begins.
    pub(super) fn begin_read(&mut self, hashes: &[Multihash]) -> Reading {
        let began = self.now();
        let current = |hash: &Multihash| (*hash, Possible::of(self.current(hash, began)));
        Reading { began, before: hashes.iter().map(current).collect() }
    }

    /// The writes that may be the last one, for whoever begins to read then.
    fn current(&self, hash: &Multihash, now: u64) -> impl Iterator<Item = &Write> {
        let ended = move |write: &&Write| write.ended.is_some_and(|ended| ended < now);
        let writes = &self.blocks[hash];
        // Those that none had begun after when they ended.
        let last = writes.iter().filter(ended).map(|write| write.began).max().unwrap_or(0);
        writes.iter().filter(move |write| {
            write.overtaken.is_none() && write.ended.is_none_or(|ended| ended >= last)
        })
    }

    /// A read has returned; whether it may say so of a block.
    pub(super) fn read(&mut self, reading: &Reading, hash: &Multihash, present: bool) -> bool {
        let now = self.now();
        if self.newest[hash] > reading.began {
            // It may have seen what was before, or what came and went meanwhile.
            return true;
        }
        let writes = self.blocks.get_mut(hash).unwrap();
        if writes.iter().all(|write| write.ended.is_some_and(|ended| ended < reading.began)) {
            // Nobody was at work: the write that was seen is the last one.
            let others = writes.iter_mut().filter(|write| write.put != present);
            others.for_each(|write| write.overtaken = write.overtaken.or(Some(now)));
        }
        reading.before[hash].is(present)
    }
}
