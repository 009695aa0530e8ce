//! Nodes that betray the others, and who is told of them.

use std::time::Duration;

use ipfs_bitswap::{
    engine::SessionId,
    message::{Entry, Message, Version, Want},
};
use ipfs_traits::{Cid, PeerId, PeerInfo, codes};

use super::{World, blocks, event::What};

/// Peers that one node floods at once: some 9 kB to each, twice a second, fill a link of 300 kB/s.
const FLOODED: usize = 16;

/// How a node betrays the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It says that it has everything, and gives nothing.
    Have,
    /// It says that it has everything, and gives other bytes.
    Garbage,
    /// It says nothing at all.
    Silence,
    /// As `Have`, and it sends wants, HAVEs and blocks that nobody asked for, twice a second.
    Flood,
}

impl World {
    /// Five who have the block, or had it before they went, and five who lie, in any order.
    pub(super) fn search(&mut self, to: PeerId, session: SessionId, cid: Cid) {
        if !self.routing {
            return;
        }
        let (mut true_ones, mut liars) = (Vec::new(), Vec::new());
        for (id, node) in self.nodes.iter().filter(|(id, _)| **id != to) {
            match node.lie {
                Some(_) => liars.push(*id),
                None if node.store.contains_key(&cid) => true_ones.push(*id),
                None => {}
            }
        }
        let mut some = |mut from: Vec<PeerId>| {
            let mut picked = Vec::new();
            while picked.len() < 5 && !from.is_empty() {
                let at = self.numbers.below(from.len() as u64) as usize;
                picked.push(PeerInfo::from(from.swap_remove(at)));
            }
            picked
        };
        let mut peers = some(liars);
        peers.extend(some(true_ones));
        let at = self.now + Duration::from_millis(500);
        self.schedule(at, What::Found { to, session, peers });
    }

    /// Sends nonsense to some of those who are connected, as many as its link has room for.
    pub(super) fn flood(&mut self, id: PeerId) {
        let cid = |number: u64| {
            let hash = self.hashes.hash(codes::SHA2_256, &number.to_be_bytes()).unwrap();
            Cid::new_v1(codes::RAW, hash)
        };
        let entry = |i| Entry { cid: cid(i), want: Want::Block, priority: 1, send_dont_have: true };
        let from = self.order;
        let message = Message {
            entries: (from..from + 50).map(entry).collect(),
            blocks: blocks(from, 4, 1000),
            presences: (from..from + 50).map(|i| (cid(i), true)).collect(),
            ..Message::default()
        };
        let bytes = message.encode(Version::V1_2, &self.hashes).unwrap().concat();
        let mut peers: Vec<PeerId> = self.nodes[&id].engine.peers().copied().collect();
        let from = self.numbers.below(peers.len() as u64) as usize;
        peers.rotate_left(from);
        for to in peers.into_iter().take(FLOODED) {
            let at = self.now + self.delay(id, to);
            self.schedule(at, What::Arrive { to, from: id, bytes: bytes.clone() });
        }
        self.schedule(self.now + Duration::from_millis(500), What::Flood(id));
    }
}
