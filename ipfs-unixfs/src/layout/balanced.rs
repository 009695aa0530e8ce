//! The balanced layout: all leaves at one depth, nodes filled from the left.

use ipfs_traits::{Block, Result};

use super::node;
use crate::{
    attributes::Attributes,
    child::{Child, Sealer},
};

/// Builds the tree above leaves that come one after the other. It holds at most one node of links
/// for each level.
#[derive(Debug)]
pub(crate) struct Balanced<'a> {
    max_links: usize,
    sealer: &'a Sealer,
    /// Children that have no parent yet, the leaves first. A level is never full for long.
    levels: Vec<Vec<Child>>,
}

impl<'a> Balanced<'a> {
    pub(crate) const fn new(max_links: usize, sealer: &'a Sealer) -> Self {
        Self { max_links, sealer, levels: Vec::new() }
    }

    /// A tree that goes on where another one ends: `levels` are the children, the leaves first, that
    /// stand in the last node of each level before the one that goes on.
    pub(crate) fn resume(
        max_links: usize,
        sealer: &'a Sealer,
        mut levels: Vec<Vec<Child>>,
    ) -> Self {
        // A level above which nothing stands, and which has nothing, is not there.
        while levels.pop_if(|level| level.is_empty()).is_some() {}
        Self { max_links, sealer, levels }
    }

    /// Adds the next leaf; nodes that become whole are put into `out`.
    pub(crate) fn push(&mut self, leaf: Child, out: &mut Vec<Block>) -> Result<()> {
        self.push_at(0, leaf, out)
    }

    fn push_at(&mut self, level: usize, child: Child, out: &mut Vec<Block>) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        if self.levels[level].len() == self.max_links {
            let full = std::mem::take(&mut self.levels[level]);
            let parent = node(self.sealer, &full, Attributes::NONE, out)?;
            self.push_at(level + 1, parent, out)?;
        }
        self.levels[level].push(child);
        Ok(())
    }

    /// The root, which states `attributes` unless it is a leaf, `None` if there was no leaf; the
    /// nodes still missing are put into `out`.
    pub(crate) fn finish(
        mut self,
        attributes: Attributes,
        out: &mut Vec<Block>,
    ) -> Result<Option<Child>> {
        let mut level = 0;
        while level < self.levels.len() {
            let children = std::mem::take(&mut self.levels[level]);
            let is_top = level + 1 == self.levels.len();
            match &children[..] {
                [] => {}
                [only] if is_top => return Ok(Some(*only)),
                children if is_top => {
                    return node(self.sealer, children, attributes, out).map(Some);
                }
                children => {
                    let parent = node(self.sealer, children, Attributes::NONE, out)?;
                    self.push_at(level + 1, parent, out)?;
                }
            }
            level += 1;
        }
        Ok(None)
    }
}
