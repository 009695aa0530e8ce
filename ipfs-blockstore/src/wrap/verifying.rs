//! A store that believes nothing.

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use ipfs_traits::{
    Block, Blockstore, Bytes, Cid, Error, HashTable, Multihash, Result, Runtime, RuntimeExt, Usage,
};

use super::pass_on;

/// Hashes every block that another store gives or is given. What does not hash to its CID is
/// [`Error::Corrupt`]: of a read for that block alone, of a put for all, and then nothing is stored.
///
/// Blocks are hashed many side by side, where the runtime lets work block. For stores that others
/// can write to: a folder that is shared, a bucket.
#[derive(Clone, Debug)]
pub struct VerifyingStore<S> {
    inner: S,
    hashes: HashTable,
    runtime: Arc<dyn Runtime>,
}

/// Blocks of fewer bytes than this, together, are hashed on the spot: a hop would cost more.
const HASH_HERE: usize = 16 << 10;

impl<S: Blockstore> VerifyingStore<S> {
    /// A store that verifies what this one gives.
    pub const fn new(inner: S, hashes: HashTable, runtime: Arc<dyn Runtime>) -> Self {
        Self { inner, hashes, runtime }
    }

    /// The blocks of these, or what is wrong with each, in their order.
    async fn verify(&self, items: Vec<(Cid, Bytes)>) -> Result<Vec<Result<Block>>> {
        let bytes: usize = items.iter().map(|(_, data)| data.len()).sum();
        if bytes < HASH_HERE {
            return Ok(Block::verify_many(items, &self.hashes));
        }
        let hashes = self.hashes.clone();
        self.runtime.blocking(move || Block::verify_many(items, &hashes)).await
    }
}

#[async_trait]
impl<S: Blockstore> Blockstore for VerifyingStore<S> {
    pass_on!(sizes, delete_many, list, flush, usage, compact, shared, close);

    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let mut found = self.inner.get_many(cids).await;
        let blocks = found.iter().filter_map(|found| found.as_ref().ok()?.clone());
        let verified = self.verify(blocks.map(Block::into_parts).collect()).await;
        let mut verified = match verified {
            Ok(verified) => verified.into_iter(),
            Err(error) => return cids.iter().map(|_| Err(error.clone())).collect(),
        };
        for found in found.iter_mut().filter(|found| matches!(found, Ok(Some(_)))) {
            *found = verified.next().unwrap_or(Err(Error::Closed("the runtime"))).map(Some);
        }
        found
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let items = blocks.iter().cloned().map(Block::into_parts).collect();
        for verified in self.verify(items).await? {
            verified?;
        }
        self.inner.put_many(blocks).await
    }
}
