//! Keeping the table good: asking those who may serve, filling buckets, asking the silent.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use ipfs_traits::{PeerId, PeerInfo};
use sha2::{Digest, Sha256};

use super::{Config, LookupId, Outcome, Table};
use crate::keyspace::Position;

/// Peers that wait to be asked whether they serve. Beyond it the next ones are passed over: they
/// come again.
const MAX_WAITING: usize = 256;
/// Peers that are asked at once.
const MAX_CHECKS: usize = 16;
/// Buckets that are looked into: as many as a network of a million has full ones.
const MAX_BUCKETS: u32 = 15;
/// With fewer peers than this the table is filled more often.
const FEW: usize = 10;
/// How often, then.
const OFTEN: Duration = Duration::from_secs(60);
/// Lookups whose distances tell how large the network is: the last ones, as it changes.
const MEASURES: usize = 16;

#[derive(Debug)]
pub(super) struct Upkeep {
    peer: PeerId,
    here: Position,
    seed: [u8; 32],
    drawn: u64,
    waiting: VecDeque<PeerInfo>,
    checking: BTreeSet<PeerId>,
    refresh_at: Instant,
    /// Lookups of its own.
    own: BTreeSet<LookupId>,
    radii: VecDeque<(usize, f64)>,
}

impl Upkeep {
    pub(super) fn new(peer: PeerId, seed: [u8; 32], now: Instant) -> Self {
        Self {
            peer,
            here: Position::of_peer(&peer),
            seed,
            drawn: 0,
            waiting: VecDeque::new(),
            checking: BTreeSet::new(),
            refresh_at: now,
            own: BTreeSet::new(),
            radii: VecDeque::new(),
        }
    }

    /// Has a peer asked whether it serves.
    pub(super) fn check(&mut self, peer: PeerInfo) {
        let known = self.checking.contains(&peer.id)
            || self.waiting.iter().any(|other| other.id == peer.id);
        if !known && self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(peer);
        }
    }

    pub(super) fn next_check(&mut self) -> Option<PeerInfo> {
        if self.checking.len() >= MAX_CHECKS {
            return None;
        }
        let peer = self.waiting.pop_front()?;
        self.checking.insert(peer.id);
        Some(peer)
    }

    pub(super) fn checked(&mut self, peer: &PeerId) {
        self.checking.remove(peer);
    }

    pub(super) const fn refresh_now(&mut self, now: Instant) {
        self.refresh_at = now;
    }

    /// When there is something to be done.
    pub(super) const fn due(&self) -> Instant {
        self.refresh_at
    }

    /// Keys to look for: this node's own, and one of each bucket. The silent are asked.
    pub(super) fn targets(&mut self, table: &Table, config: &Config, now: Instant) -> Vec<Bytes> {
        let wait = if table.len() < FEW { OFTEN.min(config.refresh) } else { config.refresh };
        // Nodes that were started together do not all ask together.
        self.refresh_at = now + wait.mul_f64(0.9 + 0.2 * self.share());
        for peer in table.silent(config.refresh, now, MAX_WAITING) {
            self.check(peer);
        }
        if table.len() == 0 || !self.own.is_empty() {
            return Vec::new(); // nobody to ask, or the last round is not over yet
        }
        // Whoever belongs into the buckets behind one that is not full is among the nearest.
        let buckets = 0..=table.first_with_room().min(MAX_BUCKETS);
        let mut targets = vec![self.peer.to_bytes().into()];
        targets.extend(buckets.map(|bits| self.near_this(bits)));
        targets
    }

    /// The bytes of a peer id that has exactly so many bits in common with this node.
    fn near_this(&mut self, bits: u32) -> Bytes {
        loop {
            let key = [&[0x12, 0x20][..], &self.draw()].concat();
            if Position::of_key(&key).common_prefix(&self.here) == bits {
                return key.into();
            }
        }
    }

    /// Whether nobody is asked, and nobody looked for.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.checking.is_empty() && self.own.is_empty()
    }

    pub(super) fn own(&mut self, id: LookupId) {
        self.own.insert(id);
    }

    pub(super) fn is_own(&self, id: &LookupId) -> bool {
        self.own.contains(id)
    }

    /// Whether the lookup that ended was one of its own.
    pub(super) fn finished(&mut self, id: &LookupId) -> bool {
        self.own.remove(id)
    }

    /// Learns from a lookup how large the network is.
    pub(super) fn measure(&mut self, outcome: &Outcome, bucket: usize) {
        if outcome.closest.len() >= bucket && outcome.radius > 0.0 {
            self.radii.push_back((outcome.closest.len(), outcome.radius));
            if self.radii.len() > MEASURES {
                self.radii.pop_front();
            }
        }
    }

    /// Of `n` peers at random places the `k`-th nearest to any position is, in the mean, at
    /// `k / (n + 1)` of the space.
    pub(super) fn network_size(&self) -> Option<u64> {
        let peers: usize = self.radii.iter().map(|(peers, _)| *peers).sum();
        let space: f64 = self.radii.iter().map(|(_, radius)| *radius).sum();
        (space > 0.0).then(|| (peers as f64 / space) as u64)
    }

    fn share(&mut self) -> f64 {
        let [a, b, ..] = self.draw();
        f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX)
    }

    /// Numbers that look like chance to whoever does not know the seed.
    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.drawn.to_be_bytes())
            .finalize()
            .into()
    }
}
