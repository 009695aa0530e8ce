//! Nodes of a DHT over a network in memory, on a virtual clock, and peers that say what a test wants.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::{
    AsyncReadExt, AsyncWriteExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_routing::{
    Validator, Validators,
    dht::{
        Dht, Options, Scope,
        message::{LAN, Message, WAN},
    },
};
use ipfs_traits::{
    CodecTable, Datastore, Error, HashTable, Inbound, Multiaddr, Multihash, Network, Parts, PeerId,
    PeerInfo, Protection, Result, Runtime, RuntimeExt, VirtualRuntime, async_trait,
    memory::{MemoryDatastore, MemoryHub, MemoryNetwork, peer_id},
    network::{Event, EventHub, Protocol, Reachability, Stream},
    varint,
};

/// Where nodes meet.
pub(crate) struct Net {
    pub(crate) runtime: VirtualRuntime,
    hub: MemoryHub,
}

/// A node, and what it stands on.
pub(crate) struct Node {
    pub(crate) dht: Dht,
    pub(crate) id: PeerId,
    pub(crate) wire: Arc<Wire>,
    pub(crate) datastore: Arc<dyn Datastore>,
}

impl Net {
    /// Runs `test` in virtual time.
    pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Arc<Self>) -> F) {
        let runtime = VirtualRuntime::new();
        let net = Arc::new(Self { runtime: runtime.clone(), hub: MemoryHub::new() });
        runtime.block_on(test(net)).unwrap();
    }

    pub(crate) fn join(&self, number: u64) -> MemoryNetwork {
        self.hub.join(peer_id(number)).unwrap()
    }

    pub(crate) fn parts(&self, wire: Arc<Wire>, datastore: Arc<dyn Datastore>) -> Parts {
        let (runtime, hashes) = (Arc::new(self.runtime.clone()), HashTable::standard());
        let mut parts = Parts::new(runtime, hashes, Arc::new(CodecTable::new()), wire.local_peer());
        parts.set_datastore(datastore);
        parts.set_network(wire);
        parts
    }

    /// A node that knows nobody.
    pub(crate) async fn node(&self, number: u64) -> Node {
        self.spawn(number, options(Scope::Any), Arc::new(MemoryDatastore::new())).await
    }

    pub(crate) async fn spawn(
        &self,
        number: u64,
        options: Options,
        datastore: Arc<dyn Datastore>,
    ) -> Node {
        let wire = Arc::new(Wire::new(self.join(number), options.scope == Scope::Wan));
        let parts = self.parts(wire.clone(), datastore.clone());
        let dht = Dht::spawn(&parts, options).await.unwrap();
        Node { dht, id: peer_id(number), wire, datastore }
    }

    /// Nodes of which each knows the one before it, when all have looked around.
    pub(crate) async fn chain(&self, numbers: std::ops::Range<u64>) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        for number in numbers {
            let node = self.node(number).await;
            if let Some(before) = nodes.last() {
                node.wire.connect(&before.id.into()).await.unwrap();
                node.dht.ready().await;
            }
            nodes.push(node);
        }
        self.wait(1300).await;
        nodes
    }

    /// Lets virtual seconds pass.
    pub(crate) async fn wait(&self, seconds: u64) {
        self.runtime.sleep(Duration::from_secs(seconds)).await;
    }

    /// A peer that does this with each stream of the DHT.
    pub(crate) fn peer<F>(&self, number: u64, serve: F) -> Arc<Wire>
    where
        F: Fn(Inbound) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    {
        self.peer_of(number, Scope::Any, serve)
    }

    pub(crate) fn peer_of<F>(&self, number: u64, scope: Scope, serve: F) -> Arc<Wire>
    where
        F: Fn(Inbound) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    {
        let wire = Arc::new(Wire::new(self.join(number), scope == Scope::Wan));
        let protocol = if scope == Scope::Wan { WAN } else { LAN };
        let mut inbound = wire.accept(&[protocol], usize::MAX).unwrap();
        let runtime = self.runtime.clone();
        let serving = async move {
            while let Some(stream) = inbound.next().await {
                runtime.spawn(serve(stream)).detach();
            }
        };
        self.runtime.spawn(Box::pin(serving)).detach();
        wire
    }

    /// A peer that gives these answers; none is the end of the stream.
    pub(crate) fn liar<F>(&self, number: u64, answer: F) -> Arc<Wire>
    where
        F: Fn(PeerId, Message) -> Option<Message> + Send + Sync + 'static,
    {
        self.liar_of(number, Scope::Any, answer)
    }

    pub(crate) fn liar_of<F>(&self, number: u64, scope: Scope, answer: F) -> Arc<Wire>
    where
        F: Fn(PeerId, Message) -> Option<Message> + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        self.peer_of(number, scope, move |Inbound { peer, mut stream }| {
            let answer = answer.clone();
            Box::pin(async move {
                while let Some(request) = read(&mut stream).await {
                    let Some(answer) = answer(peer, request) else { return };
                    let _ = stream.write_all(&framed(&answer.encode())).await;
                }
                let _ = stream.close().await;
            })
        })
    }
}

pub(crate) fn options(scope: Scope) -> Options {
    let mut options = Options::new(scope);
    options.engine.validators = Validators::standard().with("test", Greatest);
    options
}

pub(crate) fn block(number: u64) -> Multihash {
    *peer_id(1_000_000 + number).as_ref()
}

/// Values are better the greater they are, and begin with `v`.
#[derive(Debug)]
pub(crate) struct Greatest;

