//! `FlatStore` on a real disk.

use std::{fs, path::Path, sync::Arc};

use futures::{StreamExt, TryStreamExt, future::join_all};
use ipfs_blockstore::{FlatStore, flat::Options};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, TokioRuntime, codes,
    conformance,
};

async fn open(path: &Path) -> ipfs_traits::Result<FlatStore> {
    FlatStore::open(path, Arc::new(TokioRuntime::current()?)).await
}

fn block(text: impl Into<ipfs_traits::Bytes>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, text, &HashTable::standard()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let number = || next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    conformance::blockstore(|| {
        let path = folder.path().join(number());
        async move { open(&path).await }
    })
    .await
    .unwrap();
    let same = folder.path().join("same");
    conformance::blockstore_reopen(|| open(&same)).await.unwrap();
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    let second = open(folder.path()).await.unwrap_err();
    assert!(matches!(second, Error::InUse(_)), "{second:?}");
    drop(first);
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn files_lie_where_kubo_looks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let cid: Cid = "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB".parse().unwrap();
    let readme = Block::trusted(cid, "content that stands for it".into());
    store.put(readme).await.unwrap();
    let place =
        folder.path().join("R3/CIQBED3K6YA5I3QQWLJOCHWXDRK5EXZQILBCKAPEDUJENZ5B5HJ5R3A.data");
    assert!(!place.exists(), "no name before it is synced");
    store.flush().await.unwrap();
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.contains(&"SHARDING".to_owned()) && names.contains(&"_README".to_owned()));
    assert_eq!(
        fs::read_to_string(folder.path().join("SHARDING")).unwrap(),
        "/repo/flatfs/shard/v1/next-to-last/2\n"
    );
    assert!(place.exists(), "{names:?}");
}

#[tokio::test]
async fn other_shardings_are_read_and_unknown_ones_refused() {
    for (text, directory) in [
        ("/repo/flatfs/shard/v1/prefix/3\n", "CIQ"),
        ("/repo/flatfs/shard/v1/suffix/2", "7A"),
        ("/repo/flatfs/shard/v1/next-to-last/2\n", "QP"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("SHARDING"), text).unwrap();
        let store = open(folder.path()).await.unwrap();
        store.put(block("some")).await.unwrap();
        store.flush().await.unwrap();
        let directories: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with(['.', '_']) && name != "SHARDING")
            .collect();
        assert_eq!(directories.len(), 1, "{directories:?}");
        assert_eq!(directories[0].len(), directory.len());
        assert_eq!(store.get(block("some").cid()).await.unwrap(), Some(block("some")));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("SHARDING"), "/repo/flatfs/shard/v2/prefix/3").unwrap();
    let newer = open(folder.path()).await.unwrap_err();
    assert!(matches!(newer, Error::Newer { found: 2, known: 1, .. }), "{newer:?}");
    fs::write(folder.path().join("SHARDING"), "whatever").unwrap();
    assert!(matches!(open(folder.path()).await.unwrap_err(), Error::Malformed { .. }));
}

#[tokio::test]
async fn damage_is_the_error_of_its_block_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let blocks: Vec<Block> = (0..5_u8).map(|i| block(vec![i; 100])).collect();
    store.put_many(&blocks).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    let file = |block: &Block| {
        let key = data_encoding::BASE32_NOPAD.encode(&block.hash().to_bytes());
        folder.path().join(&key[key.len() - 3..key.len() - 1]).join(format!("{key}.data"))
    };
    fs::write(file(&blocks[1]), [9; 100]).unwrap();
    fs::write(file(&blocks[2]), []).unwrap();

    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let mut options = Options::default();
    options.verify_reads = Some(HashTable::standard());
    let store = FlatStore::open_with(folder.path(), runtime, options).await.unwrap();
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let found = store.get_many(&cids).await;
    for (i, found) in found.into_iter().enumerate() {
        match i {
            1 | 2 => assert!(matches!(found, Err(Error::Corrupt(cid)) if cid == cids[i])),
            _ => assert_eq!(found.unwrap(), Some(blocks[i].clone())),
        }
    }
    drop(store);
    // A file that is empty, and should not be, is seen without hashing all.
    let store = open(folder.path()).await.unwrap();
    assert!(matches!(store.get(&cids[2]).await, Err(Error::Corrupt(_))));
    // Putting the block again mends what has another length.
    store.put_many(&blocks).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.get(&cids[2]).await.unwrap(), Some(blocks[2].clone()));
}

/// A listing that runs while blocks get their names has each of them once.
#[tokio::test(flavor = "multi_thread")]
async fn listing_while_blocks_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let blocks: Vec<Block> = (0..6000_u32).map(|i| block(i.to_be_bytes().to_vec())).collect();
    store.put_many(&blocks[..3000]).await.unwrap();
    store.flush().await.unwrap();
    store.put_many(&blocks[3000..]).await.unwrap();
    let mut list = store.list();
    let mut listed: Vec<(Multihash, u64)> = list.next().await.unwrap().unwrap();
    store.flush().await.unwrap();
    let rest: Vec<_> = list.try_collect().await.unwrap();
    listed.extend(rest.concat());
    assert_eq!(listed.len(), 6000);
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 6000);
}

/// Readers, writers and deleters on many threads; every block ends as its last writer left it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let work = (0..8_u8).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            let own: Vec<Block> = (0..100_u8).map(|i| block(vec![worker, i])).collect();
            let shared: Vec<Block> = (0..50_u8).map(|i| block(vec![i; 40])).collect();
            for round in 0..4 {
                store.put_many(&own).await.unwrap();
                store.put_many(&shared).await.unwrap();
                if round % 2 == 0 {
                    store.flush().await.unwrap();
                }
                let cids: Vec<Cid> = own[..50].iter().map(|block| *block.cid()).collect();
                store.delete_many(&cids).await.unwrap();
                for found in store.get_many(&cids).await {
                    assert_eq!(found.unwrap(), None);
                }
                for block in &shared {
                    assert_eq!(store.get(block.cid()).await.unwrap().as_ref(), Some(block));
                }
            }
            store.flush().await.unwrap();
        })
    });
    join_all(work).await.into_iter().for_each(|done| done.unwrap());
    drop(store);
    let store = open(folder.path()).await.unwrap();
    let listed: Vec<_> = store.list().try_collect().await.unwrap();
    assert_eq!(listed.concat().len(), 8 * 50 + 50);
}

/// Every future of the store may be dropped at any time, and the store goes on.
#[tokio::test(flavor = "multi_thread")]
async fn futures_may_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    for i in 0..60_u8 {
        let blocks: Vec<Block> = (0..20_u8).map(|j| block(vec![i, j])).collect();
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        tokio::select! { biased; _ = store.put_many(&blocks) => {}, () = tokio::task::yield_now() => {} }
        tokio::select! { biased; _ = store.flush() => {}, () = tokio::task::yield_now() => {} }
        tokio::select! { biased; _ = store.get_many(&cids) => {}, () = tokio::task::yield_now() => {} }
        if i % 3 == 0 {
            tokio::select! { biased; _ = store.delete_many(&cids) => {}, () = tokio::task::yield_now() => {} }
        }
        store.put_many(&blocks).await.unwrap();
    }
    let last = block("the last");
    store.put(last.clone()).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    // A dropped call may still run where it may block, and holds the store as long.
    let store = loop {
        match open(folder.path()).await {
            Err(Error::InUse(_)) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(store.get(last.cid()).await.unwrap(), Some(last));
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("below")).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("cannot open") && cause.contains("below"), "{cause}");
}
