//! Pins: complete or an error, and nothing in between.

mod cancel;
mod model;

use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_core::{
    Batch, Block, Blockstore, Bytes, Cid, Datastore, Error, Follow, Ipld, Multihash, Node,
    NodeEvent, PinMode, PinnedBy, Pins, Result, VirtualRuntime, async_trait, codes,
    memory::{MemoryDatastore, MemoryStore},
};
use ipld_git::{Mode, ObjectFormat, TreeBuilder, blob, cid_of};

async fn node() -> Node {
    Node::builder().offline().codec(ipld_git::GitCodec).spawn().await.unwrap()
}

async fn list(node: &Node, links: &[Cid]) -> Cid {
    let links = links.iter().map(|cid| Ipld::Link(*cid)).collect();
    node.dag().put(&Ipld::List(links)).await.unwrap()
}

async fn number(node: &Node, number: i128) -> Cid {
    node.dag().put(&Ipld::Integer(number)).await.unwrap()
}

#[tokio::test]
async fn a_pin_is_whole_or_says_what_is_missing() {
    let node = node().await;
    let (here, gone) = (number(&node, 1).await, number(&node, 2).await);
    let root = list(&node, &[here, gone]).await;
    node.blocks().delete(&gone).await.unwrap();
    let error = node.pins().add(root).await.unwrap_err();
    assert!(
        matches!(&error, Error::Incomplete { count: 1, missing, .. } if missing[0].cid == gone)
    );
    assert_eq!(node.pins().get(&root).await.unwrap(), None);
    // Alone it can be pinned.
    assert_eq!(node.pins().add(root).direct().await.unwrap().mode, PinMode::Direct);
    number(&node, 2).await;
    let pin = node.pins().add(root).name("all").metadata("k", "v").await.unwrap();
    assert_eq!(node.pins().get(&root).await.unwrap(), Some(pin.clone()));
    let all: Vec<_> = node.pins().list().try_collect().await.unwrap();
    assert_eq!(all, [pin]);
    assert!(matches!(node.pins().add(root).direct().await, Err(Error::Exists(_))));
}

#[tokio::test]
async fn who_pins_what_is_known() {
    let node = node().await;
    let leaf = number(&node, 1).await;
    let (middle, other) = (list(&node, &[leaf]).await, number(&node, 3).await);
    let root = list(&node, &[middle, other]).await;
    node.pins().add(root).await.unwrap();
    node.pins().add(other).direct().await.unwrap();
    assert_eq!(node.pins().why(&root).await.unwrap(), Some(PinnedBy::Recursive));
    assert_eq!(node.pins().why(&other).await.unwrap(), Some(PinnedBy::Direct));
    assert_eq!(node.pins().why(&leaf).await.unwrap(), Some(PinnedBy::Indirect(root)));
    let mut below: Vec<Cid> = node
        .pins()
        .indirect()
        .map_ok(|found| {
            assert_eq!(found.root, root);
            found.cid
        })
        .try_collect()
        .await
        .unwrap();
    below.sort();
    let mut expected = vec![middle, leaf];
    expected.sort();
    assert_eq!(below, expected);
    for cid in [root, other, leaf] {
        let refused = node.blocks().delete(&cid).await;
        assert!(matches!(refused, Err(Error::Pinned { cid: of, .. }) if *of == cid));
    }
    node.pins().remove(&root).await.unwrap();
    assert!(matches!(node.pins().remove(&root).await, Err(Error::NotPinned(of)) if of == root));
    node.blocks().delete(&leaf).await.unwrap();
}

#[tokio::test]
async fn an_update_pins_the_new_one_before_it_drops_the_old() {
    let node = node().await;
    let (a, b) = (number(&node, 1).await, number(&node, 2).await);
    let (old, new) = (list(&node, &[a]).await, list(&node, &[a, b]).await);
    node.pins().add(old).name("mine").await.unwrap();
    node.blocks().delete(&b).await.unwrap();
    assert!(matches!(node.pins().update(&old, new).await, Err(Error::Incomplete { .. })));
    assert!(node.pins().get(&old).await.unwrap().is_some());
    number(&node, 2).await;
    let mut events = node.events();
    let pin = node.pins().update(&old, new).await.unwrap();
    let pinned = NodeEvent::Pinned { root: new, name: Some("mine".into()) };
    for expected in [pinned, NodeEvent::Unpinned { root: old }] {
        assert_eq!(events.next().await, Some(expected));
    }
    assert_eq!((pin.cid, pin.name.as_deref()), (new, Some("mine")));
    assert_eq!(node.pins().get(&old).await.unwrap(), None);
    assert!(matches!(node.pins().update(&old, new).await, Err(Error::NotPinned(_))));
}

