//! What blocks hold of files and directories, read in order.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use ipfs_traits::{Block, BlockSource, Cid, Error, Result, limits};

use super::{Entry, Item, measure::measure};
use crate::{
    Name,
    ahead::{Ahead, Level, Next, Opened, Reader, Want},
    dagpb::OwnedLink,
    hamt::{Shard, Slot},
    name::path_text,
    node::{FileNode, Node, SymlinkNode},
};

/// What the first block of a directory's entry counts for, if the directory says nothing smaller.
const ENTRY: usize = 256 << 10;

/// What a block of links counts for.
const LINKS: usize = 64 << 10;

/// How deep a tree may be: deeper than any path that a system opens.
pub(super) const MAX_DEPTH: usize = 1024;

/// Blocks of sharded directories that may follow each other without an entry in any of them. A tree
/// of empty ones could be larger than anybody can walk.
pub(super) const MAX_BARREN: usize = 512;

/// Reads trees, and parts of files.
pub(super) struct Contents {
    source: Arc<dyn BlockSource>,
    barren: Barren,
}

pub(super) enum Role {
    /// A file, directory or symbolic link of this name.
    Entry(Name),
    /// A file of this name, behind a block of metadata.
    Described(Name),
    /// A part of a file with so many bytes, of which these are wanted.
    Part(u64, Range<u64>),
    /// A block of a sharded directory.
    Shard(ShardAt),
}

type Rest = Box<dyn Iterator<Item = Next<Contents>> + Send>;

/// All below `root`, whatever it is.
pub(super) fn tree(source: Arc<dyn BlockSource>, root: Cid, window: usize) -> Ahead<Contents> {
    let first = Level::one(Want::new(root, Role::Entry(Name::default()), ENTRY));
    new(source, first, window)
}

/// Some entries of a directory, with all below them.
pub(super) fn entries(
    source: Arc<dyn BlockSource>,
    entries: Vec<Entry>,
    window: usize,
) -> Ahead<Contents> {
    let link = |Entry { name, cid, dag_size }| OwnedLink { cid, name, tsize: dag_size };
    let rest: Rest = Box::new(entries.into_iter().map(move |listed| entry(link(listed))));
    new(source, Level::new(0, [], Some(rest), None), window)
}

/// A range of a file's bytes, which must lie within it.
pub(super) fn file(
    source: Arc<dyn BlockSource>,
    file: FileNode,
    range: Range<u64>,
    window: usize,
) -> Ahead<Contents> {
    new(source, parts(0, None, file, range, None), window)
}

fn new(source: Arc<dyn BlockSource>, first: Level<Contents>, window: usize) -> Ahead<Contents> {
    let reader = Contents { source: source.clone(), barren: Barren::default() };
    Ahead::new(&*source, reader, first, window)
}

impl Reader for Contents {
    type Role = Role;
    type Item = Item;

    const KEEPS_WAY: bool = true;

    fn open(&mut self, role: &Role, block: Block, depth: usize) -> Result<Opened<Self>> {
        check_depth(depth)?;
        let weight = block.len();
        let node = Node::parse(&block)?;
        match role {
            Role::Entry(name) => self.entry(name, node, weight),
            Role::Described(name) => match node {
                Node::File(_) | Node::Unmeasured(_) | Node::Metadata(_) => {
                    self.entry(name, node, weight)
                }
                _ => Err(Error::malformed("UnixFS metadata", "it is of no file")),
            },
            Role::Part(size, range) => self.part(node, *size, range.clone(), weight),
            Role::Shard(at) => {
                let shard = at.check(node)?;
                self.barren.check(&shard)?;
                Ok(Opened::Level(shard_level(weight, None, &shard, *at, None)))
            }
        }
    }

    fn len(item: &Item) -> usize {
        item.len()
    }

    fn blame<'a>(error: Error, way: impl Iterator<Item = &'a Role>) -> Error {
        let names = way.filter_map(|role| match role {
            Role::Entry(name) if !name.is_empty() => Some(name),
            _ => None,
        });
        match path_text(names) {
            path if path.is_empty() => error,
            path => error.at(path),
        }
    }
}

