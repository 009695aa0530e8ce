//! An archive as a tree to import.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_io::AsyncRead;
use futures_util::StreamExt;
use ipfs_traits::Result;

use super::{Entry, Kind, Part, Reader};
use crate::{NewContent, NewEntry};

/// The entries of an archive. Files are read from it in their turn: what is left of one is passed
/// over when the next entry is asked for.
pub(crate) struct Entries(Arc<Mutex<Reader>>);

impl Entries {
    pub(crate) fn new(reader: Reader) -> Self {
        Self(Arc::new(Mutex::new(reader)))
    }
}

impl Stream for Entries {
    type Item = Result<NewEntry>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut reader = lock(&self.0);
        loop {
            return Poll::Ready(match ready!(reader.poll_next_unpin(cx)) {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(Part::Entry(entry))) => Some(Ok(self.entry(entry))),
                Some(Ok(Part::Data(_) | Part::End)) => continue,
            });
        }
    }
}

impl Entries {
    fn entry(&self, entry: Entry) -> NewEntry {
        let Entry { path, kind, mode, mtime } = entry;
        let content = match kind {
            Kind::Directory => NewContent::Directory,
            Kind::Symlink { target } => NewContent::Symlink(target),
            Kind::File { .. } => {
                let content = Content { reader: self.0.clone(), run: Bytes::new(), ended: false };
                NewContent::Reader(Box::pin(content))
            }
        };
        NewEntry { mode: Some(mode), mtime, ..NewEntry::new(path, content) }
    }
}

/// The bytes of one file. Nobody else reads from the archive until its end is reached.
struct Content {
    reader: Arc<Mutex<Reader>>,
    run: Bytes,
    ended: bool,
}

impl AsyncRead for Content {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.run.is_empty() && !self.ended {
            let part = ready!(lock(&self.reader).poll_next_unpin(cx)).transpose();
            match part.map_err(io::Error::other)? {
                Some(Part::Data(run)) => self.run = run,
                _ => self.ended = true,
            }
        }
        let count = self.run.len().min(buf.len());
        self.run.copy_to_slice(&mut buf[..count]);
        Poll::Ready(Ok(count))
    }
}

/// It is held only while one of them is polled, and only one of them is at a time.
fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}
