//! The routing table: peers that have answered, few of those that are far and most of those that are
//! near.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ipfs_traits::{PeerId, PeerInfo};

use super::scope::{Group, Scope};
use crate::keyspace::{Distance, Position};

/// Peers of one group of addresses in the table, and in one bucket: what go-libp2p-kad-dht allows.
/// Whoever holds a range of addresses cannot fill a table from it.
const MAX_OF_GROUP: usize = 3;
const MAX_OF_GROUP_IN_BUCKET: usize = 2;

/// Peers, by how many bits of their positions are those of this node.
#[derive(Debug)]
pub(crate) struct Table {
    here: Position,
    scope: Scope,
    /// Peers in a bucket, and those that wait for a place.
    size: usize,
    buckets: BTreeMap<u32, Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    /// Those who would have a place if there were one: the newest last.
    waiting: VecDeque<PeerInfo>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) info: PeerInfo,
    pub(crate) position: Position,
    /// When it last answered.
    pub(crate) alive: Instant,
    groups: Vec<Group>,
}

/// What became of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    New,
    Known,
    /// There is no place for it now.
    Full,
    /// It has too many neighbours there already, or no address that counts.
    Refused,
}

impl Table {
    pub(crate) const fn new(here: Position, scope: Scope, size: usize) -> Self {
        Self { here, scope, size, buckets: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.entries.len()).sum()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.values().flat_map(|bucket| &bucket.entries)
    }

