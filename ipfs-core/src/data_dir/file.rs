//! The small files of a data directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use ipfs_blockstore::files::Files;
use ipfs_traits::{Error, Result};

/// What a file is written as, before it is given its name.
pub(super) const PARTIAL: &str = ".partial";

/// No file that is read here is longer: the longest key has some 2,400 bytes.
const MAX_FILE: u64 = 4096;

/// The content of a small file; `None` when there is none.
pub(super) fn read(files: &dyn Files, path: &Path) -> Result<Option<Vec<u8>>> {
    let content = match files.len(path) {
        Ok(len) if len > MAX_FILE => {
            let reason = format!("{} is longer than a node makes it", path.display());
            return Err(Error::malformed("data directory", reason));
        }
        Ok(_) => files.read(path),
        Err(error) => Err(error),
    };
    match content {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some).map_err(failed("read", path)),
    }
}

/// Writes a file: under another name, synced, then renamed. Its directory is not synced.
pub(super) fn write(files: &dyn Files, path: &Path, content: &[u8]) -> Result<()> {
    replace(files, path, |partial| {
        files.create(partial, content)?;
        files.sync_file(partial)
    })
    .map_err(failed("write", path))
}

/// Puts a file in the place of what is there, once `make` has made it durable under another name.
pub(super) fn replace(
    files: &dyn Files,
    path: &Path,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    // One that is left over from before a loss of power is in the way.
    remove(files, &partial)?;
    make(&partial)?;
    files.rename(&partial, path)
}

/// Removes a file, if there is one.
pub(super) fn remove(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
struct DirError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::component("data directory", DirError { what, path, source })
}
