//! Values of several routers, each better than the one before.

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future};
use ipfs_traits::{Result, Runtime};

use super::Combined;

/// What the routers find under a key, without what is not valid or no better.
pub(super) fn improving(combined: &Combined, key: Vec<u8>) -> BoxStream<'static, Result<Bytes>> {
    let (rules, runtime) = (combined.rules.clone(), combined.runtime.clone());
    let (ruled, asked) = (rules.knows(&key), key.clone());
    // What is not valid is not found, so that the next router is asked.
    let valid = {
        let (rules, key) = (rules.clone(), key.clone());
        move |value: &Result<Bytes>| match value {
            Ok(value) if ruled => rules.validate(&key, value, runtime.wall()).is_ok(),
            _ => true,
        }
    };
    let found = combined.gather(move |router| {
        let valid = valid.clone();
        router.get_value(&asked).filter(move |value| future::ready(valid(value))).boxed()
    });
    let mut best: Option<Bytes> = None;
    let improves = move |value: &Result<Bytes>| {
        let Ok(value) = value else { return future::ready(true) };
        let better = best.as_ref().is_none_or(|best| match ruled {
            true => rules.is_better(&key, value, best),
            false => value != best,
        });
        if better {
            best = Some(value.clone());
        }
        future::ready(better)
    };
    found.filter(improves).boxed()
}
