//! Any number of nodes of a DHT on a virtual clock, with delay, loss, the dead and liars.

mod liars;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use ipfs_routing::{
    Position, Validators,
    dht::{
        Answers, Limits, Records, Scope, Sweep,
        engine::{Config, Engine, Event, Find, LookupId, Now, Outcome, QueryId},
        message::{Kind, Message},
    },
};
use ipfs_traits::{Error, Multiaddr, Multihash, PeerId, PeerInfo, memory::MemoryDatastore};

pub(crate) use self::liars::Liar;
use crate::numbers::Numbers;

/// A dial of somebody who is not there.
const DIAL: Duration = Duration::from_secs(5);
/// An answer that never comes.
const LOST: Duration = Duration::from_secs(10);
/// Questions of a node that are on their way at once.
const QUERIES: usize = 64;

pub(crate) struct Node {
    pub(crate) info: PeerInfo,
    pub(crate) position: Position,
    engine: Arc<Mutex<Engine>>,
    answers: Answers,
    pub(crate) liar: Option<Liar>,
    /// It can be reached, and serves.
    pub(crate) serves: bool,
    pub(crate) alive: bool,
    /// When it joined.
    since: Duration,
    in_flight: usize,
    /// When its engine is to be woken.
    wake: Option<Duration>,
    lookups: BTreeMap<LookupId, usize>,
}

enum Happens {
    Request { to: usize, from: usize, query: QueryId, message: Vec<u8> },
    Reply { to: usize, query: QueryId, reply: Result<Vec<u8>, ()> },
    Told { to: usize, from: usize, message: Vec<u8> },
    Wake { node: usize },
    Join { node: usize, through: Vec<usize> },
}

/// A lookup that somebody waits for.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) providers: Vec<PeerId>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) took: Duration,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    /// Messages in a thousand that are lost.
    pub(crate) loss: u64,
    pub(crate) paths: usize,
}

/// The multihash of a number: the name of a peer, or of a block.
pub(crate) fn hash(number: u64) -> Multihash {
    let digest = Position::of_key(&number.to_be_bytes());
    Multihash::wrap(0x12, digest.as_bytes()).unwrap()
}

pub(crate) fn name(number: u64) -> PeerId {
    PeerId::from_multihash(hash(number)).unwrap()
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    by_id: BTreeMap<PeerId, usize>,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    happening: BTreeMap<u64, Happens>,
    order: u64,
    start: Instant,
    pub(crate) elapsed: Duration,
    pub(crate) numbers: Numbers,
    settings: Settings,
    found: BTreeMap<usize, Found>,
    begun: BTreeMap<usize, Duration>,
    next_lookup: usize,
    pub(crate) messages: u64,
    nobodies: Vec<PeerInfo>,
}

fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap()
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            events: BinaryHeap::new(),
            happening: BTreeMap::new(),
            order: 0,
            start: Instant::now(),
            elapsed: Duration::ZERO,
            numbers: Numbers(settings.seed),
            settings,
            found: BTreeMap::new(),
            begun: BTreeMap::new(),
            next_lookup: 0,
            messages: 0,
            nobodies: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Now { instant: self.start + self.elapsed, wall: epoch + self.elapsed }
    }

    /// A public address, of a random machine.
    pub(crate) fn address(&mut self) -> Multiaddr {
        loop {
            let [a, b, c, d, ..] = self.numbers.next().to_be_bytes();
            let address = format!("/ip4/{a}.{b}.{c}.{d}/tcp/4001").parse().unwrap();
            if Scope::Wan.allows(&address) {
                return address;
            }
        }
    }

    /// A node that is not there yet.
    pub(crate) fn add(&mut self, serves: bool, liar: Option<Liar>) -> usize {
        let id = name(self.numbers.next());
        let address = self.address();
        self.add_as(PeerInfo::new(id, vec![address]), serves, liar)
    }

    pub(crate) fn add_as(&mut self, info: PeerInfo, serves: bool, liar: Option<Liar>) -> usize {
        let now = self.now();
        let mut config = Config::new(Scope::Wan);
        config.validators = Validators::new();
        config.paths = self.settings.paths.max(1);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.numbers.next().to_be_bytes());
        let engine = Engine::new(info.id, config, seed, now.instant);
        let engine = Arc::new(Mutex::new(engine));
        let store = Arc::new(MemoryDatastore::new());
        let records = Records::open(store, Scope::Wan, Limits::default(), now.wall);
        let records = Arc::new(records.now_or_never().unwrap().unwrap());
        let number = self.nodes.len();
        self.by_id.insert(info.id, number);
        self.nodes.push(Node {
            position: Position::of_peer(&info.id),
            answers: Answers::new(engine.clone(), records),
            engine,
            info,
            liar,
            serves,
            alive: false,
            since: Duration::ZERO,
            in_flight: 0,
            wake: None,
            lookups: BTreeMap::new(),
        });
        number
    }

    fn at(&mut self, after: Duration, what: Happens) {
        self.order += 1;
        self.events.push(Reverse((self.elapsed + after, self.order)));
        self.happening.insert(self.order, what);
    }

    /// Has a node join after a while, knowing of some.
    pub(crate) fn join(&mut self, node: usize, after: Duration, through: Vec<usize>) {
        self.at(after, Happens::Join { node, through });
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while let Some(Reverse((at, _))) = self.events.peek()
            && *at <= end
        {
            self.step();
        }
        self.elapsed = end;
    }

    fn step(&mut self) -> bool {
        let Some(Reverse((at, order))) = self.events.pop() else { return false };
        self.elapsed = at;
        let what = self.happening.remove(&order).unwrap();
        match what {
            Happens::Join { node, through } => {
                self.nodes[node].alive = true;
                self.nodes[node].since = at;
                for other in through {
                    let info = self.nodes[other].info.clone();
                    lock(&self.nodes[node].engine).handle_candidate(info);
                }
                self.pump(node);
            }
            Happens::Wake { node } => {
                if self.nodes[node].wake == Some(at) {
                    self.nodes[node].wake = None;
                    let now = self.now().instant;
                    if self.nodes[node].alive {
                        lock(&self.nodes[node].engine).handle_timeout(now);
                        self.pump(node);
                    }
                }
            }
            Happens::Request { to, from, query, message } => {
                self.request(to, from, query, &message)
            }
            Happens::Told { to, from, message } => {
                self.reply_of(to, from, &message);
            }
            Happens::Reply { to, query, reply } => {
                self.nodes[to].in_flight -= 1;
                let reply = match reply {
                    Ok(bytes) => Message::decode(&bytes),
                    Err(()) => Err(Error::TimedOut("an answer")),
                };
                if self.nodes[to].alive {
                    let now = self.now();
                    lock(&self.nodes[to].engine).handle_reply(query, reply, now);
                    self.pump(to);
                }
            }
        }
        true
    }

    fn request(&mut self, to: usize, from: usize, query: QueryId, message: &[u8]) {
        let delay = self.delay(from, to);
        let reply = match self.reply_of(to, from, message) {
            Some(reply) => Happens::Reply { to: from, query, reply: Ok(reply) },
            None => Happens::Reply { to: from, query, reply: Err(()) },
        };
        self.at(delay, reply);
        // Who serves tells so when it connects.
        if self.nodes[from].serves && self.nodes[from].alive {
            let info = self.nodes[from].info.clone();
            lock(&self.nodes[to].engine).handle_candidate(info);
            self.pump(to);
        }
    }

    fn reply_of(&mut self, to: usize, from: usize, message: &[u8]) -> Option<Vec<u8>> {
        let request = Message::decode(message).unwrap();
        let (asker, now) = (self.nodes[from].info.id, self.now());
        if let Some(liar) = self.nodes[to].liar
            && let Some(lie) = liar.lie(self, to, &request)
        {
            return Some(lie.encode());
        }
        let answer = self.nodes[to].answers.answer(&asker, request, now).now_or_never();
        let answer = answer.expect("a store in memory does not wait");
        answer.ok().flatten().map(|answer| answer.encode())
    }

    /// Half a round trip between two nodes: 10 to 100 ms, always the same.
    fn delay(&self, a: usize, b: usize) -> Duration {
        let mut pair = Numbers(self.settings.seed ^ ((a.min(b) as u64) << 32 | a.max(b) as u64));
        Duration::from_millis(10 + pair.below(90))
    }

    fn pump(&mut self, node: usize) {
        let now = self.now().instant;
        while self.nodes[node].in_flight < QUERIES {
            let query = lock(&self.nodes[node].engine).poll_query(now);
            let Some(query) = query else { break };
            self.nodes[node].in_flight += 1;
            self.messages += 1;
            let there = self.by_id.get(&query.peer.id).copied();
            let there = there.filter(|other| {
                let other = &self.nodes[*other];
                other.alive
                    && other.serves
                    && query.peer.addresses.contains(&other.info.addresses[0])
            });
            let lost = self.numbers.below(1000) < self.settings.loss;
            let failed = |query| Happens::Reply { to: node, query, reply: Err(()) };
            match there {
                None => self.at(DIAL, failed(query.id)),
                Some(_) if lost => self.at(LOST, failed(query.id)),
                Some(to) => {
                    // A dial and a question: two round trips and a half.
                    let delay = self.delay(node, to) * 5;
                    let message = query.request.encode();
                    self.at(delay, Happens::Request { to, from: node, query: query.id, message });
                }
            }
        }
        loop {
            let event = lock(&self.nodes[node].engine).poll_event();
            let Some((id, event)) = event else { break };
            let Some(number) = self.nodes[node].lookups.get(&id).copied() else { continue };
            let elapsed = self.elapsed;
            let found = self.found.entry(number).or_default();
            match event {
                Event::Provider(peer) => found.providers.push(peer.id),
                Event::Done(outcome) => {
                    found.outcome = Some(outcome);
                    found.took = elapsed - self.begun[&number];
                    self.nodes[node].lookups.remove(&id);
                }
                _ => {}
            }
        }
        let due = lock(&self.nodes[node].engine).poll_timeout();
        let due = due.saturating_duration_since(self.start).max(self.elapsed);
        if self.nodes[node].wake.is_none_or(|wake| due < wake) {
            self.nodes[node].wake = Some(due);
            self.at(due - self.elapsed, Happens::Wake { node });
        }
    }

    /// Runs lookups side by side, until all of them are over.
    pub(crate) fn lookups(&mut self, finds: Vec<(usize, Find)>) -> Vec<Found> {
        let now = self.now().instant;
        let mut numbers = Vec::new();
        for (node, find) in finds {
            let number = self.next_lookup;
            self.next_lookup += 1;
            let id = lock(&self.nodes[node].engine).start(find, now);
            self.nodes[node].lookups.insert(id, number);
            self.begun.insert(number, self.elapsed);
            self.found.insert(number, Found::default());
            numbers.push(number);
            self.pump(node);
        }
        while numbers.iter().any(|number| self.found[number].outcome.is_none()) {
            assert!(self.step(), "a lookup has no end");
        }
        numbers.iter().map(|number| self.found.remove(number).unwrap()).collect()
    }

    /// Announces keys by regions; says how many lookups and messages it took.
    pub(crate) fn sweep(&mut self, node: usize, keys: Vec<Multihash>) -> (usize, usize) {
        let (mut sweep, mut lookups, mut messages) = (Sweep::new(keys, 20), 0, 0);
        while let Some(find) = sweep.lookup() {
            lookups += 1;
            let found = self.lookups(vec![(node, find)]).remove(0);
            let outcome = found.outcome.unwrap();
            messages += outcome.asked;
            for share in sweep.found(&outcome.closest) {
                for place in share.keys {
                    messages += 1;
                    self.tell(node, &share.peer.id, *sweep.key(place).unwrap());
                }
            }
        }
        self.run_for(Duration::from_secs(1));
        (lookups, messages)
    }

    /// Bytes of a record that a node sends.
    pub(crate) fn record_bytes(&self, node: usize) -> usize {
        let mut message = Message::new(Kind::AddProvider, hash(0).to_bytes());
        message.providers.push(self.nodes[node].info.clone());
        message.encode().len()
    }

    /// Tells a peer that a node has a block.
    pub(crate) fn tell(&mut self, node: usize, peer: &PeerId, key: Multihash) {
        let to = self.by_id.get(peer).copied().filter(|to| self.nodes[*to].alive);
        if let Some(to) = to {
            let mut message = Message::new(Kind::AddProvider, key.to_bytes());
            message.providers.push(self.nodes[node].info.clone());
            let delay = self.delay(node, to);
            self.at(delay, Happens::Told { to, from: node, message: message.encode() });
        }
    }

    /// The honest server nearest to a key but one, as who sees all knows it, of those that have been
    /// there for a minute: who has just come is not known to anybody yet.
    pub(crate) fn nearest(&self, target: &Position, besides: usize) -> PeerId {
        let distance = |node: &&Node| {
            let (a, b) = (node.position.as_bytes(), target.as_bytes());
            let mut xor = [0; 32];
            xor.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = a ^ b);
            xor
        };
        let settled = |node: &&Node| self.elapsed >= node.since + Duration::from_secs(60);
        let there =
            |node: &&Node| node.alive && node.serves && node.liar.is_none() && settled(node);
        let others = self.nodes.iter().enumerate().filter(|(number, _)| *number != besides);
        others.map(|(_, node)| node).filter(there).min_by_key(distance).unwrap().info.id
    }

    /// Somebody honest who is there, and is not this one.
    pub(crate) fn somebody_else(&mut self, besides: usize) -> usize {
        loop {
            let node = self.somebody();
            if node != besides {
                return node;
            }
        }
    }

    /// Somebody honest who is there.
    pub(crate) fn somebody(&mut self) -> usize {
        loop {
            let node = self.numbers.below(self.nodes.len() as u64) as usize;
            if self.nodes[node].alive && self.nodes[node].liar.is_none() {
                return node;
            }
        }
    }

    pub(crate) fn stats(&self, node: usize) -> ipfs_routing::dht::engine::Stats {
        lock(&self.nodes[node].engine).stats()
    }
}
