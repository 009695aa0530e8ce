//! Pinning what a node has: the node and the service meet.

use std::sync::Arc;

use ipfs_core::{
    Block, HashTable, Multiaddr, Network, Node, PinningService, VirtualRuntime, codes,
    memory::{MemoryHub, peer_id},
    pinning_service::{MAX_PROVIDERS, Options, PinOptions},
};

use super::{TOKEN, Web, cid, named, origin};
use crate::bootstrap::{node, others, peers};

struct World {
    web: Web,
    hub: MemoryHub,
    node: Node,
}

impl World {
    async fn new(runtime: &VirtualRuntime) -> Self {
        let hub = MemoryHub::new();
        let mut web = Web::new();
        web.runtime = runtime.clone();
        let node = node(runtime, &hub).spawn().await.unwrap();
        Self { web, hub, node }
    }

    fn service(&self, endpoint: &str) -> PinningService {
        let (runtime, client) = (Arc::new(self.web.runtime.clone()), Arc::new(self.web.clone()));
        PinningService::new(runtime, client, endpoint, TOKEN, Options::default()).unwrap()
    }

    async fn block(&self) -> ipfs_core::Cid {
        let block = Block::of(codes::RAW, codes::SHA2_256, "here", &HashTable::standard()).unwrap();
        self.node.blocks().put(block.clone()).await.unwrap();
        *block.cid()
    }

    fn told(&self, id: &str) -> Vec<String> {
        let told = self.web.service.told(id);
        let origins = told.get("origins").and_then(|origins| origins.as_array());
        let origins = origins.into_iter().flatten();
        origins.map(|origin| origin.as_str().unwrap().to_owned()).collect()
    }
}

fn run(test: impl AsyncFnOnce(World)) {
    let runtime = VirtualRuntime::new();
    runtime.block_on(async { test(World::new(&runtime).await).await }).unwrap();
}

/// `http://localhost` is near, so it is told of all addresses.
const NEAR: &str = "http://localhost:3000";

#[test]
fn delegates_are_connected_and_origins_told() {
    run(async |world| {
        let delegates = others(&world.hub, 1..4);
        let mut named_ones: Vec<String> =
            delegates.iter().map(|it| format!("/p2p/{}", it.local_peer())).collect();
        // Those who are away, no peers, and the node itself do no harm.
        named_ones.push(format!("/p2p/{}", peer_id(77)));
        named_ones.push(format!("/p2p/{}", peer_id(0)));
        named_ones.push("/ip4/1.1.1.1/tcp/1".into());
        world.web.service.delegates(named_ones);
        let root = world.block().await;
        let pin = world.service(NEAR).pin_from(&world.node, &root, named("mine")).await.unwrap();
        assert_eq!(pin.name.as_deref(), Some("mine"));
        assert_eq!(peers(&world.node).await.len(), 3);
        let mine: Vec<String> = world.node.addresses().iter().map(Multiaddr::to_string).collect();
        assert!(!mine.is_empty());
        assert_eq!(world.told(&pin.request_id), mine);
        world.node.close().await.unwrap();
    });
}

/// What a node does not have it says nothing of.
#[test]
fn a_node_without_the_block_is_not_named() {
    run(async |world| {
        let delegates = others(&world.hub, 1..2);
        world.web.service.delegates(vec![format!("/p2p/{}", delegates[0].local_peer())]);
        let service = world.service(NEAR);
        let pin = service.pin_from(&world.node, &cid(1), PinOptions::default()).await.unwrap();
        assert_eq!(peers(&world.node).await, []);
        assert_eq!(world.told(&pin.request_id), [""; 0]);
        assert_eq!(pin.delegates.len(), 1);
    });
}

/// The addresses of a private network went to services far away, which could do nothing with them; and
/// they could have the node dial what is beside it.
#[test]
fn with_a_distant_service_public_addresses_alone_count() {
    run(async |world| {
        let root = world.block().await;
        let beside = others(&world.hub, 1..2);
        let address = format!("{}/p2p/{}", beside[0].addresses()[0], beside[0].local_peer());
        world.web.service.delegates(vec![address]);
        let service = world.service("https://pin.example");
        let mut options = PinOptions::default();
        options.origins = vec![origin(9)];
        let pin = service.pin_from(&world.node, &root, options).await.unwrap();
        assert_eq!(world.told(&pin.request_id), [origin(9).to_string()]);
        assert_eq!(peers(&world.node).await, []);
        // Near, it is connected to.
        world.service(NEAR).pin_from(&world.node, &root, PinOptions::default()).await.unwrap();
        assert_eq!(peers(&world.node).await, [peer_id(1)]);
    });
}

/// Those that the caller names come first, and leave room for so many more.
#[test]
fn origins_stay_within_the_limit() {
    run(async |world| {
        let root = world.block().await;
        let mut options = PinOptions::default();
        options.origins = (0..MAX_PROVIDERS as u64).map(origin).collect();
        let pin = world.service(NEAR).pin_from(&world.node, &root, options).await.unwrap();
        assert_eq!(world.told(&pin.request_id).len(), MAX_PROVIDERS);
    });
}
