//! The exchange of a node: the engine, put to work over a network, a store and a router.
//!
//! The engine stands behind a lock that is held for one call at a time and never while anything is
//! waited for. One task watches the network, one keeps the time, and each peer has two: one reads
//! its streams and has their blocks hashed where blocking work goes, the other writes what the
//! engine has for it, as fast as the peer takes it.

mod listeners;
mod notify;
mod outputs;
mod peers;
mod rate;
mod read;
mod session;
mod write;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Exchange, HashTable, Network, Parts, PeerId, Prefix, Recipe,
    Result, Routing, Runtime, Session, Task, codes, sync::lock,
};

use self::{
    listeners::Listeners, notify::Notify, peers::Peers, rate::Rates, session::BitswapSession,
};
use crate::{
    engine::{Engine, Stats},
    policy::{Everybody, Ledger, Policy, RateLimits},
};

/// Bitswap over a network.
///
/// It serves what is in the store to whoever asks, and fetches what its sessions want. What it has
/// fetched it does not store: the node does.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_bitswap::{Bitswap, Options};
/// use ipfs_traits::{
///     codes, memory::*, Block, BlockstoreExt, CodecTable, Exchange, HashTable, Network, NoRouting,
///     Parts, VirtualRuntime,
/// };
///
/// let runtime = VirtualRuntime::new();
/// let hub = MemoryHub::new();
/// let parts = |number| {
///     let (runtime, hashes) = (Arc::new(runtime.clone()), HashTable::standard());
///     let mut parts = Parts::new(runtime, hashes, Arc::new(CodecTable::new()), peer_id(number));
///     parts.set_store(Arc::new(MemoryStore::new()));
///     parts.set_network(Arc::new(hub.join(peer_id(number))?));
///     parts.set_routing(Arc::new(NoRouting));
///     Ok::<_, ipfs_traits::Error>(parts)
/// };
///
/// let (a, b) = (parts(1)?, parts(2)?);
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", a.hashes())?;
/// runtime.block_on(async {
///     a.store()?.put(block.clone()).await?;
///     let _serves = Bitswap::spawn(&a, Options::default())?;
///     let fetches = Bitswap::spawn(&b, Options::default())?;
///     b.network()?.connect(&peer_id(1).into()).await?;
///     assert_eq!(fetches.session(None).get(block.cid()).await?, block);
///     Ok::<_, ipfs_traits::Error>(())
/// }).unwrap()?;
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone)]
pub struct Bitswap {
    shared: Arc<Shared>,
    /// Ends everything when the last handle goes.
    _running: Arc<Running>,
}

/// How [`Bitswap`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Bytes of blocks that one stream of a session has on their way or waiting to be read. The
    /// default, 32 MiB, fills a link of 600 MB/s at a round trip of 50 ms.
    pub window: usize,
    /// Streams of one peer that are taken at once. Kubo opens one for each message that holds
    /// blocks; the default is 128.
    pub max_streams: usize,
    /// The seed of the engine's choices; made from the node's name and the time if it is not given.
    pub seed: Option<[u8; 32]>,
    /// Who is served what. The default serves everybody alike.
    pub policy: Arc<dyn Policy>,
    /// Bytes a second; none is limited by default. They can be changed later:
    /// [`Bitswap::set_rate_limits`].
    pub rate_limits: RateLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: 32 << 20,
            max_streams: 128,
            seed: None,
            policy: Arc::new(Everybody),
            rate_limits: RateLimits::default(),
        }
    }
}

/// What the tasks and the sessions share.
struct Shared {
    engine: Mutex<Engine>,
    listeners: Mutex<Listeners>,
    peers: Mutex<Peers>,
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn Network>,
    store: Arc<dyn Blockstore>,
    routing: Arc<dyn Routing>,
    hashes: HashTable,
    options: Options,
    rates: Rates,
    /// Wakes the task that keeps the time, if it waits for something to be wanted.
    timer: Notify,
    idle: AtomicBool,
    searches: AtomicUsize,
    dials: AtomicUsize,
}

struct Running {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<Task>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.shut_down();
    }
}

/// How often the time is looked at while something is wanted, at the least.
const TICK: Duration = Duration::from_millis(250);

impl Bitswap {
    /// Starts on the store, the network and the routing of a half-built node.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when one of them is missing; [`Error::InUse`] when bitswap runs on the
    /// network already.
    pub fn spawn(parts: &Parts, options: Options) -> Result<Self> {
        let (runtime, network) = (parts.runtime().clone(), parts.network()?.clone());
        let seed = match options.seed {
            Some(seed) => seed,
            None => seed(parts)?,
        };
        let shared = Arc::new(Shared {
            engine: Mutex::new(Engine::with_policy(seed, options.policy.clone())),
            rates: Rates::new(options.rate_limits),
            listeners: Mutex::default(),
            peers: Mutex::default(),
            store: parts.store()?.clone(),
            routing: parts.routing()?.clone(),
            hashes: parts.hashes().clone(),
            timer: Notify::default(),
            idle: AtomicBool::new(false),
            searches: AtomicUsize::new(0),
            dials: AtomicUsize::new(0),
            runtime: runtime.clone(),
            network,
            options,
        });
        let watch = peers::watch(shared.clone())?;
        let tasks = vec![
            runtime.spawn(Box::pin(watch)),
            runtime.spawn(Box::pin(keep_time(shared.clone()))),
        ];
        let running = Arc::new(Running { shared: shared.clone(), tasks: Mutex::new(tasks) });
        Ok(Self { shared, _running: running })
    }

