//! Writing to a peer what the engine has for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::AsyncWriteExt;
use ipfs_traits::{Block, Error, PeerId, Result, RuntimeExt, network::Stream};

use super::{
    Shared, lock,
    notify::Notify,
    rate::{Debt, LOOK, Way},
};
use crate::message::{Message, PROTOCOLS, Version};

/// Bytes of blocks in one message, about: one more block may follow. Larger ones would make what
/// comes first wait for what comes last.
const MESSAGE_BYTES: usize = 512 << 10;

/// How many times a message is tried, each time on a new stream.
const ATTEMPTS: u32 = 3;

/// How long to wait before the second attempt; longer before the third.
const PAUSE: Duration = Duration::from_millis(100);

/// How long opening a stream may take.
const OPEN: Duration = Duration::from_secs(10);

/// How long a stream is kept open with nothing to write.
const IDLE: Duration = Duration::from_secs(30);

/// How slow a peer may take a message: 10 s and then 12.5 kB/s, as Kubo has it.
const SLOWEST: f64 = 12_500.0;
const LEAST: Duration = Duration::from_secs(10);

/// How long a peer that cannot be written to is left alone, unless it shows itself before; twice as
/// long the next time.
const REST: Duration = Duration::from_secs(10);
const MAX_REST: Duration = Duration::from_secs(300);

/// Writes to a peer until it is gone. One that cannot be written to is taken for gone for a while.
pub(super) async fn messages(shared: Arc<Shared>, peer: PeerId, wake: Arc<Notify>) {
    let mut writer = Writer { shared, peer, stream: None, debt: Debt::default() };
    let mut rest = REST;
    loop {
        writer.wait(&wake).await;
        let Err(error) = writer.all().await else {
            rest = REST;
            continue;
        };
        tracing::debug!(%peer, %error, "a peer cannot be written to");
        writer.shared.lose_peer(&peer, &wake);
        wake.forget();
        writer.told_within(rest, &wake).await;
        rest = (rest * 2).min(MAX_REST);
        writer.shared.try_peer(&peer, &wake);
    }
}

struct Writer {
    shared: Arc<Shared>,
    peer: PeerId,
    stream: Option<Stream>,
    debt: Debt,
}

impl Writer {
    /// When blocks may be sent, if not now.
    fn free_at(&self) -> Option<Instant> {
        self.shared.rates.free_at(Way::Up, &self.debt, self.shared.runtime.now())
    }

    /// Waits until there is something to write. A stream that idles is closed: it would keep the
    /// connection for ever.
    async fn wait(&mut self, wake: &Notify) {
        let now = self.shared.runtime.now();
        if let Some(at) = self.free_at() {
            self.told_within(at.min(now + LOOK) - now, wake).await;
            return;
        }
        let Some(mut open) = self.stream.take() else { return wake.wait().await };
        if self.told_within(IDLE, wake).await {
            self.stream = Some(open);
            return;
        }
        let close = async { open.close().await.map_err(broken) };
        let _ = self.shared.runtime.timeout(LEAST, "closing a stream", close).await;
        wake.wait().await;
    }

    /// Waits until there is something to write, so long at the most. Says whether there is.
    async fn told_within(&mut self, time: Duration, wake: &Notify) -> bool {
        let told = async {
            wake.wait().await;
            Ok(())
        };
        self.shared.runtime.timeout(time, "a message", told).await.is_ok()
    }

    /// Writes all that there is for the peer now.
    async fn all(&mut self) -> Result<()> {
        loop {
            let now = self.shared.runtime.now();
            // Beyond the limit of rate all but blocks is sent.
            let most = if self.free_at().is_some() { 0 } else { MESSAGE_BYTES };
            let Some(message) = lock(&self.shared.engine).poll_transmit(self.peer, most, now)
            else {
                // Nothing more follows at once: what was written should leave now.
                self.flush().await;
                return Ok(());
            };
            let bytes = message.blocks.iter().map(Block::len).sum();
            send(&self.shared, self.peer, &mut self.stream, &message).await?;
            let now = self.shared.runtime.now();
            self.shared.rates.used(Way::Up, &mut self.debt, bytes, now);
            self.shared.with_engine(|engine| engine.handle_sent(self.peer, bytes));
        }
    }

    /// A stream that does not let go of what was written is given up.
    async fn flush(&mut self) {
        let Some(open) = &mut self.stream else { return };
        let flush = async { open.flush().await.map_err(broken) };
        let patience = patience(MESSAGE_BYTES);
        if self.shared.runtime.timeout(patience, "writing", flush).await.is_err() {
            self.stream = None;
        }
    }
}

/// How long a peer may take for so many bytes.
fn patience(bytes: usize) -> Duration {
    LEAST + Duration::from_secs_f64(bytes as f64 / SLOWEST)
}

fn broken(error: std::io::Error) -> Error {
    Error::component("stream", error)
}

/// Writes one message, on a new stream if the old one is broken.
async fn send(
    shared: &Shared,
    peer: PeerId,
    stream: &mut Option<Stream>,
    message: &Message,
) -> Result<()> {
    let mut last = Error::Unreachable(peer, None);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            shared.runtime.sleep(PAUSE * attempt).await;
        }
        let open = match stream.take() {
            Some(open) => open,
            None => {
                let opening = shared.network.open(peer, &PROTOCOLS);
                match shared.runtime.timeout(OPEN, "opening a stream", opening).await {
                    Ok(open) => open,
                    // Also when it refuses a protocol that it said it speaks: so it does when it
                    // has too many streams.
                    Err(error) => {
                        last = error;
                        continue;
                    }
                }
            }
        };
        // What the other side understands shows when the stream is there.
        let version = Version::of(open.protocol()).unwrap_or_default();
        let runs = message.encode(version, &shared.hashes)?;
        let bytes: usize = runs.iter().map(Bytes::len).sum();
        match shared.runtime.timeout(patience(bytes), "writing", write(open, &runs)).await {
            Ok(open) => {
                *stream = Some(open);
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn write(mut stream: Stream, runs: &[Bytes]) -> Result<Stream> {
    for run in runs {
        stream.write_all(run).await.map_err(broken)?;
    }
    Ok(stream)
}
