//! Hash functions as values: the table of those that a node makes and believes, and hashing in
//! batches.

mod functions;
mod sha256;

use std::{fmt, sync::Arc};

use crate::{Cid, Error, Multihash, Result, codes, limits};

/// Room for the longest digest, [`limits::MAX_DIGEST`] bytes.
pub type Digest = [u8; limits::MAX_DIGEST];

/// One hash function.
///
/// # Contract
///
/// The same input always gives the same digest, and a shorter digest is the beginning of a longer
/// one: a CID may carry a cut digest. Both sizes are between 1 and [`limits::MAX_DIGEST`].
///
/// # Implementing
///
/// ```
/// use ipfs_traits::{HashFunction, HashTable};
///
/// /// A checksum, to show the shape; do not trust it with content.
/// #[derive(Debug)]
/// struct Sum;
///
/// impl HashFunction for Sum {
///     fn code(&self) -> u64 {
///         0x30_0001 // of the range for private use
///     }
///     fn size(&self) -> usize {
///         32
///     }
///     fn digest(&self, data: &[u8], out: &mut [u8]) {
///         let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
///         let mut whole = [0; 32];
///         whole[..8].copy_from_slice(&sum.to_be_bytes());
///         out.copy_from_slice(&whole[..out.len()]);
///     }
/// }
///
/// let hashes = HashTable::standard().with(Sum)?;
/// assert_eq!(hashes.hash(0x30_0001, &[1, 2, 3])?.digest()[7], 6);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
///
/// # Errors
///
/// There are none: a hash function has an answer for every input.
pub trait HashFunction: fmt::Debug + Send + Sync + 'static {
    /// Its multicodec.
    fn code(&self) -> u64;

    /// Bytes of a whole digest.
    fn size(&self) -> usize;

    /// Bytes of the longest digest that it can give; more than [`size`](Self::size) only for
    /// functions of extendable output.
    fn max_size(&self) -> usize {
        self.size()
    }

    /// Fills `out` with the beginning of the digest of `data`.
    ///
    /// `out` is never longer than [`max_size`](Self::max_size).
    fn digest(&self, data: &[u8], out: &mut [u8]);

    /// The digests of many inputs, [`max_size`](Self::max_size) bytes of each.
    ///
    /// `out` is as long as `data`. Implement it where many inputs side by side are faster than one
    /// after the other.
    fn digest_many(&self, data: &[&[u8]], out: &mut [Digest]) {
        let size = self.max_size();
        for (data, out) in data.iter().zip(out) {
            self.digest(data, &mut out[..size]);
        }
    }
}

/// The hash functions that a node makes CIDs with and believes CIDs of.
///
/// A value, not a global: two nodes in one process can have different ones. Clones share the
/// functions.
///
/// [`standard`](Self::standard) is the list that the network allows; identity is part of every
/// table, because it needs no function.
#[derive(Clone)]
pub struct HashTable {
    /// Sorted by code.
    functions: Arc<[Arc<dyn HashFunction>]>,
}

impl HashTable {
    /// No function but identity.
    pub fn empty() -> Self {
        Self { functions: Arc::new([]) }
    }

    /// The functions that Kubo accepts: SHA-1, SHA2-256 (also doubled) and SHA2-512, and with the
    /// feature `hashes` SHA-3, SHAKE-256, Keccak, BLAKE2b and BLAKE2s of 20 bytes and more, and
    /// BLAKE3.
    pub fn standard() -> Self {
        let mut functions = functions::standard();
        functions.sort_by_key(|f| f.code());
        Self { functions: functions.into() }
    }

    /// The same table with `function` added, in place of one with the same code.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a function that claims the code of identity, or sizes out of range.
    pub fn with(&self, function: impl HashFunction) -> Result<Self> {
        let (code, size, max) = (function.code(), function.size(), function.max_size());
        if code == codes::IDENTITY {
            return Err(Error::invalid("hash function", "code 0 is identity, which needs none"));
        }
        if size == 0 || size > max || max > limits::MAX_DIGEST {
            return Err(Error::invalid("hash function", "its sizes must be 1..=64 bytes"));
        }
        let mut functions = self.functions.to_vec();
        let at = functions.partition_point(|f| f.code() < code);
        if functions.get(at).is_some_and(|f| f.code() == code) {
            functions.remove(at);
        }
        functions.insert(at, Arc::new(function));
        Ok(Self { functions: functions.into() })
    }

    /// The codes in the table, ascending, identity first.
    pub fn codes(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(codes::IDENTITY).chain(self.functions.iter().map(|f| f.code()))
    }

    /// Bytes of a whole digest of this function.
    pub(crate) fn default_size(&self, code: u64) -> Result<u8> {
        // At most `limits::MAX_DIGEST`, as `with` checks.
        Ok(self.function(code)?.size() as u8)
    }

