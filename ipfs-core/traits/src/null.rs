//! Plugs that do nothing, for nodes that do without.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};

use crate::{
    Block, BlockSource, Cid, Error, Exchange, Inbound, Multiaddr, Multihash, Network, PeerId,
    PeerInfo, Protection, Result, Routing, Session,
    network::{Event, EventHub, Protocol, Stream},
};

/// An exchange that asks nobody: what is not here is not found.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfflineExchange;

#[async_trait]
impl Exchange for OfflineExchange {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(OfflineSession)
    }
}

#[derive(Debug)]
struct OfflineSession;

#[async_trait]
impl BlockSource for OfflineSession {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        Block::inline(cid).ok_or(Error::NotFound(*cid))
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        cids.map(|cid| (cid, Block::inline(&cid).ok_or(Error::NotFound(cid)))).boxed()
    }
}

impl Session for OfflineSession {}

/// A router that finds nothing and tells nobody, and is content with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRouting;

#[async_trait]
impl Routing for NoRouting {
    fn find_providers(&self, _: &Multihash, _: usize) -> BoxStream<'static, Result<PeerInfo>> {
        stream::empty().boxed()
    }

    async fn provide(&self, _: Vec<Multihash>) -> Result<()> {
        Ok(())
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        Err(Error::Unreachable(peer, None))
    }

    fn get_value(&self, _: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        stream::empty().boxed()
    }

    async fn closest_peers(&self, _: &[u8]) -> Result<Vec<PeerInfo>> {
        Ok(Vec::new())
    }
}

/// A network with nobody in it, for a node that keeps to itself.
#[derive(Debug)]
pub struct NoNetwork {
    peer: PeerId,
    events: EventHub,
}

impl NoNetwork {
    /// The network of a node of this name.
    pub fn new(peer: PeerId) -> Self {
        Self { peer, events: EventHub::new() }
    }
}

#[async_trait]
impl Network for NoNetwork {
    fn local_peer(&self) -> PeerId {
        self.peer
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        Vec::new()
    }

    async fn connect(&self, _: &PeerInfo) -> Result<()> {
        Err(Error::unsupported("connecting from an offline node"))
    }

    async fn disconnect(&self, _: PeerId) -> Result<()> {
        Ok(())
    }

    async fn open(&self, peer: PeerId, _: &[Protocol]) -> Result<Stream> {
        Err(Error::Unreachable(peer, None))
    }

    fn accept(&self, _: &[Protocol], _: usize) -> Result<BoxStream<'static, Inbound>> {
        // It ends when the network is closed, as every other one does.
        let events = self.events.subscribe();
        Ok(events.filter_map(|_: Event| future::ready(None)).boxed())
    }

    fn events(&self) -> BoxStream<'static, Event> {
        self.events.subscribe()
    }

    fn protect(&self, _: PeerId, _: &'static str, _: u32) -> Protection {
        Protection::none()
    }

    async fn close(&self) -> Result<()> {
        self.events.close();
        Ok(())
    }
}
