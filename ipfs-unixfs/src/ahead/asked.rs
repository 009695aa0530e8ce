//! The blocks that were asked for.

use std::{
    collections::BTreeMap,
    task::{Context, Poll},
};

use futures_channel::mpsc;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use ipfs_traits::{Block, BlockSource, Cid, Result};

/// The number of a question, by which its answer is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

/// The blocks that were asked for. A block that is wanted in several places while it is on its way
/// is asked for once.
pub(super) struct Asked {
    ask: mpsc::UnboundedSender<Cid>,
    answers: BoxStream<'static, (Cid, Result<Block>)>,
    /// Which questions wait for a CID.
    waiting: BTreeMap<Cid, Vec<Number>>,
    arrived: BTreeMap<Number, Result<Block>>,
    last: u64,
    /// Bytes that have arrived since that was looked at.
    pub(super) news: usize,
}

impl Asked {
    pub(super) fn new(source: &dyn BlockSource) -> Self {
        // As long as what is waited for, which is bounded.
        let (ask, cids) = mpsc::unbounded();
        let answers = source.get_many(cids.boxed());
        let (waiting, arrived) = (BTreeMap::new(), BTreeMap::new());
        Self { ask, answers, waiting, arrived, last: 0, news: 0 }
    }

    pub(super) fn ask(&mut self, cid: Cid) -> Number {
        self.last += 1;
        let number = Number(self.last);
        let waiting = self.waiting.entry(cid).or_default();
        if waiting.is_empty() {
            // The receiver is held by the stream of answers; when that ends, it is seen there.
            let _ = self.ask.unbounded_send(cid);
        }
        waiting.push(number);
        number
    }

    /// How many questions there were.
    pub(super) const fn count(&self) -> u64 {
        self.last
    }

    /// How many blocks are on their way.
    pub(super) fn under_way(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of an answer that is here and was not taken.
    pub(super) fn held(&self, number: Number) -> usize {
        self.arrived.get(&number).and_then(|answer| answer.as_ref().ok()).map_or(0, Block::len)
    }

    /// The answer, if it is here.
    pub(super) fn take(&mut self, number: Number) -> Option<Result<Block>> {
        self.arrived.remove(&number)
    }

    /// Nobody will take the answer. That it is on its way is not undone.
    pub(super) fn forget(&mut self, cid: &Cid, number: Number) {
        self.arrived.remove(&number);
        if let Some(waiting) = self.waiting.get_mut(cid) {
            waiting.retain(|other| *other != number);
        }
    }

    /// Takes all answers that are here; `false` when there will be no more.
    pub(super) fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut any = false;
        loop {
            match self.answers.poll_next_unpin(cx) {
                Poll::Ready(Some((cid, answer))) => {
                    any = true;
                    self.news += answer.as_ref().map_or(0, Block::len);
                    for number in self.waiting.remove(&cid).unwrap_or_default() {
                        self.arrived.insert(number, answer.clone());
                    }
                }
                Poll::Ready(None) => return Poll::Ready(any),
                Poll::Pending if any => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
