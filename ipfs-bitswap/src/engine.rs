//! The protocol as a value: no socket, no clock, no task, no random source.
//!
//! What comes in is handed to `handle_…`, with the time; what is to be done is asked for by
//! [`Engine::poll_output`], what is to be sent to a peer by [`Engine::poll_transmit`] when there is
//! room to send it, and when to wake by [`Engine::poll_timeout`]. The same calls with the same seed
//! give the same results, on every machine.
//!
//! The client half and the server half share nothing but the messages, which carry both.

mod ask;
mod client;
mod ledgers;
mod pace;
mod server;
mod session;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use ipfs_traits::{Block, Cid, PeerId, PeerInfo, SessionStats};

use self::{client::Client, server::Server};
use crate::{
    message::{Message, Received, Version},
    policy::{Everybody, Ledger, Policy},
};

/// The bitswap protocol, for one node.
///
/// ```
/// use std::time::Instant;
///
/// use ipfs_bitswap::engine::{Engine, Output};
/// use ipfs_bitswap::message::{Received, Version, Want};
/// use ipfs_traits::{memory::peer_id, Bytes, HashTable};
///
/// let now = Instant::now();
/// let mut engine = Engine::new([7; 32]);
/// engine.handle_connected(peer_id(1), Version::V1_2, now);
/// let session = engine.open_session();
/// engine.want(session, "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse()?, now);
///
/// assert!(matches!(engine.poll_output(), Some(Output::Send(peer)) if peer == peer_id(1)));
/// let message = engine.poll_transmit(peer_id(1), 1 << 20, now).expect("something to ask");
/// assert_eq!(message.entries[0].want, Want::Have);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    client: Client,
    server: Server,
    outputs: Outputs,
}

/// Names a session of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// What an [`Engine`] wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Give this block to the session that wants it. Each CID is delivered once for each time that
    /// the session began to want it.
    Deliver {
        /// The session.
        session: SessionId,
        /// The block, under the CID that was wanted.
        block: Block,
    },
    /// Look up the sizes of these blocks, and hand them to [`Engine::handle_sizes`].
    Sizes {
        /// Who asked.
        peer: PeerId,
        /// The blocks.
        cids: Vec<Cid>,
    },
    /// Read these blocks, and hand them to [`Engine::handle_loaded`].
    Load {
        /// Who asked.
        peer: PeerId,
        /// The blocks.
        cids: Vec<Cid>,
    },
    /// Look for peers that have this block, and hand them to [`Engine::handle_providers`].
    FindProviders {
        /// The session that misses it.
        session: SessionId,
        /// The block.
        cid: Cid,
    },
    /// Connect to this peer, and tell with [`Engine::handle_connected`] if it speaks bitswap.
    Connect(PeerInfo),
    /// [`Engine::poll_transmit`] has something for this peer.
    Send(PeerId),
}

/// What is to be done, in order. A peer that has something to be sent stands here once.
#[derive(Debug, Default)]
struct Outputs {
    queue: VecDeque<Output>,
    sending: BTreeSet<PeerId>,
}

impl Outputs {
    fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    fn send(&mut self, peer: PeerId) {
        if self.sending.insert(peer) {
            self.queue.push_back(Output::Send(peer));
        }
    }
}

/// What an [`Engine`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blocks that were wanted and came.
    pub blocks_received: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// Blocks that came again after they had come.
    pub duplicates: u64,
    /// Blocks that nobody here had asked for. They are dropped.
    pub unwanted: u64,
    /// Blocks sent.
    pub blocks_sent: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// Wants of peers that were beyond their share, and were dropped.
    pub wants_dropped: u64,
    /// Wants of peers that the policy refused.
    pub wants_refused: u64,
    /// Bytes of blocks that are read for peers, or read and not sent: now.
    pub reading: u64,
}

impl Engine {
    /// An engine whose choices between equals follow from `seed`, and that serves everybody.
    pub fn new(seed: [u8; 32]) -> Self {
        Self::with_policy(seed, Arc::new(Everybody))
    }

    /// An engine whose choices between equals follow from `seed`, and that serves whom it may.
    pub fn with_policy(seed: [u8; 32], policy: Arc<dyn Policy>) -> Self {
        let (client, server) = (Client::new(seed), Server::new(policy));
        Self { client, server, outputs: Outputs::default() }
    }

    /// A peer that speaks bitswap is connected, and this is the best version that it knows. Once more
    /// is no news but for the version.
    pub fn handle_connected(&mut self, peer: PeerId, version: Version, now: Instant) {
        self.server.connected(peer);
        self.client.connected(peer, version, now, &mut self.outputs);
    }

