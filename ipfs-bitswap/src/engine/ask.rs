//! What one peer was asked, what is to be sent to it, and how well it answers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use ipfs_traits::Cid;

use crate::message::{Entry, Want};

/// The most CIDs that a peer is asked for at a time: others remember 1,024 wants of a peer and drop
/// what is beyond.
pub(super) const MAX_ASKED: usize = 1000;

/// Entries in one message: about 50 KiB.
const MAX_ENTRIES: usize = 1000;

/// How long a peer may say nothing at all while it is asked something. Kubo gives 5 s to peers
/// that it knows nothing of.
const SILENCE: Duration = Duration::from_secs(5);

/// The longest time between two attempts to wake a silent peer.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How long one block may take, beside the time that all asked before it should take, until it is
/// taken for lost: three times a slow round trip and then some.
const PATIENCE: Duration = Duration::from_secs(10);

/// How fast a peer is taken to be until it has shown it, in bytes a second: fast enough to be tried.
const FIRST_RATE: f64 = 20e6;

/// How soon a peer is taken to answer until it has shown it.
const FIRST_LATENCY: Duration = Duration::from_millis(50);

/// Differences below this are taken for chance.
const SAME_LATENCY: Duration = Duration::from_millis(20);

/// Blocks that keep a peer busy, so that it shows how fast it is.
const BUSY: usize = 8;

/// The least time over which a rate is measured.
const RATE_WINDOW: Duration = Duration::from_millis(100);

