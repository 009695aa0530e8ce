//! One file, read from any place.

use std::{
    fmt,
    io::{self, SeekFrom},
    ops::{Bound, RangeBounds},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_io::{AsyncRead, AsyncSeek};
use futures_util::StreamExt;
use ipfs_traits::{BlockSource, Error, Result};

use super::content::{self, Contents, data};
use crate::{
    FileNode,
    ahead::{Ahead, WINDOW},
    data::Mtime,
};

/// What is read ahead at first: a reader that seeks about should not fetch what it passes by. It
/// doubles with every read-ahead that was used up.
const FIRST_WINDOW: usize = 1 << 20;

/// What is read ahead of a reader that never does anything but seek: about one leaf. Each time that
/// it goes to where nothing was read ahead halves what is read ahead next, down to this.
const LEAST_WINDOW: usize = 256 << 10;

/// A file for reading, from any place, ahead of its reader.
///
/// It implements `AsyncRead` and `AsyncSeek` of `futures-io`; [`range`](Self::range) reads a part
/// of it as a stream and touches no leaf outside. Errors of the blocks come as `std::io::Error`s
/// whose inner error is an [`Error`].
///
/// Between 256 KiB and 16 MiB are read ahead, the more the longer a reader goes on without seeking,
/// and at most 128 blocks are on their way. Seeking keeps what is read ahead if the new place lies
/// within it, or in the bytes that were given last. Dropping the file, or a stream of
/// [`range`](Self::range), gives up what was asked for.
pub struct File {
    source: Arc<dyn BlockSource>,
    root: FileNode,
    /// Where errors say that they were met.
    path: Option<Arc<str>>,
    position: u64,
    /// What was taken from the reader ahead last, and where it begins.
    run: Bytes,
    run_at: u64,
    ahead: Option<Ahead<Contents>>,
    window: usize,
    used: usize,
}

impl File {
    pub(super) fn new(source: Arc<dyn BlockSource>, root: FileNode) -> Self {
        let (run, run_at, window) = (Bytes::new(), 0, FIRST_WINDOW);
        Self { source, root, path: None, position: 0, run, run_at, ahead: None, window, used: 0 }
    }

    /// Errors of its blocks will say that they were met at this path ([`Error::At`]).
    #[must_use]
    pub fn at(mut self, path: impl Into<Arc<str>>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Permissions and other bits of the mode, where they are kept.
    pub const fn mode(&self) -> Option<u32> {
        self.root.mode()
    }

    /// When it was changed, where that is kept.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.root.mtime()
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
        let path = self.path.clone();
        content::file(self.source.clone(), self.root.clone(), range, WINDOW)
            .map(move |item| data(item).map_err(|error| blame(&path, error)))
            .boxed()
    }

    /// The bytes from the position on that are in hand, none at the end of the file.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8]>> {
        while self.in_hand().is_none() && self.position < self.size() {
            self.follow_position();
            let (position, size) = (self.position, self.size());
            let ahead = self.ahead.get_or_insert_with(|| {
                self.run_at = position;
                self.run = Bytes::new();
                let (source, root) = (self.source.clone(), self.root.clone());
                content::file(source, root, position..size, self.window)
            });
            match ready!(ahead.poll_next_unpin(cx)).map(data) {
                Some(Ok(run)) => {
                    self.run_at += self.run.len() as u64;
                    self.run = run;
                }
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
        Poll::Ready(Ok(self.in_hand().map_or(&[], |at| &self.run[at..])))
    }

    /// Where in what was taken last the position is, if there is something there.
    fn in_hand(&self) -> Option<usize> {
        let at = usize::try_from(self.position.checked_sub(self.run_at)?).ok()?;
        (at < self.run.len()).then_some(at)
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

    /// Gives up what is read ahead if the position is not near it.
    fn follow_position(&mut self) {
        // What is read ahead begins behind what was taken last.
        let behind = self.position.checked_sub(self.run_at + self.run.len() as u64);
        let near = behind.is_some_and(|behind| behind < self.window as u64);
        if !near && self.ahead.take().is_some() {
            self.window = (self.window / 2).max(LEAST_WINDOW);
            self.used = 0;
        }
    }
}

fn blame(path: &Option<Arc<str>>, error: Error) -> Error {
    match path {
        Some(path) => error.at(&**path),
        None => error,
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
        let count = match ready!(self.poll_run(cx)) {
            Ok(run) => {
                let count = run.len().min(buf.len());
                buf[..count].copy_from_slice(&run[..count]);
                count
            }
            Err(error) => return Poll::Ready(Err(io_error(blame(&self.path, error)))),
        };
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
    /// Seeking beyond the end is allowed, and reads nothing there. Nothing happens before the next
    /// read.
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
        self.position = position;
        Poll::Ready(Ok(position))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, position) = (self.size(), self.position);
        f.debug_struct("File").field("size", &size).field("position", &position).finish()
    }
}
