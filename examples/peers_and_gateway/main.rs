//! Three peers that each have a part of a file, and a gateway that has all of it: a node fetches from
//! all of them, peers first, and says who gave what.
//!
//! `cargo run --release --example peers_and_gateway`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod gateway;

use std::{error::Error, io, io::Write, sync::Arc, time::Duration};

use futures::{AsyncReadExt, TryStreamExt};
use ipfs_core::{
    AddressFilter, Block, Builder, FetchProgress, Fetching, Giver, Node, ReqwestClient,
    SessionStats,
    bitswap::{Bitswap, Combined, HttpExchange, Options, http},
    http_client,
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const PEERS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    // A file of some 50 blocks. Of each five, every peer has one, and only the gateway the other two.
    let file = noise(50_000_000);
    let origin = Node::builder().offline().spawn().await?;
    let added = origin.unixfs().add_bytes(file.clone()).await?;
    let blocks: Vec<Block> = origin.dag().walk(&added.cid).try_collect().await?;
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let peer = local().spawn().await?;
        let some: Vec<Block> = blocks.iter().skip(number).step_by(PEERS + 2).cloned().collect();
        peer.blocks().put_many(&some).await?;
        peers.push(peer);
    }
    let url = format!("http://{}", gateway::serve(origin.store()).await?);

    // Peers first; the gateway for what they have not given after half a second.
    let mut options = http_client::Options::default();
    options.filter = AddressFilter::Any; // the gateway is on this host, which is refused otherwise
    let client = Arc::new(ReqwestClient::new(options)?);
    let gateway = HttpExchange::recipe(client, [url], http::Options::default());
    let exchange = Combined::first(Bitswap::recipe(Options::default()))
        .after(Duration::from_millis(500), gateway);
    let node = local().exchange(exchange).spawn().await?;
    for peer in &peers {
        node.connect(peer.addresses()).await?;
    }

    let fetched = watch(node.fetch(added.cid).start(), file.len()).await?;
    println!("{} blocks of {}, from:", fetched.fetched_blocks, added.cid);
    report(&fetched.stats, &peers);

    let mut read = Vec::new();
    node.unixfs().open(&added.cid).await?.read_to_end(&mut read).await?;
    assert!(read == file, "the file is another one");
    for node in peers.iter().chain([&node, &origin]) {
        node.close().await?;
    }
    Ok(())
}

/// A node that others in this process can reach.
fn local() -> Builder {
    Node::builder().listen(["/ip4/127.0.0.1/tcp/0".parse().expect("an address")])
}

/// Shows how far it is, until it is done.
async fn watch(mut fetching: Fetching, total: usize) -> Result<ipfs_core::Fetched> {
    while let Some(FetchProgress { fetched_bytes, rate, session, .. }) = fetching.next().await {
        let tenths = (fetched_bytes * 30 / total as u64).min(30) as usize;
        let gave = session.givers.iter().filter(|giver| giver.blocks > 0).count();
        let speed = rate as f64 / 1e6;
        print!("\r[{:<30}] {speed:6.1} MB/s from {gave}", "#".repeat(tenths));
        io::stdout().flush()?;
    }
    println!();
    Ok(fetching.await?)
}

/// Who gave what.
fn report(stats: &SessionStats, peers: &[Node]) {
    for giver in &stats.givers {
        let name = match &giver.giver {
            Giver::Peer(id) => match peers.iter().position(|peer| peer.peer_id() == *id) {
                Some(number) => format!("peer {}", number + 1),
                None => id.to_string(),
            },
            other => format!("gateway {other}"),
        };
        let (blocks, megabytes) = (giver.blocks, giver.bytes as f64 / 1e6);
        let latency = giver.latency.unwrap_or_default().as_secs_f64() * 1e3;
        println!("  {name:<30} {blocks:4} blocks {megabytes:6.1} MB  answers in {latency:.1} ms");
    }
}

/// Bytes that repeat nowhere, so that no two blocks are the same.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(count).collect()
}
