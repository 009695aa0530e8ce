//! Where blocks and small state are kept.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`PackStore`] | blocks in a few large files, the store to choose |
//! | [`FlatStore`] | blocks as files, in the layout of Kubo's flatfs |
//! | [`car`] | CAR files: streams of them, stores in them, import and export |
//! | [`RedbDatastore`] | small durable state in one file |
//! | [`ReferenceStore`] | blocks whose bytes stay in the user's files, or at URLs |
//! | [`wrap`] | stores over stores: a cache, several as one, counting, verifying, reading only |
//! | [`files`] | what they need of a file system |
//!
//! The traits, [`Blockstore`] and [`Datastore`], are those of `ipfs-traits`, which also has both in
//! memory.
//!
//! # When not to use it
//!
//! For a store of your own: depend on `ipfs-traits` alone.

pub mod car;
pub mod files;
pub mod flat;
mod key;
pub mod pack;
mod redb;
pub mod reference;
mod section;
pub mod wrap;

pub use ipfs_traits::{Blockstore, BlockstoreExt, Datastore};

pub use self::{
    car::{AppendableCar, CarStore},
    flat::FlatStore,
    pack::PackStore,
    redb::RedbDatastore,
    reference::ReferenceStore,
    wrap::{CachedStore, MeteredStore, OverlayStore, ReadOnlyStore, VerifyingStore},
};
