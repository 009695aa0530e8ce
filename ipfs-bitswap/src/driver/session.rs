//! Sessions: streams of blocks that are wanted together.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{
    Block, BlockSource, Cid, Error, HashTable, PeerInfo, Result, Session, SessionStats,
};

use super::{Shared, listeners::Mailbox, lock};
use crate::{
    engine::SessionId,
    wanted::{Ask, Wanted},
};

/// A session of [`Bitswap`](super::Bitswap).
#[derive(Clone, Debug)]
pub(super) struct BitswapSession(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    id: SessionId,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BitswapSession({:?})", self.id)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.with_engine(|engine| engine.close_session(self.id));
    }
}

const CLOSED: Error = Error::Closed("bitswap");

impl BitswapSession {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        let id = lock(&shared.engine).open_session();
        Self(Arc::new(Inner { shared, id }))
    }

    fn fetch(&self, cids: BoxStream<'static, Cid>) -> Wanted<Arc<Inner>> {
        Wanted::new(self.0.clone(), cids, self.0.shared.options.window)
    }
}

#[async_trait]
impl BlockSource for BitswapSession {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let mut fetch = self.fetch(stream::iter([*cid]).boxed());
        match fetch.next().await {
            Some((_, answer)) => answer,
            None => Err(CLOSED),
        }
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        self.fetch(cids).boxed()
    }
}

impl Session for BitswapSession {
    fn providers(&self, peers: &[PeerInfo]) {
        let now = self.0.shared.runtime.now();
        self.0.shared.with_engine(|engine| engine.handle_providers(self.0.id, peers, now));
    }

    fn stats(&self) -> SessionStats {
        lock(&self.0.shared.engine).session_stats(self.0.id)
    }
}

impl Ask for Arc<Inner> {
    type Given = Block;

    fn hashes(&self) -> &HashTable {
        &self.shared.hashes
    }

    fn want(&self, cid: Cid, mailbox: &Arc<Mailbox>) {
        let Inner { shared, id } = &**self;
        let now = shared.runtime.now();
        {
            // Held until the engine knows, so that no other stream gives up the same want between.
            let mut listeners = lock(&shared.listeners);
            if !listeners.add(*id, cid, mailbox) {
                // It was closed before this mailbox was known.
                return mailbox.close();
            }
            lock(&shared.engine).want(*id, cid, now);
        }
        shared.with_engine(|_| ());
    }

    fn give_up<'a>(&self, cids: impl Iterator<Item = &'a Cid>, mailbox: &Arc<Mailbox>) {
        let Inner { shared, id } = &**self;
        {
            let mut listeners = lock(&shared.listeners);
            for cid in cids {
                if listeners.remove(*id, cid, mailbox) {
                    lock(&shared.engine).cancel(*id, cid);
                }
            }
        }
        shared.with_engine(|_| ());
    }

    fn closed(&self) -> Error {
        CLOSED
    }
}