/// A block was taken for found that had been come to by an unknown codec before.
#[tokio::test]
async fn a_block_by_two_codecs_lacks_for_both() {
    let node = node().await;
    let raw = Block::of(codes::RAW, codes::SHA2_256, "gone", node.hashes()).unwrap();
    let unknown = Cid::new_v1(0x30_0001, *raw.hash());
    for links in [[unknown, *raw.cid()], [*raw.cid(), unknown]] {
        let root = list(&node, &links).await;
        let error = node.pins().add(root).await.unwrap_err();
        let Error::Incomplete { missing, count: 2, .. } = &error else { panic!("{error:?}") };
        assert!(missing.iter().any(|missing| missing.cid == *raw.cid()));
    }
}

/// A tree with a submodule, whose commit is in another repository.
#[tokio::test]
async fn submodules_are_left_out_where_that_is_asked_for() {
    let (node, format) = (node().await, ObjectFormat::Sha1);
    let file = blob(b"here");
    let id = format.hash(&file).unwrap();
    let mut tree = TreeBuilder::new(format).entry(Mode::FILE, "file", id);
    tree.push(Mode::SUBMODULE, "sub", format.hash(b"elsewhere").unwrap());
    let tree = tree.build().unwrap();
    let root = cid_of(&format.hash(&tree).unwrap());
    for (cid, bytes) in [(cid_of(&id), file), (root, tree)] {
        let block = Block::verify(cid, bytes.into(), node.hashes()).unwrap();
        node.blocks().put(block).await.unwrap();
    }
    assert!(matches!(node.pins().add(root).await, Err(Error::Incomplete { count: 1, .. })));
    let pin = node.pins().add(root).follow(Follow::WithoutSubmodules).await.unwrap();
    assert_eq!(pin.mode, PinMode::Recursive(Follow::WithoutSubmodules));
    node.pins().verify().one(&pin).await.unwrap();
    node.gc().collect().await.unwrap();
    assert!(node.blocks().has(&cid_of(&id)).await.unwrap());
}

/// Stores small state, and lets somebody else come first in the next commit.
#[derive(Debug, Default)]
struct Meddled {
    datastore: MemoryDatastore,
    first: Mutex<Option<Batch>>,
}

#[async_trait]
impl Datastore for Meddled {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.datastore.get(key).await
    }
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        self.datastore.scan(prefix)
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            assert!(self.datastore.commit(first).await?);
        }
        self.datastore.commit(batch).await
    }
}

impl Meddled {
    async fn node(self: &Arc<Self>) -> Node {
        let node = Node::builder().offline().datastore(self.clone() as Arc<dyn Datastore>);
        node.spawn().await.unwrap()
    }

    /// The records of all pins.
    async fn records(&self) -> Vec<(Bytes, Bytes)> {
        self.datastore.scan(b"pin/").try_collect::<Vec<_>>().await.unwrap().concat()
    }

    fn comes_first(&self, batch: Batch) {
        *self.first.lock().unwrap() = Some(batch);
    }
}

#[tokio::test]
async fn an_update_whose_old_pin_goes_in_the_last_moment_pins_nothing() {
    let meddled = Arc::new(Meddled::default());
    let node = meddled.node().await;
    let (old, new) = (number(&node, 1).await, number(&node, 2).await);
    node.pins().add(old).await.unwrap();
    let (key, _) = meddled.records().await.remove(0);
    for new in [new, old] {
        let record = meddled.records().await;
        meddled.comes_first(Batch::new().delete(key.clone()));
        let update = node.pins().update(&old, new).name("new").await;
        assert!(matches!(update, Err(Error::NotPinned(of)) if of == old), "{update:?}");
        assert_eq!(meddled.records().await, []);
        let back =
            record.into_iter().fold(Batch::new(), |batch, (key, value)| batch.put(key, value));
        meddled.datastore.commit(back).await.unwrap();
    }
}

