//! Finding peers, providers and names in IPFS, and being found.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`combine`] | several routers as one, and routers that do a part of what another does |
//! | [`delegated`] | asking other nodes for routing, over HTTP, and answering them |
//! | [`names`] | publishing, resolving and keeping alive what names lead to |
//! | [`dnslink`] | domains that lead to content paths |
//! | [`ipns`] | names that are keys, and their signed records |
//! | [`Position`] | where peers and keys stand in the space of Kademlia |
//! | [`provide`] | keeping what a node has announced |
//! | [`Validator`], [`Validators`] | which values a key may have, and which of two is better |
//!
//! # When not to use it
//!
//! To run a node: that is `ipfs-core`, which puts this together.

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
