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
use crate::{
    engine::Engine,
    message::{PROTOCOLS, Version},
};

/// The peers that speak bitswap.
#[derive(Debug, Default)]
pub(super) struct Peers {
    of: BTreeMap<PeerId, Handle>,
    closed: bool,
}

/// The tasks of one peer, which end with it.
#[derive(Debug)]
struct Handle {
    version: Version,
    /// It could not be written to, and the engine takes it for gone.
    lost: bool,
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
                self.add_peer(peer, version);
                let now = self.runtime.now();
                self.with_engine(|engine| engine.handle_connected(peer, version, now));
            }
            None => self.remove_peer(&peer),
        }
    }

    /// Starts what reads from a peer and writes to it.
    fn add_peer(self: &Arc<Self>, peer: PeerId, version: Version) {
        let mut peers = lock(&self.peers);
        if let Some(handle) = peers.of.get_mut(&peer) {
            (handle.version, handle.lost) = (version, false);
            return;
        }
        if peers.closed {
            return;
        }
        let (streams, inbound) = mpsc::unbounded();
        let wake = Arc::<Notify>::default();
        let reading = read::streams(self.clone(), peer, inbound);
        let writing = write::messages(self.clone(), peer, wake.clone());
        let spawn = |work| self.runtime.spawn(work);
        let tasks = [spawn(Box::pin(reading) as _), spawn(Box::pin(writing) as _)];
        let handle = Handle { version, lost: false, wake, streams, _tasks: tasks };
        peers.of.insert(peer, handle);
    }

    fn remove_peer(self: &Arc<Self>, peer: &PeerId) {
        let handle = lock(&self.peers).of.remove(peer);
        if handle.is_some() {
            let now = self.runtime.now();
            self.with_engine(|engine| engine.handle_gone(*peer, now));
        }
    }

    /// A peer is connected and cannot be written to: others are asked in its place.
    pub(super) fn lose_peer(self: &Arc<Self>, peer: &PeerId, wake: &Arc<Notify>) {
        let now = self.runtime.now();
        self.set_lost(peer, wake, true, |engine, _| engine.handle_gone(*peer, now));
    }

    /// A peer that was lost, and is connected still, is tried again.
    pub(super) fn try_peer(self: &Arc<Self>, peer: &PeerId, wake: &Arc<Notify>) {
        let now = self.runtime.now();
        self.set_lost(peer, wake, false, |engine, version| {
            engine.handle_connected(*peer, version, now);
        });
    }

    fn set_lost(
        self: &Arc<Self>,
        peer: &PeerId,
        wake: &Arc<Notify>,
        lost: bool,
        tell: impl FnOnce(&mut Engine, Version),
    ) {
        {
            // Held until the engine knows, so that the peer is not removed between.
            let mut peers = lock(&self.peers);
            // It may have gone and come back: then another task writes to it.
            let same = |handle: &&mut Handle| Arc::ptr_eq(&handle.wake, wake);
            let Some(handle) = peers.of.get_mut(peer).filter(same) else { return };
            handle.lost = lost;
            tell(&mut lock(&self.engine), handle.version);
        }
        self.with_engine(|_| ());
    }

    /// Whether a peer is here, as far as the engine knows.
    fn is_known(&self, peer: &PeerId) -> bool {
        lock(&self.peers).of.get(peer).is_some_and(|handle| !handle.lost)
    }

    /// A peer has opened a stream; perhaps before it has told what it speaks.
    fn inbound(self: &Arc<Self>, peer: PeerId, stream: Stream) {
        if !self.is_known(&peer) {
            self.speaks(peer, std::slice::from_ref(stream.protocol()));
        }
        if let Some(handle) = lock(&self.peers).of.get(&peer) {
            // Its number is bounded where it was accepted.
            let _ = handle.streams.unbounded_send(stream);
        }
    }
}
