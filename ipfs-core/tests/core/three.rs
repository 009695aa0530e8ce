//! Three nodes in one process, over a network without sockets.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
};

use futures::{AsyncReadExt, StreamExt, poll};
use ipfs_core::{
    Exchange, Node, Parts, Result, VirtualRuntime,
    bitswap::{Bitswap, Options},
    memory::{MemoryHub, peer_id},
    recipe,
};

use crate::content;

/// A node, and its bitswap to look at. Time is virtual: how long a peer takes to answer, and so who is
/// asked, does not depend on the machine.
pub(crate) async fn join(hub: &MemoryHub, runtime: &VirtualRuntime, n: u64) -> (Node, Bitswap) {
    let kept = Arc::new(OnceLock::new());
    let keep = kept.clone();
    let bitswap = recipe(move |parts: Parts| async move {
        let bitswap = Bitswap::spawn(&parts, Options::default())?;
        keep.set(bitswap.clone()).unwrap();
        Result::Ok(Arc::new(bitswap) as Arc<dyn Exchange>)
    });
    let network = hub.join(peer_id(n)).unwrap();
    let node = Node::builder().runtime(runtime.clone()).network(network).exchange(bitswap);
    let node = node.spawn().await.unwrap();
    let bitswap = kept.get().unwrap().clone();
    (node, bitswap)
}

#[test]
fn two_serve_one_and_one_of_them_stops_halfway() {
    let runtime = VirtualRuntime::new();
    runtime.block_on(two_serve_one(&runtime)).unwrap();
}

async fn two_serve_one(runtime: &VirtualRuntime) {
    const SIZE: usize = 100 << 20;
    let hub = MemoryHub::new();
    let ((a, at_a), (b, at_b), (c, at_c)) =
        (join(&hub, runtime, 1).await, join(&hub, runtime, 2).await, join(&hub, runtime, 3).await);
    let data = content::bytes(5, SIZE);
    let added = a.unixfs().add_bytes(data.clone()).await.unwrap();
    assert_eq!(b.unixfs().add_bytes(data.clone()).await.unwrap().cid, added.cid);
    for node in [&a, &b] {
        c.connect(node.peer_id()).await.unwrap();
    }

    let mut file = c.unixfs().open(&added.cid).await.unwrap();
    let mut found = vec![0; SIZE];
    let (half, rest) = found.split_at_mut(SIZE / 2);
    file.read_exact(half).await.unwrap();
    assert!(at_a.stats().blocks_sent > 5, "{:?}", at_a.stats());
    assert!(at_b.stats().blocks_sent > 5, "{:?}", at_b.stats());
    a.close().await.unwrap();
    file.read_exact(rest).await.unwrap();
    assert_eq!(file.read(&mut [0]).await.unwrap(), 0, "the end");
    assert!(found == data);
    assert_eq!(at_c.stats().unwanted, 0);

    // What was fetched is c's own now: it reads on without anyone.
    b.close().await.unwrap();
    let blocks = c.dag().walk(&added.cid).map(|block| block.unwrap().len()).collect::<Vec<_>>();
    assert_eq!(blocks.await.len(), 101);
}

/// What is put is sent to those who wait for it already.
#[test]
fn a_want_is_served_when_the_block_comes() {
    let runtime = VirtualRuntime::new();
    runtime.block_on(a_want_that_waits(&runtime)).unwrap();
}

async fn a_want_that_waits(runtime: &VirtualRuntime) {
    let hub = MemoryHub::new();
    let ((a, _), (b, _)) = (join(&hub, runtime, 1).await, join(&hub, runtime, 2).await);
    b.connect(a.peer_id()).await.unwrap();
    let data = content::bytes(6, 1000);
    let block =
        ipfs_core::Block::of(ipfs_core::codes::RAW, ipfs_core::codes::SHA2_256, data, a.hashes());
    let block = block.unwrap();
    let blocks = b.blocks();
    let mut waiting = pin!(blocks.get(block.cid()));
    assert!(poll!(&mut waiting).is_pending());
    a.blocks().put(block.clone()).await.unwrap();
    assert_eq!(waiting.await.unwrap(), block);
    assert!(b.blocks().has(block.cid()).await.unwrap());
}
