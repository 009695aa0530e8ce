//! The engine at work over a network: who is there, whom to ask, what to answer.
//!
//! The engine stands behind a lock that is held for one call at a time and never while anything is
//! waited for. One task watches the network and answers, one asks, and one looks after what is kept.

mod announce;
mod ask;
mod keep;
mod lookups;
mod regions;
mod saved;
mod serve;
mod values;
mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_channel::mpsc;
use futures_core::stream::BoxStream;
use ipfs_traits::{
    Datastore, Error, Multihash, Network, Parts, PeerId, PeerInfo, Recipe, Result, Routing,
    Runtime, Task, network::Protocol, sync::lock,
};
use sha2::{Digest, Sha256};

use self::{lookups::Lookups, regions::Regions};
use super::{
    answer::Answers,
    engine::{Config, Engine, Find, Now, Stats},
    message::{LAN, WAN},
    records::{Limits, Records},
    scope::Scope,
};
use crate::{Validators, dht::Announced};

/// Whether a node answers others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// It answers when it can be reached: in a local network always, in the wide one when the network
    /// says so.
    #[default]
    Auto,
    /// It asks, and answers nobody: for devices that come and go, or must not be woken.
    Client,
    /// It answers, whatever the network says.
    Server,
}

/// How a [`Dht`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Whose DHT it is.
    pub scope: Scope,
    /// The protocol: that of the scope, [`WAN`] or [`LAN`], unless the network is one's own.
    pub protocol: Protocol,
    /// Whether this node answers others.
    pub mode: Mode,
    /// How lookups work.
    pub engine: Config,
    /// How much is kept for others.
    pub limits: Limits,
    /// Questions that are on their way at once, of all lookups: 64. Each may dial.
    pub queries: usize,
    /// Streams of one peer that are taken at once: 16. Others use one for each question, and ask a
    /// few at a time.
    pub max_streams: usize,
    /// Peers that have to have given a value before a lookup of it ends early: 16, as Kubo has it.
    pub quorum: usize,
    /// Which blocks this node announces itself.
    pub announced: Option<Arc<dyn Announced>>,
    /// The seed of the engine's choices; made from the node's name and the time if it is not given.
    pub seed: Option<[u8; 32]>,
}

impl Options {
    /// The defaults for a scope; the values of [`Validators::standard`] are believed.
    pub fn new(scope: Scope) -> Self {
        let mut engine = Config::new(scope);
        engine.validators = Validators::standard();
        Self {
            scope,
            protocol: if scope == Scope::Wan { WAN } else { LAN },
            mode: Mode::Auto,
            engine,
            limits: Limits::default(),
            queries: 64,
            max_streams: 16,
            quorum: 16,
            announced: None,
            seed: None,
        }
    }
}

/// The DHT of a scope, over a network.
///
/// ```
/// use std::sync::Arc;
///
/// use futures::StreamExt;
/// use ipfs_routing::dht::{Dht, Options, Scope};
/// use ipfs_traits::{
///     memory::*, CodecTable, HashTable, Network, Parts, Routing, VirtualRuntime, codes,
/// };
///
/// let runtime = VirtualRuntime::new();
/// let hub = MemoryHub::new();
/// let parts = |number| {
///     let (runtime, hashes) = (Arc::new(runtime.clone()), HashTable::standard());
///     let mut parts = Parts::new(runtime, hashes, Arc::new(CodecTable::new()), peer_id(number));
///     parts.set_datastore(Arc::new(MemoryDatastore::new()));
///     parts.set_network(Arc::new(hub.join(peer_id(number))?));
///     Ok::<_, ipfs_traits::Error>(parts)
/// };
///
/// let block = HashTable::standard().hash(codes::SHA2_256, b"hello")?;
/// let nodes = [parts(1)?, parts(2)?, parts(3)?];
/// runtime.block_on(async {
///     let mut dhts = Vec::new();
///     for node in &nodes {
///         dhts.push(Dht::spawn(node, Options::new(Scope::Any)).await?);
///     }
///     // The first two know the third one, and meet there.
///     for node in &nodes[..2] {
///         node.network()?.connect(&peer_id(3).into()).await?;
///     }
///     dhts[0].ready().await;
///     dhts[1].ready().await;
///     dhts[0].provide(vec![block]).await?;
///     let found = dhts[1].find_providers(&block, 1).next().await.expect("somebody has it")?;
///     assert_eq!(found.id, peer_id(1));
///     Ok::<_, ipfs_traits::Error>(())
/// }).unwrap()?;
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone)]
pub struct Dht {
    shared: Arc<Shared>,
    /// Ends everything when the last handle goes.
    running: Arc<Running>,
}

/// What the tasks and the lookups share.
pub(super) struct Shared {
    engine: Arc<Mutex<Engine>>,
    records: Arc<Records>,
    answers: Answers,
    lookups: Mutex<Lookups>,
    regions: Mutex<Regions>,
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn Network>,
    datastore: Arc<dyn Datastore>,
    options: Options,
    /// Many streams are served.
    busy: AtomicBool,
    /// Wakes the task that asks.
    wake: mpsc::Sender<()>,
    /// Values that some peers lack.
    corrections: mpsc::Sender<values::Correction>,
}

struct Running {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<Task>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lookups().close();
    }
}

/// Values that wait to be put where they are missing; more are left to the next who looks.
const CORRECTIONS: usize = 32;

pub(super) const CLOSED: Error = Error::Closed("the DHT");

