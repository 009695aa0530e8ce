//! Coming into a network and staying in it, on a virtual clock.

use std::{sync::Arc, time::Duration};

use ipfs_core::{
    Batch, Bootstrap, Builder, Datastore, Error, Multiaddr, Network, Node, OfflineExchange, PeerId,
    PeerInfo, Result, Routing, RuntimeExt, VirtualRuntime, async_trait,
    memory::{MemoryDatastore, MemoryHub, MemoryNetwork, peer_id},
};

pub(crate) fn address(number: u64) -> Multiaddr {
    format!("/p2p/{}", peer_id(number)).parse().unwrap()
}

/// Node 0 of a world.
pub(crate) fn node(runtime: &VirtualRuntime, hub: &MemoryHub) -> Builder {
    let network = hub.join(peer_id(0)).unwrap();
    Node::builder().runtime(runtime.clone()).network(network).exchange(OfflineExchange)
}

pub(crate) fn others(hub: &MemoryHub, numbers: std::ops::Range<u64>) -> Vec<MemoryNetwork> {
    numbers.map(|number| hub.join(peer_id(number)).unwrap()).collect()
}

pub(crate) async fn peers(node: &Node) -> Vec<PeerId> {
    let mut peers = node.peers().await;
    peers.sort();
    peers
}

const SECOND: Duration = Duration::from_secs(1);

fn run(test: impl AsyncFnOnce(VirtualRuntime, MemoryHub) -> Result<()>) {
    let runtime = VirtualRuntime::new();
    runtime.block_on(test(runtime.clone(), MemoryHub::new())).unwrap().unwrap();
}

#[test]
fn as_many_peers_as_are_needed_are_connected() {
    run(async |runtime, hub| {
        let all = others(&hub, 1..11);
        let bootstrap = Bootstrap::new((0..11).map(address));
        let node = node(&runtime, &hub).bootstrap(bootstrap).spawn().await?;
        runtime.sleep(SECOND).await;
        let first = peers(&node).await;
        assert_eq!(first.len(), 4);
        // One goes; another one takes its place at the next look.
        node.disconnect(first[0]).await?;
        runtime.sleep(20 * SECOND).await;
        assert_eq!(peers(&node).await.len(), 3);
        runtime.sleep(20 * SECOND).await;
        assert_eq!(peers(&node).await.len(), 4);
        // All go; that is seen at once.
        for peer in peers(&node).await {
            node.disconnect(peer).await?;
        }
        runtime.sleep(SECOND).await;
        assert_eq!(peers(&node).await.len(), 4);
        node.close().await?;
        drop(all);
        Ok(())
    });
}

#[test]
fn those_who_do_not_answer_are_passed_over_and_tried_again() {
    run(async |runtime, hub| {
        let here = others(&hub, 8..10);
        let bootstrap = Bootstrap::new((1..10).map(address));
        let node = node(&runtime, &hub).bootstrap(bootstrap).spawn().await?;
        runtime.sleep(SECOND).await;
        assert_eq!(peers(&node).await.len(), 2);
        let later = others(&hub, 1..8);
        runtime.sleep(31 * SECOND).await;
        assert_eq!(peers(&node).await.len(), 4);
        node.close().await?;
        drop((here, later));
        Ok(())
    });
}

/// The list is dead when the node is started again: peers that were seen are there.
#[test]
fn peers_are_saved_and_used_at_the_next_start() {
    run(async |runtime, hub| {
        let datastore = Arc::new(MemoryDatastore::new());
        let listed = others(&hub, 1..2);
        let met = others(&hub, 2..40);
        let bootstrap = || Bootstrap::new([address(1)]);
        let start =
            || node(&runtime, &hub).datastore(datastore.clone()).bootstrap(bootstrap()).spawn();
        let first = start().await?;
        for peer in &met {
            peer.connect(&peer_id(0).into()).await?;
        }
        runtime.sleep(3601 * SECOND).await;
        first.close().await?;
        drop((first, listed));
        let second = start().await?;
        runtime.sleep(SECOND).await;
        assert_eq!(peers(&second).await.len(), 4);
        // Those saved before are kept while there are few new ones.
        runtime.sleep(3601 * SECOND).await;
        second.close().await?;
        drop(second);
        let third = start().await?;
        for peer in &met {
            third.disconnect(peer.local_peer()).await?;
        }
        runtime.sleep(SECOND).await;
        assert_eq!(peers(&third).await.len(), 4);
        third.close().await?;
        Ok(())
    });
}

