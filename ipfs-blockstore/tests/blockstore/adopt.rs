//! `FlatStore` on folders that others left: what is in them, and how far it is believed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use ipfs_blockstore::{
    FlatStore,
    files::Files,
    flat::{Options, Sharding},
};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, Result, TokioRuntime,
    VirtualRuntime, codes,
};

use crate::{
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
};

pub(crate) fn block(data: impl Into<ipfs_traits::Bytes>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

pub(crate) fn blocks(seed: u8, count: u8) -> Vec<Block> {
    (0..count).map(|i| block([&[seed, i], &vec![i; usize::from(i)][..]].concat())).collect()
}

pub(crate) fn bytes<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> u64 {
    blocks.into_iter().map(|block| block.len() as u64).sum()
}

async fn open_as(path: &Path, sharding: Option<Sharding>) -> Result<FlatStore> {
    let mut options = Options::default();
    options.sharding = sharding;
    FlatStore::open_with(path, Arc::new(TokioRuntime::current()?), options).await
}

pub(crate) async fn open(path: &Path) -> FlatStore {
    open_as(path, None).await.unwrap()
}

pub(crate) async fn listed(store: &impl Blockstore) -> BTreeMap<Multihash, u64> {
    let pages: Vec<_> = store.list().try_collect().await.unwrap();
    let all = pages.concat();
    let map: BTreeMap<_, _> = all.iter().copied().collect();
    assert_eq!(map.len(), all.len(), "each is listed once");
    map
}

pub(crate) async fn usage(store: &impl Blockstore) -> Option<(u64, u64)> {
    let usage = store.usage().await.unwrap()?;
    Some((usage.blocks.unwrap(), usage.bytes))
}

fn key(block: &Block) -> String {
    data_encoding::BASE32_NOPAD.encode(&block.hash().to_bytes())
}

/// Writes a block as Kubo does.
pub(crate) fn write(root: &Path, directory: &str, block: &Block) -> PathBuf {
    let path = root.join(directory).join(format!("{}.data", key(block)));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, block.data()).unwrap();
    path
}

/// A folder of Kubo's: nobody has closed it, and `diskUsage.cache` says what it says.
pub(crate) fn kubos(root: &Path, blocks: &[Block], usage: &str) {
    fs::write(root.join("SHARDING"), "/repo/flatfs/shard/v1/next-to-last/2\n").unwrap();
    fs::write(root.join("diskUsage.cache"), usage).unwrap();
    for block in blocks {
        write(root, &Sharding::NextToLast(2).directory(&key(block)), block);
    }
}

#[tokio::test]
async fn a_new_folder_has_the_sharding_that_is_asked_for() {
    for (sharding, text) in [
        (Sharding::Prefix(4), "prefix/4"),
        (Sharding::Suffix(1), "suffix/1"),
        (Sharding::NextToLast(3), "next-to-last/3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = open_as(folder.path(), Some(sharding)).await.unwrap();
        let said = fs::read_to_string(folder.path().join("SHARDING")).unwrap();
        assert_eq!(said, format!("/repo/flatfs/shard/v1/{text}\n"));
        let some = blocks(1, 40);
        store.put_many(&some).await.unwrap();
        store.close().await.unwrap();
        let place = |block: &Block| {
            let name = format!("{}.data", key(block));
            folder.path().join(sharding.directory(&key(block))).join(name)
        };
        assert!(some.iter().all(|block| place(block).exists()));
        // It stays so, whether it is asked for again or not; another one is refused.
        for wanted in [None, Some(sharding)] {
            let store = open_as(folder.path(), wanted).await.unwrap();
            assert_eq!(store.sharding(), sharding);
            assert_eq!(listed(&store).await.len(), 40);
        }
        let refused = open_as(folder.path(), Some(Sharding::Prefix(2))).await;
        assert!(matches!(refused, Err(Error::Invalid { what: "sharding", .. })), "{refused:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    for chars in [0, 256, usize::MAX] {
        let refused = open_as(folder.path(), Some(Sharding::Suffix(chars))).await;
        assert!(matches!(refused, Err(Error::Invalid { what: "sharding", .. })), "{refused:?}");
    }
    open(folder.path()).await;
}

/// Blocks without a file that says how they are spread: whatever was taken for true, some would not
/// be found, and new ones would lie among them in another way.
#[tokio::test]
async fn a_folder_whose_sharding_is_lost_is_refused() {
    let some = blocks(1, 5);
    let folder = tempfile::tempdir().unwrap();
    kubos(folder.path(), &some, "{}");
    let sharding = folder.path().join("SHARDING");
    fs::remove_file(&sharding).unwrap();
    for wanted in [None, Some(Sharding::NextToLast(2))] {
        let refused = open_as(folder.path(), wanted).await;
        assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
        assert!(!sharding.exists(), "nothing is decided");
    }
    fs::write(&sharding, "/repo/flatfs/shard/v1/next-to-last/2\n").unwrap();
    assert_eq!(listed(&open(folder.path()).await).await.len(), 5);
    // A file without an end is not read into memory.
    fs::File::create(&sharding).unwrap().set_len(1 << 40).unwrap();
    let refused = open_as(folder.path(), None).await;
    assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
}

#[tokio::test]
async fn odd_files_are_passed_over() {
    let some = blocks(1, 30);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    kubos(root, &some[..20], "{}");
    let directory = Sharding::NextToLast(2).directory(&key(&some[0]));
    let odd = |name: &str| fs::write(root.join(&directory).join(name), "odd").unwrap();
    ["put-1234", "README", ".data", "CIQ.data", "x.data"].into_iter().for_each(odd);
    fs::write(root.join(&directory).join(format!("{}.data.part", key(&some[0]))), "").unwrap();
    // In the wrong directory, and in none: Kubo does not find them either.
    let lost = [write(root, "ZZZ", &some[20]), write(root, "", &some[21])];
    write(root, "ZZZ", &some[0]);
    // Something else with the name of a block.
    let name = |block: &Block| format!("{}.data", key(block));
    let place = |block: &Block| root.join(Sharding::NextToLast(2).directory(&key(block)));
    fs::create_dir_all(place(&some[22]).join(name(&some[22]))).unwrap();
    #[cfg(unix)]
    {
        fs::create_dir_all(place(&some[23])).unwrap();
        std::os::unix::fs::symlink("/dev/zero", place(&some[23]).join(name(&some[23]))).unwrap();
    }
    // What Kubo's batches leave.
    fs::create_dir_all(root.join(".temp/batch-1-2")).unwrap();
    write(root, ".temp/batch-1-2", &some[24]);
    fs::write(root.join(".temp/temp-77"), "half").unwrap();

    let store = open(root).await;
    let all = listed(&store).await;
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), {
        let mut expected: Vec<_> = some[..20].iter().map(|block| *block.hash()).collect();
        expected.sort();
        expected
    });
    let cids: Vec<Cid> = some.iter().map(|block| *block.cid()).collect();
    for (i, found) in store.get_many(&cids).await.into_iter().enumerate() {
        assert_eq!(found.unwrap().as_ref(), some.get(i).filter(|_| i < 20), "{i}");
    }
    let sizes = store.sizes(&cids).await.unwrap();
    assert!(sizes.iter().enumerate().all(|(i, size)| size.is_some() == (i < 20)), "{sizes:?}");
    assert_eq!(usage(&store).await, Some((20, bytes(&some[..20]))));
    assert!(!root.join(".temp/temp-77").exists());
    assert_eq!(fs::read_dir(root.join(".temp/batch-1-2")).unwrap().count(), 0);
    assert!(lost.iter().all(|path| path.exists()), "nothing of others is removed");
    // They can be put where they are looked for.
    store.put_many(&some[20..22]).await.unwrap();
    #[cfg(unix)]
    store.put(some[23].clone()).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.get(&cids[21]).await.unwrap().as_ref(), Some(&some[21]));
    #[cfg(unix)]
    assert_eq!(store.get(&cids[23]).await.unwrap().as_ref(), Some(&some[23]));
}

