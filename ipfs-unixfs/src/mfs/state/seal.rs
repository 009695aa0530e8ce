//! Sealing what was changed, and letting go of what was not.

use ipfs_traits::{Block, Cid, Result};

use super::{DirId, State};
use crate::directory::{Loads, Target};

/// A directory that was sealed, as it was then.
#[derive(Debug)]
pub(in crate::mfs) struct Sealed {
    dir: DirId,
    target: Target,
    changes: u64,
}

/// All that was changed, sealed.
#[derive(Debug, Default)]
pub(in crate::mfs) struct Sealing {
    /// What is to be stored before anything links to it.
    pub(in crate::mfs) blocks: Vec<Block>,
    dirs: Vec<Sealed>,
}

impl Sealing {
    /// Where a directory leads that was sealed.
    pub(in crate::mfs) fn target(&self, dir: DirId) -> Option<Target> {
        self.dirs.iter().find(|sealed| sealed.dir == dir).map(|sealed| sealed.target)
    }
}

impl State {
    /// Seals all that was changed. `None` if blocks are missing.
    pub(in crate::mfs) fn seal(&mut self, loads: &mut Loads) -> Result<Option<Sealing>> {
        let mut sealing = Sealing::default();
        let mut whole = true;
        let changed = self.open_dirs(|dir| dir.changes > 0);
        for id in changed.into_iter().rev() {
            let dir = self.dir(id)?;
            let (parent, changes) = (dir.parent.clone(), dir.changes);
            // What is missing below says nothing of what is missing here.
            let target = dir.content.seal(&mut sealing.blocks)?;
            sealing.dirs.push(Sealed { dir: id, target, changes });
            if let Some((parent, name)) = parent {
                whole &= self.content(parent)?.insert(loads, &name, target)?.is_some();
            }
        }
        Ok(whole.then_some(sealing))
    }

    /// Directories that are open, each before those below it; below one that does not count, none
    /// does.
    fn open_dirs(&self, counts: impl Fn(&super::Dir) -> bool) -> Vec<DirId> {
        let mut found = vec![self.root];
        let mut at = 0;
        while let Some(id) = found.get(at) {
            if let Some(dir) = self.dirs.get(id) {
                found.extend(dir.dirs.values().filter(|id| self.dirs.get(id).is_some_and(&counts)));
            }
            at += 1;
        }
        found.retain(|id| self.dirs.get(id).is_some_and(&counts));
        found
    }

    /// What was sealed is stored. What was not changed since, and is not in use, is closed.
    pub(in crate::mfs) fn settle(&mut self, sealing: Sealing) {
        for Sealed { dir, target, changes } in sealing.dirs {
            if let Some(dir) = self.dirs.get_mut(&dir)
                && dir.changes == changes
            {
                dir.changes = 0;
                dir.content.settle(target);
            }
        }
        for id in self.open_dirs(|_| true).into_iter().rev() {
            if let Some(dir) = self.dirs.get(&id)
                && dir.changes == 0
                && dir.dirs.is_empty()
                && dir.files.is_empty()
                && let Some((parent, name)) = dir.parent.clone()
            {
                self.dirs.remove(&id);
                if let Some(parent) = self.dirs.get_mut(&parent) {
                    parent.dirs.remove(&name);
                }
            }
        }
    }

    /// The root that was sealed is where the tree is found again.
    pub(in crate::mfs) const fn set_flushed(&mut self, root: Cid) {
        self.flushed = root;
    }

    /// How many directories are open.
    pub(in crate::mfs) fn open_count(&self) -> usize {
        self.dirs.len()
    }
}
