//! Reading blocks of the store, and hashing what is read.

use ipfs_traits::{Block, Blockstore, Cid, Error, HashTable, Result, RuntimeExt};

use crate::Node;

/// What is so of a block in the store.
pub(super) enum Condition {
    /// It is whole, and has so many bytes.
    Whole(u64),
    /// It is not there, or no longer.
    Absent,
    /// Its bytes do not hash to it.
    Damaged,
    /// It cannot be read, or not be hashed.
    Unknown(Error),
}

/// Looks at blocks, in their order, below the guard: that they are looked at keeps no garbage.
///
/// # Errors
///
/// [`Error::Closed`].
pub(super) async fn look(node: &Node, cids: Vec<Cid>) -> Result<Vec<(Cid, Condition)>> {
    let found = node.guarded().bare().get_many(&cids).await;
    let hashes = node.hashes().clone();
    let check = move || std::iter::zip(cids, check(found, &hashes)).collect::<Vec<_>>();
    let looked = node.runtime().blocking(check).await?;
    let closed = looked.iter().find_map(|(_, condition)| match condition {
        Condition::Unknown(error @ Error::Closed(_)) => Some(error.clone()),
        _ => None,
    });
    closed.map_or(Ok(looked), Err)
}

fn check(found: Vec<Result<Option<Block>>>, hashes: &HashTable) -> Vec<Condition> {
    let read = found.iter().filter_map(|found| found.as_ref().ok()?.clone());
    let verified = Block::verify_many(read.map(Block::into_parts).collect(), hashes);
    let mut verified = verified.into_iter();
    let condition = |found: Result<Option<Block>>| match found.transpose() {
        None => Condition::Absent,
        Some(read) => match read.and_then(|block| verified.next().unwrap_or(Ok(block))) {
            Ok(block) => Condition::Whole(block.len() as u64),
            Err(Error::Corrupt(_)) => Condition::Damaged,
            Err(error) => Condition::Unknown(error),
        },
    };
    found.into_iter().map(condition).collect()
}
