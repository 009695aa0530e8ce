//! One walk towards a position: whom to ask next, and when all is known that can be known.
//!
//! It asks the nearest peers that it has heard of, several at once, and is at its end when the
//! nearest of them have all answered. Of a peer that is slow it no longer waits; it takes the answer
//! even so, should it come.
//!
//! What others say is believed as far as it proves itself: a peer whose referrals all fail is not
//! followed any more, and neighbours in address space count as few.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ipfs_traits::{PeerId, PeerInfo};

use super::scope::{Group, Scope};
use crate::keyspace::{Distance, Position};

/// Referrals of a peer that may fail, none of them having answered, before the rest of them is left
/// alone. In a network where a third of the peers is gone, an honest one loses all its referrals so
/// one time in 240.
const DISTRUST: u32 = 5;

/// Peers at neighbouring addresses that count among the nearest.
const MAX_OF_GROUP: usize = 3;

/// Peers that are remembered: the farthest are forgotten beyond it.
const MAX_CANDIDATES: usize = 1024;

/// Peers that one walk may ask, for each one that is wanted: some ten times what it needs.
const MAX_ASKED: usize = 10;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) scope: Scope,
    /// How many of the nearest have to answer.
    pub(crate) wanted: usize,
    /// How many are asked at once.
    pub(crate) parallel: usize,
    /// Ways that have no peer in common.
    pub(crate) paths: usize,
    /// How long a peer is waited for.
    pub(crate) patience: Duration,
}

#[derive(Debug)]
pub(crate) struct Lookup {
    target: Position,
    settings: Settings,
    candidates: BTreeMap<Distance, Candidate>,
    /// Who was asked when, the first first; some have answered since.
    waiting: VecDeque<(Instant, Distance)>,
    /// How many are waited for, of each path.
    in_flight: Vec<usize>,
    asked: usize,
}

#[derive(Debug)]
struct Candidate {
    info: PeerInfo,
    state: State,
    groups: Vec<Group>,
    /// How many referrals lie between this node and it.
    hop: u32,
    path: usize,
    /// Who told of it; nobody for those that were known.
    referrers: Vec<Distance>,
    /// What became of those that it told of.
    good: u32,
    bad: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    /// It is not waited for.
    Slow,
    Answered,
    Failed,
}

impl Lookup {
    /// From these peers towards the target.
    pub(crate) fn new(target: Position, settings: Settings, from: Vec<PeerInfo>) -> Self {
        let paths = settings.paths.max(1);
        let mut lookup = Self {
            target,
            settings,
            candidates: BTreeMap::new(),
            waiting: VecDeque::new(),
            in_flight: vec![0; paths],
            asked: 0,
        };
        for (number, peer) in from.into_iter().enumerate() {
            lookup.hear(peer, None, 1, number % paths);
        }
        lookup
    }

    pub(crate) const fn target(&self) -> &Position {
        &self.target
    }

    /// How many were asked.
    pub(crate) const fn asked(&self) -> usize {
        self.asked
    }

    /// Whom to ask now, if anybody.
    pub(crate) fn next(&mut self, now: Instant) -> Option<PeerInfo> {
        if self.asked >= self.most_asked() {
            return None;
        }
        let at = (0..self.in_flight.len()).find_map(|path| self.next_of(path))?;
        let candidate = self.candidates.get_mut(&at)?;
        candidate.state = State::Asked;
        self.in_flight[candidate.path] += 1;
        self.waiting.push_back((now, at));
        self.asked += 1;
        Some(candidate.info.clone())
    }

    fn next_of(&self, path: usize) -> Option<Distance> {
        if self.in_flight[path] >= (self.settings.parallel / self.in_flight.len()).max(1) {
            return None;
        }
        let mut frontier = self.frontier(path);
        frontier.find(|(_, candidate)| candidate.state == State::New).map(|(at, _)| at)
    }

    /// The nearest peers of a path, as many as are wanted: those that have answered, are asked, or
    /// are to be asked.
    fn frontier(&self, path: usize) -> impl Iterator<Item = (Distance, &Candidate)> {
        let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
        self.candidates
            .iter()
            .filter(move |(_, candidate)| candidate.path == path)
            .filter(|(_, candidate)| match candidate.state {
                State::Failed | State::Slow => false,
                State::New => self.is_trusted(candidate),
                State::Asked | State::Answered => true,
            })
            .filter(move |(_, candidate)| is_room(&mut groups, &candidate.groups))
            .take(self.settings.wanted)
            .map(|(at, candidate)| (*at, candidate))
    }

    /// Whether somebody told of it whose referrals are not all bad.
    fn is_trusted(&self, candidate: &Candidate) -> bool {
        candidate.referrers.is_empty()
            || candidate.referrers.iter().any(|referrer| {
                self.candidates.get(referrer).is_none_or(|it| it.bad < DISTRUST || it.good > 0)
            })
    }

    const fn most_asked(&self) -> usize {
        MAX_ASKED * self.settings.wanted
    }

