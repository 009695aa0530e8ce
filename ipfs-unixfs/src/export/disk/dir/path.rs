//! A directory by its path, where the standard library knows no handles of directories.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::Kind;
use crate::data::Mtime;

/// What tells a directory from every other: where it is.
pub(in super::super) type Id = PathBuf;

/// A directory at a path.
#[derive(Debug)]
pub(in super::super) struct Dir(PathBuf);

impl Dir {
    /// The directory at a path of the caller's own, links in which are followed.
    pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
        fs::canonicalize(path).map(Self)
    }

    /// The directory of this name, never through a link.
    pub(in super::super) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        match self.kind(name)? {
            Some(Kind::Directory) => Ok(Self(self.0.join(name))),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The same: modes lock no directory here.
    pub(in super::super) fn enter_locked(&self, name: &OsStr) -> io::Result<Self> {
        self.enter(name)
    }

    /// The same directory once more.
    pub(in super::super) fn again(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }

    /// Whether there is a file of this name: an open one cannot have been replaced here.
    pub(in super::super) fn holds(&self, _: &File, name: &OsStr) -> io::Result<bool> {
        Ok(self.kind(name)?.is_some())
    }

    /// The directory above.
    pub(in super::super) fn up(&self) -> io::Result<Self> {
        let above = self.0.parent().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self(above.to_owned()))
    }

    /// What tells it from every other directory.
    pub(in super::super) fn id(&self) -> io::Result<Id> {
        Ok(self.0.clone())
    }

    /// Makes a directory, with the rights of the one that it is in.
    pub(in super::super) fn make(&self, name: &OsStr, _private: bool) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    /// Whether it belongs to nobody else, which is not asked here.
    pub(in super::super) fn is_private(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Makes a file.
    pub(in super::super) fn create(&self, name: &OsStr) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(self.0.join(name))
    }

    /// Opens a file for writing, and makes it if it is not there.
    pub(in super::super) fn open_or_create(&self, name: &OsStr) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).open(self.0.join(name))
    }

    /// Makes a symbolic link.
    pub(in super::super) fn symlink(&self, target: &[u8], name: &OsStr) -> io::Result<()> {
        let target = std::str::from_utf8(target).map_err(io::Error::other)?;
        symlink(target, &self.0.join(name))
    }

    /// What a name stands for, if anything.
    pub(in super::super) fn kind(&self, name: &OsStr) -> io::Result<Option<Kind>> {
        let metadata = match fs::symlink_metadata(self.0.join(name)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(match metadata.file_type() {
            kind if kind.is_symlink() => Kind::Symlink,
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() => Kind::File(metadata.len()),
            _ => Kind::Other,
        }))
    }

    /// The names in it.
    pub(in super::super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        Ok(fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name())))
    }

    /// Renames; a file or link that has the new name is replaced.
    pub(in super::super) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        fs::rename(self.0.join(name), to.0.join(new))
    }

    /// Renames, unless something has the new name.
    pub(in super::super) fn rename_new(
        &self,
        name: &OsStr,
        to: &Self,
        new: &OsStr,
    ) -> io::Result<()> {
        match to.kind(new)? {
            None => self.rename(name, to, new),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Exchanges two names; `false`, because it cannot be done in one step.
    pub(in super::super) fn exchange(&self, _: &OsStr, _: &Self, _: &OsStr) -> io::Result<bool> {
        Ok(false)
    }

    /// Removes a file or link.
    pub(in super::super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        let path = self.0.join(name);
        // A link that says it points to a directory is removed as one.
        fs::remove_file(&path).or_else(|error| match self.kind(name)? {
            Some(Kind::Symlink) => fs::remove_dir(&path),
            _ => Err(error),
        })
    }

    /// Removes an empty directory.
    pub(in super::super) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_dir(self.0.join(name))
    }

    /// Nothing: modes say nothing of directories here.
    pub(in super::super) const fn set_mode(&self, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Gives it this time.
    pub(in super::super) fn set_mtime(&self, mtime: Mtime) -> io::Result<()> {
        #[cfg(windows)]
        {
            use std::os::windows::fs::OpenOptionsExt;
            const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
            // Without it, a directory cannot be opened.
            const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
            let mut options = OpenOptions::new();
            options.access_mode(FILE_WRITE_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
            set_mtime(&options.open(&self.0)?, mtime)?;
        }
        let _ = mtime;
        Ok(())
    }

    /// Nothing: there is no call that would not follow it.
    pub(in super::super) const fn set_link_mtime(&self, _: &OsStr, _: Mtime) -> io::Result<()> {
        Ok(())
    }

    /// Nothing: names need no syncing of their own here.
    pub(in super::super) const fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing: every file is synced by itself.
    pub(in super::super) const fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    /// It was renamed.
    pub(in super::super) fn moved(&mut self, to: &Self, name: &OsStr) {
        self.0 = to.0.join(name);
    }
}

/// Makes a file that its owner must not write read-only.
pub(in super::super) fn set_mode(file: &File, bits: u32) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(bits & 0o200 == 0);
    file.set_permissions(permissions)
}

/// Gives a file this time.
pub(in super::super) fn set_mtime(file: &File, mtime: Mtime) -> io::Result<()> {
    let seconds = Duration::from_secs(mtime.seconds.unsigned_abs());
    let whole = match mtime.seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
        _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    };
    let nanos = Duration::from_nanos(mtime.nanos.unwrap_or_default().into());
    let time = whole.and_then(|whole| whole.checked_add(nanos));
    file.set_modified(time.ok_or(io::ErrorKind::InvalidInput)?)
}

#[cfg(windows)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    // Whether it points to a directory is not known here; most do not.
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(not(windows))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
