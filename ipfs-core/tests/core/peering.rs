//! Peers that a node stays connected to, on a virtual clock.

use std::time::Duration;

use ipfs_core::{
    Error, Node, PeerInfo, Result, RuntimeExt, VirtualRuntime,
    memory::{MemoryHub, peer_id},
};

use crate::bootstrap::{address, node, others, peers};

const SECOND: Duration = Duration::from_secs(1);

fn run(test: impl AsyncFnOnce(VirtualRuntime, MemoryHub) -> Result<()>) {
    let runtime = VirtualRuntime::new();
    runtime.block_on(test(runtime.clone(), MemoryHub::new())).unwrap().unwrap();
}

#[test]
fn a_lost_peer_is_connected_again() {
    run(async |runtime, hub| {
        let all = others(&hub, 1..4);
        let node = node(&runtime, &hub).peering([address(0), address(1)]).spawn().await?;
        runtime.sleep(SECOND).await;
        assert_eq!(peers(&node).await, [peer_id(1)]);
        node.peering().add(peer_id(2))?;
        runtime.sleep(SECOND).await;
        assert_eq!(peers(&node).await.len(), 2);
        node.disconnect(peer_id(1)).await?;
        runtime.sleep(4 * SECOND).await;
        assert_eq!(peers(&node).await, [peer_id(2)]);
        runtime.sleep(2 * SECOND).await;
        assert_eq!(peers(&node).await.len(), 2);

        assert!(node.peering().remove(peer_id(2)));
        assert!(!node.peering().remove(peer_id(2)));
        assert_eq!(peers(&node).await.len(), 2, "it is not disconnected");
        node.disconnect(peer_id(2)).await?;
        runtime.sleep(3600 * SECOND).await;
        assert_eq!(peers(&node).await, [peer_id(1)]);
        assert_eq!(node.peering().list(), [PeerInfo::from(peer_id(1))]);
        assert!(matches!(node.peering().add(peer_id(0)), Err(Error::Invalid { .. })));
        node.close().await?;
        assert!(node.peering().list().is_empty());
        drop(all);
        Ok(())
    });
}

/// A peer that is away is tried ever less often, and found within 11 minutes of its return.
#[test]
fn a_peer_that_is_away_is_waited_for() {
    run(async |runtime, hub| {
        let node = node(&runtime, &hub).peering([address(1)]).spawn().await?;
        runtime.sleep(7 * 24 * 3600 * SECOND).await;
        let back = others(&hub, 1..2);
        runtime.sleep(660 * SECOND).await;
        assert_eq!(peers(&node).await, [peer_id(1)]);
        // It waits as little as at first.
        node.disconnect(peer_id(1)).await?;
        runtime.sleep(6 * SECOND).await;
        assert_eq!(peers(&node).await, [peer_id(1)]);
        node.close().await?;
        drop(back);
        Ok(())
    });
}

#[tokio::test]
async fn an_offline_node_stays_connected_to_nobody() {
    let refused = Node::builder().offline().peering([address(1)]).spawn().await;
    assert!(matches!(refused, Err(Error::Invalid { what: "builder", .. })));
}
