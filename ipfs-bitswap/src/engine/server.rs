//! The server half: what peers want, what of it is here, and whose turn it is.
//!
//! A want is looked up by its size alone, many at once. HAVE and DONT_HAVE need no more; blocks are
//! read only as there is room to send them, a few for each peer, one peer after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use ipfs_traits::{Block, Cid, Multihash, PeerId, limits};

use super::{Output, Outputs, Stats};
use crate::message::{Entry, Message, Received, Want};

/// Wants of one peer that are remembered, as Kubo has it. Beyond it, those for blocks that are not
/// here go first, then those of least priority.
const MAX_WANTS: usize = 1024;

/// Answers of one peer that wait to be sent. Beyond it, the peer is left to ask again.
const MAX_PRESENCES: usize = 2 * MAX_WANTS;

/// A block of at most so many bytes is sent to a peer that only asked whether it is here.
const SMALL: u64 = 1024;

/// Bytes of blocks that are read for one peer, and not sent yet: enough that reading and sending
/// overlap.
const PEER_BYTES: u64 = 4 << 20;

/// Bytes of blocks that are read for all peers, and not sent yet.
const ALL_BYTES: u64 = 64 << 20;

/// Blocks that are read at once.
const MAX_LOAD: usize = 64;

/// Bytes of answers in one message: about 50 KiB.
const MAX_MESSAGE_PRESENCES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Server {
    peers: BTreeMap<PeerId, Peer>,
    /// Who wants a block, to be told when it comes.
    wanted: BTreeMap<Multihash, BTreeSet<(PeerId, Cid)>>,
    /// Whose blocks were read last.
    turn: Option<PeerId>,
    /// Bytes that are being read, or read and not sent.
    bytes: u64,
    blocks_sent: u64,
    bytes_sent: u64,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Peer {
    wants: BTreeMap<Cid, TheirWant>,
    /// The same, the one first that goes first when there are too many.
    ranks: BTreeSet<Rank>,
    /// Wants whose block is not looked up yet.
    unknown: Vec<Cid>,
    looking: bool,
    /// Blocks to be read, the most wanted first.
    ready: BTreeSet<(Reverse<i32>, u64, Cid)>,
    arrivals: u64,
    presences: VecDeque<(Cid, bool)>,
    outbox: VecDeque<Block>,
    /// Bytes that are being read, or read and not sent.
    bytes: u64,
    /// Of what is being read, the size of each.
    loading: BTreeMap<Cid, u64>,
}

#[derive(Clone, Copy, Debug)]
struct TheirWant {
    entry: Entry,
    arrival: u64,
    held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Unknown,
    No,
    /// Here, with so many bytes, and the block is to be sent.
    Ready(u64),
}

/// Whether the block may be here, how much it is wanted, since when, and which it is.
type Rank = (bool, i32, Reverse<u64>, Cid);

impl TheirWant {
    fn rank(&self) -> Rank {
        let (maybe, arrival) = (self.held != Held::No, Reverse(self.arrival));
        (maybe, self.entry.priority, arrival, self.entry.cid)
    }
}

impl Server {
    pub(super) fn count(&self, stats: &mut Stats) {
        stats.blocks_sent = self.blocks_sent;
        stats.bytes_sent = self.bytes_sent;
        stats.wants_dropped = self.dropped;
    }

    pub(super) fn wantlist_of(&self, peer: &PeerId) -> Vec<Cid> {
        self.peers.get(peer).map(|peer| peer.wants.keys().copied().collect()).unwrap_or_default()
    }

    pub(super) fn connected(&mut self, id: PeerId) {
        self.peers.entry(id).or_default();
    }

    pub(super) fn gone(&mut self, id: PeerId, out: &mut Outputs) {
        let Some(peer) = self.peers.remove(&id) else { return };
        for cid in peer.wants.keys() {
            unlist(&mut self.wanted, id, cid);
        }
        self.bytes -= peer.bytes;
        self.load(out);
    }

    pub(super) fn message(&mut self, id: PeerId, message: &Received, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if message.is_full() {
            let old: Vec<Cid> = peer.wants.keys().copied().collect();
            old.iter().for_each(|cid| forget(peer, &mut self.wanted, id, cid));
        }
        for entry in message.entries() {
            match entry.want {
                Want::Cancel => forget(peer, &mut self.wanted, id, &entry.cid),
                _ => self.dropped += u64::from(remember(peer, &mut self.wanted, id, entry)),
            }
        }
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
        out.push(Output::Sizes { peer: id, cids: std::mem::take(&mut peer.unknown) });
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
            let Some(id) = self.next_turn() else { return };
            let Some(peer) = self.peers.get_mut(&id) else { return };
            let before = peer.bytes;
            let mut cids = Vec::new();
            while cids.len() < MAX_LOAD
                && peer.bytes < PEER_BYTES
                && let Some((_, _, cid)) = peer.ready.pop_first()
            {
                let Some(TheirWant { held: Held::Ready(size), .. }) = peer.wants.get(&cid) else {
                    continue;
                };
                peer.bytes += size;
                peer.loading.insert(cid, *size);
                cids.push(cid);
            }
            self.bytes += peer.bytes - before;
            if !cids.is_empty() {
                out.push(Output::Load { peer: id, cids });
            }
        }
    }

    /// The next peer, after the one whose turn it was, that has something to be read and room.
    fn next_turn(&mut self) -> Option<PeerId> {
        let due = |(_, peer): &(&PeerId, &Peer)| !peer.ready.is_empty() && peer.bytes < PEER_BYTES;
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.peers.range((after, Bound::Unbounded)).find(due);
        let next = later.or_else(|| self.peers.iter().find(due)).map(|(id, _)| *id);
        self.turn = next;
        next
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
        let count = peer.presences.len().min(MAX_MESSAGE_PRESENCES);
        message.presences = peer.presences.drain(..count).collect();
        let (mut bytes, mut released) = (0, 0);
        while bytes < max
            && let Some(block) = peer.outbox.pop_front()
        {
            if !peer.wants.contains_key(block.cid()) {
                released += block.len() as u64;
                continue;
            }
            forget(peer, &mut self.wanted, id, block.cid());
            bytes += block.len();
            message.blocks.push(block);
        }
        peer.bytes -= released;
        self.bytes -= released;
        self.blocks_sent += message.blocks.len() as u64;
        self.bytes_sent += bytes as u64;
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
    fn pending_bytes(&self) -> u32 {
        let outbox: u64 = self.outbox.iter().map(|block| block.len() as u64).sum();
        let loading: u64 = self.loading.values().sum();
        u32::try_from(outbox + loading).unwrap_or(u32::MAX)
    }

    fn say(&mut self, cid: Cid, have: bool) {
        if self.presences.len() < MAX_PRESENCES {
            self.presences.push_back((cid, have));
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

type WantedBy = BTreeMap<Multihash, BTreeSet<(PeerId, Cid)>>;

fn unlist(wanted: &mut WantedBy, id: PeerId, cid: &Cid) {
    if let Some(peers) = wanted.get_mut(cid.hash()) {
        peers.remove(&(id, *cid));
        if peers.is_empty() {
            wanted.remove(cid.hash());
        }
    }
}

/// A want is over: served, cancelled, or dropped.
fn forget(peer: &mut Peer, wanted: &mut WantedBy, id: PeerId, cid: &Cid) {
    let Some(want) = peer.wants.remove(cid) else { return };
    peer.ranks.remove(&want.rank());
    peer.ready.remove(&(Reverse(want.entry.priority), want.arrival, *cid));
    unlist(wanted, id, cid);
}

/// Remembers a want. Says whether one was dropped for it, or it was itself.
fn remember(peer: &mut Peer, wanted: &mut WantedBy, id: PeerId, entry: Entry) -> bool {
    let cid = entry.cid;
    // It stands in the CID itself: whoever asks is not asking in earnest.
    if Block::inline(&cid).is_some() {
        return false;
    }
    // The block was asked for already, and answers both when it is sent.
    if let Some(known) = peer.wants.get(&cid).filter(|known| known.entry.want == Want::Block)
        && entry.want == Want::Have
    {
        if known.held == Held::No && entry.send_dont_have {
            peer.say(cid, false);
        }
        return false;
    }
    forget(peer, wanted, id, &cid);
    let full = peer.wants.len() >= MAX_WANTS;
    if full && let Some(dropped) = make_room(peer, wanted, id, &entry) {
        if dropped.send_dont_have {
            peer.say(dropped.cid, false);
        }
        if dropped.cid == cid {
            return true;
        }
    }
    peer.arrivals += 1;
    let want = TheirWant { entry, arrival: peer.arrivals, held: Held::Unknown };
    peer.ranks.insert(want.rank());
    peer.wants.insert(cid, want);
    peer.unknown.push(cid);
    wanted.entry(*cid.hash()).or_default().insert((id, cid));
    full
}

/// Of a peer's wants and one more, drops the least.
fn make_room(peer: &mut Peer, wanted: &mut WantedBy, id: PeerId, new: &Entry) -> Option<Entry> {
    let (maybe_here, priority, _, least) = peer.ranks.first().copied()?;
    if maybe_here && priority >= new.priority {
        return Some(*new);
    }
    let dropped = peer.wants.get(&least)?.entry;
    forget(peer, wanted, id, &least);
    Some(dropped)
}

/// What is known now of a block that a peer wants.
fn answer(peer: &mut Peer, wanted: &mut WantedBy, id: PeerId, cid: &Cid, size: Option<u64>) {
    let Some(TheirWant { entry, arrival, held }) = peer.wants.get(cid).copied() else { return };
    // A block that may not travel is as good as none.
    let Some(size) = size.filter(|size| *size <= limits::MAX_BLOCK as u64) else {
        peer.hold(cid, Held::No);
        if entry.send_dont_have {
            peer.say(*cid, false);
        }
        return;
    };
    if entry.want == Want::Have && size > SMALL {
        forget(peer, wanted, id, cid);
        peer.say(*cid, true);
        return;
    }
    if !matches!(held, Held::Ready(_)) {
        peer.hold(cid, Held::Ready(size));
        peer.ready.insert((Reverse(entry.priority), arrival, *cid));
    }
}
