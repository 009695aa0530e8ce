//! What is there when a store is opened again, and who else may have it open.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use super::{
    super::{Numbers, Promise, Verdict, Violation, all, check, same},
    cancel::cut_short,
};
use crate::{Block, Blockstore, BlockstoreExt, Cid, Error, Result};

/// Checks that what was flushed is there after the store is closed, or dropped, and opened again,
/// and that nobody else opens it meanwhile, unless it is [`shared`](Blockstore::shared); each call
/// of `open` opens the same place, which is empty at first.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn blockstore_reopen<S, F>(open: impl Fn() -> F) -> Verdict
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    let blocks = Numbers(9).blocks(20);
    flushed(&open, &blocks).await?;
    dropped(&open, &blocks[10..]).await?;
    dropped_at_work(&open, &blocks[10..]).await?;
    second_opener(&open, &blocks[10]).await
}

/// Flushed and dropped, and closed; the last ten blocks stay.
async fn flushed<S, F>(open: &impl Fn() -> F, blocks: &[Block]) -> Verdict
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    const RULE: &str = "what was flushed is there when the store is opened again";
    let cids = cids_of(blocks);
    let store = open().await.promised(RULE)?;
    store.put_many(blocks).await.promised(RULE)?;
    store.flush().await.promised(RULE)?;
    drop(store);
    let store = open().await.promised(RULE)?;
    for block in blocks {
        same(store.get(block.cid()).await.promised(RULE)?.as_ref(), Some(block), RULE)?;
    }
    store.delete_many(&cids[..10]).await.promised(RULE)?;
    let rule = "a closed store can be opened again, though its handle lives, and has flushed";
    store.close().await.promised(rule)?;
    let again = open().await.promised(rule)?;
    let found = again.sizes(&cids).await.promised(rule)?;
    let expected = blocks.iter().enumerate().map(|(i, b)| (i >= 10).then_some(b.len() as u64));
    same(found, expected.collect(), "a delete that was flushed stays done")?;
    store.close().await.promised("closing twice is no error")
}

/// Dropped without a close, with much that was not flushed.
async fn dropped<S, F>(open: &impl Fn() -> F, there: &[Block]) -> Verdict
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    let rule = "a store that is dropped without a close loses nothing that was flushed";
    for round in 0..4 {
        let store = opened(open).await?;
        let unflushed = Numbers(80 + round).blocks(40);
        store.put_many(&unflushed).await.promised(rule)?;
        if round % 2 == 0 {
            store.delete_many(&cids_of(&unflushed[..20])).await.promised(rule)?;
        }
        drop(store);
        let store = opened(open).await?;
        holds(&store, there, &unflushed, rule).await?;
        store.delete_many(&cids_of(&unflushed)).await.promised(rule)?;
        store.flush().await.promised(rule)?;
    }
    Ok(())
}

/// Dropped while calls are under way, which were dropped too.
async fn dropped_at_work<S, F>(open: &impl Fn() -> F, there: &[Block]) -> Verdict
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    let rule = "a store that is dropped with calls under way loses nothing that was flushed";
    for polls in 0..4 {
        let store = opened(open).await?;
        let new = Numbers(90 + polls as u64).blocks(40);
        let put = cut_short(store.put_many(&new), polls).await;
        put.transpose().promised(rule)?;
        let deleted = cut_short(store.delete_many(&cids_of(&new[..20])), polls).await;
        deleted.transpose().promised(rule)?;
        cut_short(store.flush(), polls).await.transpose().promised(rule)?;
        drop(store);
        let store = opened(open).await?;
        holds(&store, there, &new, rule).await?;
        store.delete_many(&cids_of(&new)).await.promised(rule)?;
        store.flush().await.promised(rule)?;
    }
    Ok(())
}

/// These are there, and these whole or not at all; a listing says the same.
async fn holds(
    store: &impl Blockstore,
    there: &[Block],
    perhaps: &[Block],
    rule: &'static str,
) -> Verdict {
    for (found, block) in store.get_many(&cids_of(there)).await.into_iter().zip(there) {
        same(found.promised(rule)?.as_ref(), Some(block), rule)?;
    }
    let rule = "what was not flushed is there whole or not at all";
    let mut count = there.len();
    for (found, block) in store.get_many(&cids_of(perhaps)).await.into_iter().zip(perhaps) {
        let found = found.promised(rule)?;
        count += usize::from(found.is_some());
        same(found.as_ref().unwrap_or(block), block, rule)?;
    }
    let listed = all(store.list()).await.promised(rule)?.concat();
    same(listed.len(), count, "a store that was dropped lists what it has")
}

async fn second_opener<S, F>(open: &impl Fn() -> F, there: &Block) -> Verdict
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    let rule = "a second opener is refused as long as the first has the store, unless it is shared";
    let first = opened(open).await?;
    for _ in 0..2 {
        match open().await {
            Ok(second) => {
                check(first.shared() && second.shared(), rule, || "it was let in".into())?;
                both(&first, &second).await?;
                drop(second);
            }
            Err(Error::InUse(_)) => check(!first.shared(), rule, || "it was refused".into())?,
            Err(other) => check(false, rule, || format!("{other:?}"))?,
        }
        // Whoever was refused has changed nothing.
        same(first.get(there.cid()).await.promised(rule)?.as_ref(), Some(there), rule)?;
        first.put(Numbers(99).block(9)).await.promised(rule)?;
        first.flush().await.promised(rule)?;
    }
    first.close().await.promised(rule)?;
    opened(open).await.map(drop)
}

/// Two who have a shared store open.
async fn both(first: &impl Blockstore, second: &impl Blockstore) -> Verdict {
    let rule = "those who share a store see what the others have flushed";
    let blocks = Numbers(98).blocks(2);
    for (one, other) in [(first as &dyn Blockstore, second as &dyn Blockstore), (second, first)] {
        one.put_many(&blocks).await.promised(rule)?;
        one.flush().await.promised(rule)?;
        for block in &blocks {
            same(other.get(block.cid()).await.promised(rule)?.as_ref(), Some(block), rule)?;
        }
        other.delete_many(&cids_of(&blocks)).await.promised(rule)?;
        other.flush().await.promised(rule)?;
        same(one.sizes(&cids_of(&blocks)).await.promised(rule)?, vec![None; 2], rule)?;
    }
    Ok(())
}

/// The store, once those have let go of it who were dropped while they worked.
async fn opened<S, F>(open: &impl Fn() -> F) -> std::result::Result<S, Violation>
where
    S: Blockstore,
    F: Future<Output = Result<S>>,
{
    loop {
        match open().await {
            Err(Error::InUse(_)) => others_first().await,
            opened => return opened.promised("a store that was dropped can be opened again"),
        }
    }
}

/// Lets the executor run others.
async fn others_first() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn cids_of(blocks: &[Block]) -> Vec<Cid> {
    blocks.iter().map(|block| *block.cid()).collect()
}
