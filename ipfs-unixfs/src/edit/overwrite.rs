//! Writing over what is there: leaves are replaced, and the nodes above them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use ipfs_traits::{Block, Error, Result};

use super::{FileEditor, part::Part};
use crate::child::{Child, Sealer};

/// How deep a file may be that is changed: balanced trees of the largest files are not so deep with
/// two links a node.
pub(super) const MAX_DEPTH: usize = 64;

pub(super) fn check_depth(depth: usize) -> Result<()> {
    match depth < MAX_DEPTH {
        true => Ok(()),
        false => Err(Error::limit("levels of a file", MAX_DEPTH, depth + 1)),
    }
}

impl FileEditor {
    /// Writes over bytes from `start` on, all of which are there.
    pub(super) async fn overwrite(&mut self, start: u64, data: Bytes) -> Result<()> {
        let Some(root) = self.root else {
            return Ok(());
        };
        let mut blocks = Vec::new();
        let root = self.over(root, start, data, 0, &mut blocks).await?;
        self.set_root(blocks, root).await
    }

    /// Writes over bytes of a part; what takes its place.
    fn over<'a>(
        &'a self,
        old: Child,
        start: u64,
        data: Bytes,
        depth: usize,
        out: &'a mut Vec<Block>,
    ) -> BoxFuture<'a, Result<Child>> {
        async move {
            check_depth(depth)?;
            let mut part = self.part(&old).await?;
            let wanted = start..start + data.len() as u64;
            let own = 0..part.own();
            if let Some((within, of_data)) = overlap(&own, &wanted) {
                part.content = part.content.map(|content| patch(&content, within, &data[of_data]));
            }
            let mut from = own.end;
            for at in 0..part.children.len() {
                let child = part.children[at];
                let range = from..from + child.size;
                from = range.end;
                if let Some((within, of_data)) = overlap(&range, &wanted) {
                    let data = data.slice(of_data);
                    let start = within.start as u64;
                    let new = self.over(child, start, data, depth + 1, &mut *out).await?;
                    // As long as before, so that what stands above counts as many bytes.
                    part.children[at] = Child { tsize: child.tsize, ..new };
                }
            }
            let sealer = Sealer::nodes(&self.params, &self.hashes).like(&old.cid)?;
            let (block, new) = part.seal(&sealer)?;
            out.push(block);
            Ok(new)
        }
        .boxed()
    }
}

/// What two ranges share: within the first, and within the second.
fn overlap(range: &Range<u64>, wanted: &Range<u64>) -> Option<(Range<usize>, Range<usize>)> {
    let (start, end) = (range.start.max(wanted.start), range.end.min(wanted.end));
    let within = |of: &Range<u64>| -> Option<Range<usize>> {
        let to = |at: u64| usize::try_from(at - of.start).ok();
        Some(to(start)?..to(end)?)
    };
    (start < end).then(|| Some((within(range)?, within(wanted)?))).flatten()
}

fn patch(content: &Bytes, range: Range<usize>, data: &[u8]) -> Bytes {
    let mut new = BytesMut::from(&content[..]);
    new[range].copy_from_slice(data);
    new.freeze()
}

impl Part {
    /// The child in which the byte at `offset` stands, and where in it.
    pub(super) fn child_at(&self, offset: u64) -> Option<(usize, u64)> {
        let mut from = self.own();
        if offset < from {
            return None;
        }
        self.children.iter().enumerate().find_map(|(at, child)| {
            let start = from;
            from += child.size;
            (offset < from).then(|| (at, offset - start))
        })
    }
}
