//! The light crate that every part of an IPFS node is written against.
//!
//! Whoever writes a store, an exchange, a router, a codec, a network or a runtime of their own
//! depends on this crate and nothing else of the family; whoever wants a whole node depends on
//! `ipfs-core`, which re-exports all of this.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Block`], [`Cid`], [`Prefix`] | bytes and what they are known by |
//! | [`HashTable`], [`HashFunction`] | making and checking digests, many at once |
//! | [`Codec`], [`CodecTable`], [`Static`] | between bytes and the data model ([`Ipld`]) |
//! | [`Blockstore`], [`Datastore`] | what is kept |
//! | [`BlockSource`], [`Exchange`], [`Session`] | what is fetched |
//! | [`Reference`], [`ReferenceSink`] | blocks whose bytes stay where they are |
//! | [`Network`], [`Routing`] | who is there, and who has what |
//! | [`HttpClient`], [`AddressFilter`] | asking servers, and which ones |
//! | [`Resolver`] | asking the domain name system |
//! | [`Runtime`], [`Task`] | the host's executor and clock |
//! | [`Parts`], [`Recipe`] | building a plug from the half-built node |
//! | [`memory`], [`VirtualRuntime`] | plugs for tests and examples |
//! | [`OfflineExchange`], [`NoRouting`], [`NoNetwork`] | plugs of a node that does without |
//! | [`conformance`] | checks for a plug of one's own |
//! | [`sync`] | waiting for one another |
//! | [`work`] | an import or an export under way, with its progress |
//! | [`car`], [`protobuf`], [`rfc3339`], [`varint`] | formats that several crates share |
//! | [`Error`], [`limits`] | what can go wrong, and what bounds hold |
//!
//! # When not to use it
//!
//! To run a node: that is `ipfs-core`. To parse CIDs alone: that is the `cid` crate.
//!
//! # Features
//!
//! `hashes` adds the less common hash functions, `tokio` the adapter for tokio's runtime. Neither is
//! on by default; `ipfs-core` turns both on.

mod block;
mod blockstore;
pub mod car;
mod cids;
mod codec;
pub mod codes;
pub mod conformance;
mod datastore;
mod error;
mod exchange;
mod hash;
mod http;
pub mod limits;
pub mod memory;
pub mod network;
mod null;
mod parts;
pub mod protobuf;
mod reference;
mod resolve;
pub mod rfc3339;
mod routing;
mod runtime;
mod source;
pub mod sync;
pub mod varint;
mod virtual_time;
pub mod work;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use cid::Cid;
pub use ipld_core::ipld::Ipld;
pub use libp2p_identity::PeerId;
pub use multiaddr::Multiaddr;

#[cfg(feature = "tokio")]
pub use self::runtime::TokioRuntime;
pub use self::{
    block::Block,
    blockstore::{Blockstore, BlockstoreExt, Usage},
    cids::{Prefix, parse_cid, read_cid, read_multihash},
    codec::{Codec, CodecTable, Static},
    datastore::{Batch, Datastore},
    error::{Error, Missing, Result, Source},
    exchange::{Exchange, Giver, GiverStats, Session, SessionStats},
    hash::{Digest, HashFunction, HashTable},
    http::{AddressFilter, HttpBody, HttpClient, MAX_REDIRECTS},
    network::{Inbound, Network, NetworkStats, PeerInfo, Protection, Traffic},
    null::{NoNetwork, NoRouting, OfflineExchange},
    parts::{FnRecipe, Parts, Recipe, recipe},
    reference::{Origin, Reference, ReferenceSink},
    resolve::{Records, Resolver},
    routing::Routing,
    runtime::{Runtime, RuntimeExt, Task},
    source::{BlockSource, Local},
    virtual_time::{Stalled, VirtualRuntime},
};

/// A multihash of up to [`limits::MAX_DIGEST`] bytes of digest: what a block is known by.
pub type Multihash = multihash::Multihash<{ limits::MAX_DIGEST }>;
