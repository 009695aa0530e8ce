//! CARv1: the sections that a block archive, a gateway's answer and a store's segments are made of.
//!
//! Nothing here does IO. Writing is [`header`], then [`section_head`] and the bytes of a block, again
//! and again; reading is a [`Decoder`] that is fed what arrives. The format is that of the [CARv1
//! specification]: a varint of length and a DAG-CBOR header `{roots, version: 1}`, then sections of a
//! varint of length, a CID and the block's bytes.
//!
//! [CARv1 specification]: https://ipld.io/specs/transport/car/carv1/

mod decoder;
mod header;

pub use self::{
    decoder::{Decoder, Item, Section},
    header::{Header, header},
};
use crate::{Cid, limits, varint};

/// The longest header that is read, in bytes: room for 25,000 roots. go-car allows 32 MiB, which a
/// stranger could make us hold.
pub const MAX_HEADER: usize = 1 << 20;

/// What stands before the bytes of a block: the length of the section, and the CID.
///
/// ```
/// use ipfs_traits::{car, codes, Block, HashTable};
///
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let mut file = car::header(&[*block.cid()]);
/// file.extend(car::section_head(block.cid(), block.len()));
/// file.extend(block.data());
///
/// let mut decoder = car::Decoder::new();
/// decoder.push(file.into());
/// let Some(car::Item::Header(header)) = decoder.next()? else { panic!("a header comes first") };
/// assert!(header.roots().eq([*block.cid()]));
/// let Some(car::Item::Section(section)) = decoder.next()? else { panic!("then the sections") };
/// assert_eq!((section.cid, section.data), (*block.cid(), block.data().clone()));
/// decoder.finish()?;
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
pub fn section_head(cid: &Cid, len: usize) -> Vec<u8> {
    let body = (cid.encoded_len() + len) as u64;
    let mut head = Vec::with_capacity(varint::len(body) + cid.encoded_len());
    varint::write(body, &mut head);
    cid.write_bytes(&mut head).expect("a vector takes all that is written to it");
    head
}

/// How many bytes the section of a block of `len` bytes takes, head included.
pub fn section_len(cid: &Cid, len: usize) -> usize {
    let body = cid.encoded_len() + len;
    varint::len(body as u64) + body
}

/// The longest section body that can hold a block of `max_block` bytes.
const fn max_section(max_block: usize) -> usize {
    max_block.saturating_add(limits::MAX_CID)
}
