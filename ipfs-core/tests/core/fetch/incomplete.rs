//! What is said of what could not be had, and what becomes of the rest.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use ipfs_core::{
    Block, Blockstore, Bytes, Cid, Error, HashTable, Ipld, Missing, Multihash, Result, Runtime,
    RuntimeExt, codes,
    unixfs::{Chunker, Params},
};

use super::{
    hashes, list,
    neighbour::{Fault, Neighbour, all},
    on_virtual_time, small_blocks,
};
use crate::content;

/// The count of what is missing, and the first of it.
fn missing<T: std::fmt::Debug>(result: Result<T>) -> (u64, Vec<Missing>) {
    match result {
        Err(Error::Incomplete { count, missing, .. }) => (count, missing.to_vec()),
        other => panic!("{other:?}"),
    }
}

fn names(missing: &[Missing]) -> BTreeSet<Cid> {
    missing.iter().map(|missing| missing.cid).collect()
}

fn block(codec: u64, data: impl Into<Bytes>) -> Block {
    Block::of(codec, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

#[test]
fn what_is_missing_or_makes_no_sense_is_named_and_all_else_is_brought() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let good = origin.unixfs().add_bytes(content::bytes(1, 3 << 20)).await.unwrap().cid;
        let junk = block(codes::DAG_CBOR, &b"\xff\xff"[..]);
        let unknown = block(0x1234, "who knows");
        let (absent, damaged) = (block(codes::DAG_CBOR, "aa"), block(codes::RAW, "d"));
        for block in [&junk, &unknown, &absent, &damaged] {
            neighbour.put(block).await;
        }
        let md5 = Cid::new_v1(codes::RAW, Multihash::wrap(0xd5, &[7; 32]).unwrap());
        let bad = [*junk.cid(), *unknown.cid(), *absent.cid(), *damaged.cid(), md5];
        let links = [&bad[..], &[good], &bad[..]].concat();
        let root = origin.dag().put(&list(&links)).await.unwrap();
        neighbour.fault(*absent.cid(), Fault::Absent);
        neighbour.fault(*damaged.cid(), Fault::Damaged);

        let node = neighbour.node(&runtime).await;
        let (count, named) = missing(node.fetch(root).await);
        assert_eq!((count, names(&named)), (5, bad.into_iter().collect()));
        for Missing { cid, why, .. } in named {
            let is_right = match cid {
                cid if cid == *junk.cid() => matches!(why, Error::Malformed { .. }),
                cid if cid == *unknown.cid() => matches!(why, Error::UnknownCodec(0x1234)),
                cid if cid == *absent.cid() => matches!(why, Error::NotFound(_)),
                cid if cid == *damaged.cid() => matches!(why, Error::Corrupt(_)),
                _ => matches!(why, Error::UnknownHash(0xd5)),
            };
            assert!(is_right, "{cid}: {why}");
        }
        let leaves = origin.dag().links(&good).await.unwrap();
        let here = [&[root, good, *junk.cid(), *unknown.cid()], &leaves[..]].concat();
        assert_eq!(all(&node).await, hashes(&here));

        // Only the rest is asked for when it is there.
        neighbour.asked();
        neighbour.heal();
        let (count, named) = missing(node.fetch(root).await);
        assert_eq!((count, names(&named)), (3, [bad[0], bad[1], md5].into()));
        assert_eq!(neighbour.asked(), [bad[2], bad[3]].into());
    });
}

#[test]
fn it_is_gone_on_with_where_it_was_stopped() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let params = Params { chunker: Chunker::Fixed(1000), ..Params::default() };
        let files = origin.unixfs().params(params);
        let root = files.add_bytes(content::bytes(1, 1_500_000)).await.unwrap().cid;
        let total = origin.dag().stat(&[root]).await.unwrap().unique_blocks;
        neighbour.stop_after(400);
        let node = neighbour.node(&runtime).await;
        let hold = node.hold();
        let first = node.under(&hold).fetch(root).stall(Duration::from_secs(9)).await;
        let (count, named) = missing(first);
        assert_eq!((count, named.len()), (total - 400, 1000), "a thousand are named");
        assert!(named.iter().all(|missing| matches!(missing.why, Error::TimedOut(_))));
        assert!(matches!(node.blocks().delete(&root).await, Err(Error::InUse(_))));
        let here = all(&node).await;
        assert_eq!(here.len(), 400);
        assert!(named.iter().all(|missing| !here.contains(missing.cid.hash())));

        neighbour.asked();
        neighbour.heal();
        let done = node.fetch(root).await.unwrap();
        assert_eq!((done.blocks, done.fetched_blocks), (total, total - 400));
        assert_eq!(neighbour.asked().len() as u64, total - 400);
    });
}

/// A peer that answers so many times and then no more: at every step of a path and of a DAG.
#[test]
fn a_peer_that_stops_at_any_stage_ends_it_in_time() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("d/e")).unwrap();
        for n in 0..20 {
            std::fs::write(folder.path().join(format!("d/e/{n}")), content::bytes(n, 9000))
                .unwrap();
        }
        let files = origin.unixfs().params(small_blocks());
        let root = files.add_path(folder.path()).await.unwrap().cid;
        let path = format!("/ipfs/{root}/d/e");
        let needed = neighbour.node(&runtime).await.fetch(&path).await.unwrap().blocks;
        for answers in 0..needed {
            neighbour.heal();
            neighbour.asked();
            neighbour.stop_after(answers as usize);
            let node = neighbour.node(&runtime).await;
            let began = runtime.now();
            let (count, named) = missing(node.fetch(&path).stall(Duration::from_secs(7)).await);
            assert_eq!(runtime.now() - began, Duration::from_secs(7), "{answers}");
            // What nobody has seen is in no block that came; all that is known is asked for or named.
            assert!(count > 0 && count == named.len() as u64);
            let here = all(&node).await;
            assert_eq!(here.len() as u64, answers);
            assert!(named.iter().all(|missing| !here.contains(missing.cid.hash())));
            assert!(
                neighbour.asked().is_subset(
                    &here
                        .iter()
                        .map(|hash| Cid::new_v1(codes::RAW, *hash))
                        .chain(here.iter().map(|hash| Cid::new_v1(codes::DAG_PB, *hash)))
                        .chain(names(&named))
                        .collect()
                )
            );
            assert_eq!(neighbour.open(), 0, "nothing is asked for any more");
        }
    });
}

