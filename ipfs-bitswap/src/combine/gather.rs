//! A stream of blocks from several exchanges.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures_core::{Stream, future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt, StreamExt};
use ipfs_traits::{Block, Cid, Error, Result, Runtime};

use super::{
    Inner,
    tier::{Answer, Tier},
};
use ipfs_traits::sync::Closed;

/// The most answers that a stream owes at once: what bitswap and the exchange over HTTP have under
/// way of small blocks. Only CIDs wait here; the exchanges bound the bytes.
const MAX_WANTS: usize = 1024;

/// Blocks that are wanted, and given as they come.
pub(super) struct Gather {
    session: Arc<Inner>,
    cids: Option<BoxStream<'static, Cid>>,
    tiers: Vec<Tier>,
    wanted: BTreeMap<Cid, Wanted>,
    /// How many times in all something is to be given.
    owed: usize,
    /// When the exchange that was asked last for a CID has had its time.
    due: BTreeSet<(Instant, Cid)>,
    timer: Option<(Instant, BoxFuture<'static, ()>)>,
    ready: VecDeque<Answer>,
    /// `None` once it is closed.
    closed: Option<Closed>,
}

struct Wanted {
    times: usize,
    /// Of those that are asked, in the order of the list.
    asks: Vec<Ask>,
    due: Option<Instant>,
}

enum Ask {
    /// It had no room for it yet.
    Waits,
    /// It looks for it.
    Taken,
    /// It has said that it will not give it.
    Failed(Error),
}

impl Gather {
    pub(super) fn new(session: Arc<Inner>, cids: BoxStream<'static, Cid>) -> Self {
        let now = session.shared.runtime.now();
        let tiers = session.parts.iter().map(|part| Tier::new(part.session.clone(), now)).collect();
        Self {
            closed: Some(session.shared.latch.closed()),
            session,
            cids: Some(cids),
            tiers,
            wanted: BTreeMap::new(),
            owed: 0,
            due: BTreeSet::new(),
            timer: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes CIDs as long as there is room for their answers.
    fn take(&mut self, cx: &mut Context<'_>) {
        while self.owed + self.ready.len() < MAX_WANTS {
            let Some(cids) = &mut self.cids else { return };
            match cids.poll_next_unpin(cx) {
                Poll::Ready(Some(cid)) => self.add(cid),
                Poll::Ready(None) => self.cids = None,
                Poll::Pending => return,
            }
        }
    }

    fn add(&mut self, cid: Cid) {
        if self.closed.is_none() {
            return self.ready.push_back((cid, Err(self.session.shared.latch.error())));
        }
        if let Some(block) = Block::inline(&cid) {
            self.give(cid, 1, Ok(block));
            return;
        }
        if self.tiers.is_empty() {
            return self.ready.push_back((cid, Err(Error::NotFound(cid))));
        }
        self.owed += 1;
        self.session.count(|stats| stats.wanted += 1);
        if let Some(wanted) = self.wanted.get_mut(&cid) {
            wanted.times += 1;
            return;
        }
        self.wanted.insert(cid, Wanted { times: 1, asks: Vec::new(), due: None });
        self.ask_next(cid, self.session.shared.runtime.now());
    }

    /// Asks the next exchange for a CID, and those after it as far as none is waited for.
    fn ask_next(&mut self, cid: Cid, now: Instant) {
        let Some(wanted) = self.wanted.get_mut(&cid) else { return };
        if let Some(due) = wanted.due.take() {
            self.due.remove(&(due, cid));
        }
        if let Some(last) = wanted.asks.len().checked_sub(1) {
            self.tiers[last].only_here.remove(&cid);
        }
        while let Some(tier) = self.tiers.get_mut(wanted.asks.len()) {
            let at = wanted.asks.len();
            wanted.asks.push(Ask::Waits);
            tier.ask(cid, now);
            if at + 1 == self.session.parts.len() {
                return;
            }
            if !self.session.patience(at).is_zero() {
                tier.only_here.insert(cid);
                return;
            }
        }
    }

    /// Polls the exchanges. Says whether something has come of it.
    fn poll_tiers(&mut self, cx: &mut Context<'_>) -> bool {
        for at in 0..self.tiers.len() {
            let answer = self.tiers[at].poll(cx);
            let now = self.session.shared.runtime.now();
            for cid in self.tiers[at].taken(now) {
                self.taken(at, cid, now);
            }
            match answer {
                Poll::Ready(Some((cid, answer))) => self.answered(at, cid, answer, now),
                Poll::Ready(None) => self.ended(at, now),
                Poll::Pending => continue,
            }
            return true;
        }
        false
    }

    /// An exchange looks for a CID from now on.
    fn taken(&mut self, at: usize, cid: Cid, now: Instant) {
        let wanted = self.wanted.get_mut(&cid);
        let Some(wanted) = wanted.filter(|wanted| matches!(wanted.asks.get(at), Some(Ask::Waits)))
        else {
            return self.tiers[at].bury();
        };
        wanted.asks[at] = Ask::Taken;
        // It waits only for the one that was asked last, and for that only if there is another.
        if self.tiers[at].only_here.remove(&cid) {
            let due = now + self.session.patience(at);
            wanted.due = Some(due);
            self.due.insert((due, cid));
        }
    }

    fn answered(&mut self, at: usize, cid: Cid, answer: Result<Block>, now: Instant) {
        let wanted = self.wanted.get(&cid);
        if wanted.is_none_or(|wanted| !matches!(wanted.asks.get(at), Some(Ask::Taken))) {
            self.tiers[at].answered_late();
            return self.session.count(|stats| stats.duplicates += u64::from(answer.is_ok()));
        }
        self.tiers[at].answered();
        match answer {
            Ok(block) => {
                self.session.parts[at].used(block.len());
                self.settle(Some(at), cid, Ok(block));
            }
            Err(error) => self.failed(at, cid, error, now),
        }
    }

    /// An exchange will not give a block: the next one is asked, or that is the answer.
    fn failed(&mut self, at: usize, cid: Cid, error: Error, now: Instant) {
        let Some(wanted) = self.wanted.get_mut(&cid) else { return };
        wanted.asks[at] = Ask::Failed(error);
        if at + 1 == wanted.asks.len() {
            self.ask_next(cid, now);
        }
        let Some(wanted) = self.wanted.get(&cid) else { return };
        let failed = wanted.asks.iter().map_while(|ask| match ask {
            Ask::Failed(error) => Some(error),
            Ask::Waits | Ask::Taken => None,
        });
        let failed: Vec<&Error> = failed.collect();
        if failed.len() == self.tiers.len() {
            let worse = failed.into_iter().find(|error| !error.is_not_found());
            let error = worse.cloned().unwrap_or(Error::NotFound(cid));
            self.settle(None, cid, Err(error));
        }
    }

    /// The stream of an exchange has ended, though it was asked for more: the exchange was closed.
    fn ended(&mut self, at: usize, now: Instant) {
        let asked = |wanted: &Wanted| matches!(wanted.asks.get(at), Some(Ask::Waits | Ask::Taken));
        let left = self.wanted.iter().filter(|(_, wanted)| asked(wanted));
        let left: Vec<Cid> = left.map(|(cid, _)| *cid).collect();
        self.tiers[at].only_here.clear();
        for cid in left {
            self.failed(at, cid, Error::Closed("an exchange"), now);
        }
    }

    /// A CID has its answer, from one of the exchanges or from all.
    fn settle(&mut self, giver: Option<usize>, cid: Cid, answer: Result<Block>) {
        let Some(wanted) = self.wanted.remove(&cid) else { return };
        if let Some(due) = wanted.due {
            self.due.remove(&(due, cid));
        }
        for (at, ask) in wanted.asks.iter().enumerate().filter(|(at, _)| Some(*at) != giver) {
            match ask {
                Ask::Waits => self.tiers[at].forget(&cid),
                Ask::Taken => self.tiers[at].bury(),
                Ask::Failed(_) => {}
            }
        }
        self.owed -= wanted.times;
        self.session.count(|stats| stats.wanted -= wanted.times as u64);
        self.give(cid, wanted.times, answer);
    }

    fn give(&mut self, cid: Cid, times: usize, answer: Result<Block>) {
        if let Ok(block) = &answer {
            self.session.count(|stats| {
                stats.blocks += times as u64;
                stats.bytes += (times * block.len()) as u64;
            });
        }
        self.ready.extend(std::iter::repeat_n((cid, answer), times));
    }

    /// Goes on to the next exchange where the time of one is over. Says whether any was.
    fn expire(&mut self) -> bool {
        let now = self.session.shared.runtime.now();
        let mut any = false;
        while let Some((_, cid)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            let last = self.wanted.get(&cid).map_or(0, |wanted| wanted.asks.len() - 1);
            self.session.parts[last].missed();
            self.ask_next(cid, now);
            any = true;
        }
        for at in 0..self.tiers.len() {
            if self.stalls_at(at).is_some_and(|stalls| stalls <= now) {
                for cid in std::mem::take(&mut self.tiers[at].only_here) {
                    self.ask_next(cid, now);
                }
                any = true;
            }
        }
        any
    }

    /// When that which an exchange has no room for goes on to the next one.
    fn stalls_at(&self, at: usize) -> Option<Instant> {
        let tier = &self.tiers[at];
        (!tier.only_here.is_empty()).then(|| tier.took + self.session.patience(at))
    }

    /// Replaces streams whose window is full of what nobody wants. Says whether any was.
    fn renew(&mut self) -> bool {
        let mut any = false;
        for (at, tier) in self.tiers.iter_mut().enumerate().filter(|(_, tier)| tier.is_worn()) {
            let mut alive = Vec::new();
            for (cid, wanted) in &mut self.wanted {
                if let Some(ask @ Ask::Taken) = wanted.asks.get_mut(at) {
                    *ask = Ask::Waits;
                    alive.push(*cid);
                }
            }
            tier.renew(alive);
            any = true;
        }
        any
    }

    /// Waits until the time of one is over.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stalls = (0..self.tiers.len()).filter_map(|at| self.stalls_at(at));
        let next = self.due.first().map(|(due, _)| *due).into_iter().chain(stalls).min();
        let Some(next) = next else { return Poll::Pending };
        let runtime = &self.session.shared.runtime;
        let timer = match self.timer.take() {
            Some((at, timer)) if at == next => timer,
            _ => runtime.sleep_until(next),
        };
        self.timer.insert((next, timer)).1.poll_unpin(cx).map(|()| self.timer = None)
    }

    /// Answers everything that was asked for with an error, once it is closed.
    fn poll_closed(&mut self, cx: &mut Context<'_>) {
        let Some(closed) = &mut self.closed else { return };
        if closed.poll_unpin(cx).is_pending() {
            return;
        }
        self.closed = None;
        let error = self.session.shared.latch.error();
        let wanted: Vec<Cid> = self.wanted.keys().copied().collect();
        for cid in wanted {
            self.settle(None, cid, Err(error.clone()));
        }
        self.tiers.clear();
    }
}

impl Stream for Gather {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = &mut *self;
        loop {
            this.poll_closed(cx);
            this.take(cx);
            if let Some(answer) = this.ready.pop_front() {
                return Poll::Ready(Some(answer));
            }
            if this.wanted.is_empty() {
                return if this.cids.is_none() { Poll::Ready(None) } else { Poll::Pending };
            }
            if this.poll_tiers(cx) || this.expire() || this.renew() {
                continue;
            }
            if this.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.session.count(|stats| stats.wanted -= self.owed as u64);
    }
}
