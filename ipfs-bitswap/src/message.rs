//! The wire format of bitswap, in all its versions: what is sent is built and encoded here, what is received is a
//! view over its bytes.
//!
//! The format is that of the [Bitswap specification]: a protobuf message behind a varint of its
//! length. A view is read entry by entry, so that a message full of tiny entries costs no more
//! memory than it has bytes, and an entry that makes no sense costs that entry alone.
//!
//! [Bitswap specification]: https://specs.ipfs.tech/bitswap-protocol/

mod received;
mod version;

use bytes::Bytes;
use ipfs_traits::{Block, Cid, HashTable, Prefix, Result, protobuf, varint};

pub use self::{
    received::{Received, WantEntries},
    version::{PROTOCOLS, UNVERSIONED, V1_0_0, V1_1_0, V1_2_0, Version},
};

/// The longest message, in bytes, without its length: what libp2p lets through everywhere.
pub const MAX_MESSAGE: usize = 4 << 20;

/// What is asked of a peer for one CID, or no longer asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The block in question.
    pub cid: Cid,
    /// What is asked.
    pub want: Want,
    /// Higher ones are to be served first.
    pub priority: i32,
    /// Whether the peer is to say so if it lacks the block.
    pub send_dont_have: bool,
}

/// What is asked for a CID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// Whether the peer has the block.
    Have,
    /// The block.
    Block,
    /// Nothing any more.
    Cancel,
}

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Whether the entries are all that is wanted, in place of those sent before.
    pub full: bool,
    /// What is wanted, and no longer wanted.
    pub entries: Vec<Entry>,
    /// Blocks that the peer asked for.
    pub blocks: Vec<Block>,
    /// Whether blocks that the peer asked about are here.
    pub presences: Vec<(Cid, bool)>,
    /// How many bytes of blocks wait to be sent after this message.
    pub pending_bytes: u32,
}

const ENTRIES: u32 = 1;
const FULL: u32 = 2;
const ENTRY_CID: u32 = 1;
const ENTRY_PRIORITY: u32 = 2;
const ENTRY_CANCEL: u32 = 3;
const ENTRY_TYPE: u32 = 4;
const ENTRY_DONT_HAVE: u32 = 5;
const WANTLIST: u32 = 1;
const BARE_BLOCKS: u32 = 2;
const PAYLOAD: u32 = 3;
const PRESENCES: u32 = 4;
const PENDING_BYTES: u32 = 5;
const PAYLOAD_PREFIX: u32 = 1;
const PAYLOAD_DATA: u32 = 2;
const PRESENCE_CID: u32 = 1;
const PRESENCE_TYPE: u32 = 2;

impl Message {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        !self.full && self.entries.is_empty() && self.blocks.is_empty() && self.presences.is_empty()
    }

    /// The message behind its length, in runs of bytes: the blocks are not copied. What this version
    /// cannot say is left out.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHash`](ipfs_traits::Error::UnknownHash) for a block whose hash is not in the
    /// table; none that was verified with it.
    pub fn encode(&self, version: Version, hashes: &HashTable) -> Result<Vec<Bytes>> {
        let mut runs = vec![Bytes::new()];
        let mut open = Vec::new();
        if self.full || !self.entries.is_empty() {
            protobuf::write_bytes(WANTLIST, &self.encode_wantlist(), &mut open);
        }
        if version.has_presences() {
            self.encode_presences(&mut open);
        }
        for block in &self.blocks {
            match version {
                Version::V1_0 => protobuf::write_head(BARE_BLOCKS, block.len(), &mut open),
                Version::V1_1 | Version::V1_2 => encode_payload_head(block, hashes, &mut open)?,
            }
            runs.push(std::mem::take(&mut open).into());
            runs.push(block.data().clone());
        }
        runs.push(open.into());
        let len: usize = runs.iter().map(Bytes::len).sum();
        let mut head = Vec::with_capacity(varint::MAX_LEN);
        varint::write(len as u64, &mut head);
        runs[0] = head.into();
        runs.retain(|run| !run.is_empty());
        Ok(runs)
    }

    fn encode_presences(&self, out: &mut Vec<u8>) {
        for (cid, have) in &self.presences {
            protobuf::write_bytes(PRESENCES, &encode_presence(cid, *have), out);
        }
        if self.pending_bytes > 0 {
            protobuf::write_varint(PENDING_BYTES, self.pending_bytes.into(), out);
        }
    }

    fn encode_wantlist(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * 52);
        for entry in &self.entries {
            protobuf::write_bytes(ENTRIES, &encode_entry(entry), &mut out);
        }
        if self.full {
            protobuf::write_varint(FULL, 1, &mut out);
        }
        out
    }
}

fn encode_payload_head(block: &Block, hashes: &HashTable, out: &mut Vec<u8>) -> Result<()> {
    let prefix = Prefix::of(block.cid()).to_bytes(hashes)?;
    let len = protobuf::bytes_len(PAYLOAD_PREFIX, prefix.len())
        + protobuf::bytes_len(PAYLOAD_DATA, block.len());
    protobuf::write_head(PAYLOAD, len, out);
    protobuf::write_bytes(PAYLOAD_PREFIX, &prefix, out);
    protobuf::write_head(PAYLOAD_DATA, block.len(), out);
    Ok(())
}

fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(52);
    protobuf::write_bytes(ENTRY_CID, &entry.cid.to_bytes(), &mut out);
    if entry.priority != 0 {
        // A negative number is written as 64 bits, as everywhere in protobuf.
        protobuf::write_varint(ENTRY_PRIORITY, i64::from(entry.priority) as u64, &mut out);
    }
    match entry.want {
        Want::Cancel => protobuf::write_varint(ENTRY_CANCEL, 1, &mut out),
        Want::Have => protobuf::write_varint(ENTRY_TYPE, 1, &mut out),
        Want::Block => {}
    }
    if entry.send_dont_have {
        protobuf::write_varint(ENTRY_DONT_HAVE, 1, &mut out);
    }
    out
}

fn encode_presence(cid: &Cid, have: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(44);
    protobuf::write_bytes(PRESENCE_CID, &cid.to_bytes(), &mut out);
    if !have {
        protobuf::write_varint(PRESENCE_TYPE, 1, &mut out);
    }
    out
}
