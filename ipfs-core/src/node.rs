//! The node, as an application holds it.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{self, Arc, PoisonError},
};

use futures_util::{
    StreamExt,
    lock::{Mutex, MutexGuard},
};
use ipfs_bitswap::Bitswap;
use ipfs_blockstore::files::Lock;
use ipfs_routing::names::Republisher;
use ipfs_traits::{
    Block, Blockstore, Cid, CodecTable, Datastore, Error, Exchange, HashTable, Multiaddr, Network,
    PeerId, PeerInfo, Protection, Result, Routing, Runtime, Task, Usage,
    network::{Event, Snapshot},
    sync::lock,
};
use ipfs_unixfs::mfs::WeakMfs;

use crate::{
    Blocks, Builder, CollectWhen, Dag, Dhts, Gc, Hold, IntoPath, IntoPeer, Key, Keys, Keystore,
    Names, NodeEvent, NodeSource, Path, Peering, Pins, Providing, Repo, UnixFs, addresses,
    events::Bus, guarded::Guarded, keeper::Keeper, repo::Damage,
};

/// An IPFS node, inside the application's own runtime. A handle: clones are the same node.
///
/// Dropping the last handle, and all that was made from it, stops the node's tasks.
/// [`close`](Self::close) does so in order, and makes everything durable.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    /// What this handle's writes are held by.
    under: Option<Hold>,
}

pub(crate) struct Inner {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) hashes: HashTable,
    pub(crate) codecs: Arc<CodecTable>,
    pub(crate) data_dir: Option<PathBuf>,
    /// The key of the node, unless its network keeps it to itself.
    pub(crate) identity: Option<Key>,
    pub(crate) keystore: Arc<dyn Keystore>,
    pub(crate) store: Guarded,
    /// The way past holds and pins, for damaged blocks alone.
    pub(crate) damage: Damage,
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) routing: Arc<dyn Routing>,
    pub(crate) dhts: Dhts,
    pub(crate) providing: Option<Providing>,
    pub(crate) names: ipfs_routing::names::Names,
    /// What keeps names alive, until the node is closed.
    pub(crate) republisher: sync::Mutex<Option<Republisher>>,
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) bitswap: Option<Bitswap>,
    pub(crate) keeper: Arc<Keeper>,
    /// What collects garbage by itself, until the node is closed.
    pub(crate) collector: sync::Mutex<Option<Task>>,
    /// Keeps the connections that the application asked for.
    pub(crate) wanted: sync::Mutex<HashMap<PeerId, Protection>>,
    pub(crate) peering: Peering,
    /// What looks after the number of peers, until the node is closed.
    pub(crate) bootstrap: sync::Mutex<Option<Task>>,
    /// Where it is told what happens.
    pub(crate) bus: Bus,
    /// The mutable tree, while somebody has it.
    pub(crate) mfs: sync::Mutex<WeakMfs>,
    /// The lock of the data directory while the node is open; how closing went, after.
    pub(crate) state: Mutex<State>,
}

pub(crate) enum State {
    Open(#[expect(dead_code, reason = "it is held for its drop")] Option<Lock>),
    Closed(Result<()>),
}

impl Node {
    /// How to build one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(inner: Inner, collect: Option<CollectWhen>) -> Self {
        let node = Self::of(Arc::new(inner));
        let collector =
            collect.map(|when| when.start(&**node.runtime(), Arc::downgrade(&node.inner)));
        *lock(&node.inner.collector) = collector;
        node
    }

    pub(crate) const fn of(inner: Arc<Inner>) -> Self {
        Self { inner, under: None }
    }

    /// Single blocks.
    pub fn blocks(&self) -> Blocks {
        Blocks::new(self.clone())
    }

    /// Files and directories.
    pub fn unixfs(&self) -> UnixFs {
        UnixFs::new(self.clone())
    }

    /// Values of the data model, and the links between blocks.
    pub fn dag(&self) -> Dag {
        Dag::new(self.clone())
    }

    /// Pins: what is kept for good.
    pub fn pins(&self) -> Pins {
        Pins::new(self.clone())
    }

    /// Garbage collection: what nothing keeps goes.
    pub fn gc(&self) -> Gc {
        Gc::new(self.clone())
    }

    /// Keys: the node's own, and those that names are published with.
    pub fn keys(&self) -> Keys {
        Keys::new(self.clone())
    }

    /// Names: published with the node's keys, and resolved to paths.
    pub fn names(&self) -> Names {
        Names::new(self.clone())
    }

    /// The node's own keeping: what it holds, whether that is whole, and what it takes on disk.
    pub fn repo(&self) -> Repo {
        Repo::new(self.clone())
    }

    pub(crate) fn plain_names(&self) -> &ipfs_routing::names::Names {
        &self.inner.names
    }

    /// The path that a path leads to, resolved where it is a name.
    pub(crate) async fn immutable(&self, path: impl IntoPath) -> Result<Path> {
        self.names().resolve(path).await
    }

