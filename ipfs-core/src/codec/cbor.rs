//! Plain CBOR, without links.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use ipfs_traits::{Cid, Codec, Error, Ipld, Result, codes};

use super::{MAX_DEPTH, json::kind};

/// The codec of plain CBOR (0x51), RFC 8949: what of it the data model can hold.
///
/// Any length and any form of a number is read, also what DAG-CBOR refuses; a tag, a key that is no
/// string, and a key that stands twice are errors. What is written is DAG-CBOR's canonical form:
/// links cannot be, nor infinities and what is no number, though these are read; a negative zero is
/// written as zero.
#[derive(Clone, Copy, Debug)]
pub struct Cbor;

impl Codec for Cbor {
    fn code(&self) -> u64 {
        codes::CBOR
    }

    fn links(&self, _: &Cid, _: &[u8], _: &mut dyn FnMut(Cid)) -> Result<()> {
        Ok(())
    }

    fn decode(&self, _: &Cid, data: &Bytes) -> Result<Ipld> {
        let mut reader = Reader { rest: data, depth: 0 };
        let value = reader.value()?;
        if reader.rest.is_empty() { Ok(value) } else { Err(malformed("bytes follow the value")) }
    }

    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        check(value, 0)?;
        serde_ipld_dagcbor::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| invalid(error.to_string()))
    }
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::malformed("CBOR", reason)
}

fn invalid(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid("value to encode", reason)
}

fn check(value: &Ipld, depth: usize) -> Result<()> {
    match value {
        Ipld::Link(_) => Err(invalid(format!("plain CBOR cannot hold {}", kind(value)))),
        Ipld::List(_) | Ipld::Map(_) if depth == MAX_DEPTH => Err(too_deep()),
        Ipld::List(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        Ipld::Map(entries) => entries.values().try_for_each(|item| check(item, depth + 1)),
        _ => Ok(()),
    }
}

fn too_deep() -> Error {
    Error::limit("depth of CBOR", MAX_DEPTH, MAX_DEPTH + 1)
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// The first byte of an item and its argument.
struct Head {
    major: u8,
    info: u8,
    /// `None` for an item of indefinite length.
    argument: Option<u64>,
}

/// Ends an item of indefinite length.
const BREAK: u8 = 0xff;

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| malformed("it is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let argument = match info {
            0..=23 => Some(info.into()),
            24..=27 => {
                let bytes = self.take(1 << (info - 24))?;
                Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            }
            31 if (2..=5).contains(&major) => None,
            _ => return Err(malformed(format!("0x{first:02x} begins no item"))),
        };
        Ok(Head { major, info, argument })
    }

    fn value(&mut self) -> Result<Ipld> {
        let head = self.head()?;
        match (head.major, head.argument) {
            (0, Some(value)) => Ok(Ipld::Integer(value.into())),
            (1, Some(value)) => Ok(Ipld::Integer(-1 - i128::from(value))),
            (2, length) => Ok(Ipld::Bytes(self.string(2, length)?)),
            (3, length) => Ok(Ipld::String(text(self.string(3, length)?)?)),
            (4, length) => self.nested(|reader| reader.list(length)),
            (5, length) => self.nested(|reader| reader.map(length)),
            (6, _) => Err(malformed("tags have no meaning in the data model")),
            (_, argument) => simple(head.info, argument.unwrap_or_default()),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Ipld>) -> Result<Ipld> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn string(&mut self, major: u8, length: Option<u64>) -> Result<Vec<u8>> {
        if let Some(length) = length {
            return Ok(self.take(length)?.to_vec());
        }
        let mut out = Vec::new();
        while !self.ends(None, 0)? {
            let head = self.head()?;
            match head.argument {
                Some(length) if head.major == major => out.extend(self.take(length)?),
                _ => return Err(malformed("a part of a string is none")),
            }
        }
        Ok(out)
    }

    /// Whether `done` items are all.
    fn ends(&mut self, length: Option<u64>, done: u64) -> Result<bool> {
        match length {
            Some(length) => Ok(done == length),
            None => match self.rest.first() {
                Some(&BREAK) => self.take(1).map(|_| true),
                _ => Ok(false),
            },
        }
    }

    fn list(&mut self, length: Option<u64>) -> Result<Ipld> {
        let mut items = Vec::new();
        while !self.ends(length, items.len() as u64)? {
            items.push(self.value()?);
        }
        Ok(Ipld::List(items))
    }

    fn map(&mut self, length: Option<u64>) -> Result<Ipld> {
        let mut entries = BTreeMap::new();
        while !self.ends(length, entries.len() as u64)? {
            let Ipld::String(key) = self.value()? else {
                return Err(malformed("a key of a map is no string"));
            };
            match entries.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(self.value()?)),
                Entry::Occupied(entry) => {
                    return Err(malformed(format!("the key {:?} stands twice", entry.key())));
                }
            }
        }
        Ok(Ipld::Map(entries))
    }
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8"))
}

