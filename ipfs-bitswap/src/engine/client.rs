//! The client half: whom to ask for what, and when to ask others.
//!
//! A want begins with WANT-HAVE to all who are connected, unless the session knows peers already:
//! then the one that should be fastest is asked for the block at once, as long as what is on its way
//! from it is within its window, and others whether they have it, the more of them the more was
//! lacking before. Whoever says HAVE may be asked for the block; whoever says DONT_HAVE, is lost, or
//! says nothing has the want taken to the next one. Only one peer is asked for a block at a time,
//! unless it is late, or the block is one of the last.

mod answers;
mod asking;
mod overdue;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use ipfs_traits::{Cid, Multihash, PeerId, PeerInfo, SessionStats};

use super::{Output, Outputs, SessionId, Stats, ask::Peer, session::Session};
use crate::message::{Message, Version};

/// What the size of a block is taken to be until some have come.
const FIRST_BLOCK: f64 = 256.0 * 1024.0;

/// Blocks whose sizes make the one that is expected.
const SIZES: u32 = 10;

/// Blocks that came last, or are no longer wanted, to tell one that comes late from one that nobody
/// asked for: what may be on its way at the largest window, in blocks of 16 KiB.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
pub(super) struct Client {
    peers: BTreeMap<PeerId, Peer>,
    sessions: BTreeMap<SessionId, Session>,
    wants: BTreeMap<Cid, Wanted>,
    by_hash: BTreeMap<Multihash, BTreeSet<Cid>>,
    /// Wants for whose block somebody will be asked when there is room, by their number.
    waiting: BTreeMap<u64, Cid>,
    /// Wants for whose block nobody is known who could be asked.
    stuck: BTreeMap<u64, Cid>,
    /// Where in `stuck` to go on.
    next_stuck: u64,
    recent: Recent,
    block_size: f64,
    /// Blocks that it was learnt from, up to as many as count.
    sizes: u32,
    last_want: u64,
    last_session: u64,
    random: u64,
    stats: Stats,
}

/// A CID that some session wants.
#[derive(Debug, Default)]
struct Wanted {
    /// It grows from want to want: the first are to be served first.
    number: u64,
    sessions: BTreeSet<SessionId>,
    /// Peers that were asked anything about it.
    asked: BTreeSet<PeerId>,
    /// Peers that were asked for it and are not overdue.
    from: BTreeSet<PeerId>,
    haves: BTreeSet<PeerId>,
    donts: BTreeSet<PeerId>,
    /// When another peer may be asked too, if it is one of the last.
    hedge: Option<Instant>,
}

impl Wanted {
    fn priority(&self) -> i32 {
        i32::MAX - i32::try_from(self.number).unwrap_or(i32::MAX - 1)
    }
}

/// Blocks that came last, and the sessions that they came for.
#[derive(Debug, Default)]
struct Recent {
    of: BTreeMap<Multihash, Vec<SessionId>>,
    order: VecDeque<Multihash>,
}

impl Recent {
    fn add(&mut self, hash: Multihash, sessions: Vec<SessionId>) {
        if self.of.insert(hash, sessions).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

impl Client {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let random = seed.chunks(8).fold(0, |sum: u64, chunk| {
            chunk
                .iter()
                .fold(sum.rotate_left(7), |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte))
        });
        Self {
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            wants: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            waiting: BTreeMap::new(),
            stuck: BTreeMap::new(),
            next_stuck: 0,
            recent: Recent::default(),
            block_size: FIRST_BLOCK,
            sizes: 0,
            last_want: 0,
            last_session: 0,
            random,
            stats: Stats::default(),
        }
    }

