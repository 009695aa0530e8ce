//! A message that a peer sent, as a view over its bytes.

use bytes::Bytes;
use ipfs_traits::{
    Cid, Error, Prefix, Result, parse_cid,
    protobuf::{Fields, Value},
};

use super::{
    BARE_BLOCKS, ENTRIES, ENTRY_CANCEL, ENTRY_CID, ENTRY_DONT_HAVE, ENTRY_PRIORITY, ENTRY_TYPE,
    Entry, FULL, MAX_MESSAGE, PAYLOAD, PAYLOAD_DATA, PAYLOAD_PREFIX, PENDING_BYTES, PRESENCE_CID,
    PRESENCE_TYPE, PRESENCES, WANTLIST, Want,
};

const WHAT: &str = "bitswap message";

/// A message that a peer sent.
///
/// Its outer fields were checked when it was parsed. What is in them is checked as it is read: an
/// entry, a payload or a presence that makes no sense is passed over and leaves the others as they
/// are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    bytes: Bytes,
    full: bool,
    pending_bytes: u32,
}

impl Received {
    /// Parses a message, without the length before it.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for bytes that are no protobuf message with these fields;
    /// [`Error::Limit`] beyond [`MAX_MESSAGE`].
    pub fn parse(bytes: Bytes) -> Result<Self> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Error::limit("bytes of a bitswap message", MAX_MESSAGE, bytes.len()));
        }
        let (mut full, mut pending_bytes) = (false, 0);
        for field in Fields::new(&bytes, WHAT) {
            match field? {
                (WANTLIST, value) => full |= is_full(value.bytes(WHAT)?)?,
                (BARE_BLOCKS | PAYLOAD | PRESENCES, value) => drop(value.bytes(WHAT)?),
                (PENDING_BYTES, value) => {
                    pending_bytes = u32::try_from(value.varint(WHAT)?).unwrap_or(0);
                }
                _ => {}
            }
        }
        Ok(Self { bytes, full, pending_bytes })
    }

    /// Whether the entries take the place of all that was wanted before.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// How many bytes of blocks the peer has waiting for this node.
    pub const fn pending_bytes(&self) -> u32 {
        self.pending_bytes
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn fields(&self, number: u32) -> impl Iterator<Item = &[u8]> {
        Fields::new(&self.bytes, WHAT).filter_map(move |field| match field {
            Ok((found, Value::Bytes(bytes))) if found == number => Some(bytes),
            _ => None,
        })
    }

    /// What the peer wants, and no longer wants.
    pub fn entries(&self) -> WantEntries<'_> {
        WantEntries { outer: Fields::new(&self.bytes, WHAT), inner: Fields::new(&[], WHAT) }
    }

    /// Whether blocks that were asked for are there, as the peer says.
    pub fn presences(&self) -> impl Iterator<Item = (Cid, bool)> + '_ {
        self.fields(PRESENCES).filter_map(|bytes| parse_presence(bytes).ok())
    }

    /// Blocks: what their CIDs begin with, and their bytes, which share the message's memory and
    /// are not verified. Those of 1.0.0 are taken for blocks of CIDv0.
    pub fn payloads(&self) -> impl Iterator<Item = (Prefix, Bytes)> + '_ {
        Fields::new(&self.bytes, WHAT).filter_map(|field| {
            let (prefix, data) = match field {
                Ok((PAYLOAD, Value::Bytes(bytes))) => parse_payload(bytes).ok()?,
                Ok((BARE_BLOCKS, Value::Bytes(bytes))) => (Prefix::v0(), bytes),
                _ => return None,
            };
            Some((prefix, self.bytes.slice_ref(data)))
        })
    }
}

fn is_full(wantlist: &[u8]) -> Result<bool> {
    let mut full = false;
    for field in Fields::new(wantlist, WHAT) {
        match field? {
            (ENTRIES, value) => drop(value.bytes(WHAT)?),
            (FULL, value) => full = value.varint(WHAT)? != 0,
            _ => {}
        }
    }
    Ok(full)
}

/// The entries of the wantlists of a message, read as they are asked for.
#[derive(Clone, Debug)]
pub struct WantEntries<'a> {
    outer: Fields<'a>,
    inner: Fields<'a>,
}

impl Iterator for WantEntries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            match self.inner.next() {
                Some(Ok((ENTRIES, Value::Bytes(bytes)))) => match parse_entry(bytes) {
                    Ok(entry) => return Some(entry),
                    Err(_) => continue,
                },
                Some(_) => continue,
                None => {}
            }
            if let (WANTLIST, Value::Bytes(bytes)) = self.outer.next()?.ok()? {
                self.inner = Fields::new(bytes, WHAT);
            }
        }
    }
}

fn parse_entry(bytes: &[u8]) -> Result<Entry> {
    let (mut cid, mut priority) = (None, 0);
    let (mut cancel, mut have, mut send_dont_have) = (false, false, false);
    for field in Fields::new(bytes, WHAT) {
        match field? {
            (ENTRY_CID, value) => cid = Some(parse_cid(value.bytes(WHAT)?)?),
            (ENTRY_PRIORITY, value) => priority = value.varint(WHAT)? as i32,
            (ENTRY_CANCEL, value) => cancel = value.varint(WHAT)? != 0,
            (ENTRY_TYPE, value) => have = value.varint(WHAT)? == 1,
            (ENTRY_DONT_HAVE, value) => send_dont_have = value.varint(WHAT)? != 0,
            _ => {}
        }
    }
    let cid = cid.ok_or_else(|| Error::malformed(WHAT, "an entry has no CID"))?;
    let want = match (cancel, have) {
        (true, _) => Want::Cancel,
        (false, true) => Want::Have,
        (false, false) => Want::Block,
    };
    Ok(Entry { cid, want, priority, send_dont_have })
}

fn parse_presence(bytes: &[u8]) -> Result<(Cid, bool)> {
    let (mut cid, mut have) = (None, true);
    for field in Fields::new(bytes, WHAT) {
        match field? {
            (PRESENCE_CID, value) => cid = Some(parse_cid(value.bytes(WHAT)?)?),
            (PRESENCE_TYPE, value) => have = value.varint(WHAT)? == 0,
            _ => {}
        }
    }
    let cid = cid.ok_or_else(|| Error::malformed(WHAT, "a presence has no CID"))?;
    Ok((cid, have))
}

fn parse_payload(bytes: &[u8]) -> Result<(Prefix, &[u8])> {
    let (mut prefix, mut data) = (None, &[][..]);
    for field in Fields::new(bytes, WHAT) {
        match field? {
            (PAYLOAD_PREFIX, value) => prefix = Some(Prefix::parse(value.bytes(WHAT)?)?),
            (PAYLOAD_DATA, value) => data = value.bytes(WHAT)?,
            _ => {}
        }
    }
    let prefix = prefix.ok_or_else(|| Error::malformed(WHAT, "a payload has no prefix"))?;
    Ok((prefix, data))
}
