//! What must hold of the dag-pb view whatever it is fed: shared by the test and the fuzz target.

use ipfs_traits::{Bytes, Cid, Codec};
use ipfs_unixfs::dagpb::{DagPb, Node, encode};

/// Parses `input`, and reads everything there is to read.
pub(crate) fn dagpb(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let parsed = crate::memory::bounded(input, || Node::parse(bytes));
    let mut links = Vec::new();
    let by_codec = DagPb.links(&Cid::default(), input, &mut |cid| links.push(cid));
    assert_eq!(by_codec.is_ok(), parsed.is_ok(), "the codec and the view agree on what is a node");
    let Ok(node) = parsed else { return };
    crate::memory::bounded(input, || {
        assert_eq!(node.links().count(), node.len());
        assert_eq!(node.clone().into_links().count(), node.len());
    });
    assert!(node.links().map(|link| link.cid).eq(links));
    // What the encoder makes of it is the same node, and stays the same.
    let again = Node::parse(encode(node.links(), node.data().as_deref()).into()).expect("its own");
    assert!(again.links().eq(node.links()) && again.data() == node.data());
    assert!(encode(again.links(), again.data().as_deref()) == *again.bytes());
}
