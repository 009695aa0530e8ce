//! What comes at just the wrong moment of a collection.

use std::{
    fmt::Debug,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    StreamExt, TryStreamExt,
    channel::oneshot,
    future, poll,
    stream::{self, BoxStream},
};
use ipfs_core::{
    Batch, Block, Blockstore, Bytes, Cid, Datastore, Ipld, Multihash, Node, Result, async_trait,
    codes,
    memory::{MemoryDatastore, MemoryStore},
    unixfs::{Chunker, Params},
};

use super::raw;
use crate::content;

/// Lets the first who comes wait, if it is closed, until it is opened.
#[derive(Debug, Default)]
struct Gate {
    is_closed: AtomicBool,
    waiting: Mutex<Option<oneshot::Sender<()>>>,
}

impl Gate {
    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        drop(self.waiting.lock().unwrap().take());
    }

    async fn pass(&self) {
        if self.is_closed.swap(false, Ordering::SeqCst) {
            let (opened, wait) = oneshot::channel();
            *self.waiting.lock().unwrap() = Some(opened);
            let _ = wait.await;
        }
    }

    /// Polls work until somebody waits here.
    async fn meets<T: Debug>(&self, work: &mut (impl Future<Output = T> + Unpin)) {
        while self.waiting.lock().unwrap().is_none() {
            let early = poll!(&mut *work);
            assert!(early.is_pending(), "{early:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// Stores that can be made to wait.
#[derive(Clone, Debug, Default)]
struct Gated {
    store: Arc<MemoryStore>,
    datastore: Arc<MemoryDatastore>,
    /// After a put, before it returns.
    put: Arc<Gate>,
    /// Before the first page of a listing.
    list: Arc<Gate>,
    /// After a deletion, before it returns.
    delete: Arc<Gate>,
    /// Before a commit, which goes on by itself as a file does.
    commit: Arc<Gate>,
    /// At the end of a scan.
    scanned: Arc<Gate>,
}

impl Gated {
    async fn node(&self) -> Node {
        let node = Node::builder().offline().store(Arc::new(self.clone()) as Arc<dyn Blockstore>);
        node.datastore(Arc::new(self.clone()) as Arc<dyn Datastore>).spawn().await.unwrap()
    }
}

#[async_trait]
impl Blockstore for Gated {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.store.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.store.put_many(blocks).await?;
        self.put.pass().await;
        Ok(())
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.store.delete_many(cids).await?;
        self.delete.pass().await;
        Ok(())
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let this = self.clone();
        let pages = async move {
            this.list.pass().await;
            this.store.list()
        };
        stream::once(pages).flatten().boxed()
    }
    async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }
    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

#[async_trait]
impl Datastore for Gated {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.datastore.get(key).await
    }
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        let scanned = self.scanned.clone();
        let end = stream::once(async move { scanned.pass().await });
        let end = end.filter_map(|()| future::ready(None));
        self.datastore.scan(prefix).chain(end).boxed()
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        let this = self.clone();
        let committing = tokio::spawn(async move {
            this.commit.pass().await;
            this.datastore.commit(batch).await
        });
        committing.await.unwrap()
    }
    async fn close(&self) -> Result<()> {
        self.datastore.close().await
    }
}

/// A root and what it links to.
async fn small(node: &Node) -> (Cid, Block) {
    let leaf = raw(node, 1);
    node.blocks().put(leaf.clone()).await.unwrap();
    let root = Ipld::List(vec![Ipld::Link(*leaf.cid())]);
    (node.dag().put(&root).await.unwrap(), leaf)
}

