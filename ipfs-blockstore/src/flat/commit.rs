//! Making durable what was put and deleted: one commit for all who wait for it.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use ipfs_traits::{Error, Multihash, Result};

use super::{FlatError, Inner, Pending, ignore};

/// From so many files or directories on, one call that syncs the whole file system is faster than one for each.
/// For fewer, what other programs have written since the last sync would cost more.
const SYNC_ALL: usize = 16;

/// Returns when all that was put or deleted before is durable.
///
/// Whoever comes first commits; those who wait meanwhile are served by the next commit, together.
pub(super) async fn flush(inner: &Arc<Inner>) -> Result<()> {
    let wanted = inner.state().changes;
    let turn = inner.turn.lock().await;
    if inner.state().durable < wanted {
        inner.blocking(Inner::commit).await??;
    }
    drop(turn);
    inner.state().check()
}

/// What a commit makes durable.
struct Batch {
    blocks: Vec<(Multihash, u64)>,
    changed: BTreeSet<PathBuf>,
    unsynced: BTreeSet<PathBuf>,
    changes: u64,
}

impl Inner {
    fn commit(&self) -> Result<()> {
        // Whoever waited for the commit before may have gone, and left it running.
        let _running = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = self.begin()?;
        self.sync_contents(&batch).map_err(|error| self.fail(error))?;
        let named = self.give_names(&mut batch);
        if let Err(error) = named.and_then(|()| self.sync_names(&batch)) {
            // What was changed is not durable yet, and must be synced by the next commit.
            self.state().changed.append(&mut batch.changed);
            return Err(error);
        }
        let mut state = self.state();
        state.durable = state.durable.max(batch.changes);
        drop(state);
        self.checkpoint();
        Ok(())
    }

    fn begin(&self) -> Result<Batch> {
        let mut state = self.state();
        state.check()?;
        state.commit_due = false;
        let blocks = state.pending.iter().map(|(hash, pending)| (*hash, pending.temp));
        let mut blocks: Vec<(Multihash, u64)> = blocks.collect();
        // In the order in which they were put, the same in each run.
        blocks.sort_unstable_by_key(|(_, temp)| *temp);
        let changed = std::mem::take(&mut state.changed);
        let unsynced = std::mem::take(&mut state.unsynced);
        Ok(Batch { blocks, changed, unsynced, changes: state.changes })
    }

    /// From now on the store only reads: after a failed sync a later one may succeed without the
    /// data that the first one lost.
    fn fail(&self, error: Error) -> Error {
        self.state().failed.get_or_insert(error).clone()
    }

    /// Syncs the files that have no name yet.
    fn sync_contents(&self, batch: &Batch) -> Result<()> {
        let files = batch.blocks.len() + batch.unsynced.len();
        if files >= SYNC_ALL && self.sync_all()? {
            return Ok(());
        }
        let new = batch.blocks.iter().map(|(_, temp)| self.temp_path(*temp));
        for path in new.chain(batch.unsynced.iter().cloned()) {
            // One that is gone was deleted meanwhile.
            ignore(self.files.sync_file(&path), io::ErrorKind::NotFound)
                .map_err(FlatError::of("sync", &path))?;
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<bool> {
        self.files.sync_all().map_err(FlatError::of("sync", &self.root))
    }

    /// Gives the synced files their names. The lock is held for each, so that a reader finds a block
    /// in one of its two places, and a delete takes it from there.
    fn give_names(&self, batch: &mut Batch) -> Result<()> {
        for (hash, temp) in &batch.blocks {
            let (directory, file) = self.place(hash);
            self.make_directory(&directory, &mut batch.changed)?;
            let mut state = self.state();
            if state.pending.get(hash).is_none_or(|pending| pending.temp != *temp) {
                continue;
            }
            let (path, before) = (self.temp_path(*temp), self.files.len(&file).ok());
            self.files.rename(&path, &file).map_err(FlatError::of("name", &file))?;
            if let Some(Pending { len, .. }) = state.forget(hash) {
                state.tally.named(&directory, len, before);
            }
            batch.changed.insert(self.root.join(directory));
        }
        Ok(())
    }

    fn make_directory(&self, name: &str, changed: &mut BTreeSet<PathBuf>) -> Result<()> {
        if self.state().directories.contains(name) {
            return Ok(());
        }
        let path = self.root.join(name);
        match self.files.create_dir(&path) {
            Ok(()) => {
                changed.insert(self.root.clone());
                self.state().tally.directory_made(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(FlatError::of("make", &path)(error)),
        }
        self.state().directories.insert(name.to_owned());
        Ok(())
    }

    /// Syncs the directories whose names have changed: those that were only deleted from, too.
    fn sync_names(&self, batch: &Batch) -> Result<()> {
        let whole = batch.changed.len() >= SYNC_ALL;
        let synced = if whole && self.sync_all().map_err(|error| self.fail(error))? {
            Ok(())
        } else {
            batch.changed.iter().try_for_each(|path| self.sync_name(path))
        };
        synced.map_err(|error| self.fail(error))
    }

    fn sync_name(&self, path: &Path) -> Result<()> {
        // A directory that only a delete has named may never have been there.
        ignore(self.files.sync_dir(path), io::ErrorKind::NotFound)
            .map_err(FlatError::of("sync", path))
    }
}
