//! Requests that would have a node keep or tell what it should not.

use std::sync::Arc;

use futures::StreamExt;
use ipfs_routing::{
    Validators,
    dht::{
        Scope,
        message::{Kind, MAX_PEER_ADDRESSES, Message},
    },
};
use ipfs_traits::{
    Multiaddr, Network, PeerInfo, Routing,
    memory::{MemoryDatastore, peer_id},
    protobuf::write_bytes,
};

use crate::dht::driver::net::{Net, Node, Wire, ask, block, framed, options, send};

fn announce(key: impl Into<ipfs_traits::Bytes>, provider: PeerInfo) -> Message {
    let mut told = Message::new(Kind::AddProvider, key);
    told.providers.push(provider);
    told
}

fn at(number: u64, addresses: &[&str]) -> PeerInfo {
    PeerInfo::new(peer_id(number), addresses.iter().map(|it| it.parse().unwrap()).collect())
}

async fn told(asker: &Wire, node: &Node, number: u64) -> Vec<PeerInfo> {
    let request = Message::new(Kind::GetProviders, block(number).to_bytes());
    ask(asker, node.id, &request).await.unwrap().providers
}

#[test]
fn nobody_announces_for_somebody_else_or_under_what_is_no_hash() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        let own = || at(1, &["/memory/5"]);
        for bad in [
            announce(block(1).to_bytes(), at(2, &["/memory/9"])),
            Message::new(Kind::AddProvider, block(1).to_bytes()),
            announce("no hash", own()),
            announce("", own()),
            announce(vec![0x12; 81], own()),
        ] {
            ask(&peer, node.id, &bad).await;
        }
        net.wait(1).await;
        assert_eq!(node.dht.records(), (0, 0));
        assert!(told(&peer, &node, 1).await.is_empty());
        // Among others it may name itself, and only that is kept.
        let mut both = announce(block(1).to_bytes(), at(2, &["/memory/9"]));
        both.providers.push(own());
        ask(&peer, node.id, &both).await;
        net.wait(1).await;
        assert_eq!(told(&peer, &node, 1).await, [own()]);
    });
}

/// In the wide network a peer announces itself at addresses of a local one: whoever asks would be sent
/// to a printer of its own.
#[test]
fn ssrf_private_addresses_of_providers_are_not_told() {
    Net::run(async |net| {
        let mut wide = options(Scope::Wan);
        wide.mode = ipfs_routing::dht::Mode::Server;
        let node = net.spawn(0, wide, Arc::new(MemoryDatastore::new())).await;
        let peer = net.peer_of(1, Scope::Wan, |_| Box::pin(async {}));
        let private = ["/ip4/192.168.0.1/tcp/80", "/ip4/127.0.0.1/tcp/80", "/dns4/nas.local/tcp/1"];
        let mixed = at(1, &[private[0], "/ip4/8.8.8.8/tcp/4001", private[1], private[2]]);
        ask(&peer, node.id, &announce(block(1).to_bytes(), mixed)).await;
        net.wait(1).await;
        let addresses = told(&peer, &node, 1).await[0].addresses.clone();
        assert_eq!(addresses, ["/ip4/8.8.8.8/tcp/4001".parse::<Multiaddr>().unwrap()]);
    });
}

/// CVE-2023-40583, go-libp2p#3486: addresses without end, kept for each peer.
#[test]
fn cve_2023_40583_addresses_of_a_provider_are_bounded() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        let many: Vec<Multiaddr> =
            (0..1000).map(|n| format!("/memory/{n}").parse().unwrap()).collect();
        let mut request = announce(block(1).to_bytes(), PeerInfo::new(peer_id(1), Vec::new()));
        // More than a well-behaved sender writes.
        let mut inner = Vec::new();
        write_bytes(1, &peer_id(1).to_bytes(), &mut inner);
        for address in &many {
            write_bytes(2, address.as_ref(), &mut inner);
        }
        request.providers.clear();
        let mut bytes = request.encode();
        write_bytes(9, &inner, &mut bytes);
        send(&peer, node.id, &framed(&bytes)).await;
        net.wait(1).await;
        assert_eq!(told(&peer, &node, 1).await[0].addresses.len(), MAX_PEER_ADDRESSES);
    });
}

