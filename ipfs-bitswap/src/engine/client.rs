//! The client half: whom to ask for what, and when to ask others.
//!
//! A want begins with WANT-HAVE to all who are connected, unless the session knows peers already:
//! then the one that should be fastest is asked for the block at once, and two more whether they
//! have it. Whoever says HAVE may be asked for the block; whoever says DONT_HAVE, is lost, or says
//! nothing has the want taken to the next one. Only one peer is asked for a block at a time, unless
//! it is late.

mod asking;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use ipfs_traits::{Block, Cid, Multihash, PeerId, PeerInfo, SessionStats};

use super::{Output, Outputs, SessionId, Stats, ask::Peer, session::Session};
use crate::message::{Message, Received, Want};

/// The most wants of which a newly connected peer is asked.
const ASK_NEW: usize = 64;

/// What the size of a block is taken to be until some have come.
const FIRST_BLOCK: f64 = 256.0 * 1024.0;

/// Blocks that came last, to tell one that comes again from one that nobody asked for.
const REMEMBERED: usize = 1024;

#[derive(Debug)]
pub(super) struct Client {
    peers: BTreeMap<PeerId, Peer>,
    sessions: BTreeMap<SessionId, Session>,
    wants: BTreeMap<Cid, Wanted>,
    by_hash: BTreeMap<Multihash, BTreeSet<Cid>>,
    /// Wants whose block nobody is asked for.
    open: BTreeSet<Cid>,
    /// Where in `open` to go on.
    next_open: Option<Cid>,
    recent: Recent,
    block_size: f64,
    priority: i32,
    last_session: u64,
    random: u64,
    stats: Stats,
}

/// A CID that some session wants.
#[derive(Debug, Default)]
struct Wanted {
    sessions: BTreeSet<SessionId>,
    priority: i32,
    /// Peers that were asked anything about it.
    asked: BTreeSet<PeerId>,
    /// Peers that were asked for it and are not overdue.
    from: BTreeSet<PeerId>,
    haves: BTreeSet<PeerId>,
    donts: BTreeSet<PeerId>,
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
            open: BTreeSet::new(),
            next_open: None,
            recent: Recent::default(),
            block_size: FIRST_BLOCK,
            priority: i32::MAX,
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

    pub(super) fn session_stats(&self, session: SessionId) -> SessionStats {
        self.sessions.get(&session).map(Session::stats).unwrap_or_default()
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
        self.sessions.insert(id, Session::default());
        id
    }

