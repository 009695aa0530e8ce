//! Asking: the questions of the engine, over streams.

use std::{io, sync::Arc};

use bytes::BytesMut;
use futures_channel::mpsc;
use futures_util::{
    AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, select_biased, stream::FuturesUnordered,
};
use ipfs_traits::{Error, PeerInfo, Result, RuntimeExt, network::Stream, sync::lock, varint};

use super::{ANSWER, Shared};
use crate::dht::{
    engine::{Query, QueryId},
    message::{MAX_ANSWER, Message},
};

const WHAT: &str = "DHT message";

/// Asks what the engine wants to know, and keeps its time, until the DHT is closed.
pub(super) async fn ask(shared: Arc<Shared>, mut woken: mpsc::Receiver<()>) {
    let mut asking = FuturesUnordered::new();
    loop {
        while asking.len() < shared.options.queries {
            let now = shared.runtime.now();
            let Some(query) = lock(&shared.engine).poll_query(now) else { break };
            asking.push(one(&shared, query));
        }
        shared.deliver();
        let (peers, settled) = {
            let engine = lock(&shared.engine);
            (engine.stats().peers, engine.is_settled(shared.runtime.now()))
        };
        shared.lookups().tell(peers > 0, settled);
        if shared.lookups().is_closed() {
            return;
        }
        let due = lock(&shared.engine).poll_timeout();
        select_biased! {
            answered = asking.select_next_some() => {
                let (id, reply): (QueryId, Result<Message>) = answered;
                let now = shared.now();
                lock(&shared.engine).handle_reply(id, reply, now);
            }
            _ = woken.next() => {}
            () = shared.runtime.sleep_until(due).fuse() => {
                let now = shared.runtime.now();
                lock(&shared.engine).handle_timeout(now);
            }
        }
    }
}

async fn one(shared: &Shared, query: Query) -> (QueryId, Result<Message>) {
    let Query { id, peer, request } = query;
    (id, shared.question(&peer, &request).await)
}

impl Shared {
    /// Asks a peer, and gives what it answers.
    pub(super) async fn question(&self, peer: &PeerInfo, request: &Message) -> Result<Message> {
        let exchange = async {
            let mut stream = self.open(peer).await?;
            write(&mut stream, request).await?;
            stream.flush().await.map_err(broken)?;
            let answer = read(&mut stream, MAX_ANSWER).await?;
            let answer = answer.ok_or_else(|| Error::malformed(WHAT, "there is no answer"))?;
            let answer = Message::decode(&answer)?;
            if answer.kind != request.kind {
                return Err(Error::malformed(WHAT, "it answers another question"));
            }
            // Whether this arrives does not matter any more.
            let _ = stream.close().await;
            Ok(answer)
        };
        self.runtime.timeout(ANSWER, "an answer of the DHT", exchange).await
    }

    /// A stream to a peer, which is dialed if it has to be.
    pub(super) async fn open(&self, peer: &PeerInfo) -> Result<Stream> {
        self.network.connect(peer).await?;
        let protocol = std::slice::from_ref(&self.options.protocol);
        self.network.open(peer.id, protocol).await
    }
}

pub(super) fn broken(error: io::Error) -> Error {
    Error::component("stream", error)
}

/// Writes a message after its length.
pub(super) async fn write(stream: &mut Stream, message: &Message) -> Result<()> {
    let mut bytes = Vec::new();
    append(message, &mut bytes);
    stream.write_all(&bytes).await.map_err(broken)
}

/// Puts a message after its length behind what is there.
pub(super) fn append(message: &Message, bytes: &mut Vec<u8>) {
    let body = message.encode();
    varint::write(body.len() as u64, bytes);
    bytes.extend(body);
}

/// Bytes that are made room for before they have come.
const AHEAD: usize = 16 << 10;

/// Reads a message after its length; `None` at the end of the stream.
pub(super) async fn read(stream: &mut Stream, most: usize) -> Result<Option<BytesMut>> {
    let Some(len) = read_len(stream, most).await? else { return Ok(None) };
    let mut body = BytesMut::new();
    while body.len() < len {
        let have = body.len();
        body.resize(len.min(have + AHEAD), 0);
        stream.read_exact(&mut body[have..]).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::malformed(WHAT, "it is cut off"),
            _ => broken(error),
        })?;
    }
    Ok(Some(body))
}

async fn read_len(stream: &mut Stream, most: usize) -> Result<Option<usize>> {
    let mut head = [0; varint::MAX_LEN];
    for filled in 0..head.len() {
        let read = stream.read(&mut head[filled..=filled]).await.map_err(broken)?;
        if read == 0 {
            return match filled {
                0 => Ok(None),
                _ => Err(Error::malformed(WHAT, "its length is cut off")),
            };
        }
        if let Some((len, _)) = varint::read_partial(&head[..=filled], WHAT)? {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            return match len <= most {
                true => Ok(Some(len)),
                false => Err(Error::limit("bytes of a DHT message", most, len)),
            };
        }
    }
    Err(Error::malformed(WHAT, "its length has no end"))
}
