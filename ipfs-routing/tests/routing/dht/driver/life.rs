//! Beginning, ending, beginning again; who serves when; two of them side by side.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use ipfs_routing::dht::{
    Dht, Scope,
    message::{Kind, Message, WAN},
};
use ipfs_traits::{
    Error, Network, Routing,
    memory::{MemoryDatastore, peer_id},
    network::Reachability,
};

use super::net::{Net, Node, ask, block, options};

/// A node is shut down, and started again on what it left; nobody connects it by hand.
#[test]
fn the_table_and_the_records_outlast_a_restart() {
    Net::run(async |net| {
        let nodes = net.chain(0..6).await;
        nodes[1].dht.provide(vec![block(1)]).await.unwrap();
        nodes[1].dht.put_value(b"/test/a", "v1".into()).await.unwrap();
        let Node { dht, wire, datastore, id } = net.node(9).await;
        wire.connect(&nodes[0].id.into()).await.unwrap();
        net.wait(1300).await;
        let announce = |key| {
            let mut told = Message::new(Kind::AddProvider, key);
            told.providers.push(peer_id(1).into());
            told
        };
        ask(&nodes[1].wire, id, &announce(block(2).to_bytes())).await;
        net.wait(1).await;
        let (table, records) = (dht.peers(), dht.records());
        assert_eq!((table.len(), records.0), (6, 1));
        dht.close().await.unwrap();
        wire.close().await.unwrap();
        drop((dht, wire));

        let again = net.spawn(9, options(Scope::Any), datastore).await;
        assert_eq!(again.dht.records(), records);
        again.dht.ready().await;
        net.wait(100).await;
        assert_eq!(again.dht.peers().len(), 6);
        let found: Vec<_> = again.dht.find_providers(&block(1), 1).try_collect().await.unwrap();
        assert_eq!(found[0].id, nodes[1].id);
        let kept = again.dht.find_providers(&block(2), 1).next().await.unwrap().unwrap();
        assert_eq!(kept.id, nodes[1].id);
    });
}

#[test]
fn closing_ends_what_waits_and_what_comes_after() {
    Net::run(async |net| {
        let node = net.node(0).await;
        // It takes every question, and answers none.
        let deaf = net.peer(1, |inbound| {
            Box::pin(async move {
                let _inbound = inbound;
                futures::future::pending::<()>().await;
            })
        });
        deaf.connect(&node.id.into()).await.unwrap();
        let other = net.node(2).await;
        other.wire.connect(&node.id.into()).await.unwrap();
        node.dht.ready().await;
        net.wait(15).await;
        let dht = &node.dht;
        node.dht.add_peer(deaf.local_peer().into());
        let mut providers = dht.find_providers(&block(1), 5);
        let mut values = dht.get_value(b"/test/a");
        let (mut peer, mut provide) = (dht.find_peer(peer_id(7)), dht.provide(vec![block(1)]));
        let mut put = dht.put_value(b"/test/b", "v".into());
        let mut waiting = (providers.next(), values.next(), &mut peer, &mut provide, &mut put);
        assert!(futures::poll!(&mut waiting.0).is_pending());
        assert!(futures::poll!(&mut waiting.1).is_pending());
        assert!(futures::poll!(&mut waiting.2).is_pending());
        assert!(futures::poll!(&mut waiting.3).is_pending());
        assert!(futures::poll!(&mut waiting.4).is_pending());
        dht.close().await.unwrap();
        assert!(matches!(waiting.0.await, Some(Err(Error::Closed(_)))));
        assert!(matches!(waiting.1.await, Some(Err(Error::Closed(_)))));
        assert!(matches!(waiting.2.await, Err(Error::Closed(_))));
        assert!(matches!(waiting.3.await, Err(Error::Closed(_))));
        assert!(matches!(waiting.4.await, Err(Error::Closed(_))));
        // The streams end with that error.
        assert!(providers.next().await.is_none());
        assert!(values.next().await.is_none());

        assert!(matches!(dht.provide(vec![block(1)]).await, Err(Error::Closed(_))));
        assert!(matches!(dht.closest_peers(b"a").await, Err(Error::Closed(_))));
        dht.ready().await;
        dht.close().await.unwrap();
    });
}

