//! How much is in a `FlatStore`: exactly what a listing finds, or nothing is said.

use std::{fs, path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_blockstore::{FlatStore, flat::Options};
use ipfs_traits::{Block, Blockstore, BlockstoreExt, Cid, Error, VirtualRuntime};

use crate::{
    adopt::{block, blocks, bytes, kubos, listed, open, usage, write},
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
};

#[tokio::test]
async fn what_the_folder_holds_is_known_when_it_was_counted() {
    let (some, more) = (blocks(1, 50), blocks(2, 50));
    let folder = tempfile::tempdir().unwrap();
    kubos(folder.path(), &some, "{\"diskUsage\":123456,\"accuracy\":\"initial-exact\"}\n");
    let store = open(folder.path()).await;
    assert_eq!(usage(&store).await, None, "Kubo's figure is not that of the blocks");
    assert_eq!(store.disk_usage(), Some(123_456));
    store.put_many(&more[..10]).await.unwrap();
    assert_eq!(listed(&store).await.len(), 60);
    let all = || some.iter().chain(&more[..10]);
    assert_eq!(usage(&store).await, Some((60, bytes(all()))));
    store.flush().await.unwrap();
    assert_eq!(usage(&store).await, Some((60, bytes(all()))));
    store.delete_many(&[*some[3].cid(), *more[20].cid()]).await.unwrap();
    assert_eq!(usage(&store).await, Some((59, bytes(all()) - some[3].len() as u64)));
    store.put(more[10].clone()).await.unwrap();
    let expected = Some((60, bytes(all()) - some[3].len() as u64 + more[10].len() as u64));
    assert_eq!(usage(&store).await, expected);
    // Closed, it is known from the beginning.
    store.close().await.unwrap();
    let store = open(folder.path()).await;
    assert_eq!(usage(&store).await, expected);
    store.put(more[11].clone()).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    // Not closed: what it said is not believed.
    let store = open(folder.path()).await;
    assert_eq!(usage(&store).await, None);
    let cache = || fs::read_to_string(folder.path().join("diskUsage.cache")).unwrap();
    assert!(cache().contains("unknown"), "Kubo is told that it may be an old figure: {}", cache());
    assert_eq!(listed(&store).await.len(), 61);
    store.close().await.unwrap();
    let (kept, said) = (usage(&open(folder.path()).await).await, cache());
    assert_eq!(kept.unwrap().0, 61);
    assert!(said.contains("initial-approximate"), "it was counted again: {said}");
}

/// Whoever else opens the folder empties `.temp/` or changes the figure: then nothing is believed.
#[tokio::test]
async fn what_somebody_else_may_have_changed_is_not_believed() {
    let some = blocks(1, 20);
    for change in ["temp", "figure", "nonsense", "long"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        store.put_many(&some).await.unwrap();
        store.close().await.unwrap();
        let (cache, temp) = (folder.path().join("diskUsage.cache"), folder.path().join(".temp"));
        match change {
            "temp" => fs::remove_dir_all(&temp).unwrap(),
            "figure" => fs::write(&cache, "{\"diskUsage\":5}").unwrap(),
            "nonsense" => fs::write(temp.join("closed"), "1 5 5 5 5\n").unwrap(),
            _ => {
                fs::write(&cache, fs::read_to_string(&cache).unwrap() + &" ".repeat(2000)).unwrap()
            }
        }
        let store = open(folder.path()).await;
        assert_eq!(usage(&store).await, None, "{change}");
        assert_eq!(store.disk_usage().is_some(), change != "long", "{change}");
        store.close().await.unwrap();
        assert!(cache.exists() || change == "long", "a figure that is wrong is not left to Kubo");
    }
}

/// A listing counts while others put and delete, and the count is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_count_is_right_while_blocks_come_and_go() {
    for round in 0..10_u8 {
        let folder = tempfile::tempdir().unwrap();
        let (some, more) = (blocks(round, 250), blocks(round + 100, 250));
        kubos(folder.path(), &some, "");
        let store = open(folder.path()).await;
        let work = {
            let (store, some, more) = (store.clone(), some.clone(), more.clone());
            tokio::spawn(async move {
                for (old, new) in some.chunks(10).zip(more.chunks(10)) {
                    store.put_many(new).await.unwrap();
                    let old: Vec<Cid> = old.iter().map(|block| *block.cid()).collect();
                    store.delete_many(&old[..5]).await.unwrap();
                    store.flush().await.unwrap();
                }
            })
        };
        while usage(&store).await.is_none() {
            let _: Vec<_> = store.list().try_collect().await.unwrap();
        }
        work.await.unwrap();
        let all = listed(&store).await;
        let expected = (all.len() as u64, all.values().sum());
        assert_eq!(usage(&store).await, Some(expected), "round {round}");
    }
}

