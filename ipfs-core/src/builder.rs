//! Building a node.

mod build;

use std::{fmt, path::PathBuf, sync::Arc};

use ipfs_traits::{
    Blockstore, Codec, CodecTable, Datastore, Error, Exchange, HashFunction, HashTable, Ipld,
    Multiaddr, Network, Parts, Recipe, Resolver, Result, Routing, Runtime, RuntimeExt, Static,
};
use libp2p_identity::Keypair;

use self::build::Built;
use crate::{
    Bootstrap, CollectWhen, DhtOptions, Key, Keystore, MemoryKeystore, Node, Provide, addresses,
    codec::standard_codecs, data_dir::DataDir, guarded::Guarded, hold::Holds,
};

/// How a node is built: what is not set has a default. The order of the calls does not matter; all
/// is checked in [`spawn`](Self::spawn).
///
/// ```no_run
/// # async fn example() -> Result<(), ipfs_core::Error> {
/// let node = ipfs_core::Node::builder()
///     .data_dir("./data")
///     .listen(["/ip4/0.0.0.0/tcp/4001".parse().expect("an address")])
///     .spawn()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is built before `spawn`"]
pub struct Builder {
    runtime: Option<Arc<dyn Runtime>>,
    data_dir: Option<PathBuf>,
    migrate: bool,
    identity: Option<Key>,
    keystore: Option<Arc<dyn Keystore>>,
    hashes: Result<HashTable>,
    codecs: CodecTable,
    store: Option<Box<dyn Recipe<dyn Blockstore>>>,
    datastore: Option<Box<dyn Recipe<dyn Datastore>>>,
    network: Option<Box<dyn Recipe<dyn Network>>>,
    routing: Option<Box<dyn Recipe<dyn Routing>>>,
    exchange: Option<Box<dyn Recipe<dyn Exchange>>>,
    listen: Option<Vec<Multiaddr>>,
    bootstrap: Option<Bootstrap>,
    peering: Vec<Multiaddr>,
    collect: Option<CollectWhen>,
    dht: Option<DhtOptions>,
    provide: Option<Provide>,
    resolver: Option<Arc<dyn Resolver>>,
    names: ipfs_routing::names::Options,
    offline: bool,
    bitswap: ipfs_bitswap::Options,
    #[cfg(feature = "libp2p")]
    libp2p: crate::network::Options,
    /// The peers of the local network, once the host is there and looks for them.
    #[cfg(feature = "libp2p")]
    near: Option<crate::network::Near>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            runtime: None,
            data_dir: None,
            migrate: true,
            identity: None,
            keystore: None,
            hashes: Ok(HashTable::standard()),
            codecs: standard_codecs(),
            store: None,
            datastore: None,
            network: None,
            routing: None,
            exchange: None,
            listen: None,
            bootstrap: None,
            peering: Vec::new(),
            collect: None,
            dht: None,
            provide: None,
            resolver: None,
            names: ipfs_routing::names::Options::default(),
            offline: false,
            bitswap: ipfs_bitswap::Options::default(),
            #[cfg(feature = "libp2p")]
            libp2p: crate::network::Options::default(),
            #[cfg(feature = "libp2p")]
            near: None,
        }
    }

    /// Runs on this runtime. The default is the tokio runtime in which [`spawn`](Self::spawn) is
    /// called; none is ever made.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// Keeps all in this folder, which is made if it is absent. The default is to keep nothing: all
    /// is in memory, and the node has another name each time.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Whether a data directory that an older version made is brought to the newest version when it is
    /// opened, after a backup of what that changes; it is told by `tracing`. The default is to do so,
    /// for the node cannot run otherwise. If not, opening it is an error.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Who the node is: a [`Key`], or a [`Keypair`]. The default is the key in the data directory, or
    /// a new ed25519 key.
    pub fn identity(mut self, identity: impl Into<Key>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Keeps the keys of [`Node::keys`] in this store. The default is a
    /// [`FolderKeystore`](crate::FolderKeystore) in the data directory, or memory.
    pub fn keystore(mut self, store: impl Keystore) -> Self {
        self.keystore = Some(Arc::new(store));
        self
    }

    /// Keeps blocks in this store. The default is a [`PackStore`](ipfs_blockstore::PackStore) in the
    /// data directory, or memory. A data directory whose `blocks` is a flatfs, as Kubo's is, keeps it:
    /// then it is a [`FlatStore`](ipfs_blockstore::FlatStore).
    pub fn store(mut self, store: impl Recipe<dyn Blockstore>) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Keeps small state in this datastore. The default is a
    /// [`RedbDatastore`](ipfs_blockstore::RedbDatastore) in the data directory, or memory.
    pub fn datastore(mut self, datastore: impl Recipe<dyn Datastore>) -> Self {
        self.datastore = Some(Box::new(datastore));
        self
    }

    /// Joins this network; the node then has the network's name. The default is libp2p over TCP and
    /// QUIC, if the feature `libp2p` is on.
    pub fn network(mut self, network: impl Recipe<dyn Network>) -> Self {
        self.network = Some(Box::new(network));
        self
    }

    /// Finds providers and peers in this way, beside the [`dht`](Self::dht) if there is one. The
    /// default finds nobody: only peers that the application connects to are asked.
    pub fn routing(mut self, routing: impl Recipe<dyn Routing>) -> Self {
        self.routing = Some(Box::new(routing));
        self
    }

    /// Trades blocks in this way. The default is bitswap.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    ///
    /// use ipfs_core::Node;
    /// use ipfs_core::bitswap::{Bitswap, Combined, HttpExchange, Options, http};
    /// # use ipfs_core::{Block, codes, memory::MemoryHttp};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let client = MemoryHttp::new();
    /// # let hashes = ipfs_core::HashTable::standard();
    /// # let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &hashes)?;
    /// # client.serve("https://trustless-gateway.link/ipfs/bafkqaaa?format=raw", "");
    /// # let url = format!("https://trustless-gateway.link/ipfs/{}?format=raw", block.cid());
    /// # client.serve(url, "hello");
    /// // Peers first, and a gateway for what they have not given after half a second; the client is
    /// // a `ReqwestClient` (feature `reqwest`), or one's own.
    /// let gateways = ["https://trustless-gateway.link"];
    /// let gateway = HttpExchange::recipe(Arc::new(client), gateways, http::Options::default());
    /// let exchange = Combined::first(Bitswap::recipe(Options::default()))
    ///     .after(Duration::from_millis(500), gateway);
    /// let node = Node::builder().exchange(exchange).listen([]).spawn().await?;
    /// # assert_eq!(node.blocks().get(block.cid()).await?, block);
    /// # node.close().await?;
    /// # Ok::<(), ipfs_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn exchange(mut self, exchange: impl Recipe<dyn Exchange>) -> Self {
        self.exchange = Some(Box::new(exchange));
        self
    }

    /// Changes how bitswap works, where it is the exchange because none is given. A
    /// [`recipe`](ipfs_bitswap::Bitswap::recipe) has options of its own. See [`Node::bitswap`].
    pub fn bitswap(mut self, options: ipfs_bitswap::Options) -> Self {
        self.bitswap = options;
        self
    }

    /// Adds a codec of `ipld_core`; it takes the place of one with the same multicodec.
    pub fn codec<C>(self, codec: C) -> Self
    where
        C: ipld_core::codec::Codec<Ipld> + 'static,
        C::Error: fmt::Display,
        C::LinksError: fmt::Display,
    {
        // Its functions belong to the type; the value only says which one.
        drop(codec);
        self.codec_with(Static::<C>::new())
    }

    /// Adds a codec; it takes the place of one with the same multicodec.
    pub fn codec_with(mut self, codec: impl Codec) -> Self {
        self.codecs.insert(codec);
        self
    }

    /// Adds a codec of `ipld_core` for CIDs of one hash function; for them it comes before the one
    /// of the multicodec alone.
    pub fn codec_for<C>(self, hash: u64, codec: C) -> Self
    where
        C: ipld_core::codec::Codec<Ipld> + 'static,
        C::Error: fmt::Display,
        C::LinksError: fmt::Display,
    {
        drop(codec);
        self.codec_with_for(hash, Static::<C>::new())
    }

    /// Adds a codec for CIDs of one hash function.
    pub fn codec_with_for(mut self, hash: u64, codec: impl Codec) -> Self {
        self.codecs.insert_for(hash, codec);
        self
    }

    /// Adds a hash function; it takes the place of one with the same multicodec.
    pub fn hash(mut self, function: impl HashFunction) -> Self {
        self.hashes = self.hashes.and_then(|hashes| hashes.with(function));
        self
    }

    /// Listens at these addresses; each of them must work. The default is any port on all
    /// interfaces, TCP and QUIC; none at all means not to listen.
    pub fn listen(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.listen = Some(addresses.into_iter().collect());
        self
    }

    /// Connects to known peers while few are connected. The default is to connect to nobody unasked:
    /// [`Bootstrap::public`] has the peers that the public network is come into by.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = Some(bootstrap);
        self
    }

    /// Stays connected to these peers, each address ending in `/p2p/<peer id>`: see
    /// [`Peering`](crate::Peering). The default is nobody.
    pub fn peering(mut self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        self.peering = addresses.into_iter().collect();
        self
    }

    /// Collects garbage by itself: when there is much, or from time to time. The default is to delete
    /// nothing unasked. See [`Gc`](crate::Gc) for what is garbage.
    pub const fn collect(mut self, when: CollectWhen) -> Self {
        self.collect = Some(when);
        self
    }

    /// Takes part in the DHTs: finds peers, providers and records there, and answers others. The
    /// default is to be in none. Somebody who is in them has to be connected to first: by
    /// [`bootstrap`](Self::bootstrap), [`peering`](Self::peering), mDNS or
    /// [`connect`](Node::connect); later those that were there at the last time are asked too.
    pub fn dht(mut self, options: DhtOptions) -> Self {
        self.dht = Some(options);
        self
    }

    /// Announces what the node has, again and again. The default is to announce nothing unasked.
    pub fn provide(mut self, what: Provide) -> Self {
        self.provide = Some(what);
        self
    }

    /// Looks domains up in this way, for `/ipns/<domain>`. The default is the system's servers, with
    /// the feature `dns`; without it domains are not resolved.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Changes how names are published, resolved and kept alive.
    pub fn names(mut self, options: ipfs_routing::names::Options) -> Self {
        self.names = options;
        self
    }

    /// A node of the public network, as Kubo is one: in the DHTs, which it comes into by the
    /// [peers that serve all](Bootstrap::public), and announcing every block that it has. Each of
    /// these can be set otherwise afterwards.
    pub fn public(self) -> Self {
        self.dht(DhtOptions::default()).bootstrap(Bootstrap::public()).provide(Provide::all())
    }

    /// Changes how the libp2p host works, where it is the network.
    #[cfg(feature = "libp2p")]
    pub fn libp2p(mut self, options: crate::network::Options) -> Self {
        self.libp2p = options;
        self
    }

    /// No network, and no exchange unless one is given: what is not here is not found.
    pub fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// Builds the node and starts it: data directory, stores, network, routing, exchange. When it
    /// returns, it listens. Of a build that fails nothing stays behind.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for settings that contradict each other, or without a runtime;
    /// [`Error::InUse`] when another node has the data directory open; [`Error::Newer`] when a
    /// newer version made it; [`Error::Unsupported`] when an older one did, and it is not to be
    /// [migrated](Self::migrate); what the parts say when they cannot be opened or started.
    pub async fn spawn(mut self) -> Result<Node> {
        self.check()?;
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => current_runtime()?,
        };
        let dir = match self.data_dir.take() {
            Some(path) => {
                let (identity, migrate) = (self.identity.clone(), self.migrate);
                Some(runtime.blocking(move || DataDir::open(path, identity, migrate)).await??)
            }
            None => None,
        };
        let given = dir.as_ref().map(|dir| dir.identity.clone()).or(self.identity.take());
        let identity = given.unwrap_or_else(|| Keypair::generate_ed25519().into());
        let codecs = Arc::new(std::mem::take(&mut self.codecs));
        let mut parts =
            Parts::new(runtime.clone(), self.hashes.clone()?, codecs, identity.peer_id());
        if let Some(dir) = &dir {
            parts.set_data_dir(&dir.path);
        }
        let holds = Holds::default();
        let store = self.build_store(&parts, dir.as_ref()).await?;
        let store = Guarded::new(store, runtime, holds.clone());
        parts.set_store(Arc::new(store.clone()));
        let keystore: Arc<dyn Keystore> = Arc::new(MemoryKeystore::new());
        let mut built = Built::new((store, holds), (identity, keystore), parts);
        let result = self.build_rest(&mut built, dir.as_ref()).await;
        built.lock = dir.map(|dir| dir.lock);
        match result {
            Ok(exchange) => built.node(exchange, self),
            Err(error) => {
                built.undo().await;
                Err(error)
            }
        }
    }

    /// What contradicts itself.
    fn check(&self) -> Result<()> {
        let contradiction = if self.offline && self.network.is_some() {
            "it is offline, and given a network"
        } else if self.offline && self.listen.is_some() {
            "it is offline, and to listen"
        } else if self.offline && (self.dht.is_some() || self.provide.is_some()) {
            "it is offline, and to be in a DHT or to announce"
        } else if self.offline && (self.bootstrap.is_some() || !self.peering.is_empty()) {
            "it is offline, and to connect to peers"
        } else if self.network.is_some() && self.listen.is_some() {
            "a network of one's own listens where it wants"
        } else if self.network.is_some() && self.identity.is_some() {
            "a network of one's own has a name of its own"
        } else {
            let listed = self.bootstrap.iter().flat_map(|bootstrap| &bootstrap.peers);
            addresses::by_peer(self.peering.iter().chain(listed).cloned())?;
            return self.hashes.as_ref().map(drop).map_err(Clone::clone);
        };
        Err(Error::invalid("builder", contradiction))
    }
}

#[cfg(feature = "tokio")]
fn current_runtime() -> Result<Arc<dyn Runtime>> {
    Ok(Arc::new(ipfs_traits::TokioRuntime::current()?))
}

#[cfg(not(feature = "tokio"))]
fn current_runtime() -> Result<Arc<dyn Runtime>> {
    Err(Error::invalid("builder", "without the feature tokio a runtime must be given"))
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .field("offline", &self.offline)
            .field("codecs", &self.codecs)
            .finish_non_exhaustive()
    }
}
