//! The server half: what peers want, what of it is here, and whose turn it is.
//!
//! A want is looked up by its size alone, many at once. HAVE and DONT_HAVE need no more; blocks are
//! read only as there is room to send them, a few for each peer. Whose turn it is follows from the
//! bytes that each had: whoever asks for little is not kept waiting by those who ask for much. What
//! is read and not sent yet is bounded for each and for all, and the fuller it is for all, the less
//! one may have of it, so that slow peers leave room for the others.

mod wants;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ipfs_traits::{Block, Cid, PeerId};

use self::wants::{Held, Rank, TheirWant, WantedBy, answer, forget, remember, unlist};
use super::{Output, Outputs, Stats, ledgers::Ledgers};
use crate::{
    message::{Message, Received, Want},
    policy::{Ledger, Policy},
};

/// Answers of one peer that wait to be sent. Beyond it, the peer is left to ask again.
const MAX_PRESENCES: usize = 2 * wants::MAX_WANTS;

/// Bytes of blocks that are read for one peer, and not sent yet: enough that reading and sending
/// overlap.
const PEER_BYTES: u64 = 4 << 20;

/// Bytes of blocks that are read for all peers, and not sent yet.
const ALL_BYTES: u64 = 64 << 20;

/// Blocks that are read at once.
const MAX_LOAD: usize = 64;

/// Bytes that are read in one turn, and one block more.
const TURN: u64 = 1 << 20;

/// What each block counts beside its bytes.
const EACH: u64 = 512;

/// Bytes of answers in one message: about 50 KiB.
const MAX_MESSAGE_PRESENCES: usize = 1024;

#[derive(Debug)]
pub(super) struct Server {
    policy: Arc<dyn Policy>,
    ledgers: Ledgers,
    peers: BTreeMap<PeerId, Peer>,
    /// Who wants a block, to be told when it comes.
    wanted: WantedBy,
    /// Peers with blocks to be read.
    due: BTreeSet<PeerId>,
    /// What the one had whose turn was last: who comes anew begins there.
    served: u64,
    /// Bytes that are being read, or read and not sent.
    bytes: u64,
    blocks_sent: u64,
    bytes_sent: u64,
    dropped: u64,
    refused: u64,
}

#[derive(Debug, Default)]
struct Peer {
    wants: BTreeMap<Cid, TheirWant>,
    /// The same, the one first that goes first when there are too many.
    ranks: BTreeSet<Rank>,
    /// Wants whose block is not looked up yet, in the order they came.
    unknown: BTreeSet<(u64, Cid)>,
    looking: bool,
    /// Blocks to be read, the most wanted first.
    ready: BTreeSet<(Reverse<i32>, u64, Cid)>,
    arrivals: u64,
    /// Answers that wait to be sent: for each CID the last one.
    presences: BTreeMap<Cid, bool>,
    outbox: VecDeque<Block>,
    /// Bytes that are being read, or read and not sent.
    bytes: u64,
    /// Of what is being read, the size of each.
    loading: BTreeMap<Cid, u64>,
    /// What it had, in bytes, and what it missed while it wanted nothing.
    served: u64,
}

impl Server {
    pub(super) fn new(policy: Arc<dyn Policy>) -> Self {
        Self {
            policy,
            ledgers: Ledgers::default(),
            peers: BTreeMap::new(),
            wanted: BTreeMap::new(),
            due: BTreeSet::new(),
            served: 0,
            bytes: 0,
            blocks_sent: 0,
            bytes_sent: 0,
            dropped: 0,
            refused: 0,
        }
    }

    pub(super) fn ledger(&self, peer: &PeerId) -> Ledger {
        self.ledgers.of(peer)
    }

    /// The peer gave so many blocks that were wanted, and bytes.
    pub(super) fn note_received(&mut self, peer: &PeerId, blocks: u64, bytes: u64) {
        self.ledgers.note(peer, |ledger| {
            ledger.blocks_received += blocks;
            ledger.bytes_received += bytes;
        });
    }

    pub(super) fn count(&self, stats: &mut Stats) {
        stats.wants_refused = self.refused;
        stats.reading = self.bytes;
        stats.blocks_sent = self.blocks_sent;
        stats.bytes_sent = self.bytes_sent;
        stats.wants_dropped = self.dropped;
    }

