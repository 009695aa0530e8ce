//! Directories: made at once of all their entries, or changed an entry at a time, in one block or
//! over many.

mod editor;
mod loads;
mod new;
mod size;
mod state;

use ipfs_traits::Cid;

pub use self::editor::DirectoryEditor;
pub(crate) use self::{
    loads::Loads,
    new::{NewDirectory, symlink},
    size::{Bounds, Size},
    state::Directory,
};
use crate::{child::Child, dagpb::Link};

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
