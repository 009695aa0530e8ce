//! `PackStore` on a real disk.

mod damage;
mod space;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, future::join_all};
use ipfs_blockstore::{PackStore, pack::Options};

use ipfs_traits::{
    Block, Blockstore, Bytes, Cid, Error, HashTable, Multihash, Result, Runtime, TokioRuntime, car,
    codes, conformance, limits,
};

use crate::numbers::Numbers;

fn runtime() -> Arc<dyn Runtime> {
    Arc::new(TokioRuntime::current().unwrap())
}

/// Segments and tables so small that a few blocks fill them.
fn small() -> Options {
    let mut options = Options::default();
    (options.segment_bytes, options.index_table) = (8 << 10, 50);
    options
}

async fn open(path: &Path) -> Result<PackStore> {
    PackStore::open_with(path, runtime(), small()).await
}

fn block(data: impl Into<Bytes>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

fn blocks(seed: u64, count: usize, most: u64) -> Vec<Block> {
    let mut numbers = Numbers(seed);
    let mut data = || {
        let len = numbers.below(most) + 8;
        (0..len).map(|_| numbers.next() as u8).collect::<Vec<u8>>()
    };
    (0..count).map(|_| block(data())).collect()
}

fn cids(blocks: &[Block]) -> Vec<Cid> {
    blocks.iter().map(|block| *block.cid()).collect()
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        paths.filter(|path| path.extension() == Some("car".as_ref())).collect();
    segments.sort();
    segments
}

/// What of the store a process leaves that is killed now.
fn killed(root: &Path, with_index: bool) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["", "index"] {
        let (from, to) = (root.join(name), copy.path().join(name));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() && (with_index || name.is_empty()) {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

async fn list(store: &PackStore) -> BTreeMap<Multihash, u64> {
    let pages: Vec<Vec<(Multihash, u64)>> = store.list().try_collect().await.unwrap();
    let count = pages.iter().map(Vec::len).sum::<usize>();
    let all: BTreeMap<_, _> = pages.into_iter().flatten().collect();
    assert_eq!(all.len(), count, "each once");
    all
}

/// The store holds these, and nothing else.
async fn holds(store: &PackStore, expected: &[Block]) {
    let found = store.get_many(&cids(expected)).await;
    for (found, block) in std::iter::zip(found, expected) {
        assert_eq!(found.unwrap().as_ref(), Some(block));
    }
    let sizes = expected.iter().map(|block| (*block.hash(), block.len() as u64));
    assert_eq!(list(store).await, sizes.collect());
    let stats = store.stats();
    assert_eq!(stats.blocks, expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let number = || next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    for options in [Options::default(), small()] {
        conformance::blockstore(|| {
            let (path, options) = (folder.path().join(number()), options.clone());
            async move { PackStore::open_with(path, runtime(), options).await }
        })
        .await
        .unwrap();
        let same = folder.path().join(number());
        conformance::blockstore_reopen(|| {
            PackStore::open_with(same.clone(), runtime(), options.clone())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    let second = open(folder.path()).await.unwrap_err();
    assert!(matches!(second, Error::InUse(_)), "{second:?}");
    first.close().await.unwrap();
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_folder_of_another_kind_or_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap().close().await.unwrap();
    let file = folder.path().join("PACK");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace('1', "7")).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 7, known: 1, .. }), "{error:?}");
    fs::write(&file, "something else").unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}

/// Each segment is a CAR, whoever reads it; what is not a block of the user's is a raw block.
#[tokio::test]
async fn segments_are_car_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(1, 100, 1000);
    for some in all.chunks(7) {
        store.put_many(some).await.unwrap();
        store.flush().await.unwrap();
    }
    let copy = killed(folder.path(), false);
    assert!(segments(copy.path()).len() > 4);
    let (mut found, hashes) = (BTreeMap::new(), HashTable::standard());
    for path in segments(copy.path()) {
        let mut decoder = car::Decoder::new();
        decoder.push(fs::read(path).unwrap().into());
        while let Some(item) = decoder.next().unwrap() {
            if let car::Item::Section(section) = item {
                let block = Block::verify(section.cid, section.data, &hashes).unwrap();
                found.insert(*block.cid(), block);
            }
        }
        decoder.finish().unwrap();
    }
    assert!(all.iter().all(|block| found.get(block.cid()) == Some(block)));
}

/// Puts and deletes in many segments; gives what is there at the end, all of it flushed.
async fn history(store: &PackStore) -> Vec<Block> {
    let all = blocks(2, 200, 600);
    for some in all.chunks(9) {
        store.put_many(some).await.unwrap();
    }
    store.delete_many(&cids(&all[..120])).await.unwrap();
    store.put_many(&all[..40]).await.unwrap();
    store.flush().await.unwrap();
    store.compact().await.unwrap();
    store.delete_many(&cids(&all[..10])).await.unwrap();
    store.put_many(&all[5..10]).await.unwrap();
    store.flush().await.unwrap();
    [&all[5..40], &all[120..]].concat()
}

#[tokio::test]
async fn all_is_there_after_an_end_without_a_close_and_without_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let there = history(&store).await;
    holds(&store, &there).await;
    for with_index in [true, false] {
        let copy = killed(folder.path(), with_index);
        for _ in 0..2 {
            let store = open(copy.path()).await.unwrap();
            holds(&store, &there).await;
            assert_eq!(store.stats().damaged, 0);
            store.close().await.unwrap();
        }
    }
    store.close().await.unwrap();
    holds(&open(folder.path()).await.unwrap(), &there).await;
}

#[tokio::test]
async fn blocks_of_every_size_and_hash() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let hashes = HashTable::standard();
    let data = |len: usize| Bytes::from(vec![7; len]);
    let mut all: Vec<Block> =
        [0, 1, 100, 9000, 2 << 20, limits::MAX_STORED_BLOCK].map(|len| block(data(len))).to_vec();
    for code in hashes.codes().filter(|code| *code != codes::IDENTITY) {
        all.push(Block::of(codes::DAG_CBOR, code, "x", &hashes).unwrap());
    }
    // One whose hash function nobody knows.
    let hash = Multihash::wrap(0x9999, &[3; 40]).unwrap();
    all.push(Block::trusted(Cid::new_v1(codes::RAW, hash), "unknown".into()));
    store.put_many(&all).await.unwrap();
    store.flush().await.unwrap();
    holds(&store, &all).await;
    for with_index in [true, false] {
        holds(&open(killed(folder.path(), with_index).path()).await.unwrap(), &all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(8, 400, 300);
    let work = (0..8).map(|i| {
        let (store, all) = (store.clone(), all.clone());
        tokio::spawn(async move {
            for some in all[i * 40..i * 40 + 120].chunks(11) {
                store.put_many(some).await.unwrap();
                store.flush().await.unwrap();
                for found in store.get_many(&cids(some)).await {
                    assert!(found.unwrap().is_some());
                }
            }
        })
    });
    join_all(work).await.into_iter().for_each(|done| done.unwrap());
    holds(&store, &all).await;
    assert!(store.stats().commits <= 8 * 11);
}

#[tokio::test]
async fn futures_may_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(9, 50, 300);
    for (i, some) in all.chunks(5).enumerate() {
        let mut put = store.put_many(some);
        let _ = futures::poll!(&mut put);
        drop(put);
        let mut flush = store.flush();
        let _ = futures::poll!(&mut flush);
        drop(flush);
        if i % 2 == 0 {
            let mut list = store.list();
            let _ = futures::poll!(list.next());
        }
    }
    store.put_many(&all).await.unwrap();
    store.flush().await.unwrap();
    holds(&store, &all).await;
}
