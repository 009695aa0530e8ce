//! Choosing whom to ask for what.

use std::{collections::BTreeSet, time::Instant};

use ipfs_traits::{Cid, PeerId};

use super::{Client, Outputs, Peer};
use crate::message::Want;

/// Where so little of what is asked is lacking, nobody is asked whether it has a block beside the
/// one that is asked for it.
const FEW_MISSES: f64 = 0.03;

/// Where so much is lacking, many are asked.
const MANY_MISSES: f64 = 0.3;

/// Peers that are asked whether they have a block, beside the one that is asked for it: a few, and
/// many.
const PROBES: usize = 2;
const MANY_PROBES: usize = 8;

/// Blocks below this are not probed for: others would send them in place of HAVE.
const SMALL: f64 = 2048.0;

/// One want of so many is also asked of a connected peer that has shown nothing of the session yet:
/// it may have come by the rest meanwhile, or its answer may have been lost.
const STRANGER_EVERY: u64 = 8;

/// One want of so many is asked of any peer that can be asked, however slow it was thought to be: so
/// one that had a bad start shows that it is better.
const ANY_EVERY: u64 = 32;

/// The most peers that are asked by broadcast for one CID.
const BROADCAST: usize = 64;

/// The most wants of which a newly connected peer is asked.
const ASK_NEW: usize = 64;

/// Wants without anybody to ask that are looked at again after each message.
const RETRIES: usize = 16;

/// Wants that are tried in vain, for want of room, before the others are left to wait.
const FULL: usize = 4;

/// What there is for a want.
enum Choice {
    Ask(PeerId),
    /// There are peers for it, and all have enough to do.
    Wait,
    Nobody,
}

/// How one peer compares with others for a want: the least is the best.
type Rank = (bool, bool, f64, u64);