    /// A peer is gone, or no longer speaks bitswap. All that it wanted is forgotten, and what was
    /// asked of it is asked of others.
    pub fn handle_gone(&mut self, peer: PeerId, now: Instant) {
        self.outputs.sending.remove(&peer);
        self.server.gone(peer, &mut self.outputs);
        self.client.gone(peer, now, &mut self.outputs);
    }

    /// A message has come from a connected peer, and these are its blocks, verified to hash to their
    /// CIDs.
    ///
    /// Blocks that nobody asked for are counted and dropped.
    pub fn handle_message(
        &mut self,
        peer: PeerId,
        message: &Received,
        blocks: Vec<Block>,
        now: Instant,
    ) {
        let before = self.client.stats();
        self.client.message(peer, message, blocks, now, &mut self.outputs);
        let after = self.client.stats();
        let blocks = after.blocks_received - before.blocks_received;
        self.server.note_received(&peer, blocks, after.bytes_received - before.bytes_received);
        self.server.message(peer, message, &mut self.outputs);
    }

    /// The next message for a peer, of about `max` bytes at the most, or nothing.
    ///
    /// What it holds counts as sent. Call it when there is room to send, so that wants and answers
    /// gather in few messages; after `None`, [`Output::Send`] tells when there is more.
    pub fn poll_transmit(&mut self, peer: PeerId, max: usize, now: Instant) -> Option<Message> {
        let mut message = Message::default();
        self.client.transmit(peer, &mut message, now);
        self.server.transmit(peer, max, &mut message, &mut self.outputs);
        if message.is_empty() {
            self.outputs.sending.remove(&peer);
            return None;
        }
        Some(message)
    }

    /// A message with so many bytes of blocks has left for the peer: there is room for more.
    pub fn handle_sent(&mut self, peer: PeerId, bytes: usize) {
        self.server.sent(peer, bytes, &mut self.outputs);
    }

    /// Blocks have come that were not even hashed, because nothing was asked of their peer.
    pub fn handle_unexpected(&mut self, count: usize) {
        self.client.note_unwanted(count);
    }

    /// The sizes of blocks that a peer asked about, `None` for what is not here.
    pub fn handle_sizes(&mut self, peer: PeerId, sizes: Vec<(Cid, Option<u64>)>) {
        self.server.sizes(peer, sizes, &mut self.outputs);
    }

    /// The blocks that a peer asked for, `None` for what is not here any more.
    pub fn handle_loaded(&mut self, peer: PeerId, blocks: Vec<(Cid, Option<Block>)>) {
        self.server.loaded(peer, blocks, &mut self.outputs);
    }

    /// Blocks that are here from now on: peers that wait for them are served.
    pub fn handle_new_blocks(&mut self, blocks: &[Block]) {
        self.server.new_blocks(blocks, &mut self.outputs);
    }

    /// A new session, for wants that belong together.
    pub fn open_session(&mut self) -> SessionId {
        self.client.open_session()
    }

    /// Ends a session and all its wants.
    pub fn close_session(&mut self, session: SessionId) {
        self.client.close_session(session, &mut self.outputs);
    }

    /// A session wants a block. Once more is no news.
    pub fn want(&mut self, session: SessionId, cid: Cid, now: Instant) {
        self.client.want(session, cid, now, &mut self.outputs);
    }

    /// A session no longer wants a block.
    pub fn cancel(&mut self, session: SessionId, cid: &Cid) {
        self.client.cancel(session, cid, &mut self.outputs);
    }

    /// Peers that are said to have what the session wants.
    pub fn handle_providers(&mut self, session: SessionId, peers: &[PeerInfo], now: Instant) {
        self.client.providers(session, peers, now, &mut self.outputs);
    }

    /// What is to be done next, or nothing for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.queue.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.client.next_timeout()
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named. Early is no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.client.timeout(now, &mut self.outputs);
    }

    /// Whether this peer was told of anything that is still wanted, so that blocks from it are worth
    /// hashing. One that said DONT_HAVE counts: it sends the block when it has it.
    pub fn expects_from(&self, peer: &PeerId) -> bool {
        self.client.expects_from(peer)
    }

    /// What a session has done so far.
    pub fn session_stats(&self, session: SessionId) -> SessionStats {
        self.client.session_stats(session)
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        let mut stats = self.client.stats();
        self.server.count(&mut stats);
        stats
    }

    /// What a peer gave and took; all zero for one that is not known.
    pub fn ledger(&self, peer: &PeerId) -> Ledger {
        self.server.ledger(peer)
    }

    /// The peers that are connected.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.client.peers()
    }

    /// What a peer wants of this node, as far as it is remembered.
    pub fn wantlist_of(&self, peer: &PeerId) -> Vec<Cid> {
        self.server.wantlist_of(peer)
    }

    /// What this node wants of others.
    pub fn wantlist(&self) -> impl Iterator<Item = &Cid> {
        self.client.wantlist()
    }
}