    fn function(&self, code: u64) -> Result<&dyn HashFunction> {
        match self.functions.binary_search_by_key(&code, |f| f.code()) {
            Ok(at) => Ok(&*self.functions[at]),
            Err(_) => Err(Error::UnknownHash(code)),
        }
    }

    /// The whole digest of `data`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHash`], and [`Error::Limit`] for identity of more than
    /// [`limits::MAX_IDENTITY`] bytes.
    pub fn hash(&self, code: u64, data: &[u8]) -> Result<Multihash> {
        if code == codes::IDENTITY {
            return identity(data);
        }
        let function = self.function(code)?;
        let mut digest = [0; limits::MAX_DIGEST];
        let digest = &mut digest[..function.size()];
        function.digest(data, digest);
        wrap(code, digest)
    }

    /// The whole digests of many inputs, in their order: faster than one by one, where the
    /// function and the machine allow it.
    ///
    /// # Errors
    ///
    /// As [`hash`](Self::hash).
    pub fn hash_many(&self, code: u64, data: &[&[u8]]) -> Result<Vec<Multihash>> {
        if code == codes::IDENTITY {
            return data.iter().map(|data| identity(data)).collect();
        }
        let function = self.function(code)?;
        let size = function.size();
        let mut digests = vec![[0; limits::MAX_DIGEST]; data.len()];
        function.digest_many(data, &mut digests);
        digests.iter().map(|digest| wrap(code, &digest[..size])).collect()
    }

    /// Whether the CID may be used: its hash function is in the table, and its digest has a length
    /// that can be believed.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHash`]; [`Error::Limit`] for digests under [`limits::MIN_DIGEST`];
    /// [`Error::Malformed`] for digests that are longer than the function gives.
    pub fn check(&self, cid: &Cid) -> Result<()> {
        let hash = cid.hash();
        if hash.code() == codes::IDENTITY {
            return Ok(());
        }
        let function = self.function(hash.code())?;
        let size = usize::from(hash.size());
        if size < limits::MIN_DIGEST {
            let limit = limits::MIN_DIGEST;
            return Err(Error::limit("bytes of a digest", limit, size));
        }
        if size > function.max_size() {
            return Err(Error::malformed("CID", "its digest is longer than its hash gives"));
        }
        Ok(())
    }

    /// Whether `data` hashes to `hash`.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn verify(&self, cid: &Cid, data: &[u8]) -> Result<()> {
        self.check(cid)?;
        let hash = cid.hash();
        let matches = if hash.code() == codes::IDENTITY {
            hash.digest() == data
        } else {
            let mut digest = [0; limits::MAX_DIGEST];
            let digest = &mut digest[..usize::from(hash.size())];
            self.function(hash.code())?.digest(data, digest);
            hash.digest() == digest
        };
        if matches { Ok(()) } else { Err(Error::Corrupt(*cid)) }
    }

    /// [`verify`](Self::verify) for many, the answers in their order.
    pub fn verify_many(&self, items: &[(Cid, &[u8])]) -> Vec<Result<()>> {
        let mut answers: Vec<Result<()>> = items.iter().map(|(cid, _)| self.check(cid)).collect();
        for function in &*self.functions {
            let places: Vec<usize> = (0..items.len())
                .filter(|&i| answers[i].is_ok() && items[i].0.hash().code() == function.code())
                .collect();
            if places.is_empty() {
                continue;
            }
            let data: Vec<&[u8]> = places.iter().map(|&i| items[i].1).collect();
            let mut digests = vec![[0; limits::MAX_DIGEST]; places.len()];
            function.digest_many(&data, &mut digests);
            for (&i, digest) in places.iter().zip(&digests) {
                let cid = items[i].0;
                if !digest.starts_with(cid.hash().digest()) {
                    answers[i] = Err(Error::Corrupt(cid));
                }
            }
        }
        for (answer, (cid, data)) in answers.iter_mut().zip(items) {
            let identity = cid.hash().code() == codes::IDENTITY;
            if identity && cid.hash().digest() != *data {
                *answer = Err(Error::Corrupt(*cid));
            }
        }
        answers
    }
}

fn identity(data: &[u8]) -> Result<Multihash> {
    if data.len() > limits::MAX_IDENTITY {
        let what = "bytes inside an identity CID";
        return Err(Error::limit(what, limits::MAX_IDENTITY, data.len()));
    }
    wrap(codes::IDENTITY, data)
}

fn wrap(code: u64, digest: &[u8]) -> Result<Multihash> {
    Multihash::wrap(code, digest)
        .map_err(|_| Error::limit("bytes of a digest", limits::MAX_DIGEST, digest.len()))
}

impl Default for HashTable {
    /// [`HashTable::standard`].
    fn default() -> Self {
        Self::standard()
    }
}

impl fmt::Debug for HashTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.codes().map(|code| format!("0x{code:x}"))).finish()
    }
}

#[cfg(test)]
mod tests;
