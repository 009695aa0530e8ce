//! Links that were found and not come to yet.

use std::vec;

use ipfs_traits::Cid;

use super::links::Role;

/// Links that are kept, some 150 bytes each. Beyond it those that come last are dropped, and read
/// once more from their block, which is here, when it is their turn.
const MAX_LINKS: usize = 64 << 10;

/// A block that was come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) cid: Cid,
    pub(super) role: Role,
    /// How many links lead here from the root.
    pub(super) depth: usize,
    /// It was not come to before.
    pub(super) is_new: bool,
    /// How many of its links were dropped: it is looked at only for them.
    pub(super) dropped: u64,
}

impl Job {
    pub(super) const fn new(cid: Cid, role: Role, depth: usize) -> Self {
        Self { cid, role, depth, is_new: false, dropped: 0 }
    }
}

/// Links that were found and not come to yet. Those that were found last are come to first, so that
/// they are few.
#[derive(Debug)]
pub(super) struct Pending {
    first: Option<Job>,
    frames: Vec<Frame>,
    /// Links that are kept, in all frames.
    kept: usize,
    /// Links that were dropped, in all frames.
    dropped: u64,
    /// How many frames, counted from the bottom, have dropped their links.
    closed: usize,
    most: usize,
}

/// What is left of the links of a block.
#[derive(Debug)]
struct Frame {
    of: Job,
    links: vec::IntoIter<(Cid, Role)>,
    dropped: u64,
}

impl Pending {
    pub(super) fn new(first: Job) -> Self {
        let (frames, kept, dropped, closed) = (Vec::new(), 0, 0, 0);
        Self { first: Some(first), frames, kept, dropped, closed, most: MAX_LINKS }
    }

    /// How many links there are.
    pub(super) fn len(&self) -> u64 {
        self.kept as u64 + self.dropped + u64::from(self.first.is_some())
    }

    /// Adds the links of a block.
    pub(super) fn push(&mut self, of: Job, links: Vec<(Cid, Role)>) {
        if links.is_empty() {
            return;
        }
        // What has nothing left is not kept, so that the way along a chain stays short.
        while self.frames.pop_if(|top| top.links.len() == 0 && top.dropped == 0).is_some() {}
        self.closed = self.closed.min(self.frames.len());
        self.kept += links.len();
        self.frames.push(Frame { of, links: links.into_iter(), dropped: 0 });
        while self.kept > self.most && self.closed + 1 < self.frames.len() {
            self.drop_links();
        }
    }

    /// Drops the links of the lowest frame that has some.
    fn drop_links(&mut self) {
        let frame = &mut self.frames[self.closed];
        let links = std::mem::take(&mut frame.links).len();
        frame.dropped = links as u64;
        self.kept -= links;
        self.dropped += links as u64;
        self.closed += 1;
    }

    /// The next block to come to, or to read once more.
    pub(super) fn pop(&mut self) -> Option<Job> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let top = self.frames.last_mut()?;
            if let Some((cid, role)) = top.links.next() {
                self.kept -= 1;
                return Some(Job::new(cid, role, top.of.depth + 1));
            }
            let Frame { of, dropped, .. } = self.frames.pop()?;
            self.closed = self.closed.min(self.frames.len());
            if dropped > 0 {
                self.dropped -= dropped;
                return Some(Job { is_new: false, dropped, ..of });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::{HashTable, Prefix, codes};

    use super::*;

    fn cid(n: usize) -> Cid {
        let prefix = Prefix::v1(codes::RAW, codes::SHA2_256);
        prefix.cid(&n.to_le_bytes(), &HashTable::standard()).unwrap()
    }

    /// A tree whose every block has five links, 780 in all, kept in the place of 12.
    #[test]
    fn what_is_dropped_is_read_once_more() {
        let links = |n: usize| (5 * n + 1..=5 * n + 5).map(|n| (cid(n), Role::All));
        let mut pending = Pending::new(Job::new(cid(0), Role::All, 0));
        pending.most = 12;
        let (mut seen, mut again) = (std::collections::BTreeSet::new(), 0);
        let number: std::collections::BTreeMap<Cid, usize> =
            (0..781).map(|n| (cid(n), n)).collect();
        while let Some(job) = pending.pop() {
            again += usize::from(job.dropped > 0);
            if (job.dropped > 0 || seen.insert(job.cid)) && number[&job.cid] < 156 {
                let links = links(number[&job.cid]);
                // As those who were come to already are passed over.
                let left = links.filter(|(cid, _)| !seen.contains(cid)).collect();
                pending.push(job, left);
            }
            assert!(pending.kept <= 12 + 5, "{pending:?}");
        }
        assert_eq!((seen.len(), pending.len()), (781, 0));
        assert!(again > 0);
    }
}
