//! Leaves: pieces of content as blocks.

use bytes::Bytes;
use ipfs_traits::{Block, HashTable, Result, protobuf};

use crate::{
    Params,
    attributes::Attributes,
    child::{Child, Sealer, Unsealed},
    dagpb,
    data::NewData,
    layout::Growing,
};

/// The leaf blocks of some pieces, hashed side by side, in their order. One that is a file by itself
/// has the attributes of that.
pub(crate) fn leaves(
    params: &Params,
    hashes: &HashTable,
    pieces: Vec<(Bytes, Attributes)>,
) -> Result<Vec<(Block, Child)>> {
    let as_block = |(piece, attributes): (Bytes, Attributes)| {
        let size = piece.len() as u64;
        let bytes = match params.leaves_are_raw() {
            true => piece,
            false => wrap(params, &piece, attributes),
        };
        Unsealed { bytes, size, below: 0 }
    };
    let many = pieces.into_iter().map(as_block).collect();
    Sealer::leaves(params, hashes).seal_many(many)
}

/// A piece as a dag-pb leaf: `Data` without links, holding a UnixFS file.
fn wrap(params: &Params, piece: &[u8], attributes: Attributes) -> Bytes {
    let content = (!piece.is_empty()).then_some(piece);
    let file_size = Some(piece.len() as u64);
    let kind = Growing::leaf_kind(params.layout);
    let data = NewData { content, file_size, ..attributes.data(kind) }.encode();
    debug_assert!(protobuf::bytes_len(1, data.len()) > data.len());
    dagpb::encode([], Some(&data)).into()
}
