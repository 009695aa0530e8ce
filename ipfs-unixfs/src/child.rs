//! A node that another one links to, and making blocks of nodes.

use bytes::Bytes;
use cid::Version;
use ipfs_traits::{Block, Cid, HashTable, Prefix, Result, codes};

use crate::{Params, dagpb::Link};

/// A node that something links to: a leaf, a part of a file, an entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) cid: Cid,
    /// Bytes of the file below it.
    pub(crate) size: u64,
    /// Bytes of all blocks below it, its own included.
    pub(crate) tsize: u64,
}

impl Child {
    /// A link to it.
    pub(crate) const fn link<'a>(&self, name: &'a [u8]) -> Link<'a> {
        Link { cid: self.cid, name: Some(name), tsize: Some(self.tsize) }
    }
}

/// The bytes of a block that has no CID yet.
#[derive(Clone, Debug)]
pub(crate) struct Unsealed {
    pub(crate) bytes: Bytes,
    /// Bytes of a file below it.
    pub(crate) size: u64,
    /// Bytes of the blocks below it.
    pub(crate) below: u64,
}

/// How blocks of one codec get their CIDs.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    prefix: Prefix,
    inline: Option<usize>,
    hashes: HashTable,
}

impl Sealer {
    /// As the parameters say, for nodes of dag-pb.
    pub(crate) fn nodes(params: &Params, hashes: &HashTable) -> Self {
        Self { prefix: params.node_prefix(), inline: params.inline, hashes: hashes.clone() }
    }

    /// For nodes of dag-pb, as `cid` is made: its version and hash function. One that holds its
    /// block in itself says nothing of others, and then the parameters hold.
    pub(crate) fn like(cid: &Cid, params: &Params, hashes: &HashTable) -> Self {
        let prefix = match (cid.version(), cid.hash().code()) {
            (_, codes::IDENTITY) => params.node_prefix(),
            (Version::V0, _) => Prefix::v0(),
            (Version::V1, hash) => Prefix::v1(codes::DAG_PB, hash),
        };
        Self { prefix, ..Self::nodes(params, hashes) }
    }

    /// As the parameters say, for leaves of files.
    pub(crate) fn leaves(params: &Params, hashes: &HashTable) -> Self {
        Self { prefix: params.leaf_prefix(), ..Self::nodes(params, hashes) }
    }

    /// The same for raw leaves.
    pub(crate) fn raw(&self) -> Self {
        Self { prefix: self.prefix.with_codec(codes::RAW), ..self.clone() }
    }

    /// The same with other hash functions.
    pub(crate) fn with_hashes(&self, hashes: &HashTable) -> Self {
        Self { hashes: hashes.clone(), ..self.clone() }
    }

    /// The blocks of many, hashed side by side, in their order.
    pub(crate) fn seal_many(&self, many: Vec<Unsealed>) -> Result<Vec<(Block, Child)>> {
        let is_inline = |bytes: &Bytes| self.inline.is_some_and(|most| bytes.len() <= most);
        let hashed = many.iter().filter(|one| !is_inline(&one.bytes));
        let hashed: Vec<Bytes> = hashed.map(|one| one.bytes.clone()).collect();
        let mut blocks = Block::many_with_prefix(&self.prefix, hashed, &self.hashes)?.into_iter();
        let seal = |Unsealed { bytes, size, below }| match is_inline(&bytes) {
            true => self.seal(bytes, size, below),
            false => {
                let block = blocks.next().expect("there is one for each that was hashed");
                Ok(with_child(block, size, below))
            }
        };
        many.into_iter().map(seal).collect()
    }

    /// The block of a node, and how it is linked to. `size` is how many bytes of a file lie below
    /// it, `below` how many bytes the blocks below it have.
    pub(crate) fn seal(
        &self,
        bytes: impl Into<Bytes>,
        size: u64,
        below: u64,
    ) -> Result<(Block, Child)> {
        let bytes = bytes.into();
        let prefix = match self.inline {
            Some(most) if bytes.len() <= most => Prefix::v1(self.prefix.codec(), codes::IDENTITY),
            _ => self.prefix,
        };
        let block = Block::with_prefix(&prefix, bytes, &self.hashes)?;
        Ok(with_child(block, size, below))
    }
}

const fn with_child(block: Block, size: u64, below: u64) -> (Block, Child) {
    let child = Child { cid: *block.cid(), size, tsize: block.len() as u64 + below };
    (block, child)
}
