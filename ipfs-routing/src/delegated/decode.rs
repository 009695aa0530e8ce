//! Reads the records of an answer while it comes.

use std::collections::BTreeMap;

use bytes::BytesMut;
use ipfs_traits::{Error, Result};
use serde_json::value::RawValue;

use super::Record;

/// How records are written in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: an object with a list of them, `Providers` or `Peers`.
    Json,
    /// `application/x-ndjson`: one in a line, as they are found.
    NdJson,
}

/// Reads the records of an answer, piece by piece. Those that say nothing of a peer are passed over.
///
/// ```
/// use ipfs_routing::delegated::{Decoder, Format};
///
/// let mut decoder = Decoder::new(Format::NdJson);
/// let id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
/// let found = decoder.push(format!(r#"{{"Schema":"peer","ID":"{id}"}}"#).as_bytes())?;
/// assert!(found.is_empty());
/// assert_eq!(decoder.push(b"\n{")?[0].id.to_string(), id);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    /// What came and is not read yet.
    buffer: BytesMut,
    received: usize,
    records: usize,
}

/// The most bytes of an answer: as in boxo. It holds a thousand peers with five addresses each.
pub const MAX_ANSWER: usize = 1 << 20;

/// The most records that are read of an answer. Nobody asks so many peers for one block.
pub const MAX_RECORDS: usize = 1000;

const ANSWER: &str = "answer of a router";

impl Decoder {
    /// A reader of an answer from its beginning.
    pub fn new(format: Format) -> Self {
        Self { format, buffer: BytesMut::new(), received: 0, records: 0 }
    }

    /// Takes the next bytes, and gives the records that are whole by now.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] beyond [`MAX_ANSWER`] in all or [`MAX_RECORD`](super::MAX_RECORD) in a line;
    /// [`Error::Malformed`] for a line that is no JSON. Nothing more can be read then.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Record>> {
        self.received += piece.len();
        if self.received > MAX_ANSWER {
            return Err(Error::limit("bytes of an answer of a router", MAX_ANSWER, self.received));
        }
        let seen = self.buffer.len();
        self.buffer.extend_from_slice(piece);
        match self.format {
            Format::Json => Ok(Vec::new()),
            Format::NdJson => self.lines(seen),
        }
    }

    /// Takes the end of the answer, and gives the records that were not given yet.
    ///
    /// # Errors
    ///
    /// As of [`push`](Self::push); [`Error::Malformed`] also for an answer in JSON without a list.
    pub fn finish(mut self) -> Result<Vec<Record>> {
        let mut found = Vec::new();
        match self.format {
            Format::NdJson => {
                let line = self.buffer.split();
                self.record(&line, &mut found)?;
            }
            Format::Json => {
                let text = std::str::from_utf8(&self.buffer).ok();
                let list = text
                    .and_then(list)
                    .ok_or_else(|| Error::malformed(ANSWER, "it has no list"))?;
                let records =
                    list.into_iter().filter_map(|json| Record::decode(json.get()).ok()?);
                found.extend(records.take(MAX_RECORDS));
            }
        }
        Ok(found)
    }

    /// Whether it has given [`MAX_RECORDS`]: it gives no more.
    pub const fn is_full(&self) -> bool {
        self.records >= MAX_RECORDS
    }

    /// Reads the whole lines of the buffer, of which none ends in the first `seen` bytes.
    fn lines(&mut self, mut seen: usize) -> Result<Vec<Record>> {
        let mut found = Vec::new();
        while let Some(at) = self.buffer[seen..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(seen + at + 1);
            seen = 0;
            self.record(&line, &mut found)?;
        }
        if self.buffer.len() > super::MAX_RECORD {
            let len = self.buffer.len();
            return Err(Error::limit("bytes of a routing record", super::MAX_RECORD, len));
        }
        Ok(found)
    }

    fn record(&mut self, line: &[u8], found: &mut Vec<Record>) -> Result<()> {
        let line = line.trim_ascii();
        if line.is_empty() || self.is_full() {
            return Ok(());
        }
        let line =
            std::str::from_utf8(line).map_err(|_| Error::malformed(ANSWER, "it is no text"))?;
        if let Some(record) = Record::decode(line)? {
            self.records += 1;
            found.push(record);
        }
        Ok(())
    }
}

/// The list in an object: `null`, as Go writes an empty one, has nothing in it.
fn list(json: &str) -> Option<Vec<&RawValue>> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    let list = fields.remove("Providers").or_else(|| fields.remove("Peers"))?;
    let list: Option<Vec<&RawValue>> = serde_json::from_str(list.get()).ok()?;
    Some(list.unwrap_or_default())
}
