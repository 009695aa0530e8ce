//! Doing what the engine wants done.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use ipfs_traits::{Block, Cid, PeerId, PeerInfo, RuntimeExt};

use super::{Shared, Slot, lock};
use crate::engine::{Output, SessionId};

/// Searches for providers at once, as Kubo has it.
const MAX_SEARCHES: usize = 8;

/// Providers that are wanted of one search, as Kubo has it.
const MAX_PROVIDERS: usize = 10;

/// Answers of a search that are looked at, failures among them: a router may give more than it was
/// asked for.
const MAX_FOUND: usize = 64;

/// How long a search may take, as Kubo has it.
const SEARCH: Duration = Duration::from_secs(10);

/// Dials at once for providers that were found.
const MAX_DIALS: usize = 16;

/// How long a dial may take.
const DIAL: Duration = Duration::from_secs(15);

impl Shared {
    /// Does all that the engine wants done.
    pub(super) fn pump(self: &Arc<Self>) {
        loop {
            // One at a time, with the lock let go between: what is done may call the engine again.
            let next = lock(&self.engine).poll_output();
            match next {
                None => return,
                Some(Output::Deliver { session, block }) => {
                    lock(&self.listeners).deliver(session, &block);
                }
                Some(Output::Send(peer)) => lock(&self.peers).wake(&peer),
                Some(Output::Sizes { peer, cids }) => self.look_up(peer, cids),
                Some(Output::Load { peer, cids }) => self.load(peer, cids),
                Some(Output::FindProviders { session, cid }) => self.search(session, cid),
                Some(Output::Connect(peer)) => self.dial(peer),
            }
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(work)).detach();
    }

    fn look_up(self: &Arc<Self>, peer: PeerId, cids: Vec<Cid>) {
        let shared = self.clone();
        self.spawn(async move {
            let sizes = shared.store.sizes(&cids).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the store does not say what it has");
                vec![None; cids.len()]
            });
            let sizes = cids.into_iter().zip(sizes).collect();
            shared.with_engine(|engine| engine.handle_sizes(peer, sizes));
        });
    }

    fn load(self: &Arc<Self>, peer: PeerId, cids: Vec<Cid>) {
        let shared = self.clone();
        self.spawn(async move {
            let found = shared.store.get_many(&cids).await;
            let block = |(cid, found): (Cid, ipfs_traits::Result<Option<Block>>)| {
                let found = found.unwrap_or_else(|error| {
                    tracing::warn!(%cid, %error, "a block that was asked for cannot be read");
                    None
                });
                (cid, found)
            };
            let blocks = cids.into_iter().zip(found).map(block).collect();
            shared.with_engine(|engine| engine.handle_loaded(peer, blocks));
        });
    }

    fn search(self: &Arc<Self>, session: SessionId, cid: Cid) {
        // A search that has no place now is wanted again later.
        let Some(slot) = Slot::take(self, |shared| &shared.searches, MAX_SEARCHES) else { return };
        let shared = self.clone();
        self.spawn(async move {
            let _slot = slot;
            let local = shared.network.local_peer();
            let found = shared.routing.find_providers(cid.hash(), MAX_PROVIDERS);
            let mut found = found.take(MAX_FOUND);
            let search = async {
                while let Some(provider) = found.next().await {
                    match provider {
                        Ok(peer) if peer.id != local => {
                            let now = shared.runtime.now();
                            let peers = [peer];
                            shared.with_engine(|engine| {
                                engine.handle_providers(session, &peers, now)
                            });
                        }
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%cid, %error, "finding providers failed"),
                    }
                }
                Ok(())
            };
            let _ = shared.runtime.timeout(SEARCH, "finding providers", search).await;
        });
    }

    fn dial(self: &Arc<Self>, peer: PeerInfo) {
        let Some(slot) = Slot::take(self, |shared| &shared.dials, MAX_DIALS) else { return };
        let shared = self.clone();
        self.spawn(async move {
            let _slot = slot;
            let dial = shared.network.connect(&peer);
            if let Err(error) = shared.runtime.timeout(DIAL, "connecting", dial).await {
                tracing::debug!(peer = %peer.id, %error, "a provider cannot be reached");
            }
        });
    }
}
