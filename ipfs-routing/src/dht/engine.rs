//! The DHT as a value: no socket, no clock, no task, no random source.
//!
//! What comes in is handed to `handle_…`, with the time; whom to ask what is asked for by
//! [`Engine::poll_query`] when there is room to ask, what lookups have found by
//! [`Engine::poll_event`], and when to wake by [`Engine::poll_timeout`]. The same calls with the same
//! seed give the same results, on every machine.
//!
//! It is the half that asks, and knows the peers. What is kept for others, and how they are
//! answered, needs a disk: that is the records' part.

mod absent;
mod find;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use ipfs_traits::{Multiaddr, PeerId, PeerInfo, Result};

pub use self::find::{Event, Find, Outcome};
use self::{absent::Absent, find::Finding, upkeep::Upkeep};
use super::{
    lookup::Settings,
    message::{MAX_CLOSER, Message},
    scope::Scope,
    table::{Inserted, Table},
};
use crate::{Validators, keyspace::Position};

/// How an [`Engine`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whose DHT it is.
    pub scope: Scope,
    /// Peers in a bucket, peers that keep a record, and peers in an answer: 20, as all have it.
    pub bucket: usize,
    /// Peers that a lookup asks at once: 10, as go-libp2p-kad-dht has it.
    pub parallel: usize,
    /// Ways of a lookup that have no peer in common: 1. More of them make it harder to lead a lookup
    /// astray, and cost as many times the questions.
    pub paths: usize,
    /// How long a lookup waits for a peer: 3 s, the dial of a distant one included. It is asked for
    /// longer; what it says then is taken.
    pub patience: Duration,
    /// How often the buckets are filled anew: every 10 minutes.
    pub refresh: Duration,
    /// Which values are believed.
    pub validators: Validators,
}

impl Config {
    /// The defaults for a scope, and no values.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            bucket: MAX_CLOSER,
            parallel: 10,
            paths: 1,
            patience: Duration::from_secs(3),
            refresh: Duration::from_secs(600),
            validators: Validators::new(),
        }
    }
}

/// The time, by both clocks: the one for waiting, and that of day by which records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For waiting.
    pub instant: Instant,
    /// The time of day.
    pub wall: SystemTime,
}

/// Names a lookup of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(u64);

/// Names a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u64);

/// A question to a peer. Its answer, or that there is none, goes to [`Engine::handle_reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Names it.
    pub id: QueryId,
    /// Whom to ask.
    pub peer: PeerInfo,
    /// What.
    pub request: Message,
}

/// What an [`Engine`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Peers in the routing table.
    pub peers: usize,
    /// Lookups that were begun, those of the upkeep included.
    pub lookups: u64,
    /// Questions that were asked.
    pub queries: u64,
    /// Questions that got no answer.
    pub failures: u64,
    /// Values that were not valid.
    pub invalid_values: u64,
    /// How many peers the network has, as far as the distances of the nearest ones tell.
    pub network_size: Option<u64>,
}

/// Addresses of peers that are connected or were told of, to be given to others.
type Known = BTreeMap<PeerId, Vec<Multiaddr>>;

/// The DHT, for one node.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    peer: PeerId,
    table: Table,
    lookups: BTreeMap<LookupId, Finding>,
    /// Whose turn it is to ask.
    turns: VecDeque<LookupId>,
    /// The questions that are on their way.
    asked: BTreeMap<QueryId, (Option<LookupId>, PeerInfo)>,
    events: VecDeque<(LookupId, Event)>,
    upkeep: Upkeep,
    absent: Absent,
    /// Where connected peers say they are.
    known: Known,
    next: u64,
    stats: Stats,
}

impl Engine {
    /// The DHT of a peer that knows nobody yet.
    pub fn new(peer: PeerId, config: Config, seed: [u8; 32], now: Instant) -> Self {
        let here = Position::of_peer(&peer);
        Self {
            peer,
            table: Table::new(here, config.scope, config.bucket),
            lookups: BTreeMap::new(),
            turns: VecDeque::new(),
            asked: BTreeMap::new(),
            events: VecDeque::new(),
            upkeep: Upkeep::new(peer, seed, now),
            absent: Absent::default(),
            known: BTreeMap::new(),
            next: 0,
            stats: Stats::default(),
            config,
        }
    }

