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

#[derive(Debug)]
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
    /// What is asked of all, and answered by nobody yet.
    broadcast: BTreeSet<Cid>,
    /// How much of what was asked last was not there.
    misses: f64,
    /// How many times anything was not there.
    all_misses: usize,
    hedges: u64,
}

/// Wants of a session that are broadcast at once, as Kubo has it, and how many to begin with: of
/// small blocks each brings the block from all who have it.
const MAX_BROADCAST: usize = 64;
const FIRST_BROADCAST: usize = 2;

/// How much of what is asked is taken to be lacking until it is known, and how much one answer
/// counts. A miss is told once for each peer that was asked, and a block comes once.
const FIRST_MISSES: f64 = 0.1;
const ONE_MISS: f64 = 1.0 / 32.0;
const ONE_BLOCK: f64 = 1.0 / 8.0;

/// A block is asked of a second peer at once only so many times, and one in so many.
const HEDGES: u64 = 2;
const HEDGED: u64 = 200;

/// What a peer gave to a session.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    asked: u64,
    blocks: u64,
    bytes: u64,
    duplicates: u64,
}

impl Session {
    pub(super) const fn new() -> Self {
        Self {
            wants: BTreeSet::new(),
            peers: BTreeMap::new(),
            hinted: BTreeSet::new(),
            stats: SessionStats::new(),
            given: BTreeMap::new(),
            next_search: None,
            interval: FIRST_SEARCH,
            broadcast: BTreeSet::new(),
            misses: FIRST_MISSES,
            all_misses: 0,
            hedges: 0,
        }
    }

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
        self.broadcast.remove(cid);
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

    /// Whether one more CID may be asked of all who are connected.
    pub(super) fn may_broadcast(&self, cid: &Cid) -> bool {
        let most = (FIRST_BROADCAST + self.all_misses).min(MAX_BROADCAST);
        self.broadcast.contains(cid) || self.broadcast.len() < most
    }

    pub(super) fn broadcasts(&mut self, cid: Cid) {
        self.broadcast.insert(cid);
    }

    /// How much of what was asked last was not there: 0 to 1.
    pub(super) const fn misses(&self) -> f64 {
        self.misses
    }

    /// Whether a block may be asked of a second peer.
    pub(super) const fn may_hedge(&self) -> bool {
        self.hedges < HEDGES + self.stats.blocks / HEDGED
    }

    pub(super) const fn hedge(&mut self) {
        self.hedges += 1;
    }

    /// The peer is asked for a block.
    pub(super) fn asked(&mut self, peer: PeerId) {
        if let Some(given) = self.given_by(peer) {
            given.asked += 1;
        }
    }

    /// The peer lacks something.
    pub(super) fn missed(&mut self, peer: &PeerId, cid: &Cid) {
        self.broadcast.remove(cid);
        self.all_misses = self.all_misses.saturating_add(1);
        self.misses += (1.0 - self.misses) * ONE_MISS;
        if let Some(misses) = self.peers.get_mut(peer) {
            *misses += 1;
            if *misses >= MAX_MISSES {
                self.peers.remove(peer);
            }
        }
    }

    /// The peer is gone. It may come back.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        if self.peers.remove(peer).is_some() {
            self.hint(*peer);
        }
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
        self.misses -= self.misses * ONE_BLOCK;
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

    /// What has happened; `add` says of each peer what is known beside what it gave.
    pub(super) fn stats(&self, add: impl Fn(PeerId, &mut GiverStats)) -> SessionStats {
        let mut stats = self.stats.clone();
        stats.wanted = self.wants.len() as u64;
        let peers: BTreeSet<PeerId> = self.peers.keys().chain(self.given.keys()).copied().collect();
        let giver = |peer| {
            let mut giver = self.giver(peer);
            add(peer, &mut giver);
            giver
        };
        stats.givers = peers.into_iter().map(giver).collect();
        stats
    }

    fn giver(&self, peer: PeerId) -> GiverStats {
        let mut giver = GiverStats::new(Giver::Peer(peer));
        if let Some(given) = self.given.get(&peer) {
            giver.asked = given.asked;
            giver.blocks = given.blocks;
            giver.bytes = given.bytes;
            giver.duplicates = given.duplicates;
        }
        giver
    }
}
