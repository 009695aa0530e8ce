//! A site under a name that stays while the site changes: one node publishes it and updates it twice,
//! another one follows the name and reads the page below it.
//!
//! The two nodes run here, look for each other in the local network, and are a DHT of their own; no
//! service outside is needed.
//!
//! `cargo run --release --example names`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::{error::Error, time::Duration};

use futures::{AsyncReadExt, StreamExt};
use ipfs_core::{
    DhtOptions, Node, PeerId,
    identity::KeyType,
    network::{self, Event, Protocol},
    routing::{
        dht::{self, Scope},
        names::{PublishOptions, Resolution},
    },
};
use tokio::time::{sleep, timeout};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The most that all of this may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the nodes look for each other before one of them is told where the other is.
const LOOKING: Duration = Duration::from_secs(5);
/// How long a reader may take what it has found for the newest.
const TTL: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<()> {
    let late = |_| format!("it was not done within {} s", LONGEST.as_secs());
    timeout(LONGEST, run()).await.map_err(late)?
}

async fn run() -> Result<()> {
    let (author, reader) = (node().await?, node().await?);
    meet(&author, &reader).await?;

    let name = author.keys().generate("site", KeyType::Ed25519).await?.ipns_name()?;
    let path = format!("/ipns/{name}");
    println!("The site is {path}");
    let mut options = PublishOptions::default();
    options.ttl = Some(TTL);

    let mut site = author.unixfs().add_entries(futures::stream::empty()).await?.cid;
    let mut seen = None;
    for text in ["Soon here: a site.", "The site is here.", "The site is even better."] {
        let page = author.unixfs().add_bytes(text).await?;
        let index = format!("/ipfs/{site}/index.html");
        site = author.unixfs().add_link(index, &page.cid, false).await?.cid;
        author.names().publish_with("site", site, options.clone()).await?;

        let change = change(&reader, &path, seen.as_deref()).await?;
        let mut read = String::new();
        let page = reader.unixfs().open(format!("{path}/index.html")).await?;
        page.take(1 << 20).read_to_string(&mut read).await?;
        let version = change.record.as_ref().map_or(0, |record| record.sequence());
        println!("Version {version}, {}: {read:?}", change.path);
        if read != text {
            return Err(format!("the author wrote {text:?}").into());
        }
        seen = Some(change.path);
    }
    reader.close().await?;
    author.close().await?;
    Ok(())
}

/// A node that looks for others in the local network, and is in the DHT of this example with them.
async fn node() -> Result<Node> {
    // With `DhtOptions::default()` it would be in those of all IPFS nodes, here and in the world.
    let mut dht = dht::Options::new(Scope::Any);
    dht.protocol = Protocol::from_static("/example/names/kad/1.0.0");
    let mut host = network::Options::default();
    host.mdns = true;
    Ok(Node::builder().dht(DhtOptions::only(dht)).libp2p(host).spawn().await?)
}

/// Waits until two nodes know each other.
async fn meet(author: &Node, reader: &Node) -> Result<()> {
    if timeout(LOOKING, connected(author, reader.peer_id())).await.is_ok() {
        println!("The nodes have found each other by mDNS.");
    } else {
        println!("There is no mDNS here: the reader is told where the author is.");
        reader.connect(author.addresses()).await?;
    }
    for node in [author, reader] {
        node.dhts().lan.as_ref().ok_or("the node is in no DHT")?.ready().await;
    }
    Ok(())
}

async fn connected(node: &Node, peer: PeerId) {
    let here = async |event| match event {
        Event::Snapshot(now) => now.peers.iter().any(|state| state.peer == peer),
        event => event == Event::Connected(peer),
    };
    node.network().events().any(here).await;
}

/// What a path leads to, as soon as that is something else than `seen`.
async fn change(node: &Node, path: &str, seen: Option<&str>) -> Result<Resolution> {
    loop {
        let now = node.names().plain().resolve_one(path).await?;
        if seen != Some(now.path.as_str()) {
            return Ok(now);
        }
        // Until then it would be answered from memory.
        sleep(now.ttl).await;
    }
}
