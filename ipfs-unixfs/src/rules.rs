//! Rules by which entries of a disk are left out, in the language of `.gitignore` files.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ipfs_traits::{Error, Result};

/// Rules, the later ones before the earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct Rules(Gitignore);

impl Rules {
    /// From the lines of a file of rules.
    pub(crate) fn new(lines: &[String]) -> Result<Self> {
        let bad = |error: ignore::Error| Error::invalid("ignore", error.to_string());
        let mut rules = GitignoreBuilder::new("");
        for line in lines {
            rules.add_line(None, line).map_err(bad)?;
        }
        Ok(Self(rules.build().map_err(bad)?))
    }

    /// Whether the entry at this path, below the folder of the rules, is left out. That a folder
    /// above it is so is not looked at.
    pub(crate) fn leave_out(&self, path: &Path, is_dir: bool) -> bool {
        self.0.matched(path, is_dir).is_ignore()
    }
}
