//! Where each block lies: a table in memory of what is new, and files in order of what is older.
//!
//! A log-structured merge tree. Changes go to a table in memory; when it has grown it is frozen and
//! written as a *run*, a file of keys in order that never changes. Runs are merged so that each is
//! larger than all newer ones together: a look-up asks a handful, and a filter in memory answers for
//! most. Nothing here is the truth: the segments are, and the index can be made from them again. So
//! no change waits for a sync of it.

mod filter;
mod hasher;
mod manifest;
mod merge;
mod run;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ipfs_traits::{Multihash, work::giving_way};

pub(super) use self::manifest::{Checkpoint, Content};
use self::{
    filter::fingerprint,
    manifest::Manifest,
    merge::{Merged, Source},
    run::{Entry, LastPages, Run},
    table::Table,
    writer::Writer,
};
use super::{error::PackError, place::Place};
use crate::files::Files;

/// A run is merged with those newer than it unless it is so many times larger than they are
/// together. With 2 there are some eight runs at ten million keys, and each key is written some
/// seven times.
const RATIO: u64 = 2;

/// The index of a store.
#[derive(Debug)]
pub(super) struct Index {
    files: Arc<dyn Files>,
    folder: PathBuf,
    state: RwLock<State>,
    /// Held by whoever writes files here, one at a time.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// What waits to be written, the newest first, and how far each reaches.
    frozen: Vec<(Arc<Table>, Checkpoint)>,
    /// The newest first.
    runs: Vec<Arc<Run>>,
    checkpoint: Checkpoint,
    next_run: u32,
    /// A file was found to be damaged: all is to be made anew when the store is opened again.
    damaged: bool,
}

impl Index {
    /// The index in `folder`, with nothing in it: it counts as damaged until a first table is
    /// written.
    pub(super) fn create(files: Arc<dyn Files>, folder: PathBuf) -> Result<Self, PackError> {
        let checkpoint = Checkpoint::UNFINISHED;
        let manifest = Manifest { checkpoint, next_run: 1, runs: Vec::new() };
        manifest.write(&*files, &folder)?;
        Self::of(files, folder, manifest)
    }

    /// Opens the index in `folder`; `None` where there is none.
    ///
    /// [`PackError::Damaged`] when it cannot be used and has to be made anew.
    pub(super) fn open(files: Arc<dyn Files>, folder: PathBuf) -> Result<Option<Self>, PackError> {
        match Manifest::read(&*files, &folder)? {
            Some(manifest) if manifest.checkpoint.is_unfinished() => Ok(None),
            Some(manifest) => Self::of(files, folder, manifest).map(Some),
            None => Ok(None),
        }
    }

    fn of(files: Arc<dyn Files>, folder: PathBuf, manifest: Manifest) -> Result<Self, PackError> {
        let Manifest { checkpoint, next_run, runs } = manifest;
        let open = |number: &u32| {
            Run::open(&*files, &run_path(&folder, *number), *number).map(Arc::new).map_err(
                |error| match error {
                    PackError::Io { path, source, .. }
                        if source.kind() == std::io::ErrorKind::NotFound =>
                    {
                        PackError::Damaged { path }
                    }
                    other => other,
                },
            )
        };
        remove_strangers(&*files, &folder, &runs)?;
        let runs = runs.iter().map(open).collect::<Result<_, _>>()?;
        let (table, frozen) = (Table::default(), Vec::new());
        let state =
            RwLock::new(State { table, frozen, runs, checkpoint, next_run, damaged: false });
        Ok(Self { files, folder, state, writing: Mutex::new(()) })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the files of the index reach.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.read().checkpoint.clone()
    }

    /// Keys in memory that are not frozen.
    pub(super) fn table_len(&self) -> usize {
        self.read().table.len()
    }

    /// Tables that wait to be written.
    pub(super) fn frozen(&self) -> usize {
        self.read().frozen.len()
    }

