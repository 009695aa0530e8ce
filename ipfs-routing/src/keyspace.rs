//! The space of Kademlia: 256 bits, in which peers and keys stand where SHA-256 puts them.

use std::fmt;

use ipfs_traits::{Multihash, PeerId};
use sha2::{Digest, Sha256};

/// Where a peer or a key stands. Two are as far apart as their XOR is large.
///
/// ```
/// use ipfs_routing::Position;
///
/// let peer = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS".parse().unwrap();
/// let position = Position::of_peer(&peer);
/// assert!(position.to_string().starts_with("e43d28f0996557c0"));
/// assert_eq!(position.common_prefix(&position), 256);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position([u8; 32]);

/// How far two positions are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Distance([u8; 32]);

impl Position {
    /// Where these bytes stand, as they are.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Where a key of the DHT stands.
    pub fn of_key(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Where a peer stands.
    pub fn of_peer(peer: &PeerId) -> Self {
        Self::of_key(&peer.to_bytes())
    }

    /// Where the providers of a block are looked for.
    pub fn of_block(hash: &Multihash) -> Self {
        Self::of_key(&hash.to_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// How many bits two positions have in common at their beginning: 256 when they are the same.
    pub fn common_prefix(&self, other: &Self) -> u32 {
        self.distance(other).leading_zeros()
    }

    pub(crate) fn distance(&self, other: &Self) -> Distance {
        let mut distance = [0; 32];
        for (out, (a, b)) in distance.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *out = a ^ b;
        }
        Distance(distance)
    }
}

impl Distance {
    /// As a share of the whole space.
    pub(crate) fn share(&self) -> f64 {
        let head = self.0.iter().take(8).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
        head as f64 / 2f64.powi(64)
    }

    pub(crate) fn leading_zeros(&self) -> u32 {
        match self.0.iter().position(|byte| *byte != 0) {
            Some(at) => at as u32 * 8 + self.0[at].leading_zeros(),
            None => 256,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::Cid;

    use super::*;

    /// The vectors of the DHT's specification.
    #[test]
    fn positions_are_those_of_the_specification() {
        let peer = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS".parse().unwrap();
        let expected = "e43d28f0996557c0d5571d75c62a57a59d7ac1d30a51ecedcdb9d5e4afa56100";
        assert_eq!(Position::of_peer(&peer).to_string(), expected);
        let cid: Cid =
            "bafybeihfg3d7rdltd43u3tfvncx7n5loqofbsobojcadtmokrljfthuc7y".parse().unwrap();
        let expected = "d623250f3f660ab4c3a53d3c97b3f6a0194c548053488d093520206248253bcb";
        assert_eq!(Position::of_block(cid.hash()).to_string(), expected);
    }

    #[test]
    fn distances_are_counted_from_the_first_bit_that_differs() {
        let zero = Position::new([0; 32]);
        for bit in 0..256_u32 {
            let mut bytes = [0; 32];
            bytes[bit as usize / 8] = 0x80 >> (bit % 8);
            assert_eq!(Position::new(bytes).common_prefix(&zero), bit);
        }
        let half = Position::new([0x80; 32]).distance(&zero).share();
        assert!((0.5..0.51).contains(&half), "{half}");
    }
}
