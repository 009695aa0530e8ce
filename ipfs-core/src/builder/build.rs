//! Building the parts of a node, one after the other.

use std::sync::Arc;

use ipfs_bitswap::Bitswap;
use ipfs_blockstore::{FlatStore, PackStore, RedbDatastore};
use ipfs_routing::names::Names;
use ipfs_traits::{
    Blockstore, Datastore, Exchange, Network, NoNetwork, OfflineExchange, Parts, Resolver, Result,
    RuntimeExt,
    memory::{MemoryDatastore, MemoryStore},
};
use libp2p_identity::Keypair;

use super::Builder;
use crate::{
    FolderKeystore, Key, Keystore, Node, Peering, addresses,
    data_dir::{DataDir, SCRATCH},
    events::Bus,
    guarded::Guarded,
    hold::Holds,
    keeper::Keeper,
    lease::Lease,
    names::NodeSigners,
    node::{Inner, State},
    providing::Providing,
    reach::{Site, scratch::Scratch},
    repo::Damage,
    routers::{self, Dhts},
};

impl Builder {
    pub(super) async fn build_store(
        &mut self,
        parts: &Parts,
        dir: Option<&DataDir>,
    ) -> Result<Arc<dyn Blockstore>> {
        match (self.store.take(), dir) {
            (Some(recipe), _) => recipe.build(parts).await,
            (None, Some(dir)) => {
                let (blocks, runtime) = (dir.blocks(), parts.runtime().clone());
                let sharding = dir.sharding();
                Ok(match parts.runtime().blocking(move || sharding.exists()).await? {
                    true => Arc::new(FlatStore::open(blocks, runtime).await?),
                    false => Arc::new(PackStore::open(blocks, runtime).await?),
                })
            }
            (None, None) => Ok(Arc::new(MemoryStore::new())),
        }
    }

    pub(super) async fn build_rest(
        &mut self,
        built: &mut Built,
        dir: Option<&DataDir>,
    ) -> Result<Arc<dyn Exchange>> {
        let parts = &mut built.parts;
        if let Some(store) = self.keystore.take() {
            built.keystore = store;
        } else if let Some(dir) = dir {
            let store = FolderKeystore::open(dir.keystore(), parts.runtime().clone());
            built.keystore = Arc::new(store.await?);
        }
        let datastore: Arc<dyn Datastore> = match (self.datastore.take(), dir) {
            (Some(recipe), _) => recipe.build(parts).await?,
            (None, Some(dir)) => {
                Arc::new(RedbDatastore::open(dir.state(), parts.runtime().clone()).await?)
            }
            (None, None) => Arc::new(MemoryDatastore::new()),
        };
        if parts.store()?.shared() && datastore.shared() {
            built.holds.share(Lease::spawn(datastore.clone(), parts.runtime().clone()));
        }
        parts.set_datastore(datastore);
        let network = match self.network.take() {
            Some(recipe) => recipe.build(parts).await?,
            None if self.offline => Arc::new(NoNetwork::new(parts.peer())),
            None => self.host(parts, built.identity.pair().clone()).await?,
        };
        parts.set_network(network);
        let given = match self.routing.take() {
            Some(recipe) => Some(recipe.build(parts).await?),
            None => None,
        };
        let known = addresses::by_peer(self.peering.iter().cloned())?;
        let (routing, dhts) = routers::build(parts, self.dht.take(), given, known).await?;
        built.dhts = dhts;
        #[cfg(feature = "libp2p")]
        let routing = match self.near.take() {
            Some(near) => near.before(routing),
            None => routing,
        };
        parts.set_routing(routing);
        if let Some(provide) = self.provide.take() {
            built.providing = Some(provide.start(parts).await?);
        }
        match self.exchange.take() {
            Some(recipe) => recipe.build(parts).await,
            None if self.offline => Ok(Arc::new(OfflineExchange)),
            None => {
                let bitswap = Bitswap::spawn(parts, self.bitswap.clone())?;
                built.bitswap = Some(bitswap.clone());
                Ok(Arc::new(bitswap))
            }
        }
    }

    #[cfg(feature = "libp2p")]
    async fn host(&mut self, parts: &Parts, identity: Keypair) -> Result<Arc<dyn Network>> {
        let options = std::mem::take(&mut self.libp2p);
        let listen = self.listen.take();
        let host = crate::network::Host::spawn(parts.runtime(), identity, listen, options);
        let (host, near) = host.await?;
        self.near = near;
        Ok(Arc::new(host))
    }

