//! A directory that has all its entries.

use ipfs_traits::{Result, RuntimeExt};

use super::{Context, add, keep::Blocks};
use crate::{Name, attributes::Attributes, child::Child, data::Kind, directory::NewDirectory};

/// Entries from which on it takes so long to make a directory that it is done elsewhere.
const MANY: usize = 1024;

impl Context {
    /// Makes the directory of these entries, of which `found` is known. Its blocks are stored, or
    /// wait in `pending`.
    pub(super) async fn directory(
        &self,
        entries: Vec<(Name, Child)>,
        found: Attributes,
        pending: &mut Blocks,
    ) -> Result<Child> {
        add(&self.counters.directories, 1);
        let attributes = Attributes::of(&self.params, Kind::Directory, found);
        if entries.len() < MANY {
            let mut directory = NewDirectory::new(&self.params, &self.hashes, entries, attributes)?;
            loop {
                let (blocks, root) = directory.step()?;
                blocks.into_iter().for_each(|block| pending.add(block));
                if let Some(root) = root {
                    return Ok(root);
                }
            }
        }
        let context = self.clone();
        let new = move || NewDirectory::new(&context.params, &context.hashes, entries, attributes);
        let mut directory = self.runtime.blocking(new).await??;
        loop {
            let step = move || directory.step().map(|done| (done, directory));
            let ((blocks, root), rest) = self.runtime.blocking(step).await??;
            self.put(blocks.into()).await?;
            if let Some(root) = root {
                return Ok(root);
            }
            directory = rest;
        }
    }
}
