//! What is damaged or made to look so: found, passed over and mended, at the cost of itself alone.

use std::{fs, path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_blockstore::pack::Mend;
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Local, car, codes, memory::MemoryStore,
};

use super::{blocks, cids, history, holds, killed, open, segments};

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

/// The first page of a segment is lost, and with it how its frames begin: what lies behind it is
/// found all the same, whether the segment is the newest or not.
#[tokio::test]
async fn the_beginning_of_a_segment_costs_what_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(12, 60, 200);
    for some in all.chunks(4) {
        store.put_many(some).await.unwrap();
        store.flush().await.unwrap();
    }
    let paths = segments(folder.path());
    assert!(paths.len() > 1);
    for path in &paths {
        let copy = killed(folder.path(), false);
        let bad = copy.path().join(path.file_name().unwrap());
        let mut bytes = fs::read(&bad).unwrap();
        let len = bytes.len();
        // Of a block that is cut through, the rest is no block: its head is lost with the page.
        let lost = all.iter().filter(|block| {
            let head = ipfs_traits::car::section_head(block.cid(), block.len());
            let section = [&head[..], block.data()].concat();
            let at = bytes.windows(section.len()).position(|window| window == section);
            at.is_some_and(|at| at < 512)
        });
        let lost = cids(&lost.cloned().collect::<Vec<_>>());
        assert!(!lost.is_empty() && lost.len() < 10);
        bytes[..512].fill(0);
        fs::write(&bad, &bytes).unwrap();
        for _ in 0..2 {
            let store = open(copy.path()).await.unwrap();
            for (found, block) in store.get_many(&cids(&all)).await.into_iter().zip(&all) {
                assert!(lost.contains(block.cid()) || found.unwrap().as_ref() == Some(block));
            }
            store.close().await.unwrap();
        }
        assert!(fs::metadata(&bad).unwrap().len() >= len as u64, "nothing is cut off");
    }
}

/// A page of the index is looked at when it is needed. What it hides is an error until the store is
/// opened again, and never absent.
#[tokio::test]
async fn a_damaged_page_of_the_index_is_an_error_and_then_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let there = history(&store).await;
    store.close().await.unwrap();
    for entry in fs::read_dir(folder.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("run".as_ref()) {
            let mut bytes = fs::read(&path).unwrap();
            bytes[10] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let store = open(folder.path()).await.unwrap();
    let found = store.get_many(&cids(&there)).await;
    assert!(found.iter().all(|found| !matches!(found, Ok(None))), "nothing is called absent");
    assert!(found.iter().any(|found| matches!(found, Err(Error::Component { .. }))));
    assert!(store.list().try_collect::<Vec<_>>().await.is_err());
    holds(&open(killed(folder.path(), true).path()).await.unwrap(), &there).await;
}
