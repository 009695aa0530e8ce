//! Nodes over the network in memory, and strangers who speak the protocol by hand.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{
    AsyncReadExt, AsyncWriteExt, StreamExt,
    future::{Either, select},
    stream,
};
use ipfs_bitswap::{
    Bitswap, Options,
    message::{Message, Received, Version},
};
use ipfs_traits::{
    Block, Cid, CodecTable, HashTable, Network, Parts, PeerInfo, Result, Routing, Runtime,
    RuntimeExt, Session, VirtualRuntime,
    memory::{MemoryHub, MemoryNetwork, MemoryStore, RoutingTable, peer_id},
    network::Stream,
    varint,
};

/// A node with bitswap, in memory.
pub(crate) struct Node {
    pub(crate) bitswap: Bitswap,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) network: Arc<MemoryNetwork>,
    pub(crate) routing: Arc<dyn Routing>,
}

/// Nodes that can find each other.
pub(crate) struct Place {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) hub: MemoryHub,
    table: RoutingTable,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { runtime: VirtualRuntime::new(), hub: MemoryHub::new(), table: RoutingTable::new() }
    }

    /// Runs it, for a day at the most: then what it waits for is not going to come.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.run_within(Duration::from_secs(24 * 3600), future)
    }

    /// Runs it, for so long at the most.
    pub(crate) fn run_within<T>(&self, time: Duration, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(self.within(time, future)).unwrap()
    }

    /// What the future gives, which is here in this time.
    pub(crate) async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> T {
        match select(pin!(future), RuntimeExt::sleep(&self.runtime, time)).await {
            Either::Left((output, _)) => output,
            Either::Right(_) => panic!("it waits in vain"),
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        RuntimeExt::sleep(&self.runtime, time).await;
    }

    pub(crate) fn node(&self, number: u64) -> Node {
        self.node_with(number, Options::default(), |_| ())
    }

    /// A node with other options, or with other parts.
    pub(crate) fn node_with(
        &self,
        number: u64,
        options: Options,
        change: impl FnOnce(&mut Parts),
    ) -> Node {
        let (store, network) =
            (Arc::new(MemoryStore::new()), Arc::new(self.hub.join(peer_id(number)).unwrap()));
        let routing: Arc<dyn Routing> =
            Arc::new(self.table.join(PeerInfo::new(peer_id(number), network.addresses())));
        let mut parts = Parts::new(
            Arc::new(self.runtime.clone()),
            HashTable::standard(),
            Arc::new(CodecTable::new()),
            peer_id(number),
        );
        parts.set_store(store.clone());
        parts.set_network(network.clone());
        parts.set_routing(routing.clone());
        change(&mut parts);
        let bitswap = Bitswap::spawn(&parts, options).unwrap();
        Node { bitswap, store, network, routing }
    }

    /// A peer that speaks by itself, without bitswap behind it.
    pub(crate) fn stranger(&self, number: u64) -> Arc<MemoryNetwork> {
        Arc::new(self.hub.join(peer_id(number)).unwrap())
    }

    /// Runs beside what is waited for, for as long as the runtime lives.
    pub(crate) fn beside(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(future)).detach();
    }
}

pub(crate) async fn all(session: &Arc<dyn Session>, blocks: &[Block]) -> Result<Vec<Block>> {
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let answers: Vec<_> = session.get_many(stream::iter(cids).boxed()).collect().await;
    answers.into_iter().map(|(_, block)| block).collect()
}

pub(crate) async fn say(stream: &mut Stream, message: &Message) -> std::io::Result<()> {
    stream
        .write_all(&message.encode(Version::V1_2, &HashTable::standard()).unwrap().concat())
        .await?;
    stream.flush().await
}

/// The next message, or nothing at the end of the stream.
pub(crate) async fn try_hear(stream: &mut Stream) -> Option<Received> {
    let mut head = Vec::new();
    let len = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        head.push(byte[0]);
        if let Ok((len, _)) = varint::read(&head, "test") {
            break len as usize;
        }
    };
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received::parse(body.into()).unwrap())
}

pub(crate) async fn hear(stream: &mut Stream) -> Received {
    try_hear(stream).await.unwrap()
}
