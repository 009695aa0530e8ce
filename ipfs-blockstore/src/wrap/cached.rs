//! A store that remembers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use ipfs_traits::{Block, Blockstore, Bytes, Cid, Multihash, Result, Usage};

use super::pass_on;

/// Keeps blocks that were read lately in memory, and remembers what was absent, within a bound of
/// bytes. What was used longest ago goes first. A block that would take more than an eighth of the
/// cache is not kept.
///
/// For a store that is slow to reach: a bucket, a disk that turns. [`PackStore`](crate::PackStore)
/// reads through the system's own cache and knows what is absent without a read.
///
/// Absence is not remembered of a store that others write to ([`shared`](Blockstore::shared)); blocks
/// are, so that one which another process deletes may still be given. A put or a delete that is
/// dropped before it ends, and happens all the same, may go unseen here until the block is put or
/// deleted again.
///
/// ```
/// # futures::executor::block_on(async {
/// use ipfs_blockstore::{BlockstoreExt, CachedStore};
/// use ipfs_traits::{codes, memory::MemoryStore, Block, HashTable};
///
/// let store = CachedStore::new(MemoryStore::new(), 64 << 20);
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// store.put(block.clone()).await?;
/// store.get(block.cid()).await?;
/// store.get(block.cid()).await?;
/// assert_eq!(store.stats().hits, 1);
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CachedStore<S> {
    inner: S,
    cache: Arc<Mutex<Cache>>,
}

/// What a [`CachedStore`] holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Questions that were answered from memory.
    pub hits: u64,
    /// Questions that were passed on.
    pub misses: u64,
    /// Bytes in use, those of the cache itself too.
    pub bytes: u64,
}

/// Bytes that an entry takes beside its block, about.
const ENTRY: u64 = 256;

/// What would take more than one part in so many of the cache is not kept: too much would go for it.
const MOST: u64 = 8;

#[derive(Debug)]
struct Cache {
    limit: u64,
    entries: HashMap<Multihash, Entry>,
    /// The same, the one that was used longest ago first.
    used: BTreeMap<u64, Multihash>,
    clock: u64,
    /// Counts puts and deletes, as they begin and as they end: what was read before one may be no
    /// longer true.
    changes: u64,
    stats: CacheStats,
}

#[derive(Debug)]
struct Entry {
    /// The block, or that there is none.
    data: Option<Bytes>,
    used: u64,
}

impl Entry {
    fn bytes(&self) -> u64 {
        ENTRY + self.data.as_ref().map_or(0, |data| data.len() as u64)
    }
}

impl Cache {
    /// What is known of a block: `None` when nothing is.
    fn get(&mut self, hash: &Multihash) -> Option<Option<Bytes>> {
        let Some(entry) = self.entries.get_mut(hash) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        self.clock += 1;
        self.used.remove(&entry.used);
        entry.used = self.clock;
        self.used.insert(self.clock, *hash);
        Some(entry.data.clone())
    }

    fn insert(&mut self, hash: Multihash, data: Option<Bytes>) {
        self.remove(&hash);
        self.clock += 1;
        let entry = Entry { data, used: self.clock };
        if entry.bytes() > self.limit / MOST {
            return;
        }
        self.stats.bytes += entry.bytes();
        self.used.insert(self.clock, hash);
        self.entries.insert(hash, entry);
        while self.stats.bytes > self.limit
            && let Some((_, oldest)) = self.used.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, hash: &Multihash) {
        if let Some(entry) = self.entries.remove(hash) {
            self.stats.bytes -= entry.bytes();
            self.used.remove(&entry.used);
        }
    }
}

/// A put or a delete under way. When it ends, also by being dropped, nothing is known of its blocks.
struct Change<'a> {
    cache: &'a Mutex<Cache>,
    hashes: Vec<Multihash>,
}

impl<'a> Change<'a> {
    fn begin(cache: &'a Mutex<Cache>, hashes: Vec<Multihash>) -> Self {
        lock(cache).changes += 1;
        Self { cache, hashes }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut cache = lock(self.cache);
        cache.changes += 1;
        self.hashes.iter().for_each(|hash| cache.remove(hash));
    }
}

fn lock(cache: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Blockstore> CachedStore<S> {
    /// A store that remembers what this one has, in at most so many bytes.
    pub fn new(inner: S, max_bytes: u64) -> Self {
        let cache = Cache {
            limit: max_bytes,
            entries: HashMap::new(),
            used: BTreeMap::new(),
            clock: 0,
            changes: 0,
            stats: CacheStats::default(),
        };
        Self { inner, cache: Arc::new(Mutex::new(cache)) }
    }

    /// What it holds and has done.
    pub fn stats(&self) -> CacheStats {
        lock(&self.cache).stats
    }

    /// What memory says of these, and how many changes there were then.
    fn known(&self, cids: &[Cid]) -> (Vec<Option<Option<Bytes>>>, u64) {
        let mut cache = lock(&self.cache);
        let known = cids.iter().map(|cid| cache.get(cid.hash())).collect();
        (known, cache.changes)
    }

    /// Remembers what was found, if nothing has changed since.
    fn remember(&self, found: impl IntoIterator<Item = (Multihash, Option<Bytes>)>, changes: u64) {
        let shared = self.inner.shared();
        let mut cache = lock(&self.cache);
        if cache.changes == changes {
            for (hash, data) in found.into_iter().filter(|(_, data)| data.is_some() || !shared) {
                cache.insert(hash, data);
            }
        }
    }
}

/// What is to be asked for: those of which nothing is known.
fn unknown<T>(cids: &[Cid], known: &[Option<T>]) -> Vec<Cid> {
    let unknown = std::iter::zip(cids, known).filter(|(_, known)| known.is_none());
    unknown.map(|(cid, _)| *cid).collect()
}

#[async_trait]
impl<S: Blockstore> Blockstore for CachedStore<S> {
    pass_on!(list, flush, usage, compact, shared, close);

    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let (known, changes) = self.known(cids);
        let asked = unknown(cids, &known);
        let found = if asked.is_empty() { Vec::new() } else { self.inner.get_many(&asked).await };
        let told = std::iter::zip(&asked, &found).filter_map(|(cid, found)| {
            let found = found.as_ref().ok()?;
            Some((*cid.hash(), found.as_ref().map(|block| block.data().clone())))
        });
        self.remember(told, changes);
        let mut found = found.into_iter();
        std::iter::zip(cids, known)
            .map(|(cid, known)| match known {
                Some(data) => Ok(data.map(|data| Block::trusted(*cid, data))),
                None => found.next().unwrap_or(Ok(None)),
            })
            .collect()
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let (known, changes) = self.known(cids);
        let asked = unknown(cids, &known);
        let found = if asked.is_empty() { Vec::new() } else { self.inner.sizes(&asked).await? };
        let absent = std::iter::zip(&asked, &found).filter(|(_, size)| size.is_none());
        self.remember(absent.map(|(cid, _)| (*cid.hash(), None)), changes);
        let mut found = found.into_iter();
        let size = |known: Option<Option<Bytes>>| match known {
            Some(data) => data.map(|data| data.len() as u64),
            None => found.next().flatten(),
        };
        Ok(known.into_iter().map(size).collect())
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let hashes = blocks.iter().map(|block| *block.hash()).collect();
        let _change = Change::begin(&self.cache, hashes);
        self.inner.put_many(blocks).await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let _change = Change::begin(&self.cache, cids.iter().map(|cid| *cid.hash()).collect());
        self.inner.delete_many(cids).await
    }
}
