//! What stays and what goes: pins, and the collection of garbage.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, io::AllowStdIo};
use ipfs_core::{Block, Blockstore, Cid, ImportOptions, Node, car, codes, unixfs::Params};
use ipfs_traits::HashTable;

use crate::Result;

async fn open(folder: &str) -> Result<Node> {
    Ok(Node::builder().data_dir(folder).offline().spawn().await?)
}

/// Pins a DAG that is here.
pub(crate) async fn pin(folder: &str, cid: &str) -> Result<()> {
    let node = open(folder).await?;
    node.pins().add(cid).await?;
    node.close().await?;
    Ok(())
}

/// Takes a pin back.
pub(crate) async fn unpin(folder: &str, cid: &str) -> Result<()> {
    let node = open(folder).await?;
    node.pins().remove(&cid.parse()?).await?;
    node.close().await?;
    Ok(())
}

/// Writes a CAR of so many small blocks, each a root of its own.
pub(crate) fn roots(first: u64, count: u64, path: &str) -> Result<()> {
    let hashes = HashTable::standard();
    let block = |n: u64| Block::of(codes::RAW, codes::SHA2_256, n.to_le_bytes().to_vec(), &hashes);
    let blocks: Vec<Block> = (first..first + count).map(block).collect::<Result<_, _>>()?;
    let roots: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let mut file = car::header(&roots);
    for block in &blocks {
        file.extend(car::section_head(block.cid(), block.len()));
        file.extend(block.data());
    }
    std::fs::write(path, file)?;
    Ok(())
}

/// Imports a CAR and pins its roots.
pub(crate) async fn import_pinned(folder: &str, path: &str) -> Result<()> {
    let node = open(folder).await?;
    let mut options = ImportOptions::default();
    options.pin_roots = true;
    node.dag().import_with(AllowStdIo::new(File::open(path)?), options).await?;
    node.close().await?;
    Ok(())
}

/// Counts the pins.
pub(crate) async fn pins(folder: &str) -> Result<()> {
    let node = open(folder).await?;
    let mut pins = node.pins().list();
    let mut count = 0;
    while let Some(pin) = pins.try_next().await? {
        count += usize::from(pin.is_recursive());
    }
    println!("pins {count}");
    node.close().await?;
    Ok(())
}

/// Collects the garbage.
pub(crate) async fn collect(folder: &str) -> Result<()> {
    let node = open(folder).await?;
    let before = node.usage().await?.unwrap_or_default();
    let start = Instant::now();
    let collected = node.gc().collect().without_compaction().await?;
    let deleted = start.elapsed();
    node.store().compact().await?;
    let all = start.elapsed();
    let after = node.usage().await?.unwrap_or_default();
    println!("kept {}", collected.kept_blocks);
    println!("deleted {}", collected.deleted_blocks);
    println!("seconds {:.3} {:.3}", deleted.as_secs_f64(), all.as_secs_f64());
    println!("disk {} {}", before.on_disk.unwrap_or_default(), after.on_disk.unwrap_or_default());
    node.close().await?;
    Ok(())
}

/// Stores so many blocks in two DAGs, and pins one of them.
pub(crate) async fn fill(folder: &str, count: u64) -> Result<()> {
    let node = open(folder).await?;
    for half in 0..2 {
        let bytes = count / 2 * 64;
        let content = AllowStdIo::new(Numbers { next: half << 62, left: bytes });
        let params = Params { chunker: "size-64".parse()?, ..Params::default() };
        let added = node.unixfs().params(params).add_reader(content).await?;
        if half == 0 {
            node.pins().add(added.cid).await?;
        }
    }
    node.close().await?;
    Ok(())
}

/// Bytes that are not the same twice.
struct Numbers {
    next: u64,
    left: u64,
}

impl std::io::Read for Numbers {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)) / 8 * 8;
        for place in buffer[..len].chunks_exact_mut(8) {
            place.copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
        self.left -= len as u64;
        Ok(len)
    }
}

/// How long reading a block and adding a file take, without a collection and with one.
pub(crate) async fn latency(folder: &str) -> Result<()> {
    let node = open(folder).await?;
    let pages: Vec<_> = node.blocks().list().take(64).try_collect().await?;
    let cids: Vec<Cid> =
        pages.concat().iter().map(|(hash, _)| Cid::new_v1(codes::RAW, *hash)).collect();
    // What is asked for is kept: so the same is done in both.
    let quiet = measure(&node, &cids, || false).await?;
    let collecting = node.clone();
    let collection =
        tokio::spawn(async move { collecting.gc().collect().without_compaction().await });
    let busy = measure(&node, &cids, || !collection.is_finished()).await?;
    println!("deleted {}", collection.await??.deleted_blocks);
    let store = node.store();
    let compaction = tokio::spawn(async move { store.compact().await });
    let moving = measure(&node, &cids, || !compaction.is_finished()).await?;
    compaction.await??;
    for (what, quiet, busy, moving) in
        [("get", quiet.0, busy.0, moving.0), ("add", quiet.1, busy.1, moving.1)]
    {
        println!("{what} {} {} {}", quiet.as_micros(), busy.as_micros(), moving.as_micros());
    }
    node.close().await?;
    Ok(())
}

/// The 99th percentiles of getting and adding: a thousand of each, or as many as there are while
/// `more` says so.
async fn measure(
    node: &Node,
    cids: &[Cid],
    more: impl Fn() -> bool,
) -> Result<(Duration, Duration)> {
    let (mut gets, mut adds) = (Vec::new(), Vec::new());
    let mut at = 0;
    while adds.len() < 1000 || more() {
        for _ in 0..10 {
            at = (at + 7919) % cids.len();
            let start = Instant::now();
            node.store().get_many(&cids[at..=at]).await;
            gets.push(start.elapsed());
        }
        let content = format!("{} {}", adds.len(), more());
        let start = Instant::now();
        node.unixfs().add_bytes(content).await?;
        adds.push(start.elapsed());
    }
    let percentile = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() * 99 / 100]
    };
    Ok((percentile(gets), percentile(adds)))
}
