//! What differs between disks: names, modes, times, what is hidden.

use std::{
    ffi::OsStr,
    fs::{FileType, Metadata},
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use ipfs_traits::Result;

use crate::{Name, attributes::Attributes, data::Mtime};

/// The name of a file, in its directory: any bytes on Unix, Unicode elsewhere.
pub(super) fn name(path: &Path) -> Result<Name> {
    bytes(path.file_name().unwrap_or_default(), path).map(Name::from)
}

/// Where a symbolic link leads, in the bytes of the disk.
pub(super) fn target(target: &Path, path: &Path) -> Result<Bytes> {
    bytes(target.as_os_str(), path)
}

#[cfg(unix)]
fn bytes(text: &OsStr, _: &Path) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(text)))
}

#[cfg(not(unix))]
fn bytes(text: &OsStr, path: &Path) -> Result<Bytes> {
    let text = text.to_str().ok_or_else(|| {
        let reason = format!("{} holds a name that is not Unicode", path.display());
        ipfs_traits::Error::invalid("path to import", reason)
    })?;
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

/// Mode and time of what is on the disk.
pub(super) fn attributes(of: &Metadata) -> Attributes {
    Attributes { mode: Some(mode(of)), mtime: of.modified().ok().map(mtime) }
}

#[cfg(unix)]
fn mode(of: &Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&of.permissions())
}

/// As Kubo, which says this much where a disk keeps no modes.
#[cfg(not(unix))]
fn mode(of: &Metadata) -> u32 {
    match (of.is_dir(), of.permissions().readonly()) {
        (true, _) => 0o777,
        (false, true) => 0o444,
        (false, false) => 0o666,
    }
}

/// A time of this system as one of the format.
pub(super) fn mtime(at: SystemTime) -> Mtime {
    let (seconds, nanos) = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(before) => {
            let (seconds, nanos) =
                (before.duration().as_secs() as i64, before.duration().subsec_nanos());
            // Nanoseconds count forward from the second before.
            if nanos == 0 { (-seconds, 0) } else { (-seconds - 1, 1_000_000_000 - nanos) }
        }
    };
    Mtime { seconds, nanos: Some(nanos) }
}

/// Whether an entry is one that a user sees only when asked for.
pub(super) fn is_hidden(name: &OsStr, of: &Metadata) -> bool {
    name.as_encoded_bytes().starts_with(b".") || is_marked_hidden(of)
}

#[cfg(windows)]
fn is_marked_hidden(of: &Metadata) -> bool {
    const HIDDEN: u32 = 2;
    std::os::windows::fs::MetadataExt::file_attributes(of) & HIDDEN != 0
}

#[cfg(not(windows))]
const fn is_marked_hidden(_: &Metadata) -> bool {
    false
}

/// Whether it is a pipe, from which a stream of bytes comes.
#[cfg(unix)]
pub(super) fn is_pipe(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
pub(super) const fn is_pipe(_: FileType) -> bool {
    false
}
