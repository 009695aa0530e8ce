//! Where the pieces of a file come from, a batch at a time.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

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
    async fn next(&mut self, chunker: Chunker) -> Result<Batch>;
}

/// Some pieces, and the memory that they share.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Bytes>,
    /// The whole of it, where it can be used again.
    memory: Option<(Bytes, Spares)>,
}

/// Memory of batches that are done. Without it each batch would be taken from the allocator anew,
/// and what allocators keep for their threads is several times what an import holds.
type Spares = Arc<Mutex<Vec<BytesMut>>>;

impl Batch {
    const fn new(pieces: Vec<Bytes>) -> Self {
        Self { pieces, memory: None }
    }

    /// Gives the memory back, once all that shared it is dropped.
    pub(super) fn done(self) {
        drop(self.pieces);
        if let Some((memory, spares)) = self.memory
            && let Ok(memory) = memory.try_into_mut()
        {
            spares.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        }
    }
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
    async fn next(&mut self, chunker: Chunker) -> Result<Batch> {
        let len = (batch(chunker) * chunker.max_size()).min(self.0.len());
        Ok(Batch::new(cut(self.0.split_to(len), chunker)))
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
    async fn next(&mut self, chunker: Chunker) -> Result<Batch> {
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
        Ok(Batch::new(cut(run.freeze(), chunker)))
    }
}

/// A file on disk, read where blocking work goes.
pub(super) struct FromFile {
    path: Arc<PathBuf>,
    file: Option<File>,
    runtime: Arc<dyn Runtime>,
    spares: Spares,
}

impl FromFile {
    pub(super) fn new(path: PathBuf, runtime: Arc<dyn Runtime>) -> Self {
        Self { path: Arc::new(path), file: None, runtime, spares: Spares::default() }
    }
}

#[async_trait]
impl Chunks for FromFile {
    async fn next(&mut self, chunker: Chunker) -> Result<Batch> {
        let (path, file, spares) = (self.path.clone(), self.file.take(), self.spares.clone());
        let read = self.runtime.blocking(move || -> Result<(File, Batch)> {
            let failed = || FileError::read(&path);
            let mut file = match file {
                Some(file) => file,
                None => File::open(&*path).map_err(failed())?,
            };
            let want = batch(chunker) * chunker.max_size();
            let at = file.stream_position().map_err(failed())?;
            let left = file.metadata().map_or(0, |about| about.len().saturating_sub(at));
            let batch = if left >= want as u64 {
                whole(&mut file, want, spares, chunker)
            } else {
                rest(&mut file, want, left, chunker)
            };
            Ok((file, batch.map_err(failed())?))
        });
        let (file, batch) = read.await??;
        self.file = Some(file);
        Ok(batch)
    }
}

/// A whole batch of a large file, into memory that was used before.
fn whole(file: &mut File, want: usize, spares: Spares, chunker: Chunker) -> io::Result<Batch> {
    let spare = spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut run = spare.unwrap_or_else(|| BytesMut::zeroed(want));
    let mut filled = 0;
    // It may have become shorter meanwhile.
    while filled < want {
        match file.read(&mut run[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let run = run.freeze();
    let pieces = cut(run.slice(..filled), chunker);
    Ok(Batch { pieces, memory: Some((run, spares)) })
}

/// The rest of a file that has about `left` bytes more, up to a batch.
fn rest(file: &mut File, want: usize, left: u64, chunker: Chunker) -> io::Result<Batch> {
    // One byte more than is left, so that the end is seen without growing.
    let room = usize::try_from(left).unwrap_or(want).saturating_add(1).min(want);
    let mut run = Vec::with_capacity(room);
    file.take(want as u64).read_to_end(&mut run)?;
    Ok(Batch::new(cut(run.into(), chunker)))
}

#[cfg(test)]
mod tests {
    use ipfs_traits::VirtualRuntime;

    use super::*;

    /// An import of 2 GiB reached 200 MB, because each batch was taken from the allocator anew.
    #[test]
    fn a_batch_is_read_into_the_memory_of_one_that_is_done() {
        const MIB: usize = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..56_u32 << 18).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let (runtime, chunker) = (VirtualRuntime::new(), Chunker::fixed(MIB).unwrap());
        let mut file = FromFile::new(path, Arc::new(runtime.clone()));
        let mut next = || runtime.block_on(file.next(chunker)).unwrap().unwrap();
        let (first, second) = (next(), next());
        let place = first.pieces[0].as_ptr();
        assert!(first.pieces.concat() == content[..16 * MIB]);
        first.done();
        let third = next();
        assert_eq!(third.pieces[0].as_ptr(), place, "the memory is used again");
        assert!(second.pieces.concat() == content[16 * MIB..32 * MIB], "and no other");
        let kept = third.pieces[3].clone();
        third.done();
        second.done();
        assert!(next().pieces.concat() == content[48 * MIB..]);
        assert!(kept == content[35 * MIB..36 * MIB], "what a store keeps is not written over");
    }
}
