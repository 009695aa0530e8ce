//! What a [`Blockstore`] promises.

mod at_once;
mod cancel;
mod hashes;
mod reopen;

use std::{collections::BTreeMap, future::Future};

pub use self::reopen::blockstore_reopen;
use super::{Numbers, Promise, Verdict, all, check, same};
use crate::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, Result, codes, limits,
};

/// Checks a [`Blockstore`]; `make` gives a new, empty one each time.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn blockstore<S, F>(make: impl Fn() -> F) -> Verdict
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    let fresh = || async { make().await.promised("a store can be made") };
    put_and_get(&fresh().await?).await?;
    hashes::by_multihash(&fresh().await?).await?;
    hashes::hash_functions(&fresh().await?).await?;
    delete(&fresh().await?).await?;
    batches(&fresh().await?).await?;
    listing(&fresh().await?).await?;
    at_once::flushes(&fresh().await?).await?;
    at_once::one_block(&fresh().await?).await?;
    at_once::side_by_side(&fresh().await?).await?;
    cancel::at_every_await(&fresh().await?).await?;
    random_work(&fresh().await?).await?;
    sizes_of_all_kinds(&fresh().await?).await
}

async fn put_and_get(store: &impl Blockstore) -> Verdict {
    let block = Numbers(1).block(100);
    let rule = "absence is no error";
    same(store.get(block.cid()).await.promised(rule)?, None, rule)?;
    same(store.size(block.cid()).await.promised(rule)?, None, rule)?;
    let rule = "a put that returned is seen, flushed or not";
    store.put(block.clone()).await.promised(rule)?;
    same(store.get(block.cid()).await.promised(rule)?, Some(block.clone()), rule)?;
    same(store.size(block.cid()).await.promised(rule)?, Some(100), "size without a read")?;
    let rule = "putting what is there changes nothing";
    store.put(block.clone()).await.promised(rule)?;
    same(store.get(block.cid()).await.promised(rule)?, Some(block.clone()), rule)?;
    let rule = "a flush keeps what was put";
    store.flush().await.promised(rule)?;
    same(store.get(block.cid()).await.promised(rule)?, Some(block.clone()), rule)?;
    store.put(block.clone()).await.promised(rule)?;
    store.flush().await.promised(rule)?;
    same(store.get(block.cid()).await.promised(rule)?, Some(block), rule)
}

async fn delete(store: &impl Blockstore) -> Verdict {
    let blocks = Numbers(2).blocks(4);
    let rule = "a delete that returned is seen, flushed or not";
    store.put_many(&blocks).await.promised(rule)?;
    store.delete(blocks[0].cid()).await.promised(rule)?;
    same(store.get(blocks[0].cid()).await.promised(rule)?, None, rule)?;
    store.flush().await.promised(rule)?;
    same(store.get(blocks[0].cid()).await.promised(rule)?, None, rule)?;
    same(store.has(blocks[1].cid()).await.promised(rule)?, true, "a delete takes no other block")?;
    store.delete(blocks[1].cid()).await.promised(rule)?;
    same(store.get(blocks[1].cid()).await.promised(rule)?, None, rule)?;
    let rule = "deleting what is absent is no error";
    store.delete(blocks[0].cid()).await.promised(rule)?;
    let rule = "what was deleted can be put again";
    store.put_many(&blocks[..2]).await.promised(rule)?;
    store.flush().await.promised(rule)?;
    for block in &blocks {
        same(store.get(block.cid()).await.promised(rule)?.as_ref(), Some(block), rule)?;
    }
    Ok(())
}

async fn batches(store: &impl Blockstore) -> Verdict {
    let mut numbers = Numbers(3);
    let (here, absent) = (numbers.blocks(50), numbers.blocks(50));
    let rule = "a batch is stored whole";
    store.put_many(&here).await.promised(rule)?;
    let rule = "answers come in the order asked";
    let cids: Vec<Cid> =
        here.iter().zip(&absent).rev().flat_map(|(a, b)| [*a.cid(), *b.cid(), *a.cid()]).collect();
    let expected: Vec<Option<&Block>> =
        here.iter().rev().flat_map(|a| [Some(a), None, Some(a)]).collect();
    let found = store.get_many(&cids).await;
    same(found.len(), cids.len(), rule)?;
    for (found, expected) in found.into_iter().zip(&expected) {
        same(found.promised(rule)?.as_ref(), *expected, rule)?;
    }
    let sizes = store.sizes(&cids).await.promised(rule)?;
    same(sizes, expected.iter().map(|b| b.map(|b| b.len() as u64)).collect(), rule)?;
    let rule = "an empty batch is no error";
    store.put_many(&[]).await.promised(rule)?;
    store.delete_many(&[]).await.promised(rule)?;
    same(store.sizes(&[]).await.promised(rule)?, Vec::new(), rule)?;
    same(store.get_many(&[]).await.len(), 0, rule)?;
    let rule = "a batch may name a block twice";
    store.put_many(&[absent[0].clone(), absent[0].clone()]).await.promised(rule)?;
    store.delete_many(&[*absent[0].cid(), *absent[0].cid()]).await.promised(rule)?;
    same(store.has(absent[0].cid()).await.promised(rule)?, false, rule)
}

