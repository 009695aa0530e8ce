//! Networks that break one promise each.

use std::sync::Arc;

use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::{self, BoxStream};
use ipfs_traits::memory::{MemoryHub, MemoryNetwork, peer_id};
use ipfs_traits::network::{Event, Protocol, Stream};
use ipfs_traits::{
    Error, Inbound, Multiaddr, Network, NetworkStats, PeerId, PeerInfo, Protection, Result,
    async_trait, conformance,
};

use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum NetFault {
    None,
    OpensUnconnected,
    NoSnapshot,
    WrongName,
    NoBound,
    NotCounted,
    EndForReset,
    AcceptsTwice,
    WrongProtocol,
}

/// A network with one fault, over one in memory.
#[derive(Debug)]
struct Net(NetFault, MemoryNetwork);

#[async_trait]
impl Network for Net {
    fn local_peer(&self) -> PeerId {
        self.1.local_peer()
    }
    fn addresses(&self) -> Vec<Multiaddr> {
        self.1.addresses()
    }
    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        self.1.connect(peer).await
    }
    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.1.disconnect(peer).await
    }
    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        match self.0 {
            NetFault::OpensUnconnected => self.1.connect(&peer.into()).await?,
            NetFault::WrongProtocol => {
                let stream = self.1.open(peer, protocols).await?;
                return Ok(Stream::new(protocols[0].clone(), stream));
            }
            _ => {}
        }
        self.1.open(peer, protocols).await
    }
    fn accept(&self, protocols: &[Protocol], max: usize) -> Result<BoxStream<'static, Inbound>> {
        let max = if self.0 == NetFault::NoBound { max + 1 } else { max };
        let found = self.1.accept(protocols, max);
        if self.0 == NetFault::AcceptsTwice && found.is_err() {
            return Ok(stream::pending().boxed());
        }
        let fault = self.0;
        let spoil = move |inbound: Inbound| match fault {
            NetFault::WrongName => Inbound { peer: peer_id(99), ..inbound },
            NetFault::EndForReset => {
                let protocol = inbound.stream.protocol().clone();
                let stream = Stream::new(protocol, Quiet(inbound.stream));
                Inbound { stream, ..inbound }
            }
            _ => inbound,
        };
        Ok(found?.map(spoil).boxed())
    }
    fn events(&self) -> BoxStream<'static, Event> {
        if self.0 == NetFault::NoSnapshot {
            let news = stream::iter([Event::Gone(peer_id(0))]);
            return news.chain(self.1.events().skip(1)).boxed();
        }
        self.1.events()
    }
    fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> Protection {
        self.1.protect(peer, tag, weight)
    }
    fn stats(&self) -> NetworkStats {
        match self.0 {
            NetFault::NotCounted => NetworkStats::default(),
            _ => self.1.stats(),
        }
    }
    async fn close(&self) -> Result<()> {
        self.1.close().await
    }
}

/// A stream that shows a reset as an end.
struct Quiet(Stream);

impl futures::AsyncRead for Quiet {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf).map(|read| read.or(Ok(0)))
    }
}

impl futures::AsyncWrite for Quiet {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_close(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn wrong_networks_are_caught() {
    use NetFault as F;
    let run = |fault| {
        let pair = || async move {
            let hub = MemoryHub::new();
            let net = |n| Ok::<_, Error>(Arc::new(Net(fault, hub.join(peer_id(n))?)));
            let (a, b): (Arc<dyn Network>, Arc<dyn Network>) = (net(1)?, net(2)?);
            Ok((a, b))
        };
        block_on(conformance::network(pair))?;
        block_on(conformance::network_resets(pair))
    };
    run(F::None).unwrap();
    for fault in [
        F::OpensUnconnected,
        F::NoSnapshot,
        F::WrongName,
        F::NoBound,
        F::NotCounted,
        F::EndForReset,
        F::AcceptsTwice,
        F::WrongProtocol,
    ] {
        caught(fault, run(fault));
    }
}
