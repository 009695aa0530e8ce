//! Garbage that is collected without being asked for, on a virtual clock.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use ipfs_core::{
    Batch, Blockstore, BlockstoreExt, CollectWhen, Datastore, Events, Node, NodeEvent,
    VirtualRuntime,
    memory::{MemoryDatastore, MemoryStore},
};

use super::raw;

const HOUR: Duration = Duration::from_secs(3600);

/// A node that collects by itself, its store, and what happens in it.
async fn node(
    runtime: &VirtualRuntime,
    datastore: &Arc<MemoryDatastore>,
    when: CollectWhen,
) -> (Node, Arc<MemoryStore>, Events) {
    let store = Arc::new(MemoryStore::new());
    let node = Node::builder()
        .runtime(Arc::new(runtime.clone()))
        .store(store.clone() as Arc<dyn Blockstore>)
        .datastore(datastore.clone() as Arc<dyn Datastore>)
        .offline()
        .collect(when)
        .spawn()
        .await
        .unwrap();
    let events = node.events();
    (node, store, events)
}

/// How many blocks the next collection has deleted.
async fn collected(events: &mut Events) -> u64 {
    loop {
        if let NodeEvent::CollectionEnded { blocks, .. } = events.next().await.unwrap() {
            return blocks;
        }
    }
}

#[test]
fn from_time_to_time() {
    let (runtime, datastore) = (VirtualRuntime::new(), Arc::default());
    let run = runtime.clone();
    run.block_on(async {
        let (node, store, mut events) = node(&runtime, &datastore, CollectWhen::every(HOUR)).await;
        for number in 0..3 {
            let begun = node.runtime().now();
            let block = raw(&node, number);
            node.blocks().put(block.clone()).await.unwrap();
            assert_eq!(collected(&mut events).await, 1);
            assert!(!store.has(block.cid()).await.unwrap());
            let passed = node.runtime().now() - begun;
            assert!(passed <= HOUR && (number == 0 || passed == HOUR), "{passed:?}");
        }
    })
    .unwrap();
}

/// At 1,000 bytes, and when what is pinned is more than that, with each tenth that is added.
#[test]
fn when_there_is_much() {
    let (runtime, datastore) = (VirtualRuntime::new(), Arc::default());
    let run = runtime.clone();
    run.block_on(async {
        let when = CollectWhen::larger_than(1000);
        let (node, store, mut events) = node(&runtime, &datastore, when).await;
        for number in 0..9 {
            node.blocks().put(raw(&node, number)).await.unwrap();
        }
        node.runtime().sleep_until(node.runtime().now() + HOUR).await;
        assert_eq!(store.usage().await.unwrap().unwrap().blocks, Some(9), "it is less than that");
        for number in 9..20 {
            let block = raw(&node, number);
            node.blocks().put(block.clone()).await.unwrap();
            node.pins().add(*block.cid()).await.unwrap();
        }
        assert_eq!(collected(&mut events).await, 9);
        // 1,100 bytes are pinned.
        node.runtime().sleep_until(node.runtime().now() + HOUR).await;
        node.blocks().put(raw(&node, 20)).await.unwrap();
        assert_eq!(collected(&mut events).await, 1);
    })
    .unwrap();
}

#[test]
fn what_was_cut_off_is_begun_again_at_the_start() {
    let (runtime, datastore) = (VirtualRuntime::new(), Arc::new(MemoryDatastore::new()));
    let run = runtime.clone();
    run.block_on(async {
        datastore.commit(Batch::new().put("gc/under-way", "")).await.unwrap();
        let (node, ..) = node(&runtime, &datastore, CollectWhen::every(HOUR)).await;
        let begun = node.runtime().now();
        while node.gc().is_unfinished().await.unwrap() {
            node.runtime().sleep_until(node.runtime().now() + Duration::from_millis(1)).await;
        }
        assert!(node.runtime().now() - begun < HOUR, "it does not wait for the hour");
    })
    .unwrap();
}
