//! What a node keeps is counted, looked at and mended, in each store.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_core::{
    Block, Blockstore, BlockstoreExt, Cid, Error, Faults, Hold, Mend, Multihash, Node, Result,
    Runtime, RuntimeExt, VirtualRuntime, async_trait,
    blockstore::{
        FlatStore, PackStore,
        files::{Files, Open},
        flat, pack,
    },
    codes,
    memory::MemoryStore,
    work::Event,
};

use crate::{
    content,
    faulty::{Faulty, TakenOut},
    fetch::neighbour::{Fault, Neighbour},
    numbers::Numbers,
};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flat,
    Pack,
}

async fn store(files: &Faulty, kind: Kind, runtime: &VirtualRuntime) -> Arc<dyn Blockstore> {
    let (files, runtime) = (Arc::new(files.clone()), Arc::new(runtime.clone()));
    match kind {
        Kind::Flat => {
            let options = flat::Options::default();
            Arc::new(FlatStore::open_on(files, "/store", runtime, options).await.unwrap())
        }
        Kind::Pack => {
            let options = pack::Options::default();
            Arc::new(PackStore::open_on(files, "/store", runtime, options).await.unwrap())
        }
    }
}

/// A node with a store on these files, that fetches from a neighbour.
async fn node(files: &Faulty, kind: Kind, neighbour: &Neighbour, runtime: &VirtualRuntime) -> Node {
    let store = store(files, kind, runtime).await;
    let node = Node::builder().runtime(runtime.clone()).store(store).exchange(neighbour.clone());
    node.offline().spawn().await.unwrap()
}

/// So many blocks under raw CIDs, as a store lists them.
fn blocks(count: u64) -> Vec<Block> {
    let hashes = ipfs_core::HashTable::standard();
    let block = |number| {
        let data = content::bytes(number, 1000 + number as usize);
        Block::of(codes::RAW, codes::SHA2_256, data, &hashes).unwrap()
    };
    (0..count).map(block).collect()
}

/// Changes a byte of a block where it lies on disk.
fn damage(files: &Faulty, folder: &Path, block: &Block) -> bool {
    for (name, is_dir) in files.list(folder).unwrap() {
        let path = folder.join(name);
        if is_dir {
            if damage(files, &path, block) {
                return true;
            }
            continue;
        }
        let content = files.read(&path).unwrap();
        let found = content.windows(block.len()).position(|window| window == block.data());
        if let Some(at) = found {
            let file = files.open(&path, Open::Existing).unwrap();
            file.write_at(&[!content[at + 500]], at as u64 + 500).unwrap();
            file.sync().unwrap();
            return true;
        }
    }
    false
}

fn cids(faults: &Faults) -> Vec<Cid> {
    let mut cids: Vec<Cid> = faults.first.iter().map(|fault| fault.cid).collect();
    cids.sort();
    assert_eq!(cids.len() as u64, faults.count);
    cids
}

fn sorted(blocks: &[&Block]) -> Vec<Cid> {
    let mut cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    cids.sort();
    cids
}

/// A store of 50 blocks, of which 3 are damaged: the neighbour has but two of these.
async fn damaged(kind: Kind, runtime: &VirtualRuntime) -> (Faulty, Node, Neighbour, Vec<Block>) {
    let files = Faulty::new(Path::new("/store"), false, TakenOut::Nothing);
    let (neighbour, blocks) = (Neighbour::new(), blocks(50));
    for block in &blocks[1..] {
        neighbour.put(block).await;
    }
    let node = node(&files, kind, &neighbour, runtime).await;
    node.blocks().put_many(&blocks).await.unwrap();
    node.repo().flush().await.unwrap();
    for block in &blocks[..3] {
        assert!(damage(&files, Path::new("/store"), block), "{kind:?}: it is not on disk");
    }
    (files, node, neighbour, blocks)
}

/// A hold of these, damaged or not.
async fn hold(node: &Node, blocks: &[Block]) -> Hold {
    let hold = node.hold();
    for block in blocks {
        drop(node.under(&hold).blocks().get(block.cid()).await);
        assert!(matches!(node.blocks().delete(block.cid()).await, Err(Error::InUse(_))));
    }
    hold
}

/// That all of these are here, as they were.
async fn whole(node: &Node, blocks: &[Block]) {
    for block in blocks {
        let found = node.store().get(block.cid()).await.unwrap();
        assert!(found.as_ref() == Some(block), "{}", block.cid());
    }
}

fn for_each_store<F: Future<Output = ()>>(test: impl Fn(Kind, VirtualRuntime) -> F) {
    for kind in [Kind::Flat, Kind::Pack] {
        let runtime = VirtualRuntime::new();
        runtime.block_on(test(kind, runtime.clone())).unwrap();
    }
}

