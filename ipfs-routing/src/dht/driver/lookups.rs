//! Lookups under way, and the streams of what they find.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use futures_channel::{mpsc, oneshot};
use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt, StreamExt, select_biased, stream, stream::FuturesUnordered};
use ipfs_traits::{Error, Multihash, PeerId, PeerInfo, Result, sync::lock};

use super::{CLOSED, Shared};
use crate::dht::engine::{Engine, Event, Find, LookupId, Outcome};

/// Lookups at once: many more than a node begins by itself, and some 20 MB of memory.
const MAX_LOOKUPS: usize = 256;

/// Providers whose addresses are looked for at once, of a lookup that found their names alone.
const LOCATING: usize = 4;

/// Providers of one lookup whose addresses are looked for; more are given as they are. Each costs a
/// lookup of its own, and one peer may make up a thousand.
const MAX_NAMELESS: usize = 64;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Never longer than what one lookup finds, which is bounded.
    waiting: BTreeMap<LookupId, mpsc::UnboundedSender<Event>>,
    ready: Vec<oneshot::Sender<()>>,
    settled: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl Lookups {
    pub(super) fn deliver(&mut self, id: LookupId, event: Event) {
        let over = matches!(event, Event::Done(_));
        if let Some(waiting) = self.waiting.get(&id) {
            let _ = waiting.unbounded_send(event);
        }
        if over {
            self.waiting.remove(&id);
        }
    }

    /// Tells those who wait for a table that is not empty, or that is filled.
    pub(super) fn tell(&mut self, ready: bool, settled: bool) {
        let ready = if ready { std::mem::take(&mut self.ready) } else { Vec::new() };
        let settled = if settled { std::mem::take(&mut self.settled) } else { Vec::new() };
        for waiting in ready.into_iter().chain(settled) {
            let _ = waiting.send(());
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
        self.ready.clear();
        self.settled.clear();
    }
}

/// A lookup, which ends when it is dropped.
pub(super) struct Running {
    shared: Arc<Shared>,
    id: LookupId,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Running {
    pub(super) fn start(shared: &Arc<Shared>, find: Find) -> Result<Self> {
        let (found, events) = mpsc::unbounded();
        let now = shared.runtime.now();
        let id = {
            let mut lookups = shared.lookups();
            if lookups.closed {
                return Err(CLOSED);
            }
            if lookups.waiting.len() >= MAX_LOOKUPS {
                return Err(Error::limit("lookups at once", MAX_LOOKUPS, MAX_LOOKUPS + 1));
            }
            // Under the lock: what it finds at once finds who waits.
            let id = lock(&shared.engine).start(find, now);
            lookups.waiting.insert(id, found);
            id
        };
        shared.deliver();
        shared.with_engine(|_| ());
        Ok(Self { shared: shared.clone(), id, events })
    }

    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lookups().waiting.remove(&self.id);
        lock(&self.shared.engine).cancel(self.id);
    }
}

/// How a lookup ends, when nothing else of it matters.
pub(super) async fn outcome(shared: &Arc<Shared>, find: Find) -> Result<Outcome> {
    let mut running = Running::start(shared, find)?;
    while let Some(event) = running.next().await {
        if let Event::Done(outcome) = event {
            return Ok(outcome);
        }
    }
    Err(CLOSED)
}

/// Where a peer is.
pub(super) async fn peer(shared: &Arc<Shared>, peer: PeerId) -> Result<PeerInfo> {
    let known = lock(&shared.engine).addresses_of(&peer);
    if let Some(known) = known.filter(|known| !known.is_empty()) {
        return Ok(PeerInfo::new(peer, known));
    }
    let mut running = Running::start(shared, Find::Peer(peer))?;
    while let Some(event) = running.next().await {
        match event {
            Event::Peer(found) => return Ok(found),
            Event::Done(_) => return Err(Error::Unreachable(peer, None)),
            _ => {}
        }
    }
    Err(CLOSED)
}

/// Who has a block: those that this node keeps records of, then those that others tell of. One that
/// is told of without addresses is looked for.
pub(super) fn providers(
    shared: Arc<Shared>,
    key: Multihash,
    want: usize,
) -> BoxStream<'static, Result<PeerInfo>> {
    if want == 0 {
        return stream::empty().boxed();
    }
    let begin = async move {
        let kept = match shared.records.providers(&key.to_bytes(), shared.runtime.wall()).await {
            Ok(kept) => kept,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let local = shared.network.local_peer();
        let kept: Vec<PeerInfo> =
            kept.into_iter().filter(|peer| peer.id != local).take(want).collect();
        let given: BTreeSet<PeerId> = kept.iter().map(|peer| peer.id).collect();
        let kept = stream::iter(kept.into_iter().map(Ok));
        if given.len() >= want {
            return kept.boxed();
        }
        // Begun when the first are read.
        let find = Find::Providers { key, wanted: want };
        let more = stream::once(async move { told(shared, find, given) }).flatten();
        kept.chain(more).take(want).boxed()
    };
    begin.flatten_stream().boxed()
}

fn told(
    shared: Arc<Shared>,
    find: Find,
    given: BTreeSet<PeerId>,
) -> BoxStream<'static, Result<PeerInfo>> {
    match Running::start(&shared, find) {
        Ok(running) => {
            let (nameless, locating) = (VecDeque::new(), FuturesUnordered::new());
            let running = Some(running);
            let told = Told { shared, running, given, nameless, locating, looked_for: 0 };
            stream::unfold(told, |mut told| async { told.next().await.map(|found| (found, told)) })
                .boxed()
        }
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// What a lookup finds. Who is told of by name alone is looked for, and keeps nobody waiting.
struct Told {
    shared: Arc<Shared>,
    /// None when the lookup is over.
    running: Option<Running>,
    given: BTreeSet<PeerId>,
    nameless: VecDeque<PeerInfo>,
    locating: FuturesUnordered<BoxFuture<'static, PeerInfo>>,
    looked_for: usize,
}

impl Told {
    async fn next(&mut self) -> Option<Result<PeerInfo>> {
        loop {
            while self.locating.len() < LOCATING
                && let Some(peer) = self.nameless.pop_front()
            {
                self.locating.push(locate(self.shared.clone(), peer).boxed());
            }
            let Some(running) = &mut self.running else {
                return self.locating.next().await.map(Ok);
            };
            select_biased! {
                event = running.next().fuse() => match event {
                    Some(Event::Provider(peer)) => {
                        if let Some(peer) = self.place(peer) {
                            return Some(Ok(peer));
                        }
                    }
                    Some(Event::Done(_)) => self.running = None,
                    Some(_) => {}
                    // The end of a lookup is told; this is that of the DHT.
                    None => {
                        self.running = None;
                        self.nameless.clear();
                        self.locating.clear();
                        return Some(Err(CLOSED));
                    }
                },
                located = self.locating.select_next_some() => return Some(Ok(located)),
            }
        }
    }

    /// A provider that is new, unless it has to be looked for first.
    fn place(&mut self, peer: PeerInfo) -> Option<PeerInfo> {
        if self.given.contains(&peer.id) {
            return None;
        }
        if !peer.addresses.is_empty() || self.looked_for == MAX_NAMELESS {
            return Some(peer);
        }
        self.looked_for += 1;
        self.nameless.push_back(peer);
        None
    }
}

/// The addresses of a provider that was told of by its name alone.
async fn locate(shared: Arc<Shared>, found: PeerInfo) -> PeerInfo {
    peer(&shared, found.id).await.unwrap_or(found)
}

/// Waits until there is somebody in the routing table, or the DHT is closed.
pub(super) async fn ready(shared: &Shared) {
    wait(shared, |engine| engine.stats().peers > 0, |lookups| &mut lookups.ready).await;
}

/// Waits until the routing table is filled, or the DHT is closed.
pub(super) async fn settled(shared: &Shared) {
    let now = shared.runtime.now();
    wait(shared, |engine| engine.is_settled(now), |lookups| &mut lookups.settled).await;
}

async fn wait(
    shared: &Shared,
    done: impl Fn(&Engine) -> bool,
    list: impl Fn(&mut Lookups) -> &mut Vec<oneshot::Sender<()>>,
) {
    let (told, waiting) = oneshot::channel();
    {
        let mut lookups = shared.lookups();
        if lookups.closed || done(&lock(&shared.engine)) {
            return;
        }
        let list = list(&mut lookups);
        list.retain(|waiting| !waiting.is_canceled());
        list.push(told);
    }
    let _ = waiting.await;
}
