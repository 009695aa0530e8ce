//! A fetch from Kubo is dropped in the middle, and a Kubo dies in the middle of one.

use ipfs_core::{Cid, FetchProgress, Fetching, Giver, Node, SessionStats, bitswap::Options};

use super::{file, is_here, kubo_with, program, text};

const LARGE: usize = 100 << 20;

/// Bytes a second: a fetch takes some seconds, on every machine.
const RATE: u64 = 30 << 20;

/// A node that can be watched as it fetches.
async fn slow() -> Node {
    let mut options = Options::default();
    options.rate_limits.down = Some(RATE);
    Node::builder().listen([]).bitswap(options).spawn().await.unwrap()
}

/// Waits until something of it has come, and not all.
async fn middle(fetching: &mut Fetching, is_middle: impl Fn(&FetchProgress) -> bool) {
    loop {
        let progress = fetching.next().await.expect("it has ended already");
        if is_middle(&progress) {
            assert!(progress.fetched_bytes < LARGE as u64 / 2, "{progress:?}");
            return;
        }
    }
}

/// Those that gave something.
fn givers(stats: &SessionStats) -> Vec<&Giver> {
    stats.givers.iter().filter(|giver| giver.blocks > 0).map(|of| &of.giver).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_dropped_stops_what_kubo_sends() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (large, small) = (file(folder.path(), 1, LARGE), file(folder.path(), 2, 1000));
    let (kubo, _daemon, cid) = kubo_with(&program, &large, &[]).await;
    let other: Cid = kubo.call(&["add", "-Q", text(&small)]).await.parse().unwrap();
    let node = slow().await;
    node.connect(&kubo.address("/tcp/").await).await.unwrap();
    let mut fetching = node.fetch(cid).start();
    middle(&mut fetching, |progress| progress.fetched_blocks >= 10).await;
    drop(fetching);

    // Kubo forgets what was wanted, though it has not sent half of it.
    let (peer, fetched) = (node.peer_id().to_string(), node.fetch(other).await.unwrap());
    while !kubo.call(&["bitswap", "wantlist", "--peer", &peer]).await.is_empty() {}
    is_here(&node, &fetched, &small).await;
    let came = node.network().stats().traffic.received;
    assert!(came < LARGE as u64 * 3 / 4, "{came} bytes came");

    // What has come by then is not asked for again.
    let rest = node.fetch(cid).await.unwrap();
    assert!(rest.fetched_blocks <= rest.blocks - 10, "{rest:?}");
    is_here(&node, &rest, &large).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_kubo_had_not_sent_comes_from_another() {
    another_has_the_rest(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_kubo_had_not_sent_comes_from_one_that_is_met_later() {
    another_has_the_rest(true).await;
}

async fn another_has_the_rest(is_late: bool) {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let large = file(folder.path(), 3, LARGE);
    let (first, dies, cid) = kubo_with(&program, &large, &[]).await;
    let (second, _daemon, same) = kubo_with(&program, &large, &[]).await;
    assert_eq!(cid, same);
    let node = slow().await;
    let dying = node.connect(&first.address("/tcp/").await).await.unwrap();
    let address = second.address("/tcp/").await;
    if !is_late {
        node.connect(&address).await.unwrap();
    }
    let mut fetching = node.fetch(cid).start();
    let is_middle = |progress: &FetchProgress| {
        progress.fetched_blocks >= 20 && givers(&progress.session).contains(&&Giver::Peer(dying))
    };
    middle(&mut fetching, is_middle).await;
    drop(dies);
    if is_late {
        node.connect(&address).await.unwrap();
    }
    let fetched = fetching.await.unwrap();
    assert_eq!(fetched.fetched_blocks, fetched.blocks);
    assert_eq!(givers(&fetched.stats).len(), 2, "{fetched:?}");
    is_here(&node, &fetched, &large).await;
}
