//! Space: how it runs out, and how it comes back.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use ipfs_blockstore::PackStore;
use ipfs_traits::{Block, Blockstore, Error, Runtime, RuntimeExt, VirtualRuntime};

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
