//! Streams that bring too much, too slowly, too many, or not all.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, TryStreamExt};
use ipfs_routing::dht::message::{Kind, LAN, MAX_ANSWER, MAX_REQUEST, Message};
use ipfs_traits::{Inbound, Network, Routing, Runtime, varint};

use crate::{
    dht::driver::net::{Net, ask, block, framed, read, send},
    memory,
};

fn ping() -> Message {
    Message::new(Kind::Ping, "key")
}

/// A length that promises four gigabytes, one that has no end, one that is cut off, and requests that
/// are no messages. Each costs its stream and nothing else.
#[test]
fn requests_that_are_none_cost_their_stream() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        let mut promise = Vec::new();
        varint::write(u64::from(u32::MAX), &mut promise);
        let long = Message::new(Kind::FindNode, vec![7; 300]).encode();
        let mut endless = Message::new(Kind::FindNode, "key").encode();
        while endless.len() <= MAX_REQUEST {
            endless.extend([0x42, 2, 0x0a, 0]); // peers without a name
        }
        let cases: [&[u8]; 8] = [
            &promise,
            &[0xff; 32],
            &[0x80],
            &[5, 8, 4],
            &framed(&[8, 77]),
            &framed(&[0xff; 100]),
            &framed(&long),
            &framed(&endless),
        ];
        for (number, bytes) in cases.into_iter().enumerate() {
            assert_eq!(send(&peer, node.id, bytes).await, None, "case {number}");
        }
        assert_eq!(ask(&peer, node.id, &ping()).await, Some(ping()), "others are answered");
    });
}

/// A peer promises an answer of a megabyte, and sends three bytes: no megabyte is made room for.
#[test]
fn a_promise_takes_no_memory() {
    let ((), peak) = memory::peak(|| {
        Net::run(async |net| {
            let node = net.node(0).await;
            let peer = net.peer(1, |_| Box::pin(async {}));
            peer.connect(&node.id.into()).await.unwrap();
            let mut streams = Vec::new();
            for _ in 0..16 {
                let mut stream = peer.open(node.id, &[LAN]).await.unwrap();
                let mut bytes = Vec::new();
                varint::write(MAX_REQUEST as u64, &mut bytes);
                stream.write_all(&bytes).await.unwrap();
                streams.push(stream);
            }
            net.wait(1).await;
        });
    });
    assert!(peak < 16 * (MAX_REQUEST / 2) + (256 << 10), "{peak} bytes");
}

/// An answer longer than any true one is not read, whatever it says.
#[test]
fn an_answer_that_is_too_long_is_none() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |Inbound { mut stream, .. }| {
            Box::pin(async move {
                while let Some(request) = read(&mut stream).await {
                    let mut answer = Message::new(request.kind, request.key).encode();
                    while answer.len() <= MAX_ANSWER {
                        answer.extend([0x7a, 0x7f]); // a field that nobody knows
                        answer.extend([0; 0x7f]);
                    }
                    let _ = stream.write_all(&framed(&answer)).await;
                }
            })
        });
        peer.connect(&node.id.into()).await.unwrap();
        net.wait(60).await;
        let stats = node.dht.stats();
        assert!(stats.failures > 0 && stats.peers == 0, "{stats:?}");
    });
}

/// What a peer does that does not answer.
#[derive(Clone, Copy, Debug)]
enum Stalls {
    Never,
    /// A byte in a minute.
    Trickles,
    ClosesInTheMiddle,
    AnswersAnother,
}

async fn stall(how: Stalls, inbound: Inbound, net: std::sync::Arc<Net>) {
    let Inbound { mut stream, .. } = inbound;
    let Some(request) = read(&mut stream).await else { return };
    let answer = framed(&Message::new(request.kind, request.key.clone()).encode());
    match how {
        Stalls::Never => futures::future::pending().await,
        Stalls::Trickles => {
            for byte in answer {
                let _ = stream.write_all(&[byte]).await;
                net.wait(60).await;
            }
        }
        Stalls::ClosesInTheMiddle => {
            let _ = stream.write_all(&answer[..answer.len() / 2]).await;
            let _ = stream.close().await;
        }
        Stalls::AnswersAnother => {
            let other = Message::new(Kind::Ping, request.key);
            let _ = stream.write_all(&framed(&other.encode())).await;
            let _ = stream.close().await;
        }
    }
}

