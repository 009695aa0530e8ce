//! A router of one's own, in `folder.rs`, against `ipfs-traits` alone: it keeps what the contract of
//! routers promises, and by it a node finds another one that has a file.
//!
//! `cargo run --release --example custom_router`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod folder;

use std::{error::Error, path::Path, sync::Arc};

use folder::Folder;
use futures::AsyncReadExt;
use ipfs_core::{
    CodecTable, HashTable, Node, Parts, Result, Routing, TokioRuntime, conformance,
    memory::{MemoryHub, peer_id},
    recipe,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let empty = tempfile::tempdir()?;
    conformance::routing(|| async { alone(empty.path()) }).await?;
    println!("It keeps the promises of a router.");

    let shared = tempfile::tempdir()?;
    let (a, b) = (node(shared.path()).await?, node(shared.path()).await?);
    let added = a.unixfs().add_bytes(vec![7; 10_000_000]).await?;
    a.provide([added.cid]).await?;
    assert!(b.peers().await.is_empty());
    let mut found = Vec::new();
    b.unixfs().open(&added.cid).await?.read_to_end(&mut found).await?;
    assert!(found == vec![7; 10_000_000]);
    println!("By it a node has found who has {}: {} bytes.", added.cid, found.len());
    b.close().await?;
    a.close().await?;
    Ok(())
}

/// A node that finds others by what stands in the folder.
async fn node(folder: &Path) -> Result<Node> {
    let folder = folder.to_owned();
    let build = |parts| async { Ok(Arc::new(Folder(folder, parts)) as Arc<dyn Routing>) };
    let local = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    Node::builder().routing(recipe(build)).listen([local]).spawn().await
}

/// The router alone, of a peer that nobody can reach.
fn alone(folder: &Path) -> Result<Folder> {
    let (runtime, codecs) = (Arc::new(TokioRuntime::current()?), Arc::new(CodecTable::new()));
    let mut parts = Parts::new(runtime, HashTable::standard(), codecs, peer_id(1));
    parts.set_network(Arc::new(MemoryHub::new().join(peer_id(1))?));
    Ok(Folder(folder.to_owned(), parts))
}
