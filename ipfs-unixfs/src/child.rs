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
        let child = Child { cid: *block.cid(), size, tsize: block.len() as u64 + below };
        Ok((block, child))
    }

    /// The blocks of many nodes of no files, hashed side by side, in their order: of each its bytes,
    /// and how many bytes the blocks below it have.
    pub(crate) fn seal_many(&self, nodes: Vec<(Vec<u8>, u64)>) -> Result<Vec<(Block, Child)>> {
        if self.inline.is_some() {
            return nodes.into_iter().map(|(bytes, below)| self.seal(bytes, 0, below)).collect();
        }
        let (nodes, below): (Vec<Bytes>, Vec<u64>) =
            nodes.into_iter().map(|(bytes, below)| (Bytes::from(bytes), below)).unzip();
        let blocks = Block::many_with_prefix(&self.prefix, nodes, &self.hashes)?;
        Ok(std::iter::zip(blocks, below)
            .map(|(block, below)| {
                let tsize = block.len() as u64 + below;
                let child = Child { cid: *block.cid(), size: 0, tsize };
                (block, child)
            })
            .collect())
    }
}
