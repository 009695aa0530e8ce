//! A peer that stops, at every point where it can.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt, future, stream::BoxStream};
use ipfs_bitswap::message::{Message, V1_2_0};
use ipfs_traits::{
    Error, Inbound, Multiaddr, Network, PeerId, PeerInfo, Protection, Result, async_trait,
    memory::{MemoryNetwork, peer_id},
    network::{Event, Protocol, Stream},
};

use crate::place::{say, try_hear};

/// Where the peer stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A stream to it never opens.
    Opening,
    /// It refuses the protocol that it says it speaks.
    Negotiating,
    /// Nothing can be written to it.
    Taking,
    /// What was written does not leave.
    Flushing,
    /// It reads nothing.
    Reading,
    /// It reads all, and says nothing.
    Answering,
    /// It says that it has all, and gives nothing.
    Giving,
    /// Half of the length of a message comes from it.
    Length,
    /// Half of a message.
    Message,
    /// As many streams as it may have, each with the beginning of the largest message.
    Messages,
    /// No message at all.
    Sense,
}

pub(super) const STOPS: [Stop; 11] = [
    Stop::Opening,
    Stop::Negotiating,
    Stop::Taking,
    Stop::Flushing,
    Stop::Reading,
    Stop::Answering,
    Stop::Giving,
    Stop::Length,
    Stop::Message,
    Stop::Messages,
    Stop::Sense,
];

/// The number of the node that all is done to, of the peer that stops, and of one that does not.
pub(super) const VICTIM: u64 = 1;
pub(super) const BAD: u64 = 2;
pub(super) const FRIEND: u64 = 3;

/// A network on which streams to one peer stop somewhere.
#[derive(Debug)]
pub(super) struct Stopped {
    network: Arc<dyn Network>,
    peer: PeerId,
    pub(super) stop: Mutex<Option<Stop>>,
    pub(super) opened: AtomicUsize,
}

impl Stopped {
    pub(super) fn new(network: Arc<dyn Network>, stop: Stop) -> Self {
        let (stop, opened) = (Mutex::new(Some(stop)), AtomicUsize::new(0));
        Self { network, peer: peer_id(BAD), stop, opened }
    }
}

#[async_trait]
impl Network for Stopped {
    fn local_peer(&self) -> PeerId {
        self.network.local_peer()
    }
    fn addresses(&self) -> Vec<Multiaddr> {
        self.network.addresses()
    }
    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        self.network.connect(peer).await
    }
    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.network.disconnect(peer).await
    }
    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        let stop = self.stop.lock().unwrap().filter(|_| peer == self.peer);
        self.opened.fetch_add(usize::from(peer == self.peer), Ordering::Relaxed);
        match stop {
            Some(Stop::Opening) => future::pending().await,
            Some(Stop::Negotiating) => Err(Error::unsupported("bitswap")),
            Some(Stop::Taking) => Ok(Stream::new(V1_2_0, Stuck { takes: false })),
            Some(Stop::Flushing) => Ok(Stream::new(V1_2_0, Stuck { takes: true })),
            _ => self.network.open(peer, protocols).await,
        }
    }
    fn accept(&self, of: &[Protocol], most: usize) -> Result<BoxStream<'static, Inbound>> {
        self.network.accept(of, most)
    }
    fn events(&self) -> BoxStream<'static, Event> {
        self.network.events()
    }
    fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> Protection {
        self.network.protect(peer, tag, weight)
    }
    async fn close(&self) -> Result<()> {
        self.network.close().await
    }
}

/// A stream whose bytes go nowhere, or do not even go.
struct Stuck {
    takes: bool,
}

impl AsyncRead for Stuck {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes { Poll::Ready(Ok(bytes.len())) } else { Poll::Pending }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// The length of a message of 4 MiB.
const LARGEST: &[u8] = &[0x80, 0x80, 0x80, 2];

/// What the peer that stops does, until it stops.
pub(super) async fn misbehave(
    bad: Arc<MemoryNetwork>,
    mut guests: BoxStream<'static, Inbound>,
    stop: Stop,
) {
    let open = || async { bad.open(peer_id(VICTIM), &[V1_2_0]).await.unwrap() };
    let begin: &[&[u8]] = match stop {
        Stop::Length => &[&[0x80]],
        Stop::Message => &[&[200, 1, 0x0a]],
        Stop::Messages => &[LARGEST; 128],
        Stop::Sense => &[&[3, 0xff, 0xff, 0xff], &[0xff; 64], &[0; 64]],
        _ => &[],
    };
    let mut kept = Vec::new();
    for bytes in begin {
        let mut stream = open().await;
        stream.write_all(bytes).await.unwrap();
        kept.push(stream);
    }
    while let Some(mut guest) = guests.next().await {
        match stop {
            Stop::Reading => kept.push(guest.stream),
            Stop::Giving => {
                let mut back = open().await;
                while let Some(message) = try_hear(&mut guest.stream).await {
                    let presences = message.entries().map(|entry| (entry.cid, true)).collect();
                    // The victim may be gone by now.
                    let _ = say(&mut back, &Message { presences, ..Message::default() }).await;
                }
            }
            // Nobody says anything to those who are never told anything.
            _ => while try_hear(&mut guest.stream).await.is_some() {},
        }
    }
}
