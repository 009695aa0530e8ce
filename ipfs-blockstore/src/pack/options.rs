//! How a store is opened, and what it tells of itself.

use ipfs_traits::HashTable;

use super::TABLE;

/// How a [`PackStore`](super::PackStore) is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Bytes after which a segment is full and another is begun: 256 MiB, from 1 KiB to 2 GiB. A
    /// block that is larger has a segment of its own.
    pub segment_bytes: u64,
    /// The most bytes that the segments may take; beyond it a put gives
    /// [`Error::Full`](ipfs_traits::Error::Full) and stores nothing. No limit by default.
    pub max_bytes: Option<u64>,
    /// Hash every block that is read. Off by default: what is read is checked with a checksum in any
    /// case.
    pub verify_reads: bool,
    /// The share of dead bytes from which a segment is compacted: 0.3 by default.
    pub dead_share: f64,
    /// Bytes of deleted blocks after which a compaction is started by itself, when nothing more was
    /// deleted for a second, or after a minute: 64 MiB by default; `None` leaves it to [`compact`](ipfs_traits::Blockstore::compact).
    pub compact_after: Option<u64>,
    /// Bytes a second that a compaction moves; no limit by default.
    pub compact_rate: Option<u64>,
    /// The hash functions by which blocks are verified where only that can tell whether they are
    /// whole.
    pub hashes: HashTable,
    /// Blocks after which the index of what is new is written from memory to a file: 32,768, which
    /// take 7 MB. At most twice as many are in memory.
    pub index_table: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            max_bytes: None,
            verify_reads: false,
            dead_share: 0.3,
            compact_after: Some(64 << 20),
            compact_rate: None,
            hashes: HashTable::standard(),
            index_table: TABLE,
        }
    }
}

impl Options {
    pub(super) fn segment_size(&self) -> u32 {
        self.segment_bytes.clamp(1 << 10, 2 << 30) as u32
    }
}

/// What a [`PackStore`](super::PackStore) holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blocks.
    pub blocks: u64,
    /// Bytes of them.
    pub alive: u64,
    /// Bytes that the segments take.
    pub on_disk: u64,
    /// Segments.
    pub segments: u64,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Syncs of segments in them: one for each, and more where segments were full.
    pub syncs: u64,
    /// Puts and deletes of single blocks that they have made durable, so many at a time as this has
    /// of [`commits`](Self::commits).
    pub committed: u64,
    /// Records that were found to be damaged when it was opened.
    pub damaged: u64,
}
