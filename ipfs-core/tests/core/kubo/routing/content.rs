//! Blocks: who provides them is found, and they are fetched from there.

use std::fs;

use futures::{AsyncReadExt, TryStreamExt};
use ipfs_core::{
    Cid, Node, PeerId,
    routing::dht::{
        Mode,
        message::{Kind, Message},
    },
};

use super::{Peer, World, ask, until};
use crate::{content, kubo::text};

/// Some blocks' worth.
const SIZE: usize = 600_000;

/// A file of a node of ours, which it provides.
async fn provided(node: &Node, seed: u64) -> Cid {
    let cid = node.unixfs().add_bytes(content::bytes(seed, SIZE)).await.unwrap().cid;
    node.provide([cid]).await.unwrap();
    cid
}

/// A file of a Kubo, which it provides when it is told to, or when it is added.
async fn provided_by(peer: &Peer, seed: u64, command: &[&str]) -> Cid {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, content::bytes(seed, SIZE)).unwrap();
    let cid = peer.says(&["add", "-Q", text(&file)]).await;
    if !command.is_empty() {
        peer.says(&[command, &[&cid]].concat()).await;
    }
    cid.parse().unwrap()
}

async fn kubo_finds(peer: &Peer, cid: Cid, provider: PeerId) {
    until("Kubo finds a provider", || async {
        let says = peer.says(&["routing", "findprovs", &cid.to_string()]).await;
        says.lines().any(|line| line == provider.to_string())
    })
    .await;
}

/// With an address that can be dialed.
async fn ours_finds(node: &Node, cid: Cid, provider: PeerId) {
    until("ours finds a provider", || async {
        let mut found = node.routing().find_providers(cid.hash(), 20);
        while let Some(peer) = found.try_next().await.unwrap() {
            if peer.id == provider {
                return !peer.addresses.is_empty();
            }
        }
        false
    })
    .await;
}

async fn kubo_fetches(peer: &Peer, cid: Cid, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    peer.says(&["get", &cid.to_string(), "-o", text(&file)]).await;
    assert!(fs::read(&file).unwrap() == content::bytes(seed, SIZE), "another file");
}

async fn ours_fetches(node: &Node, cid: Cid, seed: u64) {
    let mut bytes = Vec::new();
    node.unixfs().open(&cid).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    assert!(bytes == content::bytes(seed, SIZE), "another file");
}

/// By those who answer: asked once, and as what is chosen.
pub(super) async fn ours_are_found_by_kubo(world: &World) {
    for (node, seed) in world.ours.iter().zip(1..) {
        let cid = provided(node, seed).await;
        for kubo in &world.kubos {
            kubo_finds(kubo, cid, node.peer_id()).await;
        }
        let kubo = &world.kubos[1];
        kubo.says(&["swarm", "disconnect", &format!("/p2p/{}", node.peer_id())]).await;
        kubo_fetches(kubo, cid, seed).await;
    }
    println!("kubo::routing: Kubo finds and fetches what ours provide");
}

pub(super) async fn kubos_are_found_by_ours(world: &World) {
    let commands: [&[&str]; 3] = [&[], &["provide", "once"], &["routing", "provide"]];
    for ((kubo, command), seed) in world.kubos.iter().zip(commands).zip(11..) {
        let cid = provided_by(kubo, seed, command).await;
        for node in &world.ours {
            ours_finds(node, cid, kubo.id).await;
        }
        let node = &world.ours[1];
        node.disconnect(kubo.id).await.unwrap();
        ours_fetches(node, cid, seed).await;
    }
    println!("kubo::routing: ours find and fetch what Kubo provides");
}

/// Who came last knows one of the others alone, and has all else from the DHT.
pub(super) async fn clients_find_and_are_found(world: &World) {
    let (kubo, node) = (&world.kubos[5], &world.ours[2]);
    let early = provided_by(&world.kubos[1], 21, &[]).await;
    ours_finds(node, early, world.kubos[1].id).await;
    ours_fetches(node, early, 21).await;
    let early = provided(&world.ours[0], 22).await;
    kubo_finds(kubo, early, world.ours[0].peer_id()).await;
    kubo_fetches(kubo, early, 22).await;
    // Each other, too.
    let cid = provided(node, 23).await;
    for other in &world.kubos {
        kubo_finds(other, cid, node.peer_id()).await;
    }
    kubo_fetches(kubo, cid, 23).await;
    let cid = provided_by(kubo, 24, &[]).await;
    for other in &world.ours {
        ours_finds(other, cid, kubo.id).await;
    }
    ours_fetches(node, cid, 24).await;
    println!("kubo::routing: clients find, fetch, are found, and are fetched from");
}

/// The first of ours knows after its restart what it was told before, with nobody there to ask.
pub(super) async fn what_a_server_keeps_survives_its_restart(world: &mut World) {
    let kubo = &world.kubos[3];
    let cid = provided_by(kubo, 31, &[]).await;
    let before = world.ours.remove(0);
    let question = Message::new(Kind::GetProviders, cid.hash().to_bytes());
    until("ours is told of the block", || async {
        let answer = ask(&world.ours[0], before.peer_id(), &question).await;
        answer.providers.iter().any(|peer| peer.id == kubo.id)
    })
    .await;
    before.close().await.unwrap();
    drop(before);
    let after = world.place.node(Mode::Auto).data_dir(world.data_dir.path()).spawn().await.unwrap();
    ours_finds(&after, cid, kubo.id).await;
    world.ours.insert(0, after);
    println!("kubo::routing: what ours keeps for others survives its restart");
}
