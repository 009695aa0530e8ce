//! The transports, and the runtime that their sockets need.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use ipfs_traits::{Error, PeerId, Result};
use libp2p::{
    Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OrTransport},
        upgrade,
    },
    dns, noise, quic, tcp,
};
use libp2p_identity::Keypair;

use super::muxer;

/// The time for a connection to be made and proven.
const HANDSHAKE: Duration = Duration::from_secs(20);

type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// QUIC, and TCP with Noise and Yamux, at addresses and at names.
pub(super) fn build(identity: &Keypair) -> Result<Transport> {
    match dns::tokio::Transport::system(at_addresses(identity)?) {
        Ok(at_names) => Ok(at_names.boxed()),
        // As in a sandbox, where the system does not say who resolves names.
        Err(error) => {
            tracing::warn!(%error, "names in addresses are not resolved");
            at_addresses(identity)
        }
    }
}

fn at_addresses(identity: &Keypair) -> Result<Transport> {
    let noise = noise::Config::new(identity)
        .map_err(|error| Error::component("libp2p", io::Error::other(error)))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::new())
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer::Upgrade)
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic_config(identity))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    Ok(OrTransport::new(quic, tcp).map(|either, _| either.into_inner()).boxed())
}

/// What one connection over QUIC may hold: as many streams as one over TCP, and bytes that were
/// received and not given on, of a stream and of all. That fills a link of 480 MB/s at a round trip
/// of 50 ms.
fn quic_config(identity: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(identity);
    config.max_concurrent_stream_limit = muxer::MAX_STREAMS as u32;
    config.max_stream_data = 16 << 20;
    config.max_connection_data = 24 << 20;
    config
}

/// Polls a future inside a tokio runtime, wherever it runs.
pub(super) struct Entered<F> {
    tokio: tokio::runtime::Handle,
    future: Pin<Box<F>>,
}

impl<F> Entered<F> {
    pub(super) fn new(tokio: tokio::runtime::Handle, future: F) -> Self {
        Self { tokio, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = this.tokio.enter();
        this.future.as_mut().poll(cx)
    }
}
