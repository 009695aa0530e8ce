//! What a node tells of what happens in it.

use futures::{FutureExt, StreamExt, io::AllowStdIo};
use ipfs_core::{
    Events, Node, NodeEvent, VirtualRuntime,
    memory::{MemoryHub, RoutingTable, peer_id},
};

use crate::three::join;

/// What was told by now.
fn told(events: &mut Events) -> Vec<NodeEvent> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

#[test]
fn peers_come_and_go_and_blocks_are_fetched() {
    let runtime = VirtualRuntime::new();
    let run = async {
        let hub = MemoryHub::new();
        let ((a, _), (b, _)) = (join(&hub, &runtime, 1).await, join(&hub, &runtime, 2).await);
        let mut events = b.events();
        assert_eq!(told(&mut events), []);
        let root = a.unixfs().add_bytes("hello").await.unwrap().cid;
        b.connect(a.peer_id()).await.unwrap();
        let fetched = b.fetch(root).await.unwrap();
        assert_eq!((fetched.fetched_blocks, fetched.fetched_bytes), (1, 5));
        let mut late = b.events();
        let connected = NodeEvent::Connected(a.peer_id());
        assert_eq!(late.next().await, Some(connected.clone()), "who is there");
        b.disconnect(a.peer_id()).await.unwrap();
        b.fetch(root).await.unwrap();
        b.close().await.unwrap();

        // Peers and the rest keep their own order each.
        let (peers, rest): (Vec<_>, Vec<_>) =
            events.collect::<Vec<_>>().await.into_iter().partition(of_peers);
        let disconnected = NodeEvent::Disconnected(a.peer_id());
        assert_eq!(peers, [connected, disconnected.clone()]);
        let expected = [
            NodeEvent::Fetched { root, blocks: 1, bytes: 5 },
            NodeEvent::Fetched { root, blocks: 0, bytes: 0 },
            NodeEvent::Closed,
        ];
        assert_eq!(rest, expected);
        // Who came late is not told what was.
        let late: Vec<NodeEvent> = late.collect().await;
        let (peers, rest): (Vec<_>, Vec<_>) = late.into_iter().partition(of_peers);
        assert_eq!((&peers[..], &rest[..]), (&[disconnected][..], &expected[1..]));
    };
    runtime.block_on(run).unwrap();
}

fn of_peers(event: &NodeEvent) -> bool {
    matches!(event, NodeEvent::Connected(_) | NodeEvent::Disconnected(_))
}

#[tokio::test]
async fn what_is_added_and_published_is_told() {
    let table = RoutingTable::new();
    let node = Node::builder().routing(table.join(peer_id(1).into())).listen([]);
    let node = node.spawn().await.unwrap();
    let mut events = node.events();
    let root = node.unixfs().add_bytes("hello").await.unwrap().cid;
    assert_eq!(told(&mut events), [NodeEvent::Added { root }]);

    let published = node.names().publish("self", root).await.unwrap();
    let expected = NodeEvent::Published { name: published.name, path: root.into() };
    assert_eq!(told(&mut events), [expected]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.car");
    let file = AllowStdIo::new(std::fs::File::create(&path).unwrap());
    node.dag().export(&[root], file).await.unwrap();
    assert_eq!(told(&mut events), []);
    node.dag().import(AllowStdIo::new(std::fs::File::open(&path).unwrap())).await.unwrap();
    assert_eq!(told(&mut events), [NodeEvent::Added { root }]);
    node.close().await.unwrap();
}

/// Listening keeps no node alive, and the end of the node is the end of the stream.
#[tokio::test]
async fn listening_keeps_no_node_alive() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let (mut events, runtime) = (node.events(), std::sync::Arc::downgrade(node.runtime()));
    let also = node.clone();
    drop(node);
    assert_eq!(told(&mut events), [], "a handle is left");
    drop(also);
    assert_eq!(events.next().await, Some(NodeEvent::Closed));
    assert_eq!(events.next().await, None);
    assert_eq!(runtime.strong_count(), 0, "nothing of the node runs any more");

    let node = Node::builder().offline().spawn().await.unwrap();
    node.close().await.unwrap();
    assert_eq!(node.events().collect::<Vec<_>>().await, [NodeEvent::Closed]);
}
