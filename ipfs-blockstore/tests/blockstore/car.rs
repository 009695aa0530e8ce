//! CAR files: streams, stores, import and export.

mod append;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use futures::{
    AsyncWrite, StreamExt, TryStreamExt,
    io::Cursor,
    stream::{self, BoxStream},
};
use ipfs_blockstore::{
    BlockstoreExt, CarStore,
    car::{self, IndexKind, IndexedWriter, Order, ReadOptions, Reader, Writer},
};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, CodecTable, Error, HashTable, Ipld, Local, Multihash,
    Result, Static, TokioRuntime, async_trait, codes,
    memory::MemoryStore,
    work::{Event, Work},
};
use serde_ipld_dagcbor::codec::DagCborCodec;

use crate::fixtures::Links;

fn runtime() -> Arc<TokioRuntime> {
    Arc::new(TokioRuntime::current().unwrap())
}

fn hashes() -> HashTable {
    HashTable::standard()
}

fn raw(data: impl Into<Vec<u8>>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, data.into(), &hashes()).unwrap()
}

fn codecs() -> Arc<CodecTable> {
    let mut codecs = CodecTable::new();
    codecs.insert(Static::<DagCborCodec>::new());
    codecs.insert(Links(codes::RAW));
    Arc::new(codecs)
}

/// A block that links to others.
fn node(links: &[&Block]) -> Block {
    let list = Ipld::List(links.iter().map(|block| Ipld::Link(*block.cid())).collect());
    codecs().encode(codes::DAG_CBOR, codes::SHA2_256, &list, &hashes()).unwrap()
}

async fn v1(roots: &[Cid], blocks: &[Block]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), roots).await.unwrap();
    writer.write(blocks).await.unwrap();
    assert!(!writer.is_empty());
    let len = writer.len();
    let file = writer.finish().await.unwrap();
    assert_eq!(file.len() as u64, len);
    file
}

async fn v2(kind: IndexKind, blocks: &[Block]) -> Vec<u8> {
    // It may begin anywhere in a file.
    let mut out = Cursor::new(vec![7; 5]);
    out.set_position(5);
    let mut writer = IndexedWriter::new(out, &[], kind).await.unwrap();
    writer.write(blocks).await.unwrap();
    writer.finish().await.unwrap().into_inner().split_off(5)
}

async fn read(file: impl Into<Vec<u8>>) -> Result<Vec<Block>> {
    let options = ReadOptions::default();
    Reader::open(Cursor::new(file.into()), runtime(), options).await?.try_concat().await
}

