//! The trickle layout: leaves first, then subtrees, each four as deep as one another, and then
//! deeper.

use ipfs_traits::{Block, Result};

use super::node;
use crate::{
    attributes::Attributes,
    child::{Child, Sealer},
};

/// How many subtrees there are of each depth.
pub(crate) const REPEAT: usize = 4;

/// Builds the tree above leaves that come one after the other. It holds the nodes on the way to the
/// next leaf.
#[derive(Debug)]
pub(crate) struct Trickle<'a> {
    max_links: usize,
    sealer: &'a Sealer,
    /// The nodes that are not whole yet, the root first.
    open: Vec<Open>,
}

/// A node that is not whole yet.
#[derive(Debug)]
struct Open {
    children: Vec<Child>,
    /// Its subtrees are not so deep; without it they grow for ever.
    limit: Option<u32>,
    /// How deep the next subtree is, and how many there are of that depth.
    depth: u32,
    repeat: usize,
}

impl Open {
    const fn new(limit: Option<u32>) -> Self {
        Self { children: Vec::new(), limit, depth: 1, repeat: 0 }
    }
}

impl<'a> Trickle<'a> {
    /// A tree whose subtrees are not as deep as `limit`: one of 1 or less has leaves alone.
    pub(crate) fn new(max_links: usize, sealer: &'a Sealer, limit: Option<u32>) -> Self {
        Self { max_links, sealer, open: vec![Open::new(limit)] }
    }

    /// Adds the next leaf, and says whether there was room; nodes that become whole are put into
    /// `out`.
    pub(crate) fn push(&mut self, leaf: Child, out: &mut Vec<Block>) -> Result<bool> {
        while self.make_room(out)? {
            if let Some(open) = self.open.last_mut()
                && open.children.len() < self.max_links
            {
                open.children.push(leaf);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes a step towards a node with room for a leaf; `false` when there is none.
    fn make_room(&mut self, out: &mut Vec<Block>) -> Result<bool> {
        let is_root = self.open.len() == 1;
        let Some(open) = self.open.last() else {
            return Ok(false);
        };
        if open.children.len() < self.max_links {
            return Ok(true);
        }
        let depth = open.depth;
        match open.limit {
            Some(limit) if depth >= limit && is_root => return Ok(false),
            Some(limit) if depth >= limit => self.close(Attributes::NONE, out).map(drop)?,
            _ => self.open.push(Open::new(Some(depth))),
        }
        Ok(true)
    }

    /// Makes the innermost node, and adds it to the one above.
    fn close(&mut self, attributes: Attributes, out: &mut Vec<Block>) -> Result<Option<Child>> {
        let Some(open) = self.open.pop() else {
            return Ok(None);
        };
        let child = node(self.sealer, &open.children, attributes, out)?;
        let Some(parent) = self.open.last_mut() else {
            return Ok(Some(child));
        };
        parent.children.push(child);
        parent.repeat += 1;
        if parent.repeat == REPEAT {
            parent.depth += 1;
            parent.repeat = 0;
        }
        Ok(None)
    }

    /// The root, which states `attributes`; the nodes still missing are put into `out`.
    pub(crate) fn finish(mut self, attributes: Attributes, out: &mut Vec<Block>) -> Result<Child> {
        loop {
            let of_root = if self.open.len() == 1 { attributes } else { Attributes::NONE };
            if let Some(root) = self.close(of_root, out)? {
                return Ok(root);
            }
        }
    }
}
