//! Looking after what is kept: writing it, ending it, and correcting what others keep.

use std::{sync::Arc, time::Duration};

use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt, select_biased, stream, stream::FuturesUnordered};
use ipfs_traits::Result;

use super::{Shared, saved, values};

/// How long records wait to be written: what is lost, when the power fails, others have too.
const WRITE: Duration = Duration::from_secs(5);
/// How often ended records are cleared away: every hour, as go-libp2p-kad-dht does.
const EXPIRE: Duration = Duration::from_secs(3600);
/// Values that are put at once where they are missing.
const CORRECTING: usize = 4;
/// How often the routing table is saved.
const SAVE: Duration = Duration::from_secs(600);

/// Does so until the DHT is closed.
pub(super) async fn keep(shared: Arc<Shared>, mut corrections: mpsc::Receiver<values::Correction>) {
    let now = shared.runtime.now();
    let (mut write, mut expire, mut save) = (now + WRITE, now + EXPIRE, now + SAVE);
    let mut correcting = FuturesUnordered::new();
    loop {
        let due = write.min(expire).min(save);
        let mut more = match correcting.len() < CORRECTING {
            true => corrections.by_ref().left_stream(),
            false => stream::pending().right_stream(),
        }
        .fuse();
        select_biased! {
            correction = more.select_next_some() => {
                let shared = &shared;
                correcting.push(async move { values::send(shared, &correction).await });
            }
            _ = correcting.select_next_some() => {}
            () = shared.runtime.sleep_until(due).fuse() => {}
        }
        let now = shared.runtime.now();
        if now >= write {
            write = now + WRITE;
            said(shared.records.flush().await);
        }
        if now >= expire {
            expire = now + EXPIRE;
            said(shared.records.expire(shared.runtime.wall()).await);
        }
        if now >= save {
            save = now + SAVE;
            said(saved::save(&shared).await);
        }
    }
}

fn said(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "records of the DHT could not be written");
    }
}
