//! The routing table, saved and loaded: a node that was here before needs nobody to begin with.

use futures_util::TryStreamExt;
use ipfs_traits::{Batch, PeerId, PeerInfo, Result, sync::lock};

use super::Shared;
use crate::dht::records::format;

/// Whom the table named when it was saved has to answer first.
pub(super) async fn load(shared: &Shared) -> Result<()> {
    for peer in saved(shared).await? {
        shared.with_engine(|engine| engine.handle_candidate(peer));
    }
    Ok(())
}

/// Saves the table. An empty one is not: whoever is offline keeps what it knew.
pub(super) async fn save(shared: &Shared) -> Result<()> {
    let peers = lock(&shared.engine).peers();
    if peers.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    for old in saved(shared).await? {
        if peers.iter().all(|peer| peer.id != old.id) {
            batch = batch.delete(key(shared, &old.id));
        }
    }
    for peer in &peers {
        batch = batch.put(key(shared, &peer.id), format::provider(0, &peer.addresses));
    }
    shared.datastore.commit(batch).await.map(drop)
}

async fn saved(shared: &Shared) -> Result<Vec<PeerInfo>> {
    let prefix = prefix(shared);
    let entries: Vec<_> = shared.datastore.scan(&prefix).try_concat().await?;
    let peer = |(key, value): &(bytes::Bytes, bytes::Bytes)| {
        let peer = PeerId::from_bytes(key.get(prefix.len()..)?).ok()?;
        Some(PeerInfo::new(peer, format::read_provider(value)?.1))
    };
    Ok(entries.iter().filter_map(peer).collect())
}

fn prefix(shared: &Shared) -> Vec<u8> {
    format!("dht-peers/{}/", shared.options.scope.name()).into_bytes()
}

fn key(shared: &Shared, peer: &PeerId) -> Vec<u8> {
    [prefix(shared), peer.to_bytes()].concat()
}