/// What is here behind something that does not come is found, however much of that there is.
#[test]
fn what_is_here_is_followed_though_others_do_not_come() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let node = neighbour.node(&runtime).await;
        let absent: Vec<Cid> =
            (0..3000).map(|n| *block(codes::RAW, format!("absent {n}")).cid()).collect();
        absent.iter().for_each(|cid| neighbour.fault(*cid, Fault::Silent));
        let here = node.unixfs().add_bytes(content::bytes(1, 3 << 20)).await.unwrap();
        let links = [&absent[..], &[here.cid]].concat();
        let root = node.dag().put(&list(&links)).await.unwrap();
        let mut fetching = node.fetch(root).start();
        let mut last = None;
        while let Some(progress) = fetching.next().await {
            assert!(progress.wanted + progress.queued <= 3001);
            last = Some(progress);
        }
        let last = last.unwrap();
        assert_eq!((last.here_blocks, last.fetched_blocks, last.missing), (5, 0, 3000));
        assert_eq!((last.wanted, last.queued), (0, 0));
        assert_eq!(missing(fetching.await).0, 3000);
    });
}

#[test]
fn all_its_time_is_up_though_blocks_come() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let mut root = origin.dag().put(&Ipld::Bytes(vec![0; 1000])).await.unwrap();
        for n in 0..100 {
            let value = Ipld::List(vec![Ipld::Link(root), Ipld::Bytes(vec![n; 1000])]);
            root = origin.dag().put(&value).await.unwrap();
        }
        neighbour.delay(&runtime, Duration::from_secs(1));
        let node = neighbour.node(&runtime).await;
        let began = runtime.now();
        let (short, long) = (Duration::from_secs(2), Duration::from_millis(20_500));
        let mut fetching = node.fetch(root).stall(short).timeout(long).start();
        let mut rates = Vec::new();
        while let Some(progress) = fetching.next().await {
            rates.push(progress.rate);
        }
        assert!(rates[15..].iter().all(|rate| (1000..1300).contains(rate)), "{rates:?}");
        assert_eq!(runtime.now() - began, long);
        assert_eq!(fetching.progress().fetched_blocks, 20);
        assert_eq!(missing(fetching.await).0, 1);
        let fetch = node.fetch(root).timeout(Duration::MAX).stall(Duration::MAX);
        assert_eq!(fetch.await.unwrap().fetched_blocks, 81);
    });
}

#[test]
fn what_does_not_come_ends_it_in_the_end() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let silent = block(codes::RAW, "silent");
        neighbour.fault(*silent.cid(), Fault::Silent);
        let root = origin.dag().put(&list(&[*silent.cid()])).await.unwrap();
        let node = neighbour.node(&runtime).await;
        let began = runtime.now();
        let fetch = node.fetch(root).timeout(Duration::from_secs(3)).stall(None);
        let (count, named) = missing(fetch.await);
        assert_eq!(runtime.now() - began, Duration::from_secs(3));
        assert_eq!((count, named[0].cid), (1, *silent.cid()));
        assert!(matches!(named[0].why, Error::TimedOut("the fetch")));

        // The default for what does not come is a minute; a root is missing like any other block.
        let (count, named) = missing(node.fetch(silent.cid()).await);
        assert_eq!(runtime.now() - began, Duration::from_secs(63));
        assert_eq!((count, named[0].cid), (1, *silent.cid()));
        let (_, named) = missing(node.fetch(format!("{}/x", absent_directory())).await);
        assert!(matches!(named[0].why, Error::NotFound(_)));
    });
}

fn absent_directory() -> Cid {
    *block(codes::DAG_PB, "no such block").cid()
}

#[test]
fn dropping_it_gives_up_what_was_asked_for() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let silent: Vec<Block> = (0..10).map(|n| block(codes::RAW, format!("{n}"))).collect();
        silent.iter().for_each(|block| neighbour.fault(*block.cid(), Fault::Silent));
        let links: Vec<Cid> = silent.iter().map(|block| *block.cid()).collect();
        let root = origin.dag().put(&list(&links)).await.unwrap();
        let node = neighbour.node(&runtime).await;
        let mut fetching = node.fetch(root).stall(None).start();
        runtime.sleep(Duration::from_secs(5)).await;
        assert_eq!((neighbour.open(), fetching.progress().wanted), (10, 10));
        assert!(matches!(node.blocks().delete(&root).await, Err(Error::InUse(_))));
        // Watching it or not changes nothing.
        assert_eq!(fetching.next().await.unwrap().fetched_blocks, 1);
        assert!(fetching.next().now_or_never().is_none());
        drop(fetching);
        runtime.sleep(Duration::from_secs(1)).await;
        assert_eq!(neighbour.open(), 0);
        // What came stays until it is deleted.
        assert!(node.blocks().has(&root).await.unwrap());
        node.store().delete_many(&[root]).await.unwrap();
    });
}
