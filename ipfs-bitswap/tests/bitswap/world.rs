//! Nodes that are bare engines, on a virtual clock, joined by links with delay, loss and a bandwidth.

mod event;
mod liars;

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::{Duration, Instant},
};

use ipfs_bitswap::{
    engine::{Engine, Output, SessionId},
    message::{Received, Version},
};
use ipfs_traits::{Block, Bytes, Cid, HashTable, PeerId, codes, memory::peer_id, varint};

use self::event::{Event, What};
pub(crate) use self::liars::Lie;
use crate::numbers::Numbers;

/// What a link does to what is sent over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The least and the most time that a message takes.
    pub(crate) delay: (Duration, Duration),
    /// Whether most of it is that of the two nodes, or all of it chance.
    pub(crate) far: bool,
    /// Messages lost, of a thousand.
    pub(crate) loss: u64,
    /// Bytes a second that a node sends.
    pub(crate) bandwidth: f64,
}

impl Link {
    pub(crate) const GOOD: Self = Self {
        delay: (Duration::from_millis(1), Duration::from_millis(5)),
        far: false,
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
    /// Peers to which something is on its way out.
    busy: BTreeSet<PeerId>,
    /// Until when it has something to send.
    sending: Instant,
    delivered: Vec<(SessionId, Cid)>,
    searches: usize,
    alive: bool,
    lie: Option<Lie>,
    /// When it is to be woken, as far as it is scheduled.
    timer: Option<Instant>,
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
    /// The most that a node had read for others, or remembered of one other.
    pub(crate) most_reading: u64,
    pub(crate) most_wants: usize,
    /// Whether searches find who has a block, and who lies that it has.
    pub(crate) routing: bool,
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
                sending: start,
                delivered: Vec::new(),
                searches: 0,
                alive: true,
                lie: None,
                timer: None,
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
            most_reading: 0,
            most_wants: 0,
            routing: false,
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

    pub(crate) fn lie(&mut self, id: PeerId, lie: Lie) {
        self.node(id).lie = Some(lie);
        if lie == Lie::Flood {
            self.schedule(self.now, What::Flood(id));
        }
    }

    pub(crate) fn connect(&mut self, a: PeerId, b: PeerId) {
        if !self.nodes[&a].alive || !self.nodes[&b].alive {
            return;
        }
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
        let peers: Vec<PeerId> = self.nodes[&id].engine.peers().copied().collect();
        for other in peers {
            for (at, gone) in [(other, id), (id, other)] {
                self.node(at).engine.handle_gone(gone, now);
                self.node(at).busy.remove(&gone);
                self.pump(at);
            }
        }
    }

    /// A node says nothing any more, and nobody learns it.
    pub(crate) fn freeze(&mut self, id: PeerId) {
        self.node(id).alive = false;
    }

    /// A node goes after a while, comes back after another, and so on.
    pub(crate) fn churn(&mut self, id: PeerId) {
        let wait = Duration::from_millis(2000 + self.numbers.below(20_000));
        self.schedule(self.now + wait, What::Churn(id));
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
                    let size = |cid: &Cid| match node.lie {
                        Some(_) => Some(1 << 20),
                        None => node.store.get(cid).map(|block| block.len() as u64),
                    };
                    let sizes = cids.iter().map(|cid| (*cid, size(cid))).collect();
                    node.engine.handle_sizes(peer, sizes);
                }
                Output::Load { peer, cids } => {
                    let found = |cid: &Cid| match node.lie {
                        Some(_) => Some(Block::trusted(*cid, Bytes::from_static(&[9; 5000]))),
                        None => node.store.get(cid).cloned(),
                    };
                    let found = cids.iter().map(|cid| (*cid, found(cid))).collect();
                    // Most liars never come to read what they have not.
                    if matches!(node.lie, None | Some(Lie::Garbage)) {
                        node.engine.handle_loaded(peer, found);
                    }
                }
                Output::FindProviders { session, cid } => {
                    node.searches += 1;
                    self.search(id, session, cid);
                }
                Output::Connect(peer) => {
                    let delay = self.delay(id, peer.id) * 3;
                    self.schedule(self.now + delay, What::Connected(id, peer.id));
                }
                Output::Send(peer) => self.send(id, peer),
            }
        }
        self.set_timer(id);
        // Liars never come to read what they say they have.
        let node = &self.nodes[&id];
        let reading = if node.lie.is_none() { node.engine.stats().reading } else { 0 };
        self.most_reading = self.most_reading.max(reading);
    }

    fn set_timer(&mut self, id: PeerId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let at = node.engine.poll_timeout().filter(|_| node.alive);
        if node.timer != at {
            node.timer = at;
            if let Some(at) = at {
                self.schedule(at, What::Timer(id));
            }
        }
    }

    /// Half of a round trip between two nodes: some of it is theirs, some is chance.
    fn delay(&mut self, a: PeerId, b: PeerId) -> Duration {
        let (least, most) = self.link.delay;
        let spread = (most - least).as_micros() as u64;
        if !self.link.far {
            return least + Duration::from_micros(self.numbers.below(spread + 1));
        }
        let (a, b) = (a.min(b).to_bytes(), a.max(b).to_bytes());
        let sum = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
        };
        let fixed = Numbers(sum(&a).wrapping_mul(7) ^ sum(&b)).below(spread * 3 / 4 + 1);
        least + Duration::from_micros(fixed + self.numbers.below(spread / 4 + 1))
    }

    fn send(&mut self, from: PeerId, to: PeerId) {
        let now = self.now;
        let node = self.nodes.get_mut(&from).unwrap();
        if !node.alive || node.busy.contains(&to) || node.lie == Some(Lie::Silence) {
            return;
        }
        let Some(message) = node.engine.poll_transmit(to, 1 << 18, now) else { return };
        node.busy.insert(to);
        let of_blocks = message.blocks.iter().map(Block::len).sum();
        let bytes = message.encode(Version::V1_2, &self.hashes).unwrap().concat();
        self.messages += 1;
        let takes = Duration::from_secs_f64(bytes.len() as f64 / self.link.bandwidth);
        node.sending = node.sending.max(now) + takes;
        let left = node.sending;
        let delay = self.delay(from, to);
        self.schedule(left, What::Sent { from, to, bytes: of_blocks });
        if self.numbers.below(1000) >= self.link.loss {
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
        let Some(event) = self.events.pop() else { return false };
        // A timer that was set anew is none.
        if let What::Timer(id) = event.what
            && self.nodes[&id].timer != Some(event.at)
        {
            return true;
        }
        self.now = self.now.max(event.at);
        self.happen(event.what);
        true
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Sent { from, to, bytes } => {
                if self.node(from).busy.remove(&to) {
                    self.node(from).engine.handle_sent(to, bytes);
                    self.send(from, to);
                    self.pump(from);
                }
            }
            What::Arrive { to, from, bytes } => self.arrive(to, from, &bytes),
            What::Timer(id) => {
                let node = self.node(id);
                node.timer = None;
                node.engine.handle_timeout(now);
                self.pump(id);
            }
            What::Found { to, session, peers } => {
                self.node(to).engine.handle_providers(session, &peers, now);
                self.pump(to);
            }
            What::Connected(a, b) => self.connect(a, b),
            What::Flood(id) => self.flood(id),
            What::Churn(id) => {
                if self.nodes[&id].alive {
                    self.stop(id);
                } else {
                    self.node(id).alive = true;
                    self.pump(id);
                }
                self.churn(id);
            }
        }
    }

    fn arrive(&mut self, to: PeerId, from: PeerId, bytes: &[u8]) {
        let now = self.now;
        let known = self.nodes[&to].engine.peers().any(|peer| *peer == from);
        if !self.nodes[&to].alive || !known {
            return;
        }
        let (_, body) = varint::read(bytes, "test").unwrap();
        let received = Received::parse(Bytes::copy_from_slice(body)).unwrap();
        let hashes = self.hashes.clone();
        let blocks = received
            .payloads()
            .map(|(prefix, data)| Block::with_prefix(&prefix, data, &hashes).unwrap())
            .collect();
        self.node(to).engine.handle_message(from, &received, blocks, now);
        let wants = self.nodes[&to].engine.wantlist_of(&from).len();
        self.most_wants = self.most_wants.max(wants);
        self.pump(to);
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
