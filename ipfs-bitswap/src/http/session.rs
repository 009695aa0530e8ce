//! Sessions: streams of blocks that are wanted together, from the same gateways.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, Error, HashTable, Result, Session, SessionStats};

use super::{
    Shared,
    ledger::Ledger,
    wants::{Given, Mailbox},
};
use crate::wanted::{Ask, Wanted};

/// A session of [`HttpExchange`](super::HttpExchange).
#[derive(Clone)]
pub(super) struct HttpSession {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
}

impl HttpSession {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let ledger = Ledger::new(&shared.gateways);
        Self { shared, ledger }
    }

    fn fetch(&self, cids: BoxStream<'static, Cid>) -> Wanted<Self> {
        Wanted::new(self.clone(), cids, self.shared.options.window)
    }
}

#[async_trait]
impl BlockSource for HttpSession {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let mut fetch = self.fetch(stream::iter([*cid]).boxed());
        match fetch.next().await {
            Some((_, answer)) => answer,
            None => Err(self.shared.latch.error()),
        }
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        self.fetch(cids).boxed()
    }
}

impl Session for HttpSession {
    fn stats(&self) -> SessionStats {
        self.ledger.stats(&self.shared.gateways)
    }
}

impl fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpSession").field(&self.stats()).finish()
    }
}

impl Ask for HttpSession {
    type Given = Given;

    fn hashes(&self) -> &HashTable {
        &self.shared.hashes
    }

    fn want(&self, cid: Cid, mailbox: &Arc<Mailbox>) {
        self.shared.want(cid, mailbox, &self.ledger);
    }

    fn give_up<'a>(&self, cids: impl Iterator<Item = &'a Cid>, mailbox: &Arc<Mailbox>) {
        cids.for_each(|cid| self.shared.give_up(cid, mailbox));
    }

    fn closed(&self) -> Error {
        self.shared.latch.error()
    }

    fn told(&self, block: &Block) {
        self.ledger.told(block.len());
    }

    fn owes(&self) {
        self.ledger.wanted();
    }

    fn settled(&self, given: Option<&Given>, times: usize) {
        self.ledger.unwanted(times);
        if let Some(given) = given {
            self.ledger.gave(given, times);
        }
    }
}
