//! What the network under a node can do at most: one libp2p stream over TCP, Noise and Yamux, and nothing else.
//!
//! `bare serve` prints its address, and sends what it is asked for until its standard input ends.
//! `bare fetch ADDRESS BYTES` asks for so many bytes, discards them, and prints how many seconds that took.

use std::{
    error::Error,
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Transport as _,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent},
        upgrade,
    },
    identity::Keypair,
    noise, tcp, yamux,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Written and read at once.
const CHUNK: usize = 256 << 10;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve"] => serve().await,
        ["fetch", address, bytes] => fetch(address.parse()?, bytes.parse()?).await,
        _ => Err("bare serve | fetch ADDRESS BYTES".into()),
    }
}

/// As a node has it.
fn transport() -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let identity = Keypair::generate_ed25519();
    Ok(tcp::tokio::Transport::new(tcp::Config::new())
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(&identity)?)
        .multiplex(yamux::Config::default())
        .boxed())
}

async fn serve() -> Result<()> {
    let mut transport = transport()?;
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse()?)?;
    let accept = async {
        while let Some(event) = transport.next().await {
            match event {
                TransportEvent::NewAddress { listen_addr, .. } => println!("{listen_addr}"),
                TransportEvent::Incoming { upgrade, .. } => {
                    tokio::spawn(async move { drive(upgrade.await?.1).await });
                }
                _ => {}
            }
        }
    };
    let mut stdin = tokio::io::stdin();
    let mut nothing = tokio::io::sink();
    tokio::select! {
        () = accept => {}
        end = tokio::io::copy(&mut stdin, &mut nothing) => drop(end?),
    }
    Ok(())
}

/// Drives a connection to its end; each stream that the other side opens gets what it asks for.
async fn drive(mut muxer: StreamMuxerBox) -> Result<()> {
    loop {
        let stream = poll_fn(|cx| {
            if let Poll::Ready(stream) = muxer.poll_inbound_unpin(cx) {
                return Poll::Ready(stream);
            }
            progress(&mut muxer, cx).map(Err)
        });
        tokio::spawn(send(stream.await?));
    }
}

/// What a connection does besides its streams; it has something to say only when it fails.
fn progress(muxer: &mut StreamMuxerBox, cx: &mut Context<'_>) -> Poll<std::io::Error> {
    loop {
        match muxer.poll_unpin(cx) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(error),
            Poll::Pending => return Poll::Pending,
        }
    }
}

async fn send(mut stream: SubstreamBox) -> Result<()> {
    let mut asked = [0; 8];
    stream.read_exact(&mut asked).await?;
    let chunk = vec![7; CHUNK];
    let mut left = u64::from_be_bytes(asked);
    while left > 0 {
        let count = left.min(CHUNK as u64);
        stream.write_all(&chunk[..count as usize]).await?;
        left -= count;
    }
    Ok(stream.close().await?)
}

async fn fetch(address: Multiaddr, bytes: u64) -> Result<()> {
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, mut muxer) = transport()?.dial(address, opts)?.await?;
    let start = Instant::now();
    let stream = poll_fn(|cx| {
        if let Poll::Ready(stream) = muxer.poll_outbound_unpin(cx) {
            return Poll::Ready(stream);
        }
        progress(&mut muxer, cx).map(Err)
    });
    let mut stream = stream.await?;
    tokio::spawn(async move { poll_fn(|cx| progress(&mut muxer, cx)).await });
    stream.write_all(&bytes.to_be_bytes()).await?;
    stream.flush().await?;
    let (mut chunk, mut left) = (vec![0; CHUNK], bytes);
    while left > 0 {
        let count = stream.read(&mut chunk).await? as u64;
        if count == 0 {
            return Err("it ended too early".into());
        }
        left -= count;
    }
    println!("{:.3}", start.elapsed().as_secs_f64());
    Ok(())
}
