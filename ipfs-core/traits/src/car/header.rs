//! The header: `{roots: [&Any], version: 1}` in DAG-CBOR.

use bytes::Bytes;

use super::MAX_HEADER;
use crate::{Cid, Error, Result, read_cid, varint};

const WHAT: &str = "CAR header";
/// `{"roots": …` of a map with two entries.
const ROOTS: &[u8] = b"\xa2\x65roots";
/// `"version": 1` behind it.
const VERSION_1: &[u8] = b"\x67version\x01";
/// Tag 42, before a byte string.
const LINK: &[u8] = b"\xd8\x2a";

/// A whole CARv1 header with its length before it.
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let mut body = ROOTS.to_vec();
    write_head(4, roots.len(), &mut body);
    for root in roots {
        let cid = root.to_bytes();
        body.extend_from_slice(LINK);
        write_head(2, cid.len() + 1, &mut body);
        body.push(0); // the multibase prefix of bytes
        body.extend(cid);
    }
    body.extend_from_slice(VERSION_1);
    let mut out = Vec::with_capacity(varint::len(body.len() as u64) + body.len());
    varint::write(body.len() as u64, &mut out);
    out.extend(body);
    out
}

/// The head of a CBOR item: its major type and its length, in the shortest form.
fn write_head(major: u8, len: usize, out: &mut Vec<u8>) {
    let major = major << 5;
    match len as u64 {
        len @ 0..24 => out.push(major | len as u8),
        len @ 24..0x100 => out.extend([major | 24, len as u8]),
        len @ 0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            // Beyond 32 bits the header would be longer than any reader takes.
            out.push(major | 26);
            out.extend((len as u32).to_be_bytes());
        }
    }
}

/// Reads the head of a CBOR item of type `major`, in the shortest form.
fn read_head(major: u8, bytes: &[u8]) -> Result<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first().ok_or_else(cut_off)?;
    if first >> 5 != major {
        return Err(Error::malformed(WHAT, "it is not {roots, version}"));
    }
    let (len, rest, least) = match first & 31 {
        short @ 0..24 => return Ok((usize::from(short), rest)),
        24 => number::<1>(rest, 24)?,
        25 => number::<2>(rest, 1 << 8)?,
        26 => number::<4>(rest, 1 << 16)?,
        _ => return Err(Error::malformed(WHAT, "a length is not one it could have")),
    };
    if len < least {
        return Err(Error::malformed(WHAT, "a length is longer than need be"));
    }
    Ok((len, rest))
}

fn number<const N: usize>(bytes: &[u8], least: usize) -> Result<(usize, &[u8], usize)> {
    let (number, rest) = bytes.split_first_chunk::<N>().ok_or_else(cut_off)?;
    Ok((number.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)), rest, least))
}

fn cut_off() -> Error {
    Error::malformed(WHAT, "it is cut off")
}

/// The header of a CARv1, checked when it was read.
///
/// The roots are read from its bytes each time they are asked for: a header full of short CIDs
/// would take many times its size otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// What stands between the head of the list and the version.
    links: Bytes,
    count: usize,
}

impl Header {
    /// Reads the header, without the length before it.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for anything but `{roots, version}` with links and version 1;
    /// [`Error::Unsupported`] for a CARv2; [`Error::Limit`] beyond [`MAX_HEADER`].
    pub fn parse(bytes: &Bytes) -> Result<Self> {
        if bytes.len() > MAX_HEADER {
            return Err(Error::limit("bytes of a CAR header", MAX_HEADER, bytes.len()));
        }
        if bytes[..] == *b"\xa1\x67version\x02" {
            return Err(Error::unsupported("CAR version 2 where version 1 is read"));
        }
        let body = bytes
            .strip_prefix(ROOTS)
            .ok_or_else(|| Error::malformed(WHAT, "it is not {roots, version}"))?;
        let (count, links) = read_head(4, body)?;
        let mut rest = links;
        for _ in 0..count {
            rest = read_link(rest)?.1;
        }
        if rest != VERSION_1 {
            return Err(Error::malformed(WHAT, "it does not end with version 1"));
        }
        let links = bytes.slice_ref(&links[..links.len() - rest.len()]);
        Ok(Self { links, count })
    }

    /// How many roots it names.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether it names no root.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The roots, in their order.
    pub fn roots(&self) -> impl Iterator<Item = Cid> + '_ {
        let mut rest = &self.links[..];
        std::iter::from_fn(move || {
            // Checked when the header was parsed: it only fails at the end.
            let (cid, next) = read_link(rest).ok()?;
            rest = next;
            Some(cid)
        })
    }
}

fn read_link(bytes: &[u8]) -> Result<(Cid, &[u8])> {
    let not_a_link = || Error::malformed(WHAT, "a root is not a link");
    let rest = bytes.strip_prefix(LINK).ok_or_else(not_a_link)?;
    let (len, rest) = read_head(2, rest)?;
    let (link, rest) = rest.split_at_checked(len).ok_or_else(cut_off)?;
    let link = link.strip_prefix(&[0]).ok_or_else(not_a_link)?;
    let (cid, used) = read_cid(link)?;
    if used != link.len() {
        return Err(not_a_link());
    }
    Ok((cid, rest))
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header({} roots)", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HashTable, Prefix, codes};

    fn body(header: Vec<u8>) -> Bytes {
        let (len, rest) = varint::read(&header, "test").unwrap();
        assert_eq!(len as usize, rest.len());
        Bytes::copy_from_slice(rest)
    }

    #[test]
    fn round_trip_with_any_number_of_roots() {
        let hashes = HashTable::standard();
        for count in [0, 1, 2, 23, 24, 300] {
            let roots: Vec<Cid> = (0..count)
                .map(|i: u32| {
                    let prefix = [Prefix::v0(), Prefix::v1(codes::RAW, codes::SHA2_256)];
                    prefix[i as usize % 2].cid(&i.to_be_bytes(), &hashes).unwrap()
                })
                .collect();
            let bytes = body(header(&roots));
            let parsed = Header::parse(&bytes).unwrap();
            assert_eq!(parsed.len(), roots.len());
            assert!(parsed.roots().eq(roots.iter().copied()));
            for cut in 0..bytes.len() {
                assert!(Header::parse(&bytes.slice(..cut)).is_err());
            }
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        let bad: [&[u8]; 9] = [
            b"",
            b"\xf6",
            b"\xa1\x67version\x01",                  // no roots
            b"\xa1\x65roots\x80",                    // no version
            b"\xa2\x65roots\x80\x67version\x03",     // version 3
            b"\xa2\x65roots\x80\x67version\x611",    // version as text
            b"\xa2\x65roots\xa0\x67version\x01",     // roots as a map
            b"\xa2\x65roots\x98\x00\x67version\x01", // padded length
            b"\xa2\x65roots\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x67version\x01",
        ];
        for bytes in bad {
            let error = Header::parse(&Bytes::from_static(bytes)).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{bytes:?}: {error}");
        }
        let v2 = Header::parse(&Bytes::from_static(b"\xa1\x67version\x02")).unwrap_err();
        assert!(matches!(v2, Error::Unsupported(_)));
    }
}
