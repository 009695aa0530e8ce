//! Sessions: streams of blocks that are wanted together.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};
use ipfs_traits::{
    Block, BlockSource, Cid, Error, HashTable, PeerInfo, Result, Session, SessionStats, limits,
};

use super::{
    Shared, lock,
    mailbox::{Mail, Mailbox},
};
use crate::engine::SessionId;

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

impl BitswapSession {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        let id = lock(&shared.engine).open_session();
        Self(Arc::new(Inner { shared, id }))
    }

    fn fetch(&self, cids: BoxStream<'static, Cid>) -> Fetch {
        let window = self.0.shared.options.window;
        Fetch {
            session: self.0.clone(),
            cids: Some(cids),
            outstanding: BTreeMap::new(),
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
impl BlockSource for BitswapSession {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let mut fetch = self.fetch(stream::iter([*cid]).boxed());
        match fetch.next().await {
            Some((_, answer)) => answer,
            None => Err(Error::Closed("bitswap")),
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

/// The most answers that a stream owes at once, however small the blocks are.
const MAX_WANTS: usize = 1024;

/// Blocks that are wanted, and given as they come.
struct Fetch {
    session: Arc<Inner>,
    cids: Option<BoxStream<'static, Cid>>,
    /// What was asked for, and how many times it is to be given.
    outstanding: BTreeMap<Cid, usize>,
    /// How many times in all.
    owed: usize,
    ready: VecDeque<(Cid, Result<Block>)>,
    mailbox: Arc<Mailbox>,
    /// What has to be asked for again, once there is room. It is part of what is outstanding.
    again: VecDeque<Cid>,
    window: usize,
    /// What the size of a block is taken to be: it follows those that come.
    block_size: f64,
}

impl Fetch {
    /// Whether one more block may be on its way.
    fn has_room(&self) -> bool {
        let under_way = self.outstanding.len() - self.again.len();
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
            // What is answered without asking is given before more is taken.
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
        if let Some(block) = told_by_its_cid(&cid, &self.session.shared.hashes) {
            return self.ready.push_back((cid, Ok(block)));
        }
        if let Err(error) = self.session.shared.hashes.check(&cid) {
            return self.ready.push_back((cid, Err(error)));
        }
        self.owed += 1;
        match self.outstanding.get_mut(&cid) {
            Some(times) => *times += 1,
            None => {
                self.outstanding.insert(cid, 1);
                self.want(cid);
            }
        }
    }

    fn want(&self, cid: Cid) {
        let Inner { shared, id } = &*self.session;
        let now = shared.runtime.now();
        {
            // Held until the engine knows, so that no other stream gives up the same want between.
            let mut listeners = lock(&shared.listeners);
            if !listeners.add(*id, cid, &self.mailbox) {
                // It was closed before this mailbox was known.
                return self.mailbox.close();
            }
            lock(&shared.engine).want(*id, cid, now);
        }
        shared.with_engine(|_| ());
    }

    fn received(&mut self, block: Block) {
        self.block_size = self.block_size * 0.875 + block.len() as f64 * 0.125;
        let cid = *block.cid();
        let times = self.outstanding.remove(&cid).unwrap_or(0);
        self.owed -= times;
        self.ready.extend(std::iter::repeat_with(|| (cid, Ok(block.clone()))).take(times));
    }

    /// Answers everything that was asked for with an error.
    fn closed(&mut self) {
        self.cids = None;
        self.again.clear();
        self.owed = 0;
        for (cid, times) in std::mem::take(&mut self.outstanding) {
            let answer = || (cid, Err(Error::Closed("bitswap")));
            self.ready.extend(std::iter::repeat_with(answer).take(times));
        }
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
            if this.outstanding.is_empty() {
                return if this.cids.is_none() { Poll::Ready(None) } else { Poll::Pending };
            }
            match this.mailbox.poll(cx) {
                Poll::Ready(Mail::Block(block)) => this.received(block),
                Poll::Ready(Mail::Again(cid)) => this.again.push_back(cid),
                Poll::Ready(Mail::Closed) => this.closed(),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let Inner { shared, id } = &*self.session;
        {
            let mut listeners = lock(&shared.listeners);
            for cid in self.outstanding.keys() {
                if listeners.remove(*id, cid, &self.mailbox) {
                    lock(&shared.engine).cancel(*id, cid);
                }
            }
        }
        shared.with_engine(|_| ());
    }
}

/// A block that nobody need be asked for: that of an identity CID, or the one without bytes.
///
/// Kubo answers a want for the empty block with HAVE, again and again, and never sends it.
fn told_by_its_cid(cid: &Cid, hashes: &HashTable) -> Option<Block> {
    Block::inline(cid).or_else(|| Block::verify(*cid, Bytes::new(), hashes).ok())
}
