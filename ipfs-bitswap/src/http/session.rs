//! Sessions: streams of blocks that are wanted together, from the same gateways.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, Result, Session, SessionStats, limits};

use super::{
    Shared,
    ledger::Ledger,
    request::told_by_its_cid,
    wants::{Given, Mail, Mailbox},
};

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

    fn fetch(&self, cids: BoxStream<'static, Cid>) -> Fetch {
        let window = self.shared.options.window;
        Fetch {
            session: self.clone(),
            cids: Some(cids),
            wanted: BTreeMap::new(),
            owed: 0,
            ready: VecDeque::new(),
            // Twice the window: blocks that come larger than they were thought still have a place.
            mailbox: Mailbox::new(window.saturating_mul(2)),
            again: VecDeque::new(),
            window,
            block_size: limits::MAX_BLOCK as f64 / 2.0,
        }
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

/// The most answers that a stream owes at once, however small the blocks are.
const MAX_WANTS: usize = 1024;

/// Blocks that are wanted, and given as they come.
struct Fetch {
    session: HttpSession,
    cids: Option<BoxStream<'static, Cid>>,
    /// What was asked for, and how many times it is to be given.
    wanted: BTreeMap<Cid, usize>,
    /// How many times in all.
    owed: usize,
    ready: VecDeque<(Cid, Result<Block>)>,
    mailbox: Arc<Mailbox>,
    /// What has to be asked for again, once there is room. It is part of what is wanted.
    again: VecDeque<Cid>,
    window: usize,
    /// What the size of a block is taken to be: it follows those that come.
    block_size: f64,
}

impl Fetch {
    /// Whether one more block may be on its way.
    fn has_room(&self) -> bool {
        let under_way = self.wanted.len() - self.again.len();
        let expected = under_way as f64 * self.block_size;
        under_way == 0 || (expected as usize).saturating_add(self.mailbox.bytes()) < self.window
    }

    /// Takes CIDs as long as there is room for their blocks.
    fn take(&mut self, cx: &mut Context<'_>) {
        while self.has_room() {
            if let Some(cid) = self.again.pop_front() {
                self.want(cid);
                continue;
            }
            if self.owed + self.ready.len() >= MAX_WANTS {
                return;
            }
            let Some(cids) = &mut self.cids else { return };
            match cids.poll_next_unpin(cx) {
                Poll::Ready(Some(cid)) => self.add(cid),
                Poll::Ready(None) => self.cids = None,
                Poll::Pending => return,
            }
        }
    }

    fn add(&mut self, cid: Cid) {
        let HttpSession { shared, ledger } = &self.session;
        if let Some(block) = told_by_its_cid(&cid, &shared.hashes) {
            ledger.told(block.len());
            return self.ready.push_back((cid, Ok(block)));
        }
        if let Err(error) = shared.hashes.check(&cid) {
            return self.ready.push_back((cid, Err(error)));
        }
        ledger.wanted();
        self.owed += 1;
        match self.wanted.get_mut(&cid) {
            Some(times) => *times += 1,
            None => {
                self.wanted.insert(cid, 1);
                self.want(cid);
            }
        }
    }

    fn want(&self, cid: Cid) {
        let HttpSession { shared, ledger } = &self.session;
        shared.want(cid, &self.mailbox, ledger);
    }

    fn received(&mut self, cid: Cid, answer: Result<Given>) {
        let times = self.wanted.remove(&cid).unwrap_or(0);
        self.owed -= times;
        self.session.ledger.unwanted(times);
        if let Ok(given) = &answer {
            self.block_size = self.block_size * 0.875 + given.block.len() as f64 * 0.125;
            self.session.ledger.gave(given, times);
        }
        let answer = answer.map(|given| given.block);
        self.ready.extend(std::iter::repeat_n((cid, answer), times));
    }
}

impl Stream for Fetch {
    type Item = (Cid, Result<Block>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            this.take(cx);
            if let Some(answer) = this.ready.pop_front() {
                return Poll::Ready(Some(answer));
            }
            if this.wanted.is_empty() {
                return if this.cids.is_none() { Poll::Ready(None) } else { Poll::Pending };
            }
            match this.mailbox.poll(cx) {
                Poll::Ready(Mail::Answer(cid, answer)) => this.received(cid, answer),
                Poll::Ready(Mail::Again(cid)) => this.again.push_back(cid),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.session.ledger.unwanted(self.owed);
        for cid in self.wanted.keys() {
            self.session.shared.give_up(cid, &self.mailbox);
        }
    }
}
