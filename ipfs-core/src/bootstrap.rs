//! Coming into the network, and staying in it: while few peers are connected, known ones are dialed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future::join_all, select_biased};
use ipfs_traits::{
    Batch, Bytes, Datastore, Multiaddr, Network, Parts, PeerId, PeerInfo, Result, Runtime,
    RuntimeExt, Task,
    network::{Event, MAX_ADDRESS, MAX_ADDRESSES},
    protobuf::{self, Fields},
};

use crate::{addresses, chance::Chance};

/// Whom a node connects to while it has few peers.
///
/// Given to [`Builder::bootstrap`](crate::Builder::bootstrap); without it a node connects to nobody
/// unasked. Now and then it saves peers that it is connected to, and asks them at its next start
/// when those of the list do not answer: the list is needed once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bootstrap {
    /// Addresses that end in `/p2p/<peer id>`; several of one peer belong together. `/dnsaddr` is
    /// resolved by the network.
    pub peers: Vec<Multiaddr>,
    /// Nothing is done while so many peers are connected. The default is 4, as Kubo's: enough that
    /// one or two may be liars or go away.
    pub minimum: usize,
    /// How often it is looked at. The default is 30 s, as Kubo's; a loss of the last peer is looked
    /// at at once.
    pub interval: Duration,
    /// How long a connection may take to be made. The default is 10 s, as Kubo's.
    pub timeout: Duration,
    /// How often peers are saved. The default is an hour, as Kubo's: peers that stay so long are
    /// there later too.
    pub save_interval: Duration,
    /// How many are saved. The default is 20, as Kubo's: what a bucket of the DHT has.
    pub save_max: usize,
}

/// Most that is saved, whatever the options say: what is read at a start is bounded by it.
const MAX_SAVED: usize = 1000;

/// Where saved peers stand in the datastore.
const SAVED: &str = "bootstrap/saved";

/// The peers that the public network is come into by, as they were on 2026-11-26.
const PUBLIC: [&str; 7] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
    "/ip4/104.131.131.82/udp/4001/quic-v1/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
];

impl Bootstrap {
    /// By these peers.
    pub fn new(peers: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self {
            peers: peers.into_iter().collect(),
            minimum: 4,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            save_interval: Duration::from_secs(3600),
            save_max: 20,
        }
    }

    /// By the peers that serve the public network for all, as they were on 2026-11-26. They belong to
    /// others, and may be gone: a host that lasts has a list of its own.
    pub fn public() -> Self {
        Self::new(PUBLIC.iter().filter_map(|address| address.parse().ok()))
    }

    /// Starts to look after the network of a node, until the task is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](ipfs_traits::Error::Invalid) for an address without a peer's name.
    pub(crate) fn start(self, parts: &Parts) -> Result<Task> {
        let mut peers = addresses::by_peer(self.peers.iter().cloned())?;
        peers.retain(|peer| peer.id != parts.peer());
        let network = parts.network()?.clone();
        let keeper = Keeper {
            options: self,
            peers,
            connected: BTreeMap::new(),
            events: network.events(),
            network,
            datastore: parts.datastore()?.clone(),
            runtime: parts.runtime().clone(),
            chance: Chance::of(parts, "bootstrap"),
        };
        Ok(parts.runtime().spawn(Box::pin(keeper.run())))
    }
}

/// Looks after the number of peers.
struct Keeper {
    options: Bootstrap,
    peers: Vec<PeerInfo>,
    /// With the addresses that they have said.
    connected: BTreeMap<PeerId, Arc<[Multiaddr]>>,
    events: BoxStream<'static, Event>,
    network: Arc<dyn Network>,
    datastore: Arc<dyn Datastore>,
    runtime: Arc<dyn Runtime>,
    chance: Chance,
}

impl Keeper {
    async fn run(mut self) {
        // What is there first.
        let Some(event) = self.events.next().await else { return };
        self.note(event);
        let (mut look, mut save) =
            (self.runtime.now(), self.runtime.now() + self.options.save_interval);
        loop {
            let now = self.runtime.now();
            if now >= look {
                self.fill().await;
                look = self.runtime.now() + self.options.interval;
            }
            if now >= save {
                self.save().await;
                save = self.runtime.now() + self.options.save_interval;
            }
            let mut sleep = self.runtime.sleep_until(look.min(save)).fuse();
            select_biased! {
                event = self.events.next().fuse() => match event {
                    Some(event) => {
                        let before = self.connected.len();
                        self.note(event);
                        if before > 0 && self.connected.is_empty() {
                            look = self.runtime.now();
                        }
                    }
                    None => return,
                },
                () = sleep => {}
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Snapshot(now) => {
                let peers = now.peers.into_iter();
                self.connected = peers.map(|state| (state.peer, state.addresses)).collect();
            }
            Event::Connected(peer) => drop(self.connected.insert(peer, Arc::default())),
            Event::Addresses(peer, addresses) => {
                self.connected.insert(peer, addresses);
            }
            Event::Gone(peer) => drop(self.connected.remove(&peer)),
            _ => {}
        }
    }

    /// What has happened by now, without waiting for more.
    fn catch_up(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            self.note(event);
        }
    }

