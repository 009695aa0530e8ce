//! The keys and values of leases in a shared datastore: see `DESIGN.md`.

use std::time::SystemTime;

use ipfs_traits::{Bytes, Cid, Error, Result};

use super::{LEASE, SKEW};
use crate::{hold::Print, reach::Follow};

/// The number that was given last, of those of nodes and of collections.
pub(super) const NUMBERS: &[u8] = b"lease/numbers";
/// The collection that runs.
pub(super) const COLLECTOR: &[u8] = b"lease/collector";
/// The nodes that hold something, by number.
pub(super) const WRITERS: &[u8] = b"lease/writer/";
/// What they hold, by number.
pub(super) const HELD: &[u8] = b"lease/held/";
/// The roots that they keep, by number.
pub(super) const ROOTS: &[u8] = b"lease/root/";

/// A time in a record: milliseconds since 1970.
pub(super) type Millis = u64;

fn millis(time: SystemTime) -> Millis {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When a lease ends that is taken or renewed now.
pub(super) fn end_of_lease(now: SystemTime) -> Millis {
    millis(now + LEASE)
}

/// Whether the time has come, by the clock of the one whose lease it is.
pub(super) fn is_over(end: Millis, now: SystemTime) -> bool {
    millis(now) >= end
}

/// Whether a lease of another node has lapsed, whatever its clock says.
pub(super) fn has_lapsed(end: Millis, now: SystemTime) -> bool {
    is_over(end, now.checked_sub(SKEW).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// The key of something of a node: all of it begins with the same.
pub(super) fn key(of: &[u8], number: u64, rest: &[u8]) -> Bytes {
    [of, &number.to_be_bytes(), rest].concat().into()
}

/// The number in a key.
pub(super) fn number_in(of: &[u8], key: &[u8]) -> Result<u64> {
    let number = key.get(of.len()..).and_then(|rest| rest.first_chunk());
    number.copied().map(u64::from_be_bytes).ok_or_else(|| malformed("a key without a number"))
}

pub(super) fn encode(numbers: &[u64]) -> Bytes {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(super) fn decode(value: &[u8]) -> Result<Vec<u64>> {
    let (numbers, []) = value.as_chunks() else { return Err(malformed("no whole numbers")) };
    Ok(numbers.iter().copied().map(u64::from_be_bytes).collect())
}

fn malformed(why: &'static str) -> Error {
    Error::malformed("record of a lease", why)
}

/// A node that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    /// When its lease ends.
    pub(super) end: Millis,
    /// How often it has written: what it holds may have changed when this has.
    pub(super) writes: u64,
}

impl Writer {
    pub(super) fn encode(self) -> Bytes {
        encode(&[self.end, self.writes])
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self> {
        match decode(value)?[..] {
            [end, writes] => Ok(Self { end, writes }),
            _ => Err(malformed("not the two numbers of a writer")),
        }
    }
}

/// A collection that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collecting {
    pub(crate) number: u64,
    /// When its lease ends.
    pub(super) end: Millis,
    /// What is being deleted, ascending.
    pub(super) deleting: Vec<Print>,
}

impl Collecting {
    pub(super) fn deletes(&self, prints: &[Print]) -> bool {
        prints.iter().any(|print| self.deleting.binary_search(print).is_ok())
    }

    pub(super) fn encode(&self) -> Bytes {
        encode(&[&[self.number, self.end][..], &self.deleting].concat())
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self> {
        match &decode(value)?[..] {
            [number, end, deleting @ ..] if deleting.is_sorted() => {
                Ok(Self { number: *number, end: *end, deleting: deleting.to_vec() })
            }
            _ => Err(malformed("not the numbers of a collection")),
        }
    }
}

pub(super) fn encode_root(cid: &Cid, follow: Follow) -> Bytes {
    let follow = match follow {
        Follow::All => 0,
        Follow::WithoutSubmodules => 1,
    };
    [vec![follow], cid.to_bytes()].concat().into()
}

pub(super) fn decode_root(value: &[u8]) -> Result<(Cid, Follow)> {
    let (follow, cid) = value.split_first().ok_or_else(|| malformed("an empty root"))?;
    let follow = match follow {
        0 => Follow::All,
        1 => Follow::WithoutSubmodules,
        _ => return Err(malformed("a root whose links are unknown")),
    };
    let cid = Cid::try_from(cid).map_err(|_| malformed("a root without a CID"))?;
    Ok((cid, follow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let writer = Writer { end: 7, writes: 3 };
        assert_eq!(Writer::decode(&writer.encode()).unwrap(), writer);
        let collecting = Collecting { number: 2, end: 9, deleting: vec![1, 4] };
        assert_eq!(Collecting::decode(&collecting.encode()).unwrap(), collecting);
        for follow in [Follow::All, Follow::WithoutSubmodules] {
            let root = (Cid::default(), follow);
            assert_eq!(decode_root(&encode_root(&root.0, follow)).unwrap(), root);
        }
        assert_eq!(number_in(HELD, &key(HELD, 5, b"rest")).unwrap(), 5);
    }

    #[test]
    fn other_bytes_are_an_error() {
        assert!(Writer::decode(&[0; 8]).is_err() && Writer::decode(&[0; 15]).is_err());
        assert!(Collecting::decode(&[0; 8]).is_err());
        let unsorted = Collecting { number: 2, end: 9, deleting: vec![4, 1] };
        assert!(Collecting::decode(&unsorted.encode()).is_err());
        assert!(number_in(HELD, HELD).is_err());
        for root in [&[][..], &[2], &[0], &[0, 1, 2]] {
            assert!(decode_root(root).is_err());
        }
    }
}
