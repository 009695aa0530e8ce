//! What a CID leads to.

use std::sync::Arc;

use bytes::Bytes;
use ipfs_traits::{Block, BlockSource, Cid, Result, codes};

use super::{content::check_depth, measure::measure};
use crate::{
    dagpb,
    data::Mtime,
    node::{Node, Unmeasured},
};

/// What a CID leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// What it is.
    pub kind: StatKind,
    /// Permissions and other bits of the mode, where they are kept.
    pub mode: Option<u32>,
    /// When it was changed, where that is kept.
    pub mtime: Option<Mtime>,
    /// Bytes of all blocks below it, its own included, as the block states them: a hint, which may
    /// be wrong. A block that is linked to twice counts twice.
    pub dag_size: Option<u64>,
}

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatKind {
    /// A file.
    #[non_exhaustive]
    File {
        /// Its bytes.
        size: u64,
    },
    /// A directory in one block.
    #[non_exhaustive]
    Directory {
        /// Its entries.
        entries: usize,
    },
    /// A directory spread over many blocks.
    #[non_exhaustive]
    ShardedDirectory {
        /// How many slots each of its blocks has.
        fanout: usize,
    },
    /// A symbolic link.
    #[non_exhaustive]
    Symlink {
        /// Where it points: a stranger's bytes, which may be any path, or none.
        target: Bytes,
    },
    /// A block that is not UnixFS; only in a listing.
    #[non_exhaustive]
    Other {
        /// Its multicodec.
        codec: u64,
    },
}

impl Stat {
    /// Whether it is a directory, sharded or not.
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, StatKind::Directory { .. } | StatKind::ShardedDirectory { .. })
    }

    /// Of what has nothing but a kind.
    pub(super) const fn of(kind: StatKind, dag_size: Option<u64>) -> Self {
        Self { kind, mode: None, mtime: None, dag_size }
    }
}

/// What has to be read to know what a block is.
pub(super) enum Look {
    Stat(Stat),
    /// The file that it describes.
    Follow(Cid),
    /// The sizes of its parts.
    Measure(Unmeasured, Stat),
}

/// What a block says of itself.
pub(super) fn look(block: &Block) -> Result<Look> {
    let dag_size = dag_size(block);
    let stat = |kind, mode, mtime| Look::Stat(Stat { kind, mode, mtime, dag_size });
    Ok(match Node::parse(block)? {
        Node::File(file) => stat(StatKind::File { size: file.size() }, file.mode(), file.mtime()),
        Node::Directory(directory) => {
            let kind = StatKind::Directory { entries: directory.len() };
            stat(kind, directory.mode(), directory.mtime())
        }
        Node::Shard(shard) => {
            let kind = StatKind::ShardedDirectory { fanout: shard.fanout() };
            stat(kind, shard.mode(), shard.mtime())
        }
        Node::Symlink(link) => {
            stat(StatKind::Symlink { target: link.target }, link.mode, link.mtime)
        }
        Node::Metadata(metadata) => Look::Follow(metadata.file()),
        Node::Unmeasured(file) => {
            let kind = StatKind::File { size: file.stated_size().unwrap_or_default() };
            let (mode, mtime) = (file.mode(), file.mtime());
            let stat = Stat { kind, mode, mtime, dag_size };
            match file.stated_size() {
                Some(_) => Look::Stat(stat),
                None => Look::Measure(file, stat),
            }
        }
    })
}

fn dag_size(block: &Block) -> Option<u64> {
    let own = block.len() as u64;
    if block.cid().codec() != codes::DAG_PB {
        return Some(own);
    }
    let node = dagpb::Node::parse(block.data().clone()).ok()?;
    node.links().try_fold(own, |sum, link| sum.checked_add(link.tsize?))
}

/// What a CID leads to.
pub(super) async fn stat(source: &Arc<dyn BlockSource>, cid: &Cid) -> Result<Stat> {
    let mut cid = *cid;
    let mut depth = 0;
    loop {
        depth += 1;
        check_depth(depth)?;
        match look(&source.get(&cid).await?)? {
            Look::Stat(stat) => return Ok(stat),
            Look::Follow(file) => cid = file,
            Look::Measure(file, stat) => return measured(source.clone(), file, stat).await,
        }
    }
}

/// The same with the size that was found.
pub(super) async fn measured(
    source: Arc<dyn BlockSource>,
    file: Unmeasured,
    stat: Stat,
) -> Result<Stat> {
    let size = measure(source, file).await?.size();
    Ok(Stat { kind: StatKind::File { size }, ..stat })
}
