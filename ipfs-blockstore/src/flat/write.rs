//! Putting and deleting.

use std::{io, path::Path};

use ipfs_traits::{Block, Cid, Multihash, Result};

use super::{FlatError, FlatStore, Inner, Pending, Trust, commit, ignore};

/// How much waits for a commit.
pub(super) enum Backlog {
    Small,
    /// Enough for a commit of its own, which nobody has started yet.
    Growing,
    /// So much that whoever put it waits for the commit.
    Full,
}

/// From so much on, a commit runs in the background while more is put.
const GROWING_BYTES: u64 = 64 << 20;
const GROWING_BLOCKS: usize = 4096;

/// From so much on, putting waits: what a crash can lose, and the list of it in memory, stay
/// bounded.
const FULL_BYTES: u64 = 512 << 20;
const FULL_BLOCKS: usize = 32_768;

impl Inner {
    /// Writes the blocks that are not here yet into `.temp/`.
    pub(super) fn put_many(&self, blocks: &[Block]) -> Result<Backlog> {
        for block in blocks {
            self.put(block)?;
        }
        let mut state = self.state();
        let count = state.pending.len() + state.unsynced.len();
        let bytes = state.pending_bytes;
        if count >= FULL_BLOCKS || bytes >= FULL_BYTES {
            return Ok(Backlog::Full);
        }
        let growing = count >= GROWING_BLOCKS || bytes >= GROWING_BYTES;
        if growing && !state.commit_due {
            state.commit_due = true;
            return Ok(Backlog::Growing);
        }
        Ok(Backlog::Small)
    }

    fn put(&self, block: &Block) -> Result<()> {
        let (hash, len) = (block.hash(), block.len() as u64);
        let Some(temp) = self.reserve(hash)? else { return Ok(()) };
        if self.is_there(block) {
            return Ok(());
        }
        let path = self.temp_path(temp);
        self.files.create(&path, block.data()).map_err(|error| {
            // What was written of it would only take room.
            let _ = self.files.remove(&path);
            FlatError::of("write", &path)(error)
        })?;
        let mut state = self.state();
        state.changes += 1;
        state.pending_bytes += len;
        if let Some(other) = state.pending.insert(*hash, Pending { temp, len }) {
            // Somebody else has put the same block meanwhile: one file is enough.
            state.pending_bytes -= other.len;
            drop(state);
            self.remove_temp(other.temp)?;
        }
        Ok(())
    }

    /// Whether a file with the block's name holds it, so that nothing has to be written. One that an
    /// earlier owner of the folder has left torn does not.
    fn is_there(&self, block: &Block) -> bool {
        let file = self.place(block.hash()).1;
        if !self.files.len(&file).is_ok_and(|stored| stored == block.len() as u64) {
            return false;
        }
        if self.trust == Trust::Whole {
            return true;
        }
        let same = self.files.read(&file).is_ok_and(|stored| stored == block.data()[..]);
        if same && self.trust == Trust::Nothing {
            let mut state = self.state();
            state.changes += 1;
            state.unsynced.insert(file);
        }
        same
    }

    /// A number for a new file, unless the block is waiting already.
    fn reserve(&self, hash: &Multihash) -> Result<Option<u64>> {
        let mut state = self.state();
        state.check()?;
        if state.pending.contains_key(hash) {
            return Ok(None);
        }
        state.temp += 1;
        Ok(Some(state.temp))
    }

    fn remove_temp(&self, temp: u64) -> Result<()> {
        let path = self.temp_path(temp);
        remove_if_there(self, &path)
    }

    pub(super) fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        cids.iter().try_for_each(|cid| self.delete(cid.hash()))
    }

    /// Removes a block. The lock is held while its file goes, so that no commit gives it its name
    /// meanwhile.
    fn delete(&self, hash: &Multihash) -> Result<()> {
        let (directory, file) = self.place(hash);
        let mut state = self.state();
        state.check()?;
        if let Some(pending) = state.forget(hash) {
            state.changes += 1;
            self.remove_temp(pending.temp)?;
        }
        let len = self.files.len(&file);
        match self.files.remove(&file) {
            Ok(()) => {
                state.changes += 1;
                if let Ok(len) = len {
                    state.tally.removed(&directory, len);
                }
                state.changed.insert(self.root.join(directory));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FlatError::of("remove", &file)(error)),
        }
    }
}

fn remove_if_there(inner: &Inner, path: &Path) -> Result<()> {
    ignore(inner.files.remove(path), io::ErrorKind::NotFound).map_err(FlatError::of("remove", path))
}

impl FlatStore {
    /// Starts a commit that nobody waits for. An error of it is kept, and told to the next caller.
    pub(super) fn commit_in_background(&self) {
        let inner = self.0.clone();
        let commit = async move {
            if let Err(error) = commit::flush(&inner).await {
                tracing::warn!(%error, "a commit in the background failed");
            }
        };
        self.0.runtime.spawn(Box::pin(commit)).detach();
    }
}
