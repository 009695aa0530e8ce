//! Names that come from a stranger's blocks, before they reach a disk.

use std::ffi::OsStr;

use ipfs_traits::{Error, Result};

use crate::Name;

const WHAT: &str = "name in a directory";

/// The name of one file, in the directory where it stands, on this platform, if it can be that.
pub(super) fn check(name: &Name) -> Result<&OsStr> {
    let bad = match name.as_bytes() {
        b"" => Some("it is empty"),
        b"." | b".." => Some("it leads elsewhere"),
        bytes if bytes.contains(&b'/') => Some("it holds a slash"),
        bytes if bytes.contains(&0) => Some("it holds a zero byte"),
        _ if cfg!(windows) => name.to_str().map_or(None, bad_on_windows),
        _ => None,
    };
    match bad {
        None => on_disk(name),
        Some(reason) => Err(Error::malformed(WHAT, format!("{reason}: {name:?}"))),
    }
}

#[cfg(unix)]
fn on_disk(name: &Name) -> Result<&OsStr> {
    Ok(std::os::unix::ffi::OsStrExt::from_bytes(name.as_bytes()))
}

#[cfg(not(unix))]
fn on_disk(name: &Name) -> Result<&OsStr> {
    name.to_str().map(OsStr::new)
}

/// Why Windows would take a name for something else than one file of that name.
fn bad_on_windows(name: &str) -> Option<&'static str> {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    if name.contains(|char: char| char.is_control() || "\\:*?\"<>|".contains(char)) {
        return Some("it holds a character that Windows keeps for itself");
    }
    if name.ends_with(['.', ' ']) {
        return Some("it ends with a dot or a space, which Windows drops");
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().any(|device| {
        let number = stem.strip_prefix(device).map(|rest| rest.chars().collect::<Vec<_>>());
        matches!(number.as_deref(), Some(['0'..='9' | '¹' | '²' | '³']))
    });
    (numbered || DEVICES.contains(&&stem[..])).then_some("it is a device of Windows")
}

/// Where a symbolic link points.
pub(super) fn target(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(target) if !target.contains('\0') && !target.is_empty() => Ok(target.to_owned()),
        _ => Err(Error::malformed("symbolic link", "it does not point to a path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a\0b"] {
            assert!(matches!(check(&bad.into()), Err(Error::Malformed { .. })), "{bad:?}");
        }
        for good in ["a", "...", ".hidden", "a b", "ä", "-rf"] {
            assert!(check(&good.into()).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_that_windows_takes_for_something_else() {
        for bad in [
            "a\\b",
            "c:",
            "a:stream",
            "nul",
            "NUL.txt",
            "com1",
            "LPT¹.log",
            "a.",
            "a ",
            "con .x",
            "a\x07",
        ] {
            assert!(bad_on_windows(bad).is_some(), "{bad:?}");
        }
        for good in ["a", "com", "com10", "null", "console.log", "a.b", "ä"] {
            assert!(bad_on_windows(good).is_none(), "{good:?}");
        }
    }
}
