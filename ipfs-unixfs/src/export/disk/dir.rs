//! One directory on disk, and what is done within it: by its handle where the system has such calls,
//! so that nothing outside of it can be reached, whatever becomes of the way there.

#[cfg(not(unix))]
mod path;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use self::path::{Dir, Id, set_mode, set_mtime};
#[cfg(unix)]
pub(super) use self::unix::{Dir, Id, set_mode, set_mtime};

/// What a name stands for; a symbolic link stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// A file of so many bytes.
    File(u64),
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

/// Whether one call syncs all that was written to a file system, so that nothing needs its own.
pub(super) const SYNCS_ALL: bool = cfg!(target_os = "linux");
