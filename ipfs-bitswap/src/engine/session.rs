//! One session: what it wants, whom it asks, and when it looks for others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use ipfs_traits::{Block, Cid, Giver, GiverStats, PeerId, SessionStats};

/// After so many DONT_HAVE in a row, a peer is no longer taken for one of the session's.
const MAX_MISSES: u32 = 16;

/// How long a session waits before it looks for providers, when nobody it knows has given anything.
const FIRST_SEARCH: Duration = Duration::from_secs(1);

/// How long after the last block or HAVE it does so.
const STALLED: Duration = Duration::from_secs(10);

/// The longest time between two searches.
const MAX_SEARCH: Duration = Duration::from_secs(60);

/// Peers of a session that are not connected yet.
const MAX_HINTED: usize = 64;

/// Peers whose gifts to a session are counted each by itself.
const MAX_COUNTED: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) wants: BTreeSet<Cid>,
    /// Peers that gave or have some of it, and how many times in a row they lacked something.
    peers: BTreeMap<PeerId, u32>,
    /// Peers that are said to have some of it.
    hinted: BTreeSet<PeerId>,
    stats: SessionStats,
    /// What each peer gave, also those that are gone.
    given: BTreeMap<PeerId, Given>,
    next_search: Option<Instant>,
    interval: Duration,
}

/// What a peer gave to a session.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    blocks: u64,
    bytes: u64,
    duplicates: u64,
}

impl Session {
    pub(super) fn want(&mut self, cid: Cid, now: Instant) -> bool {
        if !self.wants.insert(cid) {
            return false;
        }
        if self.next_search.is_none() {
            self.interval = if self.peers.is_empty() { FIRST_SEARCH } else { STALLED };
            self.next_search = Some(now + self.interval);
        }
        true
    }

    /// Something has come: there is no need to look for others for a while.
    pub(super) fn progress(&mut self, now: Instant) {
        self.interval = STALLED;
        self.next_search = (!self.wants.is_empty()).then_some(now + self.interval);
    }

    pub(super) fn forget(&mut self, cid: &Cid) {
        self.wants.remove(cid);
        if self.wants.is_empty() {
            self.next_search = None;
        }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.next_search
    }

    /// What to look for, if it is time.
    pub(super) fn search(&mut self, pick: u64, now: Instant) -> Option<Cid> {
        if self.next_search.is_none_or(|at| at > now) {
            return None;
        }
        self.interval = (self.interval * 2).min(MAX_SEARCH);
        self.next_search = Some(now + self.interval);
        // Any of the first ones: if one is nowhere to be found, another may be.
        let among = self.wants.len().min(16) as u64;
        self.wants.iter().nth((pick % among.max(1)) as usize).copied()
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// The peer has some of it. Says whether that is news.
    pub(super) fn add_peer(&mut self, peer: PeerId) -> bool {
        self.hinted.remove(&peer);
        self.peers.insert(peer, 0).is_none()
    }

    /// The peer lacks something.
    pub(super) fn missed(&mut self, peer: &PeerId) {
        if let Some(misses) = self.peers.get_mut(peer) {
            *misses += 1;
            if *misses >= MAX_MISSES {
                self.peers.remove(peer);
            }
        }
    }

    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// The peer is said to have some of it, and is not connected.
    pub(super) fn hint(&mut self, peer: PeerId) {
        if self.hinted.len() < MAX_HINTED {
            self.hinted.insert(peer);
        }
    }

    /// Whether the peer, which has just connected, is said to have some of it.
    pub(super) fn take_hint(&mut self, peer: &PeerId) -> bool {
        self.hinted.remove(peer)
    }

    /// A block that was wanted has come from this peer.
    pub(super) fn received(&mut self, from: PeerId, block: &Block) {
        self.stats.blocks += 1;
        self.stats.bytes += block.len() as u64;
        if let Some(given) = self.given_by(from) {
            given.blocks += 1;
            given.bytes += block.len() as u64;
        }
    }

    /// A block has come once more, from this peer.
    pub(super) fn duplicate(&mut self, from: PeerId) {
        self.stats.duplicates += 1;
        if let Some(given) = self.given_by(from) {
            given.duplicates += 1;
        }
    }

    fn given_by(&mut self, peer: PeerId) -> Option<&mut Given> {
        let room = self.given.len() < MAX_COUNTED || self.given.contains_key(&peer);
        room.then(|| self.given.entry(peer).or_default())
    }

    /// What has happened, but for what only the peers themselves know.
    pub(super) fn stats(&self) -> SessionStats {
        let mut stats = self.stats.clone();
        stats.wanted = self.wants.len() as u64;
        let peers: BTreeSet<PeerId> = self.peers.keys().chain(self.given.keys()).copied().collect();
        stats.givers = peers.into_iter().map(|peer| self.giver(peer)).collect();
        stats
    }

    fn giver(&self, peer: PeerId) -> GiverStats {
        let mut giver = GiverStats::new(Giver::Peer(peer));
        if let Some(given) = self.given.get(&peer) {
            giver.blocks = given.blocks;
            giver.bytes = given.bytes;
            giver.duplicates = given.duplicates;
        }
        giver
    }
}