pub(super) fn check_depth(depth: usize) -> Result<()> {
    match depth > MAX_DEPTH {
        true => Err(Error::limit("levels of a tree", MAX_DEPTH, depth)),
        false => Ok(()),
    }
}

impl Contents {
    fn entry(&self, name: &Name, node: Node, weight: usize) -> Result<Opened<Self>> {
        let name = name.clone();
        Ok(match node {
            Node::File(file) => whole(name, file, weight),
            Node::Unmeasured(node) => {
                let measured = measure(self.source.clone(), node);
                let work = measured.map(move |file| Ok(whole(name, file?, weight)));
                Opened::Later(work.boxed())
            }
            Node::Metadata(metadata) => {
                let want = Want::new(metadata.file(), Role::Described(name), ENTRY);
                Opened::Level(Level::one(want))
            }
            Node::Directory(directory) => {
                let (mode, mtime) = (directory.mode(), directory.mtime());
                let rest: Rest = Box::new(directory.into_entries().map(entry));
                let first = Item::Enter { name, mode, mtime };
                Opened::Level(Level::new(weight, [first], Some(rest), Some(Item::Leave)))
            }
            Node::Shard(shard) => {
                let (mode, mtime) = (shard.mode(), shard.mtime());
                let first = Some(Item::Enter { name, mode, mtime });
                let at = ShardAt::root(&shard);
                Opened::Level(shard_level(weight, first, &shard, at, Some(Item::Leave)))
            }
            Node::Symlink(SymlinkNode { target, mode, mtime }) => {
                Opened::Item(Item::Symlink { name, target, mode, mtime })
            }
        })
    }

    fn part(
        &self,
        node: Node,
        size: u64,
        range: Range<u64>,
        weight: usize,
    ) -> Result<Opened<Self>> {
        match node {
            Node::File(file) => part(file, size, range, weight),
            Node::Unmeasured(node) => {
                let measured = measure(self.source.clone(), node);
                Ok(Opened::Later(
                    measured.map(move |file| part(file?, size, range, weight)).boxed(),
                ))
            }
            Node::Metadata(metadata) => {
                let want = Want::new(metadata.file(), Role::Part(size, range), LINKS);
                Ok(Opened::Level(Level::one(want)))
            }
            _ => Err(Error::malformed(FILE, "a part of it is no part of a file")),
        }
    }
}

const FILE: &str = "UnixFS file";

fn whole(name: Name, file: FileNode, weight: usize) -> Opened<Contents> {
    let (size, mode, mtime) = (file.size(), file.mode(), file.mtime());
    let first = Item::File { name, size, mode, mtime };
    Opened::Level(parts(weight, Some(first), file, 0..size, Some(Item::End)))
}

fn part(file: FileNode, size: u64, range: Range<u64>, weight: usize) -> Result<Opened<Contents>> {
    if file.size() != size {
        return Err(Error::malformed(FILE, "a part of it has not the size that it should"));
    }
    if file.is_leaf() {
        // Both ends are at most its size, which is that of its content.
        return Ok(Opened::Item(Item::Data(slice(file.content(), range))));
    }
    Ok(Opened::Level(parts(weight, None, file, range, None)))
}

/// A part of what is in memory, which both ends lie in.
fn slice(content: &Bytes, range: Range<u64>) -> Bytes {
    content.slice(range.start as usize..range.end as usize)
}

/// The wanted bytes of a file, its own and those of its children.
fn parts(
    weight: usize,
    first: Option<Item>,
    file: FileNode,
    range: Range<u64>,
    end: Option<Item>,
) -> Level<Contents> {
    let own = file.content().len() as u64;
    let wanted = range.start..range.end.min(own);
    let content = (wanted.start < wanted.end).then(|| Item::Data(slice(file.content(), wanted)));
    let items: Vec<Item> = first.into_iter().chain(content).collect();
    let rest: Option<Rest> = (!file.is_leaf()).then(|| {
        let children = Box::new(file.into_children());
        Box::new(Parts { children, offset: own, range }) as Rest
    });
    Level::new(weight, items, rest, end)
}

