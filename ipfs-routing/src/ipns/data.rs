//! What is signed of an IPNS record: a map in DAG-CBOR, read strictly.

use ipfs_traits::{Error, Result};

/// The fields of the map that the specification names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Data<'a> {
    pub(super) value: &'a [u8],
    pub(super) validity: &'a [u8],
    pub(super) sequence: u64,
    /// In nanoseconds.
    pub(super) ttl: u64,
}

/// The only kind of validity: an end of life.
pub(super) const END_OF_LIFE: u64 = 0;

/// How deep fields that are not known here may be nested. A record has 10 KiB, and so without this
/// the stack of one that reads it would be the sender's to fill.
const MAX_DEPTH: usize = 32;

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

impl<'a> Data<'a> {
    /// The keys stand in the order that DAG-CBOR asks for, the shorter one first.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.value.len());
        head(MAP, 5, &mut out);
        let key = |key: &str, out: &mut Vec<u8>| string(TEXT, key.as_bytes(), out);
        key("TTL", &mut out);
        head(UINT, self.ttl, &mut out);
        key("Value", &mut out);
        string(BYTES, self.value, &mut out);
        key("Sequence", &mut out);
        head(UINT, self.sequence, &mut out);
        key("Validity", &mut out);
        string(BYTES, self.validity, &mut out);
        key("ValidityType", &mut out);
        head(UINT, END_OF_LIFE, &mut out);
        out
    }

    /// Fields that are not known are passed over, as the specification allows them.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let (mut value, mut validity, mut kind, mut sequence, mut ttl) =
            (None, None, None, None, None);
        let mut before: Option<&[u8]> = None;
        for _ in 0..reader.expect(MAP)? {
            let key = reader.string(TEXT)?;
            if before.is_some_and(|before| (before.len(), before) >= (key.len(), key)) {
                return Err(malformed("the keys of its data are not in order"));
            }
            before = Some(key);
            match key {
                b"TTL" => ttl = Some(reader.expect(UINT)?),
                b"Value" => value = Some(reader.string(BYTES)?),
                b"Sequence" => sequence = Some(reader.expect(UINT)?),
                b"Validity" => validity = Some(reader.string(BYTES)?),
                b"ValidityType" => kind = Some(reader.expect(UINT)?),
                _ => reader.skip(MAX_DEPTH)?,
            }
        }
        if !reader.0.is_empty() {
            return Err(malformed("bytes follow its data"));
        }
        if kind != Some(END_OF_LIFE) {
            return Err(malformed("its validity is not an end of life"));
        }
        match (value, validity, sequence, ttl) {
            (Some(value), Some(validity), Some(sequence), Some(ttl)) => {
                Ok(Self { value, validity, sequence, ttl })
            }
            _ => Err(malformed("a field of its data is missing")),
        }
    }
}

pub(super) fn malformed(reason: &'static str) -> Error {
    Error::malformed("IPNS record", reason)
}

fn string(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(kind, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn head(kind: u8, argument: u64, out: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => out.push(kind << 5 | bytes[7]),
        24..=0xff => out.extend([kind << 5 | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(kind << 5 | 25);
            out.extend(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(kind << 5 | 26);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(kind << 5 | 27);
            out.extend(bytes);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or_else(|| malformed("its data are cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The kind of the next item, and its argument, in the fewest bytes that can hold it.
    fn head(&mut self) -> Result<(u8, u64)> {
        let byte = self.take(1)?[0];
        let (kind, short) = (byte >> 5, byte & 0x1f);
        let len = match short {
            0..24 => return Ok((kind, short.into())),
            24..=27 => 1_u64 << (short - 24),
            _ => return Err(malformed("an item of its data has no definite length")),
        };
        let argument = self.take(len)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let least = [24, 0x100, 0x1_0000, 0x1_0000_0000][usize::from(short) - 24];
        let is_float = (kind, short) == (SIMPLE, 27);
        if argument < least && !is_float {
            return Err(malformed("a number in its data is longer than need be"));
        }
        Ok((kind, argument))
    }

    fn expect(&mut self, kind: u8) -> Result<u64> {
        match self.head()? {
            (found, argument) if found == kind => Ok(argument),
            _ => Err(malformed("an item of its data is of the wrong kind")),
        }
    }

    fn string(&mut self, kind: u8) -> Result<&'a [u8]> {
        let len = self.expect(kind)?;
        self.take(len)
    }

    fn skip(&mut self, depth: usize) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(|| malformed("its data are too deep"))?;
        match self.head()? {
            (UINT | NEGATIVE | SIMPLE, _) => Ok(()),
            (BYTES | TEXT, len) => self.take(len).map(drop),
            (LIST, len) => (0..len).try_for_each(|_| self.skip(depth)),
            (MAP, len) => (0..len).try_for_each(|_| {
                self.string(TEXT)?;
                self.skip(depth)
            }),
            (TAG, _) => self.skip(depth),
            _ => unreachable!("three bits have eight values"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Data<'_> =
        Data { value: b"/ipfs/x", validity: b"2099", sequence: u64::MAX, ttl: 300 };

    /// The map of [`DATA`], with one more field.
    fn with(key: &str, item: &[u8]) -> Vec<u8> {
        let mut out = DATA.write();
        out[0] += 1;
        string(TEXT, key.as_bytes(), &mut out);
        out.extend_from_slice(item);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Data::read(&DATA.write()).unwrap(), DATA);
        for number in [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000] {
            let data = Data { sequence: number, ttl: number, ..DATA };
            assert_eq!(Data::read(&data.write()).unwrap(), data);
        }
    }

    #[test]
    fn fields_of_others_are_passed_over() {
        let items: [&[u8]; 7] = [
            &[0x20],
            &[0xf6],
            &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x63, b'a', b'b', b'c'],
            &[0x82, 0x01, 0x81, 0x40],
            &[0xa1, 0x61, b'a', 0xf5],
            &[0xd8, 0x2a, 0x41, 0x00],
        ];
        for item in items {
            assert_eq!(Data::read(&with("_field of others", item)).unwrap(), DATA, "{item:?}");
        }
    }

    #[test]
    fn what_is_not_strict_is_refused() {
        let reason = |bytes: &[u8]| match Data::read(bytes) {
            Err(Error::Malformed { reason, .. }) => reason.into_owned(),
            other => panic!("{other:?}"),
        };
        let good = DATA.write();
        for end in 0..good.len() {
            assert!(Data::read(&good[..end]).is_err(), "cut at {end}");
        }
        assert!(reason(&[&good[..], &[0]].concat()).contains("follow"));
        assert!(reason(&with("ValidityType", &[0x00])).contains("order"));
        assert!(reason(&with("A", &[0x00])).contains("order"));
        assert!(reason(&with("_field of others", &[0x9f, 0xff])).contains("definite"));
        assert!(reason(&with("_field of others", &[0x18, 0x17])).contains("longer"));
        let mut other_kind = good.clone();
        *other_kind.last_mut().unwrap() = 1;
        assert!(reason(&other_kind).contains("end of life"));
        let deep = [&[0x81; 5000][..], &[0x00]].concat();
        assert!(reason(&with("_field of others", &deep)).contains("deep"));
        // A list that claims to be endless ends where the bytes do.
        let long = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
        assert!(reason(&with("_field of others", &long)).contains("cut off"));
        let mut negative = good.clone();
        let at = 1 + 4;
        assert_eq!(negative[at], 0x19);
        negative[at] = 0x39;
        assert!(reason(&negative).contains("kind"));
    }
}
