//! Directories: made at once of all their entries, or changed an entry at a time, in one block or
//! over many.

mod editor;
mod loads;
mod new;
mod size;
mod state;

use ipfs_traits::{Block, Cid, Result, codes};

pub use self::editor::DirectoryEditor;
pub(crate) use self::{
    loads::Loads,
    new::{NewDirectory, symlink},
    size::{Bounds, Size},
    state::Directory,
};
use crate::{
    child::Child,
    dagpb::{self, Link},
};

/// Where an entry of a directory leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its root.
    pub cid: Cid,
    /// Bytes of all blocks below it: a hint, which stands in the directory, and of which CIDs
    /// depend.
    pub dag_size: u64,
}

impl Target {
    /// What `block` is the root of: its own bytes, and those that its links state.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`](ipfs_traits::Error::Malformed) for a dag-pb block that is none.
    pub fn of(block: &Block) -> Result<Self> {
        let mut dag_size = block.len() as u64;
        if block.cid().codec() == codes::DAG_PB {
            let node = dagpb::Node::parse(block.data().clone())?;
            // A stranger's hints can be anything.
            let below = node.links().filter_map(|link| link.tsize);
            dag_size = below.fold(dag_size, u64::saturating_add);
        }
        Ok(Self { cid: *block.cid(), dag_size })
    }

    /// A link to it.
    pub(crate) const fn link<'a>(&self, name: &'a [u8]) -> Link<'a> {
        Link { cid: self.cid, name: Some(name), tsize: Some(self.dag_size) }
    }
}

impl From<Child> for Target {
    fn from(child: Child) -> Self {
        Self { cid: child.cid, dag_size: child.tsize }
    }
}

#[cfg(test)]
mod tests;
