//! Futures that are dropped at each of the points where they wait.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use futures_util::StreamExt;

use super::super::{Numbers, Promise, Verdict, Violation, check, same};
use crate::{Block, Blockstore, BlockstoreExt, Cid};

/// Polls a future so many times, each time when it has asked for it, and drops it as soon as it
/// waits again; gives what it gives if it is done before.
pub(super) async fn cut_short<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The calls that are dropped.
#[derive(Clone, Copy, Debug)]
enum Call {
    Put,
    Get,
    Sizes,
    Delete,
    Flush,
    List,
    Compact,
    Usage,
}

pub(super) async fn at_every_await(store: &impl Blockstore) -> Verdict {
    let mut numbers = Numbers(70);
    let steady = numbers.blocks(20);
    store.put_many(&steady).await.promised(USABLE)?;
    store.flush().await.promised(USABLE)?;
    for call in [
        Call::Put,
        Call::Get,
        Call::Sizes,
        Call::Delete,
        Call::Flush,
        Call::List,
        Call::Compact,
        Call::Usage,
    ] {
        for polls in 0.. {
            let fresh = numbers.blocks(12);
            if dropped(store, call, polls, &fresh, &steady).await? {
                break;
            }
        }
    }
    Ok(())
}

const USABLE: &str = "a store from which a future was dropped is usable";

/// Drops a call after so many polls, and looks at what is left; whether it was done before that.
async fn dropped(
    store: &impl Blockstore,
    call: Call,
    polls: usize,
    fresh: &[Block],
    steady: &[Block],
) -> Result<bool, Violation> {
    let cids: Vec<Cid> = fresh.iter().map(|block| *block.cid()).collect();
    if matches!(call, Call::Delete | Call::Flush) {
        store.put_many(fresh).await.promised(USABLE)?;
    }
    if matches!(call, Call::Delete) {
        store.flush().await.promised(USABLE)?;
    }
    let done = match call {
        Call::Put => cut_short(store.put_many(fresh), polls).await.transpose_ok()?,
        Call::Delete => cut_short(store.delete_many(&cids), polls).await.transpose_ok()?,
        Call::Flush => cut_short(store.flush(), polls).await.transpose_ok()?,
        Call::Compact => cut_short(store.compact(), polls).await.transpose_ok()?,
        Call::Sizes => cut_short(store.sizes(&cids), polls).await.transpose_ok()?,
        Call::Usage => cut_short(store.usage(), polls).await.transpose_ok()?,
        Call::Get => cut_short(store.get_many(&cids), polls).await.is_some(),
        Call::List => {
            let mut list = store.list();
            let page = cut_short(list.next(), polls).await;
            page.map(|page| page.promised(USABLE)?.promised(USABLE)).transpose()?.is_some()
        }
    };
    whole(store, fresh).await?;
    let rule = "dropping a future takes nothing that was flushed before";
    for (found, block) in store.get_many(&cids_of(steady)).await.into_iter().zip(steady) {
        same(found.promised(rule)?.as_ref(), Some(block), rule)?;
    }
    // What was dropped may still be going on, so another one is put here.
    let new = Numbers(polls as u64 + ((call as u64 + 1) << 32)).block(33);
    store.put(new.clone()).await.promised(USABLE)?;
    store.flush().await.promised(USABLE)?;
    same(store.get(new.cid()).await.promised(USABLE)?, Some(new.clone()), USABLE)?;
    store.delete(new.cid()).await.promised(USABLE)?;
    same(store.get(new.cid()).await.promised(USABLE)?, None, USABLE)?;
    let rule = "a call that was done was done, though others were dropped";
    if done && matches!(call, Call::Put | Call::Flush) {
        let sizes = store.sizes(&cids).await.promised(rule)?;
        check(sizes.iter().all(Option::is_some), rule, || format!("{call:?}: {sizes:?}"))?;
    }
    Ok(done)
}

/// Each of these is there whole or not at all.
async fn whole(store: &impl Blockstore, blocks: &[Block]) -> Verdict {
    let rule = "of a call that was dropped, each block is there whole or not at all";
    for (found, block) in store.get_many(&cids_of(blocks)).await.into_iter().zip(blocks) {
        same(found.promised(rule)?.as_ref().unwrap_or(block), block, rule)?;
    }
    Ok(())
}

fn cids_of(blocks: &[Block]) -> Vec<Cid> {
    blocks.iter().map(|block| *block.cid()).collect()
}

/// Whether a call was done; that it failed is a violation.
trait Done {
    fn transpose_ok(self) -> Result<bool, Violation>;
}

impl<T> Done for Option<crate::Result<T>> {
    fn transpose_ok(self) -> Result<bool, Violation> {
        self.map_or(Ok(false), |done| done.promised(USABLE).map(|_| true))
    }
}
