//! The libp2p host: TCP with Noise and Yamux, QUIC, DNS, identify and ping.
//!
//! One task drives the swarm. The bytes of streams never pass through it: a stream goes from the
//! connection that negotiated it straight to whoever opens or accepts it.

mod counted;
mod frames;
mod handler;
mod mdns;
mod muxer;
mod reach;
mod registry;
mod streams;
mod swarm;
mod traffic;
mod transport;

use std::{fmt, sync::Arc, time::Duration};

use futures_channel::{mpsc, oneshot};
use futures_core::stream::BoxStream;
use futures_util::SinkExt;
pub use ipfs_traits::network::*;
use ipfs_traits::{Error, Multiaddr, PeerId, Result, Runtime, RuntimeExt, Task, async_trait};
use libp2p_identity::Keypair;

pub(crate) use self::mdns::Near;
use self::{
    counted::Counted,
    handler::OpenError,
    registry::Registry,
    swarm::{Command, Driver},
};

/// How the libp2p host works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long a connection without streams is kept. The default is 60 s: long enough that a peer
    /// which is asked now and then is not dialed anew each time. Protected ones are kept longer.
    pub idle_timeout: Duration,
    /// Connections that others may have opened at once; one more is refused. The default is 1,024.
    pub max_incoming: u32,
    /// Connections that this node may have opened at once; one more is an error. The default is
    /// 1,024.
    pub max_outgoing: u32,
    /// Streams that all peers together may have open to this node; one more is reset. The default
    /// is 8,192: at 256 KiB each, when nothing is read, 2 GiB in the worst case, and in practice a
    /// few of them have anything waiting. What one connection may have is fixed: 256 streams and
    /// 96 MiB over TCP, 256 streams and 24 MiB over QUIC.
    pub max_streams: usize,
    /// Addresses at which others can reach this node, where the host knows of any: of a port that is
    /// forwarded, a name, a proxy. Peers are told of them; with a public one this node counts as
    /// reachable by all ([`Reachability::Public`]), and serves the wide DHT. The default is none, and
    /// then it is not known.
    pub external: Vec<Multiaddr>,
    /// Whether peers of the local network are looked for by multicast DNS, as Kubo does
    /// (`_p2p._udp.local`): those found are connected, 32 at once, and this node answers with its
    /// addresses. The default is not to: a library does not make itself known unasked. Everyone in
    /// the network is believed to be honest about their number: libp2p keeps all names that are said
    /// there until they expire, after 6 minutes.
    pub mdns: bool,
    /// The tokio runtime that drives the sockets: libp2p's transports need one, whatever runtime
    /// the node runs on. The default is the one in which the node is spawned.
    pub tokio: Option<tokio::runtime::Handle>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            max_incoming: 1024,
            max_outgoing: 1024,
            max_streams: 8192,
            external: Vec::new(),
            mdns: false,
            tokio: None,
        }
    }
}

/// A libp2p host as a [`Network`].
pub(crate) struct Host {
    peer: PeerId,
    registry: Arc<Registry>,
    runtime: Arc<dyn Runtime>,
    commands: mpsc::Sender<Command>,
    task: std::sync::Mutex<Option<Task>>,
}

/// Calls that wait for the swarm.
const COMMANDS: usize = 64;
/// A dial: the transports give up after 20 s, on the last of several addresses.
const CONNECTING: Duration = Duration::from_secs(60);
/// The negotiation of a stream, and its wait for room among those that are negotiated.
const OPENING: Duration = Duration::from_secs(30);
/// Orderly ends of connections.
const CLOSING: Duration = Duration::from_secs(5);

