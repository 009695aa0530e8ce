//! What is asked for, who waits for it, and where answers wait to be read.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use ipfs_traits::{Block, Cid, Result, Task};

use crate::latch::lock;

/// A block, and which of the gateways gave it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) block: Block,
    pub(super) gateway: usize,
}

/// What comes for a stream.
#[derive(Debug)]
pub(super) enum Mail {
    /// The answer for a CID that it wants.
    Answer(Cid, Result<Given>),
    /// A block has come that there was no room for: it has to be asked for again.
    Again(Cid),
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
    waker: Option<Waker>,
}

impl Mailbox {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), most })
    }

    pub(super) fn deliver(&self, cid: Cid, answer: Result<Given>) {
        let waker = {
            let mut state = lock(&self.state);
            let bytes = bytes(&answer);
            if bytes > 0 && state.bytes > 0 && state.bytes + bytes > self.most {
                state.queue.push_back(Mail::Again(cid));
            } else {
                state.bytes += bytes;
                state.queue.push_back(Mail::Answer(cid, answer));
            }
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Bytes of blocks that wait.
    pub(super) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Mail> {
        let mut state = lock(&self.state);
        let Some(mail) = state.queue.pop_front() else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Mail::Answer(_, answer) = &mail {
            state.bytes -= bytes(answer);
        }
        Poll::Ready(mail)
    }
}

fn bytes(answer: &Result<Given>) -> usize {
    answer.as_ref().map_or(0, |given| given.block.len())
}

/// What is looked for, once whoever and how many wait for it.
#[derive(Debug, Default)]
pub(super) struct Wants {
    of: BTreeMap<Cid, Want>,
    /// Numbers searches, so that one that is over does not take the place of the next.
    number: u64,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Want {
    number: u64,
    streams: Vec<Arc<Mailbox>>,
    search: Option<Task>,
}

/// What is to be done for a stream that wants something.
#[derive(Debug)]
pub(super) enum Added {
    /// The search has to be started.
    New(u64),
    /// There is one.
    Joined,
    /// Nothing is looked for any more.
    Closed,
}

impl Wants {
    pub(super) fn add(&mut self, cid: Cid, mailbox: &Arc<Mailbox>) -> Added {
        if self.closed {
            return Added::Closed;
        }
        if let Some(want) = self.of.get_mut(&cid) {
            want.streams.push(mailbox.clone());
            return Added::Joined;
        }
        self.number += 1;
        let streams = vec![mailbox.clone()];
        self.of.insert(cid, Want { number: self.number, streams, search: None });
        Added::New(self.number)
    }

    /// Keeps a search that was started; gives it back if nobody waits for it any more.
    pub(super) fn started(&mut self, cid: &Cid, number: u64, search: Task) -> Option<Task> {
        match self.of.get_mut(cid).filter(|want| want.number == number) {
            Some(want) => want.search.replace(search),
            None => Some(search),
        }
    }

    /// A stream no longer waits. Gives the want if nobody does, to be dropped without the lock.
    pub(super) fn remove(&mut self, cid: &Cid, mailbox: &Arc<Mailbox>) -> Option<Want> {
        let want = self.of.get_mut(cid)?;
        want.streams.retain(|other| !Arc::ptr_eq(other, mailbox));
        match want.streams.is_empty() {
            true => self.of.remove(cid),
            false => None,
        }
    }

    /// A search is over. Gives its want, if it is still that.
    pub(super) fn finish(&mut self, cid: &Cid, number: u64) -> Option<Want> {
        self.of.get(cid).filter(|want| want.number == number)?;
        self.of.remove(cid)
    }

    /// From now on nothing is looked for. Gives what was.
    pub(super) fn close(&mut self) -> BTreeMap<Cid, Want> {
        self.closed = true;
        std::mem::take(&mut self.of)
    }
}

impl Want {
    /// Brings the answer to all who wait.
    pub(super) fn answer(self, cid: Cid, answer: &Result<Given>) {
        self.streams.iter().for_each(|stream| stream.deliver(cid, answer.clone()));
    }
}
