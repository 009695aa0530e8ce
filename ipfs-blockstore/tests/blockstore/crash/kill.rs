//! kill -9 of a process whose writers are at work on a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use futures::{TryStreamExt, future::join_all};
use ipfs_blockstore::{AppendableCar, FlatStore, PackStore, pack};
use ipfs_traits::{
    Block, Blockstore, Cid, HashTable, Multihash, Result, Runtime, TokioRuntime, codes,
};

use super::{first_seed, is_long, work::block};
use crate::numbers::Numbers;

/// Names the folder, the kind of store, and the first round, to the process that is killed.
const CHILD: &str = "IPFS_CRASH_CHILD";

const WRITERS: u64 = 4;

/// Blocks of each writer.
const BLOCKS: u64 = 150;

/// What a writer does between two flushes.
struct Round {
    put: BTreeSet<u64>,
    delete: BTreeSet<u64>,
    compact: bool,
}

/// The same for the process that works and the one that looks.
fn round(writer: u64, number: u64) -> Round {
    let mut numbers = Numbers((writer << 40) ^ number);
    let put: BTreeSet<u64> = (0..1 + numbers.below(20)).map(|_| numbers.below(BLOCKS)).collect();
    let delete = (0..numbers.below(20)).map(|_| numbers.below(BLOCKS));
    let delete = delete.filter(|block| !put.contains(block)).collect();
    Round { put, delete, compact: numbers.below(12) == 0 }
}

fn block_of(writer: u64, number: u64) -> Block {
    let mut numbers = Numbers((writer << 32) | number);
    let len = if number.is_multiple_of(10) { 20_000 } else { numbers.below(600) };
    let data = (0..len / 8).flat_map(|_| numbers.next().to_le_bytes());
    block([vec![writer as u8, number as u8], data.collect()].concat())
}

async fn open(kind: &str, folder: &Path) -> Result<Arc<dyn Blockstore>> {
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current()?);
    Ok(match kind {
        "flat" => Arc::new(FlatStore::open(folder, runtime).await?),
        "car" => Arc::new(AppendableCar::open(folder.join("some.car"), runtime).await?),
        _ => {
            let mut options = pack::Options::default();
            (options.segment_bytes, options.index_table) = (64 << 10, 100);
            options.compact_after = Some(64 << 10);
            Arc::new(PackStore::open_with(folder, runtime, options).await?)
        }
    })
}

/// The process that is killed: it says a line for each flush that has returned.
#[test]
fn child() {
    let Ok(asked) = std::env::var(CHILD) else { return };
    let mut asked = asked.splitn(3, ' ');
    let mut next = || asked.next().unwrap();
    let (kind, first, folder) = (next(), next().parse().unwrap(), next());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(kind, Path::new(folder)).await.unwrap();
        let writers = (0..WRITERS).map(|writer| tokio::spawn(work(store.clone(), writer, first)));
        join_all(writers).await.into_iter().for_each(|ended| ended.unwrap());
    });
}

async fn work(store: Arc<dyn Blockstore>, writer: u64, first: u64) {
    for number in first.. {
        let Round { put, delete, compact } = round(writer, number);
        let put: Vec<Block> = put.into_iter().map(|number| block_of(writer, number)).collect();
        let delete = delete.into_iter().map(|number| *block_of(writer, number).cid());
        let delete: Vec<Cid> = delete.collect();
        store.put_many(&put).await.unwrap();
        store.delete_many(&delete).await.unwrap();
        if compact {
            store.compact().await.unwrap();
        }
        store.flush().await.unwrap();
        println!("flushed {writer} {number}");
    }
}

/// What was acknowledged: of each block whether it is there, unless it is not known.
type Known = BTreeMap<(u64, u64), Option<bool>>;

/// Lets a process work from a round on, kills it after so many lines, and notes what it had said and
/// what it may have begun. Gives a round that none of its writers has begun.
fn kill(kind: &str, folder: &Path, first: u64, lines: u64, known: &mut Known) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{kind} {first} {}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = [first; WRITERS as usize];
    let mut flushed = |line: &str, known: &mut Known| {
        let (_, line) = line.split_once("flushed ")?;
        let (writer, number) = line.split_once(' ')?;
        let (writer, number): (u64, u64) = (writer.parse().ok()?, number.parse().ok()?);
        let Round { put, delete, .. } = round(writer, number);
        known.extend(put.into_iter().map(|block| ((writer, block), Some(true))));
        known.extend(delete.into_iter().map(|block| ((writer, block), Some(false))));
        next[writer as usize] = number + 1;
        Some(())
    };
    let mut left = lines;
    while left > 0 {
        let line = said.next().expect("it works until it is killed").unwrap();
        left -= u64::from(flushed(&line, known).is_some());
    }
    child.kill().unwrap();
    // What it said before it died was said.
    said.map_while(std::result::Result::ok).for_each(|line| _ = flushed(&line, known));
    child.wait().unwrap();
    for (writer, number) in (0..WRITERS).zip(next) {
        let Round { put, delete, .. } = round(writer, number);
        known.extend(put.into_iter().chain(delete).map(|block| ((writer, block), None)));
    }
    next.into_iter().max().unwrap() + 1
}

/// Compares the folder with what is known; from then on all of it is known.
async fn look(kind: &str, folder: &Path, known: &mut Known) -> Result<(), String> {
    let store = open(kind, folder).await.map_err(|error| format!("it does not open: {error:?}"))?;
    let failed = |error: ipfs_traits::Error| format!("{error:?}");
    let hashes = HashTable::standard();
    let listed: Vec<(Multihash, u64)> = store.list().try_concat().await.map_err(failed)?;
    let cids: Vec<Cid> = listed.iter().map(|(hash, _)| Cid::new_v1(codes::RAW, *hash)).collect();
    for (found, cid) in std::iter::zip(store.get_many(&cids).await, &cids) {
        let found = found.map_err(failed)?.ok_or("a block is listed and not there")?;
        hashes.verify(cid, found.data()).map_err(failed)?;
    }
    let asked: Vec<Cid> = known.keys().map(|(w, n)| *block_of(*w, *n).cid()).collect();
    let sizes = store.sizes(&asked).await.map_err(failed)?;
    for ((block, known), size) in std::iter::zip(known.iter_mut(), sizes) {
        match (*known, size) {
            (Some(true), None) => return Err(format!("{block:?} was flushed and is gone")),
            (Some(false), Some(_)) => return Err(format!("{block:?} was deleted and is back")),
            _ => *known = Some(size.is_some()),
        }
    }
    let there = known.values().filter(|known| **known == Some(true)).count();
    if there != listed.len() {
        return Err(format!("{} are listed, and {there} were put", listed.len()));
    }
    // What was found is durable from now on.
    store.flush().await.map_err(failed)?;
    store.close().await.map_err(failed)
}

async fn kill_often(kind: &str) {
    let (kills, seed) = (if is_long() { 200 } else { 4 }, first_seed());
    let (folder, mut known, mut rounds) = (tempfile::tempdir().unwrap(), Known::new(), 0);
    for number in 0..kills {
        let lines = 1 + Numbers(seed + number).below(60);
        rounds = kill(kind, folder.path(), rounds, lines, &mut known);
        let looked = look(kind, folder.path(), &mut known).await;
        looked.unwrap_or_else(|wrong| panic!("{kind}, seed {}: {wrong}", seed + number));
    }
    println!("{kind}: {kills} kills, {rounds} rounds of {WRITERS} writers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_store_survives_kill_9() {
    kill_often("pack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flat_store_survives_kill_9() {
    kill_often("flat").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_survives_kill_9() {
    kill_often("car").await;
}
