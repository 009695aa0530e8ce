//! A directory by its handle.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::Path,
};

use rustix::fs::{
    self as sys, AtFlags, FileType, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT,
};

use super::Kind;
use crate::data::Mtime;

/// What tells a directory from every other: its device and its number there.
pub(in super::super) type Id = (u64, u64);

/// An open directory.
#[derive(Debug)]
pub(in super::super) struct Dir(OwnedFd);

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// New, and no link that is followed.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

const fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate((bits & 0o777) as RawMode)
}

impl Dir {
    /// The directory at a path of the caller's own, links in which are followed.
    pub(in super::super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(sys::open(path, OPEN, Mode::empty())?))
    }

    /// The directory of this name, never through a link.
    pub(in super::super) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(sys::openat(&self.0, name, OPEN | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// The same, after giving its owner the right to.
    pub(in super::super) fn enter_locked(&self, name: &OsStr) -> io::Result<Self> {
        match self.enter(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // This call would follow a link; what could replace the directory by one meanwhile
                // has the rights of this process already.
                if self.kind(name)? == Some(Kind::Directory) {
                    sys::chmodat(&self.0, name, mode(0o700), AtFlags::empty())?;
                }
                self.enter(name)
            }
            other => other,
        }
    }

    /// The same directory once more.
    pub(in super::super) fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Whether an open file is the one that has this name.
    pub(in super::super) fn holds(&self, file: &File, name: &OsStr) -> io::Result<bool> {
        let (open, named) = (sys::fstat(file)?, sys::statat(&self.0, name, AtFlags::empty())?);
        Ok((open.st_dev, open.st_ino) == (named.st_dev, named.st_ino))
    }

    /// The directory above.
    pub(in super::super) fn up(&self) -> io::Result<Self> {
        Ok(Self(sys::openat(&self.0, "..", OPEN, Mode::empty())?))
    }

    /// What tells it from every other directory.
    pub(in super::super) fn id(&self) -> io::Result<Id> {
        let stat = sys::fstat(&self.0)?;
        Ok((stat.st_dev as u64, stat.st_ino as u64))
    }

    /// Makes a directory; a private one is nobody else's to look into.
    pub(in super::super) fn make(&self, name: &OsStr, private: bool) -> io::Result<()> {
        Ok(sys::mkdirat(&self.0, name, mode(if private { 0o700 } else { 0o777 }))?)
    }

    /// Whether it belongs to the user of this process, and to nobody else.
    pub(in super::super) fn is_private(&self) -> io::Result<bool> {
        let stat = sys::fstat(&self.0)?;
        let owned = stat.st_uid == rustix::process::geteuid().as_raw();
        Ok(owned && Mode::from_raw_mode(stat.st_mode as RawMode).bits() & 0o077 == 0)
    }

    /// Makes a file.
    pub(in super::super) fn create(&self, name: &OsStr) -> io::Result<File> {
        Ok(sys::openat(&self.0, name, NEW, mode(0o666))?.into())
    }

    /// Opens a file for writing, and makes it if it is not there.
    pub(in super::super) fn open_or_create(&self, name: &OsStr) -> io::Result<File> {
        let flags = NEW.difference(OFlags::EXCL);
        Ok(sys::openat(&self.0, name, flags, mode(0o666))?.into())
    }

    /// Makes a symbolic link.
    pub(in super::super) fn symlink(&self, target: &[u8], name: &OsStr) -> io::Result<()> {
        Ok(sys::symlinkat(target, &self.0, name)?)
    }

    /// What a name stands for, if anything.
    pub(in super::super) fn kind(&self, name: &OsStr) -> io::Result<Option<Kind>> {
        let stat = match sys::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode as RawMode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File(stat.st_size as u64),
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        }))
    }

    /// The names in it.
    pub(in super::super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
        let entries = sys::Dir::read_from(&self.0)?;
        Ok(entries.filter_map(|entry| match entry {
            Err(error) => Some(Err(error.into())),
            Ok(entry) => match entry.file_name().to_bytes() {
                b"." | b".." => None,
                name => Some(Ok(OsString::from_vec(name.to_vec()))),
            },
        }))
    }

    /// Renames; a file or link that has the new name is replaced.
    pub(in super::super) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(sys::renameat(&self.0, name, &to.0, new)?)
    }

    /// Renames, unless something has the new name: in one step where the file system can, else
    /// after a look.
    pub(in super::super) fn rename_new(
        &self,
        name: &OsStr,
        to: &Self,
        new: &OsStr,
    ) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        match sys::renameat_with(&self.0, name, &to.0, new, sys::RenameFlags::NOREPLACE) {
            Err(error) if lacks(error) => {}
            done => return Ok(done?),
        }
        match to.kind(new)? {
            None => self.rename(name, to, new),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Exchanges two names; `false` when that cannot be done in one step.
    pub(in super::super) fn exchange(
        &self,
        name: &OsStr,
        with: &Self,
        other: &OsStr,
    ) -> io::Result<bool> {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        match sys::renameat_with(&self.0, name, &with.0, other, sys::RenameFlags::EXCHANGE) {
            Err(error) if lacks(error) => {}
            done => return done.map(|()| true).map_err(Into::into),
        }
        Ok(false)
    }

    /// Removes a file or link.
    pub(in super::super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(sys::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(in super::super) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(sys::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Gives it this mode.
    pub(in super::super) fn set_mode(&self, bits: u32) -> io::Result<()> {
        Ok(sys::fchmod(&self.0, mode(bits))?)
    }

    /// Gives it this time.
    pub(in super::super) fn set_mtime(&self, mtime: Mtime) -> io::Result<()> {
        Ok(sys::futimens(&self.0, &times(mtime))?)
    }

    /// Gives a symbolic link this time.
    pub(in super::super) fn set_link_mtime(&self, name: &OsStr, mtime: Mtime) -> io::Result<()> {
        Ok(sys::utimensat(&self.0, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Syncs what it holds by name.
    pub(in super::super) fn sync(&self) -> io::Result<()> {
        Ok(sys::fsync(&self.0)?)
    }

    /// Syncs all of its file system, on systems where [`SYNCS_ALL`](super::SYNCS_ALL).
    pub(in super::super) fn sync_all(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        sys::syncfs(&self.0)?;
        Ok(())
    }

    /// It was renamed.
    pub(in super::super) const fn moved(&mut self, _: &Self, _: &OsStr) {}
}

/// Gives a file this mode.
pub(in super::super) fn set_mode(file: &File, bits: u32) -> io::Result<()> {
    Ok(sys::fchmod(file, mode(bits))?)
}

/// Gives a file this time.
pub(in super::super) fn set_mtime(file: &File, mtime: Mtime) -> io::Result<()> {
    Ok(sys::futimens(file, &times(mtime))?)
}

/// The time of change alone.
fn times(mtime: Mtime) -> Timestamps {
    let nanos = mtime.nanos.unwrap_or_default();
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: nanos.into() },
    }
}

/// Whether an error says that the kernel or file system knows no such way to rename.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn lacks(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP].contains(&error)
}
