//! What a [`Routing`] promises.

use std::future::Future;

use bytes::Bytes;

use super::{Numbers, Promise, Verdict, all, check, same};
use crate::{Error, Multihash, Result, Routing, memory};

/// Checks a [`Routing`]; `make` gives a new one each time, which knows nothing that the suite asks
/// for. What it does not support is passed over.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn routing<R, F>(make: impl Fn() -> F) -> Verdict
where
    R: Routing,
    F: Future<Output = Result<R>>,
{
    let routing = make().await.promised("a router can be made")?;
    providers(&routing).await?;
    peers(&routing).await?;
    values(&routing).await?;
    let rule = "closing twice is no error";
    routing.close().await.promised(rule)?;
    routing.close().await.promised(rule)
}

/// The answer, or `None` where the router does not support the question.
fn supported<T>(
    answer: Result<T>,
    rule: &'static str,
) -> std::result::Result<Option<T>, super::Violation> {
    match answer {
        Err(Error::Unsupported(_)) => Ok(None),
        other => other.promised(rule).map(Some),
    }
}

async fn providers(routing: &impl Routing) -> Verdict {
    let keys: Vec<Multihash> = Numbers(14).blocks(30).iter().map(|b| *b.hash()).collect();
    let rule = "a lookup ends by itself, and finding nothing is no error";
    let Some(found) = supported(all(routing.find_providers(&keys[0], 5)).await, rule)? else {
        return Ok(());
    };
    check(found.len() <= 5, "no more are given than wanted", || format!("{} for 5", found.len()))?;
    let rule = "many keys can be provided in one call";
    if supported(routing.provide(keys.clone()).await, rule)?.is_none() {
        return Ok(());
    }
    routing.provide(Vec::new()).await.promised("providing nothing is no error")?;
    for key in &keys {
        all(routing.find_providers(key, 1)).await.promised(rule)?;
    }
    let none = all(routing.find_providers(&keys[0], 0)).await.promised(rule)?;
    same(none.len(), 0, "no more are given than wanted")
}

async fn peers(routing: &impl Routing) -> Verdict {
    let stranger = memory::peer_id(u64::MAX);
    let rule = "a peer that nobody knows is `Unreachable`";
    match routing.find_peer(stranger).await {
        Err(Error::Unreachable(peer, _)) => same(peer, stranger, rule)?,
        Err(Error::Unsupported(_)) => {}
        other => check(false, rule, || format!("{other:?}"))?,
    }
    let rule = "closest peers are at most those of a bucket, each once";
    if let Some(closest) = supported(routing.closest_peers(b"some key").await, rule)? {
        let mut ids: Vec<_> = closest.iter().map(|peer| peer.id).collect();
        ids.sort();
        ids.dedup();
        let kept = ids.len() == closest.len() && closest.len() <= 20;
        check(kept, rule, || format!("{closest:?}"))?;
    }
    Ok(())
}

async fn values(routing: &impl Routing) -> Verdict {
    let rule = "a lookup ends by itself, and finding nothing is no error";
    let Some(found) = supported(all(routing.get_value(b"/test/key")).await, rule)? else {
        return Ok(());
    };
    same(found, Vec::new(), rule)?;
    let value = Bytes::from_static(b"value");
    let rule = "a value that was put is found";
    if supported(routing.put_value(b"/test/key", value.clone()).await, rule)?.is_some() {
        let found = all(routing.get_value(b"/test/key")).await.promised(rule)?;
        same(found.last(), Some(&value), rule)?;
    }
    Ok(())
}
