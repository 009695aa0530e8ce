//! What the benches share.

use ipfs_core::{Node, unixfs::Params};

/// Bytes that look like chance (SplitMix64).
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// Adds bytes as a file, to the end of its flush.
#[allow(dead_code, reason = "not every bench adds files")]
pub(crate) async fn add(node: &Node, data: &bytes::Bytes) -> ipfs_core::Cid {
    let files = node.unixfs().params(Params::default());
    files.add_bytes(data.clone()).await.expect("an import").cid
}
