//! What an [`Exchange`] promises.

use std::future::Future;

use futures_util::FutureExt;

use super::{Numbers, Promise, Verdict, check, same, source::gives};
use crate::{Block, BlockSource, Exchange, Result, Session};

/// Checks an [`Exchange`]; `make` gives one through which the blocks it is handed can be had, and
/// no others.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn exchange<E, F>(make: impl Fn(Vec<Block>) -> F) -> Verdict
where
    E: Exchange,
    F: Future<Output = Result<E>>,
{
    let blocks = Numbers(12).blocks(200);
    let exchange = make(blocks.clone()).await.promised("an exchange can be made")?;
    let session = exchange.session(Some(blocks[0].cid()));
    session.providers(&[]);
    gives(&*session, &blocks).await?;
    counts(&*session, &blocks)?;
    gives(&*exchange.session(None), &blocks).await?;

    let rule = "a session that is dropped harms no other";
    let (one, other) = (exchange.session(None), exchange.session(None));
    let absent = Numbers(13).block(10);
    let mut never = one.get(absent.cid());
    let answer = (&mut never).now_or_never();
    check(!matches!(answer, Some(Ok(_))), "only what exists is given", || format!("{answer:?}"))?;
    drop(never);
    drop(one);
    same(other.get(blocks[1].cid()).await.promised(rule)?, blocks[1].clone(), rule)?;

    let rule = "new blocks may be told of";
    exchange.notify(&blocks[..3]).await.promised(rule)?;
    exchange.notify(&[]).await.promised(rule)?;
    let rule = "closing twice is no error";
    exchange.close().await.promised(rule)?;
    exchange.close().await.promised(rule)
}

/// Counters may be left out, but must not be wrong.
fn counts(session: &dyn Session, blocks: &[Block]) -> Verdict {
    let stats = session.stats();
    let rule = "a session counts what it delivered";
    let least = blocks.len() as u64;
    check(stats.blocks == 0 || stats.blocks >= least, rule, || format!("{stats:?}"))?;
    let rule = "what the givers of a session gave is what it delivered, where they are named";
    let given: u64 = stats.givers.iter().map(|giver| giver.blocks).sum();
    check(given <= stats.blocks, rule, || format!("{stats:?}"))?;
    same(stats.wanted, 0, "nothing is wanted when all is delivered or given up")
}
