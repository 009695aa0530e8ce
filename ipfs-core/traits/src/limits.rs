//! The bounds that hold everywhere, each with its reason.

use crate::{Error, Result};

/// The largest block that may travel between nodes, and the default bound of what a node makes or
/// imports: 2 MiB, which the bitswap specification obliges every node to accept and none to exceed.
pub const MAX_BLOCK: usize = 2 << 20;

/// The largest block that a store takes: 64 MiB. Git objects and other IPLD data made elsewhere can
/// be larger than what the network carries, and must still have a place.
pub const MAX_STORED_BLOCK: usize = 64 << 20;

/// The shortest digest that is believed: 20 bytes (SHA-1). Below that a second block with the same
/// digest can be found by search.
pub const MIN_DIGEST: usize = 20;

/// The longest digest: 64 bytes, the most that a [`Cid`](crate::Cid) of this family holds and the
/// most that any allowed hash function gives by default. Kubo accepts up to 128.
pub const MAX_DIGEST: usize = 64;

/// The longest content of an identity CID: 64 bytes, the most that a [`Cid`](crate::Cid) of this
/// family holds. Kubo accepts up to 128.
pub const MAX_IDENTITY: usize = MAX_DIGEST;

/// The longest CID in bytes that is looked at: four varints of at most 10 bytes and the longest
/// digest that other implementations make (128). A longer one is refused before it is parsed.
pub const MAX_CID: usize = 4 * 10 + 128;

/// Records of one name of the domain name system that are looked at. DNSLink allows one; zones have
/// a few beside it, and an answer of a stranger's server may hold thousands.
pub const MAX_RECORDS: usize = 100;

/// Whether a store takes a block of `len` bytes. Every store asks it before it puts one.
///
/// # Errors
///
/// [`Error::Limit`] beyond [`MAX_STORED_BLOCK`].
pub fn check_stored_size(len: usize) -> Result<()> {
    if len > MAX_STORED_BLOCK {
        return Err(Error::limit("bytes of a block", MAX_STORED_BLOCK, len));
    }
    Ok(())
}