    /// A peer is connected, and says that it can be reached there.
    pub fn handle_addresses(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let addresses = self.config.scope.filter(addresses);
        self.known.insert(peer, addresses);
    }

    /// These peers are connected, and no others.
    pub fn handle_connected(&mut self, peers: &BTreeSet<PeerId>) {
        self.known.retain(|peer, _| peers.contains(peer));
    }

    /// A peer is no longer connected.
    pub fn handle_gone(&mut self, peer: &PeerId) {
        self.known.remove(peer);
    }

    /// A peer may serve the DHT: it says so, or did so before. It has a place in the table when it
    /// has answered.
    pub fn handle_candidate(&mut self, peer: PeerInfo) {
        if peer.id != self.peer && self.table.has_room(&peer.id) {
            let peer = self.with_addresses(peer);
            self.upkeep.check(peer);
        }
    }

    /// A peer says that it does not serve the DHT.
    pub fn handle_client(&mut self, peer: &PeerId) {
        self.lose(peer);
    }

    /// Begins a lookup.
    pub fn start(&mut self, find: Find, now: Instant) -> LookupId {
        let id = LookupId(self.number());
        let wanted = find.wanted(self.config.bucket);
        let settings = Settings {
            scope: self.config.scope,
            wanted,
            parallel: self.config.parallel,
            paths: self.config.paths,
            patience: self.config.patience,
        };
        let from = self.table.closest(&find.target(), wanted.max(self.config.bucket));
        let from = from.into_iter().map(|entry| entry.info.clone()).collect();
        self.stats.lookups += 1;
        self.lookups.insert(id, Finding::new(find, settings, from, now));
        self.turns.push_back(id);
        self.settle(id);
        id
    }

    /// Ends a lookup: nothing more of it is told.
    pub fn cancel(&mut self, id: LookupId) {
        self.lookups.remove(&id);
        self.turns.retain(|other| *other != id);
        self.events.retain(|(other, _)| *other != id);
    }

    /// Whom to ask now, if anybody. Called when there is room for one more question.
    pub fn poll_query(&mut self, now: Instant) -> Option<Query> {
        if let Some(peer) = self.upkeep.next_check() {
            let request = find::near(self.peer.to_bytes());
            return Some(self.ask(None, peer, request));
        }
        for _ in 0..self.turns.len() {
            let id = self.turns.pop_front()?;
            self.turns.push_back(id);
            if let Some(finding) = self.lookups.get_mut(&id)
                && let Some((peer, request)) = finding.next(now)
            {
                return Some(self.ask(Some(id), peer, request));
            }
        }
        None
    }

    fn ask(&mut self, lookup: Option<LookupId>, peer: PeerInfo, request: Message) -> Query {
        let id = QueryId(self.number());
        self.asked.insert(id, (lookup, peer.clone()));
        self.stats.queries += 1;
        Query { id, peer, request }
    }

    /// The answer to a question, or why there is none.
    pub fn handle_reply(&mut self, id: QueryId, reply: Result<Message>, now: Now) {
        let Some((lookup, peer)) = self.asked.remove(&id) else { return };
        if lookup.is_none() {
            self.upkeep.checked(&peer.id);
        }
        match reply {
            Ok(answer) => self.answered(lookup, peer, answer, now),
            Err(error) => {
                tracing::trace!(peer = %peer.id, %error, "a peer of the DHT did not answer");
                self.stats.failures += 1;
                self.lose(&peer.id);
                if let Some(finding) = lookup.and_then(|id| self.lookups.get_mut(&id)) {
                    finding.failed(&peer.id);
                }
                self.absent.note(peer, now.instant);
            }
        }
        if let Some(id) = lookup {
            self.settle(id);
        }
    }

    fn answered(&mut self, lookup: Option<LookupId>, peer: PeerInfo, answer: Message, now: Now) {
        let id = peer.id;
        self.absent.is_there(&id);
        self.absent.forget(now.instant);
        let inserted = self.table.insert(self.with_addresses(peer), now.instant);
        if inserted == Inserted::New && self.table.len() == 1 {
            self.upkeep.refresh_now(now.instant);
        }
        let Some(finding) = lookup.and_then(|id| self.lookups.get_mut(&id)) else { return };
        let context = find::Context {
            local: self.peer,
            scope: self.config.scope,
            table: &self.table,
            known: &self.known,
            absent: &self.absent,
            validators: &self.config.validators,
            now,
        };
        let found = finding.answered(&id, answer, &context, &mut self.stats);
        if let Some(lookup) = lookup.filter(|id| !self.upkeep.is_own(id)) {
            self.events.extend(found.into_iter().map(|event| (lookup, event)));
        }
    }

