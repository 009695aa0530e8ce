//! What an announcement costs: the lookups of regions that were looked up a moment before.

use std::{sync::Arc, time::Duration};

use ipfs_routing::dht::{Dht, Options, Scope};
use ipfs_traits::{
    CodecTable, HashTable, Multihash, Network, Parts, Routing, Runtime, VirtualRuntime, codes,
    memory::{MemoryDatastore, MemoryHub, peer_id},
};

/// Enough that a lookup of a region does not find all.
const SERVERS: u64 = 110;

async fn node(runtime: &VirtualRuntime, hub: &MemoryHub, number: u64) -> Dht {
    let (codecs, hashes) = (Arc::new(CodecTable::new()), HashTable::standard());
    let mut parts = Parts::new(Arc::new(runtime.clone()), hashes, codecs, peer_id(number));
    parts.set_datastore(Arc::new(MemoryDatastore::new()));
    let network = hub.join(peer_id(number)).unwrap();
    for before in (1..number).take(1).chain(number.saturating_sub(3).max(1)..number) {
        network.connect(&peer_id(before).into()).await.unwrap();
    }
    parts.set_network(Arc::new(network));
    let dht = Dht::spawn(&parts, Options::new(Scope::Any)).await.unwrap();
    if number > 1 {
        dht.ready().await;
    }
    dht
}

fn keys(numbers: std::ops::Range<u32>) -> Vec<Multihash> {
    let hashes = HashTable::standard();
    numbers.map(|n| hashes.hash(codes::SHA2_256, &n.to_be_bytes()).unwrap()).collect()
}

/// A sweep of 100,000 keys goes out in 256 batches. In a network of a hundred peers each of them
/// looked up 60 peers anew, half of the network: 15,900 questions where two lookups tell all.
#[test]
fn batches_of_one_region_share_its_lookup_for_a_minute() {
    let (runtime, hub) = (VirtualRuntime::new(), MemoryHub::new());
    let of = runtime.clone();
    let done = runtime.block_on(async move {
        let mut servers = Vec::new();
        for number in 1..=SERVERS {
            servers.push(node(&of, &hub, number).await);
        }
        of.sleep_until(of.now() + Duration::from_secs(100)).await;
        let last = servers.last().unwrap();
        let lookups = async |keys: Vec<Multihash>| {
            let before = last.stats().lookups;
            last.provide(keys).await.unwrap();
            last.stats().lookups - before
        };
        let first = lookups(keys(0..200)).await;
        assert!((1..=4).contains(&first), "{first} lookups");
        assert_eq!(lookups(keys(200..400)).await, 0);
        // There is no answer to a record: it has gone out, and has to come in.
        of.sleep_until(of.now() + Duration::from_secs(1)).await;
        let kept: usize = servers.iter().map(|server| server.records().0).sum();
        assert_eq!(kept, 400 * 20);
        of.sleep_until(of.now() + Duration::from_secs(61)).await;
        assert_eq!(lookups(keys(400..600)).await, first);
    });
    done.unwrap();
}
