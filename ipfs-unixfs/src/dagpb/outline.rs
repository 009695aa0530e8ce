//! A dag-pb node of which little will be read.

use std::ops::Range;

use bytes::Bytes;
use ipfs_traits::{Error, Result, protobuf::Fields};

use super::{LINK, NODE, OwnedLink, parse_link};

/// A dag-pb node whose links were counted but not parsed: many times cheaper than a
/// [`Node`](super::Node) where one link is wanted of many.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    bytes: Bytes,
    data: Option<Range<usize>>,
    links: usize,
}

impl Outline {
    /// Checks where fields stand, and not what is in the links.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self> {
        let mut links = 0;
        let data = super::frame(&bytes, |_| {
            links += 1;
            Ok(())
        })?;
        Ok(Self { bytes, data, links })
    }

    /// The data, sharing the block's memory.
    pub(crate) fn data(&self) -> Option<Bytes> {
        self.data.clone().map(|range| self.bytes.slice(range))
    }

    /// How many links it has.
    pub(crate) const fn len(&self) -> usize {
        self.links
    }

    /// The link at this place, parsed and checked; `None` behind the last.
    pub(crate) fn link(&self, at: usize) -> Result<Option<OwnedLink>> {
        let mut found = Fields::new(&self.bytes, NODE)
            .filter_map(|field| field.ok().filter(|(number, _)| *number == 2))
            .skip(at);
        let Some((_, value)) = found.next() else {
            return Ok(None);
        };
        let link = parse_link(value.bytes(NODE)?)?;
        let name = link.name.ok_or_else(|| Error::malformed(LINK, "it has no name"))?;
        let name = self.bytes.slice_ref(name).into();
        Ok(Some(OwnedLink { cid: link.cid, name, tsize: link.tsize }))
    }
}
