//! `ReferenceStore`: the conformance suite with blocks here and there, files that change, records
//! that lead astray, and URLs.

mod astray;
mod hostile;
mod urls;
mod verify;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use data_encoding::BASE32_NOPAD;
use futures::{FutureExt, TryStreamExt, stream::BoxStream};
use ipfs_blockstore::{
    PackStore, RedbDatastore, ReferenceStore,
    reference::{Options, Record},
};
use ipfs_traits::{
    Batch, Block, Blockstore, BlockstoreExt, Cid, Datastore, Error, HashTable, Multihash, Origin,
    Reference, ReferenceSink, Result, Runtime, TokioRuntime, Usage, async_trait, codes,
    conformance, limits,
    memory::{MemoryDatastore, MemoryStore},
};
use tempfile::TempDir;

fn runtime() -> Arc<dyn Runtime> {
    Arc::new(TokioRuntime::current().unwrap())
}

fn block(data: impl Into<ipfs_traits::Bytes>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

fn rooted(root: &Path) -> Options {
    let mut options = Options::default();
    options.root = Some(root.into());
    options
}

fn in_file(block: &Block, path: impl AsRef<Path>, offset: u64) -> Reference {
    Reference { block: block.clone(), origin: Origin::File(path.as_ref().into()), offset }
}

/// A store over memory, its records, and the folder that it may read.
struct World {
    folder: TempDir,
    inner: Arc<MemoryStore>,
    records: Arc<MemoryDatastore>,
    store: ReferenceStore<Arc<MemoryStore>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let options = rooted(&folder.path().join("root"));
        Self::with(folder, options)
    }

    fn with(folder: TempDir, options: Options) -> Self {
        let (inner, records) = (Arc::new(MemoryStore::new()), Arc::new(MemoryDatastore::new()));
        let store = ReferenceStore::new(inner.clone(), records.clone(), runtime(), options);
        Self { folder, inner, records, store }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A file with this content, and a reference to all of it.
    async fn refer(&self, name: &str, content: &'static str) -> Block {
        let path = self.write(name, content.as_bytes());
        let block = block(content);
        self.store.put_references(&[in_file(&block, path, 0)]).await.unwrap();
        block
    }

    /// Puts a record by hand.
    async fn record(&self, hash: &Multihash, value: impl Into<ipfs_traits::Bytes>) {
        let key = format!("/filestore/{}", BASE32_NOPAD.encode(&hash.to_bytes()));
        assert!(self.records.commit(Batch::new().put(key, value)).await.unwrap());
    }

    async fn records(&self) -> Vec<Record> {
        let pages: Vec<_> = self.store.references().try_collect().await.unwrap();
        pages.into_iter().flatten().map(|one| one.record.unwrap()).collect()
    }
}

/// A record as protobuf writes it, of any content.
fn record(path: &[u8], offset: u64, size: u64) -> Vec<u8> {
    use ipfs_traits::protobuf::{write_bytes, write_varint};
    let mut out = Vec::new();
    write_bytes(1, path, &mut out);
    write_varint(2, offset, &mut out);
    write_varint(3, size, &mut out);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_store() {
    let memory = || {
        let records = Arc::new(MemoryDatastore::new());
        ReferenceStore::new(MemoryStore::new(), records, runtime(), Options::default())
    };
    conformance::blockstore(|| async { Ok(memory()) }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let next = AtomicU64::new(0);
    let open = |path: PathBuf| async move {
        let records = RedbDatastore::open(path.join("state.redb"), runtime()).await?;
        let pack = PackStore::open(path.join("blocks"), runtime()).await?;
        Ok(ReferenceStore::new(pack, Arc::new(records), runtime(), Options::default()))
    };
    conformance::blockstore(|| {
        let path = folder.path().join(next.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&path).unwrap();
        open(path)
    })
    .await
    .unwrap();
}

/// Writes every block that is put into a file, and keeps a reference to it.
#[derive(Debug)]
struct Referring {
    store: ReferenceStore<MemoryStore>,
    root: PathBuf,
    next: AtomicU64,
}

#[async_trait]
impl Blockstore for Referring {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.store.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        blocks.iter().try_for_each(|block| limits::check_stored_size(block.len()))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(number.to_string());
        let (mut content, mut references) = (Vec::new(), Vec::new());
        for block in blocks {
            references.push(in_file(block, &path, content.len() as u64));
            content.extend_from_slice(block.data());
        }
        std::fs::write(&path, content).unwrap();
        self.store.put_references(&references).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.store.list()
    }
    async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }
    async fn usage(&self) -> Result<Option<Usage>> {
        assert_eq!(self.store.usage().await?.unwrap().bytes, 0);
        Ok(None)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn references_alone_keep_the_promises_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let made = AtomicU64::new(0);
    conformance::blockstore(|| {
        let root = folder.path().join(made.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&root).unwrap();
        let records = Arc::new(MemoryDatastore::new());
        let store = ReferenceStore::new(MemoryStore::new(), records, runtime(), rooted(&root));
        async move { Ok(Referring { store, root, next: AtomicU64::new(0) }) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn ranges_of_files_are_blocks() {
    let world = World::new();
    let path = world.write("a/b/file", b"0123456789");
    let other = world.write("other", b"abc");
    let (blocks, empty) = ([block("234"), block("0123456789"), block("9")], block(""));
    let references = [
        in_file(&blocks[0], &path, 2),
        in_file(&blocks[1], "a/b/file", 0), // from the root
        in_file(&blocks[2], &path, 9),
        in_file(&empty, &other, 3),
    ];
    world.store.put_references(&references).await.unwrap();
    let all = [blocks.to_vec(), vec![empty, block("absent")]].concat();
    let cids: Vec<Cid> = all.iter().map(|block| *block.cid()).collect();
    let found: Vec<_> = world.store.get_many(&cids).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(found[..4], all[..4].iter().cloned().map(Some).collect::<Vec<_>>());
    assert_eq!(found[4], None);
    let sizes = world.store.sizes(&cids).await.unwrap();
    assert_eq!(sizes, [Some(3), Some(10), Some(1), Some(0), None]);
    let mut records = world.records().await;
    records.sort_by_key(|record| (record.origin.clone(), record.offset));
    let told: Vec<_> = records.iter().map(|r| (&r.origin[..], r.offset, r.size)).collect();
    let path = "a/b/file";
    assert_eq!(told, [(path, 0, 10), (path, 2, 3), (path, 9, 1), ("other", 3, 0)]);
    assert_eq!(world.inner.usage().await.unwrap().unwrap().blocks, Some(0));
}

#[tokio::test]
async fn each_block_fails_alone() {
    let world = World::new();
    let whole = world.refer("whole", "as it was").await;
    let changed = world.refer("changed", "as it was before").await;
    let shorter = world.refer("shorter", "longer than it will be").await;
    let gone = world.refer("gone", "soon removed").await;
    let folder = world.refer("folder", "soon a folder").await;
    world.write("changed", b"as it was befose");
    world.write("shorter", b"longer");
    for name in ["gone", "folder"] {
        std::fs::remove_file(world.root().join(name)).unwrap();
    }
    std::fs::create_dir(world.root().join("folder")).unwrap();
    let all = [&changed, &whole, &shorter, &gone, &folder];
    let cids = all.map(|block| *block.cid());
    let found = world.store.get_many(&cids).await;
    assert!(matches!(&found[0], Err(Error::Corrupt(cid)) if cid == changed.cid()));
    assert_eq!(found[1].as_ref().unwrap().as_ref(), Some(&whole));
    assert!(matches!(&found[2], Err(Error::Corrupt(cid)) if cid == shorter.cid()));
    for (found, why) in [(&found[3], "cannot find"), (&found[4], "is not a file")] {
        let error = found.as_ref().unwrap_err();
        assert!(matches!(error, Error::Component { name: "reference store", .. }), "{error:?}");
        let source = std::error::Error::source(error).unwrap().to_string();
        assert!(source.contains(why), "{source}");
    }
    // Sizes are those of the records.
    let sizes = world.store.sizes(&cids).await.unwrap();
    assert_eq!(sizes, all.map(|block| Some(block.len() as u64)));
    // What is put is stored, and heals what is broken.
    world.store.put(changed.clone()).await.unwrap();
    assert_eq!(world.store.get(changed.cid()).await.unwrap(), Some(changed));
}

#[tokio::test]
async fn what_is_stored_is_not_referred_to_and_both_are_deleted() {
    let world = World::new();
    let stored = block("stored");
    world.store.put(stored.clone()).await.unwrap();
    world.refer("stored", "stored").await;
    assert!(world.records().await.is_empty());
    let both = world.refer("both", "both").await;
    let referred = world.refer("referred", "referred").await;
    world.store.put(both.clone()).await.unwrap();
    let duplicates: Vec<Cid> = world.store.duplicates().try_concat().await.unwrap();
    assert_eq!(duplicates, [*both.cid()]);
    let mut listed = world.store.list().try_concat().await.unwrap();
    listed.sort();
    let all = [&stored, &both, &referred];
    let mut expected = all.map(|block| (*block.hash(), block.len() as u64));
    expected.sort();
    assert_eq!(listed, expected, "each is listed once");
    world.store.delete_many(&all.map(|block| *block.cid())).await.unwrap();
    assert!(world.store.list().try_concat().await.unwrap().is_empty());
    assert!(world.records().await.is_empty());
    assert_eq!(std::fs::read(world.root().join("both")).unwrap(), b"both");
}

/// A block that is put while its reference is listed was lost from the listing, when what was stored
/// was listed first.
#[tokio::test]
async fn a_listing_has_a_block_once_that_is_put_meanwhile() {
    let world = World::new();
    let path = world.write("file", &[7; 3000]);
    let blocks: Vec<Block> = (1..=2000).map(|len| block(vec![7; len])).collect();
    let references: Vec<_> = blocks.iter().map(|block| in_file(block, &path, 0)).collect();
    world.store.put_references(&references).await.unwrap();
    world.store.put_many(&blocks[..500]).await.unwrap();
    let mut listing = world.store.list();
    let mut listed = listing.try_next().await.unwrap().unwrap();
    world.store.put_many(&blocks).await.unwrap();
    while let Some(page) = listing.try_next().await.unwrap() {
        assert!(page.len() <= 2048);
        listed.extend(page);
    }
    listed.sort();
    let mut expected: Vec<_> = blocks.iter().map(|b| (*b.hash(), b.len() as u64)).collect();
    expected.sort();
    assert!(listed == expected, "{} of {}", listed.len(), expected.len());
}

/// A newer reference holds, so that a file that has moved is added again.
#[tokio::test]
async fn the_newest_reference_holds() {
    let world = World::new();
    let block = world.refer("old", "content").await;
    std::fs::remove_file(world.root().join("old")).unwrap();
    assert!(world.store.get(block.cid()).await.is_err());
    world.refer("new", "content").await;
    assert_eq!(world.store.get(block.cid()).await.unwrap(), Some(block));
    assert_eq!(world.records().await[0].origin, "new");
}

/// A call that is dropped before it ends harms nothing that comes after.
#[tokio::test]
async fn calls_may_be_dropped() {
    let world = World::new();
    let path = world.write("file", b"0123456789");
    let blocks: Vec<Block> = (1..=10).map(|len| block(&b"0123456789"[..len])).collect();
    let references: Vec<_> = blocks.iter().map(|block| in_file(block, &path, 0)).collect();
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    for _ in 0..20 {
        drop(world.store.put_references(&references).now_or_never());
        drop(world.store.get_many(&cids).now_or_never());
        drop(world.store.delete_many(&cids).now_or_never());
    }
    world.store.put_references(&references).await.unwrap();
    let found = world.store.get_many(&cids).await;
    for (found, block) in std::iter::zip(found, blocks) {
        assert_eq!(found.unwrap(), Some(block));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn references_survive_without_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), b"content").unwrap();
    let block = block("content");
    for round in 0..3 {
        let records = RedbDatastore::open(folder.path().join("state"), runtime()).await.unwrap();
        let records = Arc::new(records);
        let pack = PackStore::open(folder.path().join("blocks"), runtime()).await.unwrap();
        let store = ReferenceStore::new(pack, records.clone(), runtime(), rooted(&root));
        if round == 0 {
            store.put_references(&[in_file(&block, "file", 0)]).await.unwrap();
        }
        assert_eq!(store.get(block.cid()).await.unwrap().as_ref(), Some(&block));
        store.close().await.unwrap();
        records.close().await.unwrap();
    }
}
