//! The UnixFS message inside of a dag-pb node: a strict view and its encoder.
//!
//! The format is that of the [UnixFS specification]. Fields may come in any order, as protobuf
//! allows, but none twice; unknown fields are passed over.
//!
//! [UnixFS specification]: https://specs.ipfs.tech/unixfs/

use std::ops::Range;

use bytes::Bytes;
use ipfs_traits::{
    Error, Result,
    protobuf::{self, Fields, Value},
    varint,
};

const WHAT: &str = "UnixFS data";

/// What a UnixFS node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A leaf of a file, as some layouts and old versions write it.
    Raw,
    /// A directory in one block.
    Directory,
    /// A file, or a part of one.
    File,
    /// Metadata of a file; no longer used.
    Metadata,
    /// A symbolic link; the data is where it points.
    Symlink,
    /// A directory spread over many blocks, by the hash of the names.
    HamtShard,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Raw, Self::Directory, Self::File, Self::Metadata, Self::Symlink, Self::HamtShard];

    fn parse(code: u64) -> Result<Self> {
        let kind = usize::try_from(code).ok().and_then(|code| Self::ALL.get(code));
        kind.copied().ok_or_else(|| Error::malformed(WHAT, "its type is unknown"))
    }

    /// The kind in a word, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "a raw leaf",
            Self::Directory => "a directory",
            Self::File => "a file",
            Self::Metadata => "metadata",
            Self::Symlink => "a symbolic link",
            Self::HamtShard => "a sharded directory",
        }
    }
}

/// When something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds within the second, under 1,000,000,000, where they are known.
    pub nanos: Option<u32>,
}

/// A UnixFS message over the bytes it was parsed from.
///
/// ```
/// use ipfs_unixfs::data::{Data, Kind};
///
/// let data = Data::parse(b"\x08\x02\x12\x02hi\x18\x02"[..].into())?;
/// assert_eq!((data.kind(), data.file_size()), (Kind::File, Some(2)));
/// assert_eq!(data.content(), Some("hi".into()));
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    bytes: Bytes,
    kind: Kind,
    content: Option<Range<usize>>,
    file_size: Option<u64>,
    block_sizes: usize,
    hash_type: Option<u64>,
    fanout: Option<u64>,
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

impl Data {
    /// Parses and checks a message.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let mut found = Fieldset::default();
        let mut fields = Fields::new(&bytes, WHAT);
        while let Some(field) = fields.next() {
            let (number, value) = field?;
            found.add(number, value, bytes.len() - fields.rest().len())?;
        }
        let kind = found.kind.ok_or_else(|| Error::malformed(WHAT, "it has no type"))?;
        Ok(Self {
            kind: Kind::parse(kind)?,
            content: found.content,
            file_size: found.file_size,
            block_sizes: found.block_sizes,
            hash_type: found.hash_type,
            fanout: found.fanout,
            // Only the low 32 bits exist in the format; what lies above was never written.
            mode: found.mode.map(|mode| mode as u32),
            mtime: found.mtime,
            bytes,
        })
    }

    /// What the node is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The content, sharing the memory it was parsed from: of a file, of a leaf, the target of a
    /// symbolic link, the bitmap of a shard.
    pub fn content(&self) -> Option<Bytes> {
        self.content.clone().map(|range| self.bytes.slice(range))
    }

    /// How many bytes the file has below this node.
    pub const fn file_size(&self) -> Option<u64> {
        self.file_size
    }

    /// How many bytes of the file lie below each link, in the order of the links.
    pub fn block_sizes(&self) -> BlockSizes<'_> {
        let fields = Fields::new(&self.bytes, WHAT);
        BlockSizes { fields, packed: &[], left: self.block_sizes }
    }

    /// The hash function of a shard.
    pub const fn hash_type(&self) -> Option<u64> {
        self.hash_type
    }

    /// How many children a shard can have.
    pub const fn fanout(&self) -> Option<u64> {
        self.fanout
    }

    /// Permissions and other bits of the mode, as they were written.
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// When it was changed.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.mtime
    }

    /// What it would take to make this message again.
    pub fn to_new(&self) -> NewData<'_> {
        NewData {
            content: self.content.clone().map(|range| &self.bytes[range]),
            file_size: self.file_size,
            block_sizes: self.block_sizes().collect(),
            hash_type: self.hash_type,
            fanout: self.fanout,
            mode: self.mode,
            mtime: self.mtime,
            ..NewData::of(self.kind)
        }
    }
}

