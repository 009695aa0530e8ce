//! Finding peers, providers and names in IPFS, and being found.
//!
//! ```
//! use std::sync::Arc;
//!
//! use futures::StreamExt;
//! use ipfs_routing::{
//!     Routing,
//!     combine::{Combined, Static},
//!     delegated::{HttpRouter, Options},
//! };
//! use ipfs_traits::{HashTable, PeerInfo, VirtualRuntime, codes, memory::{MemoryHttp, peer_id}};
//!
//! # let (runtime, client) = (Arc::new(VirtualRuntime::new()), Arc::new(MemoryHttp::new()));
//! let block = HashTable::standard().hash(codes::SHA2_256, b"hello")?;
//! let friend = PeerInfo::new(peer_id(1), vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()]);
//!
//! // What is known beforehand, and an endpoint for the rest: two routers, which are one.
//! let known = Arc::new(Static::new([friend.clone()]).with_provider(block, friend.id));
//! let endpoint = "https://delegated-ipfs.dev";
//! let asked = HttpRouter::new(runtime.clone(), client, endpoint, Options::default())?;
//! let routing = Combined::sequence(runtime.clone(), [known as _, Arc::new(asked) as _]);
//!
//! let found = runtime.block_on(async move { routing.find_providers(&block, 10).next().await });
//! assert_eq!(found.unwrap().expect("it is known")?, friend);
//! # Ok::<(), ipfs_traits::Error>(())
//! ```
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Routing`] | the trait: what a router can be asked |
//! | [`dht`] → [`Dht`](dht::Dht) | the distributed hash table, of the wide network or a local one |
//! | [`delegated`] → [`HttpRouter`](delegated::HttpRouter), [`Server`](delegated::Server) | asking other nodes for routing, over HTTP, and answering them |
//! | [`combine`] → [`Combined`](combine::Combined) | several routers as one, and routers that do a part of what another does |
//! | [`provide`] → [`Provider`](provide::Provider) | keeping what a node has announced |
//! | [`names`] → [`Names`] | publishing, resolving and keeping alive what names lead to |
//! | [`ipns`] → [`Name`](ipns::Name), [`Record`](ipns::Record) | names that are keys, and their signed records |
//! | [`dnslink`] | domains that lead to content paths |
//! | [`Validator`], [`Validators`] | which values a key may have, and which of two is better |
//! | [`Position`] | where peers and keys stand in the space of Kademlia |
//!
//! All of it works over the traits of `ipfs-traits`: sockets, HTTP, the domain name system, the disk,
//! the clock and tasks are the host's. What stands in the datastore is described in `DESIGN.md`.
//!
//! # When not to use it
//!
//! To run a node: that is `ipfs-core`, which puts this together. To write a router of one's own:
//! `ipfs-traits` has the trait and its conformance suite, and is lighter. For Kademlia inside a
//! libp2p swarm, among nodes that are not of IPFS: libp2p has a behaviour for it, which shares the
//! swarm's task.

mod cache;
pub mod combine;
pub mod delegated;
pub mod dht;
pub mod dnslink;
pub mod ipns;
mod keyspace;
pub mod names;
pub mod provide;
mod until;
mod validate;

pub use ipfs_traits::Routing;

pub use self::{
    ipns::Ipns,
    keyspace::Position,
    names::Names,
    validate::{MAX_VALUE, PublicKeys, Validator, Validators},
};
