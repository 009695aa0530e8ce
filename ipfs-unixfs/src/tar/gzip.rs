//! Gzip, a piece at a time: made where it may block, read as it arrives.

use std::{
    io::{self, BufRead, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use futures_core::{Stream, stream::BoxStream};
use futures_io::AsyncRead;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Error, Result, Runtime, RuntimeExt};

/// What is read of what is compressed in one go.
const INPUT: usize = 32 << 10;

/// Compresses a stream. The same stream and level give the same bytes.
pub(super) fn compress(
    from: impl Stream<Item = Result<Bytes>> + Send + Unpin + 'static,
    level: u32,
    runtime: Arc<dyn Runtime>,
) -> BoxStream<'static, Result<Bytes>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    let state = Some((from, encoder, runtime));
    stream::try_unfold(state, |state| async move {
        let Some((mut from, mut encoder, runtime)) = state else {
            return Ok(None);
        };
        loop {
            let Some(piece) = from.next().await.transpose()? else {
                let last = runtime.blocking(move || encoder.finish()).await?;
                return Ok(Some((in_memory(last).into(), None)));
            };
            let done = runtime.blocking(move || {
                in_memory(encoder.write_all(&piece));
                (std::mem::take(encoder.get_mut()), encoder)
            });
            let made;
            (made, encoder) = done.await?;
            if !made.is_empty() {
                return Ok(Some((made.into(), Some((from, encoder, runtime)))));
            }
        }
    })
    .boxed()
}

fn in_memory<T>(result: io::Result<T>) -> T {
    result.expect("writing to memory does not fail")
}

/// A reader of what is in a reader of gzip. It holds a piece of what is compressed and makes of it
/// only what it is asked for, however much that is.
pub(super) struct Decompress<R> {
    reader: R,
    decoder: Box<MultiGzDecoder<Piece>>,
}

impl<R> Decompress<R> {
    /// `begun` is what was read already.
    pub(super) fn new(reader: R, begun: &[u8]) -> Self {
        let mut bytes = vec![0; INPUT];
        bytes[..begun.len()].copy_from_slice(begun);
        let piece = Piece { bytes, at: 0, len: begun.len(), ended: false };
        Self { reader, decoder: Box::new(MultiGzDecoder::new(piece)) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Decompress<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            match this.decoder.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(malformed(&error))),
                Ok(count) => return Poll::Ready(Ok(count)),
            }
            let piece = this.decoder.get_mut();
            let count = ready!(Pin::new(&mut this.reader).poll_read(cx, &mut piece.bytes))?;
            (piece.at, piece.len, piece.ended) = (0, count, count == 0);
        }
    }
}

/// What the decoder says is about the bytes: it has no reader that could fail.
fn malformed(error: &io::Error) -> io::Error {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off".into(),
        _ => error.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, Error::malformed("gzip", reason))
}

/// What is there of the input. At its end a decoder is told to come again.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    at: usize,
    len: usize,
    ended: bool,
}

impl BufRead for Piece {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.at == self.len && !self.ended {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(&self.bytes[self.at..self.len]),
        }
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.len);
    }
}

impl Read for Piece {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}
