//! Twenty nodes fetch from one Kubo, and one node from them all.

use futures::future::join_all;
use ipfs_core::{Fetched, Giver, Node, SessionStats};

use super::{file, is_here, kubo_with, program};
use crate::network::{TCP, listening};

const NODES: usize = 20;

/// Twenty at once fetch the same file from one Kubo; then one more has it from all of them and from
/// Kubo, and hardly a block comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_fetch_from_kubo_and_one_from_all() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = file(folder.path(), 1, 16 << 20);
    let (kubo, _daemon, cid) = kubo_with(&program, &source, &["--chunker=size-16384"]).await;
    let address = kubo.address("/tcp/").await;
    let nodes = join_all((0..NODES).map(|_| async { listening(TCP).await.unwrap() })).await;
    let fetch = async |node: &Node| {
        node.connect(&address).await.unwrap();
        node.fetch(cid).await.unwrap()
    };
    let all: Vec<Fetched> = join_all(nodes.iter().map(fetch)).await;
    for (node, fetched) in nodes.iter().zip(&all) {
        hardly_twice(&fetched.stats);
        is_here(node, fetched, &source).await;
    }

    let one = listening(TCP).await.unwrap();
    one.connect(&address).await.unwrap();
    for node in &nodes {
        one.connect(node.addresses()).await.unwrap();
    }
    let fetched = one.fetch(cid).await.unwrap();
    is_here(&one, &fetched, &source).await;
    let stats = &fetched.stats;
    let givers: Vec<&Giver> =
        stats.givers.iter().filter(|giver| giver.blocks > 0).map(|of| &of.giver).collect();
    println!(
        "{} of {} gave {} blocks, {} of them twice",
        givers.len(),
        NODES + 1,
        stats.blocks,
        stats.duplicates
    );
    hardly_twice(stats);
    assert!(givers.len() > NODES / 2, "{stats:?}");
}

/// Fewer than one block in a hundred came twice.
fn hardly_twice(stats: &SessionStats) {
    assert!(stats.duplicates * 100 < stats.blocks, "{stats:?}");
}
