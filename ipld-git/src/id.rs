//! Object ids, and the CIDs that say the same.

use std::{fmt, str::FromStr};

use cid::Cid;
use multihash::Multihash;
use sha2::Digest;

use crate::{Error, Result};

/// The multicodec of git objects, `git-raw`.
pub const GIT_RAW: u64 = 0x78;

/// The multihash codes of SHA-1 and SHA2-256.
const SHA1: u64 = 0x11;
const SHA2_256: u64 = 0x12;

/// The hash function of a repository: what git calls `extensions.objectFormat`.
///
/// It decides the length of the ids inside trees, which their bytes do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectFormat {
    /// `sha1`: ids of 20 bytes. Git's default.
    Sha1,
    /// `sha256`: ids of 32 bytes.
    Sha256,
}

impl ObjectFormat {
    /// The bytes of an id: 20 or 32.
    pub const fn id_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The multihash code: 0x11 or 0x12.
    pub const fn hash_code(self) -> u64 {
        match self {
            Self::Sha1 => SHA1,
            Self::Sha256 => SHA2_256,
        }
    }

    /// The id of an object: the hash of its bytes, header included.
    ///
    /// # Errors
    ///
    /// [`Error::Collision`] for bytes that were made to have the SHA-1 of others, as git refuses
    /// them.
    pub fn hash(self, object: &[u8]) -> Result<ObjectId> {
        match self {
            Self::Sha1 => {
                let digest = sha1_checked::Sha1::try_digest(object);
                if digest.has_collision() {
                    return Err(Error::Collision);
                }
                Ok(ObjectId::new(self, digest.hash()))
            }
            Self::Sha256 => Ok(ObjectId::new(self, &sha2::Sha256::digest(object))),
        }
    }
}

/// As in git's configuration: `sha1`, `sha256`.
impl fmt::Display for ObjectFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        })
    }
}

/// The id of a git object: 20 bytes of SHA-1, or 32 of SHA-256.
///
/// Its text is git's: 40 or 64 lower-case hexadecimal digits. Reading takes upper-case ones too, as
/// git does.
///
/// ```
/// use ipld_git::{ObjectId, cid_of, id_of};
///
/// let id: ObjectId = "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse()?;
/// let cid = cid_of(&id);
/// assert_eq!(cid.to_string(), "baf4bcfclqjo4mqwln242ayhfjp4nneui7pxesba");
/// assert_eq!(id_of(&cid)?, id);
/// # Ok::<(), ipld_git::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    format: ObjectFormat,
    /// Zeroes behind the 20 bytes of a SHA-1.
    bytes: [u8; 32],
}

impl ObjectId {
    /// `bytes` has the length that the format wants.
    #[inline]
    pub(crate) fn new(format: ObjectFormat, bytes: &[u8]) -> Self {
        let mut id = Self { format, bytes: [0; 32] };
        // Apart, so that each length is known where it is copied.
        match format {
            ObjectFormat::Sha1 => id.bytes[..20].copy_from_slice(bytes),
            ObjectFormat::Sha256 => id.bytes.copy_from_slice(bytes),
        }
        id
    }

    /// The id that is these 20 or 32 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Id`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes.len() {
            20 => Ok(Self::new(ObjectFormat::Sha1, bytes)),
            32 => Ok(Self::new(ObjectFormat::Sha256, bytes)),
            _ => Err(Error::Id),
        }
    }

    /// The id that these hexadecimal digits are.
    ///
    /// # Errors
    ///
    /// [`Error::Id`].
    pub fn from_hex(digits: &[u8]) -> Result<Self> {
        match digits.len() {
            40 => Self::read(ObjectFormat::Sha1, digits),
            64 => Self::read(ObjectFormat::Sha256, digits),
            _ => None,
        }
        .ok_or(Error::Id)
    }

    /// The id in the digits at the beginning of `text`.
    #[inline]
    pub(crate) fn read(format: ObjectFormat, text: &[u8]) -> Option<Self> {
        let mut id = Self { format, bytes: [0; 32] };
        let digits = text.get(..2 * format.id_len())?;
        let mut seen = 0;
        for (byte, pair) in id.bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
            seen |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        (seen < 16).then_some(id)
    }

    /// The hash function.
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The 20 or 32 bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.format.id_len()]
    }

    /// Appends the digits.
    pub(crate) fn write_hex(&self, out: &mut Vec<u8>) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(&self.bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        out.extend_from_slice(&digits[..2 * self.format.id_len()]);
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a digit is worth; 16 and more for what is none.
const DIGITS: [u8; 256] = {
    let mut table = [0xf0; 256];
    let mut value = 0;
    while value < 16 {
        table[HEX[value as usize] as usize] = value;
        table[HEX[value as usize].to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    table
};

impl FromStr for ObjectId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_hex(text.as_bytes())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// The CID of a git object: version 1, `git-raw`, with the id as SHA-1 or SHA2-256 digest.
#[inline]
pub fn cid_of(id: &ObjectId) -> Cid {
    // Apart, so that each length is known where it is copied.
    let digest = match id.format {
        ObjectFormat::Sha1 => Multihash::wrap(SHA1, &id.bytes[..20]),
        ObjectFormat::Sha256 => Multihash::wrap(SHA2_256, &id.bytes),
    };
    Cid::new_v1(GIT_RAW, digest.expect("an id is shorter than the longest digest"))
}

/// The id of the git object that a CID names.
///
/// # Errors
///
/// [`Error::Cid`] for a CID of another codec, hash function or length of digest.
pub fn id_of(cid: &Cid) -> Result<ObjectId> {
    let format = match (cid.codec(), cid.hash().code()) {
        (GIT_RAW, SHA1) => ObjectFormat::Sha1,
        (GIT_RAW, SHA2_256) => ObjectFormat::Sha256,
        _ => return Err(Error::Cid(Box::new(*cid))),
    };
    let digest = cid.hash().digest();
    if digest.len() != format.id_len() {
        return Err(Error::Cid(Box::new(*cid)));
    }
    Ok(ObjectId::new(format, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written_as_git_does() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let id: ObjectId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<ObjectId>().unwrap(), id);
        assert_eq!(ObjectId::from_bytes(id.as_bytes()).unwrap(), id);
        for wrong in ["", "01", &text[1..], &text.replace('f', "g"), &text.replace('a', "\u{e9}")] {
            assert_eq!(wrong.parse::<ObjectId>(), Err(Error::Id), "{wrong}");
        }
        let mut written = Vec::new();
        id.write_hex(&mut written);
        assert_eq!(written, text.as_bytes());
    }

    #[test]
    fn only_cids_of_git_objects_are_ids() {
        let id = ObjectFormat::Sha256.hash(b"blob 0\0").unwrap();
        assert_eq!(
            id.to_string(),
            "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"
        );
        let cid = cid_of(&id);
        assert_eq!(id_of(&cid), Ok(id));
        let raw = Cid::new_v1(0x55, *cid.hash());
        assert_eq!(id_of(&raw), Err(Error::Cid(Box::new(raw))));
        for (code, digest) in [(SHA1, &[7; 32][..]), (SHA2_256, &[7; 20]), (0x1b, &[7; 32])] {
            let other = Cid::new_v1(GIT_RAW, Multihash::wrap(code, digest).unwrap());
            assert_eq!(id_of(&other), Err(Error::Cid(Box::new(other))));
        }
    }
}
