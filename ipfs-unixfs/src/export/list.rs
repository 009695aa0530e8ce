//! The entries of a directory, as a stream.

use std::sync::Arc;

use futures_util::FutureExt;
use ipfs_traits::{Block, BlockSource, Cid, Error, Result, codes};

use super::{
    content::{Barren, ShardAt, check_depth},
    stat::{Look, Stat, StatKind, look, measured},
};
use crate::{
    Name,
    ahead::{Ahead, Level, Next, Opened, Reader, WINDOW, Want},
    dagpb::OwnedLink,
    hamt::{Shard, Slot},
    name::path_text,
    node::Node,
};

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Its root.
    pub cid: Cid,
    /// Bytes of all blocks below it, as the directory states them: a hint, which may be wrong.
    pub dag_size: Option<u64>,
}

/// An entry of a directory, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The entry.
    pub entry: Entry,
    /// What it is.
    pub stat: Stat,
}

/// What the first block of an entry counts for: few are larger, and of those that are the most are
/// parts of files, which are not fetched.
const FIRST: usize = 16 << 10;

/// What a block of a sharded directory counts for.
const SHARD: usize = 64 << 10;

/// Reads listings.
pub(super) struct Listing {
    source: Arc<dyn BlockSource>,
    /// Whether entries are fetched to see what they are.
    resolve: bool,
    barren: Barren,
}

pub(super) enum Role {
    Shard(ShardAt),
    Entry(Entry),
}

/// An entry, and what it is where that was asked.
pub(super) struct Found {
    pub(super) entry: Entry,
    stat: Option<Stat>,
}

/// A listing that was asked to say what entries are.
pub(super) fn resolved(found: Found) -> Listed {
    let other = || Stat::of(StatKind::Other { codec: found.entry.cid.codec() }, None);
    let stat = found.stat.unwrap_or_else(other);
    Listed { entry: found.entry, stat }
}

/// The entries of a directory, whose first block is fetched at once.
pub(super) async fn listing(
    source: Arc<dyn BlockSource>,
    directory: &Cid,
    resolve: bool,
) -> Result<Ahead<Listing>> {
    let block = source.get(directory).await?;
    let weight = block.len();
    let level = match Node::parse(&block)? {
        Node::Directory(directory) => {
            let rest = directory.into_entries().map(move |link| next(link, resolve));
            Level::new(weight, [], Some(Box::new(rest)), None)
        }
        Node::Shard(shard) => shard_level(weight, &shard, ShardAt::root(&shard), resolve),
        other => {
            return Err(Error::WrongKind { expected: "a directory", found: other.kind_name() });
        }
    };
    let reader = Listing { source: source.clone(), resolve, barren: Barren::default() };
    Ok(Ahead::new(&*source, reader, level, WINDOW))
}

fn shard_level(weight: usize, shard: &Shard, at: ShardAt, resolve: bool) -> Level<Listing> {
    let below = at.below(shard);
    let rest = shard.slots().map(move |(_, slot)| match slot {
        Slot::Entry(link) => next(link, resolve),
        Slot::Shard { cid, .. } => Next::Want(Want::new(cid, Role::Shard(below), SHARD)),
    });
    Level::new(weight, [], Some(Box::new(rest)), None)
}

/// An entry, which is fetched if that is needed to see what it is.
fn next(link: OwnedLink, resolve: bool) -> Next<Listing> {
    let OwnedLink { cid, name, tsize: dag_size } = link;
    let entry = Entry { name, cid, dag_size };
    let stat = match (resolve, cid.codec(), dag_size) {
        (false, ..) => None,
        (true, codes::RAW, Some(size)) => Some(Stat::of(StatKind::File { size }, dag_size)),
        (true, codes::RAW | codes::DAG_PB, _) => {
            let estimate = dag_size.map_or(FIRST, |size| size.min(FIRST as u64) as usize);
            return Next::Want(Want::new(cid, Role::Entry(entry), estimate));
        }
        (true, codec, _) => Some(Stat::of(StatKind::Other { codec }, dag_size)),
    };
    Next::Item(Found { entry, stat })
}

impl Reader for Listing {
    type Role = Role;
    type Item = Found;

    const KEEPS_WAY: bool = true;

    fn open(&mut self, role: &Role, block: Block, depth: usize) -> Result<Opened<Self>> {
        check_depth(depth)?;
        match role {
            Role::Shard(at) => {
                let shard = at.check(Node::parse(&block)?)?;
                self.barren.check(&shard)?;
                Ok(Opened::Level(shard_level(block.len(), &shard, *at, self.resolve)))
            }
            Role::Entry(entry) => self.entry(entry.clone(), &block),
        }
    }

    fn blame<'a>(error: Error, way: impl Iterator<Item = &'a Role>) -> Error {
        let name = way.filter_map(|role| match role {
            Role::Entry(entry) => Some(&entry.name),
            Role::Shard(_) => None,
        });
        match name.last() {
            Some(name) => error.at(path_text([name])),
            None => error,
        }
    }
}

impl Listing {
    fn entry(&self, entry: Entry, block: &Block) -> Result<Opened<Self>> {
        Ok(match look(block)? {
            Look::Stat(stat) => Opened::Item(Found { entry, stat: Some(stat) }),
            Look::Follow(file) => {
                Opened::Level(Level::one(Want::new(file, Role::Entry(entry), FIRST)))
            }
            Look::Measure(file, stat) => {
                let measured = measured(self.source.clone(), file, stat);
                let found = |stat| Ok(Opened::Item(Found { entry, stat: Some(stat?) }));
                Opened::Later(measured.map(found).boxed())
            }
        })
    }
}
