//! Whom to serve, with what, and how fast.

use std::fmt::Debug;

use ipfs_traits::{Cid, PeerId};

/// Decides who is served what.
///
/// It is asked for every want, under the lock of the engine: it has to answer from what it has at
/// hand. The same question may be answered otherwise later; what a peer was promised before is still
/// sent. How much everybody is served is for [`RateLimits`]; among those who ask, turns go by bytes.
///
/// ```
/// use std::collections::BTreeSet;
///
/// use ipfs_bitswap::Policy;
/// use ipfs_traits::{Cid, PeerId};
///
/// /// Serves friends.
/// #[derive(Debug)]
/// struct Friends(BTreeSet<PeerId>);
///
/// impl Policy for Friends {
///     fn serves(&self, peer: &PeerId, _: &Cid) -> bool {
///         self.0.contains(peer)
///     }
/// }
/// ```
pub trait Policy: Debug + Send + Sync + 'static {
    /// Whether the peer may have the block. One that may not is told that it is not here.
    fn serves(&self, peer: &PeerId, cid: &Cid) -> bool;
}

/// Serves everybody alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everybody;

impl Policy for Everybody {
    fn serves(&self, _: &PeerId, _: &Cid) -> bool {
        true
    }
}

/// What one peer gave and took, since it was first met or as far back as is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Blocks sent to it.
    pub blocks_sent: u64,
    /// Bytes of these.
    pub bytes_sent: u64,
    /// Blocks that came from it and were wanted.
    pub blocks_received: u64,
    /// Bytes of these.
    pub bytes_received: u64,
    /// Wants of it that were beyond its share, and were dropped.
    pub wants_dropped: u64,
    /// Wants of it that the policy refused.
    pub wants_refused: u64,
}

/// How many bytes of blocks may be sent and received in a second: of all peers together, and of
/// each. `None` is no limit, and the default of all; zero counts as one byte.
///
/// A message that has begun is finished, and what follows waits for as long as it should have
/// taken: over some seconds the limit is kept, within one it may be passed by a message (up to
/// 4 MiB).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Bytes sent to all.
    pub up: Option<u64>,
    /// Bytes received from all.
    pub down: Option<u64>,
    /// Bytes sent to each.
    pub up_per_peer: Option<u64>,
    /// Bytes received from each.
    pub down_per_peer: Option<u64>,
}
