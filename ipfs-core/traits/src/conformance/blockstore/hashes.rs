//! Blocks are known by their multihashes, whatever function made these.

use super::super::{Numbers, Promise, Verdict, all, check, same};
use crate::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, Prefix, Result, codes,
};

pub(super) async fn by_multihash(store: &impl Blockstore) -> Verdict {
    let rule = "a block is known by its multihash and given under the CID asked for";
    let hashes = HashTable::standard();
    let v0 = Block::with_prefix(&Prefix::v0(), "both", &hashes).promised(rule)?;
    let v1 = Cid::new_v1(codes::DAG_PB, *v0.hash());
    let raw = Cid::new_v1(codes::RAW, *v0.hash());
    store.put(v0.clone()).await.promised(rule)?;
    let found = store.get_many(&[v1, *v0.cid(), raw]).await;
    for (cid, found) in [v1, *v0.cid(), raw].into_iter().zip(found) {
        let expected = Some(Block::trusted(cid, v0.data().clone()));
        same(found.promised(rule)?, expected, rule)?;
    }
    store.delete(&raw).await.promised(rule)?;
    same(store.has(v0.cid()).await.promised(rule)?, false, rule)?;
    same(all(store.list()).await.promised(rule)?.concat(), Vec::new(), rule)?;
    versions_in_a_batch(store, &Block::trusted(v1, v0.data().clone()), &v0).await
}

/// Both CIDs of one block in the same batch.
async fn versions_in_a_batch(store: &impl Blockstore, v1: &Block, v0: &Block) -> Verdict {
    let rule = "the versions of a CID are one block in a batch too";
    let entry = (*v0.hash(), v0.len() as u64);
    for flush in [false, true] {
        store.put_many(&[v1.clone(), v0.clone()]).await.promised(rule)?;
        if flush {
            store.flush().await.promised(rule)?;
        }
        same(all(store.list()).await.promised(rule)?.concat(), vec![entry], rule)?;
        if let Some(usage) = store.usage().await.promised(rule)? {
            same(usage.bytes, entry.1, rule)?;
        }
        let sizes = store.sizes(&[*v1.cid(), *v0.cid()]).await.promised(rule)?;
        same(sizes, vec![Some(entry.1); 2], rule)?;
        store.delete_many(&[*v0.cid(), *v1.cid()]).await.promised(rule)?;
        same(store.has(v1.cid()).await.promised(rule)?, false, rule)?;
        same(all(store.list()).await.promised(rule)?.concat(), Vec::new(), rule)?;
    }
    Ok(())
}

/// Blocks of functions that everybody knows, and of some that nobody does.
pub(super) async fn hash_functions(store: &impl Blockstore) -> Verdict {
    let rule = "blocks of every allowed hash function are taken";
    let mut taken = allowed().promised(rule)?;
    for block in &taken {
        store.put(block.clone()).await.promised(rule)?;
    }
    let rule = "a block is taken whatever its hash function, or refused as of an unknown one";
    for block in unknown() {
        match store.put(block.clone()).await {
            Ok(()) => taken.push(block),
            Err(Error::UnknownHash(_)) => {
                let stored = store.has(block.cid()).await.promised(rule)?;
                check(!stored, rule, || format!("{} was refused and is there", block.cid()))?;
            }
            refused => {
                check(false, rule, || format!("{:?}: {refused:?}", block.cid()))?;
            }
        }
    }
    let rule = "what was taken is given back, whatever its hash function";
    for flush in [false, true] {
        if flush {
            store.flush().await.promised(rule)?;
        }
        let cids: Vec<Cid> = taken.iter().map(|block| *block.cid()).collect();
        for (found, block) in store.get_many(&cids).await.into_iter().zip(&taken) {
            same(found.promised(rule)?.as_ref(), Some(block), rule)?;
        }
        let listed = all(store.list()).await.promised(rule)?.concat();
        let missing = |block: &&Block| !listed.contains(&(*block.hash(), block.len() as u64));
        // Those that their CIDs hold need not be stored.
        let stored = taken.iter().filter(|block| Block::inline(block.cid()).is_none());
        same(stored.clone().find(missing), None, rule)?;
        same(stored.count() <= listed.len() && listed.len() <= taken.len(), true, rule)?;
    }
    deleted(store, &taken).await
}

async fn deleted(store: &impl Blockstore, taken: &[Block]) -> Verdict {
    let rule = "a delete takes the block of that hash function alone";
    let stored = taken.iter().filter(|block| Block::inline(block.cid()).is_none());
    for (i, block) in stored.clone().enumerate() {
        store.delete(block.cid()).await.promised(rule)?;
        let cids: Vec<Cid> = stored.clone().map(|block| *block.cid()).collect();
        let sizes = store.sizes(&cids).await.promised(rule)?;
        let expected = stored.clone().enumerate();
        let expected = expected.map(|(j, block)| (j > i).then_some(block.len() as u64));
        same(sizes, expected.collect(), rule)?;
    }
    Ok(())
}

/// Digests of 20, 32 and 64 bytes, and such as hold their block.
fn allowed() -> Result<Vec<Block>> {
    let (mut numbers, hashes) = (Numbers(60), HashTable::standard());
    let functions = [codes::SHA1, codes::SHA2_256, codes::SHA2_512, codes::IDENTITY];
    let mut blocks: Vec<Block> = Vec::new();
    for function in functions {
        blocks.push(Block::of(codes::RAW, function, numbers.bytes(50), &hashes)?);
    }
    blocks.push(Block::of(codes::RAW, codes::IDENTITY, "", &hashes)?);
    Ok(blocks)
}

/// Functions of nobody's and of old, with digests of all lengths. Two differ in the function alone.
fn unknown() -> Vec<Block> {
    const PRIVATE: u64 = 0x30_0001;
    const MD5: u64 = 0xd5;
    let mut numbers = Numbers(61);
    let digest = numbers.bytes(64);
    [(PRIVATE, 32), (PRIVATE + 1, 32), (PRIVATE, 64), (PRIVATE, 20), (MD5, 16), (PRIVATE, 0)]
        .map(|(function, len)| {
            let hash: Multihash =
                Multihash::wrap(function, &digest[..len]).expect("64 bytes at the most");
            let data = numbers.bytes(10 + len);
            Block::trusted(Cid::new_v1(codes::RAW, hash), data.into())
        })
        .to_vec()
}
