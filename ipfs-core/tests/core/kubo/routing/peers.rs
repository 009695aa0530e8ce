//! Peers: where one is, and who is near a key.

use std::{collections::BTreeSet, net::IpAddr};

use ipfs_core::{Multiaddr, PeerId, routing::Position};

use super::{Peer, World, until};

pub(super) async fn each_finds_the_other(world: &World) {
    for kubo in &world.kubos {
        for node in &world.ours {
            until("Kubo finds a node of ours", || finds(kubo, node.peer_id(), world.place.ip))
                .await;
            until("ours finds a Kubo", || async {
                let found = node.routing().find_peer(kubo.id).await;
                found.is_ok_and(|found| !found.addresses.is_empty())
            })
            .await;
        }
    }
    let key = b"a key";
    let near = nearest(world.servers(), key);
    for node in &world.ours {
        let found = node.routing().closest_peers(key).await.unwrap();
        let found: Vec<PeerId> = found.iter().map(|peer| peer.id).collect();
        let others = near.iter().filter(|peer| **peer != node.peer_id());
        assert!(found.iter().eq(others), "{found:?}, not {near:?}");
    }
    let key = world.ours[2].peer_id();
    let near = nearest(world.servers(), &key.to_bytes());
    for kubo in &world.kubos {
        let says = kubo.says(&["dht", "query", &key.to_string()]).await;
        let found: BTreeSet<PeerId> = says.lines().map(|line| line.parse().unwrap()).collect();
        for near in near.iter().filter(|peer| **peer != kubo.id).take(3) {
            assert!(found.contains(near), "{found:?} is without {near}");
        }
    }
    println!("kubo::routing: peers are found both ways, and who is near a key");
}

/// Whether it finds this peer, at an address of the network.
async fn finds(kubo: &Peer, peer: PeerId, ip: IpAddr) -> bool {
    let says = kubo.tries(&["routing", "findpeer", &peer.to_string()]).await;
    let at = format!("{}/", Multiaddr::from(ip));
    says.is_some_and(|says| says.lines().any(|line| line.starts_with(&at)))
}

/// The nearest first.
fn nearest(peers: BTreeSet<PeerId>, key: &[u8]) -> Vec<PeerId> {
    let key = Position::of_key(key);
    let mut peers: Vec<PeerId> = peers.into_iter().collect();
    peers.sort_by_key(|peer| {
        let peer = Position::of_peer(peer);
        let both = key.as_bytes().iter().zip(peer.as_bytes());
        both.map(|(key, peer)| key ^ peer).collect::<Vec<u8>>()
    });
    peers
}
