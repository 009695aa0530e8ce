//! What is to be done when time passes: asking others in place of those who are late, and looking
//! for more of them.

use std::time::{Duration, Instant};

use ipfs_traits::{Cid, PeerId};

use super::{Client, Output, Outputs, SessionId};
use crate::{engine::session::Session, message::Want};

/// Wants of a session that are its last: with nothing else to do, a second peer is asked for one
/// that takes long.
const LAST: usize = 8;

/// When it is looked again for a second peer, where there was none.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Client {
    pub(in crate::engine) fn next_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|peer| peer.deadline(self.block_size));
        let searches = self.sessions.values().filter_map(Session::deadline);
        let hedges = self.sessions.values().filter_map(|session| self.next_hedge(session));
        peers.chain(searches).chain(hedges).min()
    }

    pub(in crate::engine) fn timeout(&mut self, now: Instant, out: &mut Outputs) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.check_peer(id, now, out);
        }
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.hedge(id, now, out);
            let pick = self.random();
            let search = self.sessions.get_mut(&id).and_then(|session| session.search(pick, now));
            if let Some(cid) = search {
                out.push(Output::FindProviders { session: id, cid });
            }
        }
        self.fill(now, out);
    }

    fn check_peer(&mut self, id: PeerId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.deadline(self.block_size).is_none_or(|at| at > now) {
            return;
        }
        let overdue = peer.overdue(self.block_size, now);
        if peer.has_outgoing() {
            out.send(id);
        }
        for cid in overdue.late {
            if let Some(want) = self.wants.get_mut(&cid) {
                want.from.remove(&id);
            }
            self.assign(cid, now, out);
        }
        overdue.lacked.into_iter().for_each(|cid| self.lacks(id, cid, now, out));
    }

    /// The wants of a session that may be asked of a second peer, and when.
    fn hedges<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = (Instant, Cid)> + 'a {
        let last = session.wants.len() <= LAST && session.may_hedge();
        let wants = session.wants.iter().take(if last { LAST } else { 0 });
        wants.filter_map(|cid| {
            let want = self.wants.get(cid).filter(|want| want.from.len() == 1)?;
            want.hedge.map(|at| (at, *cid))
        })
    }

    fn next_hedge(&self, session: &Session) -> Option<Instant> {
        self.hedges(session).map(|(at, _)| at).min()
    }

    /// Asks a second peer for what is late, of the last that a session wants.
    fn hedge(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get(&id) else { return };
        let due: Vec<Cid> =
            self.hedges(session).filter(|(at, _)| *at <= now).map(|(_, cid)| cid).collect();
        for cid in due {
            let other = self.second(&cid);
            if let Some(want) = self.wants.get_mut(&cid) {
                want.hedge = Some(now + LOOK_AGAIN);
            }
            let Some(session) = self.sessions.get_mut(&id).filter(|session| session.may_hedge())
            else {
                return;
            };
            if let Some(other) = other {
                session.hedge();
                self.ask(other, cid, Want::Block, now, out);
            }
        }
    }
}
