//! How a store is opened.

use ipfs_traits::HashTable;

use super::Sharding;

/// How a [`FlatStore`](super::FlatStore) is opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Hash every block that is read, and give [`Error::Corrupt`](ipfs_traits::Error::Corrupt) for
    /// one that does not fit its multihash. Off by default: what this store wrote is synced before
    /// it has its name, and hashing halves the speed of reading.
    pub verify_reads: Option<HashTable>,

    /// How blocks are spread over directories. A folder that is there has its own way, and is
    /// refused if that is another one. By default that way, and in a new folder the one of Kubo's
    /// repositories.
    pub sharding: Option<Sharding>,
}
