//! A directory made at once of all its entries, and a symbolic link.

use ipfs_traits::{Block, Error, HashTable, Result, limits};

use super::{Bounds, Size};
use crate::{
    Name, Params,
    attributes::Attributes,
    child::{Child, Sealer},
    dagpb::{self, Link},
    data::{Kind, NewData},
    hamt::Build,
};

/// A directory in the making: each step gives some of its blocks.
#[derive(Debug)]
pub(crate) enum NewDirectory {
    /// It fits one block.
    Basic(Option<Box<(Block, Child)>>),
    /// It does not.
    Sharded(Box<Build>),
}

impl NewDirectory {
    /// Of these entries, in any order.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for two of one name; [`Error::Limit`] for one that is to be in one block,
    /// and has no room there.
    pub(crate) fn new(
        params: &Params,
        hashes: &HashTable,
        mut entries: Vec<(Name, Child)>,
        attributes: Attributes,
    ) -> Result<Self> {
        let sealer = Sealer::nodes(params, hashes);
        let bounds = Bounds::of(params);
        let size = entries
            .iter()
            .map(|(name, child)| bounds.entry(name, child.cid, child.tsize))
            .fold(bounds.empty(attributes), Size::plus);
        if bounds.exceeded(size) {
            return Build::new(params.fanout, sealer, entries, attributes)
                .map(Box::new)
                .map(Self::Sharded);
        }
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::invalid("entries", format!("{:?} is twice among them", pair[0].0)));
        }
        let links = entries.iter().map(|(name, child)| child.link(name));
        let below = entries.iter().map(|(_, child)| child.tsize).sum();
        let made = sealer.seal(basic(links, attributes)?, 0, below)?;
        Ok(Self::Basic(Some(Box::new(made))))
    }

    /// The next blocks, and the directory once all are given. It computes for a while.
    pub(crate) fn step(&mut self) -> Result<(Vec<Block>, Option<Child>)> {
        match self {
            Self::Sharded(build) => build.step(),
            Self::Basic(made) => match made.take() {
                Some(made) => Ok((vec![made.0], Some(made.1))),
                None => Ok((Vec::new(), None)),
            },
        }
    }
}

/// The bytes of a directory in one block, whose links are sorted by name.
pub(super) fn basic<'a>(
    links: impl Iterator<Item = Link<'a>> + Clone,
    attributes: Attributes,
) -> Result<Vec<u8>> {
    let data = attributes.data(Kind::Directory);
    let bytes = dagpb::encode(links, Some(&data.encode()));
    match bytes.len() <= limits::MAX_BLOCK {
        true => Ok(bytes),
        false => Err(Error::limit("bytes of a directory", limits::MAX_BLOCK, bytes.len())),
    }
}

/// A symbolic link that points to `target`.
pub(crate) fn symlink(
    sealer: &Sealer,
    target: &[u8],
    attributes: Attributes,
) -> Result<(Block, Child)> {
    let data = NewData { content: Some(target), ..attributes.data(Kind::Symlink) };
    let bytes = dagpb::encode([], Some(&data.encode()));
    if bytes.len() > limits::MAX_BLOCK {
        return Err(Error::limit("bytes of a symbolic link", limits::MAX_BLOCK, bytes.len()));
    }
    sealer.seal(bytes, 0, 0)
}
