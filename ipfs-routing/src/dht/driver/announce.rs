//! Announcing: telling the peers nearest to each key that this node has its block.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{AsyncWriteExt, StreamExt, stream};
use ipfs_traits::{Error, Multihash, PeerInfo, Result, RuntimeExt};

use super::{
    ANSWER, Shared,
    ask::{append, broken},
    lock, lookups,
};
use crate::dht::{
    message::{Kind, Message},
    scope::Scope,
    sweep::{Region, Share, Sweep},
};

/// Peers that are told at once.
const AT_ONCE: usize = 16;

/// Bytes of records that are written at once: as many as an encrypted frame of the stream has. Each
/// record by itself would be a frame, and a turn of the connection's task.
const TOGETHER: usize = 16 << 10;

/// How slow a peer may take records: 100 a second, beyond the time of an answer.
const SLOWEST: u32 = 100;

/// Tells the peers nearest to each key. Keys that stand near each other go together.
pub(super) async fn announce(shared: &Arc<Shared>, keys: Vec<Multihash>) -> Result<()> {
    let own = shared.own();
    if own.addresses.is_empty() && shared.options.scope != Scope::Any {
        return Err(Error::invalid("announcement", "nobody could reach this node"));
    }
    let mut sweep = Sweep::new(keys, shared.options.engine.bucket);
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    while let Some(region) = region(shared, &sweep).await? {
        let shares = sweep.shares(&region);
        let telling: Vec<_> =
            shares.iter().map(|share| tell(shared, share, &sweep, &own)).collect();
        let mut told = stream::iter(telling).buffer_unordered(AT_ONCE);
        while let Some((share, result)) = told.next().await {
            match result {
                Ok(()) => kept.extend(&share.keys),
                Err(error) => {
                    lock(&shared.regions).forget(&region);
                    tracing::debug!(peer = %share.peer.id, %error, "a peer was not told of blocks");
                }
            }
        }
    }
    match sweep.len() - kept.len() {
        0 => Ok(()),
        missing => Err(Error::component("DHT", NotKept { missing, all: sweep.len() })),
    }
}

/// The region of the next key, if not all is done.
async fn region(shared: &Arc<Shared>, sweep: &Sweep) -> Result<Option<Arc<Region>>> {
    let (Some(target), Some(find)) = (sweep.target(), sweep.lookup()) else { return Ok(None) };
    if let Some(known) = lock(&shared.regions).of(&target, shared.runtime.now()) {
        return Ok(Some(known));
    }
    let closest = lookups::outcome(shared, find).await?.closest;
    let found = sweep.region(closest).map(Arc::new);
    if let Some(region) = found.as_ref().filter(|region| sweep.is_wide(region)) {
        lock(&shared.regions).keep(region.clone(), shared.runtime.now());
    }
    Ok(found)
}

async fn tell<'a>(
    shared: &Shared,
    share: &'a Share,
    sweep: &Sweep,
    own: &PeerInfo,
) -> (&'a Share, Result<()>) {
    let records = async {
        let mut stream = shared.open(&share.peer).await?;
        let mut record = Message::new(Kind::AddProvider, Bytes::new());
        record.providers.push(own.clone());
        let mut bytes = Vec::with_capacity(TOGETHER);
        for key in share.keys.iter().filter_map(|place| sweep.key(*place)) {
            record.key = key.to_bytes().into();
            append(&record, &mut bytes);
            if bytes.len() >= TOGETHER {
                stream.write_all(&bytes).await.map_err(broken)?;
                bytes.clear();
            }
        }
        stream.write_all(&bytes).await.map_err(broken)?;
        // There is no answer: that all has gone out is what can be known.
        stream.close().await.map_err(broken)
    };
    let time = ANSWER + Duration::from_secs(1) * (share.keys.len() as u32 / SLOWEST);
    (share, shared.runtime.timeout(time, "announcing blocks", records).await)
}

#[derive(Debug, thiserror::Error)]
#[error("nobody took the records of {missing} blocks, of {all}")]
struct NotKept {
    missing: usize,
    all: usize,
}
