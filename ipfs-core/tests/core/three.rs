//! Three nodes in one process, over a network without sockets.

use std::sync::{Arc, OnceLock};

use futures::{AsyncReadExt, StreamExt};
use ipfs_core::{
    Exchange, Node, Parts, Result,
    bitswap::{Bitswap, Options},
    memory::{MemoryHub, peer_id},
    recipe,
};

use crate::content;

/// A node, and its bitswap to look at.
async fn join(hub: &MemoryHub, n: u64) -> (Node, Bitswap) {
    let kept = Arc::new(OnceLock::new());
    let keep = kept.clone();
    let bitswap = recipe(move |parts: Parts| async move {
        let bitswap = Bitswap::spawn(&parts, Options::default())?;
        keep.set(bitswap.clone()).unwrap();
        Result::Ok(Arc::new(bitswap) as Arc<dyn Exchange>)
    });
    let network = hub.join(peer_id(n)).unwrap();
    let node = Node::builder().network(network).exchange(bitswap).spawn().await.unwrap();
    let bitswap = kept.get().unwrap().clone();
    (node, bitswap)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_serve_one_and_one_of_them_stops_halfway() {
    const SIZE: usize = 100 << 20;
    let hub = MemoryHub::new();
    let ((a, at_a), (b, at_b), (c, at_c)) =
        (join(&hub, 1).await, join(&hub, 2).await, join(&hub, 3).await);
    let data = content::bytes(5, SIZE);
    let added = a.unixfs().add_bytes(data.clone()).await.unwrap();
    assert_eq!(b.unixfs().add_bytes(data.clone()).await.unwrap().cid, added.cid);
    for node in [&a, &b] {
        c.connect(node.peer_id()).await.unwrap();
    }

    let mut file = c.unixfs().open(&added.cid).await.unwrap();
    let mut found = vec![0; SIZE / 2];
    file.read_exact(&mut found).await.unwrap();
    assert!(at_a.stats().blocks_sent > 0, "{:?}", at_a.stats());
    assert!(at_b.stats().blocks_sent > 0, "{:?}", at_b.stats());
    a.close().await.unwrap();
    file.read_to_end(&mut found).await.unwrap();
    assert!(found == data);
    // What both of them sent, because the one was slow or gone: how much that may be is tested on a
    // virtual clock, for here it depends on the machine.
    let stats = at_c.stats();
    assert!(stats.unwanted < stats.blocks_received / 2, "{stats:?}");

    // What was fetched is c's own now: it reads on without anyone.
    b.close().await.unwrap();
    let blocks = c.dag().walk(&added.cid).map(|block| block.unwrap().len()).collect::<Vec<_>>();
    assert_eq!(blocks.await.len(), 101);
}

/// What is put is sent to those who wait for it already.
#[tokio::test(flavor = "multi_thread")]
async fn a_want_is_served_when_the_block_comes() {
    let hub = MemoryHub::new();
    let ((a, _), (b, _)) = (join(&hub, 1).await, join(&hub, 2).await);
    b.connect(a.peer_id()).await.unwrap();
    let data = content::bytes(6, 1000);
    let block =
        ipfs_core::Block::of(ipfs_core::codes::RAW, ipfs_core::codes::SHA2_256, data, a.hashes());
    let block = block.unwrap();
    let waiting = tokio::spawn({
        let (blocks, cid) = (b.blocks(), *block.cid());
        async move { blocks.get(&cid).await }
    });
    a.blocks().put(block.clone()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), block);
    assert!(b.blocks().has(block.cid()).await.unwrap());
}
