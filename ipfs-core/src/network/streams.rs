//! The behaviour that gives each connection its [`Handler`], and tells of peers that come and go.
//!
//! It stands last among the behaviours of the swarm: when it is asked for a handler, all others
//! have let the connection in, and nothing can keep it from being there. So the peer is told of
//! before the connection can give its first stream.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use ipfs_traits::{Multiaddr, PeerId};
use libp2p::{
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, ToSwarm,
    },
};

use super::{handler::Handler, registry::Registry};

pub(super) struct Streams(pub(super) Arc<Registry>);

/// Calls of `open` that wait for a connection.
const WAITING: usize = 64;

impl Streams {
    fn handler(&self, peer: PeerId, id: ConnectionId) -> Handler {
        let (commands, received) = async_channel::bounded(WAITING);
        let protected = self.0.connected(peer, id, commands);
        Handler::new(peer, self.0.clone(), received, protected)
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer, id))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer, id))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event
        {
            self.0.disconnected(peer_id, connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        Poll::Pending
    }
}
