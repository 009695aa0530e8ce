//! What a lookup is for, and what its answers say.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ipfs_traits::{Multiaddr, Multihash, PeerId, PeerInfo};

use super::{Known, Now, Stats, absent::Absent};
use crate::{
    Validators,
    dht::{
        lookup::{Lookup, Settings},
        message::{Kind, MAX_PEER_ADDRESSES, Message},
        scope::Scope,
        table::Table,
    },
    keyspace::Position,
};

/// A lookup ends after so long, with what it has by then.
const LONGEST: Duration = Duration::from_secs(60);

/// Providers that a lookup gives, at the most.
const MAX_FOUND: usize = 4096;

/// Peers that have to say where a peer is, before it is believed without having answered itself, and
/// that have to name providers, before there are enough. One alone could send everybody astray.
const REPORTS: usize = 3;

/// What a lookup is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// The peers nearest to a key.
    Closest {
        /// The key.
        key: Bytes,
        /// How many.
        wanted: usize,
    },
    /// Where a peer is.
    Peer(PeerId),
    /// Who has a block.
    Providers {
        /// The block.
        key: Multihash,
        /// How many are enough.
        wanted: usize,
    },
    /// The best value under a key.
    Value {
        /// The key.
        key: Bytes,
        /// How many peers have to have answered with a value.
        quorum: usize,
    },
}

/// What a lookup has found.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Where the peer is.
    Peer(PeerInfo),
    /// Somebody who has the block, once.
    Provider(PeerInfo),
    /// A valid value, better than all before.
    Value(Bytes),
    /// It is at its end.
    Done(Outcome),
}

/// How a lookup ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The nearest peers that have answered, the nearest first.
    pub closest: Vec<PeerInfo>,
    /// Those of them who have no value, or a worse one than the best.
    pub stale: Vec<PeerInfo>,
    /// How many peers were asked.
    pub asked: usize,
    /// How many referrals led to the nearest one.
    pub hops: u32,
    /// How far the farthest of `closest` is, as a share of the whole space.
    pub(super) radius: f64,
}

/// The question for the peers near a key.
pub(super) fn near(key: impl Into<Bytes>) -> Message {
    Message::new(Kind::FindNode, key)
}

impl Find {
    pub(super) fn target(&self) -> Position {
        Position::of_key(&self.key())
    }

    pub(super) const fn wanted(&self, bucket: usize) -> usize {
        match self {
            Self::Closest { wanted, .. } => *wanted,
            _ => bucket,
        }
    }

    fn key(&self) -> Bytes {
        match self {
            Self::Closest { key, .. } | Self::Value { key, .. } => key.clone(),
            Self::Peer(peer) => peer.to_bytes().into(),
            Self::Providers { key, .. } => key.to_bytes().into(),
        }
    }

    fn request(&self) -> Message {
        match self {
            Self::Closest { .. } | Self::Peer(_) => near(self.key()),
            Self::Providers { .. } => Message::new(Kind::GetProviders, self.key()),
            Self::Value { .. } => Message::new(Kind::GetValue, self.key()),
        }
    }
}

/// What answers are seen by.
pub(super) struct Context<'a> {
    pub(super) local: PeerId,
    pub(super) scope: Scope,
    pub(super) table: &'a Table,
    pub(super) known: &'a Known,
    pub(super) absent: &'a Absent,
    pub(super) validators: &'a Validators,
    pub(super) now: Now,
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Finding {
    find: Find,
    lookup: Lookup,
    deadline: Instant,
    /// It has what it was for, or no more time.
    over: bool,
    /// Providers that were given.
    given: BTreeSet<PeerId>,
    /// Providers beyond the share of whoever named them: given when nobody else names enough.
    spare: Vec<PeerInfo>,
    /// Where the peer that is looked for is said to be, and by how many.
    addresses: Vec<Multiaddr>,
    reports: usize,
    best: Option<Bytes>,
    /// Who answered with a value.
    holders: Vec<(PeerId, Bytes)>,
}

