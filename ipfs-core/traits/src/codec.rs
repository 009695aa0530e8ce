//! Codecs: between the bytes of a block and the IPLD data model.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use bytes::Bytes;

use crate::{Block, Cid, Error, HashTable, Ipld, Result};

/// Turns the bytes of one multicodec into the data model and back.
///
/// # Contract
///
/// [`encode`](Self::encode) is deterministic, and `decode` of what it gave is the same value.
/// [`links`](Self::links) reports exactly the links of the decoded value, in the order they stand
/// in the bytes, each as often as it stands there; it is a method of its own because it is many
/// times cheaper than decoding, and following links is all that pins, garbage collection and
/// fetching need. The CID comes along because some formats cannot be read without it.
///
/// The bytes are hostile: a codec bounds its depth and its memory (a small multiple of the input),
/// never panics, and takes no time out of proportion. They are known to hash to the CID.
///
/// # Implementing
///
/// A codec that exists as an [`ipld_core::codec::Codec`] needs nothing: wrap it in [`Static`].
///
/// ```
/// use bytes::Bytes;
/// use ipfs_traits::{Cid, Codec, Error, Ipld, Result};
///
/// /// Bytes that are one CID.
/// #[derive(Debug)]
/// struct Pointer;
///
/// impl Codec for Pointer {
///     fn code(&self) -> u64 {
///         0x30_0001 // of the range for private use
///     }
///     fn links(&self, _: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
///         out(ipfs_traits::parse_cid(data)?);
///         Ok(())
///     }
///     fn decode(&self, _: &Cid, data: &Bytes) -> Result<Ipld> {
///         ipfs_traits::parse_cid(data).map(Ipld::Link)
///     }
///     fn encode(&self, value: &Ipld) -> Result<Bytes> {
///         match value {
///             Ipld::Link(cid) => Ok(cid.to_bytes().into()),
///             _ => Err(Error::invalid("value for a pointer", "it is not a link")),
///         }
///     }
/// }
///
/// let mut codecs = ipfs_traits::CodecTable::new();
/// codecs.insert(Pointer);
/// assert!(codecs.by_code(0x30_0001).is_ok());
/// ```
///
/// [`conformance::codec`](crate::conformance::codec) checks an implementation.
///
/// # Cancel safety
///
/// Nothing here waits. A codec does no IO and holds no lock.
///
/// # Errors
///
/// [`Error::Malformed`] for bytes that do not follow the format, [`Error::Invalid`] for a value
/// that it cannot express, [`Error::Limit`] for what is beyond its bounds.
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The multicodec that it reads and writes.
    fn code(&self) -> u64;

    /// Reports the links of `data`.
    fn links(&self, cid: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()>;

    /// The value that `data` holds. Byte strings in it may share `data`'s memory.
    fn decode(&self, cid: &Cid, data: &Bytes) -> Result<Ipld>;

    /// The bytes of `value`.
    fn encode(&self, value: &Ipld) -> Result<Bytes>;
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<T: Codec + ?Sized> Codec for $pointer<T> {
            fn code(&self) -> u64 {
                (**self).code()
            }
            fn links(&self, cid: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
                (**self).links(cid, data, out)
            }
            fn decode(&self, cid: &Cid, data: &Bytes) -> Result<Ipld> {
                (**self).decode(cid, data)
            }
            fn encode(&self, value: &Ipld) -> Result<Bytes> {
                (**self).encode(value)
            }
        }
    )*};
}
forward!(Arc, Box);

/// A codec of `ipld-core`, whose functions belong to a type, as a value that a table can hold.
///
/// ```
/// use ipfs_traits::{Codec, Static};
/// use serde_ipld_dagcbor::codec::DagCborCodec;
///
/// let codec = Static::<DagCborCodec>::new();
/// assert_eq!(codec.code(), 0x71);
/// ```
pub struct Static<C>(PhantomData<fn() -> C>);

impl<C> Static<C> {
    /// The codec of the type `C`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C> Default for Static<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for Static<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Static<{}>", std::any::type_name::<C>())
    }
}

impl<C> Codec for Static<C>
where
    C: ipld_core::codec::Codec<Ipld> + 'static,
    C::Error: fmt::Display,
    C::LinksError: fmt::Display,
{
    fn code(&self) -> u64 {
        C::CODE
    }

    fn links(&self, _: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
        C::links(data).map_err(malformed)?.for_each(out);
        Ok(())
    }

    fn decode(&self, _: &Cid, data: &Bytes) -> Result<Ipld> {
        C::decode_from_slice(data).map_err(malformed)
    }

    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        C::encode_to_vec(value)
            .map(Bytes::from)
            .map_err(|error| Error::invalid("value to encode", error.to_string()))
    }
}

fn malformed(error: impl fmt::Display) -> Error {
    Error::malformed("block", error.to_string())
}

/// The codecs that a node knows, by multicodec.
///
/// A value, not a global: two nodes in one process can know different ones. A codec can also be
/// registered for one multicodec together with one hash function, and is then found for such CIDs
/// before the one of the multicodec alone.
#[derive(Clone, Default)]
pub struct CodecTable {
    codecs: BTreeMap<(u64, Option<u64>), Arc<dyn Codec>>,
}

