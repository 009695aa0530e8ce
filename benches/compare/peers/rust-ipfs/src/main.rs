//! One job of rust-ipfs as a whole process, with the settings that its users get by default.
//!
//! `add memory|FOLDER PATH`, `cat FOLDER CID`. A store is in memory, or in a folder. Of a directory
//! the files are added one after the other: it has no call for a tree, so that no directory is made.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use rust_ipfs::{Ipfs, IpfsPath, builder::DefaultIpfsBuilder};
use tokio::io::AsyncWriteExt;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["add", store, path] => add(store, path.as_ref()).await,
        ["cat", store, cid] => cat(store, cid).await,
        _ => bail!("add memory|FOLDER PATH | cat FOLDER CID"),
    }
}

async fn open(store: &str) -> Result<Ipfs> {
    let builder = DefaultIpfsBuilder::new();
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
