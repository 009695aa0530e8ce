//! The codecs that a node knows unless it is told otherwise.

mod cbor;
mod json;
mod raw;

use ipfs_traits::{CodecTable, Static};
use ipfs_unixfs::dagpb::DagPb;
use serde_ipld_dagcbor::codec::DagCborCodec;

pub use self::{cbor::Cbor, json::Json, raw::Raw};

/// Raw, dag-pb, dag-cbor, dag-json, json and cbor: what Kubo knows, without the git codec, which an
/// application registers itself.
pub fn standard_codecs() -> CodecTable {
    let mut table = CodecTable::new();
    table.insert(Raw);
    table.insert(DagPb);
    table.insert(Static::<DagCborCodec>::new());
    table.insert(Json::dag());
    table.insert(Json::plain());
    table.insert(Cbor);
    table
}

/// How deep values may nest, in what this crate reads and writes: as deep as the reader of DAG-CBOR
/// lets them, so that one can be turned into the other, and far from what exhausts a thread's stack.
const MAX_DEPTH: usize = 256;
