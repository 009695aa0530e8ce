//! Where a block lies.

/// A record in a segment: a CAR section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    /// Where the section begins, at its length.
    pub(super) offset: u32,
    /// Bytes of the section before the block's: its length and the CID.
    pub(super) head: u8,
    /// Bytes of the block.
    pub(super) len: u32,
    /// CRC-32 of the whole section.
    pub(super) crc: u32,
}

impl Place {
    /// Bytes of a place in an index.
    pub(super) const ENCODED: usize = 17;

    /// Bytes of the section.
    pub(super) const fn section(&self) -> u64 {
        self.head as u64 + self.len as u64
    }

    pub(super) fn encode(&self) -> [u8; Self::ENCODED] {
        let mut bytes = [0; Self::ENCODED];
        bytes[..4].copy_from_slice(&self.segment.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.crc.to_le_bytes());
        bytes[16] = self.head;
        bytes
    }

    pub(super) fn decode(bytes: [u8; Self::ENCODED]) -> Self {
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            segment: number(0),
            offset: number(4),
            len: number(8),
            crc: number(12),
            head: bytes[16],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let place = Place { segment: 1, offset: u32::MAX, head: 38, len: 64 << 20, crc: 0xdead };
        assert_eq!(Place::decode(place.encode()), place);
    }
}
