//! From values to JSON, in the one form that the format calls canonical.

use std::{collections::BTreeMap, fmt::Write};

use bytes::Bytes;
use data_encoding::BASE64_NOPAD;
use ipfs_traits::{Error, Ipld, Result};

use super::{super::MAX_DEPTH, RESERVED, kind};

/// Writes one value.
pub(super) fn write(value: &Ipld, dag: bool) -> Result<Bytes> {
    let mut writer = Writer { out: String::new(), dag };
    writer.value(value, 0)?;
    Ok(writer.out.into())
}

fn invalid(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid("value to encode", reason)
}

struct Writer {
    out: String,
    dag: bool,
}

impl Writer {
    fn value(&mut self, value: &Ipld, depth: usize) -> Result<()> {
        match value {
            Ipld::Null => self.out.push_str("null"),
            Ipld::Bool(true) => self.out.push_str("true"),
            Ipld::Bool(false) => self.out.push_str("false"),
            Ipld::Integer(value) => self.display(value),
            Ipld::Float(value) => self.float(*value)?,
            Ipld::String(text) => self.string(text),
            Ipld::Link(cid) if self.dag => {
                self.out.push_str(r#"{"/":""#);
                self.display(cid);
                self.out.push_str(r#""}"#);
            }
            Ipld::Bytes(bytes) if self.dag => {
                self.out.push_str(r#"{"/":{"bytes":""#);
                BASE64_NOPAD.encode_append(bytes, &mut self.out);
                self.out.push_str(r#""}}"#);
            }
            Ipld::Link(_) | Ipld::Bytes(_) => {
                return Err(invalid(format!("plain JSON cannot hold {}", kind(value))));
            }
            Ipld::List(_) | Ipld::Map(_) if depth == MAX_DEPTH => {
                return Err(Error::limit("depth of JSON", MAX_DEPTH, MAX_DEPTH + 1));
            }
            Ipld::List(items) => self.list(items, depth + 1)?,
            Ipld::Map(entries) => self.map(entries, depth + 1)?,
        }
        Ok(())
    }

    fn list(&mut self, items: &[Ipld], depth: usize) -> Result<()> {
        self.out.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.value(item, depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, entries: &BTreeMap<String, Ipld>, depth: usize) -> Result<()> {
        if self.dag && is_reserved(entries) {
            return Err(invalid("a map with the key / would be read as a link or as bytes"));
        }
        self.out.push('{');
        // The map is in the order of the keys' bytes already.
        for (i, (key, value)) in entries.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.string(key);
            self.out.push(':');
            self.value(value, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing into a string does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// The shortest text that reads back as the same number, always with a point or an exponent, as
    /// JavaScript and Go write it.
    fn float(&mut self, value: f64) -> Result<()> {
        if !value.is_finite() {
            return Err(invalid("a float that is not finite"));
        }
        let size = value.abs();
        let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
            let text = format!("{value:e}");
            if size > 1.0 { text.replace('e', "e+") } else { text }
        } else if value.fract() == 0.0 {
            format!("{value}.0")
        } else {
            value.to_string()
        };
        self.out.push_str(&text);
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        let mut plain = 0;
        for (i, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0x08 => "\\b",
                0x0c => "\\f",
                0..=0x1f => "\\u",
                _ => continue,
            };
            self.out.push_str(&text[plain..i]);
            self.out.push_str(escape);
            if escape == "\\u" {
                self.display(format_args!("{byte:04x}"));
            }
            plain = i + 1;
        }
        self.out.push_str(&text[plain..]);
        self.out.push('"');
    }
}

/// Whether the map would not be read as a map.
fn is_reserved(entries: &BTreeMap<String, Ipld>) -> bool {
    match entries.first_key_value() {
        Some((key, Ipld::String(_))) => key == RESERVED,
        Some((key, Ipld::Map(inner))) => {
            key == RESERVED && matches!(inner.get("bytes"), Some(Ipld::String(_)))
        }
        _ => false,
    }
}