#[test]
fn dropping_the_last_handle_ends_it() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let found = node.dht.find_providers(&block(1), 5).collect::<Vec<_>>();
        assert!(found.await.is_empty());
        assert!(matches!(spawn(&net, &node).await, Err(Error::InUse(_))));
        let (wire, datastore) = (node.wire.clone(), node.datastore.clone());
        let clone = node.dht.clone();
        drop(node);
        net.wait(1).await;
        let node = Node { dht: clone, id: wire.local_peer(), wire, datastore };
        assert!(matches!(spawn(&net, &node).await, Err(Error::InUse(_))), "a clone is left");
        let (wire, datastore) = (node.wire.clone(), node.datastore.clone());
        drop(node);
        net.wait(1).await;
        let parts = net.parts(wire, datastore);
        Dht::spawn(&parts, options(Scope::Any)).now_or_never().unwrap().unwrap();
    });
}

async fn spawn(net: &Net, node: &Node) -> ipfs_traits::Result<Dht> {
    let parts = net.parts(node.wire.clone(), node.datastore.clone());
    Dht::spawn(&parts, options(Scope::Any)).await
}

/// In the wide network a node serves when the network says that others can reach it.
#[test]
fn whether_it_serves_follows_what_the_network_says() {
    Net::run(async |net| {
        let memory = || Arc::new(MemoryDatastore::new());
        let node = net.spawn(1, options(Scope::Wan), memory()).await;
        let asker = net.spawn(2, options(Scope::Wan), memory()).await;
        let request = Message::new(Kind::FindNode, "key");
        asker.wire.connect(&node.id.into()).await.unwrap();
        net.wait(5).await;
        assert!(ask(&asker.wire, node.id, &request).await.is_none(), "nobody has said so");
        assert_eq!(asker.dht.stats().peers, 0);

        node.wire.reachability.reachability(Reachability::Public);
        asker.dht.ready().await;
        assert!(ask(&asker.wire, node.id, &request).await.is_some());
        assert_eq!(asker.dht.peers()[0].addresses, node.wire.addresses());

        node.wire.reachability.reachability(Reachability::Private);
        net.wait(5).await;
        assert!(ask(&asker.wire, node.id, &request).await.is_none());
        assert_eq!(asker.dht.stats().peers, 0, "who no longer serves has no place");
    });
}

#[test]
fn two_scopes_live_side_by_side_on_one_network() {
    Net::run(async |net| {
        let mut nodes = Vec::new();
        for number in 0..4 {
            let mut wide = options(Scope::Any);
            wide.protocol = WAN;
            let node = net.spawn(number, wide, Arc::new(MemoryDatastore::new())).await;
            let parts = net.parts(node.wire.clone(), node.datastore.clone());
            let local = Dht::spawn(&parts, options(Scope::Lan)).await.unwrap();
            if number > 0 {
                node.wire.connect(&peer_id(number - 1).into()).await.unwrap();
            }
            nodes.push((node, local));
        }
        net.wait(700).await;
        let (first, last) = (&nodes[0], &nodes[3]);
        first.0.dht.provide(vec![block(1)]).await.unwrap();
        first.1.provide(vec![block(2)]).await.unwrap();
        let find = async |dht: &Dht, number| {
            let found: Vec<_> = dht.find_providers(&block(number), 5).try_collect().await.unwrap();
            found.len()
        };
        assert_eq!((find(&last.0.dht, 1).await, find(&last.0.dht, 2).await), (1, 0));
        assert_eq!((find(&last.1, 1).await, find(&last.1, 2).await), (0, 1));
        last.0.dht.close().await.unwrap();
        assert_eq!(find(&last.1, 2).await, 1, "the other one goes on");
    });
}

/// Whoever waits until the table is filled begins with all that those it is connected to know.
#[test]
fn one_that_is_settled_knows_the_others_and_asks_for_nobody() {
    Net::run(async |net| {
        let nodes = net.chain(0..10).await;
        let new = net.node(100).await;
        new.wire.connect(&nodes[0].id.into()).await.unwrap();
        new.dht.settled().await;
        let stats = new.dht.stats();
        assert_eq!(stats.peers, 10);
        net.wait(1).await;
        assert_eq!(new.dht.stats().queries, stats.queries);
    });
}
