//! One file, read from any place.

use std::{
    fmt,
    io::{self, SeekFrom},
    ops::{Bound, RangeBounds},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_core::stream::BoxStream;
use futures_io::{AsyncRead, AsyncSeek};
use futures_util::StreamExt;
use ipfs_traits::{BlockSource, Error, Result};

use super::content::{self, Contents, data};
use crate::{
    FileNode,
    ahead::{Ahead, WINDOW},
};

/// What is read ahead at first: a reader that seeks about should not fetch what it passes by. It
/// doubles with every read-ahead that was used up.
const FIRST_WINDOW: usize = 1 << 20;

/// A file for reading, from any place, ahead of its reader.
///
/// It implements `AsyncRead` and `AsyncSeek` of `futures-io`; [`range`](Self::range) reads a part
/// of it as a stream and touches no leaf outside. Errors of the blocks come as `std::io::Error`s
/// whose inner error is an [`Error`].
pub struct File {
    source: Arc<dyn BlockSource>,
    root: FileNode,
    position: u64,
    /// What was taken from the reader ahead and not given yet.
    run: Bytes,
    ahead: Option<Ahead<Contents>>,
    window: usize,
    used: usize,
}

impl File {
    pub(super) fn new(source: Arc<dyn BlockSource>, root: FileNode) -> Self {
        let (run, window) = (Bytes::new(), FIRST_WINDOW);
        Self { source, root, position: 0, run, ahead: None, window, used: 0 }
    }

    /// How many bytes it has.
    pub const fn size(&self) -> u64 {
        self.root.size()
    }

    /// A part of the file as a stream of runs of bytes. Ends beyond the file are cut.
    ///
    /// Blocks that hold nothing of the range are not fetched.
    pub fn range(&self, range: impl RangeBounds<u64>) -> BoxStream<'static, Result<Bytes>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let end = end.min(self.size());
        let range = start.min(end)..end;
        content::file(self.source.clone(), self.root.clone(), range, WINDOW).map(data).boxed()
    }

    /// The next bytes, none at the end.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Bytes>> {
        while self.run.is_empty() && self.position < self.size() {
            let ahead = self.ahead.get_or_insert_with(|| {
                let range = self.position..self.root.size();
                content::file(self.source.clone(), self.root.clone(), range, self.window)
            });
            match ready!(ahead.poll_next_unpin(cx)).map(data) {
                Some(Ok(run)) => self.run = run,
                Some(Err(error)) => {
                    self.ahead = None;
                    return Poll::Ready(Err(error));
                }
                None => {
                    let what = "it has fewer bytes than it says";
                    return Poll::Ready(Err(Error::malformed("UnixFS file", what)));
                }
            }
        }
        Poll::Ready(Ok(&mut self.run))
    }

    /// Counts what was read, and reads further ahead when it was much.
    fn advance(&mut self, count: usize) {
        self.position += count as u64;
        self.used += count;
        if self.used >= self.window && self.window < WINDOW {
            self.window = (self.window * 2).min(WINDOW);
            self.used = 0;
            if let Some(ahead) = &mut self.ahead {
                ahead.widen(self.window);
            }
        }
    }

    fn seek_to(&mut self, position: u64) {
        let skipped = position.checked_sub(self.position).and_then(|n| usize::try_from(n).ok());
        match skipped {
            // What is in hand can be passed over; nothing else is worth keeping.
            Some(count) if count <= self.run.len() => self.run.advance(count),
            _ => {
                self.run = Bytes::new();
                self.ahead = None;
                self.window = FIRST_WINDOW;
                self.used = 0;
            }
        }
        self.position = position;
    }
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let run = ready!(self.poll_run(cx)).map_err(io_error)?;
        let count = run.len().min(buf.len());
        run.copy_to_slice(&mut buf[..count]);
        self.advance(count);
        Poll::Ready(Ok(count))
    }
}

/// An error of blocks as the nearest of `std::io`, which keeps it inside.
fn io_error(error: Error) -> io::Error {
    let kind = match error.what() {
        Error::NotFound(_) => io::ErrorKind::NotFound,
        Error::Malformed { .. } | Error::Corrupt(_) | Error::Limit { .. } => {
            io::ErrorKind::InvalidData
        }
        Error::TimedOut(_) => io::ErrorKind::TimedOut,
        Error::Unsupported(_) => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl AsyncSeek for File {
    /// Seeking beyond the end is allowed, and reads nothing there.
    fn poll_seek(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size().checked_add_signed(by),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "seek before the beginning");
        let position = position.ok_or_else(outside)?;
        self.seek_to(position);
        Poll::Ready(Ok(position))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, position) = (self.size(), self.position);
        f.debug_struct("File").field("size", &size).field("position", &position).finish()
    }
}