impl Dht {
    /// Starts on the datastore and the network of a half-built node.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when one of them is missing; [`Error::InUse`] when the protocol is spoken
    /// on the network already; what the datastore says.
    pub async fn spawn(parts: &Parts, options: Options) -> Result<Self> {
        let (runtime, network) = (parts.runtime().clone(), parts.network()?.clone());
        let datastore = parts.datastore()?.clone();
        let (peer, scope) = (network.local_peer(), options.scope);
        let wall = runtime.wall();
        let records = Records::open(datastore.clone(), scope, options.limits, wall).await?;
        let records = Arc::new(records);
        let seed = options.seed.unwrap_or_else(|| seed(&peer, wall));
        let mut config = options.engine.clone();
        config.scope = scope;
        let engine = Engine::new(peer, config, seed, runtime.now());
        let engine = Arc::new(Mutex::new(engine));
        let mut answers = Answers::new(engine.clone(), records.clone());
        if let Some(announced) = &options.announced {
            let network = network.clone();
            let own = move || own(network.as_ref(), scope);
            answers = answers.with_announced(announced.clone(), own);
        }
        let (wake, woken) = mpsc::channel(0);
        let (corrections, to_correct) = mpsc::channel(CORRECTIONS);
        let shared = Arc::new(Shared {
            engine,
            records,
            answers,
            lookups: Mutex::default(),
            regions: Mutex::default(),
            runtime: runtime.clone(),
            network,
            datastore,
            options,
            busy: AtomicBool::new(false),
            wake,
            corrections,
        });
        saved::load(&shared).await?;
        let watch = watch::watch(shared.clone())?;
        let tasks = vec![
            runtime.spawn(Box::pin(watch)),
            runtime.spawn(Box::pin(ask::ask(shared.clone(), woken))),
            runtime.spawn(Box::pin(keep::keep(shared.clone(), to_correct))),
        ];
        let running = Arc::new(Running { shared: shared.clone(), tasks: Mutex::new(tasks) });
        Ok(Self { shared, running })
    }

    /// How to build it as the routing of a node.
    pub fn recipe(options: Options) -> impl Recipe<dyn Routing> {
        DhtRecipe(options)
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        lock(&self.shared.engine).stats()
    }

    /// How many records of providers and how many values are kept for others.
    pub fn records(&self) -> (usize, usize) {
        self.shared.records.counts()
    }

    /// The peers of the routing table.
    pub fn peers(&self) -> Vec<PeerInfo> {
        lock(&self.shared.engine).peers()
    }

    /// A peer that may serve, to be asked whether it does: one that the host knows of.
    pub fn add_peer(&self, peer: PeerInfo) {
        self.shared.with_engine(|engine| engine.handle_candidate(peer));
    }

    /// Waits until there is somebody in the routing table.
    pub async fn ready(&self) {
        lookups::ready(&self.shared).await;
    }

    /// Waits until there is, and nobody is looked for any more to fill the table: what is looked up
    /// from then on takes the shortest way.
    pub async fn settled(&self) {
        lookups::settled(&self.shared).await;
    }
}

struct DhtRecipe(Options);

#[async_trait]
impl Recipe<dyn Routing> for DhtRecipe {
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<dyn Routing>> {
        Ok(Arc::new(Dht::spawn(parts, self.0).await?))
    }
}

/// A seed that is another one on each node and at each start.
fn seed(peer: &PeerId, wall: SystemTime) -> [u8; 32] {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let source = Sha256::new().chain_update(peer.to_bytes());
    source.chain_update(since.as_nanos().to_be_bytes()).finalize().into()
}

impl Shared {
    fn now(&self) -> Now {
        Now { instant: self.runtime.now(), wall: self.runtime.wall() }
    }

    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        lock(&self.lookups)
    }

    /// Calls the engine, and has done what it then wants done.
    fn with_engine<T>(&self, call: impl FnOnce(&mut Engine) -> T) -> T {
        let result = call(&mut lock(&self.engine));
        // Full means that it will wake anyway.
        let _ = self.wake.clone().try_send(());
        result
    }

    /// Hands what lookups have found to whoever waits for it.
    fn deliver(&self) {
        loop {
            // One lock after the other, so that who drops a lookup cannot meet this one.
            let Some((id, event)) = lock(&self.engine).poll_event() else { return };
            self.lookups().deliver(id, event);
        }
    }

    /// This node, where others of the scope can reach it.
    fn own(&self) -> PeerInfo {
        own(self.network.as_ref(), self.options.scope)
    }
}

fn own(network: &dyn Network, scope: Scope) -> PeerInfo {
    let addresses = scope.filter(&network.addresses());
    PeerInfo::new(network.local_peer(), addresses)
}

#[async_trait]
impl Routing for Dht {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        lookups::providers(self.shared.clone(), *key, want)
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        announce::announce(&self.shared, keys).await
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        lookups::peer(&self.shared, peer).await
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        values::get(self.shared.clone(), Bytes::copy_from_slice(key))
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        values::put(&self.shared, Bytes::copy_from_slice(key), value).await
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        let wanted = self.shared.options.engine.bucket;
        let find = Find::Closest { key: Bytes::copy_from_slice(key), wanted };
        Ok(lookups::outcome(&self.shared, find).await?.closest)
    }

    async fn close(&self) -> Result<()> {
        self.shared.lookups().close();
        let tasks = std::mem::take(&mut *lock(&self.running.tasks));
        for task in tasks {
            task.stop().await;
        }
        saved::save(&self.shared).await?;
        self.shared.records.flush().await
    }
}

impl fmt::Debug for Dht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dht")
            .field("protocol", &self.shared.options.protocol)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// How long a peer has for one question, dialing it included.
const ANSWER: Duration = Duration::from_secs(10);
