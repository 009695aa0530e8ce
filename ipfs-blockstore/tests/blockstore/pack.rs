//! `PackStore` on a real disk.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::join_all};
use ipfs_blockstore::{
    PackStore,
    pack::{Mend, Options},
};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Bytes, Cid, Error, HashTable, Local, Multihash, Result,
    Runtime, RuntimeExt, TokioRuntime, VirtualRuntime, car, codes, conformance, limits,
    memory::MemoryStore,
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

/// An index that is damaged in any file is made anew.
#[tokio::test]
async fn a_damaged_index_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let there = history(&store).await;
    store.close().await.unwrap();
    for entry in fs::read_dir(folder.path().join("index")).unwrap() {
        let name = entry.unwrap().file_name();
        let copy = killed(folder.path(), true);
        let path = copy.path().join("index").join(name);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        holds(&open(copy.path()).await.unwrap(), &there).await;
        fs::remove_file(&path).unwrap_or_default();
        holds(&open(killed(copy.path(), true).path()).await.unwrap(), &there).await;
    }
}

/// One byte of a segment is another: it costs one block at the most, whether the index is there or
/// not, and what is given back is never wrong.
#[tokio::test]
async fn damage_costs_one_block_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(3, 30, 60);
    for some in all.chunks(10) {
        store.put_many(some).await.unwrap();
        store.flush().await.unwrap();
    }
    let name = segments(folder.path())[0].file_name().unwrap().to_owned();
    let good = fs::read(&segments(folder.path())[0]).unwrap();
    for at in (0..good.len()).step_by(5) {
        let copy = killed(folder.path(), at % 2 == 0);
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(copy.path().join(&name), bad).unwrap();
        let store = open(copy.path()).await.unwrap();
        let found = store.get_many(&cids(&all)).await;
        let lost = std::iter::zip(&found, &all).filter(|(found, block)| match found {
            Ok(Some(found)) => {
                assert_eq!(found, *block);
                false
            }
            Ok(None) | Err(Error::Corrupt(_)) => true,
            Err(other) => panic!("{other:?}"),
        });
        let lost = lost.count();
        assert!(lost <= 1, "byte {at}: {lost} blocks lost");
    }
}

