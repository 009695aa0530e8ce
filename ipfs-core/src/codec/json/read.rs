//! From JSON to values, strictly.

use std::collections::{BTreeMap, btree_map::Entry};

use data_encoding::BASE64_NOPAD;
use ipfs_traits::{Cid, Error, Ipld, Result};

use super::{super::MAX_DEPTH, RESERVED};

/// Reads `data` as one value with nothing behind it.
pub(super) fn read(data: &[u8], dag: bool) -> Result<Ipld> {
    let text = std::str::from_utf8(data).map_err(|_| malformed("it is not UTF-8"))?;
    let mut reader = Reader { text, at: 0, dag, depth: 0 };
    let value = reader.value()?;
    reader.spaces();
    if reader.at != text.len() {
        return Err(reader.unexpected("the end"));
    }
    Ok(value)
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::malformed("JSON", reason)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    dag: bool,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        malformed(format!("expected {expected} at byte {}", self.at))
    }

    /// Passes over `byte`, and the spaces before it, if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        self.spaces();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn need(&mut self, byte: u8, expected: &'static str) -> Result<()> {
        if self.takes(byte) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn value(&mut self) -> Result<Ipld> {
        self.spaces();
        match self.peek() {
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => Ok(Ipld::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Ipld::Bool(true)),
            Some(b'f') => self.word("false", Ipld::Bool(false)),
            Some(b'n') => self.word("null", Ipld::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Ipld>) -> Result<Ipld> {
        if self.depth == MAX_DEPTH {
            return Err(Error::limit("depth of JSON", MAX_DEPTH, MAX_DEPTH + 1));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self, word: &str, value: Ipld) -> Result<Ipld> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn list(&mut self) -> Result<Ipld> {
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Ipld::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.takes(b']') {
                return Ok(Ipld::List(items));
            }
            self.need(b',', "a comma or the end of the list")?;
        }
    }

    fn map(&mut self) -> Result<Ipld> {
        let mut entries = BTreeMap::new();
        if self.takes(b'}') {
            return Ok(Ipld::Map(entries));
        }
        let mut first = None;
        loop {
            self.spaces();
            let key = self.string()?;
            self.need(b':', "a colon")?;
            let value = self.value()?;
            first.get_or_insert_with(|| Reserved::of(&key, &value));
            match entries.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) => {
                    return Err(malformed(format!("the key {:?} stands twice", entry.key())));
                }
            }
            if self.takes(b'}') {
                return match first {
                    Some(first) if self.dag => first.resolve(entries),
                    _ => Ok(Ipld::Map(entries)),
                };
            }
            self.need(b',', "a comma or the end of the map")?;
        }
    }

    fn number(&mut self) -> Result<Ipld> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let digits = self.digits()?;
        if digits > 1 && self.text.as_bytes()[self.at - digits] == b'0' {
            return Err(malformed(format!("a number begins with 0 at byte {start}")));
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            float = true;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if float { parse_float(text) } else { parse_integer(text) }
    }

    fn digits(&mut self) -> Result<usize> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at - start {
            0 => Err(self.unexpected("a digit")),
            count => Ok(count),
        }
    }

    fn string(&mut self) -> Result<String> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a string"));
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest: &'a str = &self.text[self.at..];
            let plain = rest
                .bytes()
                .position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')
                .ok_or_else(|| malformed("a string does not end"))?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(malformed("a string holds a control character")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let kind = self.peek().ok_or_else(|| self.unexpected("an escape"))?;
        self.at += 1;
        Ok(match kind {
            b'"' | b'\\' | b'/' => kind.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return Err(self.unexpected("an escape")),
        })
    }

    fn unicode(&mut self) -> Result<char> {
        let unit = self.hex()?;
        let scalar = match unit {
            0xd800..=0xdbff => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(malformed("half of a surrogate pair"));
                }
                self.at += 2;
                let low = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400);
                let low = low.ok_or_else(|| malformed("half of a surrogate pair"))?;
                0x10000 + ((unit - 0xd800) << 10) + low
            }
            unit => unit,
        };
        char::from_u32(scalar).ok_or_else(|| malformed("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|four| four.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.unexpected("four hexadecimal digits"))
    }
}

/// Integers as CBOR has them: what every codec here can hold.
fn parse_integer(text: &str) -> Result<Ipld> {
    const RANGE: std::ops::RangeInclusive<i128> = -(1 << 64)..=(1 << 64) - 1;
    let value = text.parse().ok().filter(|value| RANGE.contains(value));
    let value = value.ok_or_else(|| malformed("an integer is beyond 64 bits and a sign"))?;
    Ok(Ipld::Integer(value))
}

fn parse_float(text: &str) -> Result<Ipld> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
    value.map(Ipld::Float).ok_or_else(|| malformed("a number is too large"))
}

/// What the first entry of a map makes of it in DAG-JSON.
enum Reserved {
    No,
    Link(Option<Cid>),
    /// The text, where the value is a map that holds only that.
    Bytes(Option<String>),
}

impl Reserved {
    fn of(key: &str, value: &Ipld) -> Self {
        match value {
            Ipld::String(text) if key == RESERVED => Self::Link(text.parse().ok()),
            Ipld::Map(inner) if key == RESERVED => match inner.get("bytes") {
                Some(Ipld::String(text)) if inner.len() == 1 => Self::Bytes(Some(text.clone())),
                Some(Ipld::String(_)) => Self::Bytes(None),
                _ => Self::No,
            },
            _ => Self::No,
        }
    }

    fn resolve(self, entries: BTreeMap<String, Ipld>) -> Result<Ipld> {
        match self {
            Self::No => Ok(Ipld::Map(entries)),
            Self::Link(Some(cid)) if entries.len() == 1 => Ok(Ipld::Link(cid)),
            Self::Link(_) => Err(malformed("a map with the key / and a string, but no lone CID")),
            Self::Bytes(Some(text)) if entries.len() == 1 => {
                let text = text.trim_end_matches('=');
                let bytes = BASE64_NOPAD.decode(text.as_bytes());
                bytes.map(Ipld::Bytes).map_err(|_| malformed("bytes that are not base64"))
            }
            Self::Bytes(_) => Err(malformed("a map with the key / and more than bytes")),
        }
    }
}
