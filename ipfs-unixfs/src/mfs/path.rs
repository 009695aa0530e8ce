//! Paths in a mutable tree.

use std::fmt;

use ipfs_traits::{Error, Result};

use crate::Name;

/// The most bytes of a path.
const MAX_LEN: usize = 32_767;

/// A path from the root: names, none for the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Name>);

impl Path {
    /// Slashes stand between names; more of them than needed mean nothing.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        if text.len() > MAX_LEN {
            return Err(Error::limit("bytes of a path", MAX_LEN, text.len()));
        }
        let names = text.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names
            .map(|name| match name {
                b"." | b".." => Err(Error::invalid("path", "a name of dots leads elsewhere")),
                _ if name.contains(&0) => Err(Error::invalid("path", "a name holds a zero byte")),
                _ => Ok(Name::from(name)),
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    pub(super) const fn root() -> Self {
        Self(Vec::new())
    }

    pub(super) fn names(&self) -> &[Name] {
        &self.0
    }

    /// The directory and the name in it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the root.
    pub(super) fn split(&self) -> Result<(&[Name], &Name)> {
        match self.0.split_last() {
            Some((name, directory)) => Ok((directory, name)),
            None => Err(Error::invalid("path", "the root has no name")),
        }
    }

    /// The path that goes on by one name.
    pub(super) fn join(mut self, name: Name) -> Self {
        self.0.push(name);
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_slashes() {
        let parse = |text: &str| Path::parse(text.as_bytes());
        assert!(parse("").unwrap().names().is_empty() && parse("//").unwrap().names().is_empty());
        let path = parse("a//b/").unwrap();
        assert_eq!(path, parse("/a/b").unwrap());
        assert_eq!(path.to_string(), "/a/b");
        assert_eq!(path.split().unwrap().1, &"b");
        assert!(parse("/").unwrap().split().is_err());
        for bad in ["/a/../b", "./a", "a\0b"] {
            assert!(matches!(parse(bad), Err(Error::Invalid { what: "path", .. })));
        }
        assert!(matches!(Path::parse(&[b'a'; MAX_LEN + 1]), Err(Error::Limit { .. })));
    }
}
