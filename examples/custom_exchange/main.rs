//! An exchange of one's own, in `ask.rs`, against `ipfs-traits` alone: it keeps what the contract of
//! exchanges promises, and joins two nodes.
//!
//! `cargo run --release --example custom_exchange`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod ask;

use std::{error::Error, sync::Arc};

use ask::Ask;
use futures::AsyncReadExt;
use ipfs_core::{
    Block, Blockstore, CodecTable, Exchange, HashTable, Network, Node, Parts, Result, TokioRuntime,
    conformance,
    memory::{MemoryHub, MemoryStore, peer_id},
    recipe,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    conformance::exchange(asking_one_that_has).await?;
    println!("It keeps the promises of an exchange.");

    let node = || {
        let exchange = recipe(|parts: Parts| async move {
            Ok(Arc::new(Ask::spawn(&parts)?) as Arc<dyn Exchange>)
        });
        let local = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        Node::builder().exchange(exchange).listen([local]).spawn()
    };
    let (a, b) = (node().await?, node().await?);
    let added = a.unixfs().add_bytes(vec![7; 10_000_000]).await?;
    b.connect(a.addresses()).await?;
    let mut found = Vec::new();
    b.unixfs().open(&added.cid).await?.read_to_end(&mut found).await?;
    assert!(found == vec![7; 10_000_000]);
    println!("Two nodes are joined by it: {} bytes of {}.", found.len(), added.cid);
    b.close().await?;
    a.close().await?;
    Ok(())
}

/// An exchange connected to another one, which has these blocks.
async fn asking_one_that_has(blocks: Vec<Block>) -> Result<Asking> {
    let hub = MemoryHub::new();
    let (asks, has) = (parts(&hub, 1)?, parts(&hub, 2)?);
    has.store()?.put_many(&blocks).await?;
    asks.network()?.connect(&peer_id(2).into()).await?;
    Ok(Asking(Ask::spawn(&asks)?, Ask::spawn(&has)?))
}

fn parts(hub: &MemoryHub, n: u64) -> Result<Parts> {
    let runtime = Arc::new(TokioRuntime::current()?);
    let codecs = Arc::new(CodecTable::new());
    let mut parts = Parts::new(runtime, HashTable::standard(), codecs, peer_id(n));
    parts.set_store(Arc::new(MemoryStore::new()));
    parts.set_network(Arc::new(hub.join(peer_id(n))?) as Arc<dyn Network>);
    Ok(parts)
}

/// The one that asks, and with it the other one, which must live as long.
#[derive(Debug)]
struct Asking(Ask, #[expect(dead_code, reason = "it serves as long as it lives")] Ask);

impl Exchange for Asking {
    fn session(&self, root: Option<&ipfs_core::Cid>) -> Arc<dyn ipfs_core::Session> {
        self.0.session(root)
    }
}
