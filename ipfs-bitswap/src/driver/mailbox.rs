//! Where blocks wait for the stream that wants them, and who waits for which.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use ipfs_traits::{Block, Cid};

use super::lock;
use crate::engine::SessionId;

/// What comes for a stream.
#[derive(Debug)]
pub(super) enum Mail {
    /// A block that it wants.
    Block(Block),
    /// A block has come that there was no room for: it has to be asked for again.
    Again(Cid),
    /// Nothing will come any more.
    Closed,
}

/// The mail of one stream.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    /// Bytes beyond which blocks are not kept.
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Mail>,
    bytes: usize,
    closed: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), most })
    }

    fn deliver(&self, block: Block) {
        let mut state = lock(&self.state);
        if state.bytes > 0 && state.bytes.saturating_add(block.len()) > self.most {
            state.queue.push_back(Mail::Again(*block.cid()));
        } else {
            state.bytes += block.len();
            state.queue.push_back(Mail::Block(block));
        }
        state.wake();
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.wake();
    }

    /// Bytes of blocks that wait.
    pub(super) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Mail> {
        let mut state = lock(&self.state);
        match state.queue.pop_front() {
            Some(mail) => {
                if let Mail::Block(block) = &mail {
                    state.bytes -= block.len();
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

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Which streams wait for which blocks.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    of: BTreeMap<(SessionId, Cid), Vec<Arc<Mailbox>>>,
    closed: bool,
}

impl Listeners {
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Has a block brought to a stream; `false` when nothing will come any more.
    pub(super) fn add(&mut self, session: SessionId, cid: Cid, mailbox: &Arc<Mailbox>) -> bool {
        if !self.closed {
            self.of.entry((session, cid)).or_default().push(mailbox.clone());
        }
        !self.closed
    }

    /// A stream no longer waits for a block. Says whether nobody of the session does.
    pub(super) fn remove(&mut self, session: SessionId, cid: &Cid, mailbox: &Arc<Mailbox>) -> bool {
        let Some(waiting) = self.of.get_mut(&(session, *cid)) else { return false };
        waiting.retain(|other| !Arc::ptr_eq(other, mailbox));
        let none_left = waiting.is_empty();
        if none_left {
            self.of.remove(&(session, *cid));
        }
        none_left
    }

    pub(super) fn deliver(&mut self, session: SessionId, block: &Block) {
        for mailbox in self.of.remove(&(session, *block.cid())).into_iter().flatten() {
            mailbox.deliver(block.clone());
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        std::mem::take(&mut self.of).into_values().flatten().for_each(|mailbox| mailbox.close());
    }
}