impl CodecTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a codec under its multicodec; the one that was there is returned.
    pub fn insert(&mut self, codec: impl Codec) -> Option<Arc<dyn Codec>> {
        self.codecs.insert((codec.code(), None), Arc::new(codec))
    }

    /// Adds a codec for CIDs of its multicodec and the hash function `hash`; the one that was there
    /// is returned.
    pub fn insert_for(&mut self, hash: u64, codec: impl Codec) -> Option<Arc<dyn Codec>> {
        self.codecs.insert((codec.code(), Some(hash)), Arc::new(codec))
    }

    /// The codec for the content of `cid`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`].
    pub fn of(&self, cid: &Cid) -> Result<&Arc<dyn Codec>> {
        self.find(cid.codec(), cid.hash().code())
    }

    /// The codec registered for this multicodec alone.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`].
    pub fn by_code(&self, code: u64) -> Result<&Arc<dyn Codec>> {
        self.codecs.get(&(code, None)).ok_or(Error::UnknownCodec(code))
    }

    fn find(&self, code: u64, hash: u64) -> Result<&Arc<dyn Codec>> {
        match self.codecs.get(&(code, Some(hash))) {
            Some(codec) => Ok(codec),
            None => self.by_code(code),
        }
    }

    /// The multicodecs in the table, ascending.
    pub fn codes(&self) -> impl Iterator<Item = u64> + '_ {
        let mut codes: Vec<u64> = self.codecs.keys().map(|(code, _)| *code).collect();
        codes.dedup();
        codes.into_iter()
    }

    /// The links of a block.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`], and what the codec says of the bytes.
    pub fn links(&self, block: &Block) -> Result<Vec<Cid>> {
        let mut links = Vec::new();
        self.of(block.cid())?.links(block.cid(), block.data(), &mut |cid| links.push(cid))?;
        Ok(links)
    }

    /// The value that a block holds.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`], and what the codec says of the bytes.
    pub fn decode(&self, block: &Block) -> Result<Ipld> {
        self.of(block.cid())?.decode(block.cid(), block.data())
    }

    /// The block of a value, under a CIDv1 of this multicodec and hash function.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`], what the codec says of the value, and those of [`Block::of`].
    pub fn encode(&self, code: u64, hash: u64, value: &Ipld, hashes: &HashTable) -> Result<Block> {
        Block::of(code, hash, self.find(code, hash)?.encode(value)?, hashes)
    }
}

impl fmt::Debug for CodecTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.codes().map(|code| format!("0x{code:x}"))).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_ipld_dagcbor::codec::DagCborCodec;

    use super::*;
    use crate::codes;

    #[derive(Debug)]
    struct Named(&'static str);

    impl Codec for Named {
        fn code(&self) -> u64 {
            codes::GIT_RAW
        }
        fn links(&self, _: &Cid, _: &[u8], _: &mut dyn FnMut(Cid)) -> Result<()> {
            Ok(())
        }
        fn decode(&self, _: &Cid, _: &Bytes) -> Result<Ipld> {
            Ok(Ipld::String(self.0.into()))
        }
        fn encode(&self, _: &Ipld) -> Result<Bytes> {
            Ok(self.0.into())
        }
    }

    #[test]
    fn a_codec_for_one_hash_is_found_before_the_general_one() {
        let hashes = HashTable::standard();
        let mut table = CodecTable::new();
        table.insert_for(codes::SHA2_256, Named("sha256"));
        let block = |hash| Block::of(codes::GIT_RAW, hash, "x", &hashes).unwrap();
        let (sha1, sha256) = (block(codes::SHA1), block(codes::SHA2_256));
        assert!(matches!(table.decode(&sha1), Err(Error::UnknownCodec(codes::GIT_RAW))));
        table.insert(Named("general"));
        assert_eq!(table.decode(&sha1).unwrap(), Ipld::String("general".into()));
        assert_eq!(table.decode(&sha256).unwrap(), Ipld::String("sha256".into()));
        assert_eq!(table.codes().collect::<Vec<_>>(), [codes::GIT_RAW]);
        let made = table.encode(codes::GIT_RAW, codes::SHA2_256, &Ipld::Null, &hashes).unwrap();
        assert_eq!(made.data(), "sha256");
    }

    #[test]
    fn static_wraps_every_ipld_core_codec() {
        let hashes = HashTable::standard();
        let mut table = CodecTable::new();
        table.insert(Static::<DagCborCodec>::new());
        let leaf = Block::of(codes::RAW, codes::SHA2_256, "leaf", &hashes).unwrap();
        let value = Ipld::List(vec![Ipld::Link(*leaf.cid()), Ipld::Integer(3)]);
        let block = table.encode(codes::DAG_CBOR, codes::SHA2_256, &value, &hashes).unwrap();
        assert_eq!(table.decode(&block).unwrap(), value);
        assert_eq!(table.links(&block).unwrap(), [*leaf.cid()]);
        let bad = Block::of(codes::DAG_CBOR, codes::SHA2_256, &b"\xff"[..], &hashes).unwrap();
        assert!(matches!(table.decode(&bad), Err(Error::Malformed { .. })));
        let nan = table.encode(codes::DAG_CBOR, codes::SHA2_256, &Ipld::Float(f64::NAN), &hashes);
        assert!(matches!(nan, Err(Error::Invalid { .. })));
    }
}
