//! A directory that has all its entries.

use ipfs_traits::{Block, Result, RuntimeExt};

use super::{Context, add};
use crate::{Name, child::Child, data::Mtime, directory::NewDirectory};

/// Entries from which on it takes so long to make a directory that it is done elsewhere.
const MANY: usize = 1024;

impl Context {
    /// Makes the directory of these entries. Its blocks are stored, or wait in `pending`.
    pub(super) async fn directory(
        &self,
        entries: Vec<(Name, Child)>,
        stat: (Option<u32>, Option<Mtime>),
        pending: &mut Vec<Block>,
    ) -> Result<Child> {
        add(&self.counters.directories, 1);
        if entries.len() < MANY {
            let mut directory = NewDirectory::new(&self.params, &self.hashes, entries, stat)?;
            loop {
                let (blocks, root) = directory.step()?;
                pending.extend(blocks);
                if let Some(root) = root {
                    return Ok(root);
                }
            }
        }
        let context = self.clone();
        let new = move || NewDirectory::new(&context.params, &context.hashes, entries, stat);
        let mut directory = self.runtime.blocking(new).await??;
        loop {
            let step = move || directory.step().map(|done| (done, directory));
            let ((blocks, root), rest) = self.runtime.blocking(step).await??;
            self.put(&blocks).await?;
            if let Some(root) = root {
                return Ok(root);
            }
            directory = rest;
        }
    }
}
