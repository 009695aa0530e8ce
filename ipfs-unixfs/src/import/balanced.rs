//! The balanced layout: all leaves at one depth, nodes filled from the left.

use ipfs_traits::{Block, Result};

use crate::{
    Params,
    attributes::Attributes,
    child::{Child, Sealer},
    dagpb,
    data::{Kind, NewData},
};

/// Builds the tree above leaves that come one after the other. It holds at most one node of links
/// for each level.
#[derive(Debug)]
pub(super) struct Balanced<'a> {
    params: &'a Params,
    sealer: &'a Sealer,
    /// Children that have no parent yet, the leaves first. A level is never full for long.
    levels: Vec<Vec<Child>>,
}

impl<'a> Balanced<'a> {
    pub(super) const fn new(params: &'a Params, sealer: &'a Sealer) -> Self {
        Self { params, sealer, levels: Vec::new() }
    }

    /// Adds the next leaf; nodes that become whole are put into `out`.
    pub(super) fn push(&mut self, leaf: Child, out: &mut Vec<Block>) -> Result<()> {
        self.push_at(0, leaf, out)
    }

    fn push_at(&mut self, level: usize, child: Child, out: &mut Vec<Block>) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        if self.levels[level].len() == self.params.max_links {
            let full = std::mem::take(&mut self.levels[level]);
            let parent = self.node(&full, Attributes::NONE, out)?;
            self.push_at(level + 1, parent, out)?;
        }
        self.levels[level].push(child);
        Ok(())
    }

    /// The root, which states `attributes` unless it is a leaf, `None` if there was no leaf; the
    /// nodes still missing are put into `out`.
    pub(super) fn finish(
        mut self,
        attributes: Attributes,
        out: &mut Vec<Block>,
    ) -> Result<Option<Child>> {
        let mut level = 0;
        while level < self.levels.len() {
            let children = std::mem::take(&mut self.levels[level]);
            let is_top = level + 1 == self.levels.len();
            match &children[..] {
                [only] if is_top => return Ok(Some(*only)),
                children if is_top => return self.node(children, attributes, out).map(Some),
                children => {
                    let parent = self.node(children, Attributes::NONE, out)?;
                    self.push_at(level + 1, parent, out)?;
                }
            }
            level += 1;
        }
        Ok(None)
    }

    /// A node with these children.
    fn node(
        &self,
        children: &[Child],
        attributes: Attributes,
        out: &mut Vec<Block>,
    ) -> Result<Child> {
        let size = children.iter().map(|child| child.size).sum();
        let block_sizes = children.iter().map(|child| child.size).collect();
        let data = NewData { file_size: Some(size), block_sizes, ..attributes.data(Kind::File) };
        let links = children.iter().map(|child| child.link(b""));
        let bytes = dagpb::encode(links, Some(&data.encode()));
        let below = children.iter().map(|child| child.tsize).sum();
        let (block, node) = self.sealer.seal(bytes, size, below)?;
        out.push(block);
        Ok(node)
    }
}
