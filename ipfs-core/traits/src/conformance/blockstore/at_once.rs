//! Calls that run at the same time, and a listing while the store is worked on.

use std::collections::BTreeMap;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, future::join_all};

use super::super::{Numbers, Promise, Verdict, all, check, same};
use crate::{Block, Blockstore, BlockstoreExt, Cid, Multihash, Result};

pub(super) async fn side_by_side(store: &impl Blockstore) -> Verdict {
    let rule = "calls may run at the same time";
    let groups: Vec<Vec<Block>> = (10..20).map(|seed| Numbers(seed).blocks(30)).collect();
    let work = groups.iter().map(|blocks| async move {
        store.put_many(blocks).await?;
        store.flush().await?;
        store.delete(blocks[0].cid()).await?;
        store.sizes(&blocks.iter().map(|b| *b.cid()).collect::<Vec<_>>()).await
    });
    for (found, blocks) in join_all(work).await.into_iter().zip(&groups) {
        let expected = blocks.iter().enumerate().map(|(i, b)| (i > 0).then_some(b.len() as u64));
        same(found.promised(rule)?, expected.collect(), rule)?;
    }
    let one = Numbers(30).block(64);
    let puts = join_all((0..20).map(|_| store.put(one.clone()))).await;
    puts.into_iter().collect::<Result<Vec<()>>>().promised(rule)?;
    same(store.get(one.cid()).await.promised(rule)?, Some(one), rule)
}

/// Puts, gets, deletes and flushes of one block, all at the same time.
pub(super) async fn one_block(store: &impl Blockstore) -> Verdict {
    const ROUNDS: usize = 20;
    let mut numbers = Numbers(31);
    let block = numbers.block(300);
    for round in 0..ROUNDS {
        let delete_too = round % 4 != 3;
        let work = (0..16).map(|_| one_call(store, &block, numbers.below(5), delete_too));
        let answers = join_all(work.collect::<Vec<_>>()).await;
        answers.into_iter().collect::<std::result::Result<Vec<()>, _>>()?;
        at_rest(store, &block, !delete_too).await?;
        let rule = "a put or a delete that comes after others is obeyed";
        store.delete(block.cid()).await.promised(rule)?;
        same(store.get(block.cid()).await.promised(rule)?, None, rule)?;
        store.put(block.clone()).await.promised(rule)?;
        same(store.get(block.cid()).await.promised(rule)?.as_ref(), Some(&block), rule)?;
        if round % 2 == 0 {
            store.delete(block.cid()).await.promised(rule)?;
        }
    }
    Ok(())
}

/// One of the calls, and whether its answer is one that may be.
fn one_call<'a>(
    store: &'a impl Blockstore,
    block: &'a Block,
    which: usize,
    delete_too: bool,
) -> BoxFuture<'a, Verdict> {
    let rule = "while a block is put and deleted, it is there whole or not at all";
    Box::pin(async move {
        match which {
            0 => store.put(block.clone()).await.promised(rule)?,
            1 if delete_too => store.delete(block.cid()).await.promised(rule)?,
            1 => store.put_many(&[block.clone(), block.clone()]).await.promised(rule)?,
            2 => store.flush().await.promised(rule)?,
            3 => {
                let size = store.size(block.cid()).await.promised(rule)?;
                same(size.unwrap_or(block.len() as u64), block.len() as u64, rule)?;
            }
            _ => {
                let found = store.get(block.cid()).await.promised(rule)?;
                same(found.as_ref().unwrap_or(block), block, rule)?;
            }
        }
        Ok(())
    })
}

/// When nobody works any more, all answers say the same.
async fn at_rest(store: &impl Blockstore, block: &Block, put_alone: bool) -> Verdict {
    let rule = "when all calls have returned, all that is asked says the same";
    let found = store.get(block.cid()).await.promised(rule)?;
    let size = store.size(block.cid()).await.promised(rule)?;
    let listed = all(store.list()).await.promised(rule)?.concat();
    let expected = found.as_ref().map(|found| found.len() as u64);
    same(size, expected, rule)?;
    same(listed, expected.map(|len| (*block.hash(), len)).into_iter().collect(), rule)?;
    let rule = "a block that was put and not deleted is there";
    check(found.is_some() || !put_alone, rule, || "it is not".into())
}

