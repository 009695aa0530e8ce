//! The libp2p host.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::BoxFuture};
use ipfs_core::{
    Error, Multiaddr, Network, Node, PeerInfo, Result, Runtime, Task, conformance,
    network::{Event, Protocol, Reachability, Stream, Traffic},
};

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// A node in memory that listens at one address.
pub(crate) async fn listening(address: &str) -> Result<Node> {
    Node::builder().listen([address.parse().unwrap()]).spawn().await
}

/// Two networks, whose nodes stay as long as they do.
async fn pair(address: &str) -> Result<(Arc<dyn Network>, Arc<dyn Network>)> {
    // Without an exchange, which would accept streams of its own.
    let node = || async {
        let node = Node::builder().listen([address.parse().unwrap()]);
        node.exchange(ipfs_core::OfflineExchange).spawn().await
    };
    let (a, b) = (node().await?, node().await?);
    Ok((a.network().clone(), b.network().clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_is_a_network() {
    conformance::network(|| pair(TCP)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_is_a_network() {
    conformance::network(|| pair(QUIC)).await.unwrap();
}

const NAME: Protocol = Protocol::from_static("/test/1");

async fn said(stream: &mut Stream) -> u32 {
    let mut number = [0; 4];
    stream.read_exact(&mut number).await.unwrap();
    u32::from_le_bytes(number)
}

/// Kubo opens a stream for each answer: all that were accepted come, though nobody takes them until
/// the last one is there, and one beyond the bound is reset alone.
#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_stream_is_lost() {
    const BOUND: u32 = 128;
    for address in [TCP, QUIC] {
        let (a, b) = pair(address).await.unwrap();
        let mut inbound = b.accept(&[NAME], BOUND as usize).unwrap();
        a.connect(&PeerInfo::new(b.local_peer(), b.addresses())).await.unwrap();
        let mut held = Vec::new();
        for number in 0..BOUND {
            let mut stream = a.open(b.local_peer(), &[NAME]).await.unwrap();
            stream.write_all(&number.to_le_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            held.push(stream);
        }
        for refused in 1..=10 {
            let mut over = a.open(b.local_peer(), &[NAME]).await.unwrap();
            assert!(!matches!(over.read(&mut [0]).await, Ok(1..)));
            assert_eq!(b.stats().refused_streams, refused);
        }
        let mut numbers = Vec::new();
        for _ in 0..BOUND {
            numbers.push(said(&mut inbound.next().await.unwrap().stream).await);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..BOUND).collect::<Vec<_>>(), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_nobody_accepts_is_unsupported_for_that_call_only() {
    let (a, b) = pair(TCP).await.unwrap();
    a.connect(&PeerInfo::new(b.local_peer(), b.addresses())).await.unwrap();
    let refused = a.open(b.local_peer(), &[NAME]).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    let mut inbound = b.accept(&[NAME], 1).unwrap();
    let mut stream = a.open(b.local_peer(), &[NAME]).await.unwrap();
    stream.write_all(&7_u32.to_le_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(said(&mut inbound.next().await.unwrap().stream).await, 7);
}

/// An idle connection goes after a while; one that the application asked for does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_connects_stays_connected() {
    // Only the one that dials lets connections go.
    let mut options = ipfs_core::network::Options::default();
    options.idle_timeout = Duration::from_millis(100);
    let quiet =
        || Node::builder().exchange(ipfs_core::OfflineExchange).listen([TCP.parse().unwrap()]);
    let a = quiet().libp2p(options).spawn().await.unwrap();
    let (b, c) = (quiet().spawn().await.unwrap(), quiet().spawn().await.unwrap());
    let mut events = a.network().events();
    a.connect(b.addresses()).await.unwrap();
    let unasked = PeerInfo::new(c.peer_id(), c.network().addresses());
    for _ in 0..2 {
        a.network().connect(&unasked).await.unwrap();
        while events.next().await.unwrap() != Event::Gone(c.peer_id()) {}
    }
    assert_eq!(a.peers().await, [b.peer_id()]);
    a.disconnect(b.peer_id()).await.unwrap();
    assert!(a.peers().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dialing_says_what_went_wrong() {
    let (a, b) = (listening(TCP).await.unwrap(), listening(TCP).await.unwrap());
    let nobody = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", b.peer_id());
    let error = a.connect(nobody.as_str()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(peer, Some(_)) if peer == b.peer_id()), "{error}");

    // Another node answers than the one that was named.
    let c = listening(TCP).await.unwrap();
    let wrong: Multiaddr = b.network().addresses()[0].clone().with_p2p(c.peer_id()).unwrap();
    let error = a.connect(&wrong).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(peer, Some(_)) if peer == c.peer_id()), "{error}");

    let own = a.connect(a.addresses()).await;
    assert!(matches!(own, Err(Error::Invalid { what: "address", .. })));
    let unknown = a.connect(c.peer_id()).await;
    assert!(matches!(unknown, Err(Error::Unreachable(..))), "no address is known");
    a.close().await.unwrap();
    assert!(matches!(a.connect(b.addresses()).await, Err(Error::Closed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_listened_at_is_an_error_that_names_it() {
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("/ip4/127.0.0.1/tcp/{}", first.local_addr().unwrap().port());
    let error = listening(&taken).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains(&taken), "{why}");
    let strange = listening("/ip4/127.0.0.1/tcp/0/ws").await;
    assert!(matches!(strange, Err(Error::Component { name: "libp2p", .. })));
}

/// The default listens on all interfaces, over both transports.
#[tokio::test(flavor = "multi_thread")]
async fn unless_told_a_node_listens_everywhere() {
    let node = Node::builder().spawn().await.unwrap();
    let addresses: Vec<String> = node.addresses().iter().map(ToString::to_string).collect();
    assert!(addresses.iter().any(|address| address.contains("/tcp/")), "{addresses:?}");
    assert!(addresses.iter().any(|address| address.contains("/quic-v1")), "{addresses:?}");
    let peer = node.peer_id().to_string();
    assert!(addresses.iter().all(|address| address.ends_with(&peer)));
    let silent = Node::builder().listen([]).spawn().await.unwrap();
    assert!(silent.addresses().is_empty());
    silent.connect(node.addresses()).await.unwrap();
    assert_eq!(silent.peers().await, [node.peer_id()]);
}

/// A host whose runtime is another one than tokio lends its node a tokio for the sockets.
#[test]
fn a_node_runs_on_another_runtime_than_tokio() {
    let sockets =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let sockets = sockets.unwrap();
    let mut options = ipfs_core::network::Options::default();
    options.tokio = Some(sockets.handle().clone());
    smol::block_on(async {
        let node = || {
            let node = Node::builder().runtime(Smol).libp2p(options.clone());
            node.listen([TCP.parse().unwrap(), QUIC.parse().unwrap()]).spawn()
        };
        let (a, b) = (node().await.unwrap(), node().await.unwrap());
        let added = a.unixfs().add_bytes(vec![7; 3_000_000]).await.unwrap();
        b.connect(a.addresses()).await.unwrap();
        let mut found = Vec::new();
        b.unixfs().open(&added.cid).await.unwrap().read_to_end(&mut found).await.unwrap();
        assert!(found == vec![7; 3_000_000]);
        a.close().await.unwrap();
        b.close().await.unwrap();
    });
    let error = smol::block_on(Node::builder().runtime(Smol).spawn());
    assert!(matches!(error, Err(Error::Invalid { what: "runtime", .. })));
    let error = smol::block_on(Node::builder().offline().spawn());
    assert!(matches!(error, Err(Error::Invalid { .. })), "no runtime is here");
}

/// A runtime that is not tokio.
#[derive(Debug)]
struct Smol;

impl Runtime for Smol {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        let (task, future) = Task::new(future);
        smol::spawn(future).detach();
        task
    }
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        smol::unblock(work).detach();
    }
    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            smol::Timer::at(t).await;
        })
    }
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// What went over streams is counted for all, for each protocol, and for each peer.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_by_peer_and_by_protocol() {
    for address in [TCP, QUIC] {
        let (a, b) = pair(address).await.unwrap();
        let mut inbound = b.accept(&[NAME], 8).unwrap();
        a.connect(&PeerInfo::new(b.local_peer(), b.addresses())).await.unwrap();
        let mut here = a.open(b.local_peer(), &[NAME]).await.unwrap();
        here.write_all(&[7; 100_000]).await.unwrap();
        here.flush().await.unwrap();
        let mut there = inbound.next().await.unwrap().stream;
        there.read_exact(&mut vec![0; 100_000]).await.unwrap();
        there.write_all(&[8; 10]).await.unwrap();
        there.flush().await.unwrap();
        here.read_exact(&mut [0; 10]).await.unwrap();
        for (network, other, traffic) in [
            (&a, b.local_peer(), Traffic::new(10, 100_000)),
            (&b, a.local_peer(), Traffic::new(100_000, 10)),
        ] {
            let stats = network.stats();
            assert_eq!(stats.traffic, traffic, "{address}");
            assert_eq!(stats.peers, [(other, traffic)], "{address}");
            assert_eq!(stats.protocols, [(NAME, traffic)], "{address}");
        }
        a.disconnect(b.local_peer()).await.unwrap();
        assert!(a.stats().peers.is_empty());
        assert_eq!(a.stats().traffic, Traffic::new(10, 100_000));
    }
}

/// Streams of all peers together are bounded, however few each of them has.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_all_peers_are_bounded_together() {
    let node = |max_streams| async move {
        let mut options = ipfs_core::network::Options::default();
        options.max_streams = max_streams;
        let node = Node::builder().listen([TCP.parse().unwrap()]).libp2p(options);
        node.exchange(ipfs_core::OfflineExchange).spawn().await.unwrap().network().clone()
    };
    let (host, guests) = (node(4).await, [node(100).await, node(100).await]);
    let mut inbound = host.accept(&[NAME], 8).unwrap();
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for guest in guests.iter().cycle().take(4) {
        guest.connect(&PeerInfo::new(host.local_peer(), host.addresses())).await.unwrap();
        let mut stream = guest.open(host.local_peer(), &[NAME]).await.unwrap();
        stream.write_all(&7_u32.to_le_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut taken = inbound.next().await.unwrap().stream;
        assert_eq!(said(&mut taken).await, 7);
        near.push(taken);
        far.push(stream);
    }
    let mut over = guests[0].open(host.local_peer(), &[NAME]).await.unwrap();
    assert!(!matches!(over.read(&mut [0]).await, Ok(1..)));
    assert_eq!(host.stats().refused_streams, 1);
    // One that has ended makes room for another.
    near.pop();
    let mut stream = guests[0].open(host.local_peer(), &[NAME]).await.unwrap();
    stream.write_all(&8_u32.to_le_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(said(&mut inbound.next().await.unwrap().stream).await, 8);
}

/// Two nodes that know nothing of each other, where the machine's network carries multicast.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_network_find_each_other() {
    if let Err(why) = multicast() {
        return println!("skipped: no multicast here ({why})");
    }
    let mut options = ipfs_core::network::Options::default();
    options.mdns = true;
    let node = || Node::builder().libp2p(options.clone()).spawn();
    let (a, b) = (node().await.unwrap(), node().await.unwrap());
    let mut events = a.network().events();
    loop {
        match events.next().await.unwrap() {
            Event::Connected(peer) if peer == b.peer_id() => break,
            // They have met before the first event was asked for.
            Event::Snapshot(now) if now.peers.iter().any(|peer| peer.peer == b.peer_id()) => break,
            _ => {}
        }
    }
    let mut found = a.routing().find_peer(b.peer_id()).await;
    while found.is_err() {
        // The other one was found first, and has connected.
        tokio::task::yield_now().await;
        found = a.routing().find_peer(b.peer_id()).await;
    }
    assert!(!found.unwrap().addresses.is_empty());
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Whether a message to the group of multicast DNS comes back, from an address that is not of this
/// machine alone.
pub(crate) fn multicast() -> std::io::Result<()> {
    use std::net::{Ipv4Addr, UdpSocket};
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(b"hello", (GROUP, socket.local_addr()?.port()))?;
    socket.recv(&mut [0; 16]).map(drop)
}

/// A host knows of a forwarded port; its peers are told of it.
#[tokio::test]
async fn peers_are_told_of_external_addresses() {
    let external: Multiaddr = "/dns4/example.com/tcp/4001".parse().unwrap();
    let mut options = ipfs_core::network::Options::default();
    options.external = vec![external.clone()];
    let here = || Node::builder().listen([TCP.parse().unwrap()]);
    let known = here().libp2p(options).spawn().await.unwrap();
    let other = here().spawn().await.unwrap();
    assert!(known.network().addresses().contains(&external));
    let Some(Event::Snapshot(now)) = known.network().events().next().await else { panic!() };
    assert_eq!(now.reachability, Reachability::Public);
    let mut events = other.network().events();
    other.connect(known.addresses()).await.unwrap();
    while let Some(event) = events.next().await {
        if let Event::Addresses(peer, addresses) = event
            && peer == known.peer_id()
            && addresses.contains(&external)
        {
            // The one that was dialed comes first.
            assert!(known.network().addresses().contains(&addresses[0]));
            break;
        }
    }
    known.close().await.unwrap();
    other.close().await.unwrap();
}