    /// Blocks that belong together, under `root`: from here, or fetched and stored in one session.
    ///
    /// What was asked of it is held ([`Hold`]) as long as it lives.
    pub fn source(&self, root: &Cid) -> NodeSource {
        NodeSource::new(self.clone(), Some(*root))
    }

    /// A new [`Hold`], of nothing yet.
    pub fn hold(&self) -> Hold {
        self.inner.keeper.holds.start()
    }

    /// A handle of the same node: what is written or read through it is kept by `hold`.
    #[must_use]
    pub fn under(&self, hold: &Hold) -> Self {
        Self { inner: self.inner.clone(), under: Some(hold.clone()) }
    }

    /// Who this node is.
    pub fn peer_id(&self) -> PeerId {
        self.inner.network.local_peer()
    }

    /// Where this node can be reached, its name at the end of each: what another one passes to
    /// [`connect`](Self::connect).
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let peer = self.peer_id();
        self.inner.network.addresses().iter().map(|addr| addresses::with_peer(addr, peer)).collect()
    }

    /// Connects to a peer: an address that ends in `/p2p/<peer id>`, several of one peer, or a
    /// [`PeerInfo`](ipfs_traits::PeerInfo). The connection is then kept, used or not, until
    /// [`disconnect`](Self::disconnect). Of a peer whose addresses are neither given nor known, the
    /// routing is asked.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no such address; [`Error::Unreachable`], [`Error::TimedOut`].
    pub async fn connect(&self, peer: impl IntoPeer) -> Result<PeerId> {
        let peer = peer.into_peer()?;
        if peer.id == self.peer_id() {
            return Err(Error::invalid("address", "it is this node's own"));
        }
        self.reach(&peer).await?;
        let protection = self.inner.network.protect(peer.id, "connect", WANTED);
        self.inner.wanted().insert(peer.id, protection);
        Ok(peer.id)
    }

    async fn reach(&self, peer: &PeerInfo) -> Result<()> {
        let network = &self.inner.network;
        let failed = match network.connect(peer).await {
            Err(failed @ Error::Unreachable(..)) if peer.addresses.is_empty() => failed,
            done => return done,
        };
        match self.inner.routing.find_peer(peer.id).await {
            Ok(found) => network.connect(&PeerInfo::new(peer.id, found.addresses)).await,
            Err(Error::Unsupported(_) | Error::Unreachable(..)) => Err(failed),
            Err(error) => Err(error),
        }
    }

    /// The peers that this node stays connected to.
    pub fn peering(&self) -> &Peering {
        &self.inner.peering
    }

    /// Closes all connections to a peer.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.inner.wanted().remove(&peer);
        self.inner.network.disconnect(peer).await
    }

    /// The connected peers.
    pub async fn peers(&self) -> Vec<PeerId> {
        match self.inner.network.events().next().await {
            Some(Event::Snapshot(Snapshot { peers, .. })) => {
                peers.into_iter().map(|state| state.peer).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What the store holds, as far as it knows.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn usage(&self) -> Result<Option<Usage>> {
        self.inner.store.usage().await
    }

    /// The store, which deletes nothing that is held.
    pub fn store(&self) -> Arc<dyn Blockstore> {
        Arc::new(self.inner.store.clone())
    }

    /// The datastore.
    pub fn datastore(&self) -> &Arc<dyn Datastore> {
        &self.inner.datastore
    }

    /// The network.
    pub fn network(&self) -> &Arc<dyn Network> {
        &self.inner.network
    }

    /// The routing.
    pub fn routing(&self) -> &Arc<dyn Routing> {
        &self.inner.routing
    }

    /// The DHTs that the node is in: see [`Builder::dht`].
    pub fn dhts(&self) -> &Dhts {
        &self.inner.dhts
    }

    /// What the node announces, if it does: see [`Builder::provide`].
    pub fn providing(&self) -> Option<&Providing> {
        self.inner.providing.as_ref()
    }

    /// Makes known that this node has these blocks: at once and durably where it
    /// [announces](Self::providing) anyway, otherwise once, by its routing.
    ///
    /// # Errors
    ///
    /// Those of [`Providing::provide`] and [`Routing::provide`].
    pub async fn provide(&self, cids: impl IntoIterator<Item = Cid> + Send) -> Result<()> {
        match self.providing() {
            Some(providing) => providing.provide(cids).await,
            None => {
                let keys = cids.into_iter().map(|cid| *cid.hash()).collect();
                self.routing().provide(keys).await
            }
        }
    }

    /// Announces what was just added, where all is announced: it is found at once, and what is below
    /// it with the next round.
    pub(crate) async fn announce_added(&self, root: Cid) {
        if let Some(providing) = self.providing()
            && let Err(error) = providing.added(root).await
        {
            tracing::debug!(%error, "what was added is announced later");
        }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Arc<dyn Exchange> {
        &self.inner.exchange
    }

    /// Bitswap, unless another exchange was given: what it has counted, what each peer gave and took,
    /// what peers want, and the limits of rate, which can be changed while it runs.
    ///
    /// ```
    /// # use ipfs_core::{Error, Node, bitswap::RateLimits};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let node = Node::builder().listen([]).spawn().await?;
    /// let bitswap = node.bitswap().expect("no other exchange was given");
    /// let mut limits = RateLimits::default();
    /// limits.up = Some(1_000_000);
    /// bitswap.set_rate_limits(limits);
    /// assert_eq!(bitswap.stats().bytes_sent, 0);
    /// # node.close().await?;
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    pub fn bitswap(&self) -> Option<&Bitswap> {
        self.inner.bitswap.as_ref()
    }

    /// The runtime.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.inner.runtime
    }

    /// The codecs.
    pub fn codecs(&self) -> &Arc<CodecTable> {
        &self.inner.codecs
    }

    /// The hash functions.
    pub fn hashes(&self) -> &HashTable {
        &self.inner.hashes
    }

    /// The data directory, if the node has one.
    pub fn data_dir(&self) -> Option<&PathBuf> {
        self.inner.data_dir.as_ref()
    }

    /// Closes the node: what announces, the exchange, the routing, the network, then the stores, which
    /// are flushed.
    /// The data directory can then be opened again. Every later call on any handle gives
    /// [`Error::Closed`]; closing twice is no error.
    ///
    /// # Errors
    ///
    /// The first of what the parts say; all of them are closed even so. A later call says the same.
    pub async fn close(&self) -> Result<()> {
        let mut state = self.inner.state.lock().await;
        if let State::Closed(result) = &*state {
            return result.clone();
        }
        let inner = &self.inner;
        inner.wanted().clear();
        inner.peering.clear();
        let bootstrap = inner.bootstrap.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(bootstrap) = bootstrap {
            bootstrap.stop().await;
        }
        let collector = lock(&inner.collector).take();
        if let Some(collector) = collector {
            collector.stop().await;
        }
        let republisher = inner.republisher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(republisher) = republisher {
            republisher.stop().await;
        }
        let announced = match &inner.providing {
            Some(providing) => providing.provider().close().await,
            None => Ok(()),
        };
        let results = [
            announced,
            inner.exchange.close().await,
            inner.routing.close().await,
            inner.network.close().await,
            inner.keeper.holds.end_lease().await,
            inner.store.shut_down().await,
            inner.datastore.close().await,
        ];
        let result: Result<()> = results.into_iter().collect();
        // The lock of the data directory goes here.
        *state = State::Closed(result.clone());
        inner.bus.close();
        result
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// Tells those who listen.
    pub(crate) fn emit(&self, event: NodeEvent) {
        self.inner.bus.emit(event);
    }

    pub(crate) fn open_mfs(&self) -> sync::MutexGuard<'_, WeakMfs> {
        self.inner.mfs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node is not closed as long as this lives.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub(crate) async fn stay_open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.inner.state.lock().await;
        match &*state {
            State::Open(_) => Ok(state),
            State::Closed(_) => Err(Error::Closed("the node")),
        }
    }

    pub(crate) fn identity(&self) -> Option<&Key> {
        self.inner.identity.as_ref()
    }

    pub(crate) fn keystore(&self) -> &dyn Keystore {
        &*self.inner.keystore
    }

    pub(crate) fn guarded(&self) -> &Guarded {
        &self.inner.store
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.inner.keeper
    }

    pub(crate) fn damage(&self) -> &Damage {
        &self.inner.damage
    }

    /// What this handle's writes are held by: its own hold, or a new one.
    pub(crate) fn hold_of_writes(&self) -> Hold {
        self.under.clone().unwrap_or_else(|| self.hold())
    }

    /// The hold that this handle was made with.
    pub(crate) const fn given_hold(&self) -> Option<&Hold> {
        self.under.as_ref()
    }

    /// Stores blocks under a hold, and tells the exchange of them.
    pub(crate) async fn write(&self, hold: &Hold, blocks: &[Block]) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        hold.keep(blocks.iter().map(Block::hash)).await?;
        self.inner.store.put_many(blocks).await?;
        hold.check().await?;
        self.notify(blocks).await;
        Ok(())
    }

    /// Tells the exchange of blocks that are stored. They are, whatever it says.
    pub(crate) async fn notify(&self, blocks: &[Block]) {
        if let Err(error) = self.inner.exchange.notify(blocks).await {
            tracing::debug!(%error, "the exchange was not told of new blocks");
        }
    }
}

/// The weight of a connection that the application asked for, against those of the network's own.
const WANTED: u32 = 1000;

impl Inner {
    fn wanted(&self) -> sync::MutexGuard<'_, HashMap<PeerId, Protection>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer", &self.peer_id()).finish_non_exhaustive()
    }
}
