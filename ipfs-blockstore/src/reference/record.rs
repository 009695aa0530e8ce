//! What is written down of a reference.

use ipfs_traits::{
    AddressFilter, Error, Multihash, Result, limits,
    protobuf::{Fields, write_bytes, write_varint},
};

use super::paths;

/// What the keys of all records begin with.
pub(super) const PREFIX: &str = "/filestore/";

/// The longest path or URL in bytes: what Linux allows a path to have.
const MAX_ORIGIN: usize = 4096;

/// The longest record: the longest origin, two numbers, and room for fields of others.
const MAX_RECORD: usize = 2 * MAX_ORIGIN;

const WHAT: &str = "reference";

/// A reference as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The path of a file below the root, with forward slashes; or a URL.
    pub origin: String,
    /// Where in it the block begins, in bytes.
    pub offset: u64,
    /// How many bytes the block has.
    pub size: u64,
}

impl Record {
    /// A record that makes sense.
    pub(super) fn new(origin: String, offset: u64, size: u64) -> Result<Self> {
        if origin.len() > MAX_ORIGIN {
            return Err(Error::limit("bytes of a path or URL", MAX_ORIGIN, origin.len()));
        }
        if size > limits::MAX_STORED_BLOCK as u64 {
            let limit = limits::MAX_STORED_BLOCK as u64;
            return Err(Error::Limit { what: "bytes of a block", limit, actual: size });
        }
        if offset.checked_add(size).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Error::malformed(WHAT, "it ends beyond what a file can have"));
        }
        let record = Self { origin, offset, size };
        match record.is_url() {
            true => check_url(&record.origin)?,
            false => paths::check(&record.origin)?,
        }
        Ok(record)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) writes, and Kubo. Unknown fields are passed over, as
    /// protobuf wants it.
    pub(super) fn parse(value: &[u8]) -> Result<Self> {
        if value.len() > MAX_RECORD {
            return Err(Error::limit("bytes of a reference", MAX_RECORD, value.len()));
        }
        let (mut origin, mut offset, mut size) = (None, None, None);
        for field in Fields::new(value, WHAT) {
            let (number, value) = field?;
            let again = match number {
                1 => origin.replace(value.bytes(WHAT)?).is_some(),
                2 => offset.replace(value.varint(WHAT)?).is_some(),
                3 => size.replace(value.varint(WHAT)?).is_some(),
                _ => false,
            };
            if again {
                return Err(Error::malformed(WHAT, "a field is there twice"));
            }
        }
        let origin = std::str::from_utf8(origin.unwrap_or_default())
            .map_err(|_| Error::malformed(WHAT, "its path is not UTF-8"))?;
        Self::new(origin.to_owned(), offset.unwrap_or(0), size.unwrap_or(0))
    }

    /// The protobuf message `DataObj` of Kubo. As in all of proto3, 0 is not written.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.origin.len() + 24);
        write_bytes(1, self.origin.as_bytes(), &mut out);
        for (number, value) in [(2, self.offset), (3, self.size)] {
            if value != 0 {
                write_varint(number, value, &mut out);
            }
        }
        out
    }

    /// Whether it is a URL and not a file.
    pub fn is_url(&self) -> bool {
        is_url(&self.origin)
    }
}

/// Whether Kubo takes this for a URL.
fn is_url(origin: &str) -> bool {
    origin.starts_with("http://") || origin.starts_with("https://")
}

/// Whether a URL is one; which addresses it may name is for the client to say.
pub(super) fn check_url(url: &str) -> Result<()> {
    if !is_url(url) {
        return Err(Error::invalid("URL", "its scheme is not http or https"));
    }
    let parsed = url.parse().map_err(|_| Error::malformed(WHAT, "its URL is none"))?;
    AddressFilter::Any.check(&parsed)
}

/// The key of the record of a block, as Kubo spells it.
pub(super) fn key(hash: &Multihash) -> Vec<u8> {
    format!("{PREFIX}{}", crate::key::of(hash)).into_bytes()
}

/// The block whose record has this key; `None` for keys that are none of ours.
pub(super) fn parse_key(key: &[u8]) -> Option<Multihash> {
    crate::key::parse(key.strip_prefix(PREFIX.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as Kubo's protobuf writes them.
    #[test]
    fn records_are_those_of_kubo() {
        for (record, bytes) in [
            (Record::new("a/b".into(), 300, 5), &b"\x0a\x03a/b\x10\xac\x02\x18\x05"[..]),
            (Record::new("a".into(), 0, 5), b"\x0a\x01a\x18\x05"),
            (Record::new("a".into(), 1, 0), b"\x0a\x01a\x10\x01"),
            (Record::new("http://a/".into(), 0, 1), b"\x0a\x09http://a/\x18\x01"),
        ] {
            let record = record.unwrap();
            assert_eq!(record.to_bytes(), bytes);
            assert_eq!(Record::parse(bytes).unwrap(), record);
        }
        let hash = Multihash::wrap(0x12, &[7; 32]).unwrap();
        let spelled = b"/filestore/CIQAOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBY";
        assert_eq!(key(&hash), spelled);
        assert_eq!(parse_key(spelled), Some(hash));
        for other in
            ["/filestore/", "/filestore/ciqa", "/filestore/CIQA", "/filestore", "/other/CIQA"]
        {
            assert_eq!(parse_key(other.as_bytes()), None);
        }
    }

    #[test]
    fn bad_records_are_refused() {
        let max = limits::MAX_STORED_BLOCK as u64;
        let limit = |record: Result<Record>| assert!(matches!(record, Err(Error::Limit { .. })));
        limit(Record::new("a".into(), 0, max + 1));
        limit(Record::new("a".repeat(MAX_ORIGIN + 1), 0, 1));
        limit(Record::parse(&[0; MAX_RECORD + 1]));
        Record::new("a".into(), i64::MAX as u64 - max, max).unwrap();
        for (offset, size) in [(u64::MAX, 1), (u64::MAX - 1, 1), (i64::MAX as u64, 1)] {
            let error = Record::new("a".into(), offset, size).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }));
        }
        let bad: [&[u8]; 8] = [
            b"",                           // no path
            b"\x0a\x03a/",                 // cut off
            b"\x0a\x01a\x0a\x01b\x18\x05", // two paths
            b"\x0a\x01a\x18\x05\x18\x05",  // two sizes
            b"\x0a\x01\xff\x18\x05",       // not UTF-8
            b"\x08\x01\x18\x05",           // a number for a path
            b"\x0a\x01a\x1a\x01a",         // bytes for a size
            b"\x0a\x01a\x18\x85\x00",      // a padded number
        ];
        for bytes in bad {
            assert!(matches!(Record::parse(bytes), Err(Error::Malformed { .. })), "{bytes:?}");
        }
        // Fields of a later version.
        let more = Record::parse(b"\x0a\x01a\x18\x05\x22\x01x\x28\x07").unwrap();
        assert_eq!(more, Record::new("a".into(), 0, 5).unwrap());
    }

    #[test]
    fn urls_are_checked() {
        for bad in [
            "http://",
            "http:///a",
            "http://a b/",
            "https://u:p@a/",
            "http://a\0b/",
            "http://127.1/",
        ] {
            assert!(Record::new(bad.into(), 0, 1).is_err(), "{bad}");
        }
        Record::new("https://127.0.0.1:1/a?b=c".into(), 0, 1).unwrap();
        assert!(check_url("HTTP://a/").is_err() && check_url("ftp://a/").is_err());
    }
}
