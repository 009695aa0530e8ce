//! Reading and writing protobuf by hand, field by field over borrowed bytes.
//!
//! The formats of this family that are protobuf (dag-pb, UnixFS, bitswap messages) come from
//! strangers and carry block bytes. A reader that yields one field at a time copies nothing, and
//! its caller counts entries against a bound before anything is kept.

use crate::{Error, Result, varint};

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: bytes, a string, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The number, if this is a varint.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], naming `what`, for any other wire type.
    pub fn varint(self, what: &'static str) -> Result<u64> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(wrong_type(what)),
        }
    }

    /// The bytes, if this is a run of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], naming `what`, for any other wire type.
    pub fn bytes(self, what: &'static str) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(wrong_type(what)),
        }
    }
}

fn wrong_type(what: &'static str) -> Error {
    Error::malformed(what, "a field has the wrong wire type")
}

/// Reads the fields of one message, in the order they stand.
///
/// Varints must be minimal, as every encoder writes them; groups (wire types 3 and 4) are refused.
/// After an error it is at its end.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// Over the bytes of a message; `what` names the format in errors.
    pub const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The bytes not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Result<(u32, Value<'a>)> {
        let (key, rest) = varint::read(self.rest, self.what)?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let number = number.ok_or_else(|| Error::malformed(self.what, "a field has no number"))?;
        let (value, rest) = match key & 7 {
            0 => {
                let (value, rest) = varint::read(rest, self.what)?;
                (Value::Varint(value), rest)
            }
            1 => {
                let (bytes, rest) = self.fixed(rest)?;
                (Value::Fixed64(u64::from_le_bytes(bytes)), rest)
            }
            2 => {
                let (len, rest) = varint::read(rest, self.what)?;
                let (bytes, rest) = usize::try_from(len)
                    .ok()
                    .and_then(|len| rest.split_at_checked(len))
                    .ok_or_else(|| self.cut_off())?;
                (Value::Bytes(bytes), rest)
            }
            5 => {
                let (bytes, rest) = self.fixed(rest)?;
                (Value::Fixed32(u32::from_le_bytes(bytes)), rest)
            }
            _ => {
                return Err(Error::malformed(self.what, "a field has an unknown wire type"));
            }
        };
        self.rest = rest;
        Ok((number, value))
    }

    fn fixed<const N: usize>(&self, rest: &'a [u8]) -> Result<([u8; N], &'a [u8])> {
        rest.split_first_chunk().map(|(head, rest)| (*head, rest)).ok_or_else(|| self.cut_off())
    }

    fn cut_off(&self) -> Error {
        Error::malformed(self.what, "a field is cut off")
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Appends a varint field.
pub fn write_varint(number: u32, value: u64, out: &mut Vec<u8>) {
    varint::write(key(number, 0), out);
    varint::write(value, out);
}

/// Appends a field of bytes.
pub fn write_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    write_head(number, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends what stands before `len` bytes of a field: its key and the length.
pub fn write_head(number: u32, len: usize, out: &mut Vec<u8>) {
    varint::write(key(number, 2), out);
    varint::write(len as u64, out);
}

/// Appends a field of 32 bits.
pub fn write_fixed32(number: u32, value: u32, out: &mut Vec<u8>) {
    varint::write(key(number, 5), out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// How many bytes [`write_varint`] appends.
pub const fn varint_len(number: u32, value: u64) -> usize {
    varint::len(key(number, 0)) + varint::len(value)
}

/// How many bytes [`write_bytes`] appends for this many bytes.
pub const fn bytes_len(number: u32, len: usize) -> usize {
    varint::len(key(number, 2)) + varint::len(len as u64) + len
}

const fn key(number: u32, wire_type: u64) -> u64 {
    (number as u64) << 3 | wire_type
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut out = Vec::new();
        write_varint(1, 300, &mut out);
        write_bytes(2, b"abc", &mut out);
        write_fixed32(16, 7, &mut out);
        out.extend([(3 << 3) | 1, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(varint_len(1, 300) + bytes_len(2, 3), 3 + 5);
        let fields: Vec<_> = Fields::new(&out, "test").map(Result::unwrap).collect();
        let expected = [
            (1, Value::Varint(300)),
            (2, Value::Bytes(b"abc")),
            (16, Value::Fixed32(7)),
            (3, Value::Fixed64(1)),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn bad_bytes_end_with_one_error() {
        let bad: [&[u8]; 7] = [
            &[0x0a, 5, 1],                                              // cut off
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], // length beyond memory
            &[0x0b, 1],                                                 // a group
            &[0x02, 0],                                                 // field 0
            &[0x88, 0x00, 0],                                           // padded key
            &[0x0d, 1, 2, 3],                                           // 32 bits cut off
            &[0x80],                                                    // key cut off
        ];
        for bytes in bad {
            let mut fields = Fields::new(bytes, "test");
            assert!(matches!(fields.next(), Some(Err(Error::Malformed { .. }))), "{bytes:?}");
            assert!(fields.next().is_none());
        }
    }
}
