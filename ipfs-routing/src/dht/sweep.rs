//! Announcing many blocks with few lookups: a region of the keyspace at a time.
//!
//! A lookup for one key finds the peers nearest to it. All keys that share enough bits with it have
//! their own nearest peers among those, so that one lookup serves them all, and each peer gets all
//! that it is to keep over one stream.

use ipfs_traits::{Multihash, PeerInfo};

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

/// The part of the keyspace that a lookup has seen all of: the keys in it have their nearest peers
/// among these.
#[derive(Debug)]
pub(crate) struct Region {
    target: Position,
    /// What is in it has so many bits in common with the target.
    bits: u32,
    pub(crate) peers: Vec<PeerInfo>,
}

impl Region {
    /// Of what a lookup of this target has found.
    fn new(target: Position, peers: Vec<PeerInfo>, bucket: usize) -> Self {
        let common = |peer: &PeerInfo| Position::of_peer(&peer.id).common_prefix(&target);
        let bits: Vec<u32> = peers.iter().map(common).collect();
        let least = bits.iter().min().copied();
        let farthest = bits.iter().filter(|bits| Some(**bits) == least).count();
        let bits = match least {
            None => u32::MAX,
            // That is everybody: as many as a bucket holds could be a part of those that far away.
            Some(_) if peers.len() < WIDTH * bucket && farthest < bucket => 0,
            // All peers that have more bits in common with the target than the farthest are found.
            Some(least) => least + 1,
        };
        Self { target, bits, peers }
    }

    pub(crate) fn holds(&self, position: &Position) -> bool {
        position.common_prefix(&self.target) >= self.bits
    }
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

    /// Where the next key stands, if not all is done.
    pub(crate) fn target(&self) -> Option<Position> {
        self.keys.get(self.next).map(|(position, _)| *position)
    }

    /// The next lookup, if not all is done.
    pub fn lookup(&self) -> Option<Find> {
        let (_, key) = self.keys.get(self.next)?;
        // The last one has no use for the peers of its neighbours.
        let alone = self.next + 1 == self.keys.len();
        let wanted = if alone { self.bucket } else { WIDTH * self.bucket };
        Some(Find::Closest { key: key.to_bytes().into(), wanted })
    }

    /// Takes what the lookup has found, and says who is to keep what. Nobody found: the key is passed
    /// over, and its place is in nobody's share.
    pub fn found(&mut self, closest: &[PeerInfo]) -> Vec<Share> {
        let region = self.region(closest.to_vec());
        region.map(|region| self.shares(&region)).unwrap_or_default()
    }

    /// What the lookup has found.
    pub(crate) fn region(&self, closest: Vec<PeerInfo>) -> Option<Region> {
        self.target().map(|target| Region::new(target, closest, self.bucket))
    }

    /// Whether a lookup has found all that it was to find for a region.
    pub(crate) const fn is_wide(&self, region: &Region) -> bool {
        region.peers.len() >= WIDTH * self.bucket
    }

    /// Who is to keep what of the next keys, which are in this region: the next one is.
    pub(crate) fn shares(&mut self, region: &Region) -> Vec<Share> {
        let rest = &self.keys[self.next..];
        let held = rest.iter().take_while(|(position, _)| region.holds(position)).count();
        let covered = self.next..(self.next + held.max(1)).min(self.keys.len());
        self.next = covered.end;
        let positions: Vec<Position> =
            region.peers.iter().map(|peer| Position::of_peer(&peer.id)).collect();
        let share = |peer: &PeerInfo| Share { peer: peer.clone(), keys: Vec::new() };
        let mut shares: Vec<Share> = region.peers.iter().map(share).collect();
        let mut near: Vec<usize> = (0..shares.len()).collect();
        for place in covered {
            let (position, _) = self.keys[place];
            if near.len() > self.bucket {
                let distance = |peer: &usize| positions[*peer].distance(&position);
                near.select_nth_unstable_by_key(self.bucket, distance);
            }
            near.iter().take(self.bucket).for_each(|peer| shares[*peer].keys.push(place));
        }
        shares.retain(|share| !share.keys.is_empty());
        shares
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

    /// In a network of 70, a lookup finds the 35 that are near and the 20 that the bucket of those far
    /// away has: 55 of the 60 wanted, which were taken for everybody.
    #[test]
    fn a_full_bucket_of_the_far_is_not_everybody() {
        let target = Position::of_block(&keys(1)[0]);
        let is_far = |peer: &PeerInfo| Position::of_peer(&peer.id).common_prefix(&target) == 0;
        let (far, near): (Vec<PeerInfo>, Vec<PeerInfo>) =
            (0..200).map(|n| peer_id(n).into()).partition(is_far);
        let everywhere = |far_known: usize| {
            let peers = near[..35].iter().chain(&far[..far_known]).cloned().collect();
            let region = Region::new(target, peers, 20);
            region.holds(&Position::of_peer(&far[0].id))
        };
        assert!(everywhere(19));
        assert!(!everywhere(20));
    }

    #[test]
    fn a_key_by_itself_asks_no_more_than_keep_it() {
        let wanted = |sweep: &Sweep| match sweep.lookup() {
            Some(Find::Closest { wanted, .. }) => wanted,
            other => panic!("{other:?}"),
        };
        assert_eq!(wanted(&Sweep::new(keys(1), 20)), 20);
        assert_eq!(wanted(&Sweep::new(keys(2), 20)), 60);
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
