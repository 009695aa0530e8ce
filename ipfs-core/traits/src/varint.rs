//! Unsigned varints, as multiformats and protobuf write them, read strictly.

use unsigned_varint::{decode, encode};

use crate::{Error, Result};

/// The most bytes that a varint of 64 bits takes.
pub const MAX_LEN: usize = 10;

/// Reads a varint at the start of `bytes`, and gives what follows it.
///
/// # Errors
///
/// [`Error::Malformed`], naming `what`, when the varint is cut off, longer than need be, or beyond
/// 64 bits.
#[inline]
pub fn read<'a>(bytes: &'a [u8], what: &'static str) -> Result<(u64, &'a [u8])> {
    match *bytes {
        // Keys and lengths of fields, most of the time.
        [byte @ ..0x80, ref rest @ ..] => Ok((byte.into(), rest)),
        _ => read_long(bytes, what),
    }
}

fn read_long<'a>(bytes: &'a [u8], what: &'static str) -> Result<(u64, &'a [u8])> {
    decode::u64(bytes).map_err(|error| {
        Error::malformed(
            what,
            match error {
                decode::Error::Insufficient => "a varint is cut off",
                decode::Error::NotMinimal => "a varint is longer than need be",
                _ => "a varint is beyond 64 bits",
            },
        )
    })
}

/// As [`read`], but `None` when `bytes` ends within the varint, for readers that wait for more.
///
/// # Errors
///
/// As [`read`].
pub fn read_partial<'a>(bytes: &'a [u8], what: &'static str) -> Result<Option<(u64, &'a [u8])>> {
    let head = bytes.len().min(MAX_LEN);
    if head < MAX_LEN && bytes[..head].iter().all(|b| b & 0x80 != 0) {
        return Ok(None);
    }
    read(bytes, what).map(Some)
}

/// Appends the shortest varint of `value`.
pub fn write(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(encode::u64(value, &mut encode::u64_buffer()));
}

/// How many bytes [`write()`] appends.
pub const fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_length() {
        for value in [0, 1, 127, 128, 255, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(out.len(), len(value), "{value}");
            assert_eq!(read(&out, "test").unwrap(), (value, &[][..]));
            for cut in 0..out.len() {
                assert!(read(&out[..cut], "test").is_err());
                assert_eq!(read_partial(&out[..cut], "test").unwrap(), None);
            }
        }
    }

    #[test]
    fn refuses_padding_and_overflow() {
        assert!(read(&[0x80, 0x00], "test").is_err());
        assert!(read(&[0xff; 11], "test").is_err());
        assert!(read_partial(&[0xff; 11], "test").is_err());
    }
}
