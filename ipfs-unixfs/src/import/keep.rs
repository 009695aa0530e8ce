//! Where the blocks of an import go: into a store, nowhere, or where their bytes are already.

use std::sync::{Arc, atomic::Ordering};

use ipfs_traits::{Block, Blockstore, Error, Origin, Reference, ReferenceSink, Result, codes};

use super::Context;
use crate::Params;

/// What keeps blocks.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    pub(super) store: Arc<dyn Blockstore>,
    /// Takes leaves in the place of the store.
    pub(super) references: Option<Arc<dyn ReferenceSink>>,
    /// Whether nothing is kept.
    pub(super) only_hash: bool,
}

/// Blocks that are to be kept together.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    stored: Vec<Block>,
    references: Vec<Reference>,
}

impl Blocks {
    pub(super) fn len(&self) -> usize {
        self.stored.len() + self.references.len()
    }

    /// Adds a node, which goes into the store. One that is in its CID needs no place.
    pub(super) fn add(&mut self, block: Block) {
        if block.hash().code() != codes::IDENTITY {
            self.stored.push(block);
        }
    }

    /// Adds a leaf, whose bytes lie in `origin`, if that is told, from `offset` on. An empty one has
    /// no place there, and goes into the store.
    pub(super) fn add_leaf(&mut self, block: Block, origin: Option<&Origin>, offset: u64) {
        match origin {
            Some(origin) if !block.is_empty() && block.hash().code() != codes::IDENTITY => {
                self.references.push(Reference { block, origin: origin.clone(), offset });
            }
            _ => self.add(block),
        }
    }
}

impl From<Vec<Block>> for Blocks {
    /// Nodes.
    fn from(blocks: Vec<Block>) -> Self {
        let mut all = Self::default();
        blocks.into_iter().for_each(|block| all.add(block));
        all
    }
}

impl Keep {
    /// Whether the parameters allow it.
    pub(super) fn check(&self, params: &Params) -> Result<()> {
        if self.refers() && !params.leaves_are_raw() {
            let reason = "only raw leaves are found where their bytes are: no modes, no times";
            return Err(Error::invalid("raw_leaves", reason));
        }
        Ok(())
    }

    /// Whether leaves stay where they are.
    pub(super) const fn refers(&self) -> bool {
        self.references.is_some()
    }

    /// Where leaves are referred to, if they are.
    pub(super) fn origin(&self, origin: Option<Origin>) -> Result<Option<Origin>> {
        match (self.refers(), origin) {
            (false, _) => Ok(None),
            (true, Some(origin)) => Ok(Some(origin)),
            (true, None) => {
                let reason = "it lies neither in a file nor at a URL, and nothing can refer to it";
                Err(Error::invalid("content to refer to", reason))
            }
        }
    }
}

impl Context {
    /// Keeps blocks, and counts them.
    pub(super) async fn put(&self, blocks: Blocks) -> Result<()> {
        self.counters.blocks.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        let Keep { store, references, only_hash } = &self.keep;
        if *only_hash {
            return Ok(());
        }
        if let (Some(sink), false) = (references, blocks.references.is_empty()) {
            sink.put_references(&blocks.references).await?;
        }
        if !blocks.stored.is_empty() {
            store.put_many(&blocks.stored).await?;
        }
        Ok(())
    }
}
