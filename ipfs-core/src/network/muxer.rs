//! Yamux with bounds: what one connection may hold.
//!
//! libp2p's own wrapper lets only the number of streams be set, and leaves a connection a gigabyte
//! of windows.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_core::ready;
use futures_io::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use yamux::{Config, Connection, ConnectionError, Mode};

use super::frames::Frames;

/// Streams of one connection, both ways. At one more yamux ends the connection, so all that may be
/// there at once stays below it: see the tests.
pub(super) const MAX_STREAMS: usize = 256;

/// Bytes that a connection may have received and not given on: 256 KiB for each stream from its
/// beginning, as the specification has it, and 32 MiB by which windows grow that need more.
pub(super) const MAX_WINDOW: usize = 96 << 20;

/// Streams that wait in the muxer while others are negotiated. One more is reset.
pub(super) const MAX_BUFFERED: usize = 32;

/// Bytes of a frame. A larger one costs less for each byte, and what is more urgent waits longer;
/// one of this size fits into one message of Noise.
const FRAME: usize = 60 << 10;

/// Puts Yamux on a connection.
#[derive(Clone, Debug)]
pub(super) struct Upgrade;

impl Upgrade {
    fn connection<C: AsyncRead + AsyncWrite + Unpin>(socket: C, mode: Mode) -> Muxer<Frames<C>> {
        let mut config = Config::default();
        config
            .set_max_num_streams(MAX_STREAMS)
            .set_max_connection_receive_window(Some(MAX_WINDOW))
            .set_split_send_size(FRAME);
        let connection = Connection::new(Frames::new(socket), config, mode);
        Muxer { connection, buffered: VecDeque::new(), waker: None }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<Frames<C>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::connection(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<Frames<C>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Self::connection(socket, Mode::Client)))
    }
}

/// A connection of streams.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    /// Streams that came while only what is open was driven.
    buffered: VecDeque<yamux::Stream>,
    waker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        match ready!(self.connection.poll_next_inbound(cx)) {
            Some(stream) => Poll::Ready(stream.map_err(failed)),
            None => Poll::Ready(Err(failed(ConnectionError::Closed))),
        }
    }
}

fn failed(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
        if let Some(stream) = self.buffered.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(stream) = self.next(cx) {
            return Poll::Ready(stream);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(failed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(failed)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.next(cx))?;
        // One beyond the bound is dropped, and so reset.
        if self.buffered.len() < MAX_BUFFERED {
            self.buffered.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        // There may be more, and others shall have their turn before.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BUFFERED, MAX_STREAMS, MAX_WINDOW};
    use crate::network::{handler, swarm};

    /// What may be there of one connection at once never ends it.
    #[test]
    fn streams_stay_below_what_yamux_bears() {
        let held = 128; // of bitswap, the most of all
        let others = 16; // of identify, its push, ping, and what else holds few
        let all = held + others + MAX_BUFFERED + handler::OPENING + swarm::NEGOTIATING;
        assert!(all < MAX_STREAMS, "{all}");
        assert_eq!((MAX_STREAMS, MAX_WINDOW), (256, 96 << 20));
    }
}