    /// Connects to peers of the list, and then to saved ones, as far as they are needed.
    async fn fill(&mut self) {
        self.catch_up();
        let listed = self.peers.clone();
        self.connect_some(listed).await;
        if self.connected.len() < self.options.minimum {
            let saved = saved(&*self.datastore).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "saved peers cannot be read");
                Vec::new()
            });
            self.connect_some(saved).await;
        }
    }

    /// Connects to some of these, chosen by chance, so many at once as are missing.
    async fn connect_some(&mut self, mut candidates: Vec<PeerInfo>) {
        candidates.retain(|peer| !self.connected.contains_key(&peer.id));
        self.chance.shuffle(&mut candidates);
        while !candidates.is_empty() && self.connected.len() < self.options.minimum {
            let missing = self.options.minimum - self.connected.len();
            let some: Vec<PeerInfo> = candidates.drain(..missing.min(candidates.len())).collect();
            let (network, runtime, timeout) = (&self.network, &self.runtime, self.options.timeout);
            join_all(some.iter().map(|peer| connect(network, runtime, timeout, peer))).await;
            self.catch_up();
        }
    }

    /// Saves peers that are connected, chosen by chance; those saved before stay as far as there is
    /// room for them.
    async fn save(&mut self) {
        self.catch_up();
        let most = self.options.save_max.min(MAX_SAVED);
        let listed: BTreeSet<PeerId> = self.peers.iter().map(|peer| peer.id).collect();
        let known = self
            .connected
            .iter()
            .filter(|(peer, addresses)| !addresses.is_empty() && !listed.contains(peer));
        let mut peers: Vec<PeerInfo> =
            known.map(|(id, addresses)| PeerInfo::new(*id, addresses.to_vec())).collect();
        self.chance.shuffle(&mut peers);
        let here: BTreeSet<PeerId> = peers.iter().map(|peer| peer.id).collect();
        let before = saved(&*self.datastore).await.unwrap_or_default();
        peers.extend(before.into_iter().filter(|peer| !here.contains(&peer.id)));
        peers.truncate(most);
        let batch = Batch::new().put(SAVED, encode(&peers));
        if let Err(error) = self.datastore.commit(batch).await {
            tracing::warn!(%error, "peers cannot be saved");
        }
    }
}

async fn connect(
    network: &Arc<dyn Network>,
    runtime: &Arc<dyn Runtime>,
    timeout: Duration,
    peer: &PeerInfo,
) {
    let connect = runtime.timeout(timeout, "connecting to a peer", network.connect(peer));
    if let Err(error) = connect.await {
        tracing::debug!(peer = %peer.id, %error, "a peer to begin with was not reached");
    }
}

/// Saved peers: in each field 1 a peer, with its name as field 1 and addresses as fields 2.
fn encode(peers: &[PeerInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    for peer in peers {
        let mut one = Vec::new();
        protobuf::write_bytes(1, &peer.id.to_bytes(), &mut one);
        for address in &peer.addresses {
            protobuf::write_bytes(2, address.as_ref(), &mut one);
        }
        protobuf::write_bytes(1, &one, &mut out);
    }
    out
}

async fn saved(datastore: &dyn Datastore) -> Result<Vec<PeerInfo>> {
    match datastore.get(SAVED.as_bytes()).await? {
        Some(bytes) => decode(&bytes),
        None => Ok(Vec::new()),
    }
}

fn decode(bytes: &Bytes) -> Result<Vec<PeerInfo>> {
    const WHAT: &str = "saved peers";
    let mut peers = Vec::new();
    for field in Fields::new(bytes, WHAT).take(MAX_SAVED) {
        let (mut id, mut addresses) = (None, Vec::new());
        for field in Fields::new(field?.1.bytes(WHAT)?, WHAT) {
            match field? {
                (1, value) => id = PeerId::from_bytes(value.bytes(WHAT)?).ok(),
                (2, value) if addresses.len() < MAX_ADDRESSES => {
                    let address = value.bytes(WHAT)?;
                    if address.len() <= MAX_ADDRESS {
                        addresses.extend(Multiaddr::try_from(address.to_vec()).ok());
                    }
                }
                _ => {}
            }
        }
        peers.extend(id.map(|id| PeerInfo::new(id, addresses)));
    }
    Ok(peers)
}
