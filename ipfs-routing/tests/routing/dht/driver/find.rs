//! Peers and providers, found and not found.

use futures::{StreamExt, TryStreamExt};
use ipfs_routing::dht::{
    Mode, Scope,
    message::{Kind, Message},
};
use ipfs_traits::{
    Error, Network, PeerInfo, Routing, conformance,
    memory::{MemoryDatastore, peer_id},
};

use super::net::{Net, Node, ask, block, options};

async fn providers(node: &Node, number: u64, want: usize) -> Vec<PeerInfo> {
    node.dht.find_providers(&block(number), want).try_collect().await.unwrap()
}

#[test]
fn thirty_nodes_find_each_others_blocks_and_peers() {
    Net::run(async |net| {
        let nodes = net.chain(0..30).await;
        for (number, node) in nodes.iter().enumerate() {
            node.dht.provide(vec![block(number as u64)]).await.unwrap();
        }
        for (at, node) in nodes.iter().enumerate() {
            let other = (at + 13) % 30;
            let found = providers(node, other as u64, 10).await;
            let ids: Vec<_> = found.iter().map(|peer| peer.id).collect();
            assert_eq!(ids, [nodes[other].id], "{at}");
            assert_eq!(found[0].addresses, nodes[other].wire.addresses());
            let peer = node.dht.find_peer(nodes[other].id).await.unwrap();
            assert_eq!(peer, found[0]);
            assert_eq!(node.dht.closest_peers(b"key").await.unwrap().len(), 20);
        }
        assert!(providers(&nodes[0], 99, 10).await.is_empty());
    });
}

#[test]
fn a_client_asks_is_asked_nothing_and_is_found() {
    Net::run(async |net| {
        let nodes = net.chain(0..5).await;
        let mut options = options(Scope::Any);
        options.mode = Mode::Client;
        let client = net.spawn(9, options, std::sync::Arc::new(MemoryDatastore::new())).await;
        client.wire.connect(&nodes[4].id.into()).await.unwrap();
        client.dht.ready().await;
        client.dht.provide(vec![block(1)]).await.unwrap();
        assert_eq!(providers(&nodes[0], 1, 1).await[0].id, client.id);
        net.wait(1300).await;
        assert_eq!(client.dht.stats().peers, 5);
        for node in &nodes {
            assert!(node.dht.peers().iter().all(|peer| peer.id != client.id));
        }
        // It is connected to all; a newcomer asks one of them.
        let stranger = net.node(10).await;
        stranger.wire.connect(&nodes[0].id.into()).await.unwrap();
        stranger.dht.ready().await;
        let found = stranger.dht.find_peer(client.id).await.unwrap();
        assert_eq!(found.addresses, client.wire.addresses());
    });
}

#[test]
fn a_lookup_ends_with_as_many_as_are_wanted() {
    Net::run(async |net| {
        let nodes = net.chain(0..30).await;
        for node in &nodes[..12] {
            node.dht.provide(vec![block(1)]).await.unwrap();
        }
        let last = &nodes[29];
        assert_eq!(providers(last, 1, 3).await.len(), 3);
        assert_eq!(providers(last, 1, 100).await.len(), 12);
        let before = last.dht.stats().queries;
        assert!(providers(last, 1, 0).await.is_empty());
        assert_eq!(last.dht.stats().queries, before);
        // A node does not name itself.
        assert_eq!(providers(&nodes[0], 1, 100).await.len(), 11);
    });
}

#[test]
fn what_is_dropped_asks_nothing_more() {
    Net::run(async |net| {
        let node = net.node(0).await;
        // Each names twenty more, who are not there, and takes its time.
        let mut peers = Vec::new();
        for number in 1..=20 {
            let runtime = net.runtime.clone();
            let peer = net.peer(number, move |inbound| {
                let runtime = runtime.clone();
                Box::pin(super::net::slow(inbound, runtime))
            });
            peer.connect(&node.id.into()).await.unwrap();
            peers.push(peer);
        }
        node.dht.ready().await;
        net.wait(1300).await;
        let mut found = node.dht.find_providers(&block(1), 5);
        assert!(futures::poll!(found.next()).is_pending());
        net.wait(1).await;
        let stats = node.dht.stats();
        assert!(stats.queries > 0);
        drop(found);
        let mut peer = node.dht.find_peer(peer_id(77));
        assert!(futures::poll!(&mut peer).is_pending());
        drop(peer);
        net.wait(30).await;
        assert_eq!(node.dht.stats().queries, stats.queries, "nothing was asked after the drop");
    });
}

