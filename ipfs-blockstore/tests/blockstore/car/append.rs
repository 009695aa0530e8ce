//! An archive that is appended to, closed, torn and gone on with.

use std::{fs, path::Path};

use ipfs_blockstore::{
    AppendableCar,
    car::{AppendOptions, ReadOptions, Reader},
};
use ipfs_traits::conformance;

use super::*;

async fn open(path: &Path) -> Result<AppendableCar> {
    AppendableCar::open(path, runtime()).await
}

/// An archive as a dropped one leaves it: nothing is finished.
async fn unfinished(path: &Path, blocks: &[Block]) -> Vec<u8> {
    let archive = open(path).await.unwrap();
    archive.put_many(blocks).await.unwrap();
    archive.flush().await.unwrap();
    drop(archive);
    fs::read(path).unwrap()
}

async fn stored(path: &Path) -> BTreeMap<Multihash, u64> {
    let store = CarStore::open(path, runtime()).await.unwrap();
    let listed: Vec<(Multihash, u64)> = store.list().try_concat().await.unwrap();
    listed.into_iter().collect()
}

fn expected<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> BTreeMap<Multihash, u64> {
    blocks.into_iter().map(|block| (*block.hash(), block.len() as u64)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    conformance::blockstore(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.path().join(format!("{number}.car"));
        async move { open(&path).await }
    })
    .await
    .unwrap();
    let same = folder.path().join("same.car");
    conformance::blockstore_reopen(|| open(&same)).await.unwrap();
}

#[tokio::test]
async fn a_closed_one_is_an_archive_that_anybody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (path, blocks) = (folder.path().join("some.car"), some_blocks());
    let mut options = AppendOptions::default();
    options.roots = vec![*blocks[3].cid()];
    let archive = AppendableCar::open_with(&path, runtime(), options.clone()).await.unwrap();
    archive.put_many(&blocks[..300]).await.unwrap();
    archive.close().await.unwrap();
    assert!(matches!(archive.put(raw("late")).await, Err(Error::Closed(_))));
    assert_eq!(stored(&path).await, expected(&blocks[..300]));
    assert_eq!(fs::read(&path).unwrap()[11], 0x80, "all of it is in the index");

    // Gone on with, the index makes room for more; nothing is changed by a look.
    let before = fs::read(&path).unwrap();
    let archive = open(&path).await.unwrap();
    assert_eq!(archive.roots(), options.roots);
    archive.put_many(&blocks[..10]).await.unwrap();
    archive.close().await.unwrap();
    assert!(fs::read(&path).unwrap() == before);
    let archive = open(&path).await.unwrap();
    archive.put_many(&blocks).await.unwrap();
    let usage = archive.usage().await.unwrap().unwrap();
    archive.close().await.unwrap();
    assert_eq!(stored(&path).await, expected(&blocks));
    assert_eq!(usage.blocks, Some(expected(&blocks).len() as u64));
    let file = fs::read(&path).unwrap();
    let reader = Reader::open(Cursor::new(file), runtime(), ReadOptions::default());
    let reader = reader.await.unwrap();
    assert_eq!((reader.version(), reader.roots()), (2, &options.roots[..]));
    let unique = expected(&blocks).len();
    assert_eq!(reader.try_concat().await.unwrap().len(), unique, "each block is there once");
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let first = open(&path).await.unwrap();
    assert!(matches!(open(&path).await, Err(Error::InUse(_))));
    first.close().await.unwrap();
    let second = open(&path).await.unwrap();
    drop((first, second));
    open(&path).await.unwrap();
}

/// Where each section begins.
fn sections(file: &[u8]) -> Vec<(usize, usize)> {
    let mut at = 51 + ipfs_traits::car::header(&[]).len();
    let mut found = Vec::new();
    while at < file.len() {
        let (body, rest) = ipfs_traits::varint::read(&file[at..], "test").unwrap();
        let end = file.len() - rest.len() + body as usize;
        found.push((at, end));
        at = end;
    }
    found
}

#[tokio::test]
async fn what_is_torn_at_the_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let blocks: Vec<Block> = (0..6_u8).map(|i| raw(vec![i; 60])).collect();
    let whole = unfinished(&path, &blocks).await;
    let ends = sections(&whole);
    for cut in ends[0].0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let archive = open(&path).await.unwrap();
        let many = ends.iter().filter(|(_, end)| *end <= cut).count();
        let usage = archive.usage().await.unwrap().unwrap();
        assert_eq!(usage.blocks, Some(many as u64), "cut at {cut}");
        archive.put(blocks[5].clone()).await.unwrap();
        archive.close().await.unwrap();
        assert_eq!(stored(&path).await, expected(blocks[..many].iter().chain([&blocks[5]])));
    }
    // Zeros, as some file systems leave them.
    let mut zeros = whole[..ends[3].0].to_vec();
    zeros.resize(whole.len(), 0);
    fs::write(&path, zeros).unwrap();
    let archive = open(&path).await.unwrap();
    archive.close().await.unwrap();
    assert_eq!(stored(&path).await, expected(&blocks[..3]));
}

