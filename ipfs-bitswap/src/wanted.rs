//! A stream of blocks that are asked for: what it has on its way, and what waits to be read.
//!
//! It takes CIDs as long as there is room for their blocks. What comes is brought to its mailbox,
//! which keeps so many bytes and no more: whoever does not read is given no more, and holds up nobody
//! else.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use ipfs_traits::{Block, Cid, Error, HashTable, Result, limits};

use ipfs_traits::sync::lock;

/// The most answers that a stream owes at once, however small the blocks are.
const MAX_WANTS: usize = 1024;

/// Whom a stream asks.
pub(crate) trait Ask: Unpin + Send + 'static {
    /// A block, and what is known of where it came from.
    type Given: Borrow<Block> + Clone + Debug + Send + 'static;

    /// The hash functions that CIDs may have.
    fn hashes(&self) -> &HashTable;

    /// Has a block brought to the mailbox.
    fn want(&self, cid: Cid, mailbox: &Arc<Mailbox<Self::Given>>);

    /// The stream no longer waits for these.
    fn give_up<'a>(&self, cids: impl Iterator<Item = &'a Cid>, mailbox: &Arc<Mailbox<Self::Given>>);

    /// What those get who wait when nothing will come any more.
    fn closed(&self) -> Error;

    /// A block was had that nobody need be asked for.
    fn told(&self, _: &Block) {}

    /// One answer more is owed.
    fn owes(&self) {}

    /// So many answers are no longer owed: with this block, or without one.
    fn settled(&self, _: Option<&Self::Given>, _: usize) {}
}

/// Blocks that are wanted, and given as they come.
pub(crate) struct Wanted<A: Ask> {
    ask: A,
    cids: Option<BoxStream<'static, Cid>>,
    /// What was asked for, and how many times it is to be given.
    outstanding: BTreeMap<Cid, usize>,
    /// How many times in all.
    owed: usize,
    ready: VecDeque<(Cid, Result<Block>)>,
    mailbox: Arc<Mailbox<A::Given>>,
    /// What has to be asked for again, once there is room. It is part of what is outstanding.
    again: VecDeque<Cid>,
    window: usize,
    /// What the size of a block is taken to be: it follows those that come.
    block_size: f64,
}

impl<A: Ask> Wanted<A> {
    /// Asks for these, with so many bytes on their way or waiting to be read.
    pub(crate) fn new(ask: A, cids: BoxStream<'static, Cid>, window: usize) -> Self {
        Self {
            ask,
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
                self.ask.want(cid, &self.mailbox);
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
        if let Some(block) = told_by_its_cid(&cid, self.ask.hashes()) {
            self.ask.told(&block);
            return self.ready.push_back((cid, Ok(block)));
        }
        if let Err(error) = self.ask.hashes().check(&cid) {
            return self.ready.push_back((cid, Err(error)));
        }
        self.ask.owes();
        self.owed += 1;
        match self.outstanding.get_mut(&cid) {
            Some(times) => *times += 1,
            None => {
                self.outstanding.insert(cid, 1);
                self.ask.want(cid, &self.mailbox);
            }
        }
    }

    fn answered(&mut self, cid: Cid, answer: Result<A::Given>) {
        let times = self.outstanding.remove(&cid).unwrap_or(0);
        self.owed -= times;
        self.ask.settled(answer.as_ref().ok(), times);
        let answer = answer.map(|given| given.borrow().clone());
        if let Ok(block) = &answer {
            self.block_size = self.block_size * 0.875 + block.len() as f64 * 0.125;
        }
        self.ready.extend(std::iter::repeat_n((cid, answer), times));
    }

    /// Answers everything that was asked for with an error.
    fn close(&mut self) {
        self.cids = None;
        self.again.clear();
        let outstanding: Vec<Cid> = self.outstanding.keys().copied().collect();
        outstanding.into_iter().for_each(|cid| self.answered(cid, Err(self.ask.closed())));
    }
}

impl<A: Ask> Stream for Wanted<A> {
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
                Poll::Ready(Mail::Answer(cid, answer)) => this.answered(cid, answer),
                Poll::Ready(Mail::Again(cid)) => this.again.push_back(cid),
                Poll::Ready(Mail::Closed) => this.close(),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<A: Ask> Drop for Wanted<A> {
    fn drop(&mut self) {
        self.ask.settled(None, self.owed);
        self.ask.give_up(self.outstanding.keys(), &self.mailbox);
    }
}

/// A block that nobody need be asked for: that of an identity CID, or the one without bytes.
///
/// Kubo answers a want for the empty block with HAVE, again and again, and never sends it.
fn told_by_its_cid(cid: &Cid, hashes: &HashTable) -> Option<Block> {
    Block::inline(cid).or_else(|| Block::verify(*cid, Bytes::new(), hashes).ok())
}

/// What comes for a stream.
#[derive(Debug)]
enum Mail<T> {
    /// The answer for a CID that it wants.
    Answer(Cid, Result<T>),
    /// A block has come that there was no room for: it has to be asked for again.
    Again(Cid),
    /// Nothing will come any more.
    Closed,
}

/// The mail of one stream.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// Bytes beyond which blocks are not kept.
    most: usize,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<Mail<T>>,
    bytes: usize,
    closed: bool,
    waker: Option<Waker>,
}

impl<T: Borrow<Block>> Mailbox<T> {
    fn new(most: usize) -> Arc<Self> {
        let state = State { queue: VecDeque::new(), bytes: 0, closed: false, waker: None };
        Arc::new(Self { state: Mutex::new(state), most })
    }

    pub(crate) fn deliver(&self, cid: Cid, answer: Result<T>) {
        self.change(|state| {
            let bytes = bytes(&answer);
            let full = state.bytes > 0 && state.bytes.saturating_add(bytes) > self.most;
            if bytes > 0 && full {
                state.queue.push_back(Mail::Again(cid));
            } else {
                state.bytes += bytes;
                state.queue.push_back(Mail::Answer(cid, answer));
            }
        });
    }

    /// Nothing will come any more.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let waker = {
            let mut state = lock(&self.state);
            change(&mut state);
            state.waker.take()
        };
        // Without the lock: it may be polled at once.
        waker.into_iter().for_each(Waker::wake);
    }

    /// Bytes of blocks that wait.
    fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Mail<T>> {
        let mut state = lock(&self.state);
        match state.queue.pop_front() {
            Some(mail) => {
                if let Mail::Answer(_, answer) = &mail {
                    state.bytes -= bytes(answer);
                }
                Poll::Ready(mail)
            }
            None if state.closed => Poll::Ready(Mail::Closed),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn bytes<T: Borrow<Block>>(answer: &Result<T>) -> usize {
    answer.as_ref().map_or(0, |given| given.borrow().len())
}