#[test]
fn what_is_damaged_is_told_and_left() {
    for_each_store(|kind, runtime| async move {
        let (_, node, neighbour, blocks) = damaged(kind, &runtime).await;
        let verified = node.repo().verify(Mend::No).await.unwrap();
        let bad: Vec<&Block> = blocks[..3].iter().collect();
        assert_eq!(cids(&verified.damaged), sorted(&bad));
        assert!(verified.damaged.first.iter().all(|it| matches!(it.why, Error::Corrupt(_))));
        assert_eq!((verified.blocks, verified.mended), (50, 0));
        let bytes: usize = blocks[3..].iter().map(Block::len).sum();
        assert_eq!(verified.bytes, bytes as u64);
        assert_eq!((verified.unmended.count, verified.unchecked.count), (0, 0));
        assert_eq!(node.store().sizes(&sorted(&bad)).await.unwrap().iter().flatten().count(), 3);
        assert!(neighbour.asked().is_empty());
    });
}

#[test]
fn what_is_damaged_is_had_again_held_or_not() {
    for_each_store(|kind, runtime| async move {
        let (files, node, neighbour, blocks) = damaged(kind, &runtime).await;
        // Of these two one can be had again.
        let _hold = hold(&node, &blocks[..2]).await;
        let verified = node.repo().verify(Mend::fetch()).await.unwrap();
        assert_eq!((verified.damaged.count, verified.mended), (3, 2));
        assert_eq!(cids(&verified.unmended), [*blocks[0].cid()]);
        assert!(verified.unmended.first[0].why.is_not_found(), "{:?}", verified.unmended);
        assert_eq!(neighbour.asked().len(), 3);
        whole(&node, &blocks[1..]).await;
        assert!(!node.blocks().has(blocks[0].cid()).await.unwrap(), "what is worthless is gone");
        assert!(matches!(node.blocks().delete(blocks[1].cid()).await, Err(Error::InUse(_))));

        // It is durable, and what is put now is stored.
        let files = files.after_power_loss(&mut Numbers(1));
        let again = self::node(&files, kind, &neighbour, &runtime).await;
        whole(&again, &blocks[1..]).await;
        again.blocks().put(blocks[0].clone()).await.unwrap();
        whole(&again, &blocks).await;
        assert_eq!(again.repo().verify(Mend::No).await.unwrap().damaged.count, 0);
    });
}

#[test]
fn what_is_damaged_is_dropped_held_or_pinned_or_not() {
    for_each_store(|kind, runtime| async move {
        let (_, node, neighbour, blocks) = damaged(kind, &runtime).await;
        let hold = hold(&node, &blocks[..1]).await;
        node.pins().add(blocks[1].cid()).direct().await.unwrap();
        let refused = node.blocks().delete(blocks[1].cid()).await;
        assert!(matches!(refused, Err(Error::Pinned { .. })), "{refused:?}");
        let verified = node.repo().verify(Mend::Drop).await.unwrap();
        assert_eq!((verified.damaged.count, verified.mended, verified.unmended.count), (3, 3, 0));
        let all: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        let sizes = node.store().sizes(&all).await.unwrap();
        assert!(sizes[..3].iter().all(Option::is_none) && sizes[3..].iter().all(Option::is_some));
        assert!(neighbour.asked().is_empty());
        // Whatever reads one next has it again.
        assert_eq!(node.blocks().get(blocks[1].cid()).await.unwrap(), blocks[1]);
        node.under(&hold).blocks().put(blocks[0].clone()).await.unwrap();
        whole(&node, &blocks[..2]).await;
    });
}

/// Nobody answers for one block: the others do not wait for it, and it is given up in its time.
#[test]
fn a_block_that_does_not_come_is_given_up() {
    for_each_store(|kind, runtime| async move {
        let (_, node, neighbour, blocks) = damaged(kind, &runtime).await;
        neighbour.put(&blocks[0]).await;
        neighbour.fault(*blocks[0].cid(), Fault::Silent);
        let began = runtime.now();
        let verified = node.repo().verify(Mend::fetch()).await.unwrap();
        assert_eq!(runtime.now() - began, Duration::from_secs(30), "{kind:?}");
        assert_eq!(verified.mended, 2);
        assert!(matches!(verified.unmended.first[0].why, Error::TimedOut(_)));
        assert_eq!(neighbour.open(), 0);
        whole(&node, &blocks[1..]).await;
        let verified = node.repo().verify(Mend::No).await.unwrap();
        assert_eq!((verified.blocks, verified.damaged.count), (49, 0));
    });
}

#[test]
fn work_that_is_dropped_ends_and_has_told_how_far_it_was() {
    for_each_store(|kind, runtime| async move {
        let (_, node, neighbour, blocks) = damaged(kind, &runtime).await;
        for block in &blocks[..3] {
            neighbour.fault(*block.cid(), Fault::Silent);
        }
        let mut verifying = node.repo().verify(Mend::fetch());
        let progress = verifying.try_next().await.unwrap();
        assert!(matches!(progress, Some(Event::Progress(_))), "{progress:?}");
        while neighbour.open() < 3 {
            let progress = verifying.next();
            drop(futures::future::select(progress, runtime.sleep(Duration::from_millis(1))).await);
        }
        drop(verifying);
        assert_eq!(neighbour.open(), 0, "what it asked for is given up");
        whole(&node, &blocks[3..]).await;
    });
}

