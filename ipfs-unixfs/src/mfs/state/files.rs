//! Files that are open: one writer, or many readers.

use std::task::Waker;

use ipfs_traits::{Error, Result};

use super::{DirId, State};
use crate::{
    Name,
    directory::{Loads, Target},
};

/// A file that somebody has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::mfs) struct FileId(u64);

#[derive(Debug)]
pub(super) struct OpenFile {
    /// Where it stands, until it is removed.
    pub(super) place: Option<(DirId, Name)>,
    users: Users,
}

/// One writer, or many readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    Readers(usize),
    Writer,
}

impl State {
    /// Opens a file for one more reader, or for a writer; `None` when it is in use otherwise.
    pub(in crate::mfs) fn open_file(
        &mut self,
        id: DirId,
        name: &Name,
        write: bool,
    ) -> Result<Option<FileId>> {
        if let Some(file) = self.dir(id)?.files.get(name).copied() {
            let users = self.files.get_mut(&file).map(|file| &mut file.users);
            return Ok(match (users, write) {
                (Some(Users::Readers(count)), false) => {
                    *count += 1;
                    Some(file)
                }
                _ => None,
            });
        }
        let file = FileId(self.next());
        let users = if write { Users::Writer } else { Users::Readers(1) };
        let place = Some((id, name.clone()));
        self.files.insert(file, OpenFile { place, users });
        self.dir(id)?.files.insert(name.clone(), file);
        Ok(Some(file))
    }

    /// One user of a file has done with it.
    pub(in crate::mfs) fn close_file(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        if let Users::Readers(count) = &mut file.users
            && *count > 1
        {
            *count -= 1;
            return;
        }
        self.closed += 1;
        self.waiting.drain(..).for_each(Waker::wake);
        if let Some((dir, name)) = self.files.remove(&id).and_then(|file| file.place)
            && let Some(dir) = self.dirs.get_mut(&dir)
        {
            dir.files.remove(&name);
        }
    }

    /// How many files were closed by all their users.
    pub(in crate::mfs) const fn closed_files(&self) -> u64 {
        self.closed
    }

    /// Whether any was closed since there were `count`; if not, `waker` is woken when one is.
    pub(in crate::mfs) fn closed_since(&mut self, count: u64, waker: &Waker) -> bool {
        if self.closed != count {
            return true;
        }
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
        false
    }

    /// What a writer has written is the file from now on, if it was not removed. `None` if blocks
    /// are missing.
    pub(in crate::mfs) fn set_file(
        &mut self,
        loads: &mut Loads,
        id: FileId,
        target: Target,
    ) -> Result<Option<()>> {
        let file = self.files.get(&id).ok_or(Error::Closed("the file"))?;
        match file.place.clone() {
            Some((dir, name)) => self.put(loads, dir, &name, target),
            None => Ok(Some(())),
        }
    }
}
