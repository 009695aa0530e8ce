//! Two ends of a stream in memory, with a bounded buffer each way.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};

/// Bytes that are written and not read yet, each way: the first window of Yamux.
const CAPACITY: usize = 256 << 10;

/// One end. Dropped before it is closed, it resets the other.
#[derive(Debug)]
pub(super) struct End {
    incoming: Arc<Mutex<Half>>,
    outgoing: Arc<Mutex<Half>>,
    /// Lives as long as the end does.
    _permit: Option<super::network::Permit>,
}

/// What flows one way.
#[derive(Debug, Default)]
struct Half {
    buffer: BytesMut,
    closed: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both ends of a new stream; `permit` goes with the second.
pub(super) fn pipe(permit: super::network::Permit) -> (End, End) {
    let (a, b) = (Arc::<Mutex<Half>>::default(), Arc::<Mutex<Half>>::default());
    let first = End { incoming: a.clone(), outgoing: b.clone(), _permit: None };
    (first, End { incoming: b, outgoing: a, _permit: Some(permit) })
}

/// A handle that resets a stream from outside, when its connection is lost.
#[derive(Debug)]
pub(super) struct Cutter([std::sync::Weak<Mutex<Half>>; 2]);

impl Cutter {
    pub(super) fn cut(&self) {
        for half in self.0.iter().filter_map(std::sync::Weak::upgrade) {
            lock(&half).reset();
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.0.iter().all(|half| half.strong_count() == 0)
    }
}

impl End {
    pub(super) fn cutter(&self) -> Cutter {
        Cutter([Arc::downgrade(&self.incoming), Arc::downgrade(&self.outgoing)])
    }
}

fn lock(half: &Mutex<Half>) -> MutexGuard<'_, Half> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Half {
    fn reset(&mut self) {
        self.reset = true;
        self.buffer.clear();
        self.wake();
    }

    fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

fn was_reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = lock(&self.incoming);
        if half.reset {
            return Poll::Ready(Err(was_reset()));
        }
        if half.buffer.is_empty() && !half.closed {
            half.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = half.buffer.len().min(buf.len());
        half.buffer.copy_to_slice(&mut buf[..count]);
        if let Some(writer) = half.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = lock(&self.outgoing);
        if half.reset {
            return Poll::Ready(Err(was_reset()));
        }
        if half.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY - half.buffer.len();
        if room == 0 && !buf.is_empty() {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(buf.len());
        half.buffer.extend_from_slice(&buf[..count]);
        if let Some(reader) = half.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match lock(&self.outgoing).reset {
            true => Poll::Ready(Err(was_reset())),
            false => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = lock(&self.outgoing);
        if half.reset {
            return Poll::Ready(Err(was_reset()));
        }
        half.closed = true;
        half.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut outgoing = lock(&self.outgoing);
        if !outgoing.closed {
            outgoing.reset();
        }
        drop(outgoing);
        let mut incoming = lock(&self.incoming);
        if !incoming.closed || !incoming.buffer.is_empty() {
            // Nobody will read any more: the other side may stop writing.
            incoming.reset();
        }
    }
}