/// Flushes with nothing to do, one after the other, and while others put.
pub(super) async fn flushes(store: &impl Blockstore) -> Verdict {
    let rule = "a flush with nothing to do is no error";
    for _ in 0..3 {
        store.flush().await.promised(rule)?;
    }
    let many = join_all((0..8).map(|_| store.flush())).await;
    many.into_iter().collect::<Result<Vec<()>>>().promised(rule)?;
    let rule = "what is put while others flush is there";
    let groups: Vec<Vec<Block>> = (40..46).map(|seed| Numbers(seed).blocks(12)).collect();
    let puts = groups.iter().map(|blocks| async move {
        for block in blocks {
            store.put(block.clone()).await?;
        }
        Ok(())
    });
    let flushes = async {
        for _ in 0..12 {
            store.flush().await?;
        }
        Ok(())
    };
    let (put, flushed) = futures_util::future::join(join_all(puts), flushes).await;
    put.into_iter().chain([flushed]).collect::<Result<Vec<()>>>().promised(rule)?;
    for block in groups.iter().flatten() {
        same(store.get(block.cid()).await.promised(rule)?.as_ref(), Some(block), rule)?;
    }
    store.flush().await.promised(rule)?;
    let expected: BTreeMap<Multihash, u64> =
        groups.iter().flatten().map(|block| (*block.hash(), block.len() as u64)).collect();
    let listed = all(store.list()).await.promised(rule)?.concat();
    same(listed.into_iter().collect(), expected, rule)
}

/// Lists a store that holds `blocks`, while others come and go.
pub(super) async fn listing(store: &impl Blockstore, blocks: &[Block]) -> Verdict {
    let rule = "what is there from the beginning of a listing to its end is listed exactly once";
    let (stable, going) = blocks.split_at(blocks.len() - 300);
    let mut coming = Numbers(50);
    let mut list = store.list();
    let mut listed: Vec<Multihash> = Vec::new();
    let mut step = 0;
    while let Some(page) = list.next().await {
        listed.extend(page.promised(rule)?.iter().map(|(hash, _)| *hash));
        work_a_little(store, going, &coming.blocks(20), step).await.promised(rule)?;
        step += 1;
    }
    let mut times: BTreeMap<Multihash, u32> = BTreeMap::new();
    listed.iter().for_each(|hash| *times.entry(*hash).or_default() += 1);
    let wrong = stable.iter().filter(|block| times.get(block.hash()) != Some(&1)).count();
    check(wrong == 0, rule, || format!("{wrong} of {} were not", stable.len()))?;

    let rule = "a listing that is dropped midway leaves nothing behind";
    let mut list = store.list();
    list.next().await.promised(rule)?.promised(rule)?;
    drop(list);
    work_a_little(store, going, &coming.blocks(20), 0).await.promised(rule)?;
    store.flush().await.promised(rule)?;
    let unpolled = store.list();
    drop(unpolled);
    store.put(coming.block(10)).await.promised(rule)?;
    let cids: Vec<Cid> = stable.iter().map(|block| *block.cid()).collect();
    let there = store.sizes(&cids).await.promised(rule)?;
    check(there.iter().all(Option::is_some), rule, || "blocks are gone".into())
}

/// What others do between two pages.
async fn work_a_little(
    store: &impl Blockstore,
    going: &[Block],
    coming: &[Block],
    step: usize,
) -> Result<()> {
    let some = going.chunks(going.len() / 3).nth(step % 3).unwrap_or(going);
    let cids: Vec<Cid> = some.iter().map(|block| *block.cid()).collect();
    store.put_many(coming).await?;
    store.delete_many(&cids).await?;
    if step.is_multiple_of(2) {
        store.flush().await?;
    }
    store.delete(coming[0].cid()).await
}
