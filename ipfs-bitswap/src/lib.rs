//! Bitswap: blocks wanted and given, block by block, between any number of peers.
//!
//! [`Bitswap`] is an [`Exchange`] over any [`Network`](ipfs_traits::Network) that gives streams. The
//! protocol itself is a value without IO, [`engine::Engine`], which a test can put on a virtual
//! clock beside a thousand others; [`message`] is its wire format.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Bitswap`], [`Options`] | the exchange of a node |
//! | [`engine`] | the protocol without IO |
//! | [`message`] | what goes over the wire |
//!
//! # When not to use it
//!
//! In an application that runs a node: `ipfs-core` builds it by default. To fetch from web servers:
//! that is another exchange.
//!
//! # Not here yet
//!
//! The older protocols 1.1.0 and 1.0.0, ledgers, policies and limits of rate; asking several peers
//! for the last blocks at once.

mod driver;
pub mod engine;
pub mod message;

pub use ipfs_traits::{Exchange, Session};

pub use self::driver::{Bitswap, Options};