#[test]
fn a_provider_without_addresses_is_looked_for() {
    Net::run(async |net| {
        let nodes = net.chain(0..5).await;
        let provider = peer_id(3);
        let liar = net.liar(50, move |_, request| {
            let mut answer = Message::new(request.kind, request.key);
            if request.kind == Kind::GetProviders {
                answer.providers = vec![provider.into(), peer_id(99).into()];
            }
            Some(answer)
        });
        let asker = net.node(60).await;
        asker.wire.connect(&nodes[0].id.into()).await.unwrap();
        liar.connect(&asker.id.into()).await.unwrap();
        net.wait(100).await;
        let found = providers(&asker, 1, 10).await;
        let of = |id| found.iter().find(|peer| peer.id == id).unwrap().addresses.clone();
        assert_eq!(of(provider), nodes[3].wire.addresses());
        assert!(of(peer_id(99)).is_empty(), "nobody knows where it is");
    });
}

#[test]
fn where_nobody_is_there_is_an_error() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let alone = node.dht.provide(vec![block(1), block(2)]).await;
        assert!(matches!(alone, Err(Error::Component { .. })), "{alone:?}");
        let alone = node.dht.put_value(b"/test/a", "v".into()).await;
        assert!(matches!(alone, Err(Error::Component { .. })), "{alone:?}");
        assert!(matches!(node.dht.find_peer(peer_id(1)).await, Err(Error::Unreachable(..))));
        assert!(providers(&node, 1, 5).await.is_empty());
        assert!(node.dht.closest_peers(b"key").await.unwrap().is_empty());
    });
}

/// 500 keys in a network of 60: each is at 20 peers, most of them its nearest, after few lookups.
#[test]
fn many_keys_are_announced_by_few_lookups() {
    Net::run(async |net| {
        let nodes = net.chain(0..60).await;
        let before = nodes[0].dht.stats();
        let keys: Vec<_> = (0..500).map(block).collect();
        nodes[0].dht.provide(keys.clone()).await.unwrap();
        net.wait(1).await;
        let after = nodes[0].dht.stats();
        assert!(after.lookups - before.lookups <= 10, "{} lookups", after.lookups);
        let kept: usize = nodes.iter().map(|node| node.dht.records().0).sum();
        assert_eq!(kept, 500 * 20);
        let mut right = 0;
        for key in &keys {
            let target = ipfs_routing::Position::of_block(key);
            let mut others: Vec<&Node> = nodes[1..].iter().collect();
            others.sort_by_key(|node| xor(&ipfs_routing::Position::of_peer(&node.id), &target));
            for node in &others[..20] {
                let request = Message::new(Kind::GetProviders, key.to_bytes());
                let answer = ask(&nodes[0].wire, node.id, &request).await.unwrap();
                right += usize::from(answer.providers.iter().any(|it| it.id == nodes[0].id));
            }
        }
        assert!(right >= 500 * 20 * 8 / 10, "{right} of 10000");
    });
}

fn xor(a: &ipfs_routing::Position, b: &ipfs_routing::Position) -> [u8; 32] {
    std::array::from_fn(|at| a.as_bytes()[at] ^ b.as_bytes()[at])
}

#[test]
fn it_keeps_the_promises_of_a_router() {
    Net::run(async |net| {
        let nodes = net.chain(0..5).await;
        let make = || async {
            let node = net.node(9).await;
            node.wire.connect(&nodes[0].id.into()).await?;
            node.dht.ready().await;
            Ok(node.dht)
        };
        conformance::routing(make).await.unwrap();
    });
}
