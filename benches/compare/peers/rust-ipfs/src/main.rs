//! One job of rust-ipfs as a whole process, with the settings that its users get by default.
//!
//! `add memory|FOLDER PATH`, `cat FOLDER CID`, `serve memory|FOLDER FILE`, `fetch memory|FOLDER ADDRESS PATH`. A
//! store is in memory, or in a folder. Of a directory the files are added one after the other: it has no call for
//! a tree, so that no directory is made.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use rust_ipfs::{Ipfs, IpfsPath, Multiaddr, builder::DefaultIpfsBuilder};
use tokio::io::AsyncWriteExt;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["add", store, path] => add(store, path.as_ref()).await,
        ["cat", store, cid] => cat(store, cid).await,
        ["serve", store, path] => serve(store, path.as_ref()).await,
        ["fetch", store, address, path] => fetch(store, address.parse()?, path.parse()?).await,
        _ => bail!(
            "add memory|FOLDER PATH | cat FOLDER CID | serve memory|FOLDER FILE | \
             fetch memory|FOLDER ADDRESS PATH"
        ),
    }
}

async fn open(store: &str) -> Result<Ipfs> {
    start(DefaultIpfsBuilder::new(), store).await
}

/// With a network, as its examples have it.
async fn online(store: &str) -> Result<Ipfs> {
    let builder = DefaultIpfsBuilder::new().with_default().enable_tcp();
    start(builder.add_listening_addr("/ip4/127.0.0.1/tcp/0".parse()?), store).await
}

async fn start(builder: DefaultIpfsBuilder, store: &str) -> Result<Ipfs> {
    match store {
        "memory" => builder.start().await,
        folder => builder.set_path(folder).start().await,
    }
}

async fn add(store: &str, path: &Path) -> Result<()> {
    let ipfs = open(store).await?;
    let mut last = None;
    for file in files(path)? {
        last = Some(ipfs.add_unixfs(file).await?);
    }
    if let Some(path) = last {
        println!("{path}");
    }
    ipfs.exit_daemon().await;
    Ok(())
}

/// The file, or all files below the folder.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path)? {
        all.extend(files(&entry?.path())?);
    }
    Ok(all)
}

async fn cat(store: &str, cid: &str) -> Result<()> {
    let ipfs = open(store).await?;
    let path: IpfsPath = cid.parse()?;
    let mut stdout = tokio::io::stdout();
    let mut content = std::pin::pin!(ipfs.cat_unixfs(path));
    while let Some(bytes) = content.try_next().await? {
        stdout.write_all(&bytes).await?;
    }
    stdout.flush().await?;
    ipfs.exit_daemon().await;
    Ok(())
}

/// Adds a file, prints the address and the path, and serves until the standard input ends.
async fn serve(store: &str, path: &Path) -> Result<()> {
    let ipfs = online(store).await?;
    let added = ipfs.add_unixfs(path.to_owned()).await?;
    let listening = ipfs.listening_addresses().await?;
    let address = listening.first().context("it does not listen")?;
    let peer = ipfs.identity(None).await?.peer_id;
    println!("{address}/p2p/{peer} {added}");
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    ipfs.exit_daemon().await;
    println!("memory {}", memory()?);
    Ok(())
}

/// Fetches a file into the store. It is read: `fetch` waits for each block before it asks for the next.
async fn fetch(store: &str, address: Multiaddr, path: IpfsPath) -> Result<()> {
    let ipfs = online(store).await?;
    ipfs.connect(address).await?;
    let mut content = std::pin::pin!(ipfs.cat_unixfs(path));
    while content.try_next().await?.is_some() {}
    ipfs.exit_daemon().await;
    println!("memory {}", memory()?);
    Ok(())
}

fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.context("no VmHWM")?.trim().trim_end_matches(" kB").to_owned())
}
