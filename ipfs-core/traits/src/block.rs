//! A block: bytes, and the CID that they hash to.

use std::fmt;

use bytes::Bytes;

use crate::{Cid, Error, HashTable, Multihash, Prefix, Result, codes, limits};

/// Bytes together with the CID they hash to.
///
/// There are three ways to make one, and the way says whether the hash is known to fit:
/// [`verify`](Self::verify) for bytes that came from a peer, a file or a URL, [`of`](Self::of) for
/// content of one's own, and [`trusted`](Self::trusted) for a store that gives back what was
/// verified on its way in. A block is cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    data: Bytes,
}

impl Block {
    /// The block of bytes from outside, once they are shown to hash to `cid`.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when they do not; [`Error::UnknownHash`], [`Error::Limit`] or
    /// [`Error::Malformed`] for a CID that may not be used ([`HashTable::check`]);
    /// [`Error::Limit`] for more than [`limits::MAX_STORED_BLOCK`] bytes.
    pub fn verify(cid: Cid, data: Bytes, hashes: &HashTable) -> Result<Self> {
        limits::check_stored_size(data.len())?;
        hashes.verify(&cid, &data)?;
        Ok(Self { cid, data })
    }

    /// [`verify`](Self::verify) for many, hashed side by side; the answers in their order.
    pub fn verify_many(items: Vec<(Cid, Bytes)>, hashes: &HashTable) -> Vec<Result<Self>> {
        let slices: Vec<(Cid, &[u8])> = items.iter().map(|(cid, data)| (*cid, &data[..])).collect();
        let answers = hashes.verify_many(&slices);
        std::iter::zip(items, answers)
            .map(|((cid, data), answer)| {
                limits::check_stored_size(data.len())?;
                answer.map(|()| Self { cid, data })
            })
            .collect()
    }

    /// The block of one's own bytes, under a CIDv1 of this multicodec and hash function.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHash`], and [`Error::Limit`] for more than [`limits::MAX_STORED_BLOCK`]
    /// bytes, or more than an identity CID holds.
    ///
    /// ```
    /// use ipfs_traits::{codes, Block, HashTable};
    ///
    /// let block = Block::of(codes::RAW, codes::SHA2_256, "hello world", &HashTable::standard())?;
    /// assert_eq!(
    ///     block.cid().to_string(),
    ///     "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    /// );
    /// # Ok::<(), ipfs_traits::Error>(())
    /// ```
    pub fn of(codec: u64, hash: u64, data: impl Into<Bytes>, hashes: &HashTable) -> Result<Self> {
        Self::with_prefix(&Prefix::v1(codec, hash), data, hashes)
    }

    /// The block of bytes whose CID is made as `prefix` says.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of), and [`Error::Malformed`] for a prefix whose parts do not fit together.
    pub fn with_prefix(
        prefix: &Prefix,
        data: impl Into<Bytes>,
        hashes: &HashTable,
    ) -> Result<Self> {
        let data = data.into();
        limits::check_stored_size(data.len())?;
        Ok(Self { cid: prefix.cid(&data, hashes)?, data })
    }

    /// [`with_prefix`](Self::with_prefix) for many of one prefix, hashed side by side, in their
    /// order.
    ///
    /// # Errors
    ///
    /// As [`with_prefix`](Self::with_prefix), for the first that fails.
    pub fn many_with_prefix(
        prefix: &Prefix,
        data: Vec<Bytes>,
        hashes: &HashTable,
    ) -> Result<Vec<Self>> {
        let slices: Vec<&[u8]> = data.iter().map(|data| &data[..]).collect();
        slices.iter().try_for_each(|data| limits::check_stored_size(data.len()))?;
        let digests = hashes.hash_many(prefix.hash(), &slices)?;
        std::iter::zip(data, digests)
            .map(|(data, hash)| Ok(Self { cid: prefix.wrap(hash)?, data }))
            .collect()
    }

    /// A block whose bytes are known to hash to `cid`, because they were verified before.
    ///
    /// Nothing is checked: never give it bytes from outside.
    pub const fn trusted(cid: Cid, data: Bytes) -> Self {
        Self { cid, data }
    }

