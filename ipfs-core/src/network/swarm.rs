//! The task that drives the swarm.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
};

use futures_channel::{mpsc, oneshot};
use futures_util::{StreamExt, select_biased};
use ipfs_traits::{
    Error, Multiaddr, PeerId, PeerInfo, Result, Runtime,
    network::{Protocol, Reachability},
};
use libp2p::{
    Swarm,
    connection_limits::{self, ConnectionLimits},
    core::{ConnectedPoint, transport::ListenerId},
    identify, mdns, ping,
    swarm::{
        Config, ConnectionId, NetworkBehaviour, SwarmEvent,
        behaviour::toggle::Toggle,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use libp2p_identity::Keypair;

use super::{
    CLOSED, Near, Options,
    mdns::DIALS,
    reach::{believed, is_public},
    registry::Registry,
    streams::Streams,
    transport::{self, Entered},
};

/// What the host's callers ask of the swarm.
pub(super) enum Command {
    Connect(PeerInfo, oneshot::Sender<Result<()>>),
    Disconnect(PeerId, oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What a swarm is made of.
pub(super) struct Parts {
    pub(super) identity: Keypair,
    pub(super) listen: Option<Vec<Multiaddr>>,
    pub(super) options: Options,
    pub(super) tokio: tokio::runtime::Handle,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) registry: Arc<Registry>,
    pub(super) near: Option<Near>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    /// The last: see its module.
    streams: Streams,
}

/// Connections to one peer: one of each transport and direction, for those who dial at once.
const PER_PEER: u32 = 4;
/// Connections that are being made, each way: what an attacker can have us hold for 20 s.
const PENDING: u32 = 128;
/// Messages between the swarm and a connection, each way: only what identify and ping say.
const BUFFER: usize = 64;
/// Streams of a peer that are being negotiated at once; more wait in the muxer.
pub(super) const NEGOTIATING: usize = 32;
/// Where a node listens unless it is told: each of these that the machine has.
const EVERYWHERE: [&str; 4] =
    ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"];

type Event = SwarmEvent<BehaviourEvent>;

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    registry: Arc<Registry>,
    /// Those who wait for a connection, and the dials that may bring it.
    connecting: HashMap<PeerId, Connecting>,
    /// Those who wait until a peer is gone.
    leaving: HashMap<PeerId, Vec<oneshot::Sender<()>>>,
    /// How each connection came to be.
    connected: HashMap<ConnectionId, ConnectedPoint>,
    closing: Option<oneshot::Sender<()>>,
    near: Option<Near>,
    /// Peers of the local network that were found and not dialed yet, and the dials to others.
    found: VecDeque<PeerId>,
    dialing: HashSet<ConnectionId>,
}

#[derive(Default)]
struct Connecting {
    dials: HashSet<ConnectionId>,
    waiting: Vec<oneshot::Sender<Result<()>>>,
}

impl Driver {
    /// Listens, says so, and runs until it is closed.
    pub(super) async fn run(
        parts: Parts,
        mut commands: mpsc::Receiver<Command>,
        listening: oneshot::Sender<Result<()>>,
    ) {
        let listen = parts.listen.clone();
        let mut driver = match Self::new(parts) {
            Ok(driver) => driver,
            Err(error) => return drop(listening.send(Err(error))),
        };
        driver.tell_addresses();
        let listens = driver.listen(listen).await;
        let failed = listens.is_err();
        if listening.send(listens).is_err() || failed {
            return;
        }
        loop {
            // Events first: what commands find is then true.
            select_biased! {
                event = driver.swarm.select_next_some() => driver.handle(event),
                command = commands.next() => match command {
                    Some(command) => driver.obey(command),
                    None => return,
                },
            }
            driver.dial_found();
            if driver.is_closed() {
                return;
            }
        }
    }

    fn new(parts: Parts) -> Result<Self> {
        let Parts { identity, options, tokio, runtime, registry, near, .. } = parts;
        let peer = identity.public().to_peer_id();
        let mdns =
            near.as_ref().map(|_| mdns::tokio::Behaviour::new(mdns::Config::default(), peer));
        let mdns = mdns.transpose().map_err(|error| Error::component("multicast DNS", error))?;
        let transport = transport::build(&identity)?;
        let limits = ConnectionLimits::default()
            .with_max_established_incoming(Some(options.max_incoming))
            .with_max_established_outgoing(Some(options.max_outgoing))
            .with_max_established_per_peer(Some(PER_PEER))
            .with_max_pending_incoming(Some(PENDING))
            .with_max_pending_outgoing(Some(PENDING));
        let agent = concat!("ipfs-core/", env!("CARGO_PKG_VERSION"));
        let identify = identify::Config::new("ipfs/0.1.0".into(), identity.public())
            .with_agent_version(agent.into());
        let behaviour = Behaviour {
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            mdns: mdns.into(),
            streams: Streams(registry.clone()),
        };
        let spawn = move |future| {
            let future = Entered::new(tokio.clone(), future);
            runtime.spawn(Box::pin(future)).detach();
        };
        let buffer = NonZeroUsize::new(BUFFER).unwrap_or(NonZeroUsize::MIN);
        let config = Config::with_executor(spawn)
            .with_idle_connection_timeout(options.idle_timeout)
            .with_notify_handler_buffer_size(buffer)
            .with_per_connection_event_buffer_size(BUFFER)
            .with_max_negotiating_inbound_streams(NEGOTIATING)
            .with_smart_dial();
        let mut swarm = Swarm::new(transport, behaviour, peer, config);
        for address in options.external {
            if is_public(&address) {
                registry.events.reachability(Reachability::Public);
            }
            swarm.add_external_address(address);
        }
        Ok(Self {
            swarm,
            registry,
            connecting: HashMap::new(),
            leaving: HashMap::new(),
            connected: HashMap::new(),
            closing: None,
            near,
            found: VecDeque::new(),
            dialing: HashSet::new(),
        })
    }

    /// Listens at all the addresses that are given, or at any of the default ones.
    async fn listen(&mut self, listen: Option<Vec<Multiaddr>>) -> Result<()> {
        let all = listen.is_some();
        let addresses = listen.unwrap_or_else(|| {
            EVERYWHERE.iter().filter_map(|address| address.parse().ok()).collect()
        });
        let mut waiting: HashMap<ListenerId, Multiaddr> = HashMap::new();
        let mut working = addresses.is_empty();
        let mut failure = None;
        for address in addresses {
            match self.swarm.listen_on(address.clone()) {
                Ok(id) => drop(waiting.insert(id, address)),
                Err(error) => failure = Some(cannot_listen(&address, std::io::Error::other(error))),
            }
        }
        while !(waiting.is_empty() || all && failure.is_some()) {
            let event = self.swarm.select_next_some().await;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    working |= waiting.remove(listener_id).is_some();
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. }
                | SwarmEvent::ListenerError { listener_id, error } => {
                    if let Some(address) = waiting.remove(listener_id) {
                        let error = std::io::Error::new(error.kind(), error.to_string());
                        failure = Some(cannot_listen(&address, error));
                    }
                }
                _ => {}
            }
            self.handle(event);
        }
        match failure {
            Some(error) if all || !working => Err(error),
            _ => Ok(()),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect(peer, reply) => self.connect(peer, reply),
            Command::Disconnect(peer, reply) => {
                if self.swarm.disconnect_peer_id(peer).is_ok() {
                    self.leaving.entry(peer).or_default().push(reply);
                } else {
                    let _ = reply.send(());
                }
            }
            Command::Close(reply) => {
                let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
                for peer in peers {
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
                self.closing = Some(reply);
            }
        }
    }

    fn connect(&mut self, peer: PeerInfo, reply: oneshot::Sender<Result<()>>) {
        let PeerInfo { id, addresses } = peer;
        if self.swarm.is_connected(&id) {
            return drop(reply.send(Ok(())));
        }
        let dial = DialOpts::peer_id(id)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::Disconnected)
            .build();
        let connection = dial.connection_id();
        match self.swarm.dial(dial) {
            Ok(()) => {
                let connecting = self.connecting.entry(id).or_default();
                connecting.dials.insert(connection);
                connecting.waiting.push(reply);
            }
            Err(error) => drop(reply.send(Err(Error::Unreachable(id, Some(Arc::new(error)))))),
        }
    }

    /// Dials peers of the local network that were found, so many at once.
    fn dial_found(&mut self) {
        while self.closing.is_none() && self.dialing.len() < DIALS {
            let Some(peer) = self.found.pop_front() else { return };
            let dial = DialOpts::peer_id(peer).build();
            let connection = dial.connection_id();
            // One that is connected, or dialed already, is no dial of this kind.
            if self.swarm.dial(dial).is_ok() {
                self.dialing.insert(connection);
            }
        }
    }

    /// Where this node can be reached has changed.
    fn tell_addresses(&self) {
        let swarm = &self.swarm;
        let addresses = swarm.external_addresses().chain(swarm.listeners()).cloned();
        self.registry.set_addresses(addresses.collect());
    }

    fn handle(&mut self, event: Event) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.dialing.remove(&connection_id);
                self.connected.insert(connection_id, endpoint);
                if self.closing.is_some() {
                    let _ = self.swarm.disconnect_peer_id(peer_id);
                }
                let connected = self.connecting.remove(&peer_id).unwrap_or_default();
                for waiting in connected.waiting {
                    let _ = waiting.send(Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.connected.remove(&connection_id);
                if num_established > 0 {
                    return;
                }
                for waiting in self.leaving.remove(&peer_id).unwrap_or_default() {
                    let _ = waiting.send(());
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(?peer_id, %error, "a dial failed");
                self.dialing.remove(&connection_id);
                if let Some(peer) = peer_id {
                    self.dial_failed(peer, connection_id, Arc::new(error));
                }
            }
            SwarmEvent::NewListenAddr { .. }
            | SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ListenerClosed { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. } => {
                self.tell_addresses();
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                connection_id,
                info,
            })) => {
                if let Some(connection) = self.connected.get(&connection_id) {
                    let addresses = believed(connection, info.listen_addrs);
                    self.registry.events.addresses(peer_id, addresses);
                }
                let names = info.protocols.iter().map(|name| Protocol::new(name.as_ref()));
                self.registry.events.protocols(peer_id, names.filter_map(Result::ok).collect());
            }
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => {
                self.found.extend(self.near.iter().flat_map(|near| near.note(&event)));
            }
            _ => {}
        }
    }

    /// Those who wait are told when the last dial has failed.
    fn dial_failed(
        &mut self,
        peer: PeerId,
        dial: ConnectionId,
        error: Arc<libp2p::swarm::DialError>,
    ) {
        let Some(connecting) = self.connecting.get_mut(&peer) else { return };
        connecting.dials.remove(&dial);
        if connecting.dials.is_empty() {
            for waiting in self.connecting.remove(&peer).unwrap_or_default().waiting {
                let _ = waiting.send(Err(Error::Unreachable(peer, Some(error.clone()))));
            }
        }
    }

    /// Whether closing was asked for, and all connections are gone.
    fn is_closed(&mut self) -> bool {
        if self.closing.is_none() || self.swarm.connected_peers().next().is_some() {
            return false;
        }
        for (_, connecting) in self.connecting.drain() {
            connecting.waiting.into_iter().for_each(|waiting| drop(waiting.send(Err(CLOSED))));
        }
        if let Some(reply) = self.closing.take() {
            let _ = reply.send(());
        }
        true
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
struct ListenError {
    address: Multiaddr,
    source: std::io::Error,
}

fn cannot_listen(address: &Multiaddr, source: std::io::Error) -> Error {
    Error::component("libp2p", ListenError { address: address.clone(), source })
}
