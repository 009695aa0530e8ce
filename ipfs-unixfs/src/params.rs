//! What decides the CID of a file or tree: everything that an import can be told.

mod chunker;
mod chunking;

use cid::Version;
use ipfs_traits::{Error, HashTable, Prefix, Result, codes, limits};

pub use self::{
    chunker::Chunker,
    chunking::{Chunking, CustomChunker, Cutter},
};
use crate::{Name, data::Mtime, rules::Rules};

/// How content becomes blocks. The same content and the same parameters always give the same CID.
///
/// Two sets have names, from [IPIP-499]: [`unixfs_v1_2025`](Self::unixfs_v1_2025), which is the
/// default here, and [`unixfs_v0_2015`](Self::unixfs_v0_2015), which is what `ipfs add` does without
/// options. Every field can be changed:
///
/// ```
/// use ipfs_unixfs::Params;
///
/// let params = Params { chunker: "rabin-65536".parse()?, ..Params::unixfs_v1_2025() };
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
    /// Whether leaves are raw blocks rather than dag-pb nodes. They have no room for modes and times:
    /// as in Kubo, leaves of a balanced file are never raw while [`mode`](Self::mode) or
    /// [`mtime`](Self::mtime) says anything but [`Attribute::Omitted`]. In the trickle layout, where
    /// a leaf is never the file, they stay raw, as in js-ipfs; Kubo has no raw leaves then.
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
    /// The permissions that files and directories state; links state none. Of those kept or set,
    /// the low 12 bits are written. A file without any (mode 0) states none, as in Kubo.
    pub mode: Attribute<u32>,
    /// When files, directories and links say that they were changed.
    pub mtime: Attribute<Mtime>,
    /// What becomes of the symbolic links of a disk.
    pub symlinks: Symlinks,
    /// Whether directories are kept that have no entries. One whose entries are empty directories
    /// has some, and is kept, as in Kubo; and so is the root, unless it is [wrapped](Self::wrap).
    pub empty_directories: bool,
    /// Whether entries of a disk are kept whose name begins with a dot, or that Windows hides.
    pub hidden: bool,
    /// Which entries of a disk are left out: lines as in a `.gitignore` file of the folder that is
    /// imported, whose own name is never left out. What is below an entry that is left out is so
    /// too.
    ///
    /// Kubo holds the lines against the last name of a path alone: where they have a slash, it
    /// leaves out less.
    pub ignore: Vec<String>,
    /// The name under which the root becomes the only entry of a directory, which is then the root.
    pub wrap: Option<Name>,
}

/// What an import does with something that it finds at files and directories: their mode, or their
/// time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attribute<T> {
    /// It is not written. The default of both: with it, the same content has the same CID whoever
    /// keeps it where.
    #[default]
    Omitted,
    /// It is written as it was found. Where nothing is found, as with a stream, nothing is written.
    Kept,
    /// This one is written everywhere.
    Set(T),
}

impl<T: Copy> Attribute<T> {
    const fn is_omitted(&self) -> bool {
        matches!(self, Self::Omitted)
    }

    /// What is written where `found` was found.
    pub(crate) const fn of(&self, found: Option<T>) -> Option<T> {
        match self {
            Self::Omitted => None,
            Self::Kept => found,
            Self::Set(value) => Some(*value),
        }
    }
}

/// What becomes of symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Symlinks {
    /// They are kept as links, wherever they lead. The default: nothing outside of a folder is
    /// imported with it.
    #[default]
    Kept,
    /// What they lead to stands in their place. One that leads nowhere, or back to where it is
    /// found, is an error.
    Followed,
}

/// How leaves become a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// All leaves at the same depth, filled from the left: good for reading anywhere.
    Balanced,
    /// Leaves first, then subtrees that grow ever deeper: good for reading from the beginning and
    /// for appending. Leaves that are no raw blocks are of the kind [`Raw`](crate::data::Kind::Raw),
    /// and a file of one leaf has a node above it.
    Trickle,
}

/// When a directory is too large for one block. One without entries never is.
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
            mode: Attribute::Omitted,
            mtime: Attribute::Omitted,
            symlinks: Symlinks::Kept,
            empty_directories: true,
            hidden: false,
            ignore: Vec::new(),
            wrap: None,
        }
    }

    /// `unixfs-v0-2015`: CIDv0, dag-pb leaves of 256 KiB, 174 links.
    pub fn unixfs_v0_2015() -> Self {
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
        if let Attribute::Set(mode) = self.mode
            && mode > MODE_BITS
        {
            return Err(Error::limit("mode", MODE_BITS as usize, mode as usize));
        }
        if let Attribute::Set(Mtime { nanos: Some(1_000_000_000..), .. }) = self.mtime {
            return Err(Error::invalid("mtime", "its nanoseconds are a second or more"));
        }
        if let Some(name) = &self.wrap {
            name.check_new("wrap")?;
        }
        Rules::new(&self.ignore).map(drop)
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

    /// Whether leaves are raw: not if they may be files that have modes or times.
    pub(crate) const fn leaves_are_raw(&self) -> bool {
        let none = self.mode.is_omitted() && self.mtime.is_omitted();
        self.raw_leaves && (none || matches!(self.layout, Layout::Trickle))
    }

    /// The prefix of CIDs of leaves.
    pub(crate) const fn leaf_prefix(&self) -> Prefix {
        match self.leaves_are_raw() {
            true => Prefix::v1(codes::RAW, self.hash),
            false => self.node_prefix(),
        }
    }
}

/// Permissions, and the three bits above them, as they stand in the format.
pub(crate) const MODE_BITS: u32 = 0o7777;

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
mod tests;
