//! A file system in memory that loses, at a crash, what was not synced: names one by one, contents
//! in part. It can also be full, or refuse to be written.
//!
//! The tests of other crates include this file by its path, and `numbers.rs` of ipfs-traits beside it.

#![allow(dead_code, reason = "each crate uses a part of it")]

#[path = "faulty/file.rs"]
mod file;
#[path = "faulty/lose.rs"]
mod lose;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use ipfs_blockstore::files::{Files, Lock, Open, OpenFile};

use self::file::FaultyFile;
use crate::numbers::Numbers;

/// Which sync is taken out, to see that a test would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenOut {
    Nothing,
    SyncOfContents,
    SyncOfNames,
}

/// What a call counts as: by its name, its file, and for whom it is made.
pub(crate) type Step = fn(&'static str, &Path, &'static str) -> &'static str;

/// The file system. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Faulty(Arc<Mutex<Model>>);

#[derive(Clone, Debug)]
struct Model {
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    /// Changes of names that are not durable, in their order.
    changes: Vec<(PathBuf, Option<Entry>)>,
    calls: u64,
    /// From this call on, everything fails.
    crash_at: u64,
    /// For whom calls are made now, what they count as, and how many there were of each.
    label: &'static str,
    step: Step,
    steps: BTreeMap<&'static str, u64>,
    /// A hash of all calls and their files, in their order.
    trace: DefaultHasher,
    /// In this step everything fails from so many of its calls on.
    crash_in: Option<(&'static str, u64)>,
    /// What every call says that changes something.
    refusal: Option<io::ErrorKind>,
    /// Whether all can be synced at once, as on Linux.
    whole: bool,
    taken_out: TakenOut,
    locked: Arc<()>,
    /// Those who hold a lock on a file.
    locked_files: Vec<(usize, Weak<()>)>,
}

#[derive(Clone, Debug)]
struct Content {
    bytes: Vec<u8>,
    durable: Option<Vec<u8>>,
    /// Of blocks or of state, and not of the few files that a store begins with.
    of_block: bool,
}

impl Content {
    fn new(path: &Path, bytes: Vec<u8>) -> Self {
        let temporary = path.parent().is_some_and(|parent| parent.ends_with(".temp"));
        let named = |end: &str| path.file_name().is_some_and(|n| n.to_string_lossy().contains(end));
        let of_block = temporary || named(".car") || named(".redb");
        Self { bytes, durable: None, of_block }
    }

