//! Where the pieces of a file come from, a batch at a time.

use std::{fs::File, io::Read, path::PathBuf, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_io::AsyncRead;
use futures_util::AsyncReadExt;
use ipfs_traits::{Result, Runtime, RuntimeExt};

use super::FileError;
use crate::Chunker;

/// Bytes of a batch: sixteen leaves of the default size, as many as the widest hash lanes take at
/// once. An import holds about three batches.
const BATCH_BYTES: usize = 16 << 20;

/// Leaves of a batch, where they are small.
const BATCH_LEAVES: usize = 1024;

/// How many pieces make a batch.
fn batch(chunker: Chunker) -> usize {
    (BATCH_BYTES / chunker.max_size()).clamp(1, BATCH_LEAVES)
}

/// Content that is cut into pieces.
#[async_trait]
pub(super) trait Chunks: Send {
    /// The next pieces in their order, none at the end.
    async fn next(&mut self, chunker: Chunker) -> Result<Vec<Bytes>>;
}

/// Cuts a run of bytes that is not longer than a batch, sharing its memory.
fn cut(mut run: Bytes, chunker: Chunker) -> Vec<Bytes> {
    let size = chunker.max_size();
    let mut pieces = Vec::with_capacity(run.len().div_ceil(size));
    while !run.is_empty() {
        pieces.push(run.split_to(size.min(run.len())));
    }
    pieces
}

/// Bytes in memory: their pieces share it.
pub(super) struct FromBytes(Bytes);

impl FromBytes {
    pub(super) const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

#[async_trait]
impl Chunks for FromBytes {
    async fn next(&mut self, chunker: Chunker) -> Result<Vec<Bytes>> {
        let len = (batch(chunker) * chunker.max_size()).min(self.0.len());
        Ok(cut(self.0.split_to(len), chunker))
    }
}

/// A stream of bytes.
pub(super) struct FromReader(Pin<Box<dyn AsyncRead + Send>>);

impl FromReader {
    pub(super) fn new(reader: Pin<Box<dyn AsyncRead + Send>>) -> Self {
        Self(reader)
    }
}

/// What a stream is asked for at once: few bytes come at a time from most.
const READ: usize = 256 << 10;

#[async_trait]
impl Chunks for FromReader {
    async fn next(&mut self, chunker: Chunker) -> Result<Vec<Bytes>> {
        let want = batch(chunker) * chunker.max_size();
        // It grows with what arrives: a slow or short stream holds little.
        let mut run = BytesMut::new();
        while run.len() < want {
            let start = run.len();
            run.resize(start + READ.min(want - start), 0);
            let read = self.0.read(&mut run[start..]).await.map_err(FileError::Stream)?;
            run.truncate(start + read);
            if read == 0 {
                break;
            }
        }
        Ok(cut(run.freeze(), chunker))
    }
}

/// A file on disk, read where blocking work goes.
pub(super) struct FromFile {
    path: Arc<PathBuf>,
    file: Option<File>,
    runtime: Arc<dyn Runtime>,
}

impl FromFile {
    pub(super) fn new(path: PathBuf, runtime: Arc<dyn Runtime>) -> Self {
        Self { path: Arc::new(path), file: None, runtime }
    }
}

#[async_trait]
impl Chunks for FromFile {
    async fn next(&mut self, chunker: Chunker) -> Result<Vec<Bytes>> {
        let (path, file) = (self.path.clone(), self.file.take());
        let read = self.runtime.blocking(move || -> Result<(File, Vec<Bytes>)> {
            let open = || File::open(&*path).map_err(FileError::read(&path));
            let mut file = file.map_or_else(open, Ok)?;
            let want = batch(chunker) * chunker.max_size();
            let left = file.metadata().map_or(0, |metadata| metadata.len());
            // One byte more than is left, so that the end is seen without growing.
            let room = usize::try_from(left).unwrap_or(want).saturating_add(1).min(want);
            let mut run = Vec::with_capacity(room);
            let mut limited = (&mut file).take(want as u64);
            limited.read_to_end(&mut run).map_err(FileError::read(&path))?;
            Ok((file, cut(run.into(), chunker)))
        });
        let (file, pieces) = read.await??;
        self.file = Some(file);
        Ok(pieces)
    }
}
