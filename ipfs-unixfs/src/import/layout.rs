//! The tree above the leaves of a file, in the layout that was asked for.

use ipfs_traits::{Block, Result};

use super::balanced::Balanced;
use crate::{
    Layout, Params,
    attributes::Attributes,
    child::{Child, Sealer},
    data::Kind,
};

/// A tree that grows with its leaves.
#[derive(Debug)]
pub(super) enum Growing<'a> {
    Balanced(Balanced<'a>),
}

impl<'a> Growing<'a> {
    pub(super) const fn new(params: &'a Params, sealer: &'a Sealer) -> Self {
        match params.layout {
            Layout::Balanced => Self::Balanced(Balanced::new(params, sealer)),
        }
    }

    /// What a leaf says that it is, where it is no raw block.
    pub(super) const fn leaf_kind(layout: Layout) -> Kind {
        match layout {
            Layout::Balanced => Kind::File,
        }
    }

    /// Whether a file of one leaf is that leaf.
    pub(super) const fn one_is_all(layout: Layout) -> bool {
        match layout {
            Layout::Balanced => true,
        }
    }

    /// Adds the next leaf; nodes that become whole are put into `out`.
    pub(super) fn push(&mut self, leaf: Child, out: &mut Vec<Block>) -> Result<()> {
        match self {
            Self::Balanced(tree) => tree.push(leaf, out),
        }
    }

    /// The root, which states `attributes` unless it is a leaf, `None` if there was no leaf; the
    /// nodes still missing are put into `out`.
    pub(super) fn finish(
        self,
        attributes: Attributes,
        out: &mut Vec<Block>,
    ) -> Result<Option<Child>> {
        match self {
            Self::Balanced(tree) => tree.finish(attributes, out),
        }
    }
}
