//! The way from a directory down to where work is done. Only its last part is held open, so that no
//! tree is too deep for the number of files that a process may have open.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use super::dir::{Dir, Id};

/// How many directories are held open.
const HELD: usize = 32;

/// A directory, and the way down from it.
#[derive(Debug)]
pub(super) struct Stack {
    base: Dir,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    name: OsString,
    dir: Held,
}

#[derive(Debug)]
enum Held {
    Open(Dir),
    /// Too far above to be held open.
    Known(Id),
}

impl Stack {
    pub(super) const fn new(base: Dir) -> Self {
        Self { base, levels: Vec::new() }
    }

    /// The directory where the way begins.
    pub(super) const fn base(&self) -> &Dir {
        &self.base
    }

    /// The directory where it ends, which is always held.
    pub(super) fn here(&self) -> &Dir {
        match self.levels.last() {
            Some(Level { dir: Held::Open(dir), .. }) => dir,
            _ => &self.base,
        }
    }

    /// How many directories it leads down.
    pub(super) const fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The names on the way.
    pub(super) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.levels.iter().map(|level| &*level.name)
    }

    /// Goes down into a directory, never through a link.
    pub(super) fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        let dir = Held::Open(self.here().enter_locked(name)?);
        self.levels.push(Level { name: name.to_owned(), dir });
        if let Some(far) = self.levels.len().checked_sub(HELD + 1)
            && let Held::Open(dir) = &self.levels[far].dir
        {
            self.levels[far].dir = Held::Known(dir.id()?);
        }
        Ok(())
    }

    /// Goes up again, and gives what was left, with its name; `None` at the base.
    pub(super) fn leave(&mut self) -> io::Result<Option<(OsString, Dir)>> {
        let Some(Level { name, dir: Held::Open(left) }) = self.levels.pop() else {
            return Ok(None);
        };
        if let Some(level) = self.levels.last_mut()
            && let Held::Known(id) = &level.dir
        {
            let above = left.up()?;
            if above.id()? != *id {
                return Err(io::Error::other("a directory was moved while it was written"));
            }
            level.dir = Held::Open(above);
        }
        Ok(Some((name, left)))
    }
}