    pub(super) fn wantlist_of(&self, peer: &PeerId) -> Vec<Cid> {
        self.peers.get(peer).map(|peer| peer.wants.keys().copied().collect()).unwrap_or_default()
    }

    pub(super) fn connected(&mut self, id: PeerId) {
        self.peers.entry(id).or_default();
        self.ledgers.connected(id);
    }

    pub(super) fn gone(&mut self, id: PeerId, out: &mut Outputs) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.ledgers.gone(id);
        self.due.remove(&id);
        for cid in peer.wants.keys() {
            unlist(&mut self.wanted, id, cid);
        }
        self.bytes -= peer.bytes;
        self.load(out);
    }

    pub(super) fn message(&mut self, id: PeerId, message: &Received, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (mut dropped, mut refused) = (0, 0);
        if message.is_full() {
            let old: Vec<Cid> = peer.wants.keys().copied().collect();
            old.iter().for_each(|cid| forget(peer, &mut self.wanted, id, cid));
        }
        for entry in message.entries() {
            match entry.want {
                Want::Cancel => forget(peer, &mut self.wanted, id, &entry.cid),
                _ if !self.policy.serves(&id, &entry.cid) => {
                    refused += 1;
                    if entry.send_dont_have {
                        peer.say(entry.cid, false);
                    }
                }
                _ => dropped += u64::from(remember(peer, &mut self.wanted, id, entry)),
            }
        }
        self.dropped += dropped;
        self.refused += refused;
        self.ledgers.note(&id, |ledger| {
            ledger.wants_dropped += dropped;
            ledger.wants_refused += refused;
        });
        if !peer.presences.is_empty() {
            out.send(id);
        }
        self.look_up(id, out);
    }

    /// Has the sizes of new wants looked up, one batch of a peer at a time.
    fn look_up(&mut self, id: PeerId, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.looking || peer.unknown.is_empty() {
            return;
        }
        peer.looking = true;
        let cids = std::mem::take(&mut peer.unknown).into_iter().map(|(_, cid)| cid).collect();
        out.push(Output::Sizes { peer: id, cids });
    }

    pub(super) fn sizes(&mut self, id: PeerId, sizes: Vec<(Cid, Option<u64>)>, out: &mut Outputs) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.looking = false;
            for (cid, size) in sizes {
                // It may have come since it was looked up.
                let come = peer.wants.get(&cid).is_some_and(|want| want.held != Held::Unknown);
                if size.is_some() || !come {
                    answer(peer, &mut self.wanted, id, &cid, size);
                }
            }
            peer.is_due(id, self.served, &mut self.due);
            if !peer.presences.is_empty() {
                out.send(id);
            }
        }
        self.look_up(id, out);
        self.load(out);
    }

    pub(super) fn new_blocks(&mut self, blocks: &[Block], out: &mut Outputs) {
        for block in blocks {
            let waiting: Vec<(PeerId, Cid)> =
                self.wanted.get(block.hash()).into_iter().flatten().copied().collect();
            for (id, cid) in waiting {
                let Some(peer) = self.peers.get_mut(&id) else { continue };
                answer(peer, &mut self.wanted, id, &cid, Some(block.len() as u64));
                peer.is_due(id, self.served, &mut self.due);
                if !peer.presences.is_empty() {
                    out.send(id);
                }
            }
        }
        self.load(out);
    }

    /// Has blocks read, as long as there is room, for one peer after the other.
    fn load(&mut self, out: &mut Outputs) {
        while self.bytes < ALL_BYTES {
            let most = self.room();
            let Some(id) = self.next_turn(most) else { return };
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let before = peer.bytes;
            let mut cids = Vec::new();
            while cids.len() < MAX_LOAD
                && (peer.bytes == 0 || peer.bytes < most)
                && peer.bytes < before + TURN
                && let Some((_, _, cid)) = peer.ready.pop_first()
            {
                let Some(TheirWant { held: Held::Ready(size), .. }) = peer.wants.get(&cid) else {
                    continue;
                };
                peer.bytes += size;
                peer.loading.insert(cid, *size);
                cids.push(cid);
            }
            if peer.ready.is_empty() {
                self.due.remove(&id);
            }
            let more = peer.bytes - before;
            self.served = peer.served;
            // Small blocks cost a turn's work, too.
            peer.served += more + EACH * cids.len() as u64;
            self.bytes += more;
            if !cids.is_empty() {
                out.push(Output::Load { peer: id, cids });
            }
        }
    }

    /// How much one peer may have of what is read and not sent.
    fn room(&self) -> u64 {
        PEER_BYTES.min((ALL_BYTES - self.bytes) / 2)
    }

    /// Of the peers that have something to be read and room, the one that had least.
    fn next_turn(&self, most: u64) -> Option<PeerId> {
        let peers = self.due.iter().filter_map(|id| Some((id, self.peers.get(id)?)));
        let room = peers.filter(|(_, peer)| peer.bytes == 0 || peer.bytes < most);
        room.map(|(id, peer)| (peer.served, *id)).min().map(|(_, id)| id)
    }

    pub(super) fn loaded(
        &mut self,
        id: PeerId,
        blocks: Vec<(Cid, Option<Block>)>,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for (cid, block) in blocks {
            let Some(size) = peer.loading.remove(&cid) else { continue };
            // What is counted from now on is what there really is.
            let real = block.as_ref().filter(|_| peer.wants.contains_key(&cid)).map(Block::len);
            let real = real.unwrap_or(0) as u64;
            peer.bytes = peer.bytes - size + real;
            self.bytes = self.bytes - size + real;
            match block {
                Some(block) if peer.wants.contains_key(&cid) => peer.outbox.push_back(block),
                Some(_) => {}
                None => answer(peer, &mut self.wanted, id, &cid, None),
            }
        }
        if !peer.outbox.is_empty() || !peer.presences.is_empty() {
            out.send(id);
        }
        self.load(out);
    }

    pub(super) fn transmit(
        &mut self,
        id: PeerId,
        max: usize,
        message: &mut Message,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (mut bytes, mut released) = (0, 0);
        while bytes < max
            && let Some(block) = peer.outbox.pop_front()
        {
            if !peer.wants.contains_key(block.cid()) {
                released += block.len() as u64;
                continue;
            }
            forget(peer, &mut self.wanted, id, block.cid());
            // The block says it.
            peer.presences.remove(block.cid());
            bytes += block.len();
            message.blocks.push(block);
        }
        while message.presences.len() < MAX_MESSAGE_PRESENCES
            && let Some(presence) = peer.presences.pop_first()
        {
            message.presences.push(presence);
        }
        peer.bytes -= released;
        self.bytes -= released;
        let blocks = message.blocks.len() as u64;
        self.blocks_sent += blocks;
        self.bytes_sent += bytes as u64;
        self.ledgers.note(&id, |ledger| {
            ledger.blocks_sent += blocks;
            ledger.bytes_sent += bytes as u64;
        });
        message.pending_bytes = peer.pending_bytes();
        if released > 0 {
            self.load(out);
        }
    }

    pub(super) fn sent(&mut self, id: PeerId, bytes: usize, out: &mut Outputs) {
        if let Some(peer) = self.peers.get_mut(&id) {
            let bytes = (bytes as u64).min(peer.bytes);
            peer.bytes -= bytes;
            self.bytes -= bytes;
        }
        self.load(out);
    }
}

impl Peer {
    /// Has it stand among those who are due, if it is. One that was not begins where the others are.
    fn is_due(&mut self, id: PeerId, served: u64, due: &mut BTreeSet<PeerId>) {
        if !self.ready.is_empty() && due.insert(id) && self.bytes == 0 {
            self.served = self.served.max(served);
        }
    }

    fn pending_bytes(&self) -> u32 {
        let outbox: u64 = self.outbox.iter().map(|block| block.len() as u64).sum();
        let loading: u64 = self.loading.values().sum();
        u32::try_from(outbox + loading).unwrap_or(u32::MAX)
    }

    fn say(&mut self, cid: Cid, have: bool) {
        if self.presences.len() < MAX_PRESENCES || self.presences.contains_key(&cid) {
            self.presences.insert(cid, have);
        }
    }

    fn hold(&mut self, cid: &Cid, held: Held) {
        if let Some(want) = self.wants.get_mut(cid) {
            self.ranks.remove(&want.rank());
            want.held = held;
            self.ranks.insert(want.rank());
        }
    }
}
