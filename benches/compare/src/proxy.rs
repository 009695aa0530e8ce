//! A link with delay and a limited rate, where the system has none: a proxy of TCP connections.
//!
//! `link-proxy LISTEN_PORT TARGET_ADDR DELAY_MS RATE_BYTES_PER_S` passes on all connections that come to a port
//! of 127.0.0.1 (0 is any; the first line printed is the address). Every byte arrives DELAY_MS later than it was
//! sent, in each direction, so that a round trip takes twice as long; DELAY_MS may have a fraction. RATE is what
//! the link carries in each direction, of all its connections together; 0 is no limit.
//!
//! What is on its way does not slow down what comes behind it: a direction of a connection holds up to
//! [`IN_FLIGHT`]. A connection through it is made without delay: what is counted is the bytes.

use std::{
    error::Error,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

/// Bytes on their way in one direction of a connection: 50 ms of more than a gigabyte a second.
const IN_FLIGHT: usize = 64 << 20;
/// Read at once, where nothing limits the rate: fewer wakings.
const CHUNK: usize = 256 << 10;
/// Read at once, where the rate is limited: connections that share it take turns.
const LIMITED_CHUNK: usize = 32 << 10;
/// What small chunks are cut from. A chunk keeps the whole of it alive, and so it is not larger.
const BUFFER: usize = 1 << 20;
/// How long the queue at the entry of a limited link is: at its rate, about so much waits in the
/// system's buffer.
const ENTRY: Duration = Duration::from_millis(50);
/// How long before the entry is free the next bytes are read: timers are late by a millisecond or two,
/// and the link must not stand idle for that.
const AHEAD: Duration = Duration::from_millis(5);

/// How one direction of the link carries bytes.
struct Way {
    delay: Duration,
    /// Bytes a second.
    rate: Option<f64>,
    /// When all that has entered it will have left its entry.
    free: Mutex<Instant>,
}

impl Way {
    fn new(delay: Duration, rate: Option<f64>) -> Arc<Self> {
        Arc::new(Self { delay, rate, free: Mutex::new(Instant::now()) })
    }

    /// When the last of these bytes is on its way, if they stand at the entry now.
    fn enter(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(rate) = self.rate else { return now };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = now.max(*free) + Duration::from_secs_f64(bytes as f64 / rate);
        *free
    }

    /// Carries bytes until their end.
    async fn carry(self: Arc<Self>, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let (sender, receiver) = mpsc::unbounded_channel();
        // In tasks of their own: one core must not do both.
        let mut both = JoinSet::new();
        both.spawn(self.read(from, sender, room.clone()));
        both.spawn(write(receiver, to, room));
        first_error(both).await
    }

    async fn read(
        self: Arc<Self>,
        mut from: OwnedReadHalf,
        to: mpsc::UnboundedSender<(Instant, Bytes)>,
        room: Arc<Semaphore>,
    ) -> io::Result<()> {
        let most = if self.rate.is_some() { LIMITED_CHUNK } else { CHUNK };
        let mut buffer = BytesMut::new();
        loop {
            if buffer.capacity() < most {
                buffer = BytesMut::with_capacity(BUFFER);
            }
            let count = from.read_buf(&mut (&mut buffer).limit(most)).await?;
            if count == 0 {
                return Ok(());
            }
            let entered = self.enter(count);
            room.acquire_many(count as u32).await.map_err(io::Error::other)?.forget();
            if to.send((entered + self.delay, buffer.split().freeze())).is_err() {
                return Ok(());
            }
            // The next bytes stand behind these at the entry, and in the end in the sender.
            if self.rate.is_some()
                && let Some(soon) = entered.checked_sub(AHEAD)
            {
                tokio::time::sleep_until(soon.into()).await;
            }
        }
    }
}

/// Writes what has arrived, when it has.
async fn write(
    mut from: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    mut to: OwnedWriteHalf,
    room: Arc<Semaphore>,
) -> io::Result<()> {
    while let Some((arrives, bytes)) = from.recv().await {
        if arrives > Instant::now() {
            tokio::time::sleep_until(arrives.into()).await;
        }
        to.write_all(&bytes).await?;
        room.add_permits(bytes.len());
    }
    to.shutdown().await
}

/// Waits for all; at the first that fails, the others are stopped.
async fn first_error(mut all: JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(ended) = all.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// A socket whose buffer is no longer than the entry of the link. Without a limit the system finds
/// its size itself, which gets larger than what can be asked for.
fn socket(rate: Option<f64>) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    if let Some(rate) = rate {
        let size = (rate * ENTRY.as_secs_f64()) as u32;
        socket.set_recv_buffer_size(size.clamp(64 << 10, 4 << 20))?;
    }
    Ok(socket)
}

async fn connection(inbound: TcpStream, target: SocketAddr, ways: [Arc<Way>; 2]) -> io::Result<()> {
    let outbound = socket(ways[0].rate)?.connect(target).await?;
    for end in [&inbound, &outbound] {
        end.set_nodelay(true)?;
    }
    let ((from, back), (there, to)) = (inbound.into_split(), outbound.into_split());
    let [up, down] = ways;
    let mut both = JoinSet::new();
    both.spawn(up.carry(from, to));
    both.spawn(down.carry(there, back));
    first_error(both).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, target, delay, rate] = &args[..] else {
        return Err("link-proxy LISTEN_PORT TARGET_ADDR DELAY_MS RATE_BYTES_PER_S".into());
    };
    let target: SocketAddr = target.parse()?;
    let delay = Duration::from_secs_f64(delay.parse::<f64>()? / 1e3);
    let rate = Some(rate.parse::<f64>()?).filter(|rate| *rate > 0.0);
    let ways = [Way::new(delay, rate), Way::new(delay, rate)];

    let socket = socket(rate)?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port.parse()?).into())?;
    let listener = socket.listen(128)?;
    println!("{}", listener.local_addr()?);
    loop {
        let (inbound, _) = listener.accept().await?;
        let passed = connection(inbound, target, ways.clone());
        tokio::spawn(async move {
            if let Err(error) = passed.await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}
