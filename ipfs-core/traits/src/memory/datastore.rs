//! A datastore in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::{Batch, Datastore, Result};

/// A sorted table in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryDatastore(Mutex<BTreeMap<Bytes, Bytes>>);

/// Entries in one page of a scan.
const PAGE: usize = 256;

impl MemoryDatastore {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Bytes, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Datastore for MemoryDatastore {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.table().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        let table = self.table();
        let found: Vec<(Bytes, Bytes)> = table
            .range(Bytes::copy_from_slice(prefix)..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let pages: Vec<_> = found.chunks(PAGE).map(|page| Ok(page.to_vec())).collect();
        stream::iter(pages).boxed()
    }

    async fn commit(&self, batch: Batch) -> Result<bool> {
        batch.check()?;
        let mut table = self.table();
        if !batch.expectations().all(|(key, value)| table.get(key) == value) {
            return Ok(false);
        }
        for (key, value) in batch.into_writes() {
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        Ok(true)
    }
}
