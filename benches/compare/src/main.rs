//! One job as a whole process, with the settings that a user gets by default.
//!
//! `import memory|FOLDER PATH [CHUNKER]`, `hash PATH`, `digest`, `cat FOLDER CID`, `hamt COUNT`, `mfs COUNT`,
//! `serve FOLDER ADDRESS`, `fetch FOLDER CID ADDRESS…`, `pin FOLDER CID`, `unpin FOLDER CID`, `roots FIRST COUNT CAR`,
//! `import-pinned FOLDER CAR`, `pins FOLDER`, `gc FOLDER`, `gc-fill FOLDER COUNT`, `gc-latency FOLDER`,
//! `idle FOLDER ADDRESS`, `idle-peers COUNT ADDRESS…`,
//! `dht-network COUNT`, `dht-node ADDRESS…`. Each prints what a script needs on its standard output, and at its end the most memory it had, in kB; `cat` on its standard error,
//! behind the content.

mod dht;
mod idle;
mod keep;
mod tree;

use std::{error::Error, time::Instant};

use futures::TryStreamExt;
use ipfs_core::{Node, codes, unixfs::Params};
use ipfs_traits::HashTable;
use tokio::io::AsyncWriteExt;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["import", store, path] => import(store, path, Params::default()).await?,
        ["import", store, path, chunker] => {
            let params = Params { chunker: chunker.parse()?, ..Params::default() };
            import(store, path, params).await?;
        }
        ["hash", path] => hash(path).await?,
        ["digest"] => digest()?,
        ["cat", folder, cid] => {
            cat(folder, cid).await?;
            eprintln!("memory {}", memory()?);
            return Ok(());
        }
        ["hamt", count] => tree::hamt(count.parse()?).await?,
        ["mfs", count] => tree::mfs(count.parse()?).await?,
        ["serve", folder, address] => serve(folder, address).await?,
        ["fetch", folder, cid, ref addresses @ ..] => fetch(folder, cid, addresses).await?,
        ["pin", folder, cid] => keep::pin(folder, cid).await?,
        ["unpin", folder, cid] => keep::unpin(folder, cid).await?,
        ["roots", first, count, path] => keep::roots(first.parse()?, count.parse()?, path)?,
        ["import-pinned", folder, path] => keep::import_pinned(folder, path).await?,
        ["pins", folder] => keep::pins(folder).await?,
        ["gc", folder] => keep::collect(folder).await?,
        ["gc-fill", folder, count] => keep::fill(folder, count.parse()?).await?,
        ["gc-latency", folder] => keep::latency(folder).await?,
        ["idle", folder, address] => idle::idle(folder, address).await?,
        ["idle-peers", count, ref addresses @ ..] => idle::peers(count.parse()?, addresses).await?,
        ["dht-network", count] => dht::network(count.parse()?).await?,
        ["dht-node", ref addresses @ ..] => dht::node(addresses).await?,
        _ => return Err("unknown job".into()),
    }
    println!("memory {}", memory()?);
    Ok(())
}

async fn import(store: &str, path: &str, params: Params) -> Result<()> {
    let builder = Node::builder().offline();
    let node = match store {
        "memory" => builder.spawn().await?,
        folder => builder.data_dir(folder).spawn().await?,
    };
    let added = node.unixfs().params(params).add_path(path).await?;
    println!("{}", added.cid);
    node.close().await?;
    Ok(())
}

async fn hash(path: &str) -> Result<()> {
    let node = Node::builder().offline().spawn().await?;
    println!("{}", node.unixfs().only_hash().path(path).await?.cid);
    node.close().await?;
    Ok(())
}

/// What all cores hash, of what lies in memory: batches of 16 blocks of 1 MiB.
fn digest() -> Result<()> {
    const ROUNDS: usize = 64;
    let (hashes, content) = (HashTable::standard(), vec![7; 16 << 20]);
    let cores = std::thread::available_parallelism()?.get();
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let work = || {
            let blocks: Vec<&[u8]> = content.chunks(1 << 20).collect();
            (0..ROUNDS).try_for_each(|_| hashes.hash_many(codes::SHA2_256, &blocks).map(drop))
        };
        for thread in (0..cores).map(|_| scope.spawn(work)).collect::<Vec<_>>() {
            thread.join().map_err(|_| "it panicked")??;
        }
        Ok(())
    })?;
    let bytes = (cores * ROUNDS * content.len()) as f64;
    println!("{:.0} MB/s", bytes / 1e6 / start.elapsed().as_secs_f64());
    Ok(())
}

async fn cat(folder: &str, cid: &str) -> Result<()> {
    let node = Node::builder().data_dir(folder).offline().spawn().await?;
    let mut content = node.unixfs().open(cid).await?.range(..);
    let mut stdout = tokio::io::stdout();
    while let Some(bytes) = content.try_next().await? {
        stdout.write_all(&bytes).await?;
    }
    stdout.flush().await?;
    node.close().await?;
    Ok(())
}

/// Serves until its standard input ends.
async fn serve(folder: &str, address: &str) -> Result<()> {
    let node = Node::builder().data_dir(folder).listen([address.parse()?]).spawn().await?;
    println!("{}", node.addresses()[0]);
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    node.close().await?;
    Ok(())
}

/// Fetches all below a CID from these peers into the store, to the end of its flush.
async fn fetch(folder: &str, cid: &str, addresses: &[&str]) -> Result<()> {
    let node = Node::builder().data_dir(folder).listen([]).spawn().await?;
    for address in addresses {
        node.connect(*address).await?;
    }
    node.fetch(format!("/ipfs/{cid}")).await?;
    node.close().await?;
    Ok(())
}

fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").to_owned())
}
