//! Blocks that wait to be read, in bounded memory.

use std::sync::Arc;

use ipfs_traits::{Cid, Error, Result, parse_cid};

use super::{
    Follow,
    scratch::{Scratch, ScratchFile},
};

/// A block, and which of its links lead on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) cid: Cid,
    pub(crate) follow: Follow,
}

/// Blocks that wait to be read: those that came last are first. Beyond some, those that came first
/// go into files.
#[derive(Debug)]
pub(super) struct Stack {
    top: Vec<Item>,
    /// The lower ones, and how many bytes each file has.
    files: Vec<(ScratchFile, usize)>,
    most: usize,
    scratch: Option<Arc<Scratch>>,
}

/// Items that are kept in memory: 7 MB of them.
const IN_MEMORY: usize = 64 << 10;

impl Stack {
    pub(super) const fn new(scratch: Option<Arc<Scratch>>) -> Self {
        Self { top: Vec::new(), files: Vec::new(), most: IN_MEMORY, scratch }
    }

    pub(super) fn push(&mut self, item: Item) -> Result<()> {
        self.top.push(item);
        if self.top.len() <= self.most {
            return Ok(());
        }
        let Some(scratch) = &self.scratch else { return Ok(()) };
        let bytes = encode(self.top.drain(..self.most / 2));
        let file = scratch.file()?;
        file.write_at(&bytes, 0)?;
        self.files.push((file, bytes.len()));
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.top.is_empty() && self.files.is_empty()
    }

    /// How many there are in memory.
    pub(super) const fn len(&self) -> usize {
        self.top.len()
    }

    /// The next few, if there are any.
    pub(super) fn pop(&mut self, count: usize) -> Result<Vec<Item>> {
        if self.top.is_empty()
            && let Some((file, len)) = self.files.pop()
        {
            let mut bytes = vec![0; len];
            file.read_at(&mut bytes, 0)?;
            self.top = decode(&bytes)?;
        }
        Ok(self.top.split_off(self.top.len().saturating_sub(count)))
    }
}

fn encode(items: impl Iterator<Item = Item>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Item { cid, follow } in items {
        let cid = cid.to_bytes();
        // No CID has more bytes than a byte can say.
        bytes.extend([follow as u8, cid.len() as u8]);
        bytes.extend(cid);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    while let [follow, len, rest @ ..] = bytes {
        let damaged = || Error::malformed("file of waiting blocks", "it was changed");
        let (cid, rest) = rest.split_at_checked(usize::from(*len)).ok_or_else(damaged)?;
        let follow = Follow::of(*follow).ok_or_else(damaged)?;
        items.push(Item { cid: parse_cid(cid)?, follow });
        bytes = rest;
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use ipfs_traits::{HashTable, Prefix, codes};

    use super::*;

    #[test]
    fn what_goes_to_files_comes_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Arc::new(Scratch::new(folder.path().join("scratch")));
        let (prefix, hashes) =
            (Prefix::v1(codes::DAG_CBOR, codes::SHA2_256), HashTable::standard());
        let item = |n: u32| Item {
            cid: prefix.cid(&n.to_le_bytes(), &hashes).unwrap(),
            follow: if n.is_multiple_of(2) { Follow::All } else { Follow::WithoutSubmodules },
        };
        let mut stack = Stack::new(Some(scratch));
        stack.most = 10;
        for n in 0..100 {
            stack.push(item(n)).unwrap();
            assert!(stack.top.len() <= 10);
        }
        let mut expected: Vec<Item> = (0..100).map(item).collect();
        while let Some(last) = expected.len().checked_sub(3) {
            let popped = stack.pop(3).unwrap();
            assert!(!popped.is_empty() && popped[..] == expected[expected.len() - popped.len()..]);
            expected.truncate(expected.len() - popped.len());
            assert!(expected.len() >= last);
        }
        assert_eq!(stack.pop(3).unwrap(), expected);
        assert_eq!(stack.pop(3).unwrap(), []);
        assert_eq!(std::fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
    }
}