    pub(super) fn close_session(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get(&id) else { return };
        let wants: Vec<Cid> = session.wants.iter().copied().collect();
        wants.iter().for_each(|cid| self.cancel(id, cid, now, out));
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
            want.priority = self.priority;
            self.priority = (self.priority - 1).max(1);
            self.by_hash.entry(*cid.hash()).or_default().insert(cid);
            self.open.insert(cid);
        }
        self.assign(cid, out);
    }

    pub(super) fn cancel(&mut self, id: SessionId, cid: &Cid, _: Instant, out: &mut Outputs) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.forget(cid);
        }
        let Some(want) = self.wants.get_mut(cid) else { return };
        want.sessions.remove(&id);
        if want.sessions.is_empty() {
            self.drop_want(cid, None, out);
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
        self.open.remove(cid);
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

    pub(super) fn connected(&mut self, id: PeerId, now: Instant, out: &mut Outputs) {
        if self.peers.contains_key(&id) {
            return;
        }
        self.peers.insert(id, Peer::new());
        for session in self.sessions.values_mut() {
            if session.take_hint(&id) {
                session.add_peer(id);
                session.progress(now);
            }
        }
        let open: Vec<Cid> = self.open.iter().take(ASK_NEW).copied().collect();
        for cid in open {
            self.ask(id, cid, Want::Have, out);
        }
    }

    pub(super) fn gone(&mut self, id: PeerId, _: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.sessions.values_mut().for_each(|session| session.gone(&id));
        let asked: Vec<Cid> = peer.all_asked().copied().collect();
        for want in self.wants.values_mut() {
            want.haves.remove(&id);
            want.donts.remove(&id);
        }
        for cid in asked {
            self.unask(id, &cid);
            self.assign(cid, out);
        }
    }

    pub(super) fn message(
        &mut self,
        id: PeerId,
        message: &Received,
        blocks: Vec<Block>,
        now: Instant,
        out: &mut Outputs,
    ) {
        let bytes: usize = blocks.iter().map(Block::len).sum();
        for block in blocks {
            self.block(id, block, now, out);
        }
        for (cid, have) in message.presences() {
            self.presence(id, cid, have, now, out);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.received(bytes, now);
            peer.heard(now);
        }
        self.retry_open(out);
    }

    fn block(&mut self, id: PeerId, block: Block, now: Instant, out: &mut Outputs) {
        let Some(cids) = self.by_hash.get(block.hash()).cloned() else {
            return self.unexpected(id, block.hash());
        };
        self.block_size = self.block_size * 0.9 + block.len() as f64 * 0.1;
        self.stats.blocks_received += 1;
        self.stats.bytes_received += block.len() as u64;
        let mut delivered = Vec::new();
        for cid in cids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.answered(&cid, now);
            }
            let Some(want) = self.drop_want(&cid, Some(id), out) else { continue };
            for session_id in want.sessions {
                let Some(session) = self.sessions.get_mut(&session_id) else { continue };
                session.forget(&cid);
                session.received(id, &block);
                let block = Block::trusted(cid, block.data().clone());
                out.push(Output::Deliver { session: session_id, block });
                self.gave(session_id, id, now, out);
                delivered.push(session_id);
            }
        }
        self.recent.add(*block.hash(), delivered);
    }

    /// A block that nobody wants: one that has come before, or one that nobody asked for.
    fn unexpected(&mut self, from: PeerId, hash: &Multihash) {
        let Some(sessions) = self.recent.of.get(hash) else {
            self.stats.unwanted += 1;
            return;
        };
        self.stats.duplicates += 1;
        for id in sessions {
            if let Some(session) = self.sessions.get_mut(id) {
                session.duplicate(from);
            }
        }
    }

    /// A peer has, or gave, something of a session: it may have more.
    fn gave(&mut self, session_id: SessionId, id: PeerId, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        session.progress(now);
        if session.add_peer(id) {
            let open: Vec<Cid> = session.wants.intersection(&self.open).copied().collect();
            open.into_iter().for_each(|cid| self.assign(cid, out));
        }
    }

    fn presence(&mut self, id: PeerId, cid: Cid, have: bool, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.remembers(&cid) {
            // The block has come from another meanwhile; that this one has it is news all the same.
            let sessions = self.recent.of.get(cid.hash()).filter(|_| have).cloned();
            let sessions = sessions.into_iter().flatten();
            return sessions.for_each(|session| self.gave(session, id, now, out));
        }
        let for_block = peer.asked(&cid) == Some(Want::Block);
        peer.answered(&cid, now);
        let Some(want) = self.wants.get_mut(&cid) else { return };
        let sessions: Vec<SessionId> = want.sessions.iter().copied().collect();
        if have {
            want.haves.insert(id);
            want.donts.remove(&id);
            if !for_block {
                self.unask(id, &cid);
            }
            sessions.into_iter().for_each(|session| self.gave(session, id, now, out));
        } else {
            want.haves.remove(&id);
            want.donts.insert(id);
            want.from.remove(&id);
            peer.deny(&cid);
            for session in sessions {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.missed(&id);
                }
            }
        }
        self.assign(cid, out);
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

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|peer| peer.deadline(self.block_size));
        peers.chain(self.sessions.values().filter_map(Session::deadline)).min()
    }

    pub(super) fn timeout(&mut self, now: Instant, out: &mut Outputs) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.check_peer(id, now, out);
        }
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let pick = self.random();
            let search = self.sessions.get_mut(&id).and_then(|session| session.search(pick, now));
            if let Some(cid) = search {
                out.push(Output::FindProviders { session: id, cid });
            }
        }
    }

    fn check_peer(&mut self, id: PeerId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.deadline(self.block_size).is_none_or(|at| at > now) {
            return;
        }
        let late = peer.overdue(self.block_size, now);
        if peer.has_outgoing() {
            out.send(id);
        }
        for cid in late {
            if let Some(want) = self.wants.get_mut(&cid) {
                want.from.remove(&id);
            }
            self.assign(cid, out);
        }
    }
}
