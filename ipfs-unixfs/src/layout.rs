//! The tree above the leaves of a file, in the layout that was asked for.

mod balanced;
mod trickle;

use ipfs_traits::{Block, Result};

pub(crate) use self::{
    balanced::Balanced,
    trickle::{REPEAT, Trickle},
};
use crate::{
    Layout, Params,
    attributes::Attributes,
    child::{Child, Sealer},
    dagpb,
    data::{Kind, NewData},
};

/// A tree that grows with its leaves.
#[derive(Debug)]
pub(crate) enum Growing<'a> {
    Balanced(Balanced<'a>),
    Trickle(Trickle<'a>),
}

impl<'a> Growing<'a> {
    pub(crate) fn new(params: &Params, sealer: &'a Sealer) -> Self {
        match params.layout {
            Layout::Balanced => Self::Balanced(Balanced::new(params.max_links, sealer)),
            Layout::Trickle => Self::Trickle(Trickle::new(params.max_links, sealer, None)),
        }
    }

    /// What a leaf says that it is, where it is no raw block.
    pub(crate) const fn leaf_kind(layout: Layout) -> Kind {
        match layout {
            Layout::Balanced => Kind::File,
            Layout::Trickle => Kind::Raw,
        }
    }

    /// Whether a file of one leaf is that leaf.
    pub(crate) const fn one_is_all(layout: Layout) -> bool {
        match layout {
            Layout::Balanced => true,
            Layout::Trickle => false,
        }
    }

    /// Adds the next leaf; nodes that become whole are put into `out`.
    pub(crate) fn push(&mut self, leaf: Child, out: &mut Vec<Block>) -> Result<()> {
        match self {
            Self::Balanced(tree) => tree.push(leaf, out),
            Self::Trickle(tree) => tree.push(leaf, out).map(drop),
        }
    }

    /// The root, which states `attributes` unless it is a leaf, `None` if there was no leaf and the
    /// layout has no node without; the nodes still missing are put into `out`.
    pub(crate) fn finish(
        self,
        attributes: Attributes,
        out: &mut Vec<Block>,
    ) -> Result<Option<Child>> {
        match self {
            Self::Balanced(tree) => tree.finish(attributes, out),
            Self::Trickle(tree) => tree.finish(attributes, out).map(Some),
        }
    }
}

/// A node of a file with these children and no content of its own.
fn node(
    sealer: &Sealer,
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
    let (block, node) = sealer.seal(bytes, size, below)?;
    out.push(block);
    Ok(node)
}
