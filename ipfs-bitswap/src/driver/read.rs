//! Reading the streams of a peer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_channel::mpsc;
use futures_util::{
    AsyncReadExt, StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use ipfs_traits::{
    Block, Error, HashTable, PeerId, Prefix, Result, RuntimeExt, limits, network::Stream, varint,
};

use super::{Shared, lock, notify::Notify};
use crate::message::{MAX_MESSAGE, Received};

/// Bytes of messages of one peer that are read at once: two of the largest, so that one is read
/// while another is hashed.
const PEER_BYTES: usize = 2 * MAX_MESSAGE;

/// How long a message may take from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(120);

/// Bytes that are asked of a stream at once, and that a message is given room for before they are
/// here.
const STEP: usize = 256 << 10;

/// Blocks of fewer bytes than this, together, are hashed on the spot: a hop would cost more.
const HASH_HERE: usize = 16 << 10;

/// Reads all streams of a peer, until it is gone.
pub(super) async fn streams(
    shared: Arc<Shared>,
    peer: PeerId,
    mut inbound: mpsc::UnboundedReceiver<Stream>,
) {
    let budget = Budget { left: AtomicUsize::new(PEER_BYTES), freed: Notify::default() };
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
        open.push(read(&shared, peer, stream, &budget));
    }
}

/// Bytes of messages that one peer may have in memory.
struct Budget {
    left: AtomicUsize,
    freed: Notify,
}

struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    async fn take(&self, bytes: usize) -> Share<'_> {
        loop {
            let take = |left: usize| left.checked_sub(bytes);
            if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                return Share { budget: self, bytes };
            }
            // All streams of a peer are read by one task, and polled again together.
            self.freed.wait().await;
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
        self.budget.freed.tell();
    }
}

async fn read(shared: &Arc<Shared>, peer: PeerId, mut stream: Stream, budget: &Budget) {
    loop {
        match read_one(shared, peer, &mut stream, budget).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                // The stream is dropped, and so reset.
                tracing::debug!(%peer, %error, "a stream is given up");
                return;
            }
        }
    }
}

/// Reads one message and hands it on; `false` at the end of the stream.
async fn read_one(
    shared: &Arc<Shared>,
    peer: PeerId,
    stream: &mut Stream,
    budget: &Budget,
) -> Result<bool> {
    let Some(len) = read_len(stream).await? else { return Ok(false) };
    let _share = budget.take(len).await;
    let body = shared.runtime.timeout(MESSAGE, "a message", read_body(stream, len)).await?;
    let message = Received::parse(body)?;
    let blocks = shared.verify(&peer, &message).await;
    let now = shared.runtime.now();
    shared.with_engine(|engine| engine.handle_message(peer, &message, blocks, now));
    Ok(true)
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
    let mut body = BytesMut::new();
    let mut filled = 0;
    while filled < len {
        if filled == body.len() {
            body.resize(len.min(filled + STEP.max(filled)), 0);
        }
        let read = stream.read(&mut body[filled..]).await.map_err(broken)?;
        if read == 0 {
            return Err(Error::malformed("bitswap message", "it is cut off"));
        }
        filled += read;
    }
    Ok(body.freeze())
}

impl Shared {
    /// The blocks of a message, each hashed to know its CID. One that makes no sense is left out.
    async fn verify(&self, peer: &PeerId, message: &Received) -> Vec<Block> {
        let payloads: Vec<(Prefix, Bytes)> =
            message.payloads().filter(|(_, data)| data.len() <= limits::MAX_BLOCK).collect();
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
