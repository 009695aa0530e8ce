//! What the benches share.

use ipfs_core::{Node, unixfs::Params};

#[allow(dead_code, reason = "here only the numbers themselves are used")]
#[path = "../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;

/// Bytes that look like chance.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut numbers = numbers::Numbers(1);
    (0..len.div_ceil(8)).flat_map(|_| numbers.next().to_le_bytes()).take(len).collect()
}

/// Adds bytes as a file, to the end of its flush.
#[allow(dead_code, reason = "not every bench adds files")]
pub(crate) async fn add(node: &Node, data: &bytes::Bytes) -> ipfs_core::Cid {
    let files = node.unixfs().params(Params::default());
    files.add_bytes(data.clone()).await.expect("an import").cid
}
