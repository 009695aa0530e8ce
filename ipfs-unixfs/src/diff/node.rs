//! Two blocks of one name: what differs in them, if they are directories.

use bytes::Bytes;
use ipfs_traits::{Block, Result, codes};

use super::piece::{Step, compare, of_entries, of_root};
use crate::{
    dagpb::{self, OwnedLink},
    data::{Data, Kind, Mtime},
    hamt::Shard,
};

/// What there is to tell of two blocks of one name.
#[derive(Debug)]
pub(super) enum Found {
    /// They are not both directories.
    Whole,
    /// They are.
    Directories {
        /// The mode and time of the second, if they differ.
        touched: Option<Stat>,
        steps: Vec<Step>,
    },
}

type Stat = (Option<u32>, Option<Mtime>);

/// A block as something that has entries.
enum Form {
    Directory(Vec<OwnedLink>, Stat),
    Sharded(Shard, Stat),
    /// A node that is not UnixFS, and its data.
    Plain(Vec<OwnedLink>, Option<Bytes>),
    /// What has none.
    Other,
}

pub(super) fn look(before: &Block, after: &Block) -> Result<Found> {
    let (touched, before, after) = match (Form::of(before)?, Form::of(after)?) {
        (Form::Directory(a, was), Form::Directory(b, is)) => {
            ((was != is).then_some(is), of_entries(a, false), of_entries(b, false))
        }
        (Form::Directory(a, was), Form::Sharded(b, is)) => {
            ((was != is).then_some(is), of_entries(a, true), of_root(&b)?)
        }
        (Form::Sharded(a, was), Form::Directory(b, is)) => {
            ((was != is).then_some(is), of_root(&a)?, of_entries(b, true))
        }
        (Form::Sharded(a, was), Form::Sharded(b, is)) => {
            ((was != is).then_some(is), of_root(&a)?, of_root(&b)?)
        }
        (Form::Plain(a, was), Form::Plain(b, is)) if was == is => {
            (None, of_entries(a, false), of_entries(b, false))
        }
        _ => return Ok(Found::Whole),
    };
    Ok(Found::Directories { touched, steps: compare(before, after) })
}

impl Form {
    fn of(block: &Block) -> Result<Self> {
        if block.cid().codec() != codes::DAG_PB {
            return Ok(Self::Other);
        }
        let node = dagpb::Node::parse(block.data().clone())?;
        let data = node.data().map(Data::parse);
        let form = match data {
            None | Some(Err(_)) => {
                let data = node.data();
                Self::Plain(node.into_links().collect(), data)
            }
            Some(Ok(data)) => match data.kind() {
                Kind::Directory => {
                    let stat = (data.mode(), data.mtime());
                    Self::Directory(node.into_links().collect(), stat)
                }
                Kind::HamtShard => {
                    let shard = Shard::parse(node, &data)?;
                    let stat = (shard.mode(), shard.mtime());
                    Self::Sharded(shard, stat)
                }
                _ => Self::Other,
            },
        };
        Ok(match form {
            Self::Directory(links, _) | Self::Plain(links, _) if !have_paths(&links) => Self::Other,
            form => form,
        })
    }
}

/// Whether a path leads through each of these links, and through no two the same.
fn have_paths(links: &[OwnedLink]) -> bool {
    let mut names: Vec<&[u8]> = links.iter().map(|link| link.name.as_bytes()).collect();
    names.sort_unstable();
    names.first().is_none_or(|name| !name.is_empty())
        && names.windows(2).all(|pair| pair[0] != pair[1])
}
