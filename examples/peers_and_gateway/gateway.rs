//! A trustless gateway: the blocks of a store by their CIDs, over HTTP/1.1, to programs on this host.

use std::{io, net::SocketAddr, sync::Arc};

use ipfs_core::{Block, Blockstore, BlockstoreExt};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
};

/// Bytes of the head of a request that are read.
const MAX_HEAD: u64 = 8 << 10;

/// Serves the blocks of a store as long as the program runs, and says where.
pub(crate) async fn serve(store: Arc<dyn Blockstore>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(store.clone(), BufStream::new(stream)));
        }
    });
    Ok(address)
}

/// Answers the requests of a connection, one after the other.
async fn connection(
    store: Arc<dyn Blockstore>,
    mut stream: BufStream<TcpStream>,
) -> io::Result<()> {
    while let Some(request) = head(&mut stream).await? {
        let (status, body) = match find(&*store, &request).await {
            Some(block) => ("200 OK", block.into_data()),
            None => ("404 Not Found", "".into()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/vnd.ipld.raw\r\nContent-Length: {}\r\n\r\n",
            body.len(),
        );
        stream.write_all(head.as_bytes()).await?;
        if !request.starts_with("HEAD ") {
            stream.write_all(&body).await?;
        }
        stream.flush().await?;
    }
    Ok(())
}

/// The first line of a request, whose other lines say nothing that matters here; none at the end.
async fn head(stream: &mut BufStream<TcpStream>) -> io::Result<Option<String>> {
    let (mut head, mut lines) = (String::new(), stream.take(MAX_HEAD));
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(head.lines().next().map(str::to_owned))
}

/// The block that is asked for with `GET /ipfs/{cid}?format=raw`, or with `HEAD`.
async fn find(store: &dyn Blockstore, request: &str) -> Option<Block> {
    let (method, rest) = request.split_once(" /ipfs/")?;
    let (cid, _) = rest.split_once("?format=raw")?;
    let cid = cid.parse().ok().filter(|_| matches!(method, "GET" | "HEAD"))?;
    match Block::inline(&cid) {
        Some(block) => Some(block),
        None => store.get(&cid).await.ok()?,
    }
}
