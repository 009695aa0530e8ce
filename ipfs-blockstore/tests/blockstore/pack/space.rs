//! Space: how it runs out, and how it comes back.

use std::{fs, sync::Arc, time::Duration};

use futures::TryStreamExt;
use ipfs_blockstore::PackStore;
use ipfs_traits::{Block, Blockstore, Cid, Error, Runtime, RuntimeExt, VirtualRuntime, car};

use super::{blocks, cids, holds, killed, open, runtime, segments, small};

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

/// What is deleted while its segment waits to be emptied does not come back with it.
#[tokio::test]
async fn what_dies_during_a_compaction_stays_dead() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(12, 600, 600);
    store.put_many(&all).await.unwrap();
    let (gone, there): (Vec<_>, Vec<_>) =
        all.chunks(10).map(|some| (cids(&some[..5]), some[5..].to_vec())).unzip();
    store.delete_many(&gone.concat()).await.unwrap();
    let mut there = there.concat();
    let mut compacting = store.compacting();
    let due = compacting.try_next().await.unwrap().unwrap().due;
    assert!(due > 5, "{due}");
    while compacting.try_next().await.unwrap().is_some() {
        // Some of each segment that is left.
        let (dying, living): (Vec<_>, Vec<_>) =
            there.into_iter().enumerate().partition(|(i, _)| i % 20 == 0);
        let dying: Vec<Cid> = dying.iter().map(|(_, block)| *block.cid()).collect();
        store.delete_many(&dying).await.unwrap();
        there = living.into_iter().map(|(_, block)| block).collect();
    }
    store.flush().await.unwrap();
    holds(&store, &there).await;
    for with_index in [true, false] {
        holds(&open(killed(folder.path(), with_index).path()).await.unwrap(), &there).await;
    }
}

/// A block whose head is damaged is not come across; its segment stays for it.
#[tokio::test]
async fn a_segment_stays_for_what_is_not_found_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let all = blocks(13, 100, 600);
    store.put_many(&all).await.unwrap();
    store.flush().await.unwrap();
    let first = segments(folder.path())[0].clone();
    let (there, gone): (Vec<_>, Vec<_>) =
        all.chunks(4).map(|some| (some[0].clone(), cids(&some[1..]))).unzip();
    store.delete_many(&gone.concat()).await.unwrap();
    // The length of the first section, which is one of those that stay.
    let mut bytes = fs::read(&first).unwrap();
    let data = there[0].data();
    let at = bytes.windows(data.len()).position(|window| window == data).unwrap();
    let head = car::section_head(there[0].cid(), there[0].len()).len();
    bytes[at - head] ^= 1;
    fs::write(&first, bytes).unwrap();
    store.compact().await.unwrap();
    assert!(first.exists() && segments(folder.path()).len() > 1);
    let found = store.get_many(&cids(&there)).await;
    assert!(matches!(found[0], Err(Error::Corrupt(_))), "{:?}", found[0]);
    for (found, block) in std::iter::zip(&found[1..], &there[1..]) {
        assert_eq!(found.as_ref().unwrap().as_ref(), Some(block));
    }
}

/// While more and more is deleted nothing is moved that may go too; but not for ever.
#[test]
fn a_compaction_waits_until_no_more_is_deleted() {
    let runtime = VirtualRuntime::new();
    let folder = tempfile::tempdir().unwrap();
    let work = async {
        let mut options = small();
        options.compact_after = Some(20_000);
        let host = Arc::new(runtime.clone());
        let store = PackStore::open_with(folder.path(), host, options).await.unwrap();
        let all = blocks(14, 2000, 600);
        store.put_many(&all).await.unwrap();
        let before = store.stats();
        let began = runtime.now();
        let mut dying = all.chunks(10);
        let mut delete = async |seconds: u64| {
            let until = runtime.now() + Duration::from_secs(seconds);
            while runtime.now() < until {
                store.delete_many(&cids(dying.next().unwrap())).await.unwrap();
                runtime.sleep(Duration::from_millis(700)).await;
            }
        };
        delete(20).await;
        assert_eq!(store.stats().segments, before.segments);
        runtime.sleep(Duration::from_secs(3)).await;
        let after = store.stats();
        assert!(after.segments < before.segments, "{before:?} {after:?}");
        delete(80).await;
        assert!(store.stats().segments < after.segments, "{:?}", runtime.now() - began);
    };
    runtime.block_on(work).unwrap();
}

/// A block that moves while it is deleted is gone from where it was and from where it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_while_it_is_deleted_is_gone() {
    for seed in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await.unwrap();
        let all = blocks(20 + seed, 6000, 60);
        store.put_many(&all).await.unwrap();
        let (first, rest): (Vec<_>, Vec<_>) =
            all.chunks(10).map(|some| (cids(&some[..4]), some[4..].to_vec())).unzip();
        store.delete_many(&first.concat()).await.unwrap();
        let rest = rest.concat();
        let (gone, there) = rest.split_at(3000);
        let compacting = tokio::spawn({
            let store = store.clone();
            async move { store.compact().await }
        });
        for some in cids(gone).chunks(500) {
            store.delete_many(some).await.unwrap();
        }
        compacting.await.unwrap().unwrap();
        store.flush().await.unwrap();
        holds(&store, there).await;
        let copy = killed(folder.path(), false);
        holds(&open(copy.path()).await.unwrap(), there).await;
    }
}
