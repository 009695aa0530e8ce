//! Peers that speak one version of bitswap and no other. `IPFS_BITSWAP_PEER` names their program.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use futures::future::join_all;
use ipfs_core::{
    Cid, Error, Ipld, Node,
    unixfs::{Chunker, Params},
};

use super::{Peer, blocks, named};
use crate::{
    content,
    network::{TCP, listening},
};

/// What Kubo spoke before version 1.2.0: here a peer cannot say that it lacks a block.
const OLDER: [&str; 3] = ["/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"];

/// Leaves of a peer's tree, above which are two more blocks, and bytes of each.
const LEAVES: u64 = 300;
const LEAF: usize = 10_000;

/// Has a peer make a tree of its own.
fn tree(peer: &mut Peer, seed: u64) -> Cid {
    peer.ask(&format!("put {LEAVES} {LEAF} {seed}")).parse().unwrap()
}

/// Adds a file as it was done when those versions were new: with CIDs of version 0.
async fn old_file(node: &Node, seed: u64) -> Cid {
    let params = Params { chunker: Chunker::Fixed(LEAF), ..Params::unixfs_v0_2015() };
    let bytes = content::bytes(seed, LEAF * LEAVES as usize);
    node.unixfs().params(params).add_bytes(bytes).await.unwrap().cid
}

/// Holds that both have the same blocks below a root.
async fn same(node: &Node, peer: &mut Peer, root: &Cid) -> u64 {
    let blocks = blocks(node, root).await;
    for block in &blocks {
        // What the peer says is a digest of SHA-256, which all of these have in their CIDs.
        let digest = HEXLOWER.encode(block.hash().digest());
        assert_eq!(peer.ask(&format!("block {}", block.cid())), digest);
    }
    blocks.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fetches_from_the_other_in_every_version() {
    let Some(program) = named("IPFS_BITSWAP_PEER") else { return };
    for version in ["/ipfs/bitswap/1.2.0"].into_iter().chain(OLDER) {
        let mut peer = Peer::start(&program, version);
        let root = tree(&mut peer, 1);
        let node = listening(TCP).await.unwrap();
        node.connect(&peer.address).await.unwrap();
        let fetched = node.fetch(root).await.unwrap();
        assert_eq!((fetched.blocks, fetched.fetched_blocks), (LEAVES + 2, LEAVES + 2));
        assert_eq!(fetched.stats.duplicates, 0, "{version}: {:?}", fetched.stats);
        assert_eq!(same(&node, &mut peer, &root).await, LEAVES + 2, "{version}");

        let other = listening(TCP).await.unwrap();
        let root = old_file(&other, 2).await;
        peer.ask(&format!("connect {}", other.addresses()[0]));
        let says = peer.ask(&format!("get {root}"));
        let count = same(&other, &mut peer, &root).await;
        assert!(says.starts_with(&format!("{count} ")), "{version}: {says}, {count} blocks");
    }
}

/// Two old peers each have a tree, and none has a third block: both trees come, and only that block
/// is missing.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_peer_lacks_keeps_nothing_from_coming() {
    let Some(program) = named("IPFS_BITSWAP_PEER") else { return };
    join_all(OLDER.map(|version| all_but_one(&program, version))).await;
}

async fn all_but_one(program: &Path, version: &str) {
    /// More than the 5 seconds for which a peer is believed to have what it does not give.
    const STALL: Duration = Duration::from_secs(8);
    let mut peers = [Peer::start(program, version), Peer::start(program, version)];
    let roots = [tree(&mut peers[0], 1), tree(&mut peers[1], 2)];
    let node = Node::builder().listen([]).spawn().await.unwrap();
    for peer in &peers {
        node.connect(&peer.address).await.unwrap();
    }
    let nobody = Node::builder().offline().spawn().await.unwrap();
    let absent = old_file(&nobody, 3).await;
    let links = [absent, roots[0], roots[1]].map(Ipld::Link);
    let root = node.dag().put(&Ipld::List(links.into())).await.unwrap();

    let began = Instant::now();
    match node.fetch(root).stall(STALL).await {
        Err(Error::Incomplete { count: 1, missing, .. }) => assert_eq!(missing[0].cid, absent),
        other => panic!("{version}: {other:?}"),
    }
    let took = began.elapsed() - STALL;
    println!("{version}: all but one block in {took:?}");
    assert!(took < 4 * STALL, "{version}: it took {took:?}");
    for (peer, root) in peers.iter_mut().zip(roots) {
        assert_eq!(node.fetch(root).await.unwrap().fetched_blocks, 0);
        assert_eq!(same(&node, peer, &root).await, LEAVES + 2, "{version}");
    }
}

/// An old peer fetches from two nodes, of which each lacks what the other has.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_peer_is_not_kept_waiting_by_what_a_node_lacks() {
    let Some(program) = named("IPFS_BITSWAP_PEER") else { return };
    for version in OLDER {
        halves(&program, version).await;
    }
}

async fn halves(program: &Path, version: &str) {
    let mut peer = Peer::start(program, version);
    let nodes = [listening(TCP).await.unwrap(), listening(TCP).await.unwrap()];
    let whole = Node::builder().offline().spawn().await.unwrap();
    let root = old_file(&whole, 4).await;
    for (n, block) in blocks(&whole, &root).await.into_iter().enumerate() {
        nodes[n % 2].blocks().put(block).await.unwrap();
    }
    for node in &nodes {
        peer.ask(&format!("connect {}", node.addresses()[0]));
    }
    peer.ask(&format!("get {root}"));
    assert!(same(&whole, &mut peer, &root).await > LEAVES, "{version}");
}
