//! One job as a whole process, with the settings that a user gets by default.
//!
//! `import FOLDER PATH`, `serve FOLDER`, `fetch FOLDER ADDRESS CID`. Each prints what a script needs
//! on its standard output, and at its end the most memory it had, in kB.

use std::error::Error;

use futures::TryStreamExt;
use ipfs_core::Node;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["import", folder, path] => import(folder, path).await?,
        ["serve", folder] => serve(folder).await?,
        ["fetch", folder, address, cid] => fetch(folder, address, cid).await?,
        _ => return Err("import FOLDER PATH | serve FOLDER | fetch FOLDER ADDRESS CID".into()),
    }
    println!("memory {}", memory()?);
    Ok(())
}

async fn import(folder: &str, path: &str) -> Result<()> {
    let node = Node::builder().data_dir(folder).offline().spawn().await?;
    let added = node.unixfs().add_path(path).await?;
    println!("{}", added.cid);
    node.close().await?;
    Ok(())
}

/// Serves until its standard input ends.
async fn serve(folder: &str) -> Result<()> {
    let local = "/ip4/127.0.0.1/tcp/0".parse()?;
    let node = Node::builder().data_dir(folder).listen([local]).spawn().await?;
    println!("{}", node.addresses()[0]);
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    node.close().await?;
    Ok(())
}

/// Fetches all below a CID into the store, to the end of its flush.
async fn fetch(folder: &str, address: &str, cid: &str) -> Result<()> {
    let node = Node::builder().data_dir(folder).listen([]).spawn().await?;
    node.connect(address).await?;
    let mut blocks = node.dag().walk(&cid.parse()?);
    while blocks.try_next().await?.is_some() {}
    node.close().await?;
    Ok(())
}

fn memory() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").to_owned())
}