impl Host {
    /// Starts a host, and waits until it listens. With it come the peers of the local network, where
    /// they are looked for.
    ///
    /// Each of the given addresses must work, of the default ones at least one.
    pub(crate) async fn spawn(
        runtime: &Arc<dyn Runtime>,
        identity: Keypair,
        listen: Option<Vec<Multiaddr>>,
        options: Options,
    ) -> Result<(Self, Option<Near>)> {
        let peer = identity.public().to_peer_id();
        let registry = Arc::new(Registry::new(options.max_streams));
        let tokio = match options.tokio.clone() {
            Some(handle) => handle,
            None => tokio::runtime::Handle::try_current().map_err(|_| {
                Error::invalid(
                    "runtime",
                    "libp2p's sockets need tokio: spawn the node inside a tokio runtime, or name one",
                )
            })?,
        };
        let (commands, received) = mpsc::channel(COMMANDS);
        let (listening, ready) = oneshot::channel();
        let near = options.mdns.then(Near::default);
        let parts = swarm::Parts {
            identity,
            listen,
            options,
            tokio: tokio.clone(),
            runtime: runtime.clone(),
            registry: registry.clone(),
            near: near.clone(),
        };
        let driver = Driver::run(parts, received, listening);
        let task = runtime.spawn(Box::pin(transport::Entered::new(tokio, driver)));
        ready.await.map_err(|_| Error::Closed("the runtime"))??;
        let task = std::sync::Mutex::new(Some(task));
        Ok((Self { peer, registry, runtime: runtime.clone(), commands, task }, near))
    }

    /// Has the swarm's task do something, and waits for its answer.
    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.clone().send(command(reply)).await.map_err(|_| CLOSED)?;
        answer.await.map_err(|_| CLOSED)
    }

    /// Asks one connection after the other, as long as it is the connection that fails.
    async fn open_stream(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        for connection in self.registry.connections(peer)? {
            let (reply, answer) = oneshot::channel();
            let open = handler::Open { protocols: protocols.into(), reply };
            if connection.send(handler::Command::Open(open)).await.is_err() {
                continue;
            }
            match answer.await {
                Ok(Ok((stream, protocol))) => {
                    let counters = self.registry.counters(peer, &protocol);
                    return Ok(Stream::new(protocol, Counted::new(stream, counters, None)));
                }
                Ok(Err(OpenError::NoProtocol)) => {
                    let names: Vec<&str> = protocols.iter().map(Protocol::as_str).collect();
                    let reason = format!("{} by peer {peer}", names.join(" or "));
                    return Err(Error::unsupported(reason));
                }
                Ok(Err(OpenError::TimedOut)) => return Err(Error::TimedOut("opening a stream")),
                Ok(Err(OpenError::Io(error))) => {
                    return Err(Error::Unreachable(peer, Some(Arc::new(error))));
                }
                // The connection is gone.
                Err(_) => {}
            }
        }
        Err(Error::Unreachable(peer, None))
    }
}

const CLOSED: Error = Error::Closed("the network");

#[async_trait]
impl Network for Host {
    fn local_peer(&self) -> PeerId {
        self.peer
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        self.registry.addresses()
    }

    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        if self.registry.is_connected(peer.id)? {
            return Ok(());
        }
        let dial = self.call(|reply| Command::Connect(peer.clone(), reply));
        let dial = async { dial.await? };
        self.runtime.timeout(CONNECTING, "connecting to a peer", dial).await
    }

    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.call(|reply| Command::Disconnect(peer, reply)).await
    }

    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        let open = self.open_stream(peer, protocols);
        self.runtime.timeout(OPENING, "opening a stream", open).await
    }

    fn accept(
        &self,
        protocols: &[Protocol],
        max_per_peer: usize,
    ) -> Result<BoxStream<'static, Inbound>> {
        self.registry.accept(protocols, max_per_peer)
    }

    fn events(&self) -> BoxStream<'static, Event> {
        self.registry.events.subscribe()
    }

    fn protect(&self, peer: PeerId, _: &'static str, _: u32) -> Protection {
        self.registry.protect(peer)
    }

    fn stats(&self) -> NetworkStats {
        self.registry.stats()
    }

    async fn close(&self) -> Result<()> {
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            let ended = async { self.call(Command::Close).await };
            if let Err(error) = self.runtime.timeout(CLOSING, "closing connections", ended).await {
                tracing::debug!(%error, "connections were not closed in order");
            }
            task.stop().await;
        }
        self.registry.close();
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.registry.close();
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("peer", &self.peer).finish_non_exhaustive()
    }
}
