//! Values under keys: the best one that can be had, and putting one where it belongs.

use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use ipfs_traits::{Error, PeerInfo, Result};

use super::{CLOSED, Shared, lookups, lookups::Running};
use crate::dht::{
    engine::{Event, Find},
    message::{Kind, Message},
};

/// Peers that are sent a value at once.
const AT_ONCE: usize = 16;

/// A value that these peers lack.
#[derive(Debug)]
pub(super) struct Correction {
    key: Bytes,
    value: Bytes,
    peers: Vec<PeerInfo>,
}

/// The value that is kept here, then each better one that is found. Those near the key that have a
/// worse one, or none, are sent the best afterwards.
pub(super) fn get(shared: Arc<Shared>, key: Bytes) -> BoxStream<'static, Result<Bytes>> {
    let begin = async move {
        let validators = &shared.options.engine.validators;
        if !validators.knows(&key) {
            let error = Error::unsupported("values under keys of this namespace");
            return stream::iter([Err(error)]).boxed();
        }
        let kept = match shared.records.value(&key, validators, shared.runtime.wall()).await {
            Ok(kept) => kept,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let find = Find::Value { key: key.clone(), quorum: shared.options.quorum };
        match Running::start(&shared, find) {
            Ok(running) => {
                let search = Search { shared, key, best: kept.clone(), running };
                let found = stream::unfold(Some(search), |search| async {
                    let mut search = search?;
                    let value = search.next().await?;
                    let goes_on = value.is_ok();
                    Some((value, goes_on.then_some(search)))
                });
                stream::iter(kept.map(Ok)).chain(found).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    };
    begin.flatten_stream().boxed()
}

struct Search {
    shared: Arc<Shared>,
    key: Bytes,
    best: Option<Bytes>,
    running: Running,
}

impl Search {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            match self.running.next().await {
                Some(Event::Value(value)) if self.is_better(&value) => {
                    self.best = Some(value.clone());
                    return Some(Ok(value));
                }
                Some(Event::Done(outcome)) => {
                    let value = self.best.clone()?;
                    let (key, peers) = (self.key.clone(), outcome.stale);
                    let correction = Correction { key, value, peers };
                    // Beyond what waits already it is left to the next who looks.
                    let _ = self.shared.corrections.clone().try_send(correction);
                    return None;
                }
                Some(_) => {}
                // The end of a lookup is told; this is that of the DHT.
                None => return Some(Err(CLOSED)),
            }
        }
    }

    fn is_better(&self, value: &[u8]) -> bool {
        let validators = &self.shared.options.engine.validators;
        self.best.as_ref().is_none_or(|best| validators.is_better(&self.key, value, best))
    }
}

/// Puts a value at the peers nearest to its key, and here.
pub(super) async fn put(shared: &Arc<Shared>, key: Bytes, value: Bytes) -> Result<()> {
    let validators = &shared.options.engine.validators;
    shared.records.put_value(&key, &value, true, validators, shared.runtime.wall()).await?;
    let wanted = shared.options.engine.bucket;
    let closest =
        lookups::outcome(shared, Find::Closest { key: key.clone(), wanted }).await?.closest;
    let all = closest.len();
    if send(shared, &Correction { key, value, peers: closest }).await > 0 {
        return Ok(());
    }
    match shared.lookups().is_closed() {
        true => Err(CLOSED),
        false => Err(Error::component("DHT", NotKept(all))),
    }
}

/// Sends a value to peers, and says how many took it.
pub(super) async fn send(shared: &Shared, correction: &Correction) -> usize {
    let Correction { key, value, peers } = correction;
    let request = Message::with_value(Kind::PutValue, key.clone(), value.clone());
    let asked: Vec<_> = peers.iter().map(|peer| shared.question(peer, &request)).collect();
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    let took = |answer: &&Result<Message>| {
        answer.as_ref().is_ok_and(|answer| answer.record == request.record)
    };
    answers.iter().filter(took).count()
}

#[derive(Debug, thiserror::Error)]
#[error("none of {0} peers took the value")]
struct NotKept(usize);
