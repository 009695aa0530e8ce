//! Bitswap: blocks wanted and given, block by block, between any number of peers.
//!
//! [`Bitswap`] is an [`Exchange`] over any [`Network`](ipfs_traits::Network) that gives streams. The
//! protocol itself is a value without IO, [`engine::Engine`], which a test can put on a virtual
//! clock beside a thousand others; [`message`] is its wire format.
//!
//! [`HttpExchange`] fetches from web servers that give blocks by their CIDs, and [`Combined`] joins
//! several exchanges into one: these peers first, and a server for what they do not give in time.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Bitswap`], [`Options`] | the exchange of a node |
//! | [`HttpExchange`], [`http`] | blocks and CAR files from trustless gateways |
//! | [`Combined`], [`combine`] | several exchanges as one, in turn or racing |
//! | [`engine`] | the protocol without IO |
//! | [`message`] | what goes over the wire |
//! | [`Policy`], [`RateLimits`], [`Ledger`] | who is served, how fast, and who gave what |
//!
//! # When not to use it
//!
//! In an application that runs a node: `ipfs-core` builds it by default.
//!
//! # Versions
//!
//! 1.2.0, 1.1.0, 1.0.0 and the one before versions are spoken, in and out: see [`message::Version`].

pub mod combine;
mod driver;
pub mod engine;
pub mod http;
pub mod message;
mod policy;
mod wanted;

pub use ipfs_traits::{Exchange, Session};

pub use self::{
    combine::Combined,
    driver::{Bitswap, Options},
    http::HttpExchange,
    policy::{Everybody, Ledger, Policy, RateLimits},
};
