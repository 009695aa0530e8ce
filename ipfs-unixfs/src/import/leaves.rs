//! Leaves: pieces of content as blocks.

use bytes::Bytes;
use ipfs_traits::{Block, HashTable, Result, protobuf};

use crate::{
    Params,
    child::Child,
    dagpb,
    data::{Kind, NewData},
};

/// The leaf blocks of some pieces, hashed side by side, in their order.
pub(super) fn leaves(
    params: &Params,
    hashes: &HashTable,
    pieces: Vec<Bytes>,
) -> Result<Vec<(Block, Child)>> {
    let sizes: Vec<u64> = pieces.iter().map(|piece| piece.len() as u64).collect();
    let data = match params.raw_leaves {
        true => pieces,
        false => pieces.iter().map(|piece| wrap(piece)).collect(),
    };
    let blocks = Block::many_with_prefix(&params.leaf_prefix(), data, hashes)?;
    Ok(std::iter::zip(blocks, sizes)
        .map(|(block, size)| {
            let child = Child { cid: *block.cid(), size, tsize: block.len() as u64 };
            (block, child)
        })
        .collect())
}

/// A piece as a dag-pb leaf: `Data` without links, holding a UnixFS file.
fn wrap(piece: &[u8]) -> Bytes {
    let content = (!piece.is_empty()).then_some(piece);
    let file_size = Some(piece.len() as u64);
    let data = NewData { content, file_size, ..NewData::of(Kind::File) }.encode();
    debug_assert!(protobuf::bytes_len(1, data.len()) > data.len());
    dagpb::encode([], Some(&data)).into()
}