/// Files that a crash of Kubo has left: cut off, without content, or of zeros.
#[tokio::test]
async fn torn_files_are_told_or_mended() {
    let some = blocks(9, 30);
    let folder = tempfile::tempdir().unwrap();
    kubos(folder.path(), &some, "{}");
    let place = |i: usize| {
        let directory = Sharding::NextToLast(2).directory(&key(&some[i]));
        folder.path().join(directory).join(format!("{}.data", key(&some[i])))
    };
    fs::write(place(20), "").unwrap();
    fs::write(place(21), &some[21].data()[..7]).unwrap();
    fs::write(place(22), vec![0; some[22].len()]).unwrap();
    fs::File::create(place(23)).unwrap().set_len(1 << 40).unwrap();
    let store = open(folder.path()).await;
    assert!(matches!(store.get(some[20].cid()).await, Err(Error::Corrupt(_))));
    // A file that nobody can have stored is not read into memory.
    assert!(matches!(store.get(some[23].cid()).await, Err(Error::Limit { .. })));
    assert_eq!(listed(&store).await.len(), 30);
    store.put_many(&some).await.unwrap();
    store.flush().await.unwrap();
    for block in &some {
        assert_eq!(store.get(block.cid()).await.unwrap().as_ref(), Some(block));
    }
    assert_eq!(usage(&store).await, Some((30, bytes(&some))));
}

/// Puts a block whose file Kubo has named and not synced. Where the platform cannot sync all at once
/// nobody had synced it, and a flush said that it was safe.
#[test]
fn a_block_that_was_there_unsynced_is_safe_after_a_flush() {
    let root = Path::new("/store");
    let some = blocks(3, 40);
    for (seed, whole) in (0..40).flat_map(|seed| [(seed, true), (seed, false)]) {
        let runtime = VirtualRuntime::new();
        let files = Faulty::new(root, whole, TakenOut::Nothing);
        files.create(&root.join("SHARDING"), b"/repo/flatfs/shard/v1/prefix/1").unwrap();
        files.sync_file(&root.join("SHARDING")).unwrap();
        files.create_dir(&root.join("C")).unwrap();
        for block in &some {
            let path = root.join("C").join(format!("{}.data", key(block)));
            files.create(&path, block.data()).unwrap();
        }
        let open = |files: &Faulty| {
            let (files, runtime) = (Arc::new(files.clone()), Arc::new(runtime.clone()));
            FlatStore::open_on(files, root, runtime, Options::default())
        };
        let done = runtime.block_on(async {
            let store = open(&files).await?;
            store.put_many(&some).await?;
            store.flush().await
        });
        done.unwrap().unwrap();
        let survivor = files.after_power_loss(&mut Numbers(seed));
        let found = runtime.block_on(async {
            let store = open(&survivor).await?;
            let cids: Vec<Cid> = some.iter().map(|block| *block.cid()).collect();
            store.get_many(&cids).await.into_iter().collect::<Result<Vec<_>>>()
        });
        let found: Vec<Block> = found.unwrap().unwrap().into_iter().flatten().collect();
        assert!(found == some, "seed {seed}, all at once {whole}");
    }
}
