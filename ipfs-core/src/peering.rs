//! Peers that a node stays connected to.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use ipfs_traits::{
    Error, Multiaddr, Network, Parts, PeerId, PeerInfo, Protection, Result, Runtime, RuntimeExt,
    Task,
    network::{Event, Snapshot},
};

use crate::{
    addresses::{self, IntoPeer},
    chance::Chance,
};

/// The peers that a node stays connected to: each is connected, kept, and connected again when it is
/// lost, first after 5 seconds, then after ever longer waits of up to 10 minutes.
///
/// See [`Builder::peering`](crate::Builder::peering) and [`Node::peering`](crate::Node::peering).
/// Clones are the same.
#[derive(Clone)]
pub struct Peering(Arc<Shared>);

struct Shared {
    network: Arc<dyn Network>,
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

struct State {
    peers: BTreeMap<PeerId, Kept>,
    chance: Chance,
}

struct Kept {
    peer: PeerInfo,
    _protection: Protection,
    _task: Task,
}

/// The first wait before a lost peer is connected again, and the longest one: Kubo's.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// A wait is longer by up to this part of it, so that peers that were lost together do not come back
/// all at once.
const JITTER: u32 = 10;

/// The weight of a connection to such a peer: above those that come and go.
const WEIGHT: u32 = 1000;

impl Peering {
    /// Of these peers, but for the node itself.
    pub(crate) fn new(parts: &Parts, addresses: Vec<Multiaddr>) -> Result<Self> {
        let chance = Chance::of(parts, "peering");
        let peering = Self(Arc::new(Shared {
            network: parts.network()?.clone(),
            runtime: parts.runtime().clone(),
            state: Mutex::new(State { peers: BTreeMap::new(), chance }),
        }));
        for peer in addresses::by_peer(addresses)?.into_iter().filter(|it| it.id != parts.peer()) {
            peering.add(peer)?;
        }
        Ok(peering)
    }

    /// Stays connected to a peer from now on; for one that it is already, these addresses count.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPeer`]. That a peer cannot be reached is none: it is tried again.
    pub fn add(&self, peer: impl IntoPeer) -> Result<()> {
        let peer = peer.into_peer()?;
        if peer.id == self.0.network.local_peer() {
            return Err(Error::invalid("address", "it is this node's own"));
        }
        let mut state = self.state();
        let chance = state.chance.split();
        let keeping = keep(self.0.network.clone(), self.0.runtime.clone(), peer.clone(), chance);
        let kept = Kept {
            _protection: self.0.network.protect(peer.id, "peering", WEIGHT),
            _task: self.0.runtime.spawn(Box::pin(keeping)),
            peer,
        };
        state.peers.insert(kept.peer.id, kept);
        Ok(())
    }

    /// No longer cares for a peer; a connection that there is stays as long as others do. `false`
    /// for one that it did not care for.
    pub fn remove(&self, peer: PeerId) -> bool {
        self.state().peers.remove(&peer).is_some()
    }

    /// The peers, whether they are connected at the moment or not.
    pub fn list(&self) -> Vec<PeerInfo> {
        self.state().peers.values().map(|kept| kept.peer.clone()).collect()
    }

    /// Ends the tasks.
    pub(crate) fn clear(&self) {
        self.state().peers.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to a peer whenever it is not connected, until the network is closed.
async fn keep(
    network: Arc<dyn Network>,
    runtime: Arc<dyn Runtime>,
    peer: PeerInfo,
    mut chance: Chance,
) {
    let mut events = network.events();
    let mut connected = false;
    // At once the first time.
    let mut wait = Duration::ZERO;
    loop {
        while connected {
            match events.next().await {
                Some(event) => connected = after(&event, peer.id).unwrap_or(connected),
                None => return,
            }
            if !connected {
                wait = FIRST_WAIT;
            }
        }
        let longer = chance.below((wait / JITTER).as_millis() as u64);
        runtime.sleep(wait + Duration::from_millis(longer)).await;
        match network.connect(&peer).await {
            Err(Error::Closed(_)) => return,
            Err(error) => {
                tracing::debug!(peer = %peer.id, %error, "a peer that is wanted is not reached");
                wait = (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            }
            Ok(()) => {
                connected = true;
                // What was told before is not what is; the new reader is told that first.
                events = network.events();
            }
        }
    }
}

/// Whether a peer is connected after an event, if it says so.
fn after(event: &Event, peer: PeerId) -> Option<bool> {
    match event {
        Event::Snapshot(Snapshot { peers, .. }) => {
            Some(peers.iter().any(|state| state.peer == peer))
        }
        Event::Connected(other) if *other == peer => Some(true),
        Event::Gone(other) if *other == peer => Some(false),
        _ => None,
    }
}

impl fmt::Debug for Peering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peering").field(&self.list()).finish()
    }
}
