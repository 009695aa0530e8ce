//! Peers that did not answer a moment ago. Others go on naming the dead for a while, and each lookup
//! would wait for them again.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ipfs_traits::{Multiaddr, PeerId, PeerInfo};

/// How long a peer is left alone: a minute, after which one that was overloaded has recovered.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Peers that are remembered: more than fail within a minute.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Absent {
    /// Where each was looked for.
    tried: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// The longest ago first.
    since: VecDeque<(Instant, PeerId)>,
}

impl Absent {
    /// A peer did not answer where it was said to be.
    pub(super) fn note(&mut self, peer: PeerInfo, now: Instant) {
        self.forget(now);
        if self.since.len() < MOST && self.tried.insert(peer.id, peer.addresses).is_none() {
            self.since.push_back((now, peer.id));
        }
    }

    /// A peer answered.
    pub(super) fn is_there(&mut self, peer: &PeerId) {
        self.tried.remove(peer);
    }

    /// Whether a peer was looked for wherever it is said to be. At another address it is looked for
    /// again: nobody keeps a peer from being asked by a wrong one.
    pub(super) fn holds(&self, peer: &PeerInfo) -> bool {
        let tried = self.tried.get(&peer.id);
        tried.is_some_and(|tried| peer.addresses.iter().all(|address| tried.contains(address)))
    }

    /// Forgets those who have been left alone for long enough.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((since, peer)) = self.since.front()
            && now >= *since + LEFT_ALONE
        {
            self.tried.remove(peer);
            self.since.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::memory::peer_id;

    use super::*;

    fn at(number: u64, place: u64) -> PeerInfo {
        PeerInfo::new(peer_id(number), vec![format!("/memory/{place}").parse().unwrap()])
    }

    #[test]
    fn who_did_not_answer_is_left_alone_for_a_minute() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        absent.note(at(1, 1), start);
        absent.note(at(2, 2), start);
        absent.is_there(&peer_id(2));
        assert!(absent.holds(&at(1, 1)) && !absent.holds(&at(2, 2)));
        absent.forget(start + LEFT_ALONE - Duration::from_millis(1));
        assert!(absent.holds(&at(1, 1)));
        absent.forget(start + LEFT_ALONE);
        assert!(!absent.holds(&at(1, 1)));
    }

    /// A liar names an honest peer where it is not, so that nobody asks it.
    #[test]
    fn a_wrong_address_keeps_nobody_from_the_right_one() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        absent.note(at(1, 66), start);
        assert!(!absent.holds(&at(1, 1)));
    }

    #[test]
    fn few_are_remembered() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        (0..5000).for_each(|number| absent.note(at(number, 1), start));
        assert_eq!((absent.tried.len(), absent.since.len()), (MOST, MOST));
        for _ in 0..5000 {
            absent.is_there(&peer_id(7));
            absent.note(at(7, 1), start);
        }
        assert!(absent.since.len() <= MOST);
    }
}
