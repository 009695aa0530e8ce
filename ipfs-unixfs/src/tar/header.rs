//! The block of 512 bytes before each entry.

use std::ops::Range;

use ipfs_traits::{Error, Result};

use super::WHAT;

/// An archive is made of blocks of so many bytes.
pub(super) const BLOCK: usize = 512;

/// What an entry is.
pub(super) mod kind {
    pub(in super::super) const FILE: u8 = b'0';
    pub(in super::super) const OLD_FILE: u8 = 0;
    pub(in super::super) const CONTIGUOUS_FILE: u8 = b'7';
    pub(in super::super) const HARD_LINK: u8 = b'1';
    pub(in super::super) const SYMLINK: u8 = b'2';
    pub(in super::super) const DIRECTORY: u8 = b'5';
    /// What is said of the next entry, by POSIX.
    pub(in super::super) const PAX: u8 = b'x';
    /// What is said of all entries that follow.
    pub(in super::super) const PAX_GLOBAL: u8 = b'g';
    /// The name of the next entry, by GNU.
    pub(in super::super) const GNU_NAME: u8 = b'L';
    /// The target of the next entry, by GNU.
    pub(in super::super) const GNU_TARGET: u8 = b'K';
    pub(in super::super) const GNU_SPARSE: u8 = b'S';
}

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const TARGET: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const DEVICE: [Range<usize>; 2] = [329..337, 337..345];
const PREFIX: Range<usize> = 345..500;

/// The most bytes of a name or target, which is cut there.
pub(super) const NAME_LEN: usize = NAME.end;

/// A size must be less.
pub(super) const MAX_OCTAL: u64 = 1 << 33;

/// POSIX and its version; of GNU the second differs, and there is no prefix.
const USTAR: &[u8] = b"ustar\x0000";

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) target: Vec<u8>,
}

impl Header {
    /// The block. Names are cut, and numbers that have no room are 0: a pax record says what they
    /// are.
    pub(super) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut text = |field: Range<usize>, text: &[u8]| {
            let len = text.len().min(field.len());
            block[field.start..field.start + len].copy_from_slice(&text[..len]);
        };
        text(NAME, &self.name);
        text(TARGET, &self.target);
        text(MAGIC, USTAR);
        let mut octal = |field: Range<usize>, value: u64| {
            let width = field.len() - 1;
            let fits = value < 1 << (3 * width);
            let digits = format!("{:0width$o}", if fits { value } else { 0 });
            text(field, digits.as_bytes());
        };
        octal(MODE, self.mode.into());
        octal(UID, 0);
        octal(GID, 0);
        octal(SIZE, self.size);
        octal(MTIME, self.mtime.try_into().unwrap_or_default());
        DEVICE.into_iter().for_each(|field| octal(field, 0));
        block[KIND] = self.kind;
        let sum = sums(&block).0;
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    /// Reads a block; `None` for one of zeros, which ends an archive.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Option<Self>> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let said = number(&block[CHECKSUM])?;
        let (unsigned, signed) = sums(block);
        if said != i128::from(unsigned) && said != i128::from(signed) {
            return Err(Error::malformed(WHAT, "the checksum of a header is wrong"));
        }
        let mut name = text(&block[NAME]).to_vec();
        let prefix = text(&block[PREFIX]);
        if &block[MAGIC.start..MAGIC.start + 6] == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let out_of_range = |_| Error::malformed(WHAT, "a number in a header is out of range");
        Ok(Some(Self {
            name,
            kind: block[KIND],
            // What lies above are the kinds of files, in old archives.
            mode: number(&block[MODE])? as u32 & 0o7777,
            size: number(&block[SIZE])?.try_into().map_err(out_of_range)?,
            mtime: number(&block[MTIME])?.try_into().map_err(out_of_range)?,
            target: text(&block[TARGET]).to_vec(),
        }))
    }
}

/// The sum of all bytes, with spaces for the checksum itself; some took bytes for signed.
fn sums(block: &[u8; BLOCK]) -> (u32, i32) {
    block.iter().enumerate().fold((0, 0), |(unsigned, signed), (at, byte)| {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
        (unsigned + u32::from(byte), signed + i32::from(byte as i8))
    })
}

/// The unused bytes behind so many.
pub(super) const fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// What stands before the first zero byte.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number: octal digits, or by GNU the bytes of it.
fn number(field: &[u8]) -> Result<i128> {
    if let Some(first @ (0x80..)) = field.first().copied() {
        // At most 12 bytes, of which the first bit says that these are bytes and the second is the
        // sign.
        let sign =
            if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(first as i8) };
        return Ok(field[1..].iter().fold(sign, |value, byte| value << 8 | i128::from(*byte)));
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'7' => Ok(value << 3 | i128::from(digit - b'0')),
        _ => Err(Error::malformed(WHAT, "a number in a header is not octal")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back() {
        let header = Header {
            name: b"a/b".to_vec(),
            kind: kind::SYMLINK,
            mode: 0o755,
            size: MAX_OCTAL - 1,
            mtime: 1_700_000_000,
            target: vec![b'x'; 100],
        };
        let block = header.encode();
        assert_eq!(Header::parse(&block).unwrap(), Some(header.clone()));
        // Another reader agrees.
        let other = tar::Header::from_byte_slice(&block);
        assert_eq!(other.path_bytes(), &b"a/b"[..]);
        assert_eq!(other.size().unwrap(), MAX_OCTAL - 1);
        assert_eq!(other.mtime().unwrap(), 1_700_000_000);
        assert_eq!(other.cksum().unwrap(), sums(&block).0);

        let mut spoiled = block;
        spoiled[0] ^= 1;
        assert!(matches!(Header::parse(&spoiled), Err(Error::Malformed { .. })));
        assert_eq!(Header::parse(&[0; BLOCK]).unwrap(), None);
    }

    #[test]
    fn numbers_of_every_spelling() {
        let good: [(&[u8], i128); 7] = [
            (b"0000644\0", 0o644),
            (b"   644 \0", 0o644),
            (b"644\0junk", 0o644),
            (b"\0\0\0\0", 0),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", 2 << 32),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb", -5),
            (b"77777777777\0", (1 << 33) - 1),
        ];
        for (field, value) in good {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
        for bad in [&b"0008\0"[..], b"-1\0", b"0x1\0", b"1 1\0"] {
            assert!(matches!(number(bad), Err(Error::Malformed { .. })), "{bad:?}");
        }
    }
}