/// One peer, as the client half sees it.
#[derive(Debug)]
pub(super) struct Peer {
    asked: BTreeMap<Cid, Asked>,
    /// What of it is not answered.
    unanswered: usize,
    /// Blocks among what is not answered.
    blocks: usize,
    cancels: BTreeSet<Cid>,
    /// CIDs with something to tell, in order.
    outgoing: VecDeque<Cid>,
    /// When blocks were asked for, in order; entries may be stale.
    sent: VecDeque<(Instant, Cid)>,
    /// Nothing was sent on this connection yet.
    fresh: bool,
    /// Since when it is asked something and has said nothing.
    waiting: Option<Instant>,
    silence: Duration,
    silent: bool,
    latency: Duration,
    rate: f64,
    window: Option<(Instant, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    want: Want,
    priority: i32,
    /// When it was sent; `None` while it waits to be.
    sent: Option<Instant>,
    /// It was sent before: an answer may be to either.
    again: bool,
    /// The peer lacks the block. It remembers the want, in case the block comes.
    denied: bool,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            asked: BTreeMap::new(),
            unanswered: 0,
            blocks: 0,
            cancels: BTreeSet::new(),
            outgoing: VecDeque::new(),
            sent: VecDeque::new(),
            fresh: true,
            waiting: None,
            silence: SILENCE,
            silent: false,
            latency: FIRST_LATENCY,
            rate: FIRST_RATE,
            window: None,
        }
    }

    /// Whether more can be asked of it.
    pub(super) fn has_room(&self) -> bool {
        self.asked.len() < MAX_ASKED
    }

    /// Whether it has something to answer.
    const fn is_asked(&self) -> bool {
        self.unanswered > 0
    }

    /// Whether it may send a block: it has something to answer, or it lacked a block that is still
    /// wanted, and will send it when it comes.
    pub(super) fn may_send(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What it was asked for this CID and has not answered.
    pub(super) fn asked(&self, cid: &Cid) -> Option<Want> {
        self.asked.get(cid).filter(|asked| !asked.denied).map(|asked| asked.want)
    }

    /// Whether it knows that this CID is wanted, as far as is known here.
    pub(super) fn remembers(&self, cid: &Cid) -> bool {
        self.asked.contains_key(cid)
    }

    /// Everything that it was asked.
    pub(super) fn all_asked(&self) -> impl Iterator<Item = &Cid> {
        self.asked.keys()
    }

    /// Whether it has said nothing for long.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    /// How soon it answers, as far as that has been seen.
    pub(super) const fn latency(&self) -> Duration {
        self.latency
    }

    /// How long a block asked of it now should take, in seconds, compared with a peer that answers
    /// as soon as the best. Peers that are about as near count as equally near, so that all of them
    /// are kept busy.
    pub(super) fn expected(&self, best: Duration, block_size: f64) -> f64 {
        let farther = self.latency.saturating_sub(best * 2 + SAME_LATENCY);
        farther.as_secs_f64() + self.backlog(block_size)
    }

    /// How long what was asked before should take, in seconds.
    fn backlog(&self, block_size: f64) -> f64 {
        (self.blocks + 1) as f64 * block_size / self.rate
    }

    /// Asks for a CID, or for the block where only HAVE was asked.
    pub(super) fn ask(&mut self, cid: Cid, want: Want, priority: i32) {
        let again = self.remove(&cid).is_some_and(|before| before.sent.is_some());
        self.cancels.remove(&cid);
        self.asked.insert(cid, Asked { want, priority, sent: None, again, denied: false });
        self.unanswered += 1;
        self.blocks += usize::from(want == Want::Block);
        self.outgoing.push_back(cid);
    }

    /// The CID is settled as far as this peer goes: it has answered, and remembers nothing of it.
    pub(super) fn settle(&mut self, cid: &Cid) {
        self.remove(cid);
    }

    /// The peer lacks the block.
    pub(super) fn deny(&mut self, cid: &Cid) {
        if let Some(asked) = self.remove(cid) {
            self.asked.insert(*cid, Asked { denied: true, ..asked });
        }
    }

    fn remove(&mut self, cid: &Cid) -> Option<Asked> {
        let asked = self.asked.remove(cid)?;
        if !asked.denied {
            self.unanswered -= 1;
            self.blocks -= usize::from(asked.want == Want::Block);
        }
        if self.unanswered == 0 {
            self.waiting = None;
        }
        if self.blocks == 0 {
            self.window = None;
        }
        Some(asked)
    }

    /// The CID is no longer wanted; if the peer was told of it, it is told again. Says whether
    /// there is something to send.
    pub(super) fn cancel(&mut self, cid: &Cid) -> bool {
        if self.remove(cid).is_none_or(|asked| asked.sent.is_none()) {
            return false;
        }
        self.cancels.insert(*cid);
        self.outgoing.push_back(*cid);
        true
    }

    /// The next entries to send, and whether they begin anew.
    pub(super) fn transmit(&mut self, now: Instant) -> (bool, Vec<Entry>) {
        let mut entries = Vec::new();
        while entries.len() < MAX_ENTRIES
            && let Some(cid) = self.outgoing.pop_front()
        {
            if self.cancels.remove(&cid) {
                let entry = Entry { cid, want: Want::Cancel, priority: 0, send_dont_have: false };
                entries.push(entry);
            } else if let Some(asked) = self.asked.get_mut(&cid)
                && asked.sent.is_none()
                && !asked.denied
            {
                asked.sent = Some(now);
                if asked.want == Want::Block {
                    self.sent.push_back((now, cid));
                    self.window.get_or_insert((now, 0));
                }
                let (want, priority) = (asked.want, asked.priority);
                entries.push(Entry { cid, want, priority, send_dont_have: true });
            }
        }
        if entries.is_empty() {
            return (false, entries);
        }
        if self.is_asked() {
            self.waiting.get_or_insert(now);
        }
        (std::mem::take(&mut self.fresh), entries)
    }

    /// It has said something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.silent = false;
        self.silence = SILENCE;
        self.waiting = self.is_asked().then_some(now);
    }

    /// It has answered what it was asked of this CID: how long that took says how far away it is.
    /// A block comes behind others, and says it only when it came sooner than was thought.
    pub(super) fn answered(&mut self, cid: &Cid, now: Instant) {
        let Some(Asked { want, sent: Some(sent), again: false, denied: false, .. }) =
            self.asked.get(cid)
        else {
            return;
        };
        let took = now.saturating_duration_since(*sent);
        let slower =
            if *want == Want::Block { self.latency } else { (self.latency * 7 + took) / 8 };
        self.latency = took.min(slower);
    }

    /// Blocks of so many bytes have come from it.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        let Some((since, before)) = self.window else { return };
        let (took, bytes) = (now.saturating_duration_since(since), before + bytes);
        if took < RATE_WINDOW {
            self.window = Some((since, bytes));
            return;
        }
        self.window = Some((now, 0));
        // A peer that had little to do was not slow for it: then only more than was thought counts.
        let measured = bytes as f64 / took.as_secs_f64();
        if self.blocks >= BUSY || measured > self.rate {
            self.rate = self.rate * 0.7 + measured * 0.3;
        }
    }

    fn patience(&self, block_size: f64) -> Duration {
        let backlog = 2.0 * self.backlog(block_size);
        PATIENCE + Duration::try_from_secs_f64(backlog).unwrap_or(MAX_SILENCE).min(MAX_SILENCE)
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self, block_size: f64) -> Option<Instant> {
        let silence = self.waiting.map(|since| since + self.silence);
        let patience = self.patience(block_size);
        let oldest = self.sent.front().map(|(at, _)| *at + patience);
        silence.into_iter().chain(oldest).min()
    }

    /// What was asked of it and should be asked of others, now that it has been silent for too long
    /// or a block is overdue. It is asked again itself, in case a message was lost.
    pub(super) fn overdue(&mut self, block_size: f64, now: Instant) -> Vec<Cid> {
        let silent = self.waiting.is_some_and(|since| since + self.silence <= now);
        let late: Vec<Cid> = if silent {
            self.silent = true;
            self.silence = (self.silence * 2).min(MAX_SILENCE);
            self.waiting = Some(now);
            self.sent.clear();
            self.asked
                .iter()
                .filter(|(_, asked)| asked.sent.is_some() && !asked.denied)
                .map(|(cid, _)| *cid)
                .collect()
        } else {
            self.late(block_size, now)
        };
        for cid in &late {
            if let Some(asked) = self.asked.get_mut(cid) {
                (asked.sent, asked.again) = (None, true);
                self.outgoing.push_back(*cid);
            }
        }
        late
    }

    /// Blocks that should have come by now. Stale entries are dropped on the way.
    fn late(&mut self, block_size: f64, now: Instant) -> Vec<Cid> {
        let patience = self.patience(block_size);
        let mut late = Vec::new();
        while let Some((at, cid)) = self.sent.front().copied() {
            let asked =
                self.asked.get(&cid).filter(|asked| asked.sent == Some(at) && !asked.denied);
            if asked.is_some() && at + patience > now {
                break;
            }
            self.sent.pop_front();
            late.extend(asked.map(|_| cid));
        }
        late
    }

    /// Whether there is something to send.
    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }
}
