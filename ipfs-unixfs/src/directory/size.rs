//! When a directory is too large for one block.

use ipfs_traits::{Cid, protobuf};

use crate::{
    Params, Sharding,
    attributes::Attributes,
    dagpb::{self, Link},
    data::Kind,
};

/// The bounds of a directory in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    sharding: Sharding,
    max_links: Option<usize>,
}

/// How large a directory is, as its bounds count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    pub(crate) links: usize,
}

impl Bounds {
    pub(crate) const fn of(params: &Params) -> Self {
        Self { sharding: params.sharding, max_links: params.max_directory_links }
    }

    /// What a directory without entries counts for.
    pub(crate) fn empty(&self, attributes: Attributes) -> Size {
        let bytes = match self.sharding {
            Sharding::Never | Sharding::ByLinks(_) => 0,
            Sharding::ByBlock(_) => {
                protobuf::bytes_len(1, attributes.data(Kind::Directory).encode().len())
            }
        };
        Size { bytes, links: 0 }
    }

    /// What an entry counts for.
    pub(crate) fn entry(&self, name: &[u8], cid: Cid, tsize: u64) -> Size {
        let bytes = match self.sharding {
            Sharding::Never => 0,
            Sharding::ByLinks(_) => name.len() + cid.encoded_len(),
            Sharding::ByBlock(_) => {
                dagpb::encoded_link_len(&Link { cid, name: Some(name), tsize: Some(tsize) })
            }
        };
        Size { bytes, links: 1 }
    }

    /// Whether a directory of this size is spread over several blocks.
    pub(crate) fn exceeded(&self, size: Size) -> bool {
        let too_long = match self.sharding {
            Sharding::Never => false,
            // One without entries is one block, however many bytes it has.
            Sharding::ByLinks(most) | Sharding::ByBlock(most) => {
                size.bytes > most && size.links > 0
            }
        };
        too_long || self.max_links.is_some_and(|most| size.links > most)
    }

    /// Whether a directory of this size is far beyond: so much that as many entries again as may be
    /// in one block could go before it need be looked at again.
    pub(crate) fn far_exceeded(&self, size: Size) -> bool {
        self.exceeded(Size { bytes: size.bytes / 2, links: size.links / 2 })
    }

    /// Whether any directory can be too large.
    pub(crate) const fn any(&self) -> bool {
        !matches!((self.sharding, self.max_links), (Sharding::Never, None))
    }
}

impl Size {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, links: self.links + other.links }
    }

    /// At least nothing: of a size that is only known not to be smaller.
    pub(crate) const fn minus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Self { bytes, links: self.links.saturating_sub(other.links) }
    }
}
