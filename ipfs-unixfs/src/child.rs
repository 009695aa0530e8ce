//! A node that another one links to, and making blocks of nodes.

use bytes::Bytes;
use ipfs_traits::{Block, Cid, HashTable, Prefix, Result, codes, limits};

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

    /// The same for what takes the place of the block at `cid`: it gets a CID of the version, hash
    /// function and length of digest that this one has. Instead of an identity CID it gets another
    /// one as long as that holds it, and beyond that one as this sealer gives.
    ///
    /// # Errors
    ///
    /// Those of [`HashTable::check`] for a CID that may not be used.
    pub(crate) fn like(&self, cid: &Cid) -> Result<Self> {
        self.hashes.check(cid)?;
        let (prefix, inline) = match cid.hash().code() {
            codes::IDENTITY => (self.prefix, Some(limits::MAX_IDENTITY)),
            _ => (Prefix::of(cid).with_codec(self.prefix.codec()), None),
        };
        Ok(Self { prefix, inline, hashes: self.hashes.clone() })
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

/// Those of some blocks that go into a store: not those that are in their CIDs.
pub(crate) fn stored(mut blocks: Vec<Block>) -> Vec<Block> {
    blocks.retain(|block| block.hash().code() != codes::IDENTITY);
    blocks
}

const fn with_child(block: Block, size: u64, below: u64) -> (Block, Child) {
    let child = Child { cid: *block.cid(), size, tsize: block.len() as u64 + below };
    (block, child)
}

#[cfg(test)]
mod tests {
    use ipfs_traits::Error;

    use super::*;

    fn cid_of(prefix: &Prefix, bytes: &'static str) -> Cid {
        *Block::with_prefix(prefix, bytes, &HashTable::standard()).unwrap().cid()
    }

    #[test]
    fn what_takes_the_place_of_a_block_gets_a_cid_like_its() {
        let hashes = HashTable::standard();
        let sealer = Sealer::nodes(&Params::default(), &hashes);
        let old = Prefix::v1(codes::DAG_PB, codes::SHA2_512);
        for prefix in [Prefix::v0(), old, Prefix::v1(codes::DAG_PB, codes::SHA2_256)] {
            let like = sealer.like(&cid_of(&prefix, "old")).unwrap();
            assert_eq!(like.seal("new", 0, 0).unwrap().1.cid, cid_of(&prefix, "new"));
            let unsealed = Unsealed { bytes: "new".into(), size: 0, below: 0 };
            let many = like.seal_many(vec![unsealed]).unwrap();
            assert_eq!(many[0].1.cid, cid_of(&prefix, "new"));
        }
    }

    #[test]
    fn an_identity_cid_becomes_another_as_long_as_that_can_hold_the_block() {
        let sealer = Sealer::nodes(&Params::unixfs_v0_2015(), &HashTable::standard());
        let identity = Prefix::v1(codes::DAG_PB, codes::IDENTITY);
        let like = sealer.like(&cid_of(&identity, "old")).unwrap();
        let sealed = |bytes: &[u8]| like.seal(bytes.to_vec(), 0, 0).unwrap().1.cid;
        assert_eq!(sealed(&[7; 64]).hash().digest(), [7; 64]);
        assert_eq!(Prefix::of(&sealed(&[7; 65])), Prefix::of(&cid_of(&Prefix::v0(), "")));
    }

    #[test]
    fn no_new_block_gets_a_cid_that_may_not_be_used() {
        let sealer = Sealer::nodes(&Params::default(), &HashTable::standard());
        let digest = |code, bytes: &[u8]| {
            let hash = ipfs_traits::Multihash::wrap(code, bytes).unwrap();
            sealer.like(&Cid::new_v1(codes::DAG_PB, hash)).unwrap_err()
        };
        assert!(matches!(digest(codes::SHA2_256, &[0; 4]), Error::Limit { limit: 20, .. }));
        assert!(matches!(digest(0x9999, &[0; 32]), Error::UnknownHash(0x9999)));
    }
}
