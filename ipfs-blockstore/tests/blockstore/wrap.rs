//! Stores over stores: the conformance suite on each and on a stack of them, and what each adds.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{TryStreamExt, stream::BoxStream};
use ipfs_blockstore::{
    CachedStore, FlatStore, MeteredStore, OverlayStore, PackStore, ReadOnlyStore, VerifyingStore,
};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, Result, Runtime,
    TokioRuntime, Usage, async_trait, codes, conformance, memory::MemoryStore,
};

fn runtime() -> Arc<dyn Runtime> {
    Arc::new(TokioRuntime::current().unwrap())
}

fn block(data: &'static str) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

/// A block whose bytes are not those of its CID.
fn damaged(data: &'static str) -> Block {
    Block::trusted(*block(data).cid(), "something else".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrapper_keeps_the_promises_of_a_store() {
    let memory = MemoryStore::new;
    let verifying = || VerifyingStore::new(memory(), HashTable::standard(), runtime());
    conformance::blockstore(|| async { Ok(verifying()) }).await.unwrap();
    conformance::blockstore(|| async { Ok(MeteredStore::new(memory(), runtime())) }).await.unwrap();
    for bytes in [0, 2000, 64 << 20] {
        conformance::blockstore(|| async { Ok(CachedStore::new(memory(), bytes)) }).await.unwrap();
    }
    let lower = || [memory(), memory()].map(|store| Arc::new(store) as Arc<dyn Blockstore>);
    let overlay = || OverlayStore::new(Arc::new(memory()), lower());
    conformance::blockstore(|| async { Ok(overlay()) }).await.unwrap();
}

/// All of them, one over the other, over a store on disk.
async fn stack(path: PathBuf, bytes: u64) -> Result<Arc<dyn Blockstore>> {
    let pack = Arc::new(PackStore::open(path, runtime()).await?);
    let overlay = OverlayStore::new(pack, [Arc::new(MemoryStore::new()) as Arc<dyn Blockstore>]);
    let metered = MeteredStore::new(overlay, runtime());
    let verifying = VerifyingStore::new(metered, HashTable::standard(), runtime());
    Ok(Arc::new(CachedStore::new(verifying, bytes)))
}

/// The same the other way round, and over the other store.
async fn stack_of_flat(path: PathBuf) -> Result<Arc<dyn Blockstore>> {
    let cached = CachedStore::new(FlatStore::open(path, runtime()).await?, 100_000);
    let verifying = VerifyingStore::new(cached, HashTable::standard(), runtime());
    let metered = MeteredStore::new(verifying, runtime());
    Ok(Arc::new(OverlayStore::new(Arc::new(metered), [])))
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_of_wrappers_keep_them_too() {
    let folder = tempfile::tempdir().unwrap();
    let next = AtomicU64::new(0);
    let path = || folder.path().join(next.fetch_add(1, Ordering::Relaxed).to_string());
    conformance::blockstore(|| stack(path(), 100_000)).await.unwrap();
    conformance::blockstore(|| stack_of_flat(path())).await.unwrap();
    let same = path();
    conformance::blockstore_reopen(|| stack(same.clone(), 1 << 20)).await.unwrap();
    let same = path();
    conformance::blockstore_reopen(|| stack_of_flat(same.clone())).await.unwrap();
}

/// A store that others write to, and which counts what it is asked.
#[derive(Clone, Debug, Default)]
struct Below {
    store: Arc<MemoryStore>,
    shared: bool,
    asked: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
}

#[async_trait]
impl Blockstore for Below {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.asked.fetch_add(cids.len() as u64, Ordering::Relaxed);
        self.store.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.asked.fetch_add(cids.len() as u64, Ordering::Relaxed);
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.store.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.store.list()
    }
    async fn flush(&self) -> Result<()> {
        self.told.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    async fn usage(&self) -> Result<Option<Usage>> {
        Ok(Some(Usage::of_bytes(77)))
    }
    async fn compact(&self) -> Result<()> {
        self.told.fetch_add(10, Ordering::Relaxed);
        Ok(())
    }
    fn shared(&self) -> bool {
        self.shared
    }
    async fn close(&self) -> Result<()> {
        self.told.fetch_add(100, Ordering::Relaxed);
        Ok(())
    }
}

/// What a wrapper does not change it passes on.
#[tokio::test]
async fn the_rest_is_passed_on() {
    let below = Below { shared: true, ..Below::default() };
    let wrapped: [Arc<dyn Blockstore>; 4] = [
        Arc::new(VerifyingStore::new(below.clone(), HashTable::standard(), runtime())),
        Arc::new(MeteredStore::new(below.clone(), runtime())),
        Arc::new(CachedStore::new(below.clone(), 1000)),
        Arc::new(OverlayStore::new(Arc::new(below.clone()), [])),
    ];
    for store in wrapped {
        assert!(store.shared());
        assert_eq!(store.usage().await.unwrap(), Some(Usage::of_bytes(77)));
        let before = below.told.load(Ordering::Relaxed);
        store.flush().await.unwrap();
        store.compact().await.unwrap();
        store.close().await.unwrap();
        assert_eq!(below.told.load(Ordering::Relaxed) - before, 111);
    }
    let store = ReadOnlyStore::new(below.clone());
    let before = below.told.load(Ordering::Relaxed);
    assert!(store.shared() && store.flush().await.is_ok() && store.close().await.is_ok());
    assert_eq!(below.told.load(Ordering::Relaxed) - before, 101);
}

#[tokio::test]
async fn what_does_not_hash_to_its_cid_is_neither_taken_nor_given() {
    let below = Arc::new(MemoryStore::new());
    let store = VerifyingStore::new(below.clone(), HashTable::standard(), runtime());
    below.put_many(&[block("a"), damaged("b")]).await.unwrap();
    let found = store.get_many(&["a", "b", "c"].map(|data| *block(data).cid())).await;
    assert_eq!(found[0].as_ref().unwrap(), &Some(block("a")));
    assert!(matches!(&found[1], Err(Error::Corrupt(cid)) if *cid == *block("b").cid()));
    assert_eq!(found[2].as_ref().unwrap(), &None);
    let error = store.put_many(&[block("d"), damaged("e")]).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert!(!below.has(block("d").cid()).await.unwrap());
}

#[tokio::test]
async fn a_store_that_is_only_read_takes_nothing() {
    let below = MemoryStore::new();
    below.put(block("a")).await.unwrap();
    let store = ReadOnlyStore::new(below);
    assert_eq!(store.get(block("a").cid()).await.unwrap(), Some(block("a")));
    for refused in
        [store.put(block("b")).await, store.delete(block("a").cid()).await, store.compact().await]
    {
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    }
    assert!(store.has(block("a").cid()).await.unwrap());
}

#[tokio::test]
async fn calls_are_counted() {
    let store = MeteredStore::new(MemoryStore::new(), runtime());
    store.put_many(&[block("a"), block("bc")]).await.unwrap();
    store.flush().await.unwrap();
    store.get_many(&["a", "bc", "d"].map(|data| *block(data).cid())).await;
    store.sizes(&["a", "d"].map(|data| *block(data).cid())).await.unwrap();
    store.delete(block("a").cid()).await.unwrap();
    let metrics = store.metrics();
    let of = |op: ipfs_blockstore::wrap::Operation| {
        assert_eq!(op.latency.buckets().map(|(_, count)| count).sum::<u64>(), op.calls);
        (op.calls, op.blocks, op.found, op.bytes, op.errors)
    };
    assert_eq!(of(metrics.put), (1, 2, 0, 3, 0));
    assert_eq!(of(metrics.flush), (1, 0, 0, 0, 0));
    assert_eq!(of(metrics.get), (1, 3, 2, 3, 0));
    assert_eq!(of(metrics.size), (1, 2, 1, 0, 0));
    assert_eq!(of(metrics.delete), (1, 1, 0, 0, 0));
}

#[tokio::test]
async fn a_cache_asks_once_and_forgets_what_changes() {
    let below = Below::default();
    let store = CachedStore::new(below.clone(), 1 << 20);
    let asked = || below.asked.swap(0, Ordering::Relaxed);
    let cid = *block("a").cid();
    assert_eq!(store.get(&cid).await.unwrap(), None);
    assert_eq!(store.size(&cid).await.unwrap(), None);
    assert_eq!(asked(), 1, "absence is remembered");
    store.put(block("a")).await.unwrap();
    assert_eq!(store.size(&cid).await.unwrap(), Some(1));
    let v0 = store.get(&cid).await.unwrap();
    assert_eq!((v0, asked()), (Some(block("a")), 2));
    assert_eq!(store.get(&cid).await.unwrap(), Some(block("a")));
    assert_eq!(store.size(&cid).await.unwrap(), Some(1));
    assert_eq!(asked(), 0, "and so is a block");
    store.delete(&cid).await.unwrap();
    assert_eq!((store.get(&cid).await.unwrap(), asked()), (None, 1));
    assert_eq!(store.stats().hits, 3);

    // Others may have put it meanwhile.
    let shared = CachedStore::new(Below { shared: true, ..below.clone() }, 1 << 20);
    assert_eq!(shared.get(&cid).await.unwrap(), None);
    below.put(block("a")).await.unwrap();
    assert_eq!(shared.get(&cid).await.unwrap(), Some(block("a")));
}

#[tokio::test]
async fn a_cache_stays_within_its_bound() {
    let below = Below::default();
    let store = CachedStore::new(below.clone(), 50_000);
    let hashes = HashTable::standard();
    let blocks = (0..100_u8)
        .map(|i| Block::of(codes::RAW, codes::SHA2_256, vec![i; 1000], &hashes).unwrap());
    let blocks: Vec<Block> = blocks.collect();
    below.put_many(&blocks).await.unwrap();
    for block in &blocks {
        store.get(block.cid()).await.unwrap();
        // The first is used again and again, and stays.
        store.get(blocks[0].cid()).await.unwrap();
        assert!(store.stats().bytes <= 50_000);
    }
    assert!(store.stats().bytes > 45_000);
    below.asked.store(0, Ordering::Relaxed);
    store.get_many(&[*blocks[0].cid(), *blocks[99].cid(), *blocks[1].cid()]).await;
    assert_eq!(below.asked.load(Ordering::Relaxed), 1, "one of them had to go");
    // A large one is not kept, and takes no place from the others.
    let large = Block::of(codes::RAW, codes::SHA2_256, vec![1; 20_000], &hashes).unwrap();
    store.put(large.clone()).await.unwrap();
    let before = store.stats().bytes;
    assert_eq!(store.get(large.cid()).await.unwrap(), Some(large));
    assert_eq!(store.stats().bytes, before);
}

#[tokio::test]
async fn an_overlay_reads_from_all_and_writes_to_one() {
    let [upper, first, second] = [(); 3].map(|()| Arc::new(MemoryStore::new()));
    first.put_many(&[block("a"), block("b")]).await.unwrap();
    second.put_many(&[block("b"), block("c")]).await.unwrap();
    let lower = [first, second].map(|store| store as Arc<dyn Blockstore>);
    let store = OverlayStore::new(upper.clone(), lower);
    store.put_many(&[block("b"), block("d")]).await.unwrap();
    assert!(!upper.has(block("b").cid()).await.unwrap(), "it is there already");
    let all = ["a", "b", "c", "d"].map(block);
    let cids = all.clone().map(|block| *block.cid());
    for (found, block) in store.get_many(&cids).await.into_iter().zip(all.clone()) {
        assert_eq!(found.unwrap(), Some(block));
    }
    assert_eq!(store.sizes(&cids).await.unwrap(), [Some(1); 4]);
    let mut listed: Vec<_> = store.list().try_concat().await.unwrap();
    listed.sort();
    let mut expected = all.map(|block| (*block.hash(), 1));
    expected.sort();
    assert_eq!(listed, expected);
    store.delete(block("d").cid()).await.unwrap();
    let error = store.delete_many(&[*block("a").cid()]).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    assert!(store.has(block("a").cid()).await.unwrap() && !store.has(&cids[3]).await.unwrap());
}
