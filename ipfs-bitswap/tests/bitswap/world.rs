//! Nodes that are bare engines, on a virtual clock, joined by links with delay, loss and a bandwidth.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

use ipfs_bitswap::{
    engine::{Engine, Output, SessionId},
    message::{Received, Version},
};
use ipfs_traits::{Block, Bytes, Cid, HashTable, PeerId, codes, memory::peer_id, varint};

use crate::numbers::Numbers;

/// What a link does to what is sent over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The least and the most time that a message takes.
    pub(crate) delay: (Duration, Duration),
    /// Messages lost, of a thousand.
    pub(crate) loss: u64,
    /// Bytes a second.
    pub(crate) bandwidth: f64,
}

impl Link {
    pub(crate) const GOOD: Self = Self {
        delay: (Duration::from_millis(1), Duration::from_millis(5)),
        loss: 0,
        bandwidth: 1e8,
    };
}

/// Raw blocks that no two seeds share.
pub(crate) fn blocks(seed: u64, count: usize, len: usize) -> Vec<Block> {
    let hashes = HashTable::standard();
    (0..count)
        .map(|i| {
            let mut data = vec![i as u8; len];
            data[..8].copy_from_slice(&seed.to_be_bytes());
            data[8..16].copy_from_slice(&(i as u64).to_be_bytes());
            Block::of(codes::RAW, codes::SHA2_256, data, &hashes).unwrap()
        })
        .collect()
}

struct Node {
    engine: Engine,
    store: BTreeMap<Cid, Block>,
    /// Whether something is on its way out to a peer.
    busy: BTreeSet<PeerId>,
    delivered: Vec<(SessionId, Cid)>,
    searches: usize,
    alive: bool,
    /// Says that it has everything, and gives nothing.
    liar: bool,
}

enum What {
    Arrive { to: PeerId, from: PeerId, bytes: Vec<u8> },
    Sent { from: PeerId, to: PeerId, bytes: usize },
}

struct Event {
    at: Instant,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Nodes, the links between them, and a clock.
pub(crate) struct World {
    nodes: BTreeMap<PeerId, Node>,
    events: BinaryHeap<Event>,
    pub(crate) now: Instant,
    start: Instant,
    link: Link,
    numbers: Numbers,
    order: u64,
    /// When the last message arrives on each way: a stream keeps its order.
    last: BTreeMap<(PeerId, PeerId), Instant>,
    pub(crate) messages: u64,
    hashes: HashTable,
}

impl World {
    pub(crate) fn new(seed: u64, count: u64, link: Link) -> Self {
        let start = Instant::now();
        let node = |i: u64| {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&(seed ^ (i << 40)).to_be_bytes());
            let node = Node {
                engine: Engine::new(random),
                store: BTreeMap::new(),
                busy: BTreeSet::new(),
                delivered: Vec::new(),
                searches: 0,
                alive: true,
                liar: false,
            };
            (peer_id(i), node)
        };
        Self {
            nodes: (0..count).map(node).collect(),
            events: BinaryHeap::new(),
            now: start,
            start,
            link,
            numbers: Numbers(seed),
            order: 0,
            last: BTreeMap::new(),
            messages: 0,
            hashes: HashTable::standard(),
        }
    }