#[tokio::test]
async fn a_direct_pin_does_not_take_the_place_of_a_recursive_one_in_the_last_moment() {
    let meddled = Arc::new(Meddled::default());
    let node = meddled.node().await;
    let root = number(&node, 1).await;
    let pin = node.pins().add(root).await.unwrap();
    let (key, record) = meddled.records().await.remove(0);
    node.pins().remove(&root).await.unwrap();
    meddled.comes_first(Batch::new().put(key, record));
    assert!(matches!(node.pins().add(root).direct().await, Err(Error::Exists(_))));
    assert_eq!(node.pins().get(&root).await.unwrap(), Some(pin));
}

/// While the new root of an update was brought, the old one got another name: then the update said
/// that it was not pinned, though it was.
#[tokio::test]
async fn an_update_takes_the_old_pin_as_it_is_at_the_end() {
    let meddled = Arc::new(Meddled::default());
    let node = meddled.node().await;
    let (old, new) = (number(&node, 1).await, number(&node, 2).await);
    node.pins().add(old).name("meanwhile").await.unwrap();
    let (key, record) = meddled.records().await.remove(0);
    node.pins().add(old).name("before").await.unwrap();
    meddled.comes_first(Batch::new().put(key, record));
    let pin = node.pins().update(&old, new).await.unwrap();
    assert_eq!((pin.cid, pin.name.as_deref()), (new, Some("meanwhile")));
    assert_eq!(node.pins().get(&old).await.unwrap(), None);
}

/// The bound of metadata held for what a call gave, and not for that with what the old pin had: it
/// grew without end, update by update.
#[tokio::test]
async fn an_update_does_not_make_metadata_longer_than_it_may_be() {
    let node = node().await;
    let (old, new) = (number(&node, 1).await, number(&node, 2).await);
    let half = "x".repeat(Pins::MAX_METADATA / 2);
    node.pins().add(old).metadata("a", &half).await.unwrap();
    let longer = node.pins().update(&old, new).metadata("b", &half).await;
    assert!(matches!(longer, Err(Error::Limit { .. })), "{longer:?}");
    assert!(node.pins().get(&old).await.unwrap().is_some());
    node.pins().update(&old, new).metadata("a", &half).await.unwrap();
}

/// A direct pin of a block that its CID holds was looked for in the store, and missing.
#[tokio::test]
async fn a_block_that_its_cid_holds_is_never_missing() {
    let node = node().await;
    let inline: Cid = "bafkqac3imvwgy3zao5xxe3de".parse().unwrap();
    let pin = node.pins().add(inline).direct().await.unwrap();
    node.pins().verify().one(&pin).await.unwrap();
    node.pins().verify().hashing().one(&pin).await.unwrap();
}

/// A store in memory that loses one block when it was read.
#[derive(Debug, Default)]
struct Vanishing {
    store: MemoryStore,
    vanishes: Mutex<Option<Cid>>,
}

#[async_trait]
impl Blockstore for Vanishing {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let found = self.store.get_many(cids).await;
        let vanishes = self.vanishes.lock().unwrap().take_if(|cid| cids.contains(cid));
        self.store.delete_many(vanishes.as_slice()).await.unwrap();
        found
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.store.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.store.list()
    }
    async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }
}

/// What was above a block went when it had been found: then blocks that were being read at that time
/// were not read again below other pins, and a block that was pinned by them could be deleted.
#[test]
fn a_root_that_goes_while_it_is_looked_at_hides_no_other() {
    let runtime = VirtualRuntime::new();
    let play = async {
        let store = Arc::new(Vanishing::default());
        let node = Node::builder().offline().runtime(runtime.clone());
        let node = node.store(store.clone() as Arc<dyn Blockstore>).spawn().await.unwrap();
        let leaf = number(&node, 1).await;
        let (a, b) = (list(&node, &[leaf]).await, list(&node, &[leaf, leaf]).await);
        let (goes, stays) = (list(&node, &[a, b]).await, list(&node, &[b]).await);
        node.pins().add(stays).await.unwrap();
        let kept = node.pins().temporary(&goes);
        *store.vanishes.lock().unwrap() = Some(goes);
        let refused = node.blocks().delete(&leaf).await;
        assert!(matches!(&refused, Err(Error::Pinned { by, .. }) if **by == stays), "{refused:?}");
        drop(kept);
    };
    runtime.block_on(play).unwrap();
}
