//! Streams between peers: all that the protocols of this family need of a network.

mod events;
mod stream;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;

pub use self::{
    events::{Event, EventHub, MAX_ADDRESS, MAX_ADDRESSES, PeerState, Reachability, Snapshot},
    stream::{Duplex, Inbound, Protocol, Stream},
};
use crate::{Multiaddr, PeerId, Result};

/// A peer, and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerInfo {
    /// Who.
    pub id: PeerId,
    /// Where; empty when only the name is known.
    pub addresses: Vec<Multiaddr>,
}

impl PeerInfo {
    /// A peer at these addresses.
    pub const fn new(id: PeerId, addresses: Vec<Multiaddr>) -> Self {
        Self { id, addresses }
    }
}

impl From<PeerId> for PeerInfo {
    fn from(id: PeerId) -> Self {
        Self::new(id, Vec::new())
    }
}

/// Authenticated, encrypted connections to other nodes, and streams over them.
///
/// # Contract
///
/// *Connections.* [`connect`](Self::connect) returns when there is a connection, one that was there
/// before included. A stream is opened only to a connected peer. Who the peer is has been proven.
///
/// *Streams.* A stream speaks the protocol that both sides settled on. What was written to it
/// arrives in order or not at all. Dropping it without closing resets it: the other side sees an
/// error, where the transport can say so (libp2p's show an end). So no protocol may take an end as a
/// sign that all has come.
///
/// *Accepting.* While the stream given by [`accept`](Self::accept) lives, peers can open streams of
/// its protocols and are told that they can; when it is dropped they are told that they no longer
/// can. `max_per_peer` bounds the streams of one peer that are alive at once on this side, waiting
/// or taken: one more is reset and counted in [`stats`](Self::stats). A stream that was accepted is
/// never lost: it waits until it is taken.
///
/// *Events.* [`events`](Self::events) begins with a [`Snapshot`] of what is, then tells what
/// changes. A reader that falls behind is given a new snapshot, which takes the place of all that
/// it was told before: there is never a silent gap, and never an unbounded queue.
///
/// # Implementing
///
/// [`EventHub`] does the events for an implementation. The in-memory network in
/// [`memory`](crate::memory) is a whole one in few lines; here is one that stands alone:
///
/// ```
/// use futures::{stream, stream::BoxStream, StreamExt};
/// use ipfs_traits::{network::*, *};
///
/// /// A network with nobody else in it.
/// #[derive(Debug)]
/// struct Alone(PeerId, EventHub);
///
/// #[async_trait]
/// impl Network for Alone {
///     fn local_peer(&self) -> PeerId {
///         self.0
///     }
///     fn addresses(&self) -> Vec<Multiaddr> {
///         Vec::new()
///     }
///     async fn connect(&self, peer: &PeerInfo) -> Result<()> {
///         Err(Error::Unreachable(peer.id, None))
///     }
///     async fn disconnect(&self, _: PeerId) -> Result<()> {
///         Ok(())
///     }
///     async fn open(&self, peer: PeerId, _: &[Protocol]) -> Result<Stream> {
///         Err(Error::Unreachable(peer, None))
///     }
///     fn accept(&self, _: &[Protocol], _: usize) -> Result<BoxStream<'static, Inbound>> {
///         Ok(stream::pending().boxed())
///     }
///     fn events(&self) -> BoxStream<'static, Event> {
///         self.1.subscribe()
///     }
///     fn protect(&self, _: PeerId, _: &'static str, _: u32) -> Protection {
///         Protection::none()
///     }
///     async fn close(&self) -> Result<()> {
///         self.1.close();
///         Ok(())
///     }
/// }
/// ```
///
/// [`conformance::network`](crate::conformance::network) checks an implementation.
///
/// # Cancel safety
///
/// Every future and stream may be dropped at any time. A dropped `connect` may still connect; a
/// dropped `open` resets its stream if it came to be.
///
/// # Errors
///
/// [`Error::Unreachable`](crate::Error::Unreachable) when there is no connection or it is lost;
/// [`Error::Unsupported`](crate::Error::Unsupported) when the peer speaks none of the protocols;
/// [`Error::InUse`](crate::Error::InUse) when a protocol is accepted elsewhere;
/// [`Error::TimedOut`](crate::Error::TimedOut); [`Error::Closed`](crate::Error::Closed). Errors on
/// an open stream are `std::io` ones.
#[async_trait]
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Who this node is.
    fn local_peer(&self) -> PeerId;

    /// Where this node can be reached, as far as it knows, without its name at the end.
    fn addresses(&self) -> Vec<Multiaddr>;

    /// Connects to a peer at one of the addresses given or known.
    async fn connect(&self, peer: &PeerInfo) -> Result<()>;

    /// Closes all connections to a peer, protected or not. One that is not connected is no error.
    async fn disconnect(&self, peer: PeerId) -> Result<()>;

    /// Opens a stream that speaks the first of `protocols` that the peer knows.
    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream>;

    /// Streams of `protocols` that peers open, until the stream is dropped or the network closes.
    fn accept(
        &self,
        protocols: &[Protocol],
        max_per_peer: usize,
    ) -> Result<BoxStream<'static, Inbound>>;

    /// What happens to peers: first what is, then what changes, until the network closes.
    fn events(&self) -> BoxStream<'static, Event>;

    /// Keeps the connections to a peer, as long as the protection lives and with this weight
    /// against others when some must go.
    fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> Protection;

    /// Counters since the start.
    fn stats(&self) -> NetworkStats {
        NetworkStats::default()
    }

    /// Closes all connections and listeners, and ends all tasks. Closing twice is no error.
    async fn close(&self) -> Result<()>;
}

/// What a network has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Streams that peers opened beyond a bound, and that were reset.
    pub refused_streams: u64,
    /// Bytes of all streams. What connections need beside them (handshakes, the frames of muxers,
    /// identify, ping) is not counted.
    pub traffic: Traffic,
    /// The same by protocol.
    pub protocols: Vec<(Protocol, Traffic)>,
    /// The same by peer, of those who are connected.
    pub peers: Vec<(PeerId, Traffic)>,
}

/// Bytes both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes that came.
    pub received: u64,
    /// Bytes that went.
    pub sent: u64,
}

impl Traffic {
    /// So many bytes.
    pub const fn new(received: u64, sent: u64) -> Self {
        Self { received, sent }
    }
}

/// Keeps the connections to a peer until it is dropped.
#[must_use = "the protection ends when this is dropped"]
pub struct Protection(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Protection {
    /// A protection that calls `end` when it is dropped.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }

    /// A protection that keeps nothing.
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protection")
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: Network + ?Sized> Network for $pointer<T> {
            fn local_peer(&self) -> PeerId {
                (**self).local_peer()
            }
            fn addresses(&self) -> Vec<Multiaddr> {
                (**self).addresses()
            }
            async fn connect(&self, peer: &PeerInfo) -> Result<()> {
                (**self).connect(peer).await
            }
            async fn disconnect(&self, peer: PeerId) -> Result<()> {
                (**self).disconnect(peer).await
            }
            async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
                (**self).open(peer, protocols).await
            }
            fn accept(
                &self,
                protocols: &[Protocol],
                max_per_peer: usize,
            ) -> Result<BoxStream<'static, Inbound>> {
                (**self).accept(protocols, max_per_peer)
            }
            fn events(&self) -> BoxStream<'static, Event> {
                (**self).events()
            }
            fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> Protection {
                (**self).protect(peer, tag, weight)
            }
            fn stats(&self) -> NetworkStats {
                (**self).stats()
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    )*};
}
forward!(Arc, Box);
