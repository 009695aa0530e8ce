//! Peers of the local network, found by multicast DNS.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_core::stream::BoxStream;
use ipfs_traits::{
    Bytes, Multiaddr, Multihash, PeerId, PeerInfo, Result, Routing, async_trait,
    network::{MAX_ADDRESS, MAX_ADDRESSES},
};
use libp2p::mdns::Event;

/// The peers of the local network that said where they are. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Near(Arc<Mutex<BTreeMap<PeerId, BTreeSet<Multiaddr>>>>);

/// Peers whose addresses are remembered. A local network has fewer; one who floods it with names
/// fills nobody's memory.
const MAX_PEERS: usize = 1024;

/// Connections that are made at once to peers that were found.
pub(super) const DIALS: usize = 32;

impl Near {
    /// Remembers what was found, and forgets what has expired; gives the peers that are new.
    pub(super) fn note(&self, event: &Event) -> Vec<PeerId> {
        let mut near = self.lock();
        let mut new = Vec::new();
        match event {
            Event::Discovered(found) => {
                for (peer, address) in found {
                    if near.len() >= MAX_PEERS && !near.contains_key(peer) {
                        continue;
                    }
                    let known = near.entry(*peer).or_insert_with(|| {
                        new.push(*peer);
                        BTreeSet::new()
                    });
                    if known.len() < MAX_ADDRESSES && address.len() <= MAX_ADDRESS {
                        known.insert(address.clone());
                    }
                }
            }
            Event::Expired(gone) => {
                for (peer, address) in gone {
                    if let Some(known) = near.get_mut(peer) {
                        known.remove(address);
                        if known.is_empty() {
                            near.remove(peer);
                        }
                    }
                }
            }
        }
        new
    }

    /// A routing that knows these peers, and asks `rest` for all else.
    pub(crate) fn before(self, rest: Arc<dyn Routing>) -> Arc<dyn Routing> {
        Arc::new(NearFirst { near: self, rest })
    }

    fn find(&self, peer: PeerId) -> Option<PeerInfo> {
        let near = self.lock();
        let addresses = near.get(&peer)?.iter().cloned().collect();
        Some(PeerInfo::new(peer, addresses))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, BTreeSet<Multiaddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct NearFirst {
    near: Near,
    rest: Arc<dyn Routing>,
}

#[async_trait]
impl Routing for NearFirst {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        self.rest.find_providers(key, want)
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        self.rest.provide(keys).await
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        match self.near.find(peer) {
            Some(found) => Ok(found),
            None => self.rest.find_peer(peer).await,
        }
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        self.rest.get_value(key)
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.rest.put_value(key, value).await
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        self.rest.closest_peers(key).await
    }

    async fn close(&self) -> Result<()> {
        self.rest.close().await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use ipfs_traits::{Error, NoRouting, conformance, memory::peer_id};

    use super::*;

    fn address(number: u32) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{number}").parse().unwrap()
    }

    #[test]
    fn what_is_found_is_known_until_it_expires() {
        let near = Near::default();
        let found = vec![(peer_id(1), address(1)), (peer_id(1), address(2))];
        assert_eq!(near.note(&Event::Discovered(found.clone())), [peer_id(1)]);
        assert!(near.note(&Event::Discovered(found.clone())).is_empty());
        let routing = near.clone().before(Arc::new(NoRouting));
        let known = block_on(routing.find_peer(peer_id(1))).unwrap();
        assert_eq!(known.addresses, [address(1), address(2)]);
        near.note(&Event::Expired(found));
        let gone = block_on(routing.find_peer(peer_id(1)));
        assert!(matches!(gone, Err(Error::Unreachable(..))));
        let make = || async { Ok(Near::default().before(Arc::new(NoRouting))) };
        block_on(conformance::routing(make)).unwrap();
    }

    /// Anyone in the local network can say anything, as often as they like.
    #[test]
    fn a_flood_is_bounded() {
        let near = Near::default();
        let peers = (0..5000).map(|number| (peer_id(number), address(1)));
        assert_eq!(near.note(&Event::Discovered(peers.collect())).len(), MAX_PEERS);
        let many = (0..5000).map(|number| (peer_id(1), address(number)));
        near.note(&Event::Discovered(many.collect()));
        assert_eq!(near.find(peer_id(1)).unwrap().addresses.len(), MAX_ADDRESSES);
    }
}
