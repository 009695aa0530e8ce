//! The versions of the protocol, and what each can say.

use ipfs_traits::network::Protocol;

/// Bitswap 1.2.0, which knows HAVE and DONT_HAVE.
pub const V1_2_0: Protocol = Protocol::from_static("/ipfs/bitswap/1.2.0");

/// Bitswap 1.1.0, whose blocks say what their CIDs begin with.
pub const V1_1_0: Protocol = Protocol::from_static("/ipfs/bitswap/1.1.0");

/// Bitswap 1.0.0, whose blocks are bytes alone: those of CIDv0, or of one with the same hash.
pub const V1_0_0: Protocol = Protocol::from_static("/ipfs/bitswap/1.0.0");

/// The protocol before it had versions: 1.0.0.
pub const UNVERSIONED: Protocol = Protocol::from_static("/ipfs/bitswap");

/// All names of bitswap, the best first.
pub static PROTOCOLS: [Protocol; 4] = [V1_2_0, V1_1_0, V1_0_0, UNVERSIONED];

/// A version of bitswap. A later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 1.0.0: blocks are bytes alone.
    V1_0,
    /// 1.1.0: blocks come with the beginning of their CIDs.
    V1_1,
    /// 1.2.0: a peer can be asked whether it has a block, and says so if it has not.
    #[default]
    V1_2,
}

impl Version {
    /// The version that this protocol is, if it is bitswap.
    pub fn of(protocol: &Protocol) -> Option<Self> {
        match protocol.as_str() {
            "/ipfs/bitswap/1.2.0" => Some(Self::V1_2),
            "/ipfs/bitswap/1.1.0" => Some(Self::V1_1),
            "/ipfs/bitswap/1.0.0" | "/ipfs/bitswap" => Some(Self::V1_0),
            _ => None,
        }
    }

    /// The best version among the protocols that a peer speaks.
    pub fn best(protocols: &[Protocol]) -> Option<Self> {
        protocols.iter().filter_map(Self::of).max()
    }

    /// Whether a peer can be asked if it has a block, and say that it has not.
    pub const fn has_presences(self) -> bool {
        matches!(self, Self::V1_2)
    }
}
