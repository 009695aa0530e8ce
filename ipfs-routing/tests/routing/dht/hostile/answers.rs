//! Answers that lead astray.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{AsyncWriteExt, StreamExt, TryStreamExt};
use ipfs_routing::dht::{
    Mode, Scope,
    message::{Kind, Message},
};
use ipfs_traits::{
    Error, Multiaddr, Network, PeerInfo, Routing, RuntimeExt,
    memory::{MemoryDatastore, peer_id},
    protobuf::write_bytes,
};

use crate::dht::driver::net::{NOWHERE, Net, block, framed, options, read};

fn at(number: u64, address: &str) -> PeerInfo {
    PeerInfo::new(peer_id(number), vec![address.parse().unwrap()])
}

/// A peer names itself, the one that asks, the same one many times, thousands that are not there, and
/// names that are none. The lookup ends after few dials, without the asker in its own table.
#[test]
fn closer_peers_without_end_cost_few_dials() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let made_up = Arc::new(AtomicU64::new(10_000));
        let liar = net.peer(1, move |inbound| {
            let made_up = made_up.clone();
            Box::pin(async move {
                let mut stream = inbound.stream;
                while let Some(request) = read(&mut stream).await {
                    let mut answer = Message::new(request.kind, request.key);
                    let first = made_up.fetch_add(3000, Ordering::Relaxed);
                    answer.closer = vec![at(0, "/memory/1"), at(1, "/memory/2")];
                    answer.closer.extend((0..3).map(|_| at(first, "/memory/99")));
                    answer.closer.extend((first..first + 3000).map(|n| at(n, "/memory/99")));
                    let mut bytes = answer.encode();
                    write_bytes(8, &[0x0a, 3, 1, 2, 3], &mut bytes);
                    let _ = stream.write_all(&framed(&bytes)).await;
                }
            })
        });
        liar.connect(&node.id.into()).await.unwrap();
        node.dht.ready().await;
        net.wait(5).await;
        let before = (node.wire.dialed().len(), node.dht.stats().queries);
        let found: Vec<_> = node.dht.find_providers(&block(1), 5).try_collect().await.unwrap();
        assert!(found.is_empty());
        let dials = node.wire.dialed().len() - before.0;
        assert!(dials <= 15, "{dials} dials");
        assert!(node.dht.stats().queries - before.1 <= 15);
        assert!(node.wire.dialed().iter().all(|peer| peer.id != node.id), "it dialed itself");
        assert_eq!(node.dht.peers().len(), 1);
    });
}

/// In the wide network a peer names others at private addresses, and at one public address of a
/// victim. Nobody is dialed at the first, and few at the second.
#[test]
fn ssrf_private_addresses_of_closer_peers_are_not_dialed() {
    Net::run(async |net| {
        let mut wide = options(Scope::Wan);
        wide.mode = Mode::Server;
        let node = net.spawn(0, wide, Arc::new(MemoryDatastore::new())).await;
        let liar = net.liar_of(1, Scope::Wan, |_, request| {
            let mut answer = Message::new(request.kind, request.key);
            answer.closer = (0..10)
                .flat_map(|n| {
                    [
                        at(1000 + n, "/ip4/10.0.0.1/tcp/80"),
                        at(2000 + n, "/ip6/::1/tcp/80"),
                        at(3000 + n, "/ip4/8.8.4.4/tcp/443"),
                    ]
                })
                .collect();
            answer.closer.truncate(20);
            Some(answer)
        });
        liar.connect(&node.id.into()).await.unwrap();
        node.dht.ready().await;
        net.wait(5).await;
        let before = node.wire.dialed().len();
        for number in 0..10 {
            let _: Vec<_> = node.dht.find_providers(&block(number), 5).collect().await;
        }
        let dialed = node.wire.dialed();
        let private = |address: &Multiaddr| !Scope::Wan.allows(address);
        assert!(dialed.iter().all(|peer| !peer.addresses.iter().any(private)));
        let victim: Multiaddr = "/ip4/8.8.4.4/tcp/443".parse().unwrap();
        let victims = dialed[before..].iter().filter(|peer| peer.addresses.contains(&victim));
        // Three of one group of addresses count in a lookup.
        assert!(victims.count() <= 10 * 10, "the victim was dialed too often");
    });
}