/// Any byte that is damaged costs its block alone, and what is left is an archive that all read.
#[tokio::test]
async fn damage_costs_its_block_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let blocks: Vec<Block> = (0..6_u8).map(|i| raw(vec![i; 60 + usize::from(i) * 40])).collect();
    let whole = unfinished(&path, &blocks).await;
    let ends = sections(&whole);
    for at in ends[1].0..ends[4].1 {
        for flip in [1, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            fs::write(&path, &damaged).unwrap();
            let archive = open(&path).await.unwrap();
            let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
            let here = archive.get_many(&cids).await;
            for (i, found) in here.into_iter().enumerate() {
                // Another codec is no damage to a block that is known by its multihash.
                let hit = (ends[i].0..ends[i].1).contains(&at);
                match found.unwrap() {
                    Some(found) => assert_eq!(found, blocks[i]),
                    None => assert!(hit, "block {i}, damage {flip} at {at}"),
                }
            }
            archive.put_many(&blocks).await.unwrap();
            archive.close().await.unwrap();
            assert_eq!(stored(&path).await, expected(&blocks), "damage {flip} at {at}");
            let file = fs::read(&path).unwrap();
            assert!(read(file).await.is_ok(), "all of it is whole");
        }
    }
}

#[tokio::test]
async fn a_deleted_block_stays_away_and_the_archive_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let blocks = some_blocks();
    let gone: Vec<Cid> = blocks.iter().step_by(3).map(|block| *block.cid()).collect();
    let left = |block: &&Block| !gone.contains(block.cid());
    for close in [true, false] {
        let _ = fs::remove_file(&path);
        let archive = open(&path).await.unwrap();
        archive.put_many(&blocks).await.unwrap();
        if close {
            archive.close().await.unwrap();
        }
        drop(archive);
        let archive = open(&path).await.unwrap();
        archive.delete_many(&gone).await.unwrap();
        archive.flush().await.unwrap();
        if close {
            archive.close().await.unwrap();
        }
        drop(archive);
        let archive = open(&path).await.unwrap();
        let sizes = archive.sizes(&gone).await.unwrap();
        assert!(sizes.iter().all(Option::is_none));
        archive.close().await.unwrap();
        assert_eq!(stored(&path).await, expected(blocks.iter().filter(left)));
        let file = fs::read(&path).unwrap();
        assert_eq!(file[11], 0, "what is dead is not in the index");
        let all = read(file).await.unwrap();
        assert!(!all.iter().any(|block| gone.contains(block.cid())));
        let archive = open(&path).await.unwrap();
        archive.put_many(&blocks).await.unwrap();
        archive.close().await.unwrap();
        assert_eq!(stored(&path).await, expected(&blocks));
    }
}

#[tokio::test]
async fn what_is_no_archive_to_go_on_with_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let first = v1(&[], &[raw("a")]).await;
    for content in [first, vec![7; 100], b"\x0a\xa1\x67version\x02".to_vec(), Vec::new()] {
        fs::write(&path, &content).unwrap();
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    let mut options = AppendOptions::default();
    options.roots = vec![*raw("a").cid()];
    let open = |options| AppendableCar::open_with(&path, runtime(), options);
    open(options.clone()).await.unwrap().close().await.unwrap();
    options.roots = vec![*raw("b").cid()];
    assert!(matches!(open(options).await, Err(Error::Invalid { .. })));
    assert_eq!(open(AppendOptions::default()).await.unwrap().roots(), [*raw("a").cid()]);
}

#[tokio::test]
async fn limits_are_told_before_anything_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let mut options = AppendOptions::default();
    options.max_bytes = Some(1000);
    let archive = AppendableCar::open_with(&path, runtime(), options).await.unwrap();
    archive.put(raw(vec![1; 500])).await.unwrap();
    let full = archive.put_many(&[raw("small"), raw(vec![2; 500])]).await;
    assert!(matches!(full, Err(Error::Full { limit: 1000, .. })), "{full:?}");
    assert!(!archive.has(raw("small").cid()).await.unwrap());
    archive.put(raw("small")).await.unwrap();
    let unknown = Cid::new_v1(codes::RAW, Multihash::wrap(0x30_0001, &[7; 32]).unwrap());
    let refused = archive.put(Block::trusted(unknown, "x".into())).await;
    assert!(matches!(refused, Err(Error::UnknownHash(_))), "{refused:?}");
}