impl Validator for Greatest {
    fn validate(&self, _: &[u8], value: &[u8], _: SystemTime) -> Result<()> {
        match value.first() {
            Some(b'v') => Ok(()),
            _ => Err(Error::invalid("value", "it begins with another letter")),
        }
    }
    fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
        new > old
    }
}

pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::write(body.len() as u64, &mut bytes);
    bytes.extend(body);
    bytes
}

/// The next message; `None` at the end, and when the stream was reset.
pub(crate) async fn read(stream: &mut Stream) -> Option<Message> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    let len = loop {
        stream.read_exact(&mut byte).await.ok()?;
        head.push(byte[0]);
        if let Some((len, _)) = varint::read_partial(&head, "length").unwrap() {
            break len as usize;
        }
    };
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some(Message::decode(&body).unwrap())
}

/// Sends bytes as they are to a node, and gives what it answers; `None` when it refuses.
pub(crate) async fn send(from: &Wire, to: PeerId, bytes: &[u8]) -> Option<Message> {
    from.connect(&to.into()).await.ok()?;
    let mut stream = from.open(to, &[LAN, WAN]).await.ok()?;
    stream.write_all(bytes).await.ok()?;
    stream.close().await.ok()?;
    read(&mut stream).await
}

/// Asks a node; `None` when it refuses, or has nothing to say.
pub(crate) async fn ask(from: &Wire, to: PeerId, request: &Message) -> Option<Message> {
    send(from, to, &framed(&request.encode())).await
}

/// Where nobody is.
pub(crate) const NOWHERE: &str = "/memory/66666";

/// A network in memory that writes down whom it dials, and may look like one of public addresses.
#[derive(Debug)]
pub(crate) struct Wire {
    inner: MemoryNetwork,
    public: bool,
    /// Whether others can reach this node; told where the addresses are public.
    pub(crate) reachability: EventHub,
    dialed: Mutex<Vec<PeerInfo>>,
}

impl Wire {
    fn new(inner: MemoryNetwork, public: bool) -> Self {
        Self { inner, public, reachability: EventHub::new(), dialed: Mutex::default() }
    }

    /// Whom it was asked to dial so far.
    pub(crate) fn dialed(&self) -> Vec<PeerInfo> {
        self.dialed.lock().unwrap().clone()
    }

    fn shown(&self, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        match self.public {
            true => addresses.iter().map(public).collect(),
            false => addresses.to_vec(),
        }
    }
}

/// A public address for each place in memory, each of another group.
fn public(address: &Multiaddr) -> Multiaddr {
    let Some(multiaddr::Protocol::Memory(place)) = address.iter().next() else {
        return address.clone();
    };
    let [high, low] = u16::try_from(place).unwrap().to_be_bytes();
    format!("/ip4/{}.{low}.1.1/tcp/4001", 80 + high).parse().unwrap()
}

#[async_trait]
impl Network for Wire {
    fn local_peer(&self) -> PeerId {
        self.inner.local_peer()
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        self.shown(&self.inner.addresses())
    }

    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        self.dialed.lock().unwrap().push(peer.clone());
        let nowhere: Multiaddr = NOWHERE.parse().unwrap();
        match peer.addresses[..] == [nowhere] {
            true => Err(Error::Unreachable(peer.id, None)),
            false => self.inner.connect(peer).await,
        }
    }

    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.inner.disconnect(peer).await
    }

    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        self.inner.open(peer, protocols).await
    }

    fn accept(
        &self,
        protocols: &[Protocol],
        max_per_peer: usize,
    ) -> Result<BoxStream<'static, Inbound>> {
        self.inner.accept(protocols, max_per_peer)
    }

    fn events(&self) -> BoxStream<'static, Event> {
        if !self.public {
            return self.inner.events();
        }
        let peers = self.inner.events().filter_map(|event| async {
            match event {
                Event::Reachability(_) => None,
                Event::Addresses(peer, at) => {
                    Some(Event::Addresses(peer, at.iter().map(public).collect()))
                }
                Event::Snapshot(mut now) => {
                    now.reachability = Reachability::Unknown;
                    for peer in &mut now.peers {
                        peer.addresses = peer.addresses.iter().map(public).collect();
                    }
                    Some(Event::Snapshot(now))
                }
                event => Some(event),
            }
        });
        let reachability = self.reachability.subscribe().map(|event| match event {
            Event::Snapshot(now) => Event::Reachability(now.reachability),
            event => event,
        });
        stream::select(peers, reachability).boxed()
    }

    fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> Protection {
        self.inner.protect(peer, tag, weight)
    }

    fn stats(&self) -> ipfs_traits::NetworkStats {
        self.inner.stats()
    }

    async fn close(&self) -> Result<()> {
        self.reachability.close();
        self.inner.close().await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dht)
    }
}

/// Names twenty who are not there, after five seconds.
pub(crate) async fn slow(inbound: Inbound, runtime: VirtualRuntime) {
    let Inbound { mut stream, .. } = inbound;
    while let Some(request) = read(&mut stream).await {
        runtime.sleep(Duration::from_secs(5)).await;
        let mut answer = Message::new(request.kind, request.key.clone());
        let names = request.key.iter().map(|byte| 10_000 + u64::from(*byte));
        answer.closer = names.take(20).map(|number| peer_id(number).into()).collect();
        if stream.write_all(&framed(&answer.encode())).await.is_err() {
            return;
        }
    }
}
