//! Reading the streams of a peer.

use std::{
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_channel::mpsc;
use futures_util::{
    AsyncReadExt, StreamExt,
    future::{Either, select},
    lock::Mutex as Turn,
    stream::FuturesUnordered,
};
use ipfs_traits::{
    Block, Error, HashTable, PeerId, Prefix, Result, RuntimeExt, limits, network::Stream, varint,
};

use super::{
    Shared, lock,
    notify::Notify,
    rate::{Debt, Way},
};
use crate::message::{MAX_MESSAGE, Received};

/// Bytes of messages of one peer that are in memory: two of the largest, so that some are read
/// while others are hashed.
const PEER_BYTES: usize = 2 * MAX_MESSAGE;

/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(120);

/// Blocks of fewer bytes than this, together, are hashed on the spot: a hop would cost more.
const HASH_HERE: usize = 16 << 10;

/// Messages of one peer whose blocks are hashed together. So many of 256 KiB keep all lanes busy.
const TOGETHER: usize = 32;

/// Reads all streams of a peer, until it is gone.
pub(super) async fn streams(
    shared: Arc<Shared>,
    peer: PeerId,
    inbound: mpsc::UnboundedReceiver<Stream>,
) {
    let (read, messages) = mpsc::unbounded();
    let reader = Reader {
        shared: shared.clone(),
        peer,
        left: AtomicUsize::new(PEER_BYTES),
        turn: Turn::default(),
        freed: Notify::default(),
        debt: Mutex::default(),
        read,
    };
    // Both in one task: while blocks are hashed elsewhere, more are read.
    select(pin!(all(&reader, inbound)), pin!(handle(&shared, peer, &reader, messages))).await;
}

/// What the streams of a peer share.
struct Reader {
    shared: Arc<Shared>,
    peer: PeerId,
    /// Bytes of messages that the peer may still have in memory.
    left: AtomicUsize,
    /// Whose turn it is to wait for memory.
    turn: Turn<()>,
    freed: Notify,
    debt: Mutex<Debt>,
    /// Never more than there is memory for.
    read: mpsc::UnboundedSender<Received>,
}

async fn all(reader: &Reader, mut inbound: mpsc::UnboundedReceiver<Stream>) {
    let mut open = FuturesUnordered::new();
    loop {
        let next = match open.is_empty() {
            true => inbound.next().await,
            false => match select(inbound.next(), open.next()).await {
                Either::Left((next, _)) => next,
                Either::Right(_) => continue,
            },
        };
        let Some(stream) = next else { return };
        open.push(reader.stream(stream));
    }
}

/// Has what was read hashed, as much at once as there is, and hands it on in the order it came.
async fn handle(
    shared: &Arc<Shared>,
    peer: PeerId,
    reader: &Reader,
    messages: mpsc::UnboundedReceiver<Received>,
) {
    let mut messages = messages.ready_chunks(TOGETHER);
    while let Some(messages) = messages.next().await {
        let mut blocks = shared.verify(&peer, &messages).await;
        let now = shared.runtime.now();
        shared.with_engine(|engine| {
            for message in &messages {
                // All of them with the first: it is one peer, and one moment.
                engine.handle_message(peer, message, std::mem::take(&mut blocks), now);
            }
        });
        reader.free(messages.iter().map(Received::len).sum());
    }
}

impl Reader {
    async fn stream(&self, mut stream: Stream) {
        loop {
            match self.message(&mut stream).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // The stream is dropped, and so reset.
                    tracing::debug!(peer = %self.peer, %error, "a stream is given up");
                    return;
                }
            }
        }
    }

    /// Reads one message and hands it on; `false` at the end of the stream.
    async fn message(&self, stream: &mut Stream) -> Result<bool> {
        let Some(len) = read_len(stream).await? else { return Ok(false) };
        let runtime = &*self.shared.runtime;
        self.shared.rates.wait(runtime, Way::Down, &self.debt).await;
        let share = self.take(len).await;
        let body = runtime.timeout(MESSAGE, "a message", read_body(stream, len)).await?;
        self.shared.rates.used(Way::Down, &mut lock(&self.debt), len, runtime.now());
        let message = Received::parse(body)?;
        if self.read.unbounded_send(message).is_ok() {
            share.keep();
        }
        Ok(true)
    }

    /// Waits until there is memory for so many bytes.
    async fn take(&self, bytes: usize) -> Share<'_> {
        // One stream at a time: only one is woken, and small messages do not overtake a large one
        // for ever.
        let _turn = self.turn.lock().await;
        loop {
            let take = |left: usize| left.checked_sub(bytes);
            if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                return Share { reader: self, bytes };
            }
            self.freed.wait().await;
        }
    }

    fn free(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
        self.freed.tell();
    }
}

/// Memory that a message has while it is read.
struct Share<'a> {
    reader: &'a Reader,
    bytes: usize,
}

impl Share<'_> {
    /// It is freed when the message has been handled.
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.reader.free(self.bytes);
        }
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::component("stream", error)
}

async fn read_len(stream: &mut Stream) -> Result<Option<usize>> {
    let mut head = [0; varint::MAX_LEN];
    for filled in 0..head.len() {
        let read = stream.read(&mut head[filled..=filled]).await.map_err(broken)?;
        if read == 0 {
            return match filled {
                0 => Ok(None),
                _ => Err(Error::malformed("bitswap message", "its length is cut off")),
            };
        }
        if let Some((len, _)) = varint::read_partial(&head[..=filled], "bitswap message")? {
            let most = MAX_MESSAGE;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            return match len <= most {
                true => Ok(Some(len)),
                false => Err(Error::limit("bytes of a bitswap message", most, len)),
            };
        }
    }
    Err(Error::malformed("bitswap message", "its length has no end"))
}

async fn read_body(stream: &mut Stream, len: usize) -> Result<Bytes> {
    // Memory that is zero and not written to yet costs nothing until the bytes come.
    let mut body = BytesMut::zeroed(len);
    stream.read_exact(&mut body).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::malformed("bitswap message", "it is cut off"),
        _ => broken(error),
    })?;
    Ok(body.freeze())
}

impl Shared {
    /// The blocks of messages, each hashed to know its CID. One that makes no sense is left out.
    async fn verify(&self, peer: &PeerId, messages: &[Received]) -> Vec<Block> {
        let payloads: Vec<(Prefix, Bytes)> = messages
            .iter()
            .flat_map(Received::payloads)
            .filter(|(_, data)| data.len() <= limits::MAX_BLOCK)
            .collect();
        if payloads.is_empty() {
            return Vec::new();
        }
        {
            let mut engine = lock(&self.engine);
            if !engine.expects_from(peer) {
                engine.handle_unexpected(payloads.len());
                return Vec::new();
            }
        }
        let bytes: usize = payloads.iter().map(|(_, data)| data.len()).sum();
        if bytes < HASH_HERE {
            return hash(payloads, &self.hashes);
        }
        let hashes = self.hashes.clone();
        self.runtime.blocking(move || hash(payloads, &hashes)).await.unwrap_or_default()
    }
}

/// Hashes payloads, those of one prefix side by side.
fn hash(mut payloads: Vec<(Prefix, Bytes)>, hashes: &HashTable) -> Vec<Block> {
    payloads.sort_by_key(|(prefix, _)| *prefix);
    payloads
        .chunk_by(|a, b| a.0 == b.0)
        .flat_map(|same| {
            let data = same.iter().map(|(_, data)| data.clone()).collect();
            // An unknown hash function is that of the whole group.
            Block::many_with_prefix(&same[0].0, data, hashes).unwrap_or_default()
        })
        .collect()
}
