//! One job of iroh-blobs as a whole process, with the settings that its users get by default, but for what
//! reaches out: no relay and no look-up of addresses, only 127.0.0.1.
//!
//! `serve FOLDER FILE` prints a ticket and serves until its standard input ends, `fetch FOLDER TICKET` fetches
//! the whole blob. A folder holds a store. At its end each prints the most memory it had, in kB.

use std::path::Path;

use anyhow::{Context, Result, bail};
use iroh::{Endpoint, RelayMode, endpoint::presets, protocol::Router};
use iroh_blobs::{ALPN, BlobsProtocol, store::fs::FsStore, ticket::BlobTicket};

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", folder, file] => serve(folder, file.as_ref()).await?,
        ["fetch", folder, ticket] => fetch(folder, ticket.parse()?).await?,
        _ => bail!("serve FOLDER FILE | fetch FOLDER TICKET"),
    }
    println!("memory {}", memory()?);
    Ok(())
}

async fn endpoint() -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled);
    Ok(builder.clear_ip_transports().bind_addr("127.0.0.1:0")?.bind().await?)
}

async fn serve(folder: &str, file: &Path) -> Result<()> {
    let store = FsStore::load(folder).await?;
    let tag = store.blobs().add_path(std::path::absolute(file)?).await?;
    let endpoint = endpoint().await?;
    let ticket = BlobTicket::new(endpoint.addr(), tag.hash, tag.format);
    let router = Router::builder(endpoint).accept(ALPN, BlobsProtocol::new(&store, None)).spawn();
    println!("{ticket}");
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    // It shuts down the store, too.
    router.shutdown().await?;
    Ok(())
}

async fn fetch(folder: &str, ticket: BlobTicket) -> Result<()> {
    let store = FsStore::load(folder).await?;
    let endpoint = endpoint().await?;
    let connection = endpoint.connect(ticket.addr().clone(), ALPN).await?;
    store.remote().fetch(connection, ticket.hash_and_format()).complete().await?;
    endpoint.close().await;
    store.sync_db().await?;
    store.shutdown().await?;
    Ok(())
}

fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.context("no VmHWM")?.trim().trim_end_matches(" kB").to_owned())
}
