//! Announcing many blocks with few lookups: a region of the keyspace at a time.
//!
//! A lookup for one key finds the peers nearest to it. All keys that share enough bits with it have
//! their own nearest peers among those, so that one lookup serves them all, and each peer gets all
//! that it is to keep over one stream.

use std::collections::BTreeMap;

use ipfs_traits::{Multihash, PeerId, PeerInfo};

use super::engine::Find;
use crate::keyspace::Position;

/// Peers that a lookup of a region finds, for each one that keeps a record. With three times as
/// many, the region holds between one and a half times and three times as many peers as keep a
/// record; more of them would make each lookup longer, and fewer would make its region smaller.
const WIDTH: usize = 3;

/// Keys on their way to the peers that are to keep their records.
#[derive(Debug)]
pub struct Sweep {
    /// The nearest to each other stand together.
    keys: Vec<(Position, Multihash)>,
    next: usize,
    /// Peers that keep a record.
    bucket: usize,
}

/// What one peer is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The peer.
    pub peer: PeerInfo,
    /// The keys, as places in the order that [`Sweep::key`] gives.
    pub keys: Vec<usize>,
}

impl Sweep {
    /// Of these keys, each once; `bucket` peers keep each record.
    pub fn new(keys: impl IntoIterator<Item = Multihash>, bucket: usize) -> Self {
        let place = |key: Multihash| (Position::of_block(&key), key);
        let mut keys: Vec<(Position, Multihash)> = keys.into_iter().map(place).collect();
        keys.sort_unstable();
        keys.dedup();
        Self { keys, next: 0, bucket }
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A key by its place.
    pub fn key(&self, place: usize) -> Option<&Multihash> {
        self.keys.get(place).map(|(_, key)| key)
    }

    /// The next lookup, if not all is done.
    pub fn lookup(&self) -> Option<Find> {
        let (_, key) = self.keys.get(self.next)?;
        Some(Find::Closest { key: key.to_bytes().into(), wanted: WIDTH * self.bucket })
    }

    /// Takes what the lookup has found, and says who is to keep what. Nobody found: the key is passed
    /// over, and its place is in nobody's share.
    pub fn found(&mut self, closest: &[PeerInfo]) -> Vec<Share> {
        let Some((target, _)) = self.keys.get(self.next).copied() else { return Vec::new() };
        let covered = self.next..self.next + self.covered(&target, closest);
        self.next = covered.end;
        let peers: Vec<(Position, &PeerInfo)> =
            closest.iter().map(|peer| (Position::of_peer(&peer.id), peer)).collect();
        let mut shares: BTreeMap<PeerId, Share> = BTreeMap::new();
        for place in covered {
            let (position, _) = self.keys[place];
            let mut near = peers.clone();
            near.sort_by_key(|(at, _)| at.distance(&position));
            for (_, peer) in near.into_iter().take(self.bucket) {
                let share = || Share { peer: peer.clone(), keys: Vec::new() };
                shares.entry(peer.id).or_insert_with(share).keys.push(place);
            }
        }
        shares.into_values().collect()
    }

    /// How many of the next keys have their nearest peers among these.
    fn covered(&self, target: &Position, closest: &[PeerInfo]) -> usize {
        let rest = &self.keys[self.next..];
        if closest.len() < WIDTH * self.bucket {
            // That is everybody, or nobody.
            return if closest.is_empty() { 1 } else { rest.len() };
        }
        // All peers that have more bits in common with the target than the farthest found are found.
        let common = |peer: &PeerInfo| Position::of_peer(&peer.id).common_prefix(target);
        let bits = closest.iter().map(common).min().unwrap_or_default() + 1;
        rest.iter()
            .take_while(|(position, _)| position.common_prefix(target) >= bits)
            .count()
            .max(1)
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::memory::peer_id;

    use super::*;

    fn keys(n: u64) -> Vec<Multihash> {
        (0..n).map(|n| *peer_id(1_000_000 + n).as_ref()).collect()
    }

    /// Whoever knows all peers assigns each key to the same ones, or nearly.
    #[test]
    fn few_lookups_find_the_peers_that_each_key_has_by_itself() {
        let peers: Vec<(Position, PeerInfo)> =
            (0..2000).map(|n| (Position::of_peer(&peer_id(n)), peer_id(n).into())).collect();
        let nearest = |target: &Position, most: usize| -> Vec<PeerInfo> {
            let mut all: Vec<&(Position, PeerInfo)> = peers.iter().collect();
            all.sort_by_key(|(at, _)| at.distance(target));
            all.into_iter().take(most).map(|(_, peer)| peer.clone()).collect()
        };
        let mut sweep = Sweep::new(keys(1000), 20);
        assert_eq!(sweep.len(), 1000);
        let mut given = vec![Vec::new(); sweep.len()];
        let mut lookups = 0;
        while let Some(Find::Closest { key, wanted }) = sweep.lookup() {
            lookups += 1;
            for share in sweep.found(&nearest(&Position::of_key(&key), wanted)) {
                share.keys.iter().for_each(|place| given[*place].push(share.peer.id));
            }
        }
        assert!(lookups <= 2000 / 25, "{lookups} lookups");
        let mut right = 0;
        for (place, given) in given.iter().enumerate() {
            assert_eq!(given.len(), 20);
            let position = Position::of_block(sweep.key(place).unwrap());
            let nearest = nearest(&position, 20);
            right += nearest.iter().filter(|peer| given.contains(&peer.id)).count();
        }
        assert!(right >= 1000 * 20 * 99 / 100, "{right} of 20000");
    }

    #[test]
    fn a_small_network_takes_one_lookup_and_an_empty_one_none_of_the_keys() {
        let peers: Vec<PeerInfo> = (0..30).map(|n| peer_id(n).into()).collect();
        let mut sweep = Sweep::new(keys(100).into_iter().chain(keys(100)), 20);
        assert_eq!(sweep.len(), 100);
        assert!(sweep.found(&[]).is_empty());
        let shares = sweep.found(&peers);
        assert_eq!(shares.iter().map(|share| share.keys.len()).sum::<usize>(), 99 * 20);
        assert!(sweep.lookup().is_none());
        assert!(sweep.found(&peers).is_empty());
    }
}