    /// The block that an identity CID holds in itself, and `None` for any other CID.
    ///
    /// ```
    /// use ipfs_traits::Block;
    ///
    /// let empty = "bafkqaaa".parse()?;
    /// assert!(Block::inline(&empty).is_some_and(|block| block.data().is_empty()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inline(cid: &Cid) -> Option<Self> {
        (cid.hash().code() == codes::IDENTITY)
            .then(|| Self { cid: *cid, data: Bytes::copy_from_slice(cid.hash().digest()) })
    }

    /// The same bytes under another CID of the same multihash: CIDv0 or v1, or another codec.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the multihash differs.
    pub fn with_cid(self, cid: Cid) -> Result<Self> {
        if cid.hash() != self.cid.hash() {
            return Err(Error::invalid("CID", "its multihash is not that of the block"));
        }
        Ok(Self { cid, ..self })
    }

    /// The CID.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The multihash, which is what stores know a block by.
    pub const fn hash(&self) -> &Multihash {
        self.cid.hash()
    }

    /// The bytes.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// The bytes, without the CID.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Both parts.
    pub fn into_parts(self) -> (Cid, Bytes) {
        (self.cid, self.data)
    }

    /// How many bytes it has.
    pub const fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether it has no bytes. Such a block exists, and is exchanged like any other.
    pub const fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}, {} bytes)", self.cid, self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_matching_bytes_pass() {
        let hashes = HashTable::standard();
        let block = Block::of(codes::RAW, codes::SHA2_256, "a", &hashes).unwrap();
        let again = Block::verify(*block.cid(), block.data().clone(), &hashes).unwrap();
        assert_eq!(again, block);
        let error = Block::verify(*block.cid(), "b".into(), &hashes).unwrap_err();
        assert!(matches!(error, Error::Corrupt(cid) if cid == *block.cid()));
    }

    #[test]
    fn size_is_bounded_on_every_way_in() {
        let hashes = HashTable::standard();
        let most = Bytes::from(vec![0; limits::MAX_STORED_BLOCK]);
        let block = Block::of(codes::RAW, codes::SHA2_256, most, &hashes).unwrap();
        let over = Bytes::from(vec![0; limits::MAX_STORED_BLOCK + 1]);
        let is_limit = |r: Result<Block>| matches!(r, Err(Error::Limit { .. }));
        assert!(is_limit(Block::of(codes::RAW, codes::SHA2_256, over.clone(), &hashes)));
        assert!(is_limit(Block::verify(*block.cid(), over.clone(), &hashes)));
        let many = Block::verify_many(vec![(*block.cid(), over.clone())], &hashes);
        assert!(many.into_iter().all(is_limit));
        let prefix = Prefix::of(block.cid());
        assert!(Block::many_with_prefix(&prefix, vec![over], &hashes).is_err());
    }

    #[test]
    fn many_are_as_one_by_one() {
        let hashes = HashTable::standard();
        let data: Vec<Bytes> = (0..20).map(|i| Bytes::from(vec![i; 2000 + i as usize])).collect();
        for prefix in [Prefix::v0(), Prefix::v1(codes::RAW, codes::SHA2_256)] {
            let many = Block::many_with_prefix(&prefix, data.clone(), &hashes).unwrap();
            for (data, block) in data.iter().zip(many) {
                assert_eq!(Block::with_prefix(&prefix, data.clone(), &hashes).unwrap(), block);
            }
        }
    }

    #[test]
    fn another_cid_needs_the_same_multihash() {
        let hashes = HashTable::standard();
        let v0 = Block::with_prefix(&Prefix::v0(), "a", &hashes).unwrap();
        let v1 = v0.cid().into_v1().unwrap();
        assert_eq!(*v0.clone().with_cid(v1).unwrap().cid(), v1);
        let other = Block::with_prefix(&Prefix::v0(), "b", &hashes).unwrap();
        assert!(matches!(v0.with_cid(*other.cid()), Err(Error::Invalid { .. })));
    }
}