    fn sync(&mut self, taken_out: TakenOut) {
        if taken_out != TakenOut::SyncOfContents || !self.of_block {
            self.durable = Some(self.bytes.clone());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    File(usize),
}

impl Faulty {
    /// An empty file system with the folder `root`.
    pub(crate) fn new(root: &Path, whole: bool, taken_out: TakenOut) -> Self {
        let names = BTreeMap::from([(root.to_owned(), Entry::Directory)]);
        Self(Arc::new(Mutex::new(Model {
            contents: Vec::new(),
            durable_names: names.clone(),
            names,
            changes: Vec::new(),
            calls: 0,
            crash_at: u64::MAX,
            label: "",
            step: |call, _, _| call,
            steps: BTreeMap::new(),
            trace: DefaultHasher::new(),
            crash_in: None,
            refusal: None,
            whole,
            taken_out,
            locked: Arc::new(()),
            locked_files: Vec::new(),
        })))
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    /// How many calls were made.
    pub(crate) fn calls(&self) -> u64 {
        self.model().calls
    }

    /// What calls count as from now on.
    pub(crate) fn count_steps(&self, step: Step) {
        self.model().step = step;
    }

    /// How many calls there were of each step.
    pub(crate) fn steps(&self) -> BTreeMap<&'static str, u64> {
        self.model().steps.clone()
    }

    /// A hash of all calls and their files, in their order.
    pub(crate) fn trace(&self) -> u64 {
        self.model().trace.finish()
    }

    /// Says for whom calls are made from now on; gives for whom they were made before.
    pub(crate) fn label(&self, label: &'static str) -> &'static str {
        std::mem::replace(&mut self.model().label, label)
    }

    /// Lets everything fail from this call on.
    pub(crate) fn crash_at(&self, call: u64) {
        self.model().crash_at = call;
    }

    /// Lets everything fail from this call of a step on.
    pub(crate) fn crash_in(&self, step: &'static str, call: u64) {
        self.model().crash_in = Some((step, call));
    }

    /// Whether the crash has come.
    pub(crate) fn has_crashed(&self) -> bool {
        let model = self.model();
        model.calls > model.crash_at
    }

    /// Takes a sync out from now on.
    pub(crate) fn take_out(&self, taken_out: TakenOut) {
        self.model().taken_out = taken_out;
    }

    /// Lets all that would change something fail from now on, or no longer. What is written when
    /// there is no room is written in part.
    pub(crate) fn refuse(&self, refusal: Option<io::ErrorKind>) {
        self.model().refusal = refusal;
    }

    /// Changes one byte of a file.
    pub(crate) fn damage(&self, path: &Path, numbers: &mut Numbers) {
        let mut model = self.model();
        let number = model.file(path).unwrap();
        let bytes = &mut model.contents[number].bytes;
        let at = numbers.below(bytes.len() as u64) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x10;
        }
        model.contents[number].durable = Some(model.contents[number].bytes.clone());
    }

    /// What is there after the process was killed: everything, synced or not.
    pub(crate) fn after_kill(&self) -> Self {
        let mut model = self.model().clone();
        (model.calls, model.crash_at, model.locked) = (0, u64::MAX, Arc::new(()));
        (model.crash_in, model.refusal) = (None, None);
        model.locked_files.clear();
        model.steps.clear();
        Self(Arc::new(Mutex::new(model)))
    }

    /// What is there after the process was killed and somebody removed the files in a folder.
    pub(crate) fn after_loss_of(&self, folder: &Path) -> Self {
        let survivor = self.after_kill();
        {
            let mut model = survivor.model();
            let lost = |path: &PathBuf| path.parent() == Some(folder);
            model.names.retain(|path, _| !lost(path));
            model.durable_names.retain(|path, _| !lost(path));
            model.changes.retain(|(path, _)| !lost(path));
        }
        survivor
    }

    /// What is there after the power was lost: of what was not synced, anything.
    pub(crate) fn after_power_loss(&self, numbers: &mut Numbers) -> Self {
        let survivor = self.after_kill();
        survivor.model().lose(numbers);
        survivor
    }
}

impl Model {
    fn call(&mut self, what: &'static str, path: &Path) -> io::Result<()> {
        let step = (self.step)(what, path, self.label);
        let count = self.steps.entry(step).or_default();
        *count += 1;
        if self.crash_in.is_some_and(|(in_step, call)| step == in_step && *count > call) {
            self.crash_at = self.crash_at.min(self.calls);
        }
        (what, path).hash(&mut self.trace);
        self.calls += 1;
        match self.calls > self.crash_at {
            true => Err(io::Error::other("crashed")),
            false => Ok(()),
        }
    }

    /// A call that changes something.
    fn change(&mut self, what: &'static str, path: &Path) -> io::Result<()> {
        self.call(what, path)?;
        self.refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// A call that needs no room.
    fn take_away(&mut self, what: &'static str, path: &Path) -> io::Result<()> {
        self.call(what, path)?;
        match self.refusal {
            None | Some(io::ErrorKind::StorageFull) => Ok(()),
            Some(refusal) => Err(refusal.into()),
        }
    }

    fn set(&mut self, path: &Path, entry: Option<Entry>) {
        match entry {
            Some(entry) => self.names.insert(path.to_owned(), entry),
            None => self.names.remove(path),
        };
        self.changes.push((path.to_owned(), entry));
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(content)) => Ok(*content),
            Some(Entry::Directory) => Err(io::Error::other("is a directory")),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn check_new(&self, path: &Path) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Entry::Directory) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Makes the changes of names durable that `which` accepts.
    fn keep_names(&mut self, which: impl Fn(&Path) -> bool) {
        let changes = std::mem::take(&mut self.changes);
        for (path, entry) in changes {
            if which(&path) {
                apply(&mut self.durable_names, &path, entry);
            } else {
                self.changes.push((path, entry));
            }
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Entry>, path: &Path, entry: Option<Entry>) {
    match entry {
        Some(entry) => names.insert(path.to_owned(), entry),
        None => names.remove(path),
    };
}

impl Files for Faulty {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut model = self.model();
        model.call("read", path)?;
        let content = model.file(path)?;
        Ok(model.contents[content].bytes.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut model = self.model();
        model.call("len", path)?;
        let content = model.file(path)?;
        Ok(model.contents[content].bytes.len() as u64)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        let mut model = self.model();
        model.call("list", path)?;
        let inside = model.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(inside
            .map(|(name, entry)| {
                let name = name.file_name().unwrap().to_string_lossy().into_owned();
                (name, *entry == Entry::Directory)
            })
            .collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut model = self.model();
        model.change("create_dir", path)?;
        model.check_new(path)?;
        model.set(path, Some(Entry::Directory));
        Ok(())
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut model = self.model();
        model.change("create", path)?;
        model.check_new(path)?;
        model.contents.push(Content::new(path, content.to_vec()));
        let number = model.contents.len() - 1;
        model.set(path, Some(Entry::File(number)));
        Ok(())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn OpenFile>> {
        let mut model = self.model();
        let number = match how {
            Open::Reading => {
                model.call("open", path)?;
                model.file(path)?
            }
            Open::Existing => {
                // A disk that is only read opens no file to be written.
                model.take_away("open", path)?;
                model.file(path)?
            }
            Open::New => {
                model.change("open", path)?;
                model.check_new(path)?;
                model.contents.push(Content::new(path, Vec::new()));
                let number = model.contents.len() - 1;
                model.set(path, Some(Entry::File(number)));
                number
            }
        };
        Ok(Arc::new(FaultyFile::new(self, path, number)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut model = self.model();
        model.change("rename", from)?;
        let content = model.file(from)?;
        if !model.names.contains_key(to) {
            model.check_new(to)?;
        }
        model.set(to, Some(Entry::File(content)));
        model.set(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut model = self.model();
        model.take_away("remove", path)?;
        model.file(path)?;
        model.set(path, None);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut model = self.model();
        model.call("sync_file", path)?;
        let content = model.file(path)?;
        let taken_out = model.taken_out;
        model.contents[content].sync(taken_out);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut model = self.model();
        model.call("sync_dir", path)?;
        if model.names.get(path) != Some(&Entry::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if model.taken_out != TakenOut::SyncOfNames {
            model.keep_names(|name| name.parent() == Some(path));
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<bool> {
        let mut model = self.model();
        model.call("sync_all", Path::new(""))?;
        if !model.whole {
            return Ok(false);
        }
        let taken_out = model.taken_out;
        model.contents.iter_mut().for_each(|content| content.sync(taken_out));
        if model.taken_out != TakenOut::SyncOfNames {
            model.keep_names(|_| true);
        }
        Ok(true)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let mut model = self.model();
        model.take_away("lock", path)?;
        if Arc::strong_count(&model.locked) > 1 {
            return Ok(None);
        }
        if !model.names.contains_key(path) {
            model.check_new(path)?;
            model.contents.push(Content::new(path, Vec::new()));
            let number = model.contents.len() - 1;
            model.set(path, Some(Entry::File(number)));
        }
        Ok(Some(Lock::new(model.locked.clone())))
    }
}