#[tokio::test]
async fn a_full_store_takes_nothing_more_and_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = small();
    options.max_bytes = Some(20_000);
    let store = PackStore::open_with(folder.path(), runtime(), options).await.unwrap();
    let all = blocks(4, 60, 600);
    let mut there = Vec::new();
    let error = loop {
        let some = &all[there.len()..there.len() + 4];
        match store.put_many(some).await {
            Ok(()) => there.extend_from_slice(some),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { limit: 20_000, .. }), "{error:?}");
    store.put_many(&there).await.unwrap();
    store.flush().await.unwrap();
    holds(&store, &there).await;
    let usage = store.usage().await.unwrap().unwrap();
    assert_eq!((usage.limit, usage.blocks), (Some(20_000), Some(there.len() as u64)));
    store.delete_many(&cids(&there)).await.unwrap();
    store.compact().await.unwrap();
    store.put_many(&all[..4]).await.unwrap();
    holds(&store, &all[..4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_gives_space_back_while_the_store_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(5, 600, 600);
    store.put_many(&all).await.unwrap();
    let (gone, there): (Vec<_>, Vec<_>) =
        all.iter().cloned().enumerate().partition(|(i, _)| i % 4 != 0);
    let unnumbered = |blocks: Vec<(usize, Block)>| blocks.into_iter().map(|(_, block)| block);
    let (gone, mut there): (Vec<_>, Vec<_>) =
        (unnumbered(gone).collect(), unnumbered(there).collect());
    store.delete_many(&cids(&gone)).await.unwrap();
    let before = store.stats();
    let more = blocks(6, 300, 600);
    let reading = async {
        for _ in 0..20 {
            for found in store.get_many(&cids(&there)).await {
                assert!(found.unwrap().is_some());
            }
        }
    };
    let writing = async {
        for some in more.chunks(10) {
            store.put_many(some).await.unwrap();
            store.delete_many(&cids(&some[..5])).await.unwrap();
        }
    };
    let listing = async {
        let listed: Vec<_> = store.list().try_concat().await.unwrap();
        let listed: std::collections::BTreeSet<_> = listed.iter().map(|(hash, _)| hash).collect();
        assert!(there.iter().all(|block| listed.contains(block.hash())));
    };
    let compacting = async { store.compact().await.unwrap() };
    futures::join!(reading, writing, listing, compacting);
    there.extend(more.chunks(10).flat_map(|some| some[5..].to_vec()));
    store.compact().await.unwrap();
    store.flush().await.unwrap();
    holds(&store, &there).await;
    let after = store.stats();
    assert!(after.on_disk < before.on_disk * 2 / 3, "{before:?} {after:?}");
    let len: u64 = segments(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(after.on_disk, len);
    for with_index in [true, false] {
        holds(&open(killed(folder.path(), with_index).path()).await.unwrap(), &there).await;
    }
}

/// A block that looks like one of the store's own frames, down to its salt, is a block like any
/// other: it calls no other block dead.
#[tokio::test]
async fn a_block_that_looks_like_a_frame_is_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(7, 5, 100);
    store.put_many(&all).await.unwrap();
    store.delete_many(&cids(&all[..1])).await.unwrap();
    store.flush().await.unwrap();
    // The last section is a frame that calls a record dead.
    let frame = {
        let mut decoder = car::Decoder::new();
        decoder.push(fs::read(&segments(folder.path())[0]).unwrap().into());
        let mut last = None;
        while let Some(item) = decoder.next().unwrap() {
            last = Some(item);
        }
        let Some(car::Item::Section(section)) = last else { panic!("no frame") };
        Block::verify(section.cid, section.data, &HashTable::standard()).unwrap()
    };
    store.put_many(&all[..1]).await.unwrap();
    store.put(frame.clone()).await.unwrap();
    store.flush().await.unwrap();
    let there = [&all[..], &[frame]].concat();
    holds(&store, &there).await;
    for with_index in [true, false] {
        holds(&open(killed(folder.path(), with_index).path()).await.unwrap(), &there).await;
    }
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

/// Changes a byte of the data of these blocks, wherever they lie.
fn damage(root: &Path, blocks: &[Block]) {
    for path in segments(root) {
        let mut bytes = fs::read(&path).unwrap();
        for block in blocks {
            let data = block.data();
            let at = bytes.windows(data.len()).position(|window| window == data);
            at.into_iter().for_each(|at| bytes[at] ^= 1);
        }
        fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_found_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let mut all = blocks(10, 300, 400);
    all[7] = Block::of(codes::DAG_CBOR, codes::SHA2_512, "of another kind", &HashTable::standard())
        .unwrap();
    store.put_many(&all).await.unwrap();
    store.flush().await.unwrap();
    let bad = [all[7].clone(), all[100].clone(), all[299].clone()];
    damage(folder.path(), &bad);
    let verify = |mend| store.verify(mend).try_collect::<Vec<_>>();

    let found = verify(Mend::No).await.unwrap();
    let mut damaged: Vec<Cid> = found.iter().flat_map(|now| now.damaged.clone()).collect();
    damaged.sort();
    let mut expected = cids(&bad);
    expected.sort();
    assert_eq!(damaged, expected);
    let last = found.last().unwrap();
    let bytes = all.iter().map(|block| block.len() as u64).sum::<u64>();
    assert_eq!((last.blocks, last.unknown, last.mended), (300, 0, 0));
    assert_eq!(last.bytes, bytes - bad.iter().map(|block| block.len() as u64).sum::<u64>());

    // What nobody has stays damaged; the others come back, under the CIDs they had.
    let elsewhere = MemoryStore::new();
    elsewhere.put_many(&bad[..2]).await.unwrap();
    let source = Arc::new(Local(Arc::new(elsewhere)));
    let found = verify(Mend::Fetch(source)).await.unwrap();
    assert_eq!(found.iter().map(|now| now.mended).sum::<u64>(), 2);
    for found in store.get_many(&cids(&bad[..2])).await {
        assert!(found.unwrap().is_some());
    }
    assert!(matches!(store.get(bad[2].cid()).await, Err(Error::Corrupt(_))));
    let found = verify(Mend::Drop).await.unwrap();
    assert_eq!(found.iter().map(|now| now.mended).sum::<u64>(), 1);
    holds(&store, &all[..299]).await;
    assert!(verify(Mend::No).await.unwrap().iter().all(|now| now.damaged.is_empty()));
    store.compact().await.unwrap();
    holds(&store, &all[..299]).await;
}

/// What is deleted gives its space back without being told to, and not faster than it may.
#[test]
fn space_comes_back_by_itself() {
    let runtime = VirtualRuntime::new();
    let folder = tempfile::tempdir().unwrap();
    let work = async {
        let mut options = small();
        (options.compact_after, options.compact_rate) = (Some(20_000), Some(1_000));
        let host = Arc::new(runtime.clone());
        let store = PackStore::open_with(folder.path(), host, options).await.unwrap();
        let all = blocks(11, 200, 600);
        store.put_many(&all).await.unwrap();
        let before = store.stats().on_disk;
        let (there, gone): (Vec<_>, Vec<_>) =
            all.chunks(10).map(|some| (some[..3].to_vec(), cids(&some[3..]))).unzip();
        store.delete_many(&gone.concat()).await.unwrap();
        let began = runtime.now();
        while store.stats().on_disk > before / 2 {
            runtime.sleep(Duration::from_secs(1)).await;
        }
        assert!(runtime.now() - began > Duration::from_secs(5));
        holds(&store, &there.concat()).await;
    };
    runtime.block_on(work).unwrap();
}
