//! Watching the network: who is there, who serves, who asks, and whether others can reach this node.

use std::sync::{Arc, atomic::Ordering};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, select_biased, stream, stream::FuturesUnordered};
use ipfs_traits::{
    Inbound, PeerId, Result,
    network::{Event, Protocol, Reachability, Snapshot},
};

use super::{Mode, Shared, serve};
use crate::dht::scope::Scope;

/// Streams of all peers that are answered at once. More wait in the network.
const SERVED: usize = 512;

/// Watches until the network closes, and answers meanwhile.
pub(super) fn watch(shared: Arc<Shared>) -> Result<impl Future<Output = ()> + Send> {
    let mut events = shared.network.events().fuse();
    let mut server = Server { shared: shared.clone(), inbound: None };
    server.set(serves(&shared, Reachability::Unknown))?;
    Ok(async move {
        let mut serving = FuturesUnordered::new();
        loop {
            let room = serving.len() < SERVED;
            shared.busy.store(serving.len() > SERVED / 2, Ordering::Relaxed);
            let mut inbound = match server.inbound.as_mut().filter(|_| room) {
                Some(inbound) => inbound.by_ref().left_stream(),
                None => stream::pending().right_stream(),
            }
            .fuse();
            // Events first: whoever opens a stream has been told of before.
            select_biased! {
                event = events.next() => match event {
                    Some(event) => {
                        drop(inbound);
                        shared.event(event, &mut server);
                    }
                    None => return,
                },
                () = serving.select_next_some() => {}
                stream = inbound.next() => match stream {
                    Some(stream) => serving.push(serve::serve(shared.clone(), stream)),
                    None => return,
                },
            }
        }
    })
}

/// What accepts streams, while this node serves.
struct Server {
    shared: Arc<Shared>,
    inbound: Option<BoxStream<'static, Inbound>>,
}

impl Server {
    fn set(&mut self, serves: bool) -> Result<()> {
        match serves {
            true if self.inbound.is_none() => {
                let protocol = std::slice::from_ref(&self.shared.options.protocol);
                let most = self.shared.options.max_streams;
                self.inbound = Some(self.shared.network.accept(protocol, most)?);
            }
            true => {}
            false => self.inbound = None,
        }
        Ok(())
    }
}

fn serves(shared: &Shared, reachability: Reachability) -> bool {
    match shared.options.mode {
        Mode::Server => true,
        Mode::Client => false,
        Mode::Auto => shared.options.scope != Scope::Wan || reachability == Reachability::Public,
    }
}

impl Shared {
    /// Whether many streams are served.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    fn event(&self, event: Event, server: &mut Server) {
        match event {
            Event::Snapshot(Snapshot { peers, reachability }) => {
                self.reachable(reachability, server);
                let here: std::collections::BTreeSet<PeerId> =
                    peers.iter().map(|state| state.peer).collect();
                self.with_engine(|engine| engine.handle_connected(&here));
                for state in peers {
                    self.with_engine(|engine| {
                        engine.handle_addresses(state.peer, &state.addresses);
                    });
                    if let Some(protocols) = state.protocols {
                        self.speaks(state.peer, &protocols);
                    }
                }
            }
            Event::Addresses(peer, addresses) => {
                self.with_engine(|engine| engine.handle_addresses(peer, &addresses));
            }
            Event::Protocols(peer, protocols) => self.speaks(peer, &protocols),
            Event::Gone(peer) => self.with_engine(|engine| engine.handle_gone(&peer)),
            Event::Reachability(reachability) => self.reachable(reachability, server),
            _ => {}
        }
    }

    fn speaks(&self, peer: PeerId, protocols: &[Protocol]) {
        let serves = protocols.contains(&self.options.protocol);
        self.with_engine(|engine| match serves {
            true => engine.handle_candidate(peer.into()),
            false => engine.handle_client(&peer),
        });
    }

    fn reachable(&self, reachability: Reachability, server: &mut Server) {
        if let Err(error) = server.set(serves(self, reachability)) {
            tracing::warn!(%error, "the DHT cannot serve");
        }
    }
}
