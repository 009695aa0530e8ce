//! What is asked for, and who waits for it.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use ipfs_traits::{Block, Cid, Result, Task};

use crate::wanted;

/// A block, and which of the gateways gave it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) block: Block,
    pub(super) gateway: usize,
}

impl Borrow<Block> for Given {
    fn borrow(&self) -> &Block {
        &self.block
    }
}

/// The mail of one stream.
pub(super) type Mailbox = wanted::Mailbox<Given>;

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