impl Client {
    /// The peer is no longer asked about the CID.
    pub(super) fn unask(&mut self, id: PeerId, cid: &Cid) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.settle(cid);
        }
        if let Some(want) = self.wants.get_mut(cid) {
            want.asked.remove(&id);
            want.from.remove(&id);
        }
    }

    pub(super) fn ask(
        &mut self,
        id: PeerId,
        cid: Cid,
        kind: Want,
        now: Instant,
        out: &mut Outputs,
    ) {
        let (Some(peer), Some(want)) = (self.peers.get_mut(&id), self.wants.get_mut(&cid)) else {
            return;
        };
        if kind == Want::Have && !peer.has_presences() {
            return;
        }
        let before = peer.asked(&cid);
        let news = before.is_none() || (before == Some(Want::Have) && kind == Want::Block);
        if !news || (before.is_none() && !peer.remembers_more()) {
            return;
        }
        peer.ask(cid, kind, want.priority());
        want.asked.insert(id);
        if kind == Want::Block {
            want.hedge = Some(now + peer.hedged_after(self.block_size));
            want.from.insert(id);
            self.waiting.remove(&want.number);
            // Of one that is doubtful not much is hoped for.
            if !peer.is_doubtful() {
                self.stuck.remove(&want.number);
            }
            for session in &want.sessions {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.asked(id);
                }
            }
        }
        out.send(id);
    }

    /// Sees to it that somebody is asked for the block, if anybody can be. Says whether the want has
    /// to wait for room.
    pub(super) fn assign(&mut self, cid: Cid, now: Instant, out: &mut Outputs) -> bool {
        let Some(want) = self.wants.get(&cid) else { return false };
        let number = want.number;
        let live = |id: &PeerId| self.peers.get(id).is_some_and(|peer| !peer.is_doubtful());
        if want.from.iter().any(live) {
            return false;
        }
        match self.choose(&cid) {
            Choice::Ask(id) => {
                self.stuck.insert(number, cid);
                self.ask(id, cid, Want::Block, now, out);
                self.probe(cid, id, now, out);
                false
            }
            Choice::Wait => {
                self.stuck.remove(&number);
                self.waiting.insert(number, cid);
                true
            }
            Choice::Nobody => {
                self.waiting.remove(&number);
                self.stuck.insert(number, cid);
                self.broadcast(cid, now, out);
                false
            }
        }
    }

    /// Those who may be asked for the block: who said HAVE, and the peers of the sessions that want
    /// it, but for those that lack it.
    fn candidates(&self, cid: &Cid) -> BTreeSet<PeerId> {
        let Some(want) = self.wants.get(cid) else { return BTreeSet::new() };
        let sessions = want.sessions.iter().filter_map(|id| self.sessions.get(id));
        let of_sessions = sessions.flat_map(|session| session.peers().copied());
        of_sessions
            .filter(|id| !want.donts.contains(id))
            .chain(want.haves.iter().copied())
            .collect()
    }

    /// A peer that can be asked for a block beside the one that is.
    pub(super) fn second(&mut self, cid: &Cid) -> Option<PeerId> {
        match self.choose(cid) {
            Choice::Ask(id) if self.peers.get(&id).is_some_and(|peer| !peer.is_doubtful()) => {
                Some(id)
            }
            _ => None,
        }
    }

    /// The peer that should be the first to deliver, of those that can be asked for the block.
    fn choose(&mut self, cid: &Cid) -> Choice {
        let candidates = self.candidates(cid);
        let (pick, any) = (self.random(), self.random().is_multiple_of(ANY_EVERY));
        let nearest = candidates.iter().filter_map(|id| self.peers.get(id));
        let Some(nearest) = nearest.map(|peer| peer.pace.latency()).min() else {
            return Choice::Nobody;
        };
        let (mut best, mut full): (Option<(Rank, PeerId)>, bool) = (None, false);
        for (i, id) in candidates.into_iter().enumerate() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.asked(cid) == Some(Want::Block) {
                continue;
            }
            let doubtful = peer.is_doubtful();
            if !peer.has_room(self.block_size) {
                full |= !doubtful;
                continue;
            }
            // Equal ones are told apart by chance, so that not all go to the same.
            let tie = pick.rotate_left(i as u32 % 64).wrapping_mul(i as u64 | 1);
            let has = self.wants.get(cid).is_some_and(|want| want.haves.contains(&id));
            let expected = if any { 0.0 } else { peer.expected(nearest, self.block_size) };
            let rank = (doubtful, !has, expected, tie);
            if best.is_none_or(|(best, _)| rank < best) {
                best = Some((rank, id));
            }
        }
        match best {
            // One that is worth something will have room before this one is worth waiting for.
            Some(((true, ..), _)) if full => Choice::Wait,
            Some((_, id)) => Choice::Ask(id),
            None if full => Choice::Wait,
            None => Choice::Nobody,
        }
    }

    /// Asks some whether they have a block that another is asked for.
    fn probe(&mut self, cid: Cid, chosen: PeerId, now: Instant, out: &mut Outputs) {
        let Some(want) = self.wants.get(&cid) else { return };
        let sessions = want.sessions.iter().filter_map(|id| self.sessions.get(id));
        let misses = sessions.map(super::Session::misses).fold(0.0, f64::max);
        let count = match misses {
            _ if self.block_size < SMALL => 0,
            misses if misses < FEW_MISSES => 0,
            misses if misses < MANY_MISSES => PROBES,
            _ => MANY_PROBES,
        };
        // Who has said HAVE is not asked again.
        let haves = want.haves.clone();
        let known = self.candidates(&cid);
        let others = known.iter().filter(|id| **id != chosen && !haves.contains(id));
        let mut others: Vec<PeerId> = others.take(count).copied().collect();
        others.extend(self.stranger(&cid, &known));
        others.into_iter().for_each(|id| self.ask(id, cid, Want::Have, now, out));
    }

    /// Now and then, a connected peer that is none of these.
    fn stranger(&mut self, cid: &Cid, known: &BTreeSet<PeerId>) -> Option<PeerId> {
        let (turn, from) = (self.random(), self.random());
        if !turn.is_multiple_of(STRANGER_EVERY) || self.peers.len() <= known.len() {
            return None;
        }
        let start = (from % self.peers.len() as u64) as usize;
        let around = self.peers.keys().skip(start).chain(self.peers.keys().take(start));
        let donts = &self.wants.get(cid)?.donts;
        around.copied().find(|id| !known.contains(id) && !donts.contains(id))
    }

    /// Asks those who are connected whether they have it, those first that ever gave anything. Of
    /// those who cannot say so one is asked for it.
    fn broadcast(&mut self, cid: Cid, now: Instant, out: &mut Outputs) {
        let Some(want) = self.wants.get(&cid) else { return };
        let more = BROADCAST.saturating_sub(want.asked.len());
        // Who has answered is not asked again: it would answer again, and so on for ever.
        let unasked = |(id, _): &(&PeerId, &Peer)| {
            [&want.asked, &want.donts, &want.haves].iter().all(|known| !known.contains(*id))
        };
        let mut peers: Vec<(bool, PeerId)> =
            self.peers.iter().filter(unasked).map(|(id, peer)| (!peer.pace.gave(), *id)).collect();
        peers.sort_unstable();
        peers.truncate(more);
        if peers.is_empty() || !self.may_broadcast(&cid) {
            return;
        }
        let old = |id: &PeerId| self.peers.get(id).is_some_and(|peer| !peer.has_presences());
        let old = peers.iter().map(|(_, id)| *id).find(old);
        peers.into_iter().for_each(|(_, id)| self.ask(id, cid, Want::Have, now, out));
        if let Some(old) = old
            && self.wants.get(&cid).is_some_and(|want| want.haves.is_empty())
        {
            self.ask(old, cid, Want::Block, now, out);
        }
    }

    /// Whether a want may be asked of all who are connected; if so, it counts as broadcast.
    fn may_broadcast(&mut self, cid: &Cid) -> bool {
        let Some(want) = self.wants.get(cid) else { return false };
        let mut may = false;
        for session in &want.sessions {
            if let Some(session) = self.sessions.get_mut(session)
                && session.may_broadcast(cid)
            {
                session.broadcasts(*cid);
                may = true;
            }
        }
        may
    }

    /// Asks a peer that has just come for what nobody else could be asked for.
    pub(super) fn introduce(&mut self, id: PeerId, now: Instant, out: &mut Outputs) {
        let presences = self.peers.get(&id).is_some_and(Peer::has_presences);
        let kind = if presences { Want::Have } else { Want::Block };
        let some: Vec<Cid> = self.stuck.values().take(ASK_NEW).copied().collect();
        for cid in some {
            let room = self.peers.get_mut(&id).is_some_and(|peer| peer.has_room(self.block_size));
            if (presences || room) && self.may_broadcast(&cid) {
                self.ask(id, cid, kind, now, out);
            }
        }
    }

    /// Asks for what waits, as long as there is room, and looks again at some of the wants that
    /// nobody could be asked for.
    pub(super) fn fill(&mut self, now: Instant, out: &mut Outputs) {
        let (mut full, mut after) = (0, 0);
        while full < FULL
            && let Some((number, cid)) = self.waiting.range(after..).next()
        {
            after = number + 1;
            full += usize::from(self.assign(*cid, now, out));
        }
        let some: Vec<(u64, Cid)> =
            self.stuck.range(self.next_stuck..).take(RETRIES).map(|(n, cid)| (*n, *cid)).collect();
        let last = some.last().filter(|_| some.len() == RETRIES);
        self.next_stuck = last.map_or(0, |(number, _)| number + 1);
        some.into_iter().for_each(|(_, cid)| {
            self.assign(cid, now, out);
        });
    }
}
