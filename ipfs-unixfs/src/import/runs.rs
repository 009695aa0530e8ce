//! Where the bytes of a file come from, a run at a time.

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

/// Content that is read from its beginning to its end.
#[async_trait]
pub(super) trait Runs: Send {
    /// What was left of the last run, and behind it new bytes, up to `want` in all. A run that is
    /// shorter is the last.
    async fn next(&mut self, left: Bytes, want: usize) -> Result<Run>;
}

/// Bytes of a file that follow on each other.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) bytes: Bytes,
    /// Whether nothing comes behind them.
    pub(super) end: bool,
    pub(super) memory: Option<Memory>,
}

/// The whole memory of a run, which can be used again once all that shares it is dropped. Without it
/// each run would be taken from the allocator anew, and what allocators keep for their threads is
/// several times what an import holds.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    whole: Bytes,
    spares: Spares,
}

type Spares = Arc<Mutex<Vec<BytesMut>>>;

impl Memory {
    /// Gives it back.
    pub(super) fn done(self) {
        if let Ok(whole) = self.whole.try_into_mut() {
            self.spares.lock().unwrap_or_else(PoisonError::into_inner).push(whole);
        }
    }
}

/// Bytes in memory, one run that is shared.
pub(super) struct FromBytes(pub(super) Bytes);

#[async_trait]
impl Runs for FromBytes {
    async fn next(&mut self, _: Bytes, _: usize) -> Result<Run> {
        Ok(Run { bytes: std::mem::take(&mut self.0), end: true, memory: None })
    }
}

/// A stream of bytes.
pub(super) struct FromReader(pub(super) Pin<Box<dyn AsyncRead + Send>>);

/// What a stream is asked for at once: few bytes come at a time from most.
const READ: usize = 256 << 10;

#[async_trait]
impl Runs for FromReader {
    async fn next(&mut self, left: Bytes, want: usize) -> Result<Run> {
        // It grows with what arrives: a slow or short stream holds little.
        let mut run = BytesMut::from(left);
        while run.len() < want {
            let start = run.len();
            run.resize(start + READ.min(want - start), 0);
            let read = self.0.read(&mut run[start..]).await.map_err(FileError::stream)?;
            run.truncate(start + read);
            if read == 0 {
                break;
            }
        }
        Ok(Run { end: run.len() < want, bytes: run.freeze(), memory: None })
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
impl Runs for FromFile {
    async fn next(&mut self, left: Bytes, want: usize) -> Result<Run> {
        let (path, file, spares) = (self.path.clone(), self.file.take(), self.spares.clone());
        let read = self.runtime.blocking(move || -> Result<(File, Run)> {
            let failed = || FileError::read(&path);
            let mut file = match file {
                Some(file) => file,
                None => File::open(&*path).map_err(failed())?,
            };
            // What is no regular file has no place and no length: it is read to its end.
            let at = file.stream_position().unwrap_or(0);
            let ahead = file.metadata().map_or(0, |about| about.len().saturating_sub(at));
            let run = match left.len() as u64 + ahead >= want as u64 {
                true => whole(&mut file, &left, want, spares),
                false => rest(&mut file, &left, want, ahead as usize),
            };
            Ok((file, run.map_err(failed())?))
        });
        let (file, run) = read.await??;
        self.file = Some(file);
        Ok(run)
    }
}

/// A whole run of a large file, into memory that was used before.
fn whole(file: &mut File, left: &[u8], want: usize, spares: Spares) -> io::Result<Run> {
    let spare = spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut run = spare.unwrap_or_else(|| BytesMut::zeroed(want));
    run[..left.len()].copy_from_slice(left);
    let mut filled = left.len();
    // It may have become shorter meanwhile.
    while filled < want {
        match file.read(&mut run[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = run.freeze();
    let bytes = whole.slice(..filled);
    Ok(Run { bytes, end: filled < want, memory: Some(Memory { whole, spares }) })
}

/// The rest of a file that has about `ahead` bytes more, up to a run.
fn rest(file: &mut File, left: &[u8], want: usize, ahead: usize) -> io::Result<Run> {
    // One byte more than is ahead, so that the end is seen without growing.
    let mut run = Vec::with_capacity(left.len() + ahead + 1);
    run.extend_from_slice(left);
    file.take((want - left.len()) as u64).read_to_end(&mut run)?;
    Ok(Run { end: run.len() < want, bytes: run.into(), memory: None })
}
