//! What one peer was asked, and what is to be sent to it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use ipfs_traits::Cid;

use super::pace::Pace;
use crate::message::{Entry, Version, Want};

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

/// The same for a peer that has not given anything yet.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);

/// How long a peer that cannot say that it lacks a block has for giving it: until it is known how
/// soon it answers, as Kubo has it; and then so many times that, and time to read the block.
const UNSAID: Duration = Duration::from_secs(5);
const UNSAID_TIMES: u32 = 4;
const UNSAID_READ: Duration = Duration::from_millis(500);

/// One peer, as the client half sees it.
#[derive(Debug)]
pub(super) struct Peer {
    version: Version,
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
    pub(super) pace: Pace,
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

/// What became of what a peer was asked and should have answered.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// To be asked of others.
    pub(super) late: Vec<Cid>,
    /// Of an old peer, which would say nothing if it lacked them.
    pub(super) lacked: Vec<Cid>,
}

impl Peer {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
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
            pace: Pace::new(),
        }
    }

    pub(super) const fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Whether it can say what it has and what it lacks.
    pub(super) const fn has_presences(&self) -> bool {
        self.version.has_presences()
    }

    /// Whether it can be told of one more CID.
    pub(super) fn remembers_more(&self) -> bool {
        self.asked.len() < MAX_ASKED
    }

    /// Whether it can be asked for one more block now.
    pub(super) fn has_room(&mut self, block_size: f64) -> bool {
        self.remembers_more() && self.pace.has_room(self.blocks, block_size)
    }

    /// Whether it has something to answer.
    const fn is_asked(&self) -> bool {
        self.unanswered > 0
    }

    /// Blocks that it is asked for and has not answered.
    pub(super) const fn in_flight(&self) -> usize {
        self.blocks
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

    /// Whether others come first: it has said nothing for long, or failed too often.
    pub(super) fn is_doubtful(&self) -> bool {
        self.silent || self.pace.is_distrusted()
    }

    /// How long a block asked of it now should take, in seconds, compared with a peer that answers
    /// as soon as the best.
    pub(super) fn expected(&self, best: Duration, block_size: f64) -> f64 {
        self.pace.expected(best, (self.blocks + 1) as f64 * block_size)
    }

    /// How long all that it is asked for should take.
    fn backlog(&self, block_size: f64) -> Duration {
        let seconds = self.pace.takes(self.blocks as f64 * block_size);
        Duration::try_from_secs_f64(seconds).unwrap_or(MAX_SILENCE).min(MAX_SILENCE)
    }

    /// How long it may take for what it is asked now until another is asked too, where nothing else
    /// is left to do.
    pub(super) fn hedged_after(&self, block_size: f64) -> Duration {
        self.pace.latency() * 3 + self.backlog(block_size) * 2 + Duration::from_millis(100)
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
            self.pace.pause();
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
                    self.pace.begin(now);
                }
                let (want, priority) = (asked.want, asked.priority);
                let send_dont_have = self.version.has_presences();
                entries.push(Entry { cid, want, priority, send_dont_have });
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

    /// When it was asked what it answers now, if it was asked once.
    fn asked_at(&self, cid: &Cid) -> Option<(Want, Instant)> {
        match self.asked.get(cid) {
            Some(Asked { want, sent: Some(sent), again: false, denied: false, .. }) => {
                Some((*want, *sent))
            }
            _ => None,
        }
    }

    /// It has said whether it has a block: how long that took says how far away it is.
    pub(super) fn answered(&mut self, cid: &Cid, now: Instant) {
        if let Some((Want::Have, at)) = self.asked_at(cid) {
            self.pace.answered(now.saturating_duration_since(at));
        }
    }

    /// It has given a block of so many bytes.
    pub(super) fn gave(&mut self, cid: &Cid, bytes: usize, now: Instant) {
        let asked = self.asked_at(cid).map(|(_, at)| at);
        self.pace.received(bytes, asked, now);
    }

    fn patience(&self, block_size: f64) -> Duration {
        let patience = if self.pace.gave() { PATIENCE } else { FIRST_PATIENCE };
        self.pace.with_doubt(patience + self.backlog(block_size) * 2)
    }

    /// How long to wait for what a peer says nothing of, when it lacks it.
    fn unsaid(&self) -> Duration {
        let latency = self.pace.measured_latency();
        latency.map_or(UNSAID, |latency| (latency * UNSAID_TIMES + UNSAID_READ).min(UNSAID))
    }

    /// How long what was asked for first may take.
    fn limit(&self, block_size: f64) -> Duration {
        match self.has_presences() {
            true => self.patience(block_size),
            false => self.unsaid() + self.backlog(block_size) * 2,
        }
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self, block_size: f64) -> Option<Instant> {
        let silence = self.waiting.filter(|_| self.has_presences()).map(|at| at + self.silence);
        let limit = self.limit(block_size);
        let oldest = self.sent.front().map(|(at, _)| *at + limit);
        silence.into_iter().chain(oldest).min()
    }

    /// What was asked of it and should be asked of others, now that it has been silent for too long
    /// or a block is overdue. It is asked again itself, in case a message was lost.
    pub(super) fn overdue(&mut self, block_size: f64, now: Instant) -> Overdue {
        let silent = self.waiting.is_some_and(|since| since + self.silence <= now);
        if !self.has_presences() {
            let lacked = self.late(block_size, now);
            lacked.iter().for_each(|cid| self.deny(cid));
            return Overdue { lacked, ..Overdue::default() };
        }
        let late = if silent { self.fall_silent(now) } else { self.late(block_size, now) };
        for cid in &late {
            if let Some(asked) = self.asked.get_mut(cid) {
                (asked.sent, asked.again) = (None, true);
                self.outgoing.push_back(*cid);
            }
        }
        if !late.is_empty() {
            self.pace.failed();
        }
        Overdue { late, ..Overdue::default() }
    }

    /// All that it was asked.
    fn fall_silent(&mut self, now: Instant) -> Vec<Cid> {
        self.silent = true;
        self.silence = (self.silence * 2).min(MAX_SILENCE);
        self.waiting = Some(now);
        self.sent.clear();
        let unanswered = |(_, asked): &(&Cid, &Asked)| asked.sent.is_some() && !asked.denied;
        self.asked.iter().filter(unanswered).map(|(cid, _)| *cid).collect()
    }

    /// Blocks that should have come by now. Stale entries are dropped on the way.
    fn late(&mut self, block_size: f64, now: Instant) -> Vec<Cid> {
        let limit = self.limit(block_size);
        let mut late = Vec::new();
        while let Some((at, cid)) = self.sent.front().copied() {
            let asked =
                self.asked.get(&cid).filter(|asked| asked.sent == Some(at) && !asked.denied);
            if asked.is_some() && at + limit > now {
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
