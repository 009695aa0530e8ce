//! Walking a directory tree on disk, in the order of names, a batch at a time.

use std::{
    fs::{self, Metadata},
    path::{Path, PathBuf},
};

use ipfs_traits::{Error, Result};

use super::{
    FileError,
    assemble::Place,
    batch::{Content, Found},
    disk,
};
use crate::{Name, Params, Symlinks, attributes::Attributes, rules::Rules};

/// A walk, which goes on where it left off.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    /// Entries still to visit of each directory on the way, the next one last; `None` ends a
    /// directory.
    pending: Vec<Option<PathBuf>>,
    /// Of each directory on the way where it really lies, if a symbolic link led there.
    followed: Vec<Option<PathBuf>>,
    symlinks: Symlinks,
    hidden: bool,
    rules: Rules,
    at_root: bool,
}

impl Walk {
    /// A walk of `root`, which may be a file too, and whose own name is empty.
    pub(super) fn new(root: PathBuf, params: &Params) -> Result<Self> {
        Ok(Self {
            pending: vec![Some(root.clone())],
            root,
            followed: Vec::new(),
            symlinks: params.symlinks,
            hidden: params.hidden,
            rules: Rules::new(&params.ignore)?,
            at_root: true,
        })
    }

    /// What is found next, at least one and about `count`; none at the end. It blocks.
    pub(super) fn next(&mut self, count: usize) -> Result<Vec<Found<Place>>> {
        let mut found = Vec::new();
        while found.len() < count
            && let Some(entry) = self.pending.pop()
        {
            match entry {
                None => {
                    self.followed.pop();
                    found.push(mark(Place::Leave));
                }
                Some(path) => found.extend(self.visit(path)?),
            }
        }
        Ok(found)
    }

    /// Looks at an entry; `None` if it is left out.
    fn visit(&mut self, path: PathBuf) -> Result<Option<Found<Place>>> {
        let is_root = std::mem::take(&mut self.at_root);
        let of_link = fs::symlink_metadata(&path).map_err(FileError::read(&path))?;
        if !is_root && self.leaves_out(&path, &of_link) {
            return Ok(None);
        }
        let name = if is_root { Name::default() } else { disk::name(&path)? };
        let is_link = of_link.is_symlink();
        let follow = is_link && self.symlinks == Symlinks::Followed;
        let metadata = match follow {
            true => fs::metadata(&path).map_err(FileError::read(&path))?,
            false => of_link,
        };
        let (kind, attributes) = (metadata.file_type(), disk::attributes(&metadata));
        let content = if kind.is_dir() {
            self.enter(&path, follow || is_root)?;
            return Ok(Some(mark(Place::Enter(name, attributes))));
        } else if kind.is_file() {
            Content::Disk { path, len: metadata.len() }
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(FileError::read(&path))?;
            Content::Symlink(disk::target(&target, &path)?)
        } else if is_root && disk::is_pipe(kind) {
            Content::Pipe(path)
        } else {
            let reason = format!("{} is no file, directory or symbolic link", path.display());
            return Err(Error::invalid("path to import", reason));
        };
        Ok(Some(Found { place: Place::Entry(name), content, attributes }))
    }

    fn leaves_out(&self, path: &Path, of: &Metadata) -> bool {
        let hides = !self.hidden && disk::is_hidden(path.file_name().unwrap_or_default(), of);
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        hides || self.rules.leave_out(below, of.is_dir())
    }

    /// Goes into a directory: adds its entries, sorted so that the first by name comes first.
    fn enter(&mut self, path: &Path, may_loop: bool) -> Result<()> {
        let real = match may_loop && self.symlinks == Symlinks::Followed {
            true => Some(fs::canonicalize(path).map_err(FileError::read(path))?),
            false => None,
        };
        if real.is_some() && self.followed.contains(&real) {
            let reason = format!("{} leads back to where it is found", path.display());
            return Err(Error::invalid("path to import", reason));
        }
        self.pending.push(None);
        self.followed.push(real);
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(FileError::read(path))? {
            entries.push(entry.map_err(FileError::read(path))?.file_name());
        }
        entries.sort_by(|a, b| b.as_encoded_bytes().cmp(a.as_encoded_bytes()));
        self.pending.extend(entries.into_iter().map(|name| Some(path.join(name))));
        Ok(())
    }
}

const fn mark(place: Place) -> Found<Place> {
    Found { place, content: Content::Nothing, attributes: Attributes::NONE }
}