/// Whoever answers first makes up a thousand providers by their names alone. The lookups of where
/// they are went before all else, and the true one came after hours.
#[test]
fn made_up_providers_do_not_keep_the_true_one_waiting() {
    Net::run(async |net| {
        let liar = net.liar(1, |_, request| {
            let mut answer = Message::new(request.kind, request.key);
            if request.kind == Kind::GetProviders {
                answer.providers = (0..1000).map(|n| peer_id(5000 + n).into()).collect();
            }
            Some(answer)
        });
        let runtime = net.runtime.clone();
        let honest = net.peer(2, move |inbound| {
            let runtime = runtime.clone();
            Box::pin(async move {
                let mut stream = inbound.stream;
                while let Some(request) = read(&mut stream).await {
                    let mut answer = Message::new(request.kind, request.key);
                    match request.kind {
                        Kind::GetProviders => answer.providers = vec![at(77, "/memory/77")],
                        // Looking for those who are not there takes its time.
                        _ => {
                            runtime.sleep(Duration::from_secs(2)).await;
                        }
                    }
                    let bytes = framed(&answer.encode());
                    let _ = stream.write_all(&bytes).await;
                }
            })
        });
        let node = net.node(0).await;
        liar.connect(&node.id.into()).await.unwrap();
        honest.connect(&node.id.into()).await.unwrap();
        net.wait(100).await;
        let before = node.dht.stats().lookups;
        let mut found = node.dht.find_providers(&block(1), 2000);
        let mut given = 0;
        let mut at_true = None;
        while let Some(peer) = found.next().await {
            given += 1;
            if peer.unwrap().id == peer_id(77) {
                at_true.get_or_insert(node.dht.stats().lookups - before);
            }
        }
        assert_eq!(given, 1001);
        let lookups = node.dht.stats().lookups - before;
        assert!(at_true.is_some_and(|lookups| lookups <= 10), "{at_true:?}");
        assert!(lookups <= 70, "{lookups} lookups for the places of those made up");
    });
}

/// One peer alone says where another is.
#[test]
fn one_peer_alone_may_send_nobody_astray() {
    Net::run(async |net| {
        let nodes = net.chain(10..40).await;
        let wanted = nodes[20].id;
        let liar = net.liar(1, move |_, request| {
            let mut answer = Message::new(request.kind, request.key);
            answer.closer = vec![PeerInfo::new(wanted, vec![NOWHERE.parse().unwrap()])];
            Some(answer)
        });
        let asker = net.node(2).await;
        liar.connect(&asker.id.into()).await.unwrap();
        asker.dht.ready().await;
        asker.wire.connect(&nodes[0].id.into()).await.unwrap();
        net.wait(5).await;
        let found = asker.dht.find_peer(wanted).await.unwrap();
        assert!(found.addresses.contains(&nodes[20].wire.addresses()[0]), "{found:?}");
    });
}

/// Ten thousand peers connect at once, say that they serve, and go.
#[test]
fn a_storm_of_connections_is_asked_in_turn() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let open = Arc::new(Mutex::new((0_usize, 0_usize)));
        let mut peers = Vec::new();
        for number in 1..2000 {
            let open = open.clone();
            let peer = net.peer(number, move |inbound| {
                let open = open.clone();
                Box::pin(async move {
                    {
                        let mut open = open.lock().unwrap();
                        open.0 += 1;
                        open.1 = open.1.max(open.0);
                    }
                    let _inbound = inbound;
                    futures::future::pending::<()>().await;
                })
            });
            peer.connect(&node.id.into()).await.unwrap();
            peers.push(peer);
        }
        net.wait(5).await;
        assert_eq!(open.lock().unwrap().1, 16, "questions at once");
        net.wait(600).await;
        let asked = node.dht.stats().queries;
        assert!(asked <= 16 + 256 + 16, "{asked} were asked: those that waited, and no more");
        drop(peers);
        net.wait(100).await;
        assert!(matches!(node.dht.find_peer(peer_id(5)).await, Err(Error::Unreachable(..))));
    });
}

/// CVE-2023-26248: whoever is nearest to a block names as many providers as are wanted, all of them
/// made up, and the lookup ends before anybody else is heard.
#[test]
fn cve_2023_26248_one_peer_alone_cannot_end_a_lookup() {
    Net::run(async |net| {
        let liar = net.liar(1, |_, request| {
            let mut answer = Message::new(request.kind, request.key);
            if request.kind == Kind::GetProviders {
                answer.providers = (0..100).map(|n| at(5000 + n, "/memory/99")).collect();
            }
            Some(answer)
        });
        let runtime = net.runtime.clone();
        let honest = net.peer(2, move |inbound| {
            let runtime = runtime.clone();
            Box::pin(async move {
                let mut stream = inbound.stream;
                while let Some(request) = read(&mut stream).await {
                    let mut answer = Message::new(request.kind, request.key);
                    if request.kind == Kind::GetProviders {
                        // The liar is always sooner.
                        runtime.sleep(Duration::from_secs(1)).await;
                        answer.providers = vec![at(77, "/memory/77")];
                    }
                    let _ = stream.write_all(&framed(&answer.encode())).await;
                }
            })
        });
        let node = net.node(0).await;
        liar.connect(&node.id.into()).await.unwrap();
        honest.connect(&node.id.into()).await.unwrap();
        net.wait(100).await;
        for want in [2, 10, 50] {
            let found: Vec<PeerInfo> =
                node.dht.find_providers(&block(1), want).try_collect().await.unwrap();
            assert!(found.iter().any(|peer| peer.id == peer_id(77)), "hidden, of {want}");
            assert_eq!(found.len(), want, "what one names beyond its share comes last");
        }
    });
}