    /// How to build it as the exchange of a node.
    pub fn recipe(options: Options) -> impl Recipe<dyn Exchange> {
        BitswapRecipe(options)
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        lock(&self.shared.engine).stats()
    }

    /// What a peer gave and took; all zero for one that is not known. Of those who are gone the last
    /// 1,024 are remembered.
    pub fn ledger(&self, peer: &PeerId) -> Ledger {
        lock(&self.shared.engine).ledger(peer)
    }

    /// What a peer wants of this node, as far as it is remembered: 1,024 CIDs at the most.
    pub fn wantlist_of(&self, peer: &PeerId) -> Vec<Cid> {
        lock(&self.shared.engine).wantlist_of(peer)
    }

    /// The limits that hold now.
    pub fn rate_limits(&self) -> RateLimits {
        self.shared.rates.limits()
    }

    /// Changes the limits, from now on; who waits for the old ones waits a second at the most.
    pub fn set_rate_limits(&self, limits: RateLimits) {
        self.shared.rates.set(limits);
    }

    /// What this node wants of others.
    pub fn wantlist(&self) -> Vec<Cid> {
        lock(&self.shared.engine).wantlist().copied().collect()
    }
}

struct BitswapRecipe(Options);

#[async_trait]
impl Recipe<dyn Exchange> for BitswapRecipe {
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<dyn Exchange>> {
        Ok(Arc::new(Bitswap::spawn(parts, self.0)?))
    }
}

/// A seed that is another one on each node and at each start.
fn seed(parts: &Parts) -> Result<[u8; 32]> {
    let since = parts.runtime().wall().duration_since(SystemTime::UNIX_EPOCH);
    let mut source = parts.peer().to_bytes();
    source.extend(since.unwrap_or_default().as_nanos().to_be_bytes());
    let cid = Prefix::v1(codes::RAW, codes::SHA2_256).cid(&source, &HashTable::standard())?;
    cid.hash().digest().try_into().map_err(|_| Error::invalid("seed", "it is not 32 bytes"))
}

/// Calls the engine when the time has come that it named.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let next = {
            let engine = lock(&shared.engine);
            shared.idle.store(engine.poll_timeout().is_none(), Ordering::Relaxed);
            engine.poll_timeout()
        };
        match next {
            None => shared.timer.wait().await,
            Some(at) => shared.runtime.sleep_until(at.min(shared.runtime.now() + TICK)).await,
        }
        let now = shared.runtime.now();
        lock(&shared.engine).handle_timeout(now);
        shared.pump();
    }
}

impl Shared {
    /// Ends what is under way, and tells those who wait.
    fn shut_down(&self) {
        lock(&self.listeners).close();
        lock(&self.peers).close();
    }

    fn is_closed(&self) -> bool {
        lock(&self.listeners).is_closed()
    }

    /// Calls the engine, and does what it then wants done.
    fn with_engine(self: &Arc<Self>, call: impl FnOnce(&mut Engine)) {
        {
            let mut engine = lock(&self.engine);
            call(&mut engine);
            // Told under the lock, so that the task cannot miss it.
            if self.idle.load(Ordering::Relaxed) && engine.poll_timeout().is_some() {
                self.idle.store(false, Ordering::Relaxed);
                self.timer.tell();
            }
        }
        self.pump();
    }
}

#[async_trait]
impl Exchange for Bitswap {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(BitswapSession::open(self.shared.clone()))
    }

    async fn notify(&self, blocks: &[Block]) -> Result<()> {
        if self.shared.is_closed() {
            return Err(Error::Closed("bitswap"));
        }
        self.shared.with_engine(|engine| engine.handle_new_blocks(blocks));
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.shared.shut_down();
        let tasks = std::mem::take(&mut *lock(&self._running.tasks));
        for task in tasks {
            task.stop().await;
        }
        Ok(())
    }
}

impl fmt::Debug for Bitswap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bitswap").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bitswap")
    }
}

/// Counts something that only so many may do at once, while it lives.
struct Slot {
    shared: Arc<Shared>,
    of: fn(&Shared) -> &AtomicUsize,
}

impl Slot {
    fn take(shared: &Arc<Shared>, of: fn(&Shared) -> &AtomicUsize, most: usize) -> Option<Self> {
        let counter = of(shared);
        if counter.fetch_add(1, Ordering::Relaxed) >= most {
            counter.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self { shared: shared.clone(), of })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.of)(&self.shared).fetch_sub(1, Ordering::Relaxed);
    }
}
