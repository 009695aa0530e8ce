//! What is to happen in a world, and in which order.

use std::time::Instant;

use ipfs_bitswap::engine::SessionId;
use ipfs_traits::{PeerId, PeerInfo};

/// What happens.
pub(super) enum What {
    Arrive {
        to: PeerId,
        from: PeerId,
        bytes: Vec<u8>,
    },
    Sent {
        from: PeerId,
        to: PeerId,
        bytes: usize,
    },
    Timer(PeerId),
    Found {
        to: PeerId,
        session: SessionId,
        peers: Vec<PeerInfo>,
    },
    Connected(PeerId, PeerId),
    Flood(PeerId),
    /// A node goes, or comes back.
    Churn(PeerId),
}

/// What happens at a time; of what happens at the same, the one that was told of first.
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) order: u64,
    pub(super) what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
