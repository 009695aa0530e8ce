//! Where a block lies in a flatfs folder: the name of its file, and the directory that it shares
//! with others.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use ipfs_traits::{Error, Multihash, Result, read_multihash};

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
    /// More characters would give every block a directory of its own.
    const MAX_CHARS: usize = 8;

    /// Reads what [`Display`](fmt::Display) writes: `/repo/flatfs/shard/v1/next-to-last/2`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for anything else, [`Error::Newer`] for a version beyond 1.
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
            Some(1) => {}
            Some(found) => return Err(Error::Newer { what: WHAT, found, known: 1 }),
            None => return Err(bad("it has no version")),
        }
        let chars = chars.parse().ok().filter(|chars| (1..=Self::MAX_CHARS).contains(chars));
        let chars = chars.ok_or_else(|| bad("its number of characters is not 1 to 8"))?;
        if parts.next().is_some() {
            return Err(bad("something follows it"));
        }
        match function {
            "prefix" => Ok(Self::Prefix(chars)),
            "suffix" => Ok(Self::Suffix(chars)),
            "next-to-last" => Ok(Self::NextToLast(chars)),
            _ => Err(bad("its function is unknown")),
        }
    }

    /// The directory of a key. What a short key lacks is filled up with `_` from the left (for a
    /// prefix from the right).
    pub fn directory(self, key: &str) -> String {
        let (part, chars) = match self {
            Self::Prefix(chars) => {
                let part: String = key.chars().take(chars).collect();
                return format!("{part:_<chars$}");
            }
            Self::Suffix(chars) => (key, chars),
            Self::NextToLast(chars) => {
                (key.get(..key.len().saturating_sub(1)).unwrap_or(""), chars)
            }
        };
        let from = part.len().saturating_sub(chars);
        format!("{:_>chars$}", part.get(from..).unwrap_or(""))
    }
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

/// The key of a block: its multihash in uppercase base32 without padding.
pub(super) fn key(hash: &Multihash) -> String {
    BASE32_NOPAD.encode(&hash.to_bytes())
}

/// The name of the file of a key.
pub(super) fn file_name(key: &str) -> String {
    format!("{key}{SUFFIX}")
}

/// The block that a file of this name holds; `None` for files that are none of ours.
pub(super) fn parse_file_name(name: &str) -> Option<Multihash> {
    let bytes = BASE32_NOPAD.decode(name.strip_suffix(SUFFIX)?.as_bytes()).ok()?;
    let (hash, used) = read_multihash(&bytes).ok()?;
    (used == bytes.len()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for sharding in [Sharding::Prefix(1), Sharding::Suffix(8), Sharding::NextToLast(2)] {
            assert_eq!(Sharding::parse(&sharding.to_string()).unwrap(), sharding);
        }
        assert_eq!(Sharding::default().to_string(), "/repo/flatfs/shard/v1/next-to-last/2");
    }

    #[test]
    fn file_names_that_are_not_ours_are_told_apart() {
        let hash = Multihash::wrap(0x12, &[7; 32]).unwrap();
        let name = file_name(&key(&hash));
        assert_eq!(parse_file_name(&name), Some(hash));
        for other in ["", ".data", "x.data", "put-123", &name.to_lowercase(), &name[1..]] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
        assert_eq!(parse_file_name(&format!("AA{name}")), None);
    }
}