    /// Remembers, on disk too, if what was read was damaged: then a later opening makes the index
    /// anew.
    pub(super) fn note_damage<T>(&self, result: Result<T, PackError>) -> Result<T, PackError> {
        if let Err(PackError::Damaged { path }) = &result {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::replace(&mut self.write().damaged, true) {
                let path = path.display();
                tracing::warn!(%path, "the index is damaged; it is made anew at the next opening");
                let manifest = self.read().manifest();
                manifest.write(&*self.files, &self.folder)?;
            }
        }
        result
    }

    /// Where these blocks lie, in the order asked.
    pub(super) fn get_many(&self, keys: &[Multihash]) -> Result<Vec<Option<Place>>, PackError> {
        self.note_damage(self.look_up(keys))
    }

    fn look_up(&self, keys: &[Multihash]) -> Result<Vec<Option<Place>>, PackError> {
        let (mut found, runs) = {
            let state = self.read();
            let found: Vec<_> = keys.iter().map(|key| state.recent(key)).collect();
            (found, state.runs.clone())
        };
        let missing = (0..keys.len()).filter(|&i| found[i].is_none());
        let mut missing: Vec<(usize, u64)> = missing.map(|i| (i, fingerprint(&keys[i]))).collect();
        let mut last = LastPages::default();
        for run in &runs {
            let may_hold = missing.iter().filter(|(_, print)| run.may_hold(*print));
            let mut asked: Vec<usize> = may_hold.map(|(i, _)| *i).collect();
            // In the order in which they lie, so that neighbours share a page.
            asked.sort_unstable_by(|a, b| keys[*a].cmp(&keys[*b]));
            for &i in &asked {
                found[i] = run.get(&keys[i], &mut last)?;
            }
            if !asked.is_empty() {
                missing.retain(|(i, _)| found[*i].is_none());
            }
        }
        Ok(found.into_iter().map(Option::flatten).collect())
    }

    /// Takes changes over, each later one in place of what was before.
    pub(super) fn apply(&self, changes: impl IntoIterator<Item = Entry>) {
        self.write().table.extend(changes);
    }

    /// Sets the table aside to be written. It and what is older hold all up to the checkpoint.
    pub(super) fn freeze(&self, checkpoint: Checkpoint) {
        let mut state = self.write();
        let table = std::mem::take(&mut state.table);
        state.frozen.insert(0, (Arc::new(table), checkpoint));
    }

    /// Writes the oldest frozen table as a run, merged with the newest runs if these would be too
    /// many with it; `false` when there was none.
    ///
    /// What it holds must be durable in the segments.
    pub(super) fn write_frozen(&self) -> Result<bool, PackError> {
        self.note_damage(self.write_next(true))
    }

    /// Merges the newest runs, if they have become too many; `false` when there was no need.
    pub(super) fn merge(&self) -> Result<bool, PackError> {
        self.note_damage(self.write_next(false))
    }