/// What looks like the mark of a dead section would not be there when the archive is opened again.
#[tokio::test]
async fn a_block_that_looks_dead_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let archive = open(&folder.path().join("some.car")).await.unwrap();
    for data in ["dead CAR section", "dead CAR section and more", "dead", ""] {
        let hash = hashes().hash(codes::SHA2_256, data.as_bytes()).unwrap().truncate(20);
        let block = Block::trusted(Cid::new_v1(codes::RAW, hash), data.into());
        let refused = archive.put(block.clone()).await;
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{data}: {refused:?}");
        assert!(!archive.has(block.cid()).await.unwrap());
        // Only such a short digest makes it look so.
        archive.put(raw(data)).await.unwrap();
    }
}

/// Where a length is damaged, whole sections are searched for; one who makes every place look like
/// the beginning of a long one must not keep us hashing.
#[tokio::test]
async fn a_search_for_sections_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let mut file = unfinished(&path, &[raw("a")]).await;
    // Each says to be a section of all that is behind it.
    let all = 1 << 20;
    let head = ipfs_traits::car::section_head(raw("never").cid(), 60_000);
    while file.len() < all {
        file.extend(&head);
    }
    fs::write(&path, &file).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    assert!(fs::read(&path).unwrap() == file);
}

/// A block that is there twice, as a crash and others can leave it, is deleted as one.
#[tokio::test]
async fn a_block_that_is_there_twice_is_deleted_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let blocks = [raw("a"), raw("twice"), raw("b"), raw("twice"), raw("twice")];
    for kind in [IndexKind::Sorted, IndexKind::MultihashSorted] {
        fs::write(&path, v2(kind, &blocks).await).unwrap();
        let archive = open(&path).await.unwrap();
        archive.delete(blocks[1].cid()).await.unwrap();
        archive.flush().await.unwrap();
        drop(archive);
        for close in [false, true, true] {
            let archive = open(&path).await.unwrap();
            assert!(!archive.has(blocks[1].cid()).await.unwrap());
            assert!(archive.has(blocks[2].cid()).await.unwrap());
            if close {
                archive.close().await.unwrap();
            }
        }
        assert_eq!(stored(&path).await, expected([&blocks[0], &blocks[2]]));
    }
}

/// Damage in one that was closed costs its block alone too, and a look at it changes nothing.
#[tokio::test]
async fn damage_in_a_closed_one_costs_its_block_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let blocks: Vec<Block> = (0..4_u8).map(|i| raw(vec![i; 60])).collect();
    let archive = open(&path).await.unwrap();
    archive.put_many(&blocks).await.unwrap();
    archive.close().await.unwrap();
    drop(archive);
    let whole = fs::read(&path).unwrap();
    let data = 51 + ipfs_traits::car::header(&[]).len();
    let section = ipfs_traits::car::section_len(blocks[0].cid(), 60);
    for at in data + section..data + 2 * section {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let archive = open(&path).await.unwrap();
        for (i, block) in blocks.iter().enumerate() {
            match archive.get(block.cid()).await {
                Ok(Some(found)) => assert_eq!(found, *block),
                Ok(None) | Err(Error::Corrupt(_)) => assert_eq!(i, 1, "damage at {at}"),
                Err(error) => panic!("{error:?}"),
            }
        }
        archive.delete(blocks[1].cid()).await.unwrap();
        archive.put(blocks[1].clone()).await.unwrap();
        archive.close().await.unwrap();
        drop(archive);
        // A CID that is damaged may be that of another block, which is listed, and an error.
        let mut listed = stored(&path).await;
        for (hash, len) in expected(&blocks) {
            assert_eq!(listed.remove(&hash), Some(len), "damage at {at}");
        }
        let store = CarStore::open(&path, runtime()).await.unwrap();
        assert!(listed.len() <= 1);
        for hash in listed.into_keys() {
            assert!(store.get(&Cid::new_v1(codes::RAW, hash)).await.is_err(), "damage at {at}");
        }
    }
}

/// Archives that go-car wrote, with padding and indexes of its own, are gone on with.
#[tokio::test]
async fn archives_of_others_are_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let files = crate::support::folder().join("car/files");
    for name in [
        "sample-wrapped-v2.car",
        "sample-v2-indexless.car",
        "sample-rw-bs-v2.car",
        "carv2-basic.car",
        "kubo-lotus_testnet_export_128_v2.car",
    ] {
        let path = folder.path().join(name);
        fs::write(&path, fs::read(files.join(name)).unwrap()).unwrap();
        let before = stored(&path).await;
        let archive = open(&path).await.unwrap();
        archive.put(raw("more")).await.unwrap();
        archive.close().await.unwrap();
        let mut after = stored(&path).await;
        assert_eq!(after.remove(raw("more").hash()), Some(4), "{name}");
        assert_eq!(before, after, "{name}");
        assert!(read(fs::read(&path).unwrap()).await.is_ok(), "{name}");
    }
}
