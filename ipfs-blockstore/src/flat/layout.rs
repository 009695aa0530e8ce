//! Where a block lies in a flatfs folder: the name of its file, and the directory that it shares
//! with others.

use std::fmt;

use ipfs_traits::{Error, Multihash, Result};

/// The file that says how blocks are spread over directories.
pub(super) const SHARDING: &str = "SHARDING";

/// How the name of a block's file ends.
const SUFFIX: &str = ".data";

/// How blocks are spread over directories: by a part of their key. The default is what Kubo's
/// repositories have: the two characters before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sharding {
    /// The first so many characters of the key.
    Prefix(usize),
    /// The last so many.
    Suffix(usize),
    /// So many before the last.
    NextToLast(usize),
}

impl Default for Sharding {
    fn default() -> Self {
        Self::NextToLast(2)
    }
}

impl Sharding {
    /// No file system takes longer names of directories.
    const MAX_CHARS: usize = 255;

    /// Reads what [`Display`](fmt::Display) writes: `/repo/flatfs/shard/v1/next-to-last/2`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for anything else, 0 characters and more than 255 among it;
    /// [`Error::Newer`] for a version beyond 1.
    pub fn parse(text: &str) -> Result<Self> {
        const WHAT: &str = "SHARDING file";
        let bad = |reason: &'static str| Error::malformed(WHAT, reason);
        let mut parts = text
            .trim()
            .strip_prefix("/repo/flatfs/shard/")
            .ok_or_else(|| bad("it does not begin as it should"))?
            .split('/');
        let mut next = || parts.next().unwrap_or_default();
        let (version, function, chars) = (next(), next(), next());
        match version.strip_prefix('v').and_then(|version| version.parse().ok()) {
            Some(1) if version == "v1" => {}
            Some(found) if found > 1 => {
                return Err(Error::Newer { what: WHAT, found, known: 1 });
            }
            _ => return Err(bad("it has no version")),
        }
        let chars = chars.parse().map_err(|_| bad("it has no number of characters"))?;
        if parts.next().is_some() {
            return Err(bad("something follows it"));
        }
        let sharding = match function {
            "prefix" => Self::Prefix(chars),
            "suffix" => Self::Suffix(chars),
            "next-to-last" => Self::NextToLast(chars),
            _ => return Err(bad("its function is unknown")),
        };
        sharding.check().map_err(bad)
    }

    /// The same, if directories can be named so.
    pub(super) fn check(self) -> Result<Self, &'static str> {
        let (Self::Prefix(chars) | Self::Suffix(chars) | Self::NextToLast(chars)) = self;
        match (1..=Self::MAX_CHARS).contains(&chars) {
            true => Ok(self),
            false => Err("its number of characters is not 1 to 255"),
        }
    }

    /// The directory of a key. What a short key lacks is filled up with `_` from the left (for a
    /// prefix from the right).
    pub fn directory(self, key: &str) -> String {
        let (part, chars) = match self {
            Self::Prefix(chars) => {
                let part: String = key.chars().take(chars).collect();
                let padding = padding(&part, chars);
                return part + &padding;
            }
            Self::Suffix(chars) => (key, chars),
            Self::NextToLast(chars) => {
                (key.get(..key.len().saturating_sub(1)).unwrap_or(""), chars)
            }
        };
        let from = part.len().saturating_sub(chars);
        let part = part.get(from..).unwrap_or("");
        padding(part, chars) + part
    }
}

/// What a part lacks to have so many characters, which is nothing beyond those that may be.
fn padding(part: &str, chars: usize) -> String {
    "_".repeat(chars.min(Sharding::MAX_CHARS).saturating_sub(part.len()))
}

impl fmt::Display for Sharding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (function, chars) = match self {
            Self::Prefix(chars) => ("prefix", chars),
            Self::Suffix(chars) => ("suffix", chars),
            Self::NextToLast(chars) => ("next-to-last", chars),
        };
        write!(f, "/repo/flatfs/shard/v1/{function}/{chars}")
    }
}

/// The name of the file of a key.
pub(super) fn file_name(key: &str) -> String {
    format!("{key}{SUFFIX}")
}

/// The block that a file of this name in this directory holds; `None` for files that are none of
/// ours: those with other names, and those in a directory in which nobody looks for them.
pub(super) fn parse_file_name(
    name: &str,
    directory: &str,
    sharding: Sharding,
) -> Option<Multihash> {
    let key = name.strip_suffix(SUFFIX)?;
    crate::key::parse(key.as_bytes()).filter(|_| sharding.directory(key) == directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for sharding in [Sharding::Prefix(1), Sharding::Suffix(255), Sharding::NextToLast(2)] {
            assert_eq!(Sharding::parse(&sharding.to_string()).unwrap(), sharding);
        }
        for other in ["v1/prefix/0", "v1/prefix/256", "v1/prefix/-1", "v1/prefix", "v01/prefix/1"] {
            let parsed = Sharding::parse(&format!("/repo/flatfs/shard/{other}"));
            assert!(matches!(parsed, Err(Error::Malformed { .. })), "{other}: {parsed:?}");
        }
        // Nobody is asked whether it can be before this one is made.
        assert_eq!(Sharding::Suffix(usize::MAX).directory("AB").len(), 255);
        assert_eq!(Sharding::default().to_string(), "/repo/flatfs/shard/v1/next-to-last/2");
    }

    #[test]
    fn file_names_that_are_not_ours_are_told_apart() {
        let hash = Multihash::wrap(0x12, &[7; 32]).unwrap();
        let name = file_name(&crate::key::of(&hash));
        let sharding = Sharding::default();
        let directory = sharding.directory(&crate::key::of(&hash));
        let parse = |name: &str| parse_file_name(name, &directory, sharding);
        assert_eq!(parse(&name), Some(hash));
        for other in ["", ".data", "x.data", "put-123", &name.to_lowercase(), &name[1..]] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse(&format!("AA{name}")), None);
        assert_eq!(parse_file_name(&name, "XX", sharding), None);
    }
}
