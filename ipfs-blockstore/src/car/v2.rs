//! What stands before and behind the sections of a CARv2.

use ipfs_traits::{Error, Result};

use super::WHAT;

/// What every CARv2 begins with: the header of a CAR of version 2.
pub(super) const PRAGMA: [u8; 11] = *b"\x0a\xa1\x67version\x02";

/// Where the header ends: behind the pragma, 16 bytes of characteristics and three numbers.
pub(super) const START: u64 = (PRAGMA.len() + Header::LEN) as u64;

/// The header of a CARv2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether the index knows the sections with identity CIDs too.
    pub(super) fully_indexed: bool,
    /// Where in the file the CARv1 begins.
    pub(super) data_offset: u64,
    /// How many bytes it has.
    pub(super) data_size: u64,
    /// Where in the file the index begins; 0 if there is none.
    pub(super) index_offset: u64,
}

/// The first bit of the characteristics.
const FULLY_INDEXED: u8 = 0x80;

impl Header {
    pub(super) const LEN: usize = 40;

    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = if self.fully_indexed { FULLY_INDEXED } else { 0 };
        for (at, number) in [(16, self.data_offset), (24, self.data_size), (32, self.index_offset)]
        {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads a header as it stands there; [`check`](Self::check) says whether it can be right.
    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        Self {
            fully_indexed: bytes[0] & FULLY_INDEXED != 0,
            data_offset: number(16),
            data_size: number(24),
            index_offset: number(32),
        }
    }

    /// Where the CARv1 ends.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when its parts overlap, or it was never finished.
    pub(super) fn check(&self) -> Result<u64> {
        let bad = |reason| Err(Error::malformed(WHAT, reason));
        if self.data_size == 0 {
            return bad("it was not finished: its header names no data");
        }
        if self.data_offset < START {
            return bad("its data begins inside of its header");
        }
        match self.data_offset.checked_add(self.data_size) {
            Some(end) if self.index_offset == 0 || self.index_offset >= end => Ok(end),
            Some(_) => bad("its index begins inside of its data"),
            None => bad("its data ends beyond 64 bits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { fully_indexed: true, data_offset: 100, data_size: 20, index_offset: 120 };

    #[test]
    fn what_is_written_is_read_back() {
        for header in [HEADER, Header { fully_indexed: false, index_offset: 0, ..HEADER }] {
            assert_eq!(Header::decode(&header.encode()), header);
            assert_eq!(header.check().unwrap(), 120);
        }
        assert_eq!(HEADER.encode()[0], 0x80);
        assert_eq!(HEADER.encode()[16], 100);
    }

    #[test]
    fn parts_that_overlap_are_refused() {
        for header in [
            Header::default(),
            Header { data_offset: START - 1, ..HEADER },
            Header { data_size: 0, ..HEADER },
            Header { index_offset: 119, ..HEADER },
            Header { data_size: u64::MAX - 99, ..HEADER },
        ] {
            assert!(matches!(header.check(), Err(Error::Malformed { .. })), "{header:?}");
        }
    }
}
