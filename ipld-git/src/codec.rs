//! The codec `git-raw` of the IPLD libraries.

use std::io::{BufRead, Write};

use cid::Cid;
use ipld_core::{
    codec::{Codec, Links},
    ipld::Ipld,
};

use crate::{
    Error, GIT_RAW, Object, ObjectFormat, decode_as, encode_as, links_as, value::format_of,
};

/// Git objects with SHA-1 ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GitSha1;

/// Git objects with SHA-256 ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GitSha256;

/// Git objects of either format.
///
/// A tree does not say how long its ids are. This reads it with 20 bytes and, if that fails, with
/// 32; what can be read both ways is an [`Error::Ambiguous`]. Where the CID is at hand, its hash
/// function says which of [`GitSha1`] and [`GitSha256`] to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GitCodec;

/// The format of an object of which only the bytes are known.
///
/// # Errors
///
/// [`Error::Ambiguous`] for a tree that has entries in both; otherwise as [`Object::parse`].
pub fn detect_format(object: &[u8]) -> Result<ObjectFormat, Error> {
    let sha256 = || Object::parse(ObjectFormat::Sha256, object);
    match Object::parse(ObjectFormat::Sha1, object) {
        Ok(Object::Tree(tree)) if tree.entries().next().is_some() && sha256().is_ok() => {
            Err(Error::Ambiguous)
        }
        Ok(_) => Ok(ObjectFormat::Sha1),
        Err(error) => sha256().map(|_| ObjectFormat::Sha256).map_err(|_| error),
    }
}

macro_rules! codec {
    ($codec:ident, $of_bytes:expr, $of_value:expr) => {
        impl Links for $codec {
            type LinksError = Error;

            fn links(bytes: &[u8]) -> Result<impl Iterator<Item = Cid>, Error> {
                links_as($of_bytes(bytes)?, bytes)
            }
        }

        impl Codec<Ipld> for $codec {
            const CODE: u64 = GIT_RAW;
            type Error = Error;

            fn decode<R: BufRead>(mut reader: R) -> Result<Ipld, Error> {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map_err(|error| Error::Io(error.kind()))?;
                Self::decode_from_slice(&bytes)
            }

            fn decode_from_slice(bytes: &[u8]) -> Result<Ipld, Error> {
                decode_as($of_bytes(bytes)?, bytes)
            }

            fn encode<W: Write>(mut writer: W, value: &Ipld) -> Result<(), Error> {
                let bytes = Self::encode_to_vec(value)?;
                writer.write_all(&bytes).map_err(|error| Error::Io(error.kind()))
            }

            fn encode_to_vec(value: &Ipld) -> Result<Vec<u8>, Error> {
                encode_as($of_value(value)?, value)
            }
        }
    };
}

codec!(GitSha1, |_| Ok::<_, Error>(ObjectFormat::Sha1), |_| Ok::<_, Error>(ObjectFormat::Sha1));
codec!(GitSha256, |_| Ok::<_, Error>(ObjectFormat::Sha256), |_| Ok::<_, Error>(
    ObjectFormat::Sha256
));
codec!(GitCodec, detect_format, format_of);
