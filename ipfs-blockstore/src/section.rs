//! What stands before a block in a CAR.

use ipfs_traits::{Cid, limits, read_cid, varint};

/// The most bytes of a section before the block's: its length and the CID.
pub(crate) const MAX_HEAD: usize = varint::MAX_LEN + limits::MAX_CID;

/// What stands before the bytes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) cid: Cid,
    /// Bytes of the length and the CID.
    pub(crate) head: usize,
    /// Bytes of the block.
    pub(crate) len: usize,
}

impl Head {
    /// Reads the head at the start of `bytes`; `None` for what is none, or of a block that no store
    /// takes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, rest) = varint::read(bytes, "section").ok()?;
        let (cid, used) = read_cid(rest).ok()?;
        let len = usize::try_from(body).ok()?.checked_sub(used)?;
        let head = bytes.len() - rest.len() + used;
        (len <= limits::MAX_STORED_BLOCK && head <= MAX_HEAD).then_some(Self { cid, head, len })
    }

    /// Bytes of the whole section.
    pub(crate) const fn section(&self) -> usize {
        self.head + self.len
    }
}

/// How many bytes the section takes that begins with `bytes`, by its length alone; `None` where no
/// section of a block that a store takes can be so long.
pub(crate) fn framed(bytes: &[u8]) -> Option<u64> {
    let (body, rest) = varint::read(bytes, "section").ok()?;
    let most = (limits::MAX_STORED_BLOCK + limits::MAX_CID) as u64;
    (1..=most).contains(&body).then(|| (bytes.len() - rest.len()) as u64 + body)
}