fn simple(info: u8, argument: u64) -> Result<Ipld> {
    Ok(match info {
        20 => Ipld::Bool(false),
        21 => Ipld::Bool(true),
        22 | 23 => Ipld::Null,
        25 => Ipld::Float(half(argument as u16)),
        26 => Ipld::Float(f32::from_bits(argument as u32).into()),
        27 => Ipld::Float(f64::from_bits(argument)),
        _ => return Err(malformed(format!("simple value {argument} has no meaning"))),
    })
}

/// A float of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(hex: &str) -> Result<Ipld> {
        let data = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        Cbor.decode(&"bafkqaaa".parse().unwrap(), &data.into())
    }

    /// From appendix A of RFC 8949.
    #[test]
    fn examples_of_the_rfc() {
        let cases: [(&str, Ipld); 13] = [
            ("1bffffffffffffffff", Ipld::Integer(u64::MAX.into())),
            ("3bffffffffffffffff", Ipld::Integer(-1 - i128::from(u64::MAX))),
            ("3903e7", Ipld::Integer(-1000)),
            ("f93c00", Ipld::Float(1.0)),
            ("f97bff", Ipld::Float(65504.0)),
            ("f90001", Ipld::Float(5.960_464_477_539_063e-8)),
            ("f9c400", Ipld::Float(-4.0)),
            ("fa47c35000", Ipld::Float(100_000.0)),
            ("fb3ff199999999999a", Ipld::Float(1.1)),
            ("f7", Ipld::Null),
            ("5f42010243030405ff", Ipld::Bytes(vec![1, 2, 3, 4, 5])),
            ("9f018202039f0405ffff", {
                let list =
                    |items: &[i128]| Ipld::List(items.iter().map(|i| Ipld::Integer(*i)).collect());
                Ipld::List(vec![Ipld::Integer(1), list(&[2, 3]), list(&[4, 5])])
            }),
            ("bf6346756ef563416d7421ff", {
                let entry = |key: &str, value| (key.to_owned(), value);
                Ipld::Map([entry("Fun", Ipld::Bool(true)), entry("Amt", Ipld::Integer(-2))].into())
            }),
        ];
        for (hex, expected) in cases {
            assert_eq!(decode(hex).unwrap(), expected, "{hex}");
        }
    }

    #[test]
    fn what_the_data_model_lacks_is_refused() {
        for hex in [
            "",
            "18",
            "d82a4100",
            "a10102",
            "a2616101616102",
            "ff",
            "f8ff",
            "1c",
            "1f",
            "5f01ff",
            "9f",
            "bf6161ff",
            "61ff",
            "0000",
            "5bffffffffffffffff",
            "9bffffffffffffffff",
        ] {
            assert!(matches!(decode(hex), Err(Error::Malformed { .. })), "{hex}");
        }
        assert!(matches!(decode(&"81".repeat(2_000_000)), Err(Error::Limit { .. })));
        let link = Ipld::Link("bafkqaaa".parse().unwrap());
        assert!(matches!(Cbor.encode(&Ipld::List(vec![link])), Err(Error::Invalid { .. })));
    }

    #[test]
    fn what_is_written_is_read() {
        let value = Ipld::List(vec![Ipld::Float(1.5), Ipld::Bytes(vec![0; 300]), Ipld::Null]);
        let data = Cbor.encode(&value).unwrap();
        assert_eq!(Cbor.decode(&"bafkqaaa".parse().unwrap(), &data).unwrap(), value);
    }
}
