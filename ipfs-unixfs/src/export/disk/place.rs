//! Where an export is written: a folder of its own beside the target, from which it is renamed.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use ipfs_traits::{Cid, Error, Result};

use super::{
    Disk,
    dir::{Dir, Kind, SYNCS_ALL},
    disk, remove,
};

/// What the tree is called until it has its place.
const TREE: &str = "tree";

/// What is locked by who writes.
const LOCK: &str = "lock";

/// Where what was replaced waits to be removed.
const OLD: &str = "old";

/// Bytes of the target's name that go into that of the folder, so that it fits every system.
const NAME: usize = 100;

/// A folder beside the target, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) target: PathBuf,
    /// The directory of the target, and the target's name there.
    parent: Dir,
    name: OsString,
    folder: OsString,
    /// Held as long as this process writes to a folder that others may find.
    lock: Option<File>,
    /// Whether the folder stays when the export does not come to its end.
    pub(super) keep: bool,
}

impl Place {
    /// Makes the folder, or finds that of an export that was stopped; gives it beside.
    pub(super) fn begin(target: PathBuf, root: &Cid, options: &Disk) -> Result<(Self, Dir)> {
        let Some(name) = target.file_name().map(OsStr::to_owned) else {
            return Err(Error::invalid("target", "it has no name"));
        };
        let above = match target.parent() {
            Some(above) if above != Path::new("") => above,
            _ => Path::new("."),
        };
        let parent = Dir::open(above).map_err(disk(above))?;
        match parent.kind(&name).map_err(disk(&target))? {
            None => {}
            Some(kind) if options.replace && kind != Kind::Other => {}
            Some(_) => return Err(in_use(&target)),
        }
        // Until it is known to be this process's own, nothing must be removed.
        let mut place = Self { target, parent, name, folder: "".into(), lock: None, keep: true };
        let dir = match options.resume {
            true => place.reopen(root, options)?,
            false => place.make()?,
        };
        place.keep = options.resume;
        Ok((place, dir))
    }

    /// A new folder.
    fn make(&mut self) -> Result<Dir> {
        for number in 0..u32::MAX {
            self.folder = self.folder_name(&format!(".partial-{number}"));
            match self.parent.make(&self.folder, true) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed()(error)),
                Ok(()) => return self.parent.enter(&self.folder).map_err(self.failed()),
            }
        }
        Err(in_use(&self.target))
    }

    /// The one folder for this root, this target, and what decides how it is written.
    fn reopen(&mut self, root: &Cid, options: &Disk) -> Result<Dir> {
        let kind = u8::from(options.modes) + 2 * u8::from(options.mtimes);
        self.folder = self.folder_name(&format!(".{root}.partial{kind}"));
        match self.parent.make(&self.folder, true) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(self.failed()(error));
            }
            _ => {}
        }
        let dir = self.parent.enter(&self.folder).map_err(self.failed())?;
        // Where anyone may write, anyone may have put it there.
        if !dir.is_private().map_err(self.failed())? {
            return Err(in_use(&self.path()));
        }
        let lock = dir.open_or_create(LOCK.as_ref()).map_err(self.failed())?;
        match lock.try_lock() {
            // An export that ended meanwhile has removed what is locked here.
            Ok(()) if dir.holds(&lock, LOCK.as_ref()).map_err(self.failed())? => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Err(in_use(&self.path())),
            Err(TryLockError::Error(error)) => return Err(self.failed()(error)),
        }
        self.lock = Some(lock);
        Ok(dir)
    }

    fn folder_name(&self, rest: &str) -> OsString {
        let mut folder = OsString::from(".");
        match self.name.len() <= NAME {
            true => folder.push(&self.name),
            false => {
                folder.push(self.name.to_string_lossy().chars().take(NAME / 4).collect::<String>());
            }
        }
        folder.push(rest);
        folder
    }

    fn path(&self) -> PathBuf {
        self.target.with_file_name(&self.folder)
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        disk(&self.path())
    }

    /// What the root is called in the folder.
    pub(super) fn root() -> &'static OsStr {
        TREE.as_ref()
    }

    /// Renames what was written to the target; of a root that is a directory, `root` is told.
    pub(super) fn finish(
        &mut self,
        folder: &Dir,
        root: Option<&mut Dir>,
        options: &Disk,
    ) -> Result<()> {
        if options.sync && SYNCS_ALL {
            folder.sync_all().map_err(self.failed())?;
        }
        self.settle(folder, options).map_err(disk(&self.target))?;
        if let Some(root) = root {
            root.moved(&self.parent, &self.name);
        }
        if options.sync {
            self.parent.sync().map_err(disk(&self.target))?;
        }
        self.keep = false;
        Ok(())
    }

    fn settle(&self, folder: &Dir, options: &Disk) -> io::Result<()> {
        let tree = Self::root();
        let old = match options.replace {
            true => self.parent.kind(&self.name)?,
            false => None,
        };
        match (old, folder.kind(tree)?) {
            (None, _) => folder.rename_new(tree, &self.parent, &self.name),
            (Some(Kind::Other), _) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Kind::File(_) | Kind::Symlink), Some(Kind::File(_) | Kind::Symlink)) => {
                folder.rename(tree, &self.parent, &self.name)
            }
            (Some(Kind::Directory), _) => {
                let swapped = self.swap(folder);
                match &swapped {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        // A directory moves only if it may be written to. It goes away anyway.
                        self.parent.enter_locked(&self.name)?.set_mode(0o700)?;
                        self.swap(folder)
                    }
                    _ => swapped,
                }
            }
            _ => self.swap(folder),
        }
    }

    /// Puts what was written in the place of the target, and the target into the folder.
    fn swap(&self, folder: &Dir) -> io::Result<()> {
        let (tree, old) = (Self::root(), OsStr::new(OLD));
        if folder.exchange(tree, &self.parent, &self.name)? {
            return Ok(());
        }
        self.parent.rename(&self.name, folder, old)?;
        let renamed = folder.rename_new(tree, &self.parent, &self.name);
        if renamed.is_err() {
            folder.rename_new(old, &self.parent, &self.name)?;
        }
        renamed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let removed = self.parent.again().and_then(|parent| remove::tree(parent, &self.folder));
        if let Err(error) = removed {
            tracing::warn!(path = %self.path().display(), %error, "a partial export is left");
        }
    }
}

fn in_use(path: &Path) -> Error {
    Error::InUse(path.display().to_string().into())
}