    /// What a lookup has found, in order.
    pub fn poll_event(&mut self) -> Option<(LookupId, Event)> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Instant {
        let lookups = self.lookups.values().map(Finding::timeout);
        lookups.min().map_or(self.upkeep.due(), |at| at.min(self.upkeep.due()))
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named, or a later one.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late: Vec<LookupId> = self
            .lookups
            .iter()
            .filter(|(_, finding)| finding.timeout() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(finding) = self.lookups.get_mut(&id) {
                finding.expire(now);
            }
            self.settle(id);
        }
        if now >= self.upkeep.due() {
            self.refresh(now);
        }
    }

    /// Looks for peers near this one and in each bucket, and asks the silent whether they are there.
    fn refresh(&mut self, now: Instant) {
        let (table, config) = (&self.table, &self.config);
        for target in self.upkeep.targets(table, config, now) {
            let id = self.start(Find::Closest { key: target, wanted: self.config.bucket }, now);
            if self.lookups.contains_key(&id) {
                self.upkeep.own(id);
            } else {
                self.events.retain(|(other, _)| *other != id);
            }
        }
    }

    /// Ends a lookup that has nothing more to ask.
    fn settle(&mut self, id: LookupId) {
        if !self.lookups.get(&id).is_some_and(Finding::is_done) {
            return;
        }
        let Some(finding) = self.lookups.remove(&id) else { return };
        self.turns.retain(|other| *other != id);
        let (found, outcome) = finding.finish();
        self.upkeep.measure(&outcome, self.config.bucket);
        if !self.upkeep.finished(&id) {
            self.events.extend(found.into_iter().map(|event| (id, event)));
            self.events.push_back((id, Event::Done(outcome)));
        }
    }

    /// The peers nearest to a key that are known, the nearest first: what `asker` is answered.
    pub fn closest(&self, key: &[u8], asker: Option<&PeerId>) -> Vec<PeerInfo> {
        let near = self.table.closest(&Position::of_key(key), self.config.bucket + 1);
        let others = near.into_iter().filter(|entry| Some(&entry.info.id) != asker);
        others.take(self.config.bucket).map(|entry| entry.info.clone()).collect()
    }

    /// Where a peer says it is that is connected, or in the table.
    pub fn addresses_of(&self, peer: &PeerId) -> Option<Vec<Multiaddr>> {
        let known = self.known.get(peer).filter(|addresses| !addresses.is_empty());
        known.or_else(|| self.table.get(peer).map(|entry| &entry.info.addresses)).cloned()
    }

    /// The peers of the routing table.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.table.entries().map(|entry| entry.info.clone()).collect()
    }

    /// Whether this node is among the nearest to a key that it knows of: whether it is for it to
    /// keep what stands under the key.
    pub fn is_near(&self, key: &[u8]) -> bool {
        let target = Position::of_key(key);
        let nearest = self.table.closest(&target, self.config.bucket);
        let own = Position::of_peer(&self.peer).distance(&target);
        nearest.len() < self.config.bucket
            || nearest.last().is_some_and(|last| own < last.position.distance(&target))
    }

    /// Whether it knows somebody, and looks for nobody to fill its table.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.table.len() > 0 && self.upkeep.due() > now && self.upkeep.is_idle()
    }

    /// How it works.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        Stats { peers: self.table.len(), network_size: self.upkeep.network_size(), ..self.stats }
    }

    /// A peer that does not answer, or does not serve; the place it leaves is another one's.
    fn lose(&mut self, peer: &PeerId) {
        if let Some(next) = self.table.remove(peer) {
            self.upkeep.check(next);
        }
    }

    /// Where a connected peer says that it is counts for more than what others say.
    fn with_addresses(&self, peer: PeerInfo) -> PeerInfo {
        match self.known.get(&peer.id) {
            Some(known) if !known.is_empty() => PeerInfo::new(peer.id, known.clone()),
            _ => {
                let scope = self.config.scope;
                PeerInfo::new(peer.id, scope.filter(&peer.addresses))
            }
        }
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests;