/// The fields of a message while it is read.
#[derive(Default)]
struct Fieldset {
    kind: Option<u64>,
    content: Option<Range<usize>>,
    file_size: Option<u64>,
    block_sizes: usize,
    hash_type: Option<u64>,
    fanout: Option<u64>,
    mode: Option<u64>,
    mtime: Option<Mtime>,
}

impl Fieldset {
    /// Takes the field that ends at `end`.
    fn add(&mut self, number: u32, value: Value<'_>, end: usize) -> Result<()> {
        match number {
            1 => once(&mut self.kind, value.varint(WHAT)?),
            2 => once(&mut self.content, end - value.bytes(WHAT)?.len()..end),
            3 => once(&mut self.file_size, value.varint(WHAT)?),
            4 => {
                self.block_sizes += match value {
                    Value::Bytes(packed) => count_packed(packed)?,
                    value => value.varint(WHAT).map(|_| 1)?,
                };
                Ok(())
            }
            5 => once(&mut self.hash_type, value.varint(WHAT)?),
            6 => once(&mut self.fanout, value.varint(WHAT)?),
            7 => once(&mut self.mode, value.varint(WHAT)?),
            8 => once(&mut self.mtime, parse_mtime(value.bytes(WHAT)?)?),
            _ => Ok(()),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::malformed(WHAT, "a field is twice there")),
    }
}

fn count_packed(mut packed: &[u8]) -> Result<usize> {
    let mut count = 0;
    while !packed.is_empty() {
        packed = varint::read(packed, WHAT)?.1;
        count += 1;
    }
    Ok(count)
}

fn parse_mtime(bytes: &[u8]) -> Result<Mtime> {
    const WHAT: &str = "UnixFS mtime";
    let (mut seconds, mut nanos) = (None, None);
    for field in Fields::new(bytes, WHAT) {
        match field? {
            (1, value) => once(&mut seconds, value.varint(WHAT)? as i64)?,
            (2, Value::Fixed32(value)) => once(&mut nanos, value)?,
            (2, _) => return Err(Error::malformed(WHAT, "its nanoseconds are not 32 bits")),
            _ => {}
        }
    }
    if nanos.is_some_and(|nanos| nanos >= 1_000_000_000) {
        return Err(Error::malformed(WHAT, "its nanoseconds are a second or more"));
    }
    let seconds = seconds.ok_or_else(|| Error::malformed(WHAT, "it has no seconds"))?;
    Ok(Mtime { seconds, nanos })
}

/// The block sizes of a [`Data`], read as they are asked for.
#[derive(Clone, Debug)]
pub struct BlockSizes<'a> {
    fields: Fields<'a>,
    packed: &'a [u8],
    left: usize,
}