/// A temporary pin that was made when a collection had marked what is kept was not looked at by it:
/// what it should keep went.
#[tokio::test]
async fn a_temporary_pin_that_comes_while_garbage_goes_keeps_too() {
    let gated = Gated::default();
    let node = gated.node().await;
    let params = Params { chunker: Chunker::fixed(100).unwrap(), ..Params::default() };
    let mut files = Vec::new();
    for number in 0..3 {
        let adding = node.unixfs().params(params.clone()).add_bytes(content::bytes(number, 300));
        files.push(adding.await.unwrap().cid);
    }
    gated.list.close();
    let mut collecting = node.gc().collect().start();
    gated.list.meets(&mut collecting).await;
    let kept = node.pins().temporary(&files[0]);
    // What it keeps is then kept by the tree, of which the collection has seen nothing.
    let passing = node.pins().temporary(&files[1]);
    let tree = node.mfs().await.unwrap();
    tree.put("/file", &files[1]).await.unwrap();
    tree.flush().await.unwrap();
    drop((tree, passing));
    gated.list.open();
    assert_eq!(collecting.await.unwrap().deleted_blocks, 4);
    for file in &files[..2] {
        let all: Vec<_> = node.dag().walk(file).try_collect().await.unwrap();
        assert_eq!(all.len(), 4);
    }
    drop(kept);
    assert_eq!(node.gc().collect().await.unwrap().deleted_blocks, 4);
}

/// The same where there is so much garbage that a part of it is looked at while another one goes.
#[tokio::test]
async fn a_temporary_pin_that_comes_keeps_in_every_batch() {
    let gated = Gated::default();
    let node = gated.node().await;
    let block = |number: u32| {
        let data = number.to_le_bytes().to_vec();
        Block::of(codes::RAW, codes::SHA2_256, data, node.hashes()).unwrap()
    };
    let blocks: Vec<Block> = (0..20_000).map(block).collect();
    node.blocks().put_many(&blocks).await.unwrap();
    let some = blocks.iter().step_by(200).map(|block| Ipld::Link(*block.cid()));
    let root = node.dag().put(&Ipld::List(some.collect())).await.unwrap();
    gated.list.close();
    let mut collecting = node.gc().collect().start();
    gated.list.meets(&mut collecting).await;
    let kept = node.pins().temporary(&root);
    gated.list.open();
    let collected = collecting.await.unwrap();
    assert_eq!((collected.kept_blocks, collected.deleted_blocks), (101, 19_900));
    drop(kept);
}

/// Whoever gave up waiting for a pin whose commit was under way took with it what kept the blocks
/// until then: a collection that had read the pins before the commit was done deleted them, and the
/// pin was there without its blocks.
#[tokio::test]
async fn a_pin_that_is_given_up_while_it_is_committed_is_whole() {
    let gated = Gated::default();
    let node = gated.node().await;
    let (root, _) = small(&node).await;
    gated.commit.close();
    let mut pinning = node.pins().add(root).start();
    gated.commit.meets(&mut pinning).await;
    drop(pinning);
    node.gc().collect().await.unwrap();
    gated.commit.open();
    let pin = loop {
        match node.pins().get(&root).await.unwrap() {
            Some(pin) => break pin,
            None => tokio::task::yield_now().await,
        }
    };
    node.pins().verify().one(&pin).await.unwrap();
}

#[tokio::test]
async fn a_pin_that_comes_while_the_pins_are_read_is_whole() {
    let gated = Gated::default();
    let node = gated.node().await;
    let (root, _) = small(&node).await;
    gated.commit.close();
    let mut pinning = node.pins().add(root).start();
    gated.commit.meets(&mut pinning).await;
    gated.scanned.close();
    let mut collecting = node.gc().collect().start();
    gated.scanned.meets(&mut collecting).await;
    // Between the end of the pins and what is read after it.
    gated.commit.open();
    let pin = pinning.await.unwrap();
    gated.scanned.open();
    assert_eq!(collecting.await.unwrap().deleted_blocks, 0);
    node.pins().verify().one(&pin).await.unwrap();
}

#[tokio::test]
async fn a_put_that_ends_after_its_block_was_collected_puts_it_again() {
    let gated = Gated::default();
    let node = gated.node().await;
    let (blocks, block) = (node.blocks(), raw(&node, 1));
    gated.put.close();
    let mut put = Box::pin(blocks.put(block.clone()));
    gated.put.meets(&mut put).await;
    gated.delete.close();
    let mut collecting = node.gc().collect().start();
    gated.delete.meets(&mut collecting).await;
    assert!(gated.store.sizes(&[*block.cid()]).await.unwrap()[0].is_none());
    gated.put.open();
    assert!(poll!(&mut put).is_pending(), "it waits for the deletion");
    gated.delete.open();
    put.await.unwrap();
    assert_eq!(collecting.await.unwrap().deleted_blocks, 1);
    assert!(blocks.has(block.cid()).await.unwrap());
}
