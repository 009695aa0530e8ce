//! What decides the CID of a file or tree: everything that an import can be told.

use cid::Version;
use ipfs_traits::{Error, HashTable, Prefix, Result, codes, limits};

/// How content becomes blocks. The same content and the same parameters always give the same CID.
///
/// Two sets have names, from [IPIP-499]: [`unixfs_v1_2025`](Self::unixfs_v1_2025), which is the
/// default here, and [`unixfs_v0_2015`](Self::unixfs_v0_2015), which is what `ipfs add` does without
/// options. Every field can be changed:
///
/// ```
/// use ipfs_unixfs::{Chunker, Params};
///
/// let params = Params { chunker: Chunker::fixed(65_536)?, ..Params::unixfs_v1_2025() };
/// assert!(params.check().is_ok());
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
///
/// [IPIP-499]: https://specs.ipfs.tech/ipips/ipip-0499/
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// The version of the CIDs. Version 0 needs SHA2-256; raw leaves have version 1 under either.
    pub cid_version: Version,
    /// The hash function, by multicodec.
    pub hash: u64,
    /// Whether leaves are raw blocks rather than dag-pb nodes.
    pub raw_leaves: bool,
    /// How a file is cut into leaves.
    pub chunker: Chunker,
    /// How leaves become a tree.
    pub layout: Layout,
    /// The most links of a node within a file.
    pub max_links: usize,
    /// When a directory is too large for one block, and is spread over several by the hash of its
    /// names.
    pub sharding: Sharding,
    /// The most links that a directory in one block may have, whatever [`sharding`](Self::sharding)
    /// says; `None` for no such bound.
    pub max_directory_links: Option<usize>,
    /// How many children a node of a sharded directory can have: a power of two from 8 to 1,024.
    pub fanout: usize,
    /// The most bytes of a block that goes into its CID instead of a store, at most 64; `None` for
    /// none.
    pub inline: Option<usize>,
    /// Whether empty directories are kept.
    pub empty_directories: bool,
    /// Whether entries are kept whose name begins with a dot.
    pub hidden: bool,
}

/// How a file is cut into leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunker {
    /// Into pieces of so many bytes each, the last one shorter. Make it with
    /// [`Chunker::fixed`].
    Fixed(usize),
}

impl Chunker {
    /// The largest leaf content, in bytes: a block of 2 MiB less room for what stands around it,
    /// as Kubo has it.
    pub const MAX_SIZE: usize = limits::MAX_BLOCK - 256;

    /// Pieces of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for 0, [`Error::Limit`] beyond [`Self::MAX_SIZE`].
    pub fn fixed(size: usize) -> Result<Self> {
        let chunker = Self::Fixed(size);
        chunker.check()?;
        Ok(chunker)
    }

    fn check(self) -> Result<()> {
        let Self::Fixed(size) = self;
        match size {
            0 => Err(Error::invalid("chunker", "pieces of no bytes")),
            1..=Self::MAX_SIZE => Ok(()),
            _ => Err(Error::limit("bytes of a chunk", Self::MAX_SIZE, size)),
        }
    }

    /// The most bytes of a piece.
    pub(crate) const fn max_size(self) -> usize {
        let Self::Fixed(size) = self;
        size
    }
}

/// How leaves become a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// All leaves at the same depth, filled from the left: good for reading anywhere.
    Balanced,
}

/// When a directory is too large for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharding {
    /// Never, however many entries it has.
    Never,
    /// When the names and CIDs of its entries have more bytes than this.
    ByLinks(usize),
    /// When its block would have more bytes than this.
    ByBlock(usize),
}

impl Params {
    /// The most links of a node within a file: with 36-byte CIDs and sizes they still fit a block of
    /// 2 MiB.
    pub const MAX_LINKS: usize = 32_768;

    /// `unixfs-v1-2025`: CIDv1, raw leaves of 1 MiB, 1,024 links.
    pub const fn unixfs_v1_2025() -> Self {
        Self {
            cid_version: Version::V1,
            hash: codes::SHA2_256,
            raw_leaves: true,
            chunker: Chunker::Fixed(1 << 20),
            layout: Layout::Balanced,
            max_links: 1024,
            sharding: Sharding::ByBlock(256 << 10),
            max_directory_links: None,
            fanout: 256,
            inline: None,
            empty_directories: true,
            hidden: false,
        }
    }