    /// The next number of a small generator (SplitMix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    pub(super) fn wantlist(&self) -> impl Iterator<Item = &Cid> {
        self.wants.keys()
    }

    pub(super) const fn stats(&self) -> Stats {
        self.stats
    }

    /// What a session has done, and how the peers are that it asks.
    pub(super) fn session_stats(&self, id: SessionId) -> SessionStats {
        let Some(session) = self.sessions.get(&id) else { return SessionStats::default() };
        let mut in_flight: BTreeMap<PeerId, u64> = BTreeMap::new();
        let wants = session.wants.iter().filter_map(|cid| self.wants.get(cid));
        for peer in wants.flat_map(|want| &want.from) {
            *in_flight.entry(*peer).or_default() += 1;
        }
        session.stats(|id, stats| {
            stats.in_flight = in_flight.get(&id).copied().unwrap_or(0);
            if let Some(peer) = self.peers.get(&id) {
                stats.latency = peer.pace.measured_latency();
                stats.rate = peer.pace.measured_rate();
                stats.failures = peer.pace.failures();
            }
        })
    }

    pub(super) fn expects_from(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(Peer::may_send)
    }

    pub(super) const fn note_unwanted(&mut self, count: usize) {
        self.stats.unwanted += count as u64;
    }

    pub(super) fn open_session(&mut self) -> SessionId {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        self.sessions.insert(id, Session::new());
        id
    }

    pub(super) fn close_session(&mut self, id: SessionId, out: &mut Outputs) {
        let Some(session) = self.sessions.get(&id) else { return };
        let wants: Vec<Cid> = session.wants.iter().copied().collect();
        wants.iter().for_each(|cid| self.cancel(id, cid, out));
        self.sessions.remove(&id);
    }

    pub(super) fn want(&mut self, id: SessionId, cid: Cid, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.want(cid, now) {
            return;
        }
        let want = self.wants.entry(cid).or_default();
        want.sessions.insert(id);
        if want.sessions.len() == 1 {
            self.last_want += 1;
            want.number = self.last_want;
            self.by_hash.entry(*cid.hash()).or_default().insert(cid);
        }
        self.assign(cid, now, out);
    }

    pub(super) fn cancel(&mut self, id: SessionId, cid: &Cid, out: &mut Outputs) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.forget(cid);
        }
        let Some(want) = self.wants.get_mut(cid) else { return };
        want.sessions.remove(&id);
        if want.sessions.is_empty() {
            self.drop_want(cid, None, out);
            // It may be on its way.
            self.recent.add(*cid.hash(), Vec::new());
        }
    }

    /// Forgets a want, and tells those who were asked, but for the one that has answered.
    fn drop_want(
        &mut self,
        cid: &Cid,
        answered: Option<PeerId>,
        out: &mut Outputs,
    ) -> Option<Wanted> {
        let want = self.wants.remove(cid)?;
        self.waiting.remove(&want.number);
        self.stuck.remove(&want.number);
        if let Some(cids) = self.by_hash.get_mut(cid.hash()) {
            cids.remove(cid);
            if cids.is_empty() {
                self.by_hash.remove(cid.hash());
            }
        }
        for id in &want.asked {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if answered == Some(*id) {
                peer.settle(cid);
            } else if peer.cancel(cid) {
                out.send(*id);
            }
        }
        Some(want)
    }

    pub(super) fn connected(
        &mut self,
        id: PeerId,
        version: Version,
        now: Instant,
        out: &mut Outputs,
    ) {
        if let Some(peer) = self.peers.get_mut(&id) {
            return peer.set_version(version);
        }
        self.peers.insert(id, Peer::new(version));
        let mut expected = Vec::new();
        for (session_id, session) in &mut self.sessions {
            if session.take_hint(&id) {
                expected.push(*session_id);
            }
        }
        expected.into_iter().for_each(|session| self.gave(session, id, now, out));
        self.introduce(id, now, out);
    }

    pub(super) fn gone(&mut self, id: PeerId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.sessions.values_mut().for_each(|session| session.gone(&id));
        for want in self.wants.values_mut() {
            want.haves.remove(&id);
            want.donts.remove(&id);
        }
        let asked: Vec<Cid> = peer.all_asked().copied().collect();
        for cid in asked {
            self.unask(id, &cid);
            self.assign(cid, now, out);
        }
    }

    pub(super) fn transmit(&mut self, id: PeerId, message: &mut Message, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id) {
            (message.full, message.entries) = peer.transmit(now);
        }
    }

    pub(super) fn providers(
        &mut self,
        id: SessionId,
        peers: &[PeerInfo],
        now: Instant,
        out: &mut Outputs,
    ) {
        for info in peers {
            if self.peers.contains_key(&info.id) {
                self.gave(id, info.id, now, out);
            } else if let Some(session) = self.sessions.get_mut(&id) {
                session.hint(info.id);
                out.push(Output::Connect(info.clone()));
            }
        }
    }
}