/// CVE-2023-26248: a block was hidden. A hundred peers announced it, each at sixteen addresses as long
/// as may be; the answer with all of them was longer than anybody reads, and so nobody learnt of the
/// true provider either.
#[test]
fn cve_2023_26248_long_addresses_do_not_hide_a_provider() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let long = |n: u64| format!("/dns4/{n:0>240}/tcp/1/p2p/{}", peer_id(n));
        for number in 1000..1600 {
            let peer = net.peer(number, |_| Box::pin(async {}));
            let addresses = (0..16).map(|n| long(n).parse().unwrap()).collect();
            let told = announce(block(1).to_bytes(), PeerInfo::new(peer_id(number), addresses));
            ask(&peer, node.id, &told).await;
        }
        let honest = net.node(1).await;
        honest.wire.connect(&node.id.into()).await.unwrap();
        honest.dht.ready().await;
        honest.dht.provide(vec![block(1)]).await.unwrap();
        let asker = net.node(2).await;
        asker.wire.connect(&node.id.into()).await.unwrap();
        asker.dht.ready().await;
        let found: Vec<_> = asker.dht.find_providers(&block(1), 5).collect().await;
        assert!(!found.is_empty(), "the answer was refused");
        assert_eq!(asker.dht.stats().failures, 0);
    });
}

/// A peer sends records until the disk is full.
#[test]
fn a_flood_of_records_is_bounded() {
    Net::run(async |net| {
        let mut few = options(Scope::Any);
        few.limits.providers = 640;
        few.limits.values = 20;
        let node = net.spawn(0, few, Arc::new(MemoryDatastore::new())).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        for number in 0..3000 {
            ask(&peer, node.id, &announce(block(number).to_bytes(), at(1, &["/memory/5"]))).await;
            let key = format!("/test/{number}");
            ask(&peer, node.id, &Message::with_value(Kind::PutValue, key, "v".into())).await;
        }
        net.wait(1).await;
        assert_eq!(node.dht.records(), (320, 20), "half of it for one peer");
        let other = net.peer(2, |_| Box::pin(async {}));
        ask(&other, node.id, &announce(block(1).to_bytes(), at(2, &["/memory/6"]))).await;
        net.wait(1).await;
        assert_eq!(told(&peer, &node, 1).await.len(), 2, "others still have room");
    });
}

#[test]
fn values_that_should_not_be_kept_are_refused() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        let put = |key: &'static str, value: &'static str| {
            Message::with_value(Kind::PutValue, key, value.into())
        };
        let good = put("/test/a", "v2");
        assert_eq!(ask(&peer, node.id, &good).await, Some(good.clone()));
        let mut under_another = put("/test/b", "v2");
        under_another.key = "/test/c".into();
        let mut long = put("/test/d", "");
        long.record.as_mut().unwrap().value = vec![b'v'; 10_241].into();
        let bad = [
            put("/test/a", "x"),
            put("/test/a", "v1"),
            put("/other/a", "v"),
            put("test/a", "v"),
            put("", "v"),
            Message::new(Kind::PutValue, "/test/a"),
            under_another,
            long,
        ];
        for (number, bad) in bad.into_iter().enumerate() {
            assert_eq!(ask(&peer, node.id, &bad).await, None, "case {number}");
        }
        assert_eq!(node.dht.records(), (0, 1));
        let got = ask(&peer, node.id, &Message::new(Kind::GetValue, "/test/a")).await.unwrap();
        assert_eq!(got.record, good.record);
        for unknown in ["/other/a", "", "/test/b", "/", "//", "/\u{7f}/"] {
            let got = ask(&peer, node.id, &Message::new(Kind::GetValue, unknown)).await.unwrap();
            assert_eq!(got.record, None, "{unknown}");
        }
    });
}

/// A value was put while its namespace was known, and is read by a node that knows it no more.
#[test]
fn values_that_are_kept_are_checked_again() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        let put = Message::with_value(Kind::PutValue, "/test/a", "v".into());
        ask(&peer, node.id, &put).await.unwrap();
        node.dht.close().await.unwrap();
        node.wire.close().await.unwrap();
        let datastore = node.datastore.clone();
        drop(node);
        let mut strict = options(Scope::Any);
        strict.engine.validators = Validators::standard();
        let node = net.spawn(0, strict, datastore).await;
        let got = ask(&peer, node.id, &Message::new(Kind::GetValue, "/test/a")).await.unwrap();
        assert_eq!(got.record, None);
    });
}