async fn listing(store: &impl Blockstore) -> Verdict {
    let rule = "an empty store lists nothing";
    same(all(store.list()).await.promised(rule)?.concat(), Vec::new(), rule)?;
    let blocks = Numbers(4).blocks(3000);
    store.put_many(&blocks).await.promised("a batch is stored whole")?;
    let expected = expected_list(blocks.iter());
    let rule = "a listing has every block exactly once, with its size";
    for flush in [false, true] {
        if flush {
            store.flush().await.promised(rule)?;
        }
        let pages = all(store.list()).await.promised(rule)?;
        let longest = pages.iter().map(Vec::len).max().unwrap_or(0);
        check(longest <= MAX_PAGE, "pages are bounded", || format!("{longest} blocks in one"))?;
        let listed = pages.concat();
        same(listed.len(), expected.len(), rule)?;
        same(listed.into_iter().collect(), expected.clone(), rule)?;
    }
    if let Some(usage) = store.usage().await.promised("usage")? {
        let bytes: u64 = expected.values().sum();
        same(usage.bytes, bytes, "usage counts the bytes of the blocks")?;
        let count = usage.blocks.unwrap_or(expected.len() as u64);
        same(count, expected.len() as u64, "usage counts the blocks")?;
    }
    store.compact().await.promised("compacting")?;
    let listed: BTreeMap<_, _> =
        all(store.list()).await.promised(rule)?.concat().into_iter().collect();
    same(listed, expected, "compacting loses nothing")?;
    at_once::listing(store, &blocks).await
}

/// The most blocks in a page: 4 MiB of them in memory would surprise a caller.
const MAX_PAGE: usize = 2048;

fn expected_list<'a>(blocks: impl Iterator<Item = &'a Block>) -> BTreeMap<Multihash, u64> {
    blocks.map(|block| (*block.hash(), block.len() as u64)).collect()
}

async fn sizes_of_all_kinds(store: &impl Blockstore) -> Verdict {
    let mut numbers = Numbers(5);
    for len in [0, 1, 4095, 4096, limits::MAX_BLOCK, limits::MAX_STORED_BLOCK] {
        let rule = "blocks of 0 bytes to 64 MiB are taken";
        let block = match len {
            0..=4096 => numbers.block(len),
            _ => {
                Block::of(codes::RAW, codes::SHA2_256, vec![len as u8; len], &HashTable::standard())
                    .promised(rule)?
            }
        };
        store.put(block.clone()).await.promised(rule)?;
        same(store.size(block.cid()).await.promised(rule)?, Some(len as u64), rule)?;
        let found = store.get(block.cid()).await.promised(rule)?;
        check(found.as_ref() == Some(&block), rule, || format!("{len} bytes came back changed"))?;
    }
    let rule = "a block over 64 MiB is refused with a limit";
    let over = bytes::Bytes::from(vec![0; limits::MAX_STORED_BLOCK + 1]);
    let cid = *numbers.block(7).cid();
    let refused = store.put(Block::trusted(cid, over.clone())).await;
    check(matches!(refused, Err(Error::Limit { .. })), rule, || format!("{refused:?}"))?;
    same(store.has(&cid).await.promised(rule)?, false, rule)?;
    in_a_batch(store, Block::trusted(cid, over)).await
}

/// A block that is too large, among others.
async fn in_a_batch(store: &impl Blockstore, over: Block) -> Verdict {
    let rule = "a batch with a block over 64 MiB is refused with a limit";
    let cid = *over.cid();
    let blocks = Numbers(8).blocks(2);
    let batch = [blocks[0].clone(), over, blocks[1].clone()];
    let refused = store.put_many(&batch).await;
    check(matches!(refused, Err(Error::Limit { .. })), rule, || format!("{refused:?}"))?;
    same(store.has(&cid).await.promised(rule)?, false, rule)?;
    let rule = "of a batch that was refused each block is there whole or not at all";
    for block in &blocks {
        let found = store.get(block.cid()).await.promised(rule)?;
        same(found.as_ref().unwrap_or(block), block, rule)?;
    }
    let rule = "what is left of a batch that was refused can be put";
    store.put_many(&blocks).await.promised(rule)?;
    store.flush().await.promised(rule)?;
    same(store.has(blocks[1].cid()).await.promised(rule)?, true, rule)
}

async fn random_work(store: &impl Blockstore) -> Verdict {
    let rule = "after any work, the store holds what a map would";
    let mut numbers = Numbers(6);
    let blocks = numbers.blocks(40);
    let mut model: BTreeMap<Multihash, u64> = BTreeMap::new();
    for _ in 0..300 {
        let some: Vec<Block> =
            (0..1 + numbers.below(6)).map(|_| blocks[numbers.below(40)].clone()).collect();
        let cids: Vec<Cid> = some.iter().map(|block| *block.cid()).collect();
        match numbers.below(5) {
            0 | 1 => {
                store.put_many(&some).await.promised(rule)?;
                model.extend(some.iter().map(|block| (*block.hash(), block.len() as u64)));
            }
            2 => {
                store.delete_many(&cids).await.promised(rule)?;
                model.retain(|hash, _| !some.iter().any(|block| block.hash() == hash));
            }
            3 => store.flush().await.promised(rule)?,
            _ => {
                let expected = cids.iter().map(|cid| model.get(cid.hash()).copied()).collect();
                same(store.sizes(&cids).await.promised(rule)?, expected, rule)?;
            }
        }
    }
    let listed: BTreeMap<_, _> =
        all(store.list()).await.promised(rule)?.concat().into_iter().collect();
    same(listed, model, rule)
}
