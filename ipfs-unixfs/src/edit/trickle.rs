//! Growing and shrinking as Kubo's mutable tree does it.
//!
//! What is appended goes where the tree seems to have been left, which is told from the number of
//! children of the nodes at its right edge. The steps are those of Kubo, also where they leave a
//! subtree unfilled: the CIDs depend on it.

use std::iter::Peekable;

use bytes::{Bytes, BytesMut};
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use ipfs_traits::{Block, Result, codes};

use super::{FileEditor, overwrite::check_depth, part::Part};
use crate::{
    attributes::Attributes,
    child::{Child, Sealer},
    import::cut::Cutting,
    layout::{REPEAT, Trickle},
};

/// Zeros that were never written are in leaves of so many bytes.
const ZERO_LEAF: u64 = 4096;

type Leaves<'a> = Peekable<Box<dyn Iterator<Item = Child> + Send + 'a>>;

/// How deep the next subtree of a node is, and how many of that depth it has: 0 when it has not all
/// of its leaves.
const fn place(part: &Part, max_links: usize) -> (u32, usize) {
    match part.children.len().checked_sub(max_links) {
        None => (0, 0),
        // A block of 2 MiB has not so many links that this matters.
        Some(subtrees) => ((subtrees / REPEAT) as u32 + 1, subtrees % REPEAT),
    }
}

impl FileEditor {
    pub(super) async fn append_trickle(&mut self, data: Bytes) -> Result<()> {
        let root = self.root().await?;
        let raw = self.params.raw_leaves || root.is_raw();
        let pieces = Cutting::whole(&self.params.chunker, data)?;
        let leaves = self.leaves(pieces, raw).await?;
        let (mut blocks, leaves): (Vec<Block>, Vec<Child>) = leaves.into_iter().unzip();
        let leaves: Box<dyn Iterator<Item = Child> + Send> = Box::new(leaves.into_iter());
        let child = self.attach(root, leaves.peekable(), &mut blocks).await?;
        self.set_root(blocks, child).await
    }

    pub(super) async fn zeros_trickle(&mut self, count: u64) -> Result<()> {
        let root = self.root().await?;
        let raw = self.params.raw_leaves || root.is_raw();
        let rest = (count % ZERO_LEAF) as usize;
        let whole = BytesMut::zeroed(ZERO_LEAF as usize).freeze();
        let made = self.leaves(vec![whole.clone(), whole.slice(..rest)], raw).await?;
        let ((block, leaf), (last_block, last)) = (made[0].clone(), made[1].clone());
        let mut blocks = Vec::new();
        if count >= ZERO_LEAF {
            blocks.push(block);
        }
        if rest > 0 {
            blocks.push(last_block);
        }
        // At most a million, which a call may let a file grow by.
        let leaves = std::iter::repeat_n(leaf, (count / ZERO_LEAF) as usize);
        let leaves: Box<dyn Iterator<Item = Child> + Send> =
            Box::new(leaves.chain((rest > 0).then_some(last)));
        let child = self.attach(root, leaves.peekable(), &mut blocks).await?;
        self.set_root(blocks, child).await
    }

    /// Adds leaves at the end of a file.
    async fn attach(
        &self,
        root: Part,
        mut leaves: Leaves<'_>,
        out: &mut Vec<Block>,
    ) -> Result<Child> {
        let mut root = match root.is_raw() {
            false => root,
            // A raw block has no links: it becomes the first leaf.
            true => Part::of(self.root.into_iter().collect()),
        };
        let most = self.params.max_links;
        let (mut depth, repeat) = place(&root, most);
        if depth == 0 {
            fill_layer(&mut root, most, &mut leaves);
            if leaves.peek().is_none() {
                return self.seal_root(&root, out);
            }
            depth = 1;
        }
        self.fill_last(&mut root, depth - 1, repeat, &mut leaves, 0, out).await?;
        if leaves.peek().is_some() {
            depth += 1;
        }
        while leaves.peek().is_some() {
            self.fill(&mut root, depth, 0, &mut leaves, out)?;
            depth += 1;
        }
        self.seal_root(&root, out)
    }

    fn seal_root(&self, root: &Part, out: &mut Vec<Block>) -> Result<Child> {
        let (block, child) = root.seal(&self.sealer)?;
        out.push(block);
        Ok(child)
    }