/// Peers that stall have no place in the table, and a lookup that meets them ends.
#[test]
fn who_stalls_is_not_waited_for() {
    for how in [Stalls::Never, Stalls::Trickles, Stalls::ClosesInTheMiddle, Stalls::AnswersAnother]
    {
        Net::run(async |net| {
            let node = net.node(0).await;
            let honest = net.node(1).await;
            let mut peers = Vec::new();
            for number in 10..30 {
                let inner = net.clone();
                let peer =
                    net.peer(number, move |inbound| Box::pin(stall(how, inbound, inner.clone())));
                peer.connect(&honest.id.into()).await.unwrap();
                peer.connect(&node.id.into()).await.unwrap();
                peers.push(peer);
            }
            honest.wire.connect(&node.id.into()).await.unwrap();
            net.wait(120).await;
            assert_eq!(node.dht.stats().peers, 1, "{how:?}");
            let start = net.runtime.now();
            let found: Vec<_> = node.dht.find_providers(&block(1), 5).try_collect().await.unwrap();
            let took = net.runtime.now() - start;
            assert!(found.is_empty() && took.as_secs() <= 60, "{how:?}: {took:?}");
        });
    }
}

/// CVE-2022-23492, CVE-2022-23486: streams are opened until memory is full.
#[test]
fn cve_2022_23492_streams_of_a_peer_are_bounded() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        peer.connect(&node.id.into()).await.unwrap();
        let mut opened = Vec::new();
        for _ in 0..10_000 {
            opened.extend(peer.open(node.id, &[LAN]).await);
        }
        assert_eq!(opened.len(), 16);
        let other = net.peer(2, |_| Box::pin(async {}));
        assert_eq!(ask(&other, node.id, &ping()).await, Some(ping()), "others have their own");
        // Nothing is asked on them: they are given up.
        net.wait(61).await;
        assert_eq!(ask(&peer, node.id, &ping()).await, Some(ping()));
        drop(opened);
    });
}

/// Streams on which a byte comes now and then, or whose answers are not read, are given up too.
#[test]
fn slow_requests_and_unread_answers_end() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        peer.connect(&node.id.into()).await.unwrap();
        let mut slow = peer.open(node.id, &[LAN]).await.unwrap();
        let bytes = framed(&ping().encode());
        for byte in &bytes[..2] {
            slow.write_all(&[*byte]).await.unwrap();
            net.wait(59).await;
        }
        assert!(slow.write_all(&bytes[2..]).await.is_err(), "a request has a minute in all");

        let mut deaf = peer.open(node.id, &[LAN]).await.unwrap();
        let long = Message::new(Kind::Ping, vec![7; 256]);
        let many: Vec<u8> = (0..4000).flat_map(|_| framed(&long.encode())).collect();
        deaf.write_all(&many[..512 << 10]).await.unwrap();
        net.wait(100).await;
        let mut rest = Vec::new();
        assert!(deaf.read_to_end(&mut rest).await.is_err());
    });
}

/// Many peers open as many streams as each of them may, and ask nothing: all places are taken, and
/// nobody else was answered for a minute.
#[test]
fn idle_streams_do_not_keep_others_from_being_answered() {
    Net::run(async |net| {
        let node = net.node(0).await;
        let mut idle = Vec::new();
        for number in 1..=32 {
            let peer = net.peer(number, |_| Box::pin(async {}));
            peer.connect(&node.id.into()).await.unwrap();
            for _ in 0..16 {
                idle.push((peer.open(node.id, &[LAN]).await.unwrap(), peer.clone()));
            }
        }
        let other = net.peer(100, |_| Box::pin(async {}));
        other.connect(&node.id.into()).await.unwrap();
        let asked = net.runtime.now();
        let request = Message::new(Kind::FindNode, "key");
        assert!(ask(&other, node.id, &request).await.is_some());
        assert!(net.runtime.now() - asked <= Duration::from_secs(5));
    });
}