/// Whatever stands in the datastore, the node starts.
#[test]
fn saved_nonsense_is_passed_over() {
    for nonsense in [&b"nonsense"[..], &[10, 2, 10, 0], &[10, 255], &[8, 1]] {
        run(async |runtime, hub| {
            let datastore = Arc::new(MemoryDatastore::new());
            datastore.commit(Batch::new().put("bootstrap/saved", nonsense.to_vec())).await?;
            let all = others(&hub, 1..2);
            let bootstrap = Bootstrap::new([address(1)]);
            let node = node(&runtime, &hub).datastore(datastore).bootstrap(bootstrap);
            let node = node.spawn().await?;
            runtime.sleep(SECOND).await;
            assert_eq!(peers(&node).await, [peer_id(1)]);
            // The next save writes over it.
            let met = others(&hub, 2..3);
            met[0].connect(&peer_id(0).into()).await?;
            runtime.sleep(3601 * SECOND).await;
            let saved = node.datastore().get(b"bootstrap/saved").await?.unwrap();
            assert!(saved != nonsense);
            node.close().await?;
            drop(all);
            Ok(())
        });
    }
}

#[test]
fn the_public_list_is_data_and_addresses_are_checked() {
    assert_eq!(Bootstrap::public().peers.len(), 7);
    run(async |runtime, hub| {
        let nameless = || Bootstrap::new(["/ip4/127.0.0.1/tcp/1".parse().unwrap()]);
        let refused = node(&runtime, &hub).bootstrap(nameless()).spawn().await;
        assert!(matches!(refused, Err(Error::Invalid { what: "address", .. })));
        let offline = Node::builder().runtime(runtime.clone()).offline();
        let refused = offline.bootstrap(Bootstrap::public()).spawn().await;
        assert!(matches!(refused, Err(Error::Invalid { what: "builder", .. })));
        Ok(())
    });
}

/// A router that knows where peer 1 is.
#[derive(Debug)]
struct Knows;

#[async_trait]
impl Routing for Knows {
    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        match peer == peer_id(1) {
            true => Ok(PeerInfo::new(peer, vec!["/memory/1".parse().unwrap()])),
            false => Err(Error::Unreachable(peer, None)),
        }
    }
}

/// A network that reaches nobody without an address.
#[derive(Debug)]
struct Strict(MemoryNetwork);

#[async_trait]
impl Network for Strict {
    fn local_peer(&self) -> PeerId {
        self.0.local_peer()
    }
    fn addresses(&self) -> Vec<Multiaddr> {
        self.0.addresses()
    }
    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        match peer.addresses.is_empty() {
            true => Err(Error::Unreachable(peer.id, None)),
            false => self.0.connect(peer).await,
        }
    }
    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.0.disconnect(peer).await
    }
    async fn open(
        &self,
        peer: PeerId,
        protocols: &[ipfs_core::network::Protocol],
    ) -> Result<ipfs_core::network::Stream> {
        self.0.open(peer, protocols).await
    }
    fn accept(
        &self,
        protocols: &[ipfs_core::network::Protocol],
        max_per_peer: usize,
    ) -> Result<futures::stream::BoxStream<'static, ipfs_core::Inbound>> {
        self.0.accept(protocols, max_per_peer)
    }
    fn events(&self) -> futures::stream::BoxStream<'static, ipfs_core::network::Event> {
        self.0.events()
    }
    fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> ipfs_core::Protection {
        self.0.protect(peer, tag, weight)
    }
    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

#[test]
fn the_routing_is_asked_for_the_addresses_of_a_peer() {
    run(async |runtime, hub| {
        let all = others(&hub, 1..3);
        let network = Strict(hub.join(peer_id(0))?);
        let node = Node::builder().runtime(runtime.clone()).network(network).routing(Knows);
        let node = node.exchange(OfflineExchange).spawn().await?;
        node.connect(peer_id(1)).await?;
        let unknown = node.connect(peer_id(2)).await;
        assert!(matches!(unknown, Err(Error::Unreachable(..))));
        assert_eq!(peers(&node).await, [peer_id(1)]);
        node.close().await?;
        drop(all);
        Ok(())
    });
}
