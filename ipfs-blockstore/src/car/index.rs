//! The index of a CARv2: where in the data the section of each multihash begins.
//!
//! Entries of one width, a digest and an offset (u64, little-endian), stand in order of their
//! digests; groups of them are named by their width, and in `MultihashIndexSorted` by their hash
//! function too.

mod parse;
mod search;

use std::{cmp::Ordering, collections::BTreeMap};

use ipfs_traits::{Bytes, Multihash, varint};

pub(super) use self::{
    parse::Place,
    search::{Entry, Index, Position},
};

/// A form of index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexKind {
    /// `IndexSorted`: by digest, whatever the hash function.
    Sorted,
    /// `MultihashIndexSorted`: by hash function and digest. What go-car writes by default.
    #[default]
    MultihashSorted,
}

impl IndexKind {
    /// Its multicodec.
    pub(super) const fn code(self) -> u64 {
        match self {
            Self::Sorted => 0x0400,
            Self::MultihashSorted => 0x0401,
        }
    }

    fn of(code: u64) -> Option<Self> {
        [Self::Sorted, Self::MultihashSorted].into_iter().find(|kind| kind.code() == code)
    }
}

/// Bytes of an offset.
pub(super) const OFFSET: usize = 8;

/// Collects what is to be in an index, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    /// By hash function and width: the entries one behind the other.
    groups: BTreeMap<(u64, usize), Vec<u8>>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn push(&mut self, hash: &Multihash, offset: u64) {
        let width = hash.digest().len() + OFFSET;
        let group = self.groups.entry((hash.code(), width)).or_default();
        group.extend_from_slice(hash.digest());
        group.extend_from_slice(&offset.to_le_bytes());
    }

    /// The bytes of the index, in pieces.
    pub(super) fn encode(self, kind: IndexKind) -> Vec<Bytes> {
        let mut head = Vec::new();
        varint::write(kind.code(), &mut head);
        let mut pieces = vec![head.into()];
        match kind {
            IndexKind::Sorted => encode_widths(by_width(self.groups), &mut pieces),
            IndexKind::MultihashSorted => {
                let mut codes: BTreeMap<u64, BTreeMap<usize, Vec<u8>>> = BTreeMap::new();
                for ((code, width), entries) in self.groups {
                    codes.entry(code).or_default().insert(width, entries);
                }
                pieces.push(word(codes.len()));
                for (code, widths) in codes {
                    pieces.push(Bytes::copy_from_slice(&code.to_le_bytes()));
                    encode_widths(widths, &mut pieces);
                }
            }
        }
        pieces
    }
}

/// The groups of all hash functions, together where their width is the same.
fn by_width(groups: BTreeMap<(u64, usize), Vec<u8>>) -> BTreeMap<usize, Vec<u8>> {
    let mut widths: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for ((_, width), entries) in groups {
        widths.entry(width).or_default().extend(entries);
    }
    widths
}

fn encode_widths(widths: BTreeMap<usize, Vec<u8>>, pieces: &mut Vec<Bytes>) {
    pieces.push(word(widths.len()));
    for (width, entries) in widths {
        let mut head = (width as u32).to_le_bytes().to_vec();
        head.extend((entries.len() as u64).to_le_bytes());
        pieces.push(head.into());
        pieces.push(sorted(&entries, width).into());
    }
}

fn word(count: usize) -> Bytes {
    Bytes::copy_from_slice(&(count as u32).to_le_bytes())
}

/// Entries in order of their digests, and of their offsets where these are equal.
fn sorted(entries: &[u8], width: usize) -> Vec<u8> {
    let mut order: Vec<&[u8]> = entries.chunks_exact(width).collect();
    order.sort_unstable_by(|a, b| compare(a, b));
    order.concat()
}

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let [a, b] = [a, b].map(|entry| entry.split_at(entry.len() - OFFSET));
    a.0.cmp(b.0).then_with(|| a.1.iter().rev().cmp(b.1.iter().rev()))
}

#[cfg(test)]
mod tests;