impl Iterator for BlockSizes<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        // The message was checked when it was parsed, so nothing here fails before the end.
        while self.left > 0 {
            if !self.packed.is_empty() {
                let (size, rest) = varint::read(self.packed, WHAT).ok()?;
                self.packed = rest;
                self.left -= 1;
                return Some(size);
            }
            match self.fields.next()?.ok()? {
                (4, Value::Varint(size)) => {
                    self.left -= 1;
                    return Some(size);
                }
                (4, Value::Bytes(packed)) => self.packed = packed,
                _ => {}
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for BlockSizes<'_> {}

/// A UnixFS message to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewData<'a> {
    /// What the node is.
    pub kind: Kind,
    /// Its content; an empty one is written as an empty field, absent as none.
    pub content: Option<&'a [u8]>,
    /// How many bytes the file has below this node.
    pub file_size: Option<u64>,
    /// How many bytes of the file lie below each link.
    pub block_sizes: Vec<u64>,
    /// The hash function of a shard.
    pub hash_type: Option<u64>,
    /// How many children a shard can have.
    pub fanout: Option<u64>,
    /// Permissions and other bits of the mode.
    pub mode: Option<u32>,
    /// When it was changed.
    pub mtime: Option<Mtime>,
}

impl<'a> NewData<'a> {
    /// A message that says only what the node is.
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            content: None,
            file_size: None,
            block_sizes: Vec::new(),
            hash_type: None,
            fanout: None,
            mode: None,
            mtime: None,
        }
    }

    /// The bytes, fields in the order of their numbers and block sizes unpacked, as every other
    /// implementation writes them.
    pub fn encode(&self) -> Vec<u8> {
        // The other fields take at most 11 bytes each.
        let sizes: usize = self.block_sizes.iter().map(|size| protobuf::varint_len(4, *size)).sum();
        let content = self.content.map_or(0, |content| content.len() + 11);
        let mut out = Vec::with_capacity(content + sizes + 7 * 11);
        protobuf::write_varint(1, self.kind as u64, &mut out);
        if let Some(content) = self.content {
            protobuf::write_bytes(2, content, &mut out);
        }
        let mut varint = |number, value: Option<u64>| {
            if let Some(value) = value {
                protobuf::write_varint(number, value, &mut out);
            }
        };
        varint(3, self.file_size);
        self.block_sizes.iter().for_each(|size| varint(4, Some(*size)));
        varint(5, self.hash_type);
        varint(6, self.fanout);
        varint(7, self.mode.map(u64::from));
        if let Some(mtime) = self.mtime {
            protobuf::write_bytes(8, &encode_mtime(mtime), &mut out);
        }
        out
    }
}

fn encode_mtime(mtime: Mtime) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::write_varint(1, mtime.seconds as u64, &mut out);
    if let Some(nanos) = mtime.nanos {
        protobuf::write_fixed32(2, nanos, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Data> {
        Data::parse(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn round_trip_of_every_field() {
        let all = NewData {
            kind: Kind::HamtShard,
            content: Some(b"bitmap"),
            file_size: Some(300),
            block_sizes: vec![0, 100, u64::MAX],
            hash_type: Some(0x22),
            fanout: Some(256),
            mode: Some(0o755),
            mtime: Some(Mtime { seconds: -5, nanos: Some(999_999_999) }),
        };
        let data = parse(&all.encode()).unwrap();
        assert_eq!(data.to_new(), all);
        assert_eq!(data.block_sizes().len(), 3);
        for kind in Kind::ALL {
            assert_eq!(parse(&NewData::of(kind).encode()).unwrap().kind(), kind);
        }
    }

    #[test]
    fn packed_block_sizes_are_read_too() {
        let mut bytes = vec![8, 2, 0x20, 7];
        protobuf::write_bytes(4, &[1, 0x80, 1, 2], &mut bytes);
        protobuf::write_varint(4, 9, &mut bytes);
        let data = parse(&bytes).unwrap();
        assert_eq!(data.block_sizes().collect::<Vec<_>>(), [7, 1, 128, 2, 9]);
    }

    #[test]
    fn refuses_what_is_no_message() {
        let bad: [&[u8]; 8] = [
            b"",                                             // no type
            b"\x08\x06",                                     // unknown type
            b"\x08\x02\x08\x02",                             // type twice
            b"\x08\x02\x12\x01",                             // content cut off
            b"\x0a\x00",                                     // type as bytes
            b"\x08\x02\x22\x01\x80",                         // packed sizes cut off
            b"\x08\x02\x42\x00",                             // mtime without seconds
            b"\x08\x02\x42\x07\x08\x00\x15\x00\xca\x9a\x3b", // a whole second of nanoseconds
        ];
        for bytes in bad {
            assert!(matches!(parse(bytes), Err(Error::Malformed { .. })), "{bytes:?}");
        }
        assert!(parse(b"\x08\x02\x48\x01").is_ok(), "unknown fields are passed over");
    }
}
