//! Which streams wait for which blocks.

use std::{collections::BTreeMap, sync::Arc};

use ipfs_traits::{Block, Cid};

use crate::{engine::SessionId, wanted};

/// The mail of one stream.
pub(super) type Mailbox = wanted::Mailbox<Block>;

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
            mailbox.deliver(*block.cid(), Ok(block.clone()));
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        std::mem::take(&mut self.of).into_values().flatten().for_each(|mailbox| mailbox.close());
    }
}