    fn node(&mut self, id: PeerId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    pub(crate) fn give(&mut self, id: PeerId, blocks: &[Block]) {
        self.node(id).store.extend(blocks.iter().map(|block| (*block.cid(), block.clone())));
        self.node(id).engine.handle_new_blocks(blocks);
        self.pump(id);
    }

    pub(crate) fn lie(&mut self, id: PeerId) {
        self.node(id).liar = true;
    }

    pub(crate) fn connect(&mut self, a: PeerId, b: PeerId) {
        let now = self.now;
        self.node(a).engine.handle_connected(b, Version::V1_2, now);
        self.node(b).engine.handle_connected(a, Version::V1_2, now);
        self.pump(a);
        self.pump(b);
    }

    /// A node stops, and the others learn it.
    pub(crate) fn stop(&mut self, id: PeerId) {
        self.node(id).alive = false;
        let now = self.now;
        let others: Vec<PeerId> =
            self.nodes.keys().filter(|other| **other != id).copied().collect();
        for other in others {
            self.node(other).engine.handle_gone(id, now);
            self.node(other).busy.remove(&id);
            self.pump(other);
        }
    }

    /// A node says nothing any more, and nobody learns it.
    pub(crate) fn freeze(&mut self, id: PeerId) {
        self.node(id).alive = false;
    }

    pub(crate) fn session(&mut self, id: PeerId) -> SessionId {
        self.node(id).engine.open_session()
    }

    pub(crate) fn want(&mut self, id: PeerId, session: SessionId, cid: Cid) {
        let now = self.now;
        self.node(id).engine.want(session, cid, now);
        self.pump(id);
    }

    pub(crate) fn cancel(&mut self, id: PeerId, session: SessionId, cid: &Cid) {
        self.node(id).engine.cancel(session, cid);
        self.pump(id);
    }

    pub(crate) fn close_session(&mut self, id: PeerId, session: SessionId) {
        self.node(id).engine.close_session(session);
        self.pump(id);
    }

    pub(crate) fn engine(&self, id: PeerId) -> &Engine {
        &self.nodes[&id].engine
    }

    pub(crate) fn searches(&self, id: PeerId) -> usize {
        self.nodes[&id].searches
    }

    pub(crate) fn delivered(&mut self, id: PeerId) -> Vec<(SessionId, Cid)> {
        std::mem::take(&mut self.node(id).delivered)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Does what a node's engine wants done.
    fn pump(&mut self, id: PeerId) {
        while let Some(output) = self.node(id).engine.poll_output() {
            let node = self.nodes.get_mut(&id).unwrap();
            match output {
                Output::Deliver { session, block } => {
                    node.delivered.push((session, *block.cid()));
                    node.engine.handle_new_blocks(std::slice::from_ref(&block));
                    node.store.insert(*block.cid(), block);
                }
                Output::Sizes { peer, cids } => {
                    let size = |cid: &Cid| match node.liar {
                        true => Some(1 << 20),
                        false => node.store.get(cid).map(|block| block.len() as u64),
                    };
                    let sizes = cids.iter().map(|cid| (*cid, size(cid))).collect();
                    node.engine.handle_sizes(peer, sizes);
                }
                Output::Load { peer, cids } => {
                    let found = cids.iter().map(|cid| (*cid, node.store.get(cid).cloned()));
                    let found = found.collect();
                    // A liar never comes to read what it has not.
                    if !node.liar {
                        node.engine.handle_loaded(peer, found);
                    }
                }
                Output::FindProviders { .. } => node.searches += 1,
                Output::Connect(_) => {}
                Output::Send(peer) => self.send(id, peer),
            }
        }
    }

    fn send(&mut self, from: PeerId, to: PeerId) {
        let (now, link) = (self.now, self.link);
        let node = self.nodes.get_mut(&from).unwrap();
        if !node.alive || node.busy.contains(&to) {
            return;
        }
        let Some(message) = node.engine.poll_transmit(to, 1 << 20, now) else { return };
        node.busy.insert(to);
        let of_blocks = message.blocks.iter().map(Block::len).sum();
        let bytes = message.encode(Version::V1_2, &self.hashes).unwrap().concat();
        self.messages += 1;
        let left = now + Duration::from_secs_f64(bytes.len() as f64 / link.bandwidth);
        let spread = (link.delay.1 - link.delay.0).as_micros() as u64;
        let delay = link.delay.0 + Duration::from_micros(self.numbers.below(spread + 1));
        self.schedule(left, What::Sent { from, to, bytes: of_blocks });
        if self.numbers.below(1000) >= link.loss {
            let last = self.last.entry((from, to)).or_insert(now);
            let at = (left + delay).max(*last);
            *last = at;
            self.schedule(at, What::Arrive { to, from, bytes });
        }
    }

    fn schedule(&mut self, at: Instant, what: What) {
        self.order += 1;
        self.events.push(Event { at, order: self.order, what });
    }

    /// Goes on to the next thing that happens; `false` when nothing will.
    pub(crate) fn step(&mut self) -> bool {
        let timer = self
            .nodes
            .iter()
            .filter(|(_, node)| node.alive)
            .filter_map(|(id, node)| Some((node.engine.poll_timeout()?, *id)))
            .min();
        let event = self.events.peek().map(|event| event.at);
        match (event, timer) {
            (None, None) => return false,
            (Some(at), timer) if timer.is_none_or(|(timer, _)| at <= timer) => {
                let event = self.events.pop().unwrap();
                self.now = self.now.max(event.at);
                self.happen(event.what);
            }
            (_, Some((at, id))) => {
                self.now = self.now.max(at);
                let now = self.now;
                self.node(id).engine.handle_timeout(now);
                self.pump(id);
            }
            (Some(_), None) => unreachable!(),
        }
        true
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Sent { from, to, bytes } => {
                self.node(from).busy.remove(&to);
                self.node(from).engine.handle_sent(to, bytes);
                self.send(from, to);
                self.pump(from);
            }
            What::Arrive { to, from, bytes } => {
                let known = self.nodes[&to].engine.peers().any(|peer| *peer == from);
                if !self.nodes[&to].alive || !known {
                    return;
                }
                let (_, body) = varint::read(&bytes, "test").unwrap();
                let received = Received::parse(Bytes::copy_from_slice(body)).unwrap();
                let hashes = self.hashes.clone();
                let blocks = received
                    .payloads()
                    .map(|(prefix, data)| Block::with_prefix(&prefix, data, &hashes).unwrap())
                    .collect();
                self.node(to).engine.handle_message(from, &received, blocks, now);
                self.pump(to);
            }
        }
    }
}

/// Fetches `cids` at node `at`, so many at a time; `each` runs after every delivery with their
/// number. Gives up after an hour of the world's time.
pub(crate) fn fetch(
    world: &mut World,
    at: PeerId,
    cids: &[Cid],
    window: usize,
    mut each: impl FnMut(&mut World, usize),
) -> Result<(), String> {
    let session = world.session(at);
    let mut wanted = cids.iter().copied();
    let mut outstanding = BTreeSet::new();
    let mut got = BTreeSet::new();
    loop {
        while outstanding.len() < window
            && let Some(cid) = wanted.next()
        {
            outstanding.insert(cid);
            world.want(at, session, cid);
        }
        for (of, cid) in world.delivered(at) {
            assert_eq!(of, session);
            assert!(outstanding.remove(&cid), "{cid} was delivered and not wanted");
            got.insert(cid);
            each(world, got.len());
        }
        if got.len() == cids.len() {
            return Ok(());
        }
        if outstanding.len() < window && wanted.len() > 0 {
            continue;
        }
        if !world.step() || world.elapsed() > Duration::from_secs(3600) {
            return Err(format!("{} of {} after {:?}", got.len(), cids.len(), world.elapsed()));
        }
    }
}

pub(crate) fn cids(blocks: &[Block]) -> Vec<Cid> {
    blocks.iter().map(|block| *block.cid()).collect()
}
