//! A difference of two trees, and a step from one to the other.

use std::fmt;

use crate::{Name, Target, data::Mtime};

/// A difference of two trees, as [`Diff`](crate::Diff) finds it and
/// [`Patcher::apply`](crate::Patcher::apply) makes it.
///
/// A path is the names from the root on; that of the root has none. Names are a stranger's, and may
/// be any bytes.
///
/// Shown as text a change is one line: a sign (`+`, `-`, `~`, or `t` for
/// [`Touched`](Self::Touched)), the CIDs, and the path, quoted and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Something is there that was not.
    Added {
        /// Where.
        path: Vec<Name>,
        /// What it is, with all that is below it.
        after: Target,
    },
    /// Something is not there any more.
    Removed {
        /// Where it was.
        path: Vec<Name>,
        /// What it was, with all that was below it.
        before: Target,
    },
    /// Something else is there than was: another file, or one in the place of a directory. What is
    /// a directory before and after is compared entry by entry instead.
    Changed {
        /// Where.
        path: Vec<Name>,
        /// What was there.
        before: Target,
        /// What is there now.
        after: Target,
    },
    /// A directory has another mode or time of change than it had. What differs in it comes as
    /// changes of its own, behind this one.
    Touched {
        /// Where.
        path: Vec<Name>,
        /// The mode that it has now.
        mode: Option<u32>,
        /// The time of change that it has now.
        mtime: Option<Mtime>,
    },
}

impl Change {
    /// Where it is.
    pub fn path(&self) -> &[Name] {
        match self {
            Self::Added { path, .. }
            | Self::Removed { path, .. }
            | Self::Changed { path, .. }
            | Self::Touched { path, .. } => path,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { after, .. } => write!(f, "+ {}", after.cid)?,
            Self::Removed { before, .. } => write!(f, "- {}", before.cid)?,
            Self::Changed { before, after, .. } => write!(f, "~ {} {}", before.cid, after.cid)?,
            Self::Touched { .. } => f.write_str("t")?,
        }
        f.write_str(" \"")?;
        for (at, name) in self.path().iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "/" })?;
            write!(f, "{}", name.escape_ascii())?;
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_no_name_can_break() {
        let path = vec!["a b".into(), Name::from(&b"\x1b[2J\n\"\xff"[..])];
        let change = Change::Touched { path, mode: None, mtime: None };
        assert_eq!(change.to_string(), r#"t "a b/\x1b[2J\n\"\xff""#);
    }
}