    /// Adds subtrees of one depth, from the one that comes next on.
    fn fill(
        &self,
        part: &mut Part,
        depth: u32,
        from: usize,
        leaves: &mut Leaves<'_>,
        out: &mut Vec<Block>,
    ) -> Result<()> {
        for _ in from..REPEAT {
            if leaves.peek().is_none() {
                return Ok(());
            }
            let mut subtree = Trickle::new(self.params.max_links, &self.sealer, Some(depth));
            while let Some(leaf) = leaves.peek()
                && subtree.push(*leaf, out)?
            {
                leaves.next();
            }
            part.children.push(subtree.finish(Attributes::NONE, out)?);
        }
        Ok(())
    }

    /// Fills the last subtree of a node, which may not be whole, and adds those of its depth.
    fn fill_last<'a>(
        &'a self,
        part: &'a mut Part,
        depth: u32,
        repeat: usize,
        leaves: &'a mut Leaves<'_>,
        level: usize,
        out: &'a mut Vec<Block>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            check_depth(level)?;
            if part.children.len() <= self.params.max_links {
                return Ok(());
            }
            // What is no subtree, as in files of another layout, is left as it is.
            if let Some(last) = part.children.last().copied()
                && last.cid.codec() == codes::DAG_PB
            {
                let old = self.part(&last).await?;
                let limit = depth.checked_sub(1);
                let new = self.fill_subtree(old, limit, leaves, level, &mut *out).await?;
                let sealer = Sealer::nodes(&self.params, &self.hashes).like(&last.cid)?;
                let (block, child) = new.seal(&sealer)?;
                out.push(block);
                part.children.pop();
                part.children.push(child);
            }
            if repeat > 0 {
                self.fill(part, depth, repeat, leaves, out)?;
            }
            Ok(())
        }
        .boxed()
    }

    /// Fills a subtree that is not to be deeper than `limit`; `None` is one less than 0.
    async fn fill_subtree(
        &self,
        mut part: Part,
        limit: Option<u32>,
        leaves: &mut Leaves<'_>,
        level: usize,
        out: &mut Vec<Block>,
    ) -> Result<Part> {
        if limit == Some(0) || leaves.peek().is_none() {
            return Ok(part);
        }
        let most = self.params.max_links;
        let (mut depth, repeat) = place(&part, most);
        if depth == 0 {
            fill_layer(&mut part, most, leaves);
            depth = 1;
        }
        if limit == Some(depth) {
            return Ok(part);
        }
        self.fill_last(&mut part, depth, repeat, leaves, level + 1, &mut *out).await?;
        if leaves.peek().is_some() {
            depth += 1;
        }
        while limit.is_some_and(|limit| depth < limit) && leaves.peek().is_some() {
            self.fill(&mut part, depth, 0, leaves, out)?;
            depth += 1;
        }
        Ok(part)
    }

    /// Cuts the file off. The leaf in which the end falls stays, empty if the end is before it.
    pub(super) async fn cut_trickle(&mut self, size: u64) -> Result<()> {
        let Some(root) = self.root else {
            return Ok(());
        };
        let mut blocks = Vec::new();
        let root = self.cut(root, size, 0, &mut blocks).await?;
        self.set_root(blocks, root).await
    }

    fn cut<'a>(
        &'a self,
        old: Child,
        size: u64,
        depth: usize,
        out: &'a mut Vec<Block>,
    ) -> BoxFuture<'a, Result<Child>> {
        async move {
            check_depth(depth)?;
            let mut part = self.part(&old).await?;
            match part.child_at(size) {
                Some((at, within)) => {
                    let child = part.children[at];
                    part.children.truncate(at);
                    part.children.push(self.cut(child, within, depth + 1, &mut *out).await?);
                }
                None => {
                    part.children.clear();
                    // Shorter than what is in memory.
                    part.content = part.content.map(|content| content.slice(..size as usize));
                }
            }
            let sealer = Sealer::nodes(&self.params, &self.hashes).like(&old.cid)?;
            let (block, child) = part.seal(&sealer)?;
            out.push(block);
            Ok(child)
        }
        .boxed()
    }

    /// A file of one raw leaf and nothing else is that leaf.
    pub(super) async fn as_leaf(&self, root: Child) -> Result<Child> {
        let part = self.part(&root).await?;
        Ok(match part.children[..] {
            [only]
                if only.cid.codec() == codes::RAW
                    && part.own() == 0
                    && part.attributes == Attributes::NONE =>
            {
                only
            }
            _ => root,
        })
    }
}

fn fill_layer(part: &mut Part, most: usize, leaves: &mut Leaves<'_>) {
    while part.children.len() < most
        && let Some(leaf) = leaves.next()
    {
        part.children.push(leaf);
    }
}
