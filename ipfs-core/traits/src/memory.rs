//! Plugs that live in memory: for tests, for examples, and for nodes that keep nothing.

mod blockstore;
mod datastore;
mod http;
mod network;
mod pipe;
mod resolver;
mod routing;

pub use self::{
    blockstore::MemoryStore,
    datastore::MemoryDatastore,
    http::MemoryHttp,
    network::{MemoryHub, MemoryNetwork},
    resolver::MemoryResolver,
    routing::{MemoryRouting, RoutingTable},
};
use crate::{HashTable, Multihash, PeerId, codes};

/// The name of a peer that exists only in a test: the same for the same number.
///
/// Nobody has its key, so no other node would believe it over a real network.
pub fn peer_id(number: u64) -> PeerId {
    let hash = HashTable::standard().hash(codes::SHA2_256, &number.to_be_bytes());
    let hash = hash.unwrap_or_else(|_| Multihash::default());
    PeerId::from_multihash(hash).expect("a SHA2-256 multihash is a peer id")
}
