//! Neighbours find each other by multicast DNS.

use std::{path::Path, sync::Arc};

use ipfs_core::{Node, PeerId, network::Options};
use tokio::task::spawn_blocking;

use super::{Daemon, Kubo, program, until};
use crate::network::multicast;

#[tokio::test(flavor = "multi_thread")]
async fn kubo_and_ours_find_each_other() {
    let Some(program) = program() else { return };
    if let Err(why) = multicast() {
        return println!("skipped: no multicast here ({why})");
    }
    let (kubo, _daemon) = spawn_blocking(move || start(&program)).await.unwrap();
    let id: PeerId = kubo.call(&["id", "-f", "<id>"]).await.parse().unwrap();
    let mut options = Options::default();
    options.mdns = true;
    let node = Node::builder().libp2p(options).spawn().await.unwrap();
    // There is no other routing: who is found was heard of by multicast.
    until("ours finds Kubo", || async {
        let found = node.routing().find_peer(id).await;
        found.is_ok_and(|found| !found.addresses.is_empty())
    })
    .await;
    until("both are connected", || async {
        let says = kubo.call(&["swarm", "peers"]).await;
        says.contains(&node.peer_id().to_string()) && node.peers().await.contains(&id)
    })
    .await;
    println!("kubo::routing: neighbours find each other by multicast DNS");
}

fn start(program: &Path) -> (Arc<Kubo>, Daemon) {
    let kubo = Kubo::new(program);
    kubo.run(&["config", "Addresses.Swarm", "--json", r#"["/ip4/0.0.0.0/tcp/0"]"#]);
    kubo.run(&["config", "Discovery.MDNS.Enabled", "--json", "true"]);
    let daemon = kubo.start();
    (Arc::new(kubo), daemon)
}
