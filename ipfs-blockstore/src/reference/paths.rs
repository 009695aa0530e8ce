//! Paths below the root: how they are recorded, and how they are followed without leaving it.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use ipfs_traits::{Error, Result};

use super::error::{Broken, FileError};

const WHAT: &str = "path of a reference";

/// Whether a recorded path stays below the root, as far as its spelling tells.
///
/// It is names with slashes between them. A backslash and a colon are part of a name where the
/// system lets names have them; where it does not, they would begin something else.
pub(super) fn check(path: &str) -> Result<()> {
    let bad = |reason: &'static str| Err(Error::malformed(WHAT, reason));
    if path.contains('\0') {
        return bad("there is a NUL in it");
    }
    if path.starts_with('/') {
        return bad("it is absolute");
    }
    let drive = path.split('/').next().unwrap_or_default().as_bytes();
    if matches!(drive, [letter, b':'] if letter.is_ascii_alphabetic())
        || (cfg!(windows) && path.contains(['\\', ':']))
    {
        return bad("there is a drive in it");
    }
    if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return bad("one of its names is empty or leads elsewhere");
    }
    Ok(())
}

/// The recorded path of a file below the root, which has no links in it then.
pub(super) fn relative(root: &Path, path: &Path) -> Result<String> {
    let root = real(root).map_err(Broken::into_error)?;
    let path = match fs::canonicalize(root.join(path)) {
        Ok(path) => path,
        Err(error) => return Err(FileError::io("find", path, error).into_error()),
    };
    let below = path.strip_prefix(&root);
    let below = below.map_err(|_| Error::invalid(WHAT, "it does not lie below the root"))?;
    let mut names = Vec::new();
    for component in below.components() {
        match component {
            Component::Normal(name) => {
                names.push(name.to_str().ok_or_else(|| Error::invalid(WHAT, "it is not Unicode"))?)
            }
            _ => return Err(Error::invalid(WHAT, "it does not lie below the root")),
        }
    }
    Ok(names.join("/"))
}

/// The root without links.
pub(super) fn real(root: &Path) -> Result<PathBuf, Broken> {
    fs::canonicalize(root).map_err(|error| FileError::io("find", root, error))
}

/// Opens the file of a recorded path; `root` has no links in it.
pub(super) fn open(root: &Path, path: &str) -> Result<File, Broken> {
    check(path).map_err(Broken::record)?;
    let given = root.join(path);
    let real = fs::canonicalize(&given).map_err(|error| FileError::io("find", &given, error))?;
    if !real.starts_with(root) {
        return Err(FileError::Outside { path: given }.into());
    }
    // Looked at before it is opened: a pipe would wait for a writer.
    let metadata = fs::metadata(&real).map_err(|error| FileError::io("open", &given, error))?;
    if !metadata.is_file() {
        return Err(FileError::NotFile { path: given }.into());
    }
    File::open(&real).map_err(|error| FileError::io("open", &given, error))
}

/// Whether this says that there is no such file.
pub(super) const fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_root_are_refused_by_their_spelling() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            "C:",
            "C:/a",
            "z:/a",
        ] {
            assert!(matches!(check(bad), Err(Error::Malformed { .. })), "{bad:?}");
        }
        for good in ["a", "a/b", "...", "a..b", ".a", "C/a", "a/C:x".trim_end_matches(":x")] {
            check(good).unwrap();
        }
        assert_eq!(check("C:a").is_ok(), !cfg!(windows));
        assert_eq!(check("a\\..\\b").is_ok(), !cfg!(windows));
    }
}