impl Finding {
    pub(super) fn new(find: Find, settings: Settings, from: Vec<PeerInfo>, now: Instant) -> Self {
        Self {
            lookup: Lookup::new(find.target(), settings, from),
            deadline: now + LONGEST,
            over: matches!(find, Find::Providers { wanted: 0, .. }),
            given: BTreeSet::new(),
            spare: Vec::new(),
            addresses: Vec::new(),
            reports: 0,
            best: None,
            holders: Vec::new(),
            find,
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<(PeerInfo, Message)> {
        if self.over {
            return None;
        }
        Some((self.lookup.next(now)?, self.find.request()))
    }

    pub(super) fn failed(&mut self, peer: &PeerId) {
        self.lookup.failed(peer);
    }

    /// Takes an answer, and says what is new in it.
    pub(super) fn answered(
        &mut self,
        peer: &PeerId,
        answer: Message,
        context: &Context<'_>,
        stats: &mut Stats,
    ) -> Vec<Event> {
        let Message { record, closer, providers, .. } = answer;
        let closer = closer.into_iter().filter(|other| other.id != context.local);
        let closer: Vec<PeerInfo> = closer.filter_map(|other| context.reachable(other)).collect();
        let events = match &self.find {
            Find::Closest { .. } => Vec::new(),
            Find::Peer(_) => {
                self.told_of_peer(peer, &closer);
                Vec::new()
            }
            Find::Providers { wanted, .. } => self.providers(providers, *wanted, context),
            Find::Value { key, quorum } => {
                let value = record.filter(|record| record.key == *key).map(|record| record.value);
                let (key, quorum) = (key.clone(), *quorum);
                value.map_or_else(Vec::new, |value| {
                    self.value(peer, &key, value, quorum, context, stats)
                })
            }
        };
        let there = closer.into_iter().filter(|other| !context.absent.holds(other));
        self.lookup.answered(peer, there.collect());
        events
    }

    fn told_of_peer(&mut self, from: &PeerId, closer: &[PeerInfo]) {
        let Find::Peer(wanted) = self.find else { return };
        if let Some(told) = closer.iter().find(|other| other.id == wanted)
            && !told.addresses.is_empty()
        {
            self.reports += 1;
            let new = told.addresses.iter().filter(|address| !self.addresses.contains(address));
            let new: Vec<Multiaddr> = new.cloned().collect();
            self.addresses.extend(new);
            self.addresses.truncate(2 * MAX_PEER_ADDRESSES);
        }
        self.over |= *from == wanted || self.reports >= REPORTS;
    }

    /// Of one answer only a share of what is wanted counts: whoever names a thousand providers that
    /// have nothing must not end the lookup before the others have been heard.
    fn providers(
        &mut self,
        providers: Vec<PeerInfo>,
        wanted: usize,
        context: &Context<'_>,
    ) -> Vec<Event> {
        let most = wanted.min(MAX_FOUND);
        let share = most.div_ceil(REPORTS).min(most - self.given.len());
        let mut events = Vec::new();
        for provider in providers {
            if provider.id == context.local || self.given.contains(&provider.id) {
                continue;
            }
            let provider = context.located(provider);
            if events.len() < share {
                self.given.insert(provider.id);
                events.push(Event::Provider(provider));
            } else if self.spare.len() < most {
                self.spare.push(provider);
            }
        }
        self.over |= self.given.len() >= most;
        events
    }

    /// What is given in the end, when there was room for more.
    fn spare(&mut self) -> Vec<Event> {
        let Find::Providers { wanted, .. } = self.find else { return Vec::new() };
        let mut events = Vec::new();
        for provider in std::mem::take(&mut self.spare) {
            if self.given.len() < wanted.min(MAX_FOUND) && self.given.insert(provider.id) {
                events.push(Event::Provider(provider));
            }
        }
        events
    }

    fn value(
        &mut self,
        peer: &PeerId,
        key: &[u8],
        value: Bytes,
        quorum: usize,
        context: &Context<'_>,
        stats: &mut Stats,
    ) -> Vec<Event> {
        let known = self.holders.iter().any(|(_, other)| *other == value);
        if !known && context.validators.validate(key, &value, context.now.wall).is_err() {
            stats.invalid_values += 1;
            return Vec::new();
        }
        self.holders.push((*peer, value.clone()));
        self.over |= self.holders.len() >= quorum;
        let better = match &self.best {
            Some(best) => context.validators.is_better(key, &value, best),
            None => true,
        };
        if !better {
            return Vec::new();
        }
        self.best = Some(value.clone());
        vec![Event::Value(value)]
    }

    /// The time of [`timeout`](Self::timeout) has come.
    pub(super) fn expire(&mut self, now: Instant) {
        self.lookup.expire(now);
        self.over |= now >= self.deadline;
    }

    pub(super) fn timeout(&self) -> Instant {
        self.lookup.timeout().map_or(self.deadline, |at| at.min(self.deadline))
    }

    pub(super) fn is_done(&self) -> bool {
        self.over || self.lookup.is_done()
    }

    /// What it has found in the end.
    pub(super) fn finish(mut self) -> (Vec<Event>, Outcome) {
        let mut found = self.spare();
        let closest = self.lookup.closest();
        if let Find::Peer(id) = self.find {
            // What it was reached at counts for more than what others say.
            let reached = closest.iter().find(|peer| peer.id == id).cloned();
            let told = PeerInfo::new(id, self.addresses);
            let told = Some(told).filter(|told| !told.addresses.is_empty());
            found.extend(reached.or(told).map(Event::Peer));
        }
        let holds_best = |peer: &PeerInfo| {
            let best = self.best.as_ref();
            self.holders.iter().any(|(holder, value)| *holder == peer.id && Some(value) == best)
        };
        let stale = match self.best {
            Some(_) => closest.iter().filter(|peer| !holds_best(peer)).cloned().collect(),
            None => Vec::new(),
        };
        let radius = closest
            .last()
            .map_or(0.0, |last| Position::of_peer(&last.id).distance(self.lookup.target()).share());
        let (asked, hops) = (self.lookup.asked(), self.lookup.hops());
        (found, Outcome { closest, stale, asked, hops, radius })
    }
}

impl Context<'_> {
    /// A peer that was told of, where it can be reached as far as addresses tell.
    fn reachable(&self, peer: PeerInfo) -> Option<PeerInfo> {
        let peer = self.located(peer);
        let reachable = !peer.addresses.is_empty() || self.known.contains_key(&peer.id);
        (reachable || self.scope == Scope::Any).then_some(peer)
    }

    /// With the addresses that count, or those that are known.
    fn located(&self, peer: PeerInfo) -> PeerInfo {
        let told = self.scope.filter(&peer.addresses);
        if !told.is_empty() {
            return PeerInfo::new(peer.id, told);
        }
        let known = self.known.get(&peer.id);
        let known = known.or_else(|| self.table.get(&peer.id).map(|entry| &entry.info.addresses));
        PeerInfo::new(peer.id, known.cloned().unwrap_or_default())
    }
}
