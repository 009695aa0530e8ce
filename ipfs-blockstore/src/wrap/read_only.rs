//! A store that is not written to.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use ipfs_traits::{Block, Blockstore, Cid, Error, Multihash, Result, Usage};

use super::pass_on;

/// Gives what another store has, and takes nothing: a put, a delete or a compaction is
/// [`Error::Unsupported`].
///
/// ```
/// # futures::executor::block_on(async {
/// use ipfs_blockstore::{Blockstore, ReadOnlyStore};
/// use ipfs_traits::{memory::MemoryStore, Error};
///
/// let store = ReadOnlyStore::new(MemoryStore::new());
/// assert!(matches!(store.delete_many(&[]).await, Err(Error::Unsupported(_))));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnlyStore<S> {
    inner: S,
}

impl<S: Blockstore> ReadOnlyStore<S> {
    /// A store that reads from this one.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

fn refused() -> Error {
    Error::unsupported("writing to a store that is only read")
}

#[async_trait]
impl<S: Blockstore> Blockstore for ReadOnlyStore<S> {
    pass_on!(get_many, sizes, list, flush, usage, shared, close);

    async fn put_many(&self, _: &[Block]) -> Result<()> {
        Err(refused())
    }

    async fn delete_many(&self, _: &[Cid]) -> Result<()> {
        Err(refused())
    }

    async fn compact(&self) -> Result<()> {
        Err(refused())
    }
}
