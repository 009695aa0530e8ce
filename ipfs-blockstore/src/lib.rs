//! Where blocks and small state are kept.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`FlatStore`] | blocks as files, in the layout of Kubo's flatfs |
//! | [`RedbDatastore`] | small durable state in one file |
//! | [`files`] | what they need of a file system |
//!
//! The traits, [`Blockstore`] and [`Datastore`], are those of `ipfs-traits`, which also has both in
//! memory.
//!
//! # When not to use it
//!
//! For millions of small blocks: a file for each is slow and large. For a store of your own: depend
//! on `ipfs-traits` alone.
//!
//! # Not here yet
//!
//! The pack store, CAR files as stores, references to files, caches and other wrappers.

pub mod files;
mod flat;
mod redb;

pub use ipfs_traits::{Blockstore, BlockstoreExt, Datastore};

pub use self::{
    flat::{FlatStore, Options, Sharding},
    redb::RedbDatastore,
};
