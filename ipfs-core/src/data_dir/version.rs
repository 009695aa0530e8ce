//! The file that says what version a data directory has.

use std::path::Path;

use ipfs_blockstore::files::Files;
use ipfs_traits::{Error, Result};

use super::{
    VERSION_FILE,
    file::{failed, read, write},
};

/// The first line of the version file, which tells it from everyone else's.
const MAGIC: &str = "ipfs-core data directory";

/// The third line, as long as a step is under way.
const UNFINISHED: &str = "unfinished";

/// What version a data directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u64,
    /// The step to this version is under way: what it changes is in the backup of the version before.
    pub(super) unfinished: bool,
}

impl Version {
    pub(super) const fn of(number: u64) -> Self {
        Self { number, unfinished: false }
    }

    /// The version of a folder, of those up to `known`; `None` if it has none.
    pub(super) fn read(files: &dyn Files, path: &Path, known: u64) -> Result<Option<Self>> {
        let content = read(files, &path.join(VERSION_FILE))?;
        content.map(|content| Self::parse(&content, known)).transpose()
    }

    /// Writes it, durably: what was there before holds until then.
    pub(super) fn write(self, files: &dyn Files, path: &Path) -> Result<()> {
        let mut text = format!("{MAGIC}\n{}\n", self.number);
        if self.unfinished {
            text.extend([UNFINISHED, "\n"]);
        }
        write(files, &path.join(VERSION_FILE), text.as_bytes())?;
        files.sync_dir(path).map_err(failed("sync", path))
    }

    fn parse(content: &[u8], known: u64) -> Result<Self> {
        let mut lines = std::str::from_utf8(content).unwrap_or_default().lines();
        let magic = lines.next();
        let number = lines.next().and_then(|number| number.parse().ok());
        match (magic, number, lines.next()) {
            (Some(MAGIC), Some(found), _) if found > known => {
                Err(Error::Newer { what: "the data directory", found, known })
            }
            (Some(MAGIC), Some(number @ 1..), None) => Ok(Self::of(number)),
            (Some(MAGIC), Some(number @ 2..), Some(UNFINISHED)) => {
                Ok(Self { number, unfinished: true })
            }
            _ => {
                let what = "version of the data directory";
                Err(Error::malformed(what, "it is none that was ever made"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Version> {
        Version::parse(text.as_bytes(), 2)
    }

    #[test]
    fn versions_are_told_apart() {
        assert_eq!(parse("ipfs-core data directory\n1\n").unwrap(), Version::of(1));
        let under_way = parse("ipfs-core data directory\n2\nunfinished\n").unwrap();
        assert_eq!(under_way, Version { number: 2, unfinished: true });
        // Whatever else it says: an older version must not touch what it does not know.
        for rest in ["", "unfinished\n", "what comes later\n"] {
            let newer = parse(&format!("ipfs-core data directory\n3\n{rest}"));
            assert!(matches!(newer, Err(Error::Newer { found: 3, known: 2, .. })), "{newer:?}");
        }
        for nonsense in ["", "0", "1\nunfinished", "2\nhalf", "-1", "one"] {
            let parsed = parse(&format!("ipfs-core data directory\n{nonsense}"));
            assert!(matches!(parsed, Err(Error::Malformed { .. })), "{nonsense}");
        }
        assert!(parse("18\n").is_err() && parse("\u{1}").is_err() && parse("").is_err());
    }
}
