//! Walking a directory tree on disk, in the order of names, a batch at a time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ipfs_traits::{Error, Result};

use super::FileError;
use crate::Params;

/// What a walk comes upon. A directory's entries stand between its `Enter` and its `Leave`.
#[derive(Debug)]
pub(super) enum Found {
    Enter { name: String },
    File { name: String, path: PathBuf, len: u64 },
    Symlink { name: String, target: String },
    Leave,
}

/// A walk, which goes on where it left off.
#[derive(Debug)]
pub(super) struct Walk {
    /// Entries still to visit of each directory on the way, the next one last; `None` ends a
    /// directory.
    pending: Vec<Option<PathBuf>>,
    hidden: bool,
    at_root: bool,
}

impl Walk {
    /// A walk of `root`, which may be a file too, and whose own name is empty.
    pub(super) fn new(root: PathBuf, params: &Params) -> Self {
        Self { pending: vec![Some(root)], hidden: params.hidden, at_root: true }
    }

    /// What is found next, at least one and about `count`; none at the end. It blocks.
    pub(super) fn next(&mut self, count: usize) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        while found.len() < count
            && let Some(entry) = self.pending.pop()
        {
            found.push(match entry {
                None => Found::Leave,
                Some(path) => self.visit(path)?,
            });
        }
        Ok(found)
    }

    fn visit(&mut self, path: PathBuf) -> Result<Found> {
        let name = match std::mem::take(&mut self.at_root) {
            true => String::new(),
            false => name(&path)?,
        };
        let metadata = fs::symlink_metadata(&path).map_err(FileError::read(&path))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.pending.push(None);
            self.push_entries(&path)?;
            Ok(Found::Enter { name })
        } else if kind.is_file() {
            Ok(Found::File { name, path, len: metadata.len() })
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(FileError::read(&path))?;
            Ok(Found::Symlink { name, target: text(&target, &path)? })
        } else {
            let reason = format!("{} is no file, directory or symbolic link", path.display());
            Err(Error::invalid("path to import", reason))
        }
    }

    /// Adds the entries of a directory, sorted so that the first by name comes first.
    fn push_entries(&mut self, path: &Path) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(FileError::read(path))? {
            let entry = entry.map_err(FileError::read(path))?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if self.hidden || !hidden {
                entries.push(entry.file_name());
            }
        }
        entries.sort_by(|a, b| b.as_encoded_bytes().cmp(a.as_encoded_bytes()));
        self.pending.extend(entries.into_iter().map(|name| Some(path.join(name))));
        Ok(())
    }
}

fn name(path: &Path) -> Result<String> {
    text(Path::new(path.file_name().unwrap_or_default()), path)
}

fn text(part: &Path, path: &Path) -> Result<String> {
    part.to_str().map(str::to_owned).ok_or_else(|| {
        let reason = format!("{} holds a name that is not Unicode", path.display());
        Error::invalid("path to import", reason)
    })
}
