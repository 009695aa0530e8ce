//! Reading CIDs from bytes within the limits of the family, and the prefix that says how one is
//! made.

use std::fmt;

use cid::Version;

use crate::{Cid, Error, HashTable, Multihash, Result, codes, limits, varint};

/// Reads the CID at the start of `bytes`, and says how many bytes it takes.
///
/// Unlike the parser of the `cid` crate this refuses varints that are longer than need be, and
/// gives errors that name the limit. Whether the hash function is one to believe is for
/// [`HashTable::check`] to say.
///
/// # Errors
///
/// [`Error::Malformed`] for bytes that are no CID, [`Error::Limit`] for a digest longer than
/// [`limits::MAX_DIGEST`] bytes.
pub fn read_cid(bytes: &[u8]) -> Result<(Cid, usize)> {
    const V0_HEAD: [u8; 2] = [codes::SHA2_256 as u8, 32];
    if bytes.starts_with(&V0_HEAD) {
        let (hash, used) = read_multihash(bytes)?;
        return Ok((Cid::new_v0(hash).map_err(bad_cid)?, used));
    }
    let (version, rest) = varint::read(bytes, WHAT)?;
    if version != 1 {
        return Err(Error::malformed(WHAT, "its version is not 1"));
    }
    let (codec, rest) = varint::read(rest, WHAT)?;
    let (hash, used) = read_multihash(rest)?;
    Ok((Cid::new_v1(codec, hash), bytes.len() - rest.len() + used))
}

/// Reads `bytes` as one CID with nothing behind it.
///
/// # Errors
///
/// As [`read_cid`], and [`Error::Malformed`] for bytes behind the CID.
///
/// ```
/// use ipfs_traits::{codes, parse_cid, Cid, HashTable};
///
/// let cid = Cid::new_v1(codes::RAW, HashTable::standard().hash(codes::SHA2_256, b"hello")?);
/// assert_eq!(parse_cid(&cid.to_bytes())?, cid);
/// assert!(parse_cid(b"\x01\x55").is_err());
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
pub fn parse_cid(bytes: &[u8]) -> Result<Cid> {
    if bytes.len() > limits::MAX_CID {
        return Err(Error::limit("bytes of a CID", limits::MAX_CID, bytes.len()));
    }
    let (cid, used) = read_cid(bytes)?;
    if used != bytes.len() {
        return Err(Error::malformed(WHAT, "bytes follow it"));
    }
    Ok(cid)
}

/// Reads the multihash at the start of `bytes`, and says how many bytes it takes.
///
/// # Errors
///
/// As [`read_cid`].
pub fn read_multihash(bytes: &[u8]) -> Result<(Multihash, usize)> {
    let (code, rest) = varint::read(bytes, WHAT)?;
    let (size, rest) = varint::read(rest, WHAT)?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > limits::MAX_DIGEST {
        return Err(Error::limit("bytes of a digest", limits::MAX_DIGEST, size));
    }
    let digest = rest.get(..size).ok_or_else(|| Error::malformed(WHAT, "its digest is cut off"))?;
    let hash = Multihash::wrap(code, digest).map_err(|e| Error::malformed(WHAT, e.to_string()))?;
    Ok((hash, bytes.len() - rest.len() + size))
}

const WHAT: &str = "CID";

fn bad_cid(error: cid::Error) -> Error {
    Error::malformed(WHAT, error.to_string())
}

/// All of a CID but its digest: what is needed to make the CID of some bytes.
///
/// Bitswap sends blocks with this in place of the CID, and an importer is told by it what CIDs to
/// make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    version: Version,
    codec: u64,
    hash: u64,
    size: Option<u8>,
}

impl Prefix {
    /// CIDv1 of the given multicodec and hash function, with the whole digest.
    pub const fn v1(codec: u64, hash: u64) -> Self {
        Self { version: Version::V1, codec, hash, size: None }
    }

    /// CIDv0: dag-pb and SHA2-256.
    pub const fn v0() -> Self {
        Self { version: Version::V0, codec: codes::DAG_PB, hash: codes::SHA2_256, size: None }
    }

    /// The same prefix for another multicodec; of CIDv0 it becomes CIDv1 unless that is dag-pb.
    #[must_use]
    pub const fn with_codec(self, codec: u64) -> Self {
        let version = if codec == codes::DAG_PB { self.version } else { Version::V1 };
        Self { version, codec, ..self }
    }

    /// The same prefix with digests of so many bytes, the first ones of the whole. Whether a digest
    /// of that length is believed is for [`HashTable::check`] to say; one of identity is always whole.
    #[must_use]
    pub const fn with_digest_len(self, len: u8) -> Self {
        Self { size: Some(len), ..self }
    }

    /// The prefix of an existing CID.
    pub const fn of(cid: &Cid) -> Self {
        Self {
            version: cid.version(),
            codec: cid.codec(),
            hash: cid.hash().code(),
            size: Some(cid.hash().size()),
        }
    }

    /// Version of the CID.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Multicodec of the content.
    pub const fn codec(&self) -> u64 {
        self.codec
    }

    /// Multicodec of the hash function.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The CID of `data` under this prefix.
    ///
    /// # Errors
    ///
    /// As [`HashTable::hash`].
    pub fn cid(&self, data: &[u8], hashes: &HashTable) -> Result<Cid> {
        self.wrap(hashes.hash(self.hash, data)?)
    }