    /// A peer has answered, and told of these.
    pub(crate) fn answered(&mut self, peer: &PeerId, closer: Vec<PeerInfo>) {
        let at = self.at(peer);
        let Some(candidate) = self.candidates.get_mut(&at) else { return };
        if matches!(candidate.state, State::New | State::Answered) {
            return;
        }
        let was_slow = candidate.state == State::Slow;
        if candidate.state == State::Asked {
            self.in_flight[candidate.path] -= 1;
        }
        candidate.state = State::Answered;
        let (hop, path) = (candidate.hop, candidate.path);
        self.credit(at, |referrer| {
            referrer.good += 1;
            referrer.bad -= u32::from(was_slow).min(referrer.bad);
        });
        for other in closer {
            self.hear(other, Some(at), hop + 1, path);
        }
        while self.candidates.len() > MAX_CANDIDATES {
            if let Some((_, forgotten)) = self.candidates.pop_last()
                && forgotten.state == State::Asked
            {
                self.in_flight[forgotten.path] -= 1;
            }
        }
    }

    /// A peer cannot be reached, or its answer makes no sense.
    pub(crate) fn failed(&mut self, peer: &PeerId) {
        let at = self.at(peer);
        let Some(candidate) = self.candidates.get_mut(&at) else { return };
        match std::mem::replace(&mut candidate.state, State::Failed) {
            State::Asked => {
                self.in_flight[candidate.path] -= 1;
                self.credit(at, |referrer| referrer.bad += 1);
            }
            State::Answered => candidate.state = State::Answered,
            State::New | State::Slow | State::Failed => {}
        }
    }

    /// Stops waiting for those who are slow.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((since, at)) = self.waiting.front().copied()
            && now >= since + self.settings.patience
        {
            self.waiting.pop_front();
            if let Some(candidate) = self.candidates.get_mut(&at)
                && candidate.state == State::Asked
            {
                candidate.state = State::Slow;
                self.in_flight[candidate.path] -= 1;
                self.credit(at, |referrer| referrer.bad += 1);
            }
        }
    }

    /// When it is to be seen who is slow, if somebody may be waited for.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(since, _)| *since + self.settings.patience)
    }

    /// Whether all is known: nobody is left to ask, and nobody is waited for who counts.
    pub(crate) fn is_done(&self) -> bool {
        let may_ask = self.asked < self.most_asked();
        (0..self.in_flight.len()).all(|path| {
            self.frontier(path).all(|(_, candidate)| match candidate.state {
                State::New => !may_ask,
                State::Asked => false,
                _ => true,
            })
        })
    }

    /// Those who have answered, the nearest first, as many as were wanted.
    pub(crate) fn closest(&self) -> Vec<PeerInfo> {
        let mut groups = BTreeMap::new();
        self.candidates
            .values()
            .filter(|candidate| candidate.state == State::Answered)
            .filter(|candidate| is_room(&mut groups, &candidate.groups))
            .take(self.settings.wanted)
            .map(|candidate| candidate.info.clone())
            .collect()
    }

    /// How many referrals led to the nearest one.
    pub(crate) fn hops(&self) -> u32 {
        let mut answered =
            self.candidates.values().filter(|candidate| candidate.state == State::Answered);
        answered.next().map_or(0, |candidate| candidate.hop)
    }

    fn at(&self, peer: &PeerId) -> Distance {
        Position::of_peer(peer).distance(&self.target)
    }

    fn credit(&mut self, of: Distance, change: impl Fn(&mut Candidate)) {
        let referrers = self
            .candidates
            .get(&of)
            .map(|candidate| candidate.referrers.clone())
            .unwrap_or_default();
        for referrer in referrers {
            if let Some(referrer) = self.candidates.get_mut(&referrer) {
                change(referrer);
            }
        }
    }

    fn hear(&mut self, peer: PeerInfo, from: Option<Distance>, hop: u32, path: usize) {
        let at = self.at(&peer.id);
        let scope = self.settings.scope;
        let heard = self.candidates.entry(at).or_insert_with(|| Candidate {
            groups: scope.groups(&peer.addresses),
            info: PeerInfo::new(peer.id, Vec::new()),
            state: State::New,
            hop,
            path,
            referrers: Vec::new(),
            good: 0,
            bad: 0,
        });
        if heard.info.addresses.is_empty() {
            heard.groups = scope.groups(&peer.addresses);
            heard.info.addresses = peer.addresses;
        }
        // Who was known before is not made suspect by whoever tells of it, and three are enough.
        if let Some(from) = from
            && (!heard.referrers.is_empty() || heard.hop > 1)
            && heard.referrers.len() < 3
            && !heard.referrers.contains(&from)
        {
            heard.referrers.push(from);
        }
    }
}

/// Whether another one of these groups may count, and counts it.
fn is_room(groups: &mut BTreeMap<Group, usize>, of: &[Group]) -> bool {
    if of.iter().any(|group| groups.get(group).is_some_and(|count| *count >= MAX_OF_GROUP)) {
        return false;
    }
    of.iter().for_each(|group| *groups.entry(*group).or_default() += 1);
    true
}

#[cfg(test)]
mod tests;
