//! Which links of a block are followed.

use std::{ops::Range, sync::Arc};

use ipfs_traits::{Block, Cid, CodecTable, Error, Result, codes};
use ipfs_unixfs::{FileNode, Node, hamt};

use crate::Follow;

/// What a block is brought for, which says what of its links is brought with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// For itself.
    Leaf,
    /// For all below it.
    All,
    /// For the file or directory that it is the first block of.
    Entity,
    /// For some bytes of the file that it is the first block of.
    Range(Range<u64>),
    /// For what it holds of a file.
    Part {
        /// How many bytes of the file lie below it, where that is stated.
        size: Option<u64>,
        /// Which of them are wanted; all if it is not said.
        wanted: Option<Range<u64>>,
    },
    /// For what it holds of a sharded directory.
    Shard {
        /// Bits of the names' hashes that were used above it.
        used: u32,
        /// The fanout of the first block, which all others must have.
        fanout: usize,
    },
}

/// A part of a file that is wanted whole.
const PART: Role = Role::Part { size: None, wanted: None };

const FILE: &str = "UnixFS file";
const SHARD: &str = "HAMT shard";

impl Role {
    /// Whether the same block need not be looked at again. Of one that is wanted in part another
    /// part may be wanted elsewhere.
    pub(super) const fn is_whole(&self) -> bool {
        !matches!(self, Self::Range(_) | Self::Part { wanted: Some(_), .. })
    }
}

/// Says whether a link is followed, by where it leads, where it stands, and how far from the root
/// it leads.
pub(super) type Filter = dyn Fn(&Cid, &Cid, usize) -> bool + Send + Sync;

/// Which links are followed.
pub(super) struct Rules {
    pub(super) codecs: Arc<CodecTable>,
    pub(super) follow: Follow,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) max_depth: Option<usize>,
}

impl Rules {
    /// The links of a block that are followed, in their order.
    pub(super) fn links(
        &self,
        role: &Role,
        depth: usize,
        block: &Block,
    ) -> Result<Vec<(Cid, Role)>> {
        if self.max_depth.is_some_and(|most| depth >= most) {
            return Ok(Vec::new());
        }
        let mut links = self.all(role, block)?;
        if let Some(filter) = &self.filter {
            links.retain(|(to, _)| filter(to, block.cid(), depth + 1));
        }
        Ok(links)
    }

    fn all(&self, role: &Role, block: &Block) -> Result<Vec<(Cid, Role)>> {
        let codec = block.cid().codec();
        match role {
            Role::Leaf => Ok(Vec::new()),
            Role::All if codec == codes::RAW => Ok(Vec::new()),
            Role::All => {
                let links = self.follow.links(&self.codecs, block)?;
                Ok(links.into_iter().map(|cid| (cid, Role::All)).collect())
            }
            // What is no UnixFS is one block to it.
            Role::Entity if codec != codes::DAG_PB => Ok(Vec::new()),
            Role::Entity => entity(Node::parse(block)?),
            Role::Range(range) => match Node::parse(block)? {
                node @ (Node::File(_) | Node::Unmeasured(_) | Node::Metadata(_)) => {
                    part(node, None, Some(range))
                }
                other => Err(Error::WrongKind { expected: "a file", found: other.kind_name() }),
            },
            Role::Part { size, wanted } => part(Node::parse(block)?, *size, wanted.as_ref()),
            Role::Shard { used, fanout } => match Node::parse(block)? {
                Node::Shard(shard) if shard.fanout() == *fanout => slots(&shard, *used),
                Node::Shard(_) => {
                    Err(Error::malformed(SHARD, "its fanout is not that of the first block"))
                }
                _ => Err(Error::malformed(SHARD, "a link leads to no block of the next level")),
            },
        }
    }
}

fn entity(node: Node) -> Result<Vec<(Cid, Role)>> {
    match node {
        Node::Directory(_) | Node::Symlink(_) => Ok(Vec::new()),
        Node::Shard(shard) => slots(&shard, 0),
        file => part(file, None, None),
    }
}

/// The parts of a file, or of a part of one.
fn part(node: Node, size: Option<u64>, wanted: Option<&Range<u64>>) -> Result<Vec<(Cid, Role)>> {
    match node {
        Node::File(file) if size.is_some_and(|size| file.size() != size) => {
            Err(Error::malformed(FILE, "a part of it has not the size that it should"))
        }
        Node::File(file) => Ok(parts(&file, wanted)),
        // Where in it the wanted bytes are nobody knows before all is here.
        Node::Unmeasured(file) => Ok(file.children().map(|cid| (cid, PART)).collect()),
        Node::Metadata(metadata) => {
            let role = Role::Part { size, wanted: wanted.cloned() };
            Ok(vec![(metadata.file(), role)])
        }
        _ => Err(Error::malformed(FILE, "a part of it is no part of a file")),
    }
}

/// The children that hold wanted bytes.
fn parts(file: &FileNode, wanted: Option<&Range<u64>>) -> Vec<(Cid, Role)> {
    let mut end = file.content().len() as u64;
    let child = |(cid, size)| {
        // The sum of the sizes was checked when the node was parsed.
        let start = end;
        end += size;
        let wanted = match wanted {
            None => None,
            Some(range) => {
                let wanted = range.start.max(start)..range.end.min(end);
                if wanted.is_empty() {
                    return None;
                }
                (wanted != (start..end)).then(|| wanted.start - start..wanted.end - start)
            }
        };
        Some((cid, Role::Part { size: Some(size), wanted }))
    };
    file.children().filter_map(child).collect()
}

/// The blocks of the next level of a sharded directory.
fn slots(shard: &hamt::Shard, used: u32) -> Result<Vec<(Cid, Role)>> {
    let fanout = shard.fanout();
    let bits = fanout.trailing_zeros();
    if used + bits > u64::BITS {
        let levels = (u64::BITS / bits) as usize;
        return Err(Error::limit("levels of a sharded directory", levels, levels + 1));
    }
    let below = shard.slots().filter_map(|(_, slot)| match slot {
        hamt::Slot::Shard { cid, .. } => Some((cid, Role::Shard { used: used + bits, fanout })),
        hamt::Slot::Entry(_) => None,
    });
    Ok(below.collect())
}