    /// The CID with the digest of `hash`, cut to the length that the prefix asks for. Cut content
    /// would be other content.
    pub(crate) fn wrap(&self, hash: Multihash) -> Result<Cid> {
        let hash = match self.size {
            Some(size) if size != hash.size() && hash.code() != codes::IDENTITY => {
                shorten(&hash, size)?
            }
            _ => hash,
        };
        Cid::new(self.version, self.codec, hash).map_err(bad_cid)
    }

    /// Four varints: version, codec, hash function, length of the digest.
    ///
    /// The length is taken from `hashes` where the prefix leaves it open.
    pub fn to_bytes(&self, hashes: &HashTable) -> Result<Vec<u8>> {
        let size = match self.size {
            Some(size) => size,
            None => hashes.default_size(self.hash)?,
        };
        let mut out = Vec::with_capacity(8);
        for value in [self.version.into(), self.codec, self.hash, u64::from(size)] {
            varint::write(value, &mut out);
        }
        Ok(out)
    }

    /// Reads the four varints.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for anything but four minimal varints and a known version, and
    /// [`Error::Limit`] for digests beyond [`limits::MAX_DIGEST`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "CID prefix";
        let (version, rest) = varint::read(bytes, WHAT)?;
        let (codec, rest) = varint::read(rest, WHAT)?;
        let (hash, rest) = varint::read(rest, WHAT)?;
        let (size, rest) = varint::read(rest, WHAT)?;
        if !rest.is_empty() {
            return Err(Error::malformed(WHAT, "bytes follow it"));
        }
        let version = Version::try_from(version).map_err(bad_cid)?;
        match u8::try_from(size) {
            Ok(size) if usize::from(size) <= limits::MAX_DIGEST => {
                Ok(Self { version, codec, hash, size: Some(size) })
            }
            _ => Err(Error::Limit {
                what: "bytes of a digest",
                limit: limits::MAX_DIGEST as u64,
                actual: size,
            }),
        }
    }
}

fn shorten(hash: &Multihash, size: u8) -> Result<Multihash> {
    let digest = hash.digest().get(..usize::from(size)).ok_or_else(|| {
        Error::malformed("CID prefix", "the digest is longer than the hash gives")
    })?;
    Multihash::wrap(hash.code(), digest).map_err(|e| Error::malformed(WHAT, e.to_string()))
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = u64::from(self.version);
        write!(f, "Prefix(v{version}, 0x{:x}, 0x{:x}", self.codec, self.hash)?;
        match self.size {
            Some(size) => write!(f, ", {size})"),
            None => write!(f, ")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_cid() -> Cid {
        Prefix::v1(codes::RAW, codes::SHA2_256).cid(b"x", &HashTable::standard()).unwrap()
    }

    #[test]
    fn refuses_what_the_cid_crate_lets_through() {
        let mut padded = some_cid().to_bytes();
        padded.push(0);
        assert!(Cid::try_from(&padded[..]).is_ok());
        assert!(matches!(parse_cid(&padded), Err(Error::Malformed { .. })));
        assert_eq!(read_cid(&padded).unwrap(), (some_cid(), padded.len() - 1));

        let mut long = vec![0x81, 0x00];
        long.extend(&some_cid().to_bytes()[1..]);
        assert!(matches!(parse_cid(&long), Err(Error::Malformed { .. })));
    }

    #[test]
    fn digests_beyond_what_a_cid_holds_name_the_limit() {
        let mut bytes = vec![1, 0x55, 0, 65];
        bytes.extend([7; 65]);
        assert!(matches!(parse_cid(&bytes), Err(Error::Limit { limit: 64, actual: 65, .. })));
        assert!(matches!(parse_cid(&[0; 169]), Err(Error::Limit { limit: 168, .. })));
    }

    #[test]
    fn v0_and_its_prefix() {
        let hashes = HashTable::standard();
        let cid = Prefix::v0().cid(b"x", &hashes).unwrap();
        assert_eq!(parse_cid(&cid.to_bytes()).unwrap(), cid);
        let bytes = Prefix::of(&cid).to_bytes(&hashes).unwrap();
        assert_eq!(bytes, [0, 0x70, 0x12, 32]);
        assert_eq!(Prefix::parse(&bytes).unwrap(), Prefix::of(&cid));
        assert_eq!(Prefix::v0().with_codec(codes::RAW), Prefix::v1(codes::RAW, codes::SHA2_256));
    }

    #[test]
    fn prefix_can_ask_for_a_shorter_digest_but_not_a_longer_one() {
        let hashes = HashTable::standard();
        let short = Prefix::parse(&[1, 0x55, 0x12, 20]).unwrap();
        assert_eq!(short.cid(b"x", &hashes).unwrap().hash().size(), 20);
        let long = Prefix::parse(&[1, 0x55, 0x12, 33]).unwrap();
        assert!(long.cid(b"x", &hashes).is_err());
        assert_eq!(Prefix::v1(codes::RAW, codes::SHA2_256).with_digest_len(20), short);
    }

    /// A block of eleven bytes had a CID that says that it has five.
    #[test]
    fn a_prefix_cuts_no_content() {
        let short = Prefix::v1(codes::RAW, codes::IDENTITY).with_digest_len(5);
        let cid = short.cid(b"hello world", &HashTable::standard()).unwrap();
        assert_eq!(cid.hash().digest(), b"hello world");
    }
}