/// A directory that changes while a listing is in the middle of it is counted again.
#[tokio::test]
async fn a_directory_that_changes_while_it_is_counted_is_counted_again() {
    let folder = tempfile::tempdir().unwrap();
    let some: Vec<Block> = (0..3000_u32).map(|i| block(i.to_be_bytes().to_vec())).collect();
    let more = blocks(5, 20);
    fs::write(folder.path().join("SHARDING"), "/repo/flatfs/shard/v1/prefix/1").unwrap();
    some.iter().for_each(|block| drop(write(folder.path(), "C", block)));
    let store = open(folder.path()).await;
    let mut list = store.list();
    list.try_next().await.unwrap().unwrap();
    store.put_many(&more).await.unwrap();
    let old: Vec<Cid> = some[..1000].iter().map(|block| *block.cid()).collect();
    store.delete_many(&old).await.unwrap();
    store.flush().await.unwrap();
    let _: Vec<_> = list.try_collect().await.unwrap();
    assert_eq!(usage(&store).await, Some((2020, 8000 + bytes(&more))));
}

/// Works, closes and opens again, and loses the power at any call: what the store then says that it
/// holds is what it holds.
#[test]
fn a_count_that_a_crash_made_wrong_is_not_believed() {
    let (mut known, mut unknown) = (0, 0);
    for seed in 0..400 {
        let (runtime, mut numbers) = (VirtualRuntime::new(), Numbers(seed));
        let files = Faulty::new(Path::new("/store"), seed % 2 == 0, TakenOut::Nothing);
        let all = blocks(7, 60);
        let open = |files: &Faulty| {
            let (files, runtime) = (Arc::new(files.clone()), Arc::new(runtime.clone()));
            FlatStore::open_on(files, "/store", runtime, Options::default())
        };
        files.crash_at(numbers.below(600));
        let work = async {
            for _ in 0..5 {
                let store = open(&files).await?;
                for _ in 0..numbers.below(4) {
                    let from = numbers.below(50) as usize;
                    store.put_many(&all[from..from + 5]).await?;
                    store.delete(all[numbers.below(60) as usize].cid()).await?;
                    if numbers.below(2) == 0 {
                        store.flush().await?;
                    }
                }
                match numbers.below(4) {
                    0 => drop(store),
                    _ => store.close().await?,
                }
            }
            Ok::<_, Error>(())
        };
        let _ = runtime.block_on(work).unwrap();
        let survivor = match numbers.below(3) {
            0 => files.after_kill(),
            _ => files.after_power_loss(&mut numbers),
        };
        let (said, counted, listed) = runtime
            .block_on(async {
                let store = open(&survivor).await.unwrap();
                let said = usage(&store).await;
                let all = listed(&store).await;
                (said, usage(&store).await, (all.len() as u64, all.values().sum::<u64>()))
            })
            .unwrap();
        assert_eq!(counted, Some(listed), "seed {seed}");
        match said {
            Some(said) => {
                assert_eq!(said, listed, "seed {seed}");
                known += 1;
            }
            None => unknown += 1,
        }
    }
    println!("{known} known, {unknown} not");
    assert!(known > 20 && unknown > 20, "{known} known, {unknown} not");
}
