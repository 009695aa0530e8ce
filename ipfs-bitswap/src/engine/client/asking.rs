//! Choosing whom to ask for what.

use std::{collections::BTreeSet, ops::Bound};

use ipfs_traits::{Cid, PeerId};

use super::{Client, Outputs, Peer, Want};

/// Peers that are asked whether they have a block, beside the one that is asked for it.
const PROBES: usize = 2;

/// One want of so many is also asked of a connected peer that has shown nothing of the session yet:
/// it may have come by the rest meanwhile, or its answer may have been lost.
const STRANGER_EVERY: u64 = 8;

/// The most peers that are asked by broadcast for one CID.
const BROADCAST: usize = 64;

/// Wants without anybody to ask that are looked at again after each message.
const RETRIES: usize = 16;

impl Client {
    /// The peer is no longer asked about the CID.
    pub(super) fn unask(&mut self, id: PeerId, cid: &Cid) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.settle(cid);
        }
        if let Some(want) = self.wants.get_mut(cid) {
            want.asked.remove(&id);
            want.from.remove(&id);
            if want.from.is_empty() {
                self.open.insert(*cid);
            }
        }
    }

    pub(super) fn ask(&mut self, id: PeerId, cid: Cid, kind: Want, out: &mut Outputs) {
        let (Some(peer), Some(want)) = (self.peers.get_mut(&id), self.wants.get_mut(&cid)) else {
            return;
        };
        let before = peer.asked(&cid);
        let news = before.is_none() || (before == Some(Want::Have) && kind == Want::Block);
        if !news || (before.is_none() && !peer.has_room()) {
            return;
        }
        peer.ask(cid, kind, want.priority);
        want.asked.insert(id);
        if kind == Want::Block {
            want.from.insert(id);
            self.open.remove(&cid);
        }
        out.send(id);
    }

    /// Sees to it that somebody is asked for the block, if anybody can be.
    pub(super) fn assign(&mut self, cid: Cid, out: &mut Outputs) {
        let Some(want) = self.wants.get(&cid) else { return };
        let live = |id: &PeerId| self.peers.get(id).is_some_and(|peer| !peer.is_silent());
        if want.from.iter().any(live) {
            return;
        }
        self.open.insert(cid);
        let of_sessions: BTreeSet<PeerId> = want
            .sessions
            .iter()
            .filter_map(|id| self.sessions.get(id))
            .flat_map(|session| session.peers().copied())
            .filter(|id| !want.donts.contains(id))
            .collect();
        let haves = want.haves.clone();
        if let Some(id) = self.best(&cid, &haves) {
            self.ask(id, cid, Want::Block, out);
        } else if let Some(id) = self.best(&cid, &of_sessions) {
            self.ask(id, cid, Want::Block, out);
            let others = of_sessions.iter().filter(|other| **other != id);
            let mut others: Vec<PeerId> = others.take(PROBES).copied().collect();
            others.extend(self.stranger(&of_sessions));
            others.into_iter().for_each(|id| self.ask(id, cid, Want::Have, out));
        } else {
            self.broadcast(cid, out);
        }
    }

    /// The peer that should be the first to deliver, of those that can be asked for the block.
    fn best(&mut self, cid: &Cid, among: &BTreeSet<PeerId>) -> Option<PeerId> {
        let pick = self.random();
        let latencies = among.iter().filter_map(|id| self.peers.get(id)).map(Peer::latency);
        let nearest = latencies.min()?;
        let mut best: Option<(bool, f64, u64, PeerId)> = None;
        for (i, id) in among.iter().enumerate() {
            let Some(peer) = self.peers.get(id) else { continue };
            let asked = peer.asked(cid);
            if asked == Some(Want::Block) || (asked.is_none() && !peer.has_room()) {
                continue;
            }
            // Equal ones are told apart by chance, so that not all go to the same.
            let tie = pick.rotate_left(i as u32 % 64).wrapping_mul(i as u64 | 1);
            let rank = (peer.is_silent(), peer.expected(nearest, self.block_size), tie, *id);
            if best.is_none_or(|best| (rank.0, rank.1, rank.2) < (best.0, best.1, best.2)) {
                best = Some(rank);
            }
        }
        best.map(|(.., id)| id)
    }

    /// Now and then, a connected peer that is none of these.
    fn stranger(&mut self, known: &BTreeSet<PeerId>) -> Option<PeerId> {
        let (turn, from) = (self.random(), self.random());
        if !turn.is_multiple_of(STRANGER_EVERY) || self.peers.len() <= known.len() {
            return None;
        }
        let start = (from % self.peers.len() as u64) as usize;
        let around = self.peers.keys().skip(start).chain(self.peers.keys().take(start));
        around.copied().find(|id| !known.contains(id))
    }

    /// Asks those who are connected whether they have it.
    fn broadcast(&mut self, cid: Cid, out: &mut Outputs) {
        let Some(want) = self.wants.get(&cid) else { return };
        let more = BROADCAST.saturating_sub(want.asked.len());
        let unasked = |id: &&PeerId| !want.asked.contains(id) && !want.donts.contains(id);
        let peers: Vec<PeerId> = self.peers.keys().filter(unasked).take(more).copied().collect();
        peers.into_iter().for_each(|id| self.ask(id, cid, Want::Have, out));
    }

    /// Looks again at some of the wants that nobody could be asked for.
    pub(super) fn retry_open(&mut self, out: &mut Outputs) {
        let from = self.next_open.take();
        let after = from.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<Cid> =
            self.open.range((after, Bound::Unbounded)).take(RETRIES).copied().collect();
        self.next_open = some.last().filter(|_| some.len() == RETRIES).copied();
        some.into_iter().for_each(|cid| self.assign(cid, out));
    }
}
