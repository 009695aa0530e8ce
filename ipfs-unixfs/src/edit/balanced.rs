//! Growing and shrinking as if the file had been imported.

use bytes::{Bytes, BytesMut};
use ipfs_traits::{Error, Result};

use super::{FileEditor, overwrite::check_depth, part::Part};
use crate::{attributes::Attributes, child::Child, import::cut::Cutting, layout::Balanced};

/// Zeros that are appended at once.
const ZEROS: u64 = 4 << 20;

/// The way down to where a file goes on: what stands before it, and the content of the leaf there.
struct Way {
    /// The children before it at each level, those of the root first.
    before: Vec<Vec<Child>>,
    leaf: Part,
}

impl FileEditor {
    pub(super) async fn append_balanced(&mut self, data: Bytes) -> Result<()> {
        let way = self.way(None).await?;
        let end = way.leaf.content.clone().unwrap_or_default();
        self.go_on(way, end, data).await
    }

    pub(super) async fn zeros_balanced(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let now = count.min(ZEROS);
            self.append_balanced(BytesMut::zeroed(now as usize).freeze()).await?;
            count -= now;
        }
        Ok(())
    }

    pub(super) async fn cut_balanced(&mut self, size: u64) -> Result<()> {
        let way = self.way(Some(size)).await?;
        let before: u64 = way.before.iter().flatten().map(|child| child.size).sum();
        let content = way.leaf.content.clone().unwrap_or_default();
        // The leaf has the byte at `size`.
        let end = content.slice(..(size - before) as usize);
        self.go_on(way, end, Bytes::new()).await
    }

    /// The way to the last leaf, or to the one in which the byte at an offset stands.
    async fn way(&self, offset: Option<u64>) -> Result<Way> {
        let mut offset = offset;
        let mut before = Vec::new();
        let mut part = self.root().await?;
        while !part.is_leaf() {
            check_depth(before.len())?;
            if part.own() > 0 {
                return Err(Error::unsupported("changing a file that has content beside links"));
            }
            let (at, within) = match offset {
                None => (part.children.len() - 1, None),
                Some(offset) => match part.child_at(offset) {
                    Some((at, within)) => (at, Some(within)),
                    None => (part.children.len() - 1, None),
                },
            };
            let child = part.children[at];
            part.children.truncate(at);
            before.push(part.children);
            offset = within;
            part = self.part(&child).await?;
        }
        Ok(Way { before, leaf: part })
    }

    /// The file of what stands before a leaf, and then this content.
    async fn go_on(&mut self, way: Way, end: Bytes, data: Bytes) -> Result<()> {
        let attributes = self.root().await?.attributes;
        let content = match end.is_empty() {
            true => data,
            false => [&end[..], &data].concat().into(),
        };
        let levels: Vec<Vec<Child>> = way.before.into_iter().rev().collect();
        let any_before = levels.iter().any(|level| !level.is_empty());
        let mut pieces = Cutting::whole(&self.params.chunker, content)?;
        if pieces.is_empty() && !any_before {
            pieces.push(Bytes::new());
        }
        let leaves = self.leaves(pieces, self.params.raw_leaves).await?;
        let sealer = self.sealer.clone();
        let mut tree = Balanced::resume(self.params.max_links, &sealer, levels);
        let mut blocks = Vec::new();
        let is_one = leaves.len() == 1 && !any_before;
        for (block, leaf) in leaves {
            blocks.push(block);
            tree.push(leaf, &mut blocks)?;
        }
        let root = tree.finish(attributes, &mut blocks)?;
        let mut root = root.ok_or(Error::Closed("the file"))?;
        if is_one && attributes != Attributes::NONE {
            let leaf = Part::parse(&blocks[0])?.with_attributes(attributes);
            let (block, child) = leaf.seal(&sealer)?;
            blocks = vec![block];
            root = child;
        }
        self.set_root(blocks, root).await
    }
}