    #[cfg(not(feature = "libp2p"))]
    #[expect(clippy::unused_async, reason = "the host is built asynchronously, where it is there")]
    async fn host(&mut self, _: &Parts, _: Keypair) -> Result<Arc<dyn Network>> {
        Err(ipfs_traits::Error::invalid(
            "builder",
            "without the feature libp2p a network must be given",
        ))
    }
}

/// What of a node is built, and has to be closed if the rest fails.
pub(super) struct Built {
    store: Guarded,
    holds: Holds,
    pub(super) lock: Option<ipfs_blockstore::files::Lock>,
    bitswap: Option<Bitswap>,
    dhts: Dhts,
    providing: Option<Providing>,
    identity: Key,
    keystore: Arc<dyn Keystore>,
    parts: Parts,
}

impl Built {
    pub(super) fn new(
        (store, holds): (Guarded, Holds),
        (identity, keystore): (Key, Arc<dyn Keystore>),
        parts: Parts,
    ) -> Self {
        let (dhts, providing) = (Dhts::default(), None);
        Self { store, holds, lock: None, bitswap: None, dhts, providing, identity, keystore, parts }
    }

    /// The node, once all is built that can fail slowly.
    pub(super) fn node(self, exchange: Arc<dyn Exchange>, builder: Builder) -> Result<Node> {
        let parts = self.parts;
        let peering = Peering::new(&parts, builder.peering)?;
        let bootstrap = builder.bootstrap.map(|bootstrap| bootstrap.start(&parts)).transpose()?;
        // A network of one's own keeps its key to itself.
        let identity = Some(self.identity).filter(|key| key.peer_id() == parts.peer());
        let resolver = builder.resolver.or_else(|| system_resolver(&parts, builder.offline));
        let names = Names::new(
            parts.runtime().clone(),
            parts.routing()?.clone(),
            parts.datastore()?.clone(),
            resolver,
            builder.names,
        );
        let site = Site {
            store: self.store.bare().clone(),
            codecs: parts.codecs().clone(),
            hashes: parts.hashes().clone(),
            runtime: parts.runtime().clone(),
            scratch: parts.data_dir().map(|dir| Arc::new(Scratch::new(dir.join(SCRATCH)))),
        };
        let datastore = parts.datastore()?.clone();
        let keeper = Arc::new(Keeper { site, datastore, holds: self.holds });
        self.store.guard_pins(&keeper);
        let signers = NodeSigners { identity: identity.clone(), keystore: self.keystore.clone() };
        let republisher = (!builder.offline).then(|| names.republish(Arc::new(signers)));
        let inner = Inner {
            runtime: parts.runtime().clone(),
            hashes: parts.hashes().clone(),
            codecs: parts.codecs().clone(),
            data_dir: parts.data_dir().cloned(),
            identity,
            keystore: self.keystore,
            store: self.store,
            damage: Damage::default(),
            datastore: parts.datastore()?.clone(),
            network: parts.network()?.clone(),
            routing: parts.routing()?.clone(),
            dhts: self.dhts,
            providing: self.providing,
            names,
            republisher: std::sync::Mutex::new(republisher),
            exchange,
            bitswap: self.bitswap,
            keeper,
            collector: std::sync::Mutex::default(),
            wanted: std::sync::Mutex::default(),
            peering,
            bootstrap: std::sync::Mutex::new(bootstrap),
            bus: Bus::default(),
            mfs: std::sync::Mutex::default(),
            state: futures_util::lock::Mutex::new(State::Open(self.lock)),
        };
        Ok(Node::new(inner, builder.collect))
    }

    /// Closes what was built, in the order in which a node does.
    pub(super) async fn undo(self) {
        let parts = self.parts;
        if let Some(providing) = &self.providing {
            log(providing.provider().close().await);
        }
        if let Ok(routing) = parts.routing() {
            log(routing.close().await);
        }
        if let Ok(network) = parts.network() {
            log(network.close().await);
        }
        log(self.store.shut_down().await);
        if let Ok(datastore) = parts.datastore() {
            log(datastore.close().await);
        }
    }
}

/// What looks domains up unless another one is given.
#[cfg(feature = "dns")]
fn system_resolver(parts: &Parts, offline: bool) -> Option<Arc<dyn Resolver>> {
    if offline {
        return None;
    }
    match crate::DnsResolver::system(parts.runtime().clone()) {
        Ok(resolver) => Some(Arc::new(resolver)),
        Err(error) => {
            tracing::warn!(%error, "the system names no servers of domains");
            None
        }
    }
}

#[cfg(not(feature = "dns"))]
const fn system_resolver(_: &Parts, _: bool) -> Option<Arc<dyn Resolver>> {
    None
}

/// The error that is told is the first one.
fn log(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "closing what was built of a node");
    }
}