    /// `unixfs-v0-2015`: CIDv0, dag-pb leaves of 256 KiB, 174 links.
    pub const fn unixfs_v0_2015() -> Self {
        Self {
            cid_version: Version::V0,
            raw_leaves: false,
            chunker: Chunker::Fixed(256 << 10),
            max_links: 174,
            sharding: Sharding::ByLinks(256 << 10),
            ..Self::unixfs_v1_2025()
        }
    }

    /// Whether the parameters fit together. Every import checks them before it reads anything.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] or [`Error::Limit`], naming the parameter.
    pub fn check(&self) -> Result<()> {
        self.chunker.check()?;
        if self.cid_version == Version::V0 && self.hash != codes::SHA2_256 {
            return Err(Error::invalid("hash", "CIDv0 has SHA2-256 and no other"));
        }
        if self.max_links < 2 {
            return Err(Error::invalid("max_links", "a tree needs nodes of two links or more"));
        }
        if self.max_links > Self::MAX_LINKS {
            return Err(Error::limit("links of a node", Self::MAX_LINKS, self.max_links));
        }
        if !is_fanout(self.fanout as u64) {
            return Err(Error::invalid("fanout", "it is no power of two from 8 to 1,024"));
        }
        if let Some(most) = self.inline.filter(|most| *most > limits::MAX_IDENTITY) {
            return Err(Error::limit("bytes inside an identity CID", limits::MAX_IDENTITY, most));
        }
        Ok(())
    }

    /// The same, and that the hash function is known.
    pub(crate) fn check_with(&self, hashes: &HashTable) -> Result<()> {
        self.check()?;
        match hashes.codes().any(|code| code == self.hash) {
            true => Ok(()),
            false => Err(Error::UnknownHash(self.hash)),
        }
    }

    /// The prefix of CIDs of dag-pb nodes.
    pub(crate) const fn node_prefix(&self) -> Prefix {
        match self.cid_version {
            Version::V0 => Prefix::v0(),
            Version::V1 => Prefix::v1(codes::DAG_PB, self.hash),
        }
    }

    /// The prefix of CIDs of leaves.
    pub(crate) const fn leaf_prefix(&self) -> Prefix {
        match self.raw_leaves {
            true => Prefix::v1(codes::RAW, self.hash),
            false => self.node_prefix(),
        }
    }
}

/// Whether a node of a sharded directory can have so many children.
pub(crate) const fn is_fanout(fanout: u64) -> bool {
    fanout.is_power_of_two() && fanout >= 8 && fanout <= 1024
}

impl Default for Params {
    /// [`Params::unixfs_v1_2025`]: newer trees are shallower, and their leaves need no unwrapping.
    fn default() -> Self {
        Self::unixfs_v1_2025()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_parameters_are_named() {
        assert!(matches!(Chunker::fixed(0), Err(Error::Invalid { what: "chunker", .. })));
        assert!(matches!(Chunker::fixed(Chunker::MAX_SIZE + 1), Err(Error::Limit { .. })));
        let params = Params { hash: codes::SHA2_512, ..Params::unixfs_v0_2015() };
        assert!(matches!(params.check(), Err(Error::Invalid { what: "hash", .. })));
        let params = Params { max_links: 1, ..Params::default() };
        assert!(matches!(params.check(), Err(Error::Invalid { what: "max_links", .. })));
        let params = Params { max_links: Params::MAX_LINKS + 1, ..Params::default() };
        assert!(matches!(params.check(), Err(Error::Limit { .. })));
        for fanout in [0, 4, 100, 2048] {
            let params = Params { fanout, ..Params::default() };
            assert!(matches!(params.check(), Err(Error::Invalid { what: "fanout", .. })));
        }
        let params = Params { inline: Some(65), ..Params::default() };
        assert!(matches!(params.check(), Err(Error::Limit { limit: 64, .. })));
        let params = Params { hash: 0x9999, ..Params::default() };
        let unknown = params.check_with(&HashTable::standard());
        assert!(matches!(unknown, Err(Error::UnknownHash(0x9999))));
    }
}