/// Blocks of several hash functions, sizes and codecs, one of them twice.
fn some_blocks() -> Vec<Block> {
    let of = |(i, hash): (usize, u64)| {
        Block::of(codes::RAW, hash, vec![i as u8; i * i % 5000], &hashes()).unwrap()
    };
    let functions = [codes::SHA2_256, codes::SHA2_512, codes::SHA1, codes::BLAKE3];
    let mut blocks: Vec<Block> = (0..600).map(|i| (i, functions[i % 4])).map(of).collect();
    blocks.push(blocks[7].clone());
    blocks.push(raw(vec![1; 300_000]));
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_as_a_stream_and_as_a_store() {
    let (blocks, folder) = (some_blocks(), tempfile::tempdir().unwrap());
    let files = [
        v1(&[], &blocks).await,
        v2(IndexKind::Sorted, &blocks).await,
        v2(IndexKind::MultihashSorted, &blocks).await,
    ];
    for file in files {
        assert!(read(file.clone()).await.unwrap() == blocks);
        let path = folder.path().join("file.car");
        std::fs::write(&path, &file).unwrap();
        let store = CarStore::open(&path, runtime()).await.unwrap();
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        for (found, block) in store.get_many(&cids).await.into_iter().zip(&blocks) {
            assert_eq!(found.unwrap().as_ref(), Some(block));
        }
        let sizes = store.sizes(&cids).await.unwrap();
        assert!(sizes.iter().zip(&blocks).all(|(size, b)| *size == Some(b.len() as u64)));
        assert_eq!(store.get(raw("absent").cid()).await.unwrap(), None);
        let listed: Vec<(Multihash, u64)> = store.list().try_concat().await.unwrap();
        let expected: BTreeMap<Multihash, u64> =
            blocks.iter().map(|block| (*block.hash(), block.len() as u64)).collect();
        assert_eq!(listed.len(), expected.len(), "the one that is there twice is listed once");
        assert_eq!(listed.into_iter().collect::<BTreeMap<_, _>>(), expected);
        for refused in [
            store.put(blocks[0].clone()).await,
            store.delete(blocks[0].cid()).await,
            store.compact().await,
        ] {
            assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
        }
        store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_cut_off_never_looks_like_an_end() {
    let blocks: Vec<Block> = (0..4_u8).map(|i| raw(vec![i; 90])).collect();
    let (one, two) = (v1(&[], &blocks).await, v2(IndexKind::Sorted, &blocks).await);
    let mut ends = vec![ipfs_traits::car::header(&[]).len()];
    ends.extend(blocks.iter().scan(ends[0], |end, block| {
        *end += ipfs_traits::car::section_len(block.cid(), block.len());
        Some(*end)
    }));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.car");
    for cut in 0..one.len() {
        // A CARv1 does not say how long it is: only there can it be cut off unseen.
        assert_eq!(read(&one[..cut]).await.is_ok(), ends.contains(&cut), "cut at {cut}");
    }
    let data = 51 + one.len();
    for cut in (0..two.len()).step_by(3) {
        assert_eq!(read(&two[..cut]).await.is_ok(), cut >= data, "cut at {cut}");
        std::fs::write(&path, &two[..cut]).unwrap();
        assert!(CarStore::open(&path, runtime()).await.is_err(), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_damaged_block_ends_a_stream_and_is_the_error_of_itself_in_a_store() {
    let blocks: Vec<Block> = (0..1000_u32).map(|i| raw(i.to_be_bytes())).collect();
    let mut file = v1(&[], &blocks).await;
    let at = file.windows(4).position(|four| four == 600_u32.to_be_bytes()).unwrap();
    file[at] ^= 1;
    let options = ReadOptions::default();
    let mut reader = Reader::open(Cursor::new(file.clone()), runtime(), options).await.unwrap();
    let mut whole = 0;
    let error = loop {
        match reader.next().await {
            Some(Ok(batch)) => whole += batch.len(),
            Some(Err(error)) => break error,
            None => panic!("it ends without an error"),
        }
    };
    assert!(matches!(error, Error::Corrupt(cid) if cid == *blocks[600].cid()), "{error:?}");
    assert!((256..=600).contains(&whole) && reader.next().await.is_none());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.car");
    std::fs::write(&path, file).unwrap();
    let store = CarStore::open(&path, runtime()).await.unwrap();
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    for (i, found) in store.get_many(&cids).await.into_iter().enumerate() {
        match i {
            600 => assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?}"),
            _ => assert_eq!(found.unwrap().as_ref(), Some(&blocks[i])),
        }
    }
}

/// An index that lies gives errors or absence, and never another block.
#[tokio::test]
async fn an_index_is_not_believed() {
    let blocks: Vec<Block> = (0..3_u8).map(|i| raw(vec![i; 50])).collect();
    let good = v2(IndexKind::MultihashSorted, &blocks).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lies.car");
    let index = good.len() - 3 * 40;
    for offset in [0, 18, 19, 90, u64::MAX, 1 << 40] {
        let mut bad = good.clone();
        bad[index + 32..index + 40].copy_from_slice(&offset.to_le_bytes());
        std::fs::write(&path, &bad).unwrap();
        let store = CarStore::open(&path, runtime()).await.unwrap();
        let mut wrong = 0;
        for block in &blocks {
            match store.get(block.cid()).await {
                Ok(Some(found)) => assert_eq!(found, *block),
                Ok(None) | Err(Error::Malformed { .. }) => wrong += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        // One of the three may begin just there.
        assert!(wrong <= 1, "{offset}");
        let listed: Result<Vec<(Multihash, u64)>> = store.list().try_concat().await;
        assert!(wrong == 0 || listed.is_err(), "{offset}");
    }
}

#[tokio::test]
async fn limits_are_those_asked_for() {
    let large = raw(vec![1; (2 << 20) + 1]);
    let file = v1(&[], std::slice::from_ref(&large)).await;
    assert!(matches!(read(file.clone()).await, Err(Error::Limit { .. })));
    let mut options = ReadOptions::default();
    options.max_block = 3 << 20;
    let reader = Reader::open(Cursor::new(file.clone()), runtime(), options.clone()).await.unwrap();
    assert!(reader.try_concat().await.unwrap() == [large.clone()]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.car");
    std::fs::write(&path, file).unwrap();
    let store = CarStore::open(&path, runtime()).await.unwrap();
    assert!(matches!(store.get(large.cid()).await, Err(Error::Limit { .. })));
    let store = CarStore::open_with(&path, runtime(), options).await.unwrap();
    assert!(store.get(large.cid()).await.unwrap() == Some(large));
}

#[tokio::test]
async fn identity_blocks_are_verified_and_not_stored() {
    let inline = Block::of(codes::RAW, codes::IDENTITY, "inline", &hashes()).unwrap();
    let blocks = [raw("a"), inline.clone(), raw("b")];
    let file = v1(&[*inline.cid()], &blocks).await;
    let store = Arc::new(MemoryStore::new());
    let input = Cursor::new(file);
    let import = car::import(input, store.clone(), runtime(), ReadOptions::default());
    let done = import.await.unwrap();
    assert_eq!((done.blocks, done.bytes, &done.roots[..]), (3, 8, &[*inline.cid()][..]));
    let listed: Vec<(Multihash, u64)> = store.list().try_concat().await.unwrap();
    assert_eq!(listed.len(), 2);
    let liar = Block::trusted(*inline.cid(), "inlinE".into());
    assert!(matches!(read(v1(&[], &[liar]).await).await, Err(Error::Corrupt(_))));
}

/// A small DAG, in the order of an export: a leaf twice, a node twice, and one by its CID.
fn dag() -> (Vec<Block>, Vec<Block>) {
    let inline = Block::of(codes::RAW, codes::IDENTITY, "inline", &hashes()).unwrap();
    let leaves: Vec<Block> = (0..200_u8).map(|i| raw(vec![i; 1000])).collect();
    let low = node(&[&leaves[0], &leaves[1]]);
    let wide = node(&leaves.iter().collect::<Vec<_>>());
    let root = node(&[&low, &inline, &wide, &low, &leaves[1]]);
    let mut order = vec![root, low, leaves[0].clone(), leaves[1].clone(), inline, wide];
    order.extend(leaves[2..].iter().cloned());
    let stored = order.iter().filter(|block| Block::inline(block.cid()).is_none()).cloned();
    (stored.collect(), order)
}

/// A source that answers what it is asked in another order each time.
#[derive(Debug)]
struct Shuffled(Arc<MemoryStore>, Mutex<crate::numbers::Numbers>);

#[async_trait]
impl BlockSource for Shuffled {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        Local(self.0.clone()).get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let (store, mut numbers) =
            (self.0.clone(), crate::numbers::Numbers(self.1.lock().unwrap().next()));
        let some = cids.ready_chunks(9).then(move |mut some| {
            for i in (1..some.len()).rev() {
                some.swap(i, numbers.below(i as u64 + 1) as usize);
            }
            let store = store.clone();
            async move { Local(store).get_many(stream::iter(some).boxed()) }
        });
        some.flatten().boxed()
    }
}

async fn walked(source: Arc<dyn BlockSource>, roots: &[Cid], order: Order) -> Result<Vec<Block>> {
    car::walk(source, codecs(), roots, order).try_collect().await
}

#[tokio::test]
async fn a_walk_is_in_one_order_whatever_the_source_does() {
    let (stored, order) = dag();
    let store = Arc::new(MemoryStore::new());
    store.put_many(&stored).await.unwrap();
    let roots = [*order[0].cid()];
    for seed in 0..20 {
        let source = Shuffled(store.clone(), Mutex::new(crate::numbers::Numbers(seed)));
        let found = walked(Arc::new(source), &roots, Order::default()).await.unwrap();
        assert!(found == order, "seed {seed}");
    }
    let source: Arc<dyn BlockSource> = Arc::new(Local(store.clone()));

    let mut without = Order::default();
    without.without_identity = true;
    let found = walked(source.clone(), &roots, without.clone()).await.unwrap();
    assert!(found == stored);
    let measured = car::measure(&*store, &codecs(), &roots, &without).await.unwrap();
    assert_eq!(measured.bytes, v1(&roots, &stored).await.len() as u64);

    let mut duplicates = Order::default();
    duplicates.duplicates = true;
    let found = walked(source.clone(), &roots, duplicates.clone()).await.unwrap();
    let expected = order.len() + 2 + 3 + 1;
    assert_eq!(found.len(), expected);
    assert!(found[..6] == order[..6] && found[6..8] == order[2..4]);
    let measured = car::measure(&*store, &codecs(), &roots, &duplicates).await.unwrap();
    assert_eq!(
        (measured.blocks, measured.bytes),
        (expected as u64, v1(&roots, &found).await.len() as u64)
    );
    duplicates.max_blocks = Some(expected as u64 - 1);
    let error = walked(source.clone(), &roots, duplicates.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    let error = car::measure(&*store, &codecs(), &roots, &duplicates).await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");

    // Several roots, one below the other: each block once.
    let both = [*order[1].cid(), *order[0].cid()];
    let found = walked(source, &both, Order::default()).await.unwrap();
    assert_eq!(found.len(), order.len());
    assert!(found[..3] == order[1..4] && found[3] == order[0]);
}

/// Without a bound, this one would be walked for ever.
#[tokio::test]
async fn a_small_dag_with_endless_paths_is_bounded() {
    let store = Arc::new(MemoryStore::new());
    let mut top = raw("bottom");
    store.put(top.clone()).await.unwrap();
    for _ in 0..60 {
        top = node(&[&top, &top]);
        store.put(top.clone()).await.unwrap();
    }
    let source: Arc<dyn BlockSource> = Arc::new(Local(store));
    let once = walked(source.clone(), &[*top.cid()], Order::default()).await.unwrap();
    assert_eq!(once.len(), 61);
    let mut order = Order::default();
    (order.duplicates, order.max_blocks) = (true, Some(1000));
    let error = walked(source, &[*top.cid()], order).await.unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 1000, .. }));
}

#[tokio::test]
async fn what_is_missing_is_an_error_unless_a_part_is_asked_for() {
    let (stored, order) = dag();
    let store = Arc::new(MemoryStore::new());
    store.put_many(&stored).await.unwrap();
    let (root, missing) = (*order[0].cid(), *order[5].cid());
    store.delete(&missing).await.unwrap();
    let source: Arc<dyn BlockSource> = Arc::new(Local(store.clone()));
    let error = walked(source.clone(), &[root], Order::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(cid) if cid == missing));
    let error = car::measure(&*store, &codecs(), &[root], &Order::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(cid) if cid == missing));
    let mut partial = Order::default();
    partial.partial = true;
    let found = walked(source.clone(), &[root], partial.clone()).await.unwrap();
    assert!(found == order[..5]);
    assert_eq!(car::measure(&*store, &codecs(), &[root], &partial).await.unwrap().blocks, 5);
    // What no codec knows is an error even so.
    let unknown = Block::of(0x30_0000, codes::SHA2_256, "?", &hashes()).unwrap();
    store.put(unknown.clone()).await.unwrap();
    let error = walked(source, &[*unknown.cid()], partial).await.unwrap_err();
    assert!(matches!(error, Error::UnknownCodec(0x30_0000)));
}

/// A file in memory that is still there when whoever wrote it has gone.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl AsyncWrite for Shared {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        // As little at a time as it likes.
        let some = &bytes[..bytes.len().min(1000)];
        self.0.lock().unwrap().extend_from_slice(some);
        std::task::Poll::Ready(Ok(some.len()))
    }
    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn poll_close(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        self.0.lock().unwrap().push(b'!');
        std::task::Poll::Ready(Ok(()))
    }
}

/// The last event of work, having seen that its progress only grows.
async fn watched<T: std::fmt::Debug + 'static>(mut work: Work<T>) -> Result<T> {
    let mut last = 0;
    loop {
        match work.try_next().await?.unwrap() {
            Event::Done(done) => return Ok(done),
            Event::Progress(now) => {
                assert!(now.blocks >= last);
                last = now.blocks;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_again() {
    let (stored, order) = dag();
    let store = Arc::new(MemoryStore::new());
    store.put_many(&stored).await.unwrap();
    let (roots, out) = ([*order[0].cid()], Shared::default());
    let source: Arc<dyn BlockSource> = Arc::new(Local(store.clone()));
    let export = car::export(source, codecs(), &roots, out.clone(), Order::default());
    let exported = watched(export).await.unwrap();
    let mut file = out.0.lock().unwrap().clone();
    assert_eq!(file.pop(), Some(b'!'), "it was closed");
    assert_eq!((exported.blocks, exported.bytes), (order.len() as u64, file.len() as u64));
    assert_eq!(
        car::measure(&*store, &codecs(), &roots, &Order::default()).await.unwrap(),
        exported
    );
    assert!(read(file.clone()).await.unwrap() == order);
    let other = Arc::new(MemoryStore::new());
    let import = car::import(Cursor::new(file), other.clone(), runtime(), ReadOptions::default());
    let imported = watched(import).await.unwrap();
    assert_eq!((imported.blocks, &imported.roots[..]), (exported.blocks, &roots[..]));
    let found = walked(Arc::new(Local(other)), &roots, Order::default()).await.unwrap();
    assert!(found == order);
}

/// What the store says ends an import, and what came before stays.
#[tokio::test]
async fn an_import_ends_with_what_the_store_says() {
    let blocks = some_blocks();
    let file = v1(&[], &blocks).await;
    let store = Arc::new(ipfs_blockstore::ReadOnlyStore::new(MemoryStore::new()));
    let import = car::import(Cursor::new(file.clone()), store, runtime(), ReadOptions::default());
    assert!(matches!(import.await, Err(Error::Unsupported(_))));
    let store = Arc::new(MemoryStore::new());
    let cut = Cursor::new(file[..file.len() - 1].to_vec());
    let import = car::import(cut, store.clone(), runtime(), ReadOptions::default());
    assert!(matches!(import.await, Err(Error::Malformed { .. })));
    assert_eq!(store.get(blocks[0].cid()).await.unwrap().as_ref(), Some(&blocks[0]));
}

#[tokio::test]
async fn what_is_no_file_is_an_error_that_names_it() {
    let error = CarStore::open(Path::new("not/there.car"), runtime()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("cannot open") && cause.contains("there.car"), "{cause}");
}
