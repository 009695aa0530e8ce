//! Names that come from a stranger's blocks, before they reach a disk.

use std::ffi::OsStr;

use ipfs_traits::{Error, Result};

use crate::Name;

const WHAT: &str = "name in a directory";

/// The most bytes of a name, of UTF-16 where that is what a system counts: what every common file
/// system holds.
const LONGEST: usize = 255;

/// The name of one file, in the directory where it stands, on this platform, if it can be that.
pub(super) fn check(name: &Name) -> Result<&OsStr> {
    check_plain(name)?;
    let (len, windows) = match name.to_str() {
        Ok(text) if cfg!(windows) => (text.encode_utf16().count(), bad_on_windows(text)),
        _ => (name.len(), None),
    };
    if len > LONGEST {
        return Err(Error::limit("length of a name", LONGEST, len));
    }
    match windows {
        None => on_disk(name),
        Some(reason) => Err(bad(reason, name)),
    }
}

/// Whether a name stands for one entry of the directory where it stands, wherever that is.
pub(crate) fn check_plain(name: &[u8]) -> Result<()> {
    let reason = match name {
        b"" => "it is empty",
        b"." | b".." => "it leads elsewhere",
        name if name.contains(&b'/') => "it holds a slash",
        name if name.contains(&0) => "it holds a zero byte",
        _ => return Ok(()),
    };
    Err(bad(reason, name))
}

fn bad(reason: &str, name: &[u8]) -> Error {
    // The whole of it may be as large as a block.
    let shown = &name[..name.len().min(LONGEST)];
    Error::malformed(WHAT, format!("{reason}: \"{}\"", shown.escape_ascii()))
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
pub(crate) fn check_target(target: &[u8]) -> Result<()> {
    match target.is_empty() || target.contains(&0) {
        true => Err(Error::malformed("symbolic link", "it does not point to a path")),
        false => Ok(()),
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
        let long = "a".repeat(256);
        assert!(check(&long[1..].into()).is_ok());
        assert!(matches!(check(&long.as_str().into()), Err(Error::Limit { limit: 255, .. })));
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