    /// Writes a frozen table and runs as one run, in their place; `false` when there is no need.
    fn write_next(&self, with_frozen: bool) -> Result<bool, PackError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (frozen, old, whole) = {
            let state = self.read();
            let frozen = state.frozen.last().filter(|_| with_frozen).cloned();
            if frozen.is_none() && with_frozen {
                return Ok(false);
            }
            let len = frozen.iter().map(|(table, _)| table.len() as u64);
            let many = due(len.chain(state.runs.iter().map(|run| run.count)));
            let many = many.saturating_sub(usize::from(frozen.is_some()));
            (frozen, state.runs[..many].to_vec(), many == state.runs.len())
        };
        if frozen.is_none() && old.is_empty() {
            return Ok(false);
        }
        let table = frozen.iter().map(|(table, _)| Source::Memory(table.sorted()));
        let sources = table.chain(old.iter().map(|run| Source::File(run.entries()))).collect();
        let new = frozen.iter().map(|(table, _)| table.len() as u64).sum::<u64>();
        let keys = new + old.iter().map(|run| run.count).sum::<u64>();
        let run = self.write_run(sources, keys, whole)?;
        let (manifest, empty) = {
            let mut state = self.write();
            // While this one was written, no other was: the old ones are the newest still.
            let empty = run.count == 0;
            state.runs.splice(..old.len(), Some(run.clone()).filter(|_| !empty));
            if let Some((_, checkpoint)) = frozen {
                state.frozen.pop();
                state.checkpoint = checkpoint;
            }
            (state.manifest(), empty.then_some(run))
        };
        manifest.write(&*self.files, &self.folder)?;
        for run in old.into_iter().chain(empty) {
            run::remove(&*self.files, &run_path(&self.folder, run.number))?;
        }
        Ok(true)
    }

    /// Writes sources as one run. `without_deleted`, when nothing older is there that they would hide.
    fn write_run(
        &self,
        sources: Vec<Source>,
        keys: u64,
        without_deleted: bool,
    ) -> Result<Arc<Run>, PackError> {
        let number = {
            let mut state = self.write();
            state.next_run += 1;
            state.next_run - 1
        };
        let path = run_path(&self.folder, number);
        let mut writer = Writer::new(&*self.files, path, keys)?;
        let mut merged = Merged::new(sources)?;
        for entry in giving_way(std::iter::from_fn(|| merged.next().transpose())) {
            let (key, place) = entry?;
            if place.is_some() || !without_deleted {
                writer.push((key, place))?;
            }
        }
        writer.finish(number).map(Arc::new)
    }

    /// All keys as they are now, whatever is changed later.
    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.read();
        let frozen = state.frozen.iter().map(|(table, _)| table.clone()).collect();
        Snapshot { table: state.table.clone(), frozen, runs: state.runs.clone() }
    }
}

impl State {
    /// What memory says of a key: `None` when it says nothing.
    fn recent(&self, key: &Multihash) -> Option<Option<Place>> {
        let frozen = || self.frozen.iter().find_map(|(table, _)| table.get(key));
        self.table.get(key).or_else(frozen).copied()
    }

    fn manifest(&self) -> Manifest {
        let runs = self.runs.iter().map(|run| run.number).collect();
        let checkpoint = match self.damaged {
            true => Checkpoint::UNFINISHED,
            false => self.checkpoint.clone(),
        };
        Manifest { checkpoint, next_run: self.next_run, runs }
    }
}

/// How many of the newest runs, whose sizes these are, are to become one.
fn due(sizes: impl Iterator<Item = u64>) -> usize {
    let (mut many, mut together) = (0, 0);
    for size in sizes {
        if many > 0 && size >= RATIO * together {
            break;
        }
        many += 1;
        together += size;
    }
    if many > 1 { many } else { 0 }
}

fn run_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number}.run"))
}

/// Removes files that a crash has left, and which are not part of the index.
fn remove_strangers(files: &dyn Files, folder: &Path, runs: &[u32]) -> Result<(), PackError> {
    for (name, is_dir) in files.list(folder).map_err(PackError::io("list", folder))? {
        let number = name.strip_suffix(".run").and_then(|number| number.parse().ok());
        if !is_dir && number.is_some_and(|number| !runs.contains(&number)) {
            run::remove(files, &folder.join(name))?;
        }
    }
    Ok(())
}

/// All keys of an index at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    table: Table,
    frozen: Vec<Arc<Table>>,
    runs: Vec<Arc<Run>>,
}

impl Snapshot {
    /// The keys that are not deleted, in order.
    pub(super) fn keys(self) -> Result<Keys, PackError> {
        let mut sources = vec![Source::Memory(self.table.sorted())];
        sources.extend(self.frozen.iter().map(|table| Source::Memory(table.sorted())));
        sources.extend(self.runs.iter().map(|run| Source::File(run.entries())));
        Merged::new(sources).map(Keys)
    }
}

/// Keys in order, with their places.
#[derive(Debug)]
pub(super) struct Keys(Merged);

impl Keys {
    pub(super) fn next(&mut self) -> Result<Option<(Multihash, Place)>, PackError> {
        self.0.next_alive()
    }
}
