//! One block of a sharded directory.

use ipfs_traits::{Cid, Error, Result};

use super::{
    bitmap::Bitmap,
    hash::{MURMUR3, NameHash},
};
use crate::{
    dagpb::{self, Link, OwnedLink},
    data::{Data, Kind, Mtime},
    params::is_fanout,
};

const WHAT: &str = "HAMT shard";

/// One block of a sharded directory, checked whole when it was parsed: its fanout is a power of two
/// from 8 to 1,024, its names are hashed as they are everywhere, and its links are exactly those of
/// its bitmap, in order and named by their slots.
#[derive(Clone, Debug)]
pub struct Shard {
    node: dagpb::Node,
    frame: Frame,
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

/// What a slot of a [`Shard`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An entry of the directory.
    Entry(OwnedLink),
    /// A block of the next level, which holds two entries or more.
    Shard {
        /// Its CID.
        cid: Cid,
        /// How many bytes lie below it, all blocks counted: a hint, which may be wrong.
        tsize: Option<u64>,
    },
}

/// How a shard's links are named, and which there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) shape: Shape,
    pub(super) bitmap: Bitmap,
}

/// What follows from the fanout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    fanout: usize,
}

impl Shape {
    /// For a fanout that is a power of two from 8 to 1,024.
    pub(super) const fn new(fanout: usize) -> Self {
        Self { fanout }
    }

    pub(super) const fn fanout(self) -> usize {
        self.fanout
    }

    /// Bits of the hash that choose a slot.
    pub(crate) const fn bits(self) -> u32 {
        self.fanout.trailing_zeros()
    }

    /// Digits of a slot in the name of its link.
    pub(super) const fn digits(self) -> usize {
        if self.fanout <= 16 {
            1
        } else if self.fanout <= 256 {
            2
        } else {
            3
        }
    }

    /// Appends the digits of a slot.
    pub(super) fn write_slot(self, slot: usize, out: &mut Vec<u8>) {
        let digit = |at: usize| b"0123456789ABCDEF"[slot >> (4 * at) & 15];
        out.extend((0..self.digits()).rev().map(digit));
    }
}

impl Frame {
    fn parse(data: &Data) -> Result<Self> {
        if data.kind() != Kind::HamtShard {
            return Err(Error::WrongKind {
                expected: Kind::HamtShard.name(),
                found: data.kind().name(),
            });
        }
        if data.hash_type() != Some(MURMUR3) {
            return Err(Error::malformed(WHAT, "its names are not hashed with murmur3-x64-64"));
        }
        let fanout = data.fanout().filter(|fanout| is_fanout(*fanout));
        let fanout = fanout.ok_or_else(|| {
            Error::malformed(WHAT, "its fanout is no power of two from 8 to 1,024")
        })?;
        // At most 1,024.
        let shape = Shape::new(fanout as usize);
        let bitmap = Bitmap::parse(&data.content().unwrap_or_default(), shape.fanout())?;
        Ok(Self { shape, bitmap })
    }

    fn check_count(&self, links: usize) -> Result<()> {
        match self.bitmap.count() == links {
            true => Ok(()),
            false => Err(Error::malformed(WHAT, "it has not as many links as slots are taken")),
        }
    }

    /// The name of the entry that a link leads to, none if it leads to the next level.
    fn name<'a>(&self, slot: usize, link: &Link<'a>) -> Result<&'a [u8]> {
        let mut digits = Vec::with_capacity(3);
        self.shape.write_slot(slot, &mut digits);
        link.name
            .and_then(|name| name.strip_prefix(&digits[..]))
            .ok_or_else(|| Error::malformed(WHAT, "a link is not named by its slot"))
    }
}

impl Shard {
    /// Parses a node with its UnixFS message.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for a message that is of no shard; [`Error::Malformed`].
    pub fn parse(node: dagpb::Node, data: &Data) -> Result<Self> {
        let frame = Frame::parse(data)?;
        frame.check_count(node.len())?;
        for (slot, link) in std::iter::zip(frame.bitmap.slots(), node.links()) {
            frame.name(slot, &link)?;
        }
        Ok(Self { node, frame, mode: data.mode(), mtime: data.mtime() })
    }

    /// How many slots it has, taken or not.
    pub const fn fanout(&self) -> usize {
        self.frame.shape.fanout()
    }

    /// How many slots are taken.
    pub const fn len(&self) -> usize {
        self.node.len()
    }

    /// Whether no slot is taken.
    pub const fn is_empty(&self) -> bool {
        self.node.is_empty()
    }

    /// What the slots that are taken hold, each with its number, ascending.
    pub fn slots(&self) -> impl Iterator<Item = (usize, Slot)> + use<> {
        let digits = self.frame.shape.digits();
        let links = self.node.clone().into_links();
        std::iter::zip(self.frame.bitmap.slots(), links)
            .map(move |(slot, link)| (slot, Slot::of(link, digits)))
    }

    /// Permissions and other bits of the mode, which only the first block of a directory has.
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// When it was changed, which only the first block of a directory has.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.mtime
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.frame.shape
    }

    pub(super) const fn bitmap(&self) -> Bitmap {
        self.frame.bitmap
    }
}

impl Slot {
    /// Of a link whose name was checked to begin with so many digits.
    fn of(link: OwnedLink, digits: usize) -> Self {
        let OwnedLink { cid, name, tsize } = link;
        match name.len() == digits {
            true => Self::Shard { cid, tsize },
            false => Self::Entry(OwnedLink { cid, name: name.without_prefix(digits), tsize }),
        }
    }
}

/// What a way down a sharded directory comes to in a block: the slot that `hash` chooses, if it is
/// taken. `data` is what the node says.
///
/// Only that slot's link is parsed and checked, so that a look-up costs a block a level and hardly
/// more.
pub(crate) fn look_up(
    node: &dagpb::Outline,
    data: &Data,
    hash: &mut NameHash,
) -> Result<Option<Slot>> {
    let frame = Frame::parse(data)?;
    frame.check_count(node.len())?;
    let slot = hash.next(frame.shape.bits())?;
    if !frame.bitmap.has(slot) {
        return Ok(None);
    }
    let Some(link) = node.link(frame.bitmap.before(slot))? else {
        return Ok(None);
    };
    let borrowed = Link { cid: link.cid, name: Some(&link.name), tsize: link.tsize };
    frame.name(slot, &borrowed)?;
    Ok(Some(Slot::of(link, frame.shape.digits())))
}
