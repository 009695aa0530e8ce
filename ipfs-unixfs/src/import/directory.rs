//! A directory in one block, and a symbolic link.

use ipfs_traits::{Block, Error, HashTable, Result, limits};

use super::Child;
use crate::{
    Params, Sharding,
    dagpb::{self, Link},
    data::{Kind, NewData},
    node::sharded,
};

/// A directory with these entries, in any order.
pub(super) fn directory(
    params: &Params,
    hashes: &HashTable,
    entries: &[(String, Child)],
) -> Result<(Block, Child)> {
    let mut links: Vec<Link<'_>> = entries
        .iter()
        .map(|(name, child)| Link {
            cid: child.cid,
            name: Some(name.as_bytes()),
            tsize: Some(child.tsize),
        })
        .collect();
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
    let below: u64 = entries.iter().map(|(_, child)| child.tsize).sum();
    node(params, hashes, bytes, below)
}

/// What an entry counts for [`Sharding::ByLinks`].
fn estimate(link: &Link<'_>) -> usize {
    link.name.map_or(0, <[u8]>::len) + link.cid.encoded_len()
}

/// A symbolic link that points to `target`.
pub(super) fn symlink(params: &Params, hashes: &HashTable, target: &str) -> Result<(Block, Child)> {
    let content = Some(target.as_bytes());
    let data = NewData { content, ..NewData::of(Kind::Symlink) };
    node(params, hashes, dagpb::encode([], Some(&data.encode())), 0)
}

fn node(params: &Params, hashes: &HashTable, bytes: Vec<u8>, below: u64) -> Result<(Block, Child)> {
    let block = Block::with_prefix(&params.node_prefix(), bytes, hashes)?;
    let child = Child { cid: *block.cid(), size: 0, tsize: block.len() as u64 + below };
    Ok((block, child))
}
