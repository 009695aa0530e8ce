//! A store in memory.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::{Block, Blockstore, Cid, Error, Multihash, Result, Usage, limits};

/// Blocks in memory, gone with the process. Reads share the bytes.
#[derive(Debug, Default)]
pub struct MemoryStore {
    table: RwLock<Table>,
    limit: Option<u64>,
}

#[derive(Debug, Default)]
struct Table {
    blocks: BTreeMap<Multihash, Bytes>,
    bytes: u64,
}

/// Blocks in one page of a listing.
const PAGE: usize = 1024;

impl MemoryStore {
    /// An empty store without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that holds at most so many bytes of blocks.
    pub fn with_limit(bytes: u64) -> Self {
        Self { limit: Some(bytes), ..Self::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn get(&self, cid: &Cid) -> Option<Block> {
        self.blocks.get(cid.hash()).map(|data| Block::trusted(*cid, data.clone()))
    }

    /// How many bytes the blocks of a batch would add.
    fn growth(&self, blocks: &[Block]) -> u64 {
        let mut new = BTreeMap::new();
        for block in blocks.iter().filter(|block| !self.blocks.contains_key(block.hash())) {
            new.insert(*block.hash(), block.len() as u64);
        }
        new.values().sum()
    }
}

#[async_trait]
impl Blockstore for MemoryStore {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let table = self.read();
        cids.iter().map(|cid| Ok(table.get(cid))).collect()
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let table = self.read();
        let size = |cid: &Cid| table.blocks.get(cid.hash()).map(|data| data.len() as u64);
        Ok(cids.iter().map(size).collect())
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        blocks.iter().try_for_each(|block| limits::check_stored_size(block.len()))?;
        let mut table = self.write();
        if let Some(limit) = self.limit
            && table.bytes + table.growth(blocks) > limit
        {
            return Err(Error::Full { used: table.bytes, limit });
        }
        for block in blocks {
            if !table.blocks.contains_key(block.hash()) {
                table.blocks.insert(*block.hash(), block.data().clone());
                table.bytes += block.len() as u64;
            }
        }
        Ok(())
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let mut table = self.write();
        for cid in cids {
            if let Some(data) = table.blocks.remove(cid.hash()) {
                table.bytes -= data.len() as u64;
            }
        }
        Ok(())
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let table = self.read();
        let all: Vec<(Multihash, u64)> =
            table.blocks.iter().map(|(hash, data)| (*hash, data.len() as u64)).collect();
        let pages: Vec<_> = all.chunks(PAGE).map(|page| Ok(page.to_vec())).collect();
        stream::iter(pages).boxed()
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn usage(&self) -> Result<Option<Usage>> {
        let table = self.read();
        let blocks = Some(table.blocks.len() as u64);
        Ok(Some(Usage { blocks, bytes: table.bytes, on_disk: None, limit: self.limit }))
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{BlockstoreExt, HashTable, codes};

    #[test]
    fn full_before_anything_is_stored() {
        block_on(async {
            let hashes = HashTable::standard();
            let block = |text| Block::of(codes::RAW, codes::SHA2_256, text, &hashes).unwrap();
            let (a, b, c) = (block("aaaa"), block("bbbb"), block("cccc"));
            let store = MemoryStore::with_limit(8);
            store.put(a.clone()).await.unwrap();
            let full = store.put_many(&[b.clone(), c]).await.unwrap_err();
            assert!(matches!(full, Error::Full { used: 4, limit: 8 }));
            assert!(!store.has(b.cid()).await.unwrap());
            // What is there already, or twice in the batch, takes no more room.
            store.put_many(&[a.clone(), b.clone(), b.clone()]).await.unwrap();
            store.delete(a.cid()).await.unwrap();
            let usage = store.usage().await.unwrap().unwrap();
            assert_eq!((usage.blocks, usage.bytes, usage.limit), (Some(1), 4, Some(8)));
        });
    }
}
