//! A directory in one block, and a symbolic link.

use ipfs_traits::{Block, Error, Result, limits};

use crate::{
    Params, Sharding,
    child::{Child, Sealer},
    dagpb::{self, Link},
    data::{Kind, NewData},
    node::sharded,
};

/// A directory with these entries, in any order.
pub(super) fn directory(
    params: &Params,
    sealer: &Sealer,
    entries: &[(String, Child)],
) -> Result<(Block, Child)> {
    let mut links: Vec<Link<'_>> =
        entries.iter().map(|(name, child)| child.link(name.as_bytes())).collect();
    dagpb::sort(&mut links);
    let bytes = dagpb::encode(links.iter().copied(), Some(&NewData::of(Kind::Directory).encode()));
    let too_large = match params.sharding {
        Sharding::Never => false,
        Sharding::ByLinks(most) => links.iter().map(estimate).sum::<usize>() > most,
        Sharding::ByBlock(most) => bytes.len() > most,
    };
    if too_large {
        return Err(sharded());
    }
    if bytes.len() > limits::MAX_BLOCK {
        return Err(Error::limit("bytes of a directory", limits::MAX_BLOCK, bytes.len()));
    }
    sealer.seal(bytes, 0, entries.iter().map(|(_, child)| child.tsize).sum())
}

/// What an entry counts for [`Sharding::ByLinks`].
fn estimate(link: &Link<'_>) -> usize {
    link.name.map_or(0, <[u8]>::len) + link.cid.encoded_len()
}

/// A symbolic link that points to `target`.
pub(super) fn symlink(sealer: &Sealer, target: &str) -> Result<(Block, Child)> {
    let content = Some(target.as_bytes());
    let data = NewData { content, ..NewData::of(Kind::Symlink) };
    sealer.seal(dagpb::encode([], Some(&data.encode())), 0, 0)
}