/// The parts of a file that are wanted.
struct Parts {
    children: Box<dyn Iterator<Item = (Cid, u64)> + Send>,
    /// Where in the file the next child begins.
    offset: u64,
    range: Range<u64>,
}

impl Iterator for Parts {
    type Item = Next<Contents>;

    /// The next child that holds wanted bytes. Children without bytes are never asked for.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (cid, size) = self.children.next()?;
            // The sum of the sizes was checked when the node was parsed.
            let start = self.offset;
            self.offset += size;
            if start >= self.range.end {
                return None;
            }
            let wanted = self.range.start.max(start)..self.range.end.min(self.offset);
            if !wanted.is_empty() {
                let wanted = wanted.start - start..wanted.end - start;
                let is_leaf = size <= limits::MAX_BLOCK as u64;
                let estimate = if is_leaf { size as usize } else { LINKS };
                return Some(Next::Want(Want::new(cid, Role::Part(size, wanted), estimate)));
            }
        }
    }
}

fn entry(link: OwnedLink) -> Next<Contents> {
    let estimate = link.tsize.map_or(ENTRY, |tsize| tsize.min(ENTRY as u64) as usize);
    Next::Want(Want::new(link.cid, Role::Entry(link.name), estimate))
}

fn shard_level(
    weight: usize,
    first: Option<Item>,
    shard: &Shard,
    at: ShardAt,
    end: Option<Item>,
) -> Level<Contents> {
    let below = at.below(shard);
    let rest = shard.slots().map(move |(_, slot)| match slot {
        Slot::Entry(link) => entry(link),
        Slot::Shard { cid, .. } => Next::Want(Want::new(cid, Role::Shard(below), LINKS)),
    });
    Level::new(weight, first, Some(Box::new(rest)), end)
}

/// Where in a sharded directory a block stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardAt {
    /// Bits of the names' hashes that were used above it.
    used: u32,
    /// The fanout of the first block, which all others must have.
    fanout: usize,
}

impl ShardAt {
    pub(super) const fn root(shard: &Shard) -> Self {
        Self { used: 0, fanout: shard.fanout() }
    }

    /// Where the blocks below this one stand.
    pub(super) const fn below(self, shard: &Shard) -> Self {
        Self { used: self.used + shard.fanout().trailing_zeros(), ..self }
    }

    /// The block that stands here, if it can.
    pub(super) fn check(self, node: Node) -> Result<Shard> {
        const WHAT: &str = "HAMT shard";
        let Node::Shard(shard) = node else {
            return Err(Error::malformed(WHAT, "a link leads to no block of the next level"));
        };
        if shard.fanout() != self.fanout {
            return Err(Error::malformed(WHAT, "its fanout is not that of the first block"));
        }
        let bits = self.fanout.trailing_zeros();
        if self.used + bits > u64::BITS {
            let levels = (u64::BITS / bits) as usize;
            return Err(Error::limit("levels of a sharded directory", levels, levels + 1));
        }
        Ok(shard)
    }
}

/// Counts blocks of sharded directories that nothing comes of.
#[derive(Debug, Default)]
pub(super) struct Barren(usize);

impl Barren {
    pub(super) fn check(&mut self, shard: &Shard) -> Result<()> {
        let has_entry = shard.slots().any(|(_, slot)| matches!(slot, Slot::Entry(_)));
        self.0 = if has_entry { 0 } else { self.0 + 1 };
        match self.0 > MAX_BARREN {
            true => Err(Error::limit("blocks of a directory without an entry", MAX_BARREN, self.0)),
            false => Ok(()),
        }
    }
}

/// The next run of bytes of a reader of one file.
pub(super) fn data(item: Result<Item>) -> Result<Bytes> {
    match item? {
        Item::Data(data) => Ok(data),
        _ => Err(Error::malformed(FILE, "it holds something else than bytes")),
    }
}
