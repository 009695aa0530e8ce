//! Loss of power, and kill -9, at any point of an import: what was said to be added is there.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt};
use ipfs_core::{
    Block, Blockstore, Cid, Node, Result, VirtualRuntime,
    blockstore::{FlatStore, PackStore, flat, pack},
};

use crate::{
    content,
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
    seeds::seeds,
};

const POINTS: u64 = 200;

fn import(number: u64) -> Vec<u8> {
    content::bytes(number, 40_000 + 10_000 * (number % 5) as usize)
}

/// Small leaves, so that there is much to lose.
fn params() -> ipfs_core::unixfs::Params {
    let chunker = ipfs_core::unixfs::Chunker::fixed(1000).unwrap();
    ipfs_core::unixfs::Params { chunker, ..ipfs_core::unixfs::Params::default() }
}

/// Adds one thing after the other, and says what was added, until something fails.
async fn add_all(node: &Node, added: &mut Vec<Cid>) -> Result<()> {
    for number in 0..6 {
        added.push(node.unixfs().params(params()).add_bytes(import(number)).await?.cid);
    }
    Ok(())
}

/// Whether all below a root is there, and is what it should be.
async fn whole(node: &Node, root: &Cid) -> Result<(), String> {
    let mut walk = node.dag().walk(root);
    while let Some(block) = walk.next().await {
        let block = block.map_err(|error| format!("{root}: {error}"))?;
        Block::verify(*block.cid(), block.data().clone(), node.hashes())
            .map_err(|error| format!("{root}: {error}"))?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flat,
    Pack,
}

async fn on(files: &Faulty, kind: Kind, runtime: &VirtualRuntime) -> Result<Node> {
    let (files, runtime) = (Arc::new(files.clone()), Arc::new(runtime.clone()));
    let store: Arc<dyn Blockstore> = match kind {
        Kind::Flat => {
            let options = flat::Options::default();
            Arc::new(FlatStore::open_on(files, "/store", runtime.clone(), options).await?)
        }
        Kind::Pack => {
            let mut options = pack::Options::default();
            (options.segment_bytes, options.index_table) = (32 << 10, 50);
            Arc::new(PackStore::open_on(files, "/store", runtime.clone(), options).await?)
        }
    };
    Node::builder().runtime(runtime).store(store).offline().spawn().await
}

/// Imports, loses the power at a seeded call, and says what is wrong with what is left.
fn power_loss(kind: Kind, seed: u64, calls: u64, taken_out: TakenOut) -> Result<(), String> {
    let runtime = VirtualRuntime::new();
    let files = Faulty::new(Path::new("/store"), seed.is_multiple_of(2), taken_out);
    files.crash_at(Numbers(seed).below(calls));
    let mut added = Vec::new();
    let run = runtime.clone();
    run.block_on(async {
        if let Ok(node) = on(&files, kind, &runtime).await {
            let _ = add_all(&node, &mut added).await;
        }
    })
    .unwrap();
    let survivor = files.after_power_loss(&mut Numbers(seed ^ 0xdead));
    run.block_on(async {
        let node =
            on(&survivor, kind, &runtime).await.map_err(|e| format!("it does not open: {e:?}"))?;
        for root in &added {
            whole(&node, root).await?;
        }
        let mut again = Vec::new();
        add_all(&node, &mut again).await.map_err(|e| format!("it cannot be repeated: {e:?}"))?;
        for root in &again {
            whole(&node, root).await?;
        }
        match added.iter().zip(&again).all(|(before, after)| before == after) {
            true => Ok(()),
            false => Err("it gave another CID".to_owned()),
        }
    })
    .unwrap()
    .map_err(|wrong| format!("{kind:?}, seed {seed}: {wrong}"))
}

/// The calls of a whole import, when nothing fails.
fn all_calls(kind: Kind) -> u64 {
    let runtime = VirtualRuntime::new();
    let files = Faulty::new(Path::new("/store"), false, TakenOut::Nothing);
    let run = runtime.clone();
    let done = run.block_on(async {
        let node = on(&files, kind, &runtime).await?;
        add_all(&node, &mut Vec::new()).await
    });
    done.unwrap().unwrap();
    files.calls()
}

#[test]
fn what_was_added_survives_a_loss_of_power() {
    let points = seeds(POINTS, POINTS * 10);
    for kind in [Kind::Flat, Kind::Pack] {
        let calls = all_calls(kind);
        println!("{kind:?}: an import of {calls} calls");
        let mut points = points.clone();
        points.try_for_each(|seed| power_loss(kind, seed, calls + 10, TakenOut::Nothing)).unwrap();
    }
}

/// With the sync of a file or of its directory taken out, the test above fails: shown for each.
#[test]
fn a_missing_sync_would_be_seen() {
    for kind in [Kind::Flat, Kind::Pack] {
        let calls = all_calls(kind);
        for taken_out in [TakenOut::SyncOfContents, TakenOut::SyncOfNames] {
            let seen =
                (0..POINTS).find_map(|seed| power_loss(kind, seed, calls + 10, taken_out).err());
            println!("{taken_out:?}: {}", seen.as_deref().unwrap_or("unseen"));
            assert!(seen.is_some(), "{taken_out:?} of {kind:?} went unseen");
        }
    }
}

/// Names the folder to the process that is killed.
const CHILD: &str = "IPFS_CRASH_CHILD";

/// The process that is killed: it adds, and says a line at each step.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = Node::builder().data_dir(folder).offline().spawn().await.unwrap();
        println!("opened");
        for number in 0.. {
            let mut adding = node.unixfs().params(params()).add_bytes(import(number));
            while let Some(event) = adding.try_next().await.unwrap() {
                match event {
                    ipfs_core::unixfs::Event::Done(added) => println!("added {}", added.cid),
                    ipfs_core::unixfs::Event::Progress(_) => println!("progress"),
                }
            }
        }
    });
}

/// Kills a process after a seeded number of its lines; gives what it had said was added.
fn kill(folder: &Path, seed: u64) -> Vec<Cid> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut left = Numbers(seed).below(40);
    let mut added = Vec::new();
    for line in lines {
        let line = line.unwrap();
        if let Some((_, cid)) = line.split_once("added ") {
            added.push(cid.parse().unwrap());
        }
        if left == 0 {
            break;
        }
        left -= 1;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    added
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_survives_kill_9() {
    let mut roots = 0;
    let mut folder = tempfile::tempdir().unwrap();
    for (round, seed) in seeds(POINTS, POINTS * 10).enumerate() {
        // A folder is killed a few times, and then a new one made: so the making is hit as well.
        if round % 4 == 0 {
            folder = tempfile::tempdir().unwrap();
        }
        let added = kill(folder.path(), seed);
        let node = Node::builder().data_dir(folder.path()).offline().spawn().await.unwrap();
        for root in &added {
            whole(&node, root).await.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        }
        roots += added.len();
        let again = node.unixfs().params(params()).add_bytes(import(0)).await.unwrap();
        whole(&node, &again.cid).await.unwrap();
        node.close().await.unwrap();
    }
    println!("{roots} roots were added before a kill, and were whole after it");
    assert!(roots > 0);
}
