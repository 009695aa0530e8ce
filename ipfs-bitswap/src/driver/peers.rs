//! Who is there and speaks bitswap, and the tasks of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_channel::mpsc;
use futures_util::{
    StreamExt,
    future::{Either, select},
};
use ipfs_traits::{
    Inbound, PeerId, Result, Task,
    network::{Event, Protocol, Snapshot, Stream},
};

use super::{Shared, lock, notify::Notify, read, write};
use crate::message::{PROTOCOLS, Version};

/// The peers that speak bitswap.
#[derive(Debug, Default)]
pub(super) struct Peers {
    of: BTreeMap<PeerId, Handle>,
    closed: bool,
}

/// The tasks of one peer, which end with it.
#[derive(Debug)]
struct Handle {
    wake: Arc<Notify>,
    streams: mpsc::UnboundedSender<Stream>,
    _tasks: [Task; 2],
}

impl Peers {
    pub(super) fn wake(&self, peer: &PeerId) {
        if let Some(handle) = self.of.get(peer) {
            handle.wake.tell();
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.of.clear();
    }
}

/// Watches the network: who comes, who goes, and who opens a stream.
pub(super) fn watch(shared: Arc<Shared>) -> Result<impl Future<Output = ()> + Send> {
    let mut streams = shared.network.accept(&PROTOCOLS, shared.options.max_streams)?;
    let mut events = shared.network.events();
    Ok(async move {
        let mut connected = BTreeSet::new();
        loop {
            // Events first: whoever opens a stream has been told of before.
            match select(events.next(), streams.next()).await {
                Either::Left((Some(event), _)) => shared.event(event, &mut connected),
                Either::Right((Some(Inbound { peer, stream }), _)) => {
                    if connected.contains(&peer) {
                        shared.inbound(peer, stream);
                    }
                }
                Either::Left((None, _)) | Either::Right((None, _)) => return,
            }
        }
    })
}

impl Shared {
    fn event(self: &Arc<Self>, event: Event, connected: &mut BTreeSet<PeerId>) {
        match event {
            Event::Snapshot(now) => self.snapshot(&now, connected),
            Event::Connected(peer) => {
                connected.insert(peer);
            }
            Event::Gone(peer) => {
                connected.remove(&peer);
                self.remove_peer(&peer);
            }
            Event::Protocols(peer, protocols) => self.speaks(peer, &protocols),
            _ => {}
        }
    }

    fn snapshot(self: &Arc<Self>, now: &Snapshot, connected: &mut BTreeSet<PeerId>) {
        *connected = now.peers.iter().map(|state| state.peer).collect();
        let known: Vec<PeerId> = lock(&self.peers).of.keys().copied().collect();
        for peer in known.iter().filter(|peer| !connected.contains(peer)) {
            self.remove_peer(peer);
        }
        for state in &now.peers {
            if let Some(protocols) = &state.protocols {
                self.speaks(state.peer, protocols);
            }
        }
    }

    /// A peer has told what it speaks.
    fn speaks(self: &Arc<Self>, peer: PeerId, protocols: &[Protocol]) {
        match Version::best(protocols) {
            Some(version) => {
                self.add_peer(peer);
                let now = self.runtime.now();
                self.with_engine(|engine| engine.handle_connected(peer, version, now));
            }
            None => self.remove_peer(&peer),
        }
    }

    /// Starts what reads from a peer and writes to it.
    fn add_peer(self: &Arc<Self>, peer: PeerId) {
        let mut peers = lock(&self.peers);
        if peers.closed || peers.of.contains_key(&peer) {
            return;
        }
        let (streams, inbound) = mpsc::unbounded();
        let wake = Arc::<Notify>::default();
        let reading = read::streams(self.clone(), peer, inbound);
        let writing = write::messages(self.clone(), peer, wake.clone());
        let spawn = |work| self.runtime.spawn(work);
        let tasks = [spawn(Box::pin(reading) as _), spawn(Box::pin(writing) as _)];
        peers.of.insert(peer, Handle { wake, streams, _tasks: tasks });
    }

    pub(super) fn remove_peer(self: &Arc<Self>, peer: &PeerId) {
        let handle = lock(&self.peers).of.remove(peer);
        if handle.is_some() {
            let now = self.runtime.now();
            self.with_engine(|engine| engine.handle_gone(*peer, now));
        }
    }

    /// A peer has opened a stream; perhaps before it has told what it speaks.
    fn inbound(self: &Arc<Self>, peer: PeerId, stream: Stream) {
        if !lock(&self.peers).of.contains_key(&peer) {
            self.speaks(peer, std::slice::from_ref(stream.protocol()));
        }
        if let Some(handle) = lock(&self.peers).of.get(&peer) {
            // Its number is bounded where it was accepted.
            let _ = handle.streams.unbounded_send(stream);
        }
    }
}
