//! Kubo's gateway, as the exchange of a node.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use futures::TryStreamExt;
use ipfs_core::{
    Block, Cid, Exchange, Giver, HashTable, HttpClient, Ipld, Node, Parts, Result, TokioRuntime,
    bitswap::{
        self, Bitswap, Combined, HttpExchange,
        http::{Options, Scope},
    },
    recipe,
};

use super::{Kubo, blocks, file, is_here, kubo_with, program};
use crate::{
    http::any,
    network::{TCP, listening},
};

const SIZE: usize = (20 << 20) + 7;

/// What stands before `/ipfs/` in the URLs of a running Kubo's gateway.
fn gateway(kubo: &Kubo) -> String {
    fs::read_to_string(kubo.repo().join("gateway")).unwrap()
}

fn client() -> Arc<dyn HttpClient> {
    Arc::new(any())
}

/// By single blocks, and as one archive.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_network_fetches_from_a_gateway() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = file(folder.path(), 1, SIZE);
    let (kubo, _daemon, cid) = kubo_with(&program, &source, &[]).await;
    let url = gateway(&kubo);
    let exchange = HttpExchange::recipe(client(), [&url], Options::default());
    let node = Node::builder().offline().exchange(exchange).spawn().await.unwrap();
    let fetched = node.fetch(cid).await.unwrap();
    let stats = &fetched.stats;
    assert_eq!((stats.blocks, stats.duplicates), (fetched.blocks, 0), "{stats:?}");
    assert_eq!(stats.givers.len(), 1);
    assert_eq!(stats.givers[0].giver, Giver::Url(url.as_str().into()));
    is_here(&node, &fetched, &source).await;

    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let hashes = HashTable::standard();
    let exchange = HttpExchange::new(runtime, client(), hashes, [&url], Options::default());
    let archive = exchange.unwrap().fetch_car(&cid, "", Scope::All);
    let archive: Vec<Block> = archive.try_collect().await.unwrap();
    let of = |blocks: &[Block]| blocks.iter().map(|block| *block.cid()).collect::<BTreeSet<Cid>>();
    assert_eq!(of(&archive), of(&blocks(&node, &cid).await));
}

/// How long peers are given before the gateway is asked.
const DELAY: Duration = Duration::from_secs(2);

/// A node that asks its peers first, and a gateway for what they do not give.
async fn both(url: String) -> Node {
    let exchange = recipe(move |parts: Parts| async move {
        let runtime = parts.runtime().clone();
        let peers = Bitswap::spawn(&parts, bitswap::Options::default())?;
        let hashes = parts.hashes().clone();
        let http = HttpExchange::new(runtime.clone(), client(), hashes, [url], Options::default())?;
        let peers: (Arc<dyn Exchange>, _) = (Arc::new(peers), DELAY);
        let combined = Combined::tiered(runtime, [peers, (Arc::new(http), Duration::ZERO)]);
        Result::Ok(Arc::new(combined) as Arc<dyn Exchange>)
    });
    Node::builder().listen([]).exchange(exchange).spawn().await.unwrap()
}

/// Blocks that peers gave, and those that a gateway gave.
fn given(fetched: &ipfs_core::Fetched) -> (u64, u64) {
    let sum = |is_url| {
        let of = fetched.stats.givers.iter();
        of.filter(|of| matches!(of.giver, Giver::Url(_)) == is_url).map(|of| of.blocks).sum()
    };
    (sum(false), sum(true))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gives_what_peers_do_not() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (file(folder.path(), 1, SIZE), file(folder.path(), 2, SIZE));
    let (kubo, _daemon, here) = kubo_with(&program, &first, &[]).await;
    let friend = listening(TCP).await.unwrap();
    let there = friend.unixfs().add_path(&second).await.unwrap().cid;
    let node = both(gateway(&kubo)).await;
    node.connect(friend.addresses()).await.unwrap();
    // Both files in one fetch.
    let links = Ipld::List(vec![Ipld::Link(here), Ipld::Link(there)]);
    let root = node.dag().put(&links).await.unwrap();
    let fetched = node.fetch(root).await.unwrap();
    let count = async |cid| blocks(&node, cid).await.len() as u64;
    assert_eq!(given(&fetched), (count(&there).await, count(&here).await), "{fetched:?}");
    for (cid, source) in [(here, first), (there, second)] {
        let fetched = node.fetch(cid).await.unwrap();
        assert_eq!(fetched.fetched_blocks, 0);
        is_here(&node, &fetched, &source).await;
    }

    // What the gateway has too comes from the peer all the same.
    let again = both(gateway(&kubo)).await;
    again.connect(&kubo.address("/tcp/").await).await.unwrap();
    let fetched = again.fetch(here).await.unwrap();
    assert_eq!(given(&fetched), (fetched.blocks, 0));
}