/// A store in which one block cannot be read.
#[derive(Debug)]
struct Unreadable(MemoryStore, Cid);

#[async_trait]
impl Blockstore for Unreadable {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let mut found = self.0.get_many(cids).await;
        for (cid, found) in std::iter::zip(cids, &mut found) {
            if cid.hash() == self.1.hash() {
                *found = Err(Error::component("disk", "it does not answer"));
            }
        }
        found
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.0.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.0.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.0.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.0.list()
    }
    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }
}

/// What cannot be hashed, or not be read, may be whole: it is told apart, and stays.
#[tokio::test]
async fn what_cannot_be_checked_is_never_deleted() {
    const UNKNOWN: u64 = 0x30_0001;
    let blocks = blocks(3);
    let unknown = Multihash::wrap(UNKNOWN, blocks[0].hash().digest()).unwrap();
    let unknown = Cid::new_v1(codes::RAW, unknown);
    let store = MemoryStore::new();
    store.put(Block::trusted(unknown, "of another kind".into())).await.unwrap();
    store.put_many(&blocks).await.unwrap();
    let store = Unreadable(store, *blocks[1].cid());
    let node = Node::builder().store(Arc::new(store)).offline().spawn().await.unwrap();
    let mut expected = vec![unknown, *blocks[1].cid()];
    expected.sort();
    for mend in [Mend::No, Mend::Drop, Mend::fetch()] {
        let verified = node.repo().verify(mend).await.unwrap();
        assert_eq!((verified.blocks, verified.damaged.count), (4, 0));
        assert_eq!(cids(&verified.unchecked), expected);
        let why = |cid: Cid| {
            let mut faults = verified.unchecked.first.iter();
            faults.find(|fault| fault.cid == cid).map(|fault| &fault.why)
        };
        assert!(matches!(why(unknown), Some(Error::UnknownHash(UNKNOWN))));
        assert!(matches!(why(*blocks[1].cid()), Some(Error::Component { .. })));
        let sizes = node.store().sizes(&expected).await.unwrap();
        assert!(sizes.iter().all(Option::is_some));
    }
}

/// A store in which nearly everything is damaged: what is told of it does not grow with it.
#[tokio::test]
async fn what_is_told_is_bounded() {
    let store = MemoryStore::new();
    let hashes = ipfs_core::HashTable::standard();
    for number in 0..3000_u64 {
        let data = number.to_le_bytes().to_vec();
        let cid = *Block::of(codes::RAW, codes::SHA2_256, data, &hashes).unwrap().cid();
        store.put(Block::trusted(cid, "damaged".into())).await.unwrap();
    }
    let node = Node::builder().store(Arc::new(store)).offline().spawn().await.unwrap();
    let verified = node.repo().verify(Mend::fetch()).await.unwrap();
    for faults in [&verified.damaged, &verified.unmended] {
        assert_eq!((faults.count, faults.first.len()), (3000, Faults::MAX));
    }
    assert_eq!(node.repo().verify(Mend::No).await.unwrap().blocks, 0);
}

#[tokio::test]
async fn a_closed_node_verifies_nothing() {
    let node = Node::builder().offline().spawn().await.unwrap();
    node.blocks().put(blocks(1).remove(0)).await.unwrap();
    let repo = node.repo();
    node.close().await.unwrap();
    assert!(matches!(repo.verify(Mend::No).await, Err(Error::Closed(_))));
    assert!(matches!(repo.stat().await, Err(Error::Closed(_))));
    assert!(matches!(repo.flush().await, Err(Error::Closed(_))));
    assert!(matches!(repo.compact().await, Err(Error::Closed(_))));
}

#[tokio::test]
async fn what_is_kept_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::builder().data_dir(folder.path()).offline().spawn().await.unwrap();
    let blocks = blocks(20);
    node.blocks().put_many(&blocks).await.unwrap();
    node.repo().flush().await.unwrap();
    let stat = node.repo().stat().await.unwrap();
    let (usage, of_folder) = (stat.usage.unwrap(), stat.folder.unwrap());
    let bytes: usize = blocks.iter().map(Block::len).sum();
    assert_eq!((usage.blocks, usage.bytes), (Some(20), bytes as u64));
    assert_eq!((&*of_folder.path, of_folder.version), (folder.path(), 1));
    let (state, on_disk) = (of_folder.state_bytes.unwrap(), usage.on_disk.unwrap());
    assert!(state > 0 && on_disk >= usage.bytes && of_folder.bytes >= state + on_disk);

    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    node.store().delete_many(&cids[1..]).await.unwrap();
    node.repo().compact().await.unwrap();
    assert_eq!(node.repo().usage().await.unwrap().unwrap().blocks, Some(1));
    let in_memory = Node::builder().offline().spawn().await.unwrap();
    assert!(in_memory.repo().stat().await.unwrap().folder.is_none());
}
