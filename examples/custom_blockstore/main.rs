//! A store of one's own, in `cached.rs`, against `ipfs-traits` alone: it keeps what the contract of
//! stores promises, and a node keeps its blocks in it.
//!
//! `cargo run --release --example custom_blockstore`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod cached;

use std::{error::Error, sync::Arc};

use cached::Cached;
use futures::AsyncReadExt;
use ipfs_core::{Node, TokioRuntime, blockstore::FlatStore, conformance, memory::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // With room for little, so that the suite sees blocks come and go.
    conformance::blockstore(|| async { Ok(Cached::new(MemoryStore::new(), 10_000)) }).await?;
    println!("It keeps the promises of a store.");

    let folder = tempfile::tempdir()?;
    let flat = FlatStore::open(folder.path(), Arc::new(TokioRuntime::current()?)).await?;
    let node = Node::builder().store(Cached::new(flat, 64 << 20)).offline().spawn().await?;
    let added = node.unixfs().add_bytes("kept in a store of one's own").await?;
    let mut text = String::new();
    node.unixfs().open(&added.cid).await?.read_to_string(&mut text).await?;
    println!("{}: {text}", added.cid);
    node.close().await?;
    Ok(())
}
