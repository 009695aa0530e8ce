//! One connection: it negotiates the streams that are opened on it, and passes them on itself.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use async_channel::Receiver;
use futures_channel::oneshot;
use futures_core::Stream as _;
use ipfs_traits::{
    Inbound, PeerId,
    network::{self, Protocol},
};
use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound},
    },
};

use super::{counted::Counted, registry::Registry};

/// What a connection is told.
#[derive(Debug)]
pub(super) enum Command {
    Open(Open),
    /// Something that it looks at has changed.
    Wake,
}

/// A stream that is to be opened.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) protocols: Arc<[Protocol]>,
    pub(super) reply: Reply,
}

pub(super) type Reply = oneshot::Sender<Result<(Stream, Protocol), OpenError>>;

/// Why a stream could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    NoProtocol,
    TimedOut,
    Io(io::Error),
}

/// Streams that are negotiated at once on a connection, as opener: few beside the 256 that a
/// connection may have in all, and enough to hide a round trip.
pub(super) const OPENING: usize = 32;

pub(super) struct Handler {
    peer: PeerId,
    registry: Arc<Registry>,
    commands: Pin<Box<Receiver<Command>>>,
    /// How many protect the peer.
    protected: Arc<AtomicUsize>,
    /// The protocols that are accepted, and which change of them this is.
    protocols: (Arc<[StreamProtocol]>, u64),
    opening: usize,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        registry: Arc<Registry>,
        commands: Receiver<Command>,
        protected: Arc<AtomicUsize>,
    ) -> Self {
        let protocols = registry.protocols();
        let commands = Box::pin(commands);
        Self { peer, registry, commands, protected, protocols, opening: 0 }
    }

    /// The next stream to open, once there is room.
    fn next(&mut self, cx: &mut Context<'_>) -> Option<Open> {
        while self.opening < OPENING {
            match self.commands.as_mut().poll_next(cx) {
                Poll::Ready(Some(Command::Open(open))) if !open.reply.is_canceled() => {
                    return Some(open);
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
        None
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Accept;
    type OutboundProtocol = Ask;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        // Not what was accepted when this was last polled: a stream that comes after a call of
        // `accept` has returned must find it.
        let protocols = match self.protocols.1 == self.registry.version() {
            true => self.protocols.0.clone(),
            false => self.registry.protocols().0,
        };
        let accept = Accept { peer: self.peer, registry: self.registry.clone(), protocols };
        SubstreamProtocol::new(accept, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.protected.load(Ordering::SeqCst) > 0
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Ask, Reply, Infallible>> {
        let open = self.next(cx);
        if self.protocols.1 != self.registry.version() {
            self.protocols = self.registry.protocols();
        }
        match open {
            None => Poll::Pending,
            Some(Open { protocols, reply }) => {
                self.opening += 1;
                let protocol = SubstreamProtocol::new(Ask(protocols), reply);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Accept, Ask, (), Reply>) {
        // Whoever no longer waits has the stream dropped, and so reset.
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => {
                self.opening -= 1;
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.opening -= 1;
                let _ = info.send(Err(match error {
                    StreamUpgradeError::Timeout => OpenError::TimedOut,
                    StreamUpgradeError::NegotiationFailed => OpenError::NoProtocol,
                    StreamUpgradeError::Io(error) => OpenError::Io(error),
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// Takes a stream that the peer opens.
pub(super) struct Accept {
    peer: PeerId,
    registry: Arc<Registry>,
    protocols: Arc<[StreamProtocol]>,
}

impl UpgradeInfo for Accept {
    type Info = StreamProtocol;
    type InfoIter = Names<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Names { protocols: self.protocols.clone(), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Accept {
    type Output = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        // One that is not admitted is dropped, and so reset.
        if let Some(admitted) = self.registry.admit(self.peer, protocol.as_ref()) {
            let stream = Counted::new(stream, admitted.counters, Some(admitted.permits));
            let stream = network::Stream::new(admitted.protocol, stream);
            let _ = admitted.to.unbounded_send(Inbound { peer: self.peer, stream });
        }
        ready(Ok(()))
    }
}

/// The names of protocols, without copying the list.
pub(super) struct Names<T> {
    protocols: Arc<[T]>,
    next: usize,
}

impl<T: Clone> Iterator for Names<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let name = self.protocols.get(self.next).cloned();
        self.next += 1;
        name
    }
}

/// Asks the peer for the first protocol that it speaks.
pub(super) struct Ask(Arc<[Protocol]>);

impl UpgradeInfo for Ask {
    type Info = Protocol;
    type InfoIter = Names<Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Names { protocols: self.0.clone(), next: 0 }
    }
}

impl OutboundUpgrade<Stream> for Ask {
    type Output = (Stream, Protocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
