//! Routing among the nodes of one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::{Error, HashTable, Multihash, PeerId, PeerInfo, Result, Routing, codes};

/// What the nodes of one process have told each other. Clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct RoutingTable(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    peers: BTreeMap<PeerId, PeerInfo>,
    providers: BTreeMap<Multihash, BTreeSet<PeerId>>,
    values: BTreeMap<Vec<u8>, Bytes>,
}

impl RoutingTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The routing of one node, whose addresses are from now on known to all of the table.
    pub fn join(&self, peer: PeerInfo) -> MemoryRouting {
        let local = peer.id;
        self.entries().peers.insert(local, peer);
        MemoryRouting { table: self.clone(), local }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn info(&self, peer: PeerId) -> PeerInfo {
        self.peers.get(&peer).cloned().unwrap_or_else(|| peer.into())
    }
}

/// The routing of one node over a [`RoutingTable`]. A value that is put replaces the one before.
#[derive(Clone, Debug)]
pub struct MemoryRouting {
    table: RoutingTable,
    local: PeerId,
}

/// How many peers count as the closest: the bucket size of Kademlia.
const CLOSEST: usize = 20;

#[async_trait]
impl Routing for MemoryRouting {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let entries = self.table.entries();
        let peers = entries.providers.get(key).into_iter().flatten();
        let found: Vec<_> = peers.take(want).map(|peer| Ok(entries.info(*peer))).collect();
        stream::iter(found).boxed()
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        let mut entries = self.table.entries();
        for key in keys {
            entries.providers.entry(key).or_default().insert(self.local);
        }
        Ok(())
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        let entries = self.table.entries();
        entries.peers.get(&peer).cloned().ok_or(Error::Unreachable(peer, None))
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        stream::iter(self.table.entries().values.get(key).cloned().map(Ok)).boxed()
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.table.entries().values.insert(key.to_vec(), value);
        Ok(())
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        let entries = self.table.entries();
        let target = position(key)?;
        let mut by_distance = BTreeMap::new();
        for peer in entries.peers.values() {
            let place = position(&peer.id.to_bytes())?;
            let distance: Vec<u8> = std::iter::zip(&place, &target).map(|(a, b)| a ^ b).collect();
            by_distance.insert(distance, peer.clone());
        }
        Ok(by_distance.into_values().take(CLOSEST).collect())
    }
}

/// Where a key stands in the space of Kademlia.
fn position(key: &[u8]) -> Result<Vec<u8>> {
    Ok(HashTable::standard().hash(codes::SHA2_256, key)?.digest().to_vec())
}
