//! What comes from peers: blocks, and whether they have them.

use std::time::Instant;

use ipfs_traits::{Block, Cid, Multihash, PeerId};

use super::{Client, Output, Outputs, SessionId};
use crate::message::{Received, Want};

impl Client {
    pub(in crate::engine) fn message(
        &mut self,
        id: PeerId,
        message: &Received,
        blocks: Vec<Block>,
        now: Instant,
        out: &mut Outputs,
    ) {
        for block in blocks {
            self.block(id, block, now, out);
        }
        for (cid, have) in message.presences() {
            self.presence(id, cid, have, now, out);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.heard(now);
        }
        self.fill(now, out);
    }

    fn block(&mut self, id: PeerId, block: Block, now: Instant, out: &mut Outputs) {
        let Some(cids) = self.by_hash.get(block.hash()).cloned() else {
            return self.unexpected(id, block.hash(), now, out);
        };
        self.sizes = (self.sizes + 1).min(super::SIZES);
        self.block_size += (block.len() as f64 - self.block_size) / f64::from(self.sizes);
        self.stats.blocks_received += 1;
        self.stats.bytes_received += block.len() as u64;
        let mut delivered = Vec::new();
        for cid in cids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.gave(&cid, block.len(), now);
            }
            let Some(want) = self.drop_want(&cid, Some(id), out) else { continue };
            for session_id in want.sessions {
                let Some(session) = self.sessions.get_mut(&session_id) else { continue };
                session.forget(&cid);
                session.received(id, &block);
                session.progress(now);
                let block = Block::trusted(cid, block.data().clone());
                out.push(Output::Deliver { session: session_id, block });
                self.gave(session_id, id, now, out);
                delivered.push(session_id);
            }
        }
        self.recent.add(*block.hash(), delivered);
    }

    /// A block that nobody wants: one that has come before, one that was wanted a moment ago, or one
    /// that nobody asked for. Who sends that in answer to a want is not to be believed.
    fn unexpected(&mut self, from: PeerId, hash: &Multihash, now: Instant, out: &mut Outputs) {
        let Some(sessions) = self.recent.of.get(hash) else {
            self.stats.unwanted += 1;
            return self.lied(from, now, out);
        };
        self.stats.duplicates += 1;
        for id in sessions {
            if let Some(session) = self.sessions.get_mut(id) {
                session.duplicate(from);
            }
        }
    }

    /// The peer gave what is no answer to anything. Once it is distrusted for it, all that it was
    /// asked for is asked of others.
    fn lied(&mut self, id: PeerId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.in_flight() == 0 {
            return;
        }
        let before = peer.pace.is_distrusted();
        peer.pace.failed();
        if before || !peer.pace.is_distrusted() {
            return;
        }
        let asked: Vec<Cid> = peer.all_asked().copied().collect();
        for cid in asked {
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            if want.from.remove(&id) {
                self.assign(cid, now, out);
            }
        }
    }

    /// A peer has, or gave, something of a session: it may have more.
    pub(super) fn gave(
        &mut self,
        session_id: SessionId,
        id: PeerId,
        now: Instant,
        out: &mut Outputs,
    ) {
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        if !session.add_peer(id) {
            return;
        }
        let number = |cid: &Cid| self.wants.get(cid).map(|want| (want.number, *cid));
        let mut open: Vec<(u64, Cid)> = session.wants.iter().filter_map(number).collect();
        open.retain(|(number, _)| {
            self.stuck.contains_key(number) || self.waiting.contains_key(number)
        });
        open.sort_unstable();
        open.into_iter().for_each(|(_, cid)| {
            self.assign(cid, now, out);
        });
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
        if have {
            self.has(id, cid, for_block, now, out);
        } else {
            self.lacks(id, cid, now, out);
        }
    }

    fn has(&mut self, id: PeerId, cid: Cid, for_block: bool, now: Instant, out: &mut Outputs) {
        let Some(want) = self.wants.get_mut(&cid) else { return };
        want.haves.insert(id);
        want.donts.remove(&id);
        let sessions: Vec<SessionId> = want.sessions.iter().copied().collect();
        if !for_block {
            self.unask(id, &cid);
        }
        sessions.into_iter().for_each(|session| self.gave(session, id, now, out));
        self.assign(cid, now, out);
    }

    pub(super) fn lacks(&mut self, id: PeerId, cid: Cid, now: Instant, out: &mut Outputs) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.deny(&cid);
        }
        let Some(want) = self.wants.get_mut(&cid) else { return };
        want.haves.remove(&id);
        want.donts.insert(id);
        want.from.remove(&id);
        for session in &want.sessions {
            if let Some(session) = self.sessions.get_mut(session) {
                session.missed(&id, &cid);
            }
        }
        self.assign(cid, now, out);
    }
}
