//! JSON and DAG-JSON.
//!
//! DAG-JSON follows <https://ipld.io/specs/codecs/dag-json/spec/>: a link is `{"/": "<CID>"}`, bytes
//! are `{"/": {"bytes": "<base64>"}}`, keys stand in the order of their bytes, and nothing is
//! between tokens. Reading is lax in spaces and in the order of keys, as every reader of it is, and
//! strict in all else: keys that stand twice, and what is almost a link or bytes, are refused.
//!
//! The reader is our own: the packaged ones turn integers beyond 64 bits into others, or refuse maps
//! such as `{"/": null}` that the format allows.

mod read;
mod write;

use bytes::Bytes;
use ipfs_traits::{Cid, Codec, Ipld, Result, codes};

/// The codec of JSON (0x0200) or DAG-JSON (0x0129).
#[derive(Clone, Copy, Debug)]
pub struct Json {
    /// Links and bytes are written as maps with the key `/`.
    dag: bool,
}

impl Json {
    /// DAG-JSON, with links and bytes.
    pub const fn dag() -> Self {
        Self { dag: true }
    }

    /// Plain JSON, which has neither.
    pub const fn plain() -> Self {
        Self { dag: false }
    }
}

impl Codec for Json {
    fn code(&self) -> u64 {
        if self.dag { codes::DAG_JSON } else { codes::JSON }
    }

    fn links(&self, cid: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
        if !self.dag {
            return Ok(());
        }
        let value = self.decode(cid, &Bytes::copy_from_slice(data))?;
        report(&value, out);
        Ok(())
    }

    fn decode(&self, _: &Cid, data: &Bytes) -> Result<Ipld> {
        read::read(data, self.dag)
    }

    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        write::write(value, self.dag)
    }
}

fn report(value: &Ipld, out: &mut dyn FnMut(Cid)) {
    match value {
        Ipld::Link(cid) => out(*cid),
        Ipld::List(items) => items.iter().for_each(|item| report(item, out)),
        Ipld::Map(entries) => entries.values().for_each(|item| report(item, out)),
        _ => {}
    }
}

/// Where a map has this as its first key, it stands for something else.
const RESERVED: &str = "/";

/// What a value is, in words.
pub(super) fn kind(value: &Ipld) -> &'static str {
    match value {
        Ipld::Null => "null",
        Ipld::Bool(_) => "a boolean",
        Ipld::Integer(_) => "an integer",
        Ipld::Float(_) => "a float",
        Ipld::String(_) => "a string",
        Ipld::Bytes(_) => "bytes",
        Ipld::List(_) => "a list",
        Ipld::Map(_) => "a map",
        Ipld::Link(_) => "a link",
    }
}

#[cfg(test)]
mod tests;
