//! One exchange in a stream of several: what it is to be asked for, and what it has taken.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Instant,
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use ipfs_traits::{Block, Cid, Result, Session};

use ipfs_traits::sync::lock;

/// An answer of a source.
pub(super) type Answer = (Cid, Result<Block>);

/// A stream of one exchange, fed with CIDs as they have to be asked of it.
///
/// No CID can be taken back from a stream: what another exchange gave first is dead in this one, and
/// would fill its window in the end. When half of what it has taken is dead, it is replaced by a new
/// stream of what is alive. The old one is dropped once the new one has asked, so that what both want
/// stays wanted.
pub(super) struct Tier {
    session: Arc<dyn Session>,
    feed: Feed,
    stream: Option<BoxStream<'static, Answer>>,
    old: Option<BoxStream<'static, Answer>>,
    /// Taken and not answered, although another has.
    dead: usize,
    /// Taken and still wanted.
    alive: usize,
    /// What it has had no room for yet and no later exchange is asked for, where there is one.
    pub(super) only_here: BTreeSet<Cid>,
    /// When it last took something, or had first something to take.
    pub(super) took: Instant,
}

impl Tier {
    pub(super) fn new(session: Arc<dyn Session>, now: Instant) -> Self {
        let (feed, only_here) = (Feed::default(), BTreeSet::new());
        Self { session, feed, stream: None, old: None, dead: 0, alive: 0, only_here, took: now }
    }

    /// Has it asked for a block.
    pub(super) fn ask(&mut self, cid: Cid, now: Instant) {
        let mut queue = lock(&self.feed.0);
        if queue.cids.is_empty() {
            self.took = now;
        }
        queue.cids.push_back(cid);
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
        if self.stream.is_none() {
            self.stream = Some(self.session.get_many(self.feed.clone().boxed()));
        }
    }

    /// What it has taken since this was asked last.
    pub(super) fn taken(&mut self, now: Instant) -> Vec<Cid> {
        let taken = std::mem::take(&mut lock(&self.feed.0).taken);
        if !taken.is_empty() {
            self.took = now;
        }
        self.alive += taken.len();
        taken
    }

    /// Another has answered what this one has not taken yet.
    pub(super) fn forget(&mut self, cid: &Cid) {
        self.only_here.remove(cid);
        lock(&self.feed.0).cids.retain(|other| other != cid);
    }

    /// Another has answered what this one has taken.
    pub(super) fn bury(&mut self) {
        self.alive = self.alive.saturating_sub(1);
        self.dead += 1;
    }

    /// It has answered what is still wanted of it.
    pub(super) fn answered(&mut self) {
        self.alive = self.alive.saturating_sub(1);
    }

    /// It has answered what is no longer wanted of it.
    pub(super) fn answered_late(&mut self) {
        self.dead = self.dead.saturating_sub(1);
    }

    /// Whether so much of what it holds is dead that it should begin anew.
    pub(super) const fn is_worn(&self) -> bool {
        self.dead > 0 && self.dead >= self.alive
    }

    /// Begins anew with what is alive.
    pub(super) fn renew(&mut self, alive: Vec<Cid>) {
        let waiting = std::mem::take(&mut lock(&self.feed.0).cids);
        self.feed = Feed::default();
        lock(&self.feed.0).cids = alive.into_iter().chain(waiting).collect();
        (self.alive, self.dead) = (0, 0);
        self.old = self.stream.replace(self.session.get_many(self.feed.clone().boxed()));
    }

    /// The next answer, or that it gives none any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let answer = stream.poll_next_unpin(cx);
        self.old = None;
        if matches!(answer, Poll::Ready(None)) {
            self.stream = None;
            self.feed = Feed::default();
            (self.alive, self.dead) = (0, 0);
        }
        answer
    }
}

/// The CIDs that a stream is given one by one, as it asks for them. It does not end.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    cids: VecDeque<Cid>,
    taken: Vec<Cid>,
    waker: Option<Waker>,
}

impl Stream for Feed {
    type Item = Cid;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Cid>> {
        let mut queue = lock(&self.0);
        match queue.cids.pop_front() {
            Some(cid) => {
                queue.taken.push(cid);
                Poll::Ready(Some(cid))
            }
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