    /// The first bucket that is not full, by how many bits its peers have in common with this node.
    pub(crate) fn first_with_room(&self) -> u32 {
        let full = |bits: &u32| {
            self.buckets.get(bits).is_some_and(|bucket| bucket.entries.len() >= self.size)
        };
        (0..256).find(|bits| !full(bits)).unwrap_or(256)
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Entry> {
        let bucket = self.buckets.get(&self.bits(&Position::of_peer(peer)))?;
        bucket.entries.iter().find(|entry| entry.info.id == *peer)
    }

    /// Whether a peer could be inserted: it is not known, and there is room where it belongs.
    pub(crate) fn has_room(&self, peer: &PeerId) -> bool {
        match self.buckets.get(&self.bits(&Position::of_peer(peer))) {
            Some(bucket) => {
                bucket.entries.len() < self.size
                    && bucket.entries.iter().all(|entry| entry.info.id != *peer)
            }
            None => true,
        }
    }

    /// A peer that has answered. Its addresses take the place of those known before, unless there
    /// are none.
    pub(crate) fn insert(&mut self, peer: PeerInfo, now: Instant) -> Inserted {
        let position = Position::of_peer(&peer.id);
        let bits = self.bits(&position);
        if bits == 256 {
            return Inserted::Refused; // this node itself
        }
        let groups = self.scope.groups(&peer.addresses);
        if let Some(entry) = self.find(bits, &peer.id) {
            entry.alive = entry.alive.max(now);
            if !peer.addresses.is_empty() && peer.addresses != entry.info.addresses {
                entry.groups = groups;
                entry.info.addresses = peer.addresses;
            }
            return Inserted::Known;
        }
        if !self.scope.admits(&peer.addresses) || self.is_crowded(bits, &groups) {
            return Inserted::Refused;
        }
        let size = self.size;
        let bucket = self.buckets.entry(bits).or_default();
        bucket.waiting.retain(|other| other.id != peer.id);
        if bucket.entries.len() >= size {
            bucket.waiting.push_back(peer);
            if bucket.waiting.len() > size {
                bucket.waiting.pop_front();
            }
            return Inserted::Full;
        }
        bucket.entries.push(Entry { info: peer, position, alive: now, groups });
        Inserted::New
    }

    /// A peer that does not answer, or no longer serves. Gives one that waited for such a place, the
    /// latest heard of, which has to answer first.
    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<PeerInfo> {
        let bits = self.bits(&Position::of_peer(peer));
        let bucket = self.buckets.get_mut(&bits)?;
        bucket.waiting.retain(|other| other.id != *peer);
        let before = bucket.entries.len();
        bucket.entries.retain(|entry| entry.info.id != *peer);
        let freed = bucket.entries.len() < before;
        let next = if freed { bucket.waiting.pop_back() } else { None };
        if bucket.entries.is_empty() && bucket.waiting.is_empty() {
            self.buckets.remove(&bits);
        }
        next
    }

    /// The peers nearest to a position, the nearest first.
    pub(crate) fn closest(&self, target: &Position, most: usize) -> Vec<&Entry> {
        let mut near: Vec<(Distance, &Entry)> =
            self.entries().map(|entry| (entry.position.distance(target), entry)).collect();
        if near.len() > most && most > 0 {
            near.select_nth_unstable_by_key(most - 1, |(distance, _)| *distance);
        }
        near.truncate(most);
        near.sort_unstable_by_key(|(distance, _)| *distance);
        near.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Peers that have not shown life for so long, the longest first.
    pub(crate) fn silent(&self, time: Duration, now: Instant, most: usize) -> Vec<PeerInfo> {
        let mut silent: Vec<&Entry> =
            self.entries().filter(|entry| now.duration_since(entry.alive) >= time).collect();
        silent.sort_by_key(|entry| (entry.alive, entry.position));
        silent.into_iter().take(most).map(|entry| entry.info.clone()).collect()
    }

    fn bits(&self, position: &Position) -> u32 {
        position.common_prefix(&self.here)
    }

    fn find(&mut self, bits: u32, peer: &PeerId) -> Option<&mut Entry> {
        self.buckets.get_mut(&bits)?.entries.iter_mut().find(|entry| entry.info.id == *peer)
    }

    /// Whether too many neighbours of these groups are here.
    fn is_crowded(&self, bits: u32, groups: &[Group]) -> bool {
        groups.iter().any(|group| {
            let of_group = |entry: &&Entry| entry.groups.contains(group);
            let bucket = self.buckets.get(&bits).into_iter().flat_map(|bucket| &bucket.entries);
            self.entries().filter(of_group).count() >= MAX_OF_GROUP
                || bucket.filter(of_group).count() >= MAX_OF_GROUP_IN_BUCKET
        })
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::memory::peer_id;

    use super::*;

    fn table(scope: Scope) -> Table {
        Table::new(Position::of_peer(&peer_id(0)), scope, 20)
    }

    fn at(number: u64, address: &str) -> PeerInfo {
        PeerInfo::new(peer_id(number), vec![address.parse().unwrap()])
    }

    #[test]
    fn the_closest_are_the_closest() {
        let (mut table, now) = (table(Scope::Any), Instant::now());
        for number in 1..500 {
            table.insert(peer_id(number).into(), now);
        }
        assert!(table.len() > 60 && table.len() < 250, "{}", table.len());
        let target = Position::of_key(b"target");
        let mut all: Vec<Position> = table.entries().map(|entry| entry.position).collect();
        all.sort_by_key(|position| position.distance(&target));
        let found: Vec<Position> =
            table.closest(&target, 20).iter().map(|entry| entry.position).collect();
        assert_eq!(found, all[..20]);
        assert_eq!(table.closest(&target, 1000).len(), table.len());
        assert!(table.closest(&target, 0).is_empty());
    }

    #[test]
    fn who_waits_takes_the_place_of_who_goes() {
        let (mut table, now) = (table(Scope::Any), Instant::now());
        let far: Vec<u64> = (1..)
            .filter(|n| Position::of_peer(&peer_id(*n)).common_prefix(&table.here) == 0)
            .take(50)
            .collect();
        for number in &far {
            table.insert(peer_id(*number).into(), now);
        }
        assert_eq!(table.len(), 20);
        assert!(!table.has_room(&peer_id(far[49])));
        assert_eq!(table.remove(&peer_id(far[0])), Some(peer_id(far[49]).into()));
        assert_eq!(table.remove(&peer_id(far[0])), None, "it was not there any more");
        assert!(table.has_room(&peer_id(far[49])));
        // However many come, few wait.
        assert!(table.buckets[&0].waiting.len() <= 20);
    }

    /// A range of addresses is rented, and as many peers are started in it as there are places in
    /// a table.
    #[test]
    fn neighbours_have_few_places() {
        let (mut table, now) = (table(Scope::Wan), Instant::now());
        for number in 1..2000 {
            table.insert(at(number, &format!("/ip4/8.8.{}.1/tcp/1", number % 256)), now);
        }
        assert_eq!(table.len(), MAX_OF_GROUP);
        assert_eq!(table.insert(at(2000, "/ip4/9.8.1.1/tcp/1"), now), Inserted::New);
        assert_eq!(table.insert(peer_id(2001).into(), now), Inserted::Refused, "it has no address");
        assert_eq!(table.insert(peer_id(0).into(), now), Inserted::Refused, "it is this node");
    }

    #[test]
    fn the_silent_are_named_and_the_known_renewed() {
        let (mut table, start) = (table(Scope::Any), Instant::now());
        for number in 1..4 {
            table.insert(peer_id(number).into(), start + Duration::from_secs(number));
        }
        let later = start + Duration::from_secs(62);
        assert_eq!(table.insert(at(1, "/ip4/1.1.1.1/tcp/1"), later), Inserted::Known);
        assert_eq!(table.get(&peer_id(1)).unwrap().info.addresses.len(), 1);
        let silent = table.silent(Duration::from_secs(60), later, 10);
        assert_eq!(silent, [peer_id(2).into()]);
    }
}
