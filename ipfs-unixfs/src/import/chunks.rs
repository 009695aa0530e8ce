//! The pieces of a file, a batch at a time.

use std::sync::Arc;

use bytes::Bytes;
use ipfs_traits::{Error, Result, Runtime, RuntimeExt};

use super::{
    cut::Cutting,
    runs::{Memory, Run, Runs},
};
use crate::Chunker;

/// Bytes of a batch: sixteen leaves of the default size, as many as the widest hash lanes take at
/// once. An import holds about three batches.
const BATCH_BYTES: usize = 16 << 20;

/// Leaves of a batch, where they are small.
const BATCH_LEAVES: usize = 1024;

/// Some pieces that follow on each other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) pieces: Vec<Bytes>,
    /// Where in the file they begin, in bytes.
    pub(super) offset: u64,
    memory: Option<Memory>,
}

impl Batch {
    /// Gives the memory back.
    pub(super) fn done(self) {
        drop(self.pieces);
        if let Some(memory) = self.memory {
            memory.done();
        }
    }
}

/// A file that is read and cut.
pub(super) struct Chunks<R> {
    runs: R,
    run: Run,
    /// Where in the file what is left of the run begins.
    offset: u64,
    /// Lent out while it is at work.
    cutting: Option<Cutting>,
    /// Bytes of a run: a number of whole pieces where all are of one size.
    want: usize,
    runtime: Arc<dyn Runtime>,
}

impl<R: Runs> Chunks<R> {
    pub(super) fn new(runs: R, chunker: &Chunker, runtime: Arc<dyn Runtime>) -> Self {
        let cutting = Cutting::new(chunker);
        let most = cutting.max_size();
        let want = (BATCH_BYTES / most).clamp(1, BATCH_LEAVES) * most;
        Self { runs, run: Run::default(), offset: 0, cutting: Some(cutting), want, runtime }
    }

    /// The next pieces in their order, none at the end. A first batch of one piece is the whole
    /// file.
    pub(super) async fn next(&mut self) -> Result<Batch> {
        let mut cutting = self.cutting.take().ok_or(Error::Closed("the file"))?;
        if !self.run.end && self.run.bytes.len() < cutting.max_size() {
            let left = std::mem::take(&mut self.run.bytes);
            self.run = self.runs.next(left, self.want).await?;
        }
        let (looks, most, want) = (cutting.looks(), cutting.max_size(), self.want);
        let (mut left, end) = (self.run.bytes.clone(), self.run.end);
        let cut = move || {
            let pieces = cutting.cut(&mut left, end, BATCH_LEAVES, want)?;
            Ok::<_, Error>((pieces, left, cutting))
        };
        let (pieces, left, cutting) = match looks {
            true => self.runtime.blocking(cut).await??,
            false => cut()?,
        };
        let offset = self.offset;
        self.offset += (self.run.bytes.len() - left.len()) as u64;
        // The last batch of a run gives its memory back.
        let memory = match left.len() < if end { 1 } else { most } {
            true => self.run.memory.take(),
            false => self.run.memory.clone(),
        };
        (self.run.bytes, self.cutting) = (left, Some(cutting));
        Ok(Batch { pieces, offset, memory })
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::VirtualRuntime;

    use super::{super::runs::FromFile, *};

    /// An import of 2 GiB reached 200 MB, because each batch was taken from the allocator anew.
    #[test]
    fn a_batch_is_read_into_the_memory_of_one_that_is_done() {
        const MIB: usize = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..56_u32 << 18).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let (runtime, chunker) = (VirtualRuntime::new(), Chunker::fixed(MIB).unwrap());
        let host = Arc::new(runtime.clone());
        let mut file = Chunks::new(FromFile::new(path, host.clone()), &chunker, host);
        let mut next = || runtime.block_on(file.next()).unwrap().unwrap();
        let (first, second) = (next(), next());
        let place = first.pieces[0].as_ptr();
        assert!(first.pieces.concat() == content[..16 * MIB]);
        first.done();
        let third = next();
        assert_eq!(third.pieces[0].as_ptr(), place, "the memory is used again");
        assert!(second.pieces.concat() == content[16 * MIB..32 * MIB], "and no other");
        assert_eq!(third.offset, 32 << 20);
        let kept = third.pieces[3].clone();
        third.done();
        second.done();
        assert!(next().pieces.concat() == content[48 * MIB..]);
        assert!(kept == content[35 * MIB..36 * MIB], "what a store keeps is not written over");
    }
}
