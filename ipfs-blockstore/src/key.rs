//! The key of a block in what Kubo writes: its multihash in base32.

use data_encoding::BASE32_NOPAD;
use ipfs_traits::{Multihash, read_multihash};

/// The multihash in upper-case base32 without padding.
pub(crate) fn of(hash: &Multihash) -> String {
    BASE32_NOPAD.encode(&hash.to_bytes())
}

/// The multihash of a key; `None` for what is none.
pub(crate) fn parse(key: &[u8]) -> Option<Multihash> {
    let bytes = BASE32_NOPAD.decode(key).ok()?;
    let (hash, used) = read_multihash(&bytes).ok()?;
    (used == bytes.len()).then_some(hash)
}
