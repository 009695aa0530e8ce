//! What one peer wants: what is remembered of it, and what goes when it is too much.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ipfs_traits::{Block, Cid, Multihash, PeerId, limits};

use super::Peer;
use crate::message::{Entry, Want};

/// Wants of one peer that are remembered, as Kubo has it. Beyond it, those for blocks that are not
/// here go first, then those of least priority.
pub(super) const MAX_WANTS: usize = 1024;

/// A block of at most so many bytes is sent to a peer that only asked whether it is here.
const SMALL: u64 = 1024;

#[derive(Clone, Copy, Debug)]
pub(super) struct TheirWant {
    pub(super) entry: Entry,
    pub(super) arrival: u64,
    pub(super) held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Held {
    Unknown,
    No,
    /// Here, with so many bytes, and the block is to be sent.
    Ready(u64),
}

/// Whether the block may be here, how much it is wanted, since when, and which it is.
pub(super) type Rank = (bool, i32, Reverse<u64>, Cid);

impl TheirWant {
    pub(super) fn rank(&self) -> Rank {
        let (maybe, arrival) = (self.held != Held::No, Reverse(self.arrival));
        (maybe, self.entry.priority, arrival, self.entry.cid)
    }
}

/// Who wants a block.
pub(super) type WantedBy = BTreeMap<Multihash, BTreeSet<(PeerId, Cid)>>;

pub(super) fn unlist(wanted: &mut WantedBy, id: PeerId, cid: &Cid) {
    if let Some(peers) = wanted.get_mut(cid.hash()) {
        peers.remove(&(id, *cid));
        if peers.is_empty() {
            wanted.remove(cid.hash());
        }
    }
}

/// A want is over: served, cancelled, or dropped.
pub(super) fn forget(peer: &mut Peer, wanted: &mut WantedBy, id: PeerId, cid: &Cid) {
    let Some(want) = peer.wants.remove(cid) else { return };
    peer.ranks.remove(&want.rank());
    peer.unknown.remove(&(want.arrival, *cid));
    peer.ready.remove(&(Reverse(want.entry.priority), want.arrival, *cid));
    unlist(wanted, id, cid);
}

/// Remembers a want. Says whether one was dropped for it, or it was itself.
pub(super) fn remember(
    peer: &mut Peer,
    wanted: &mut WantedBy,
    id: PeerId,
    mut entry: Entry,
) -> bool {
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
    if let Some(TheirWant { entry: known, .. }) = peer.wants.get(&cid) {
        // As others have it when they gather a message: what is to be said is not taken back, and
        // the priority is that of the want that came first.
        entry.send_dont_have |= known.send_dont_have;
        if known.want != entry.want {
            entry.priority = known.priority;
        }
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
    peer.unknown.insert((peer.arrivals, cid));
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
pub(super) fn answer(
    peer: &mut Peer,
    wanted: &mut WantedBy,
    id: PeerId,
    cid: &Cid,
    size: Option<u64>,
) {
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
