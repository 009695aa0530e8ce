//! Content paths: `/ipfs/<cid>/…`, `/ipld/<cid>/…`, or a CID.

use std::{fmt, str::FromStr};

use ipfs_traits::{Cid, Error, Result};

/// A CID, and a way on from it.
///
/// In the namespace `/ipfs` names are those of UnixFS where a block is dag-pb, and keys of maps and
/// places in lists elsewhere; in `/ipld` they are keys and places everywhere. `/ipns` comes with
/// naming; until then it is a typed error.
///
/// ```
/// use ipfs_core::Path;
///
/// let path: Path = "/ipfs/bafkqaaa/a//b/".parse()?;
/// assert_eq!(path.segments(), ["a", "b"]);
/// assert_eq!(path.to_string(), "/ipfs/bafkqaaa/a/b");
/// assert_eq!("bafkqaaa".parse::<Path>()?, "/ipfs/bafkqaaa".parse()?);
/// assert!("/ipfs/bafkqaaa/../b".parse::<Path>().is_err());
/// # Ok::<(), ipfs_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    namespace: Namespace,
    root: Cid,
    segments: Vec<String>,
}

/// How the names of a [`Path`] are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Namespace {
    /// `/ipfs`: files and directories.
    Ipfs,
    /// `/ipld`: the data model.
    Ipld,
}

/// Bytes of a path: what the URL of a gateway can hold.
const MAX_LEN: usize = 32_767;

impl Path {
    /// The root.
    pub const fn root(&self) -> &Cid {
        &self.root
    }

    /// The namespace.
    pub const fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The names behind the root; none of them is empty.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path that goes on by one name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that is empty, `.` or `..`, or holds a slash or a NUL.
    pub fn join(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.contains('/') {
            return Err(invalid(format!("{name:?} is not one name")));
        }
        self.segments.push(checked(&name)?);
        Ok(self)
    }
}

impl From<Cid> for Path {
    fn from(root: Cid) -> Self {
        Self { namespace: Namespace::Ipfs, root, segments: Vec::new() }
    }
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > MAX_LEN {
            return Err(Error::limit("bytes of a path", MAX_LEN, text.len()));
        }
        let mut segments = text.split('/').filter(|segment| !segment.is_empty());
        let namespace = match text.starts_with('/').then(|| segments.next()).flatten() {
            Some("ipfs") => Namespace::Ipfs,
            Some("ipld") => Namespace::Ipld,
            Some("ipns") => return Err(Error::unsupported("a path in /ipns")),
            Some(other) => return Err(invalid(format!("there is no namespace {other:?}"))),
            None => Namespace::Ipfs,
        };
        let root = segments.next().ok_or_else(|| invalid("it has no root"))?;
        let root = root.parse().map_err(|error| invalid(format!("its root {root:?}: {error}")))?;
        let segments = segments.map(checked).collect::<Result<_>>()?;
        Ok(Self { namespace, root, segments })
    }
}

/// Dots would mean one thing here and another one to what a path is handed on to.
fn checked(name: &str) -> Result<String> {
    if name == "." || name == ".." || name.contains('\0') {
        return Err(invalid(format!("{name:?} is no name of an entry")));
    }
    Ok(name.into())
}

fn invalid(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid("path", reason)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = match self.namespace {
            Namespace::Ipfs => "ipfs",
            Namespace::Ipld => "ipld",
        };
        write!(f, "/{namespace}/{}", self.root)?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

/// What every call that takes a path takes: a [`Path`], a CID, or the text of either.
pub trait IntoPath {
    /// The path.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no path; [`Error::Limit`] for one beyond 32,767 bytes;
    /// [`Error::Unsupported`] for `/ipns`.
    fn into_path(self) -> Result<Path>;
}

impl IntoPath for Path {
    fn into_path(self) -> Result<Path> {
        Ok(self)
    }
}

impl IntoPath for &Path {
    fn into_path(self) -> Result<Path> {
        Ok(self.clone())
    }
}

impl IntoPath for Cid {
    fn into_path(self) -> Result<Path> {
        Ok(self.into())
    }
}

impl IntoPath for &Cid {
    fn into_path(self) -> Result<Path> {
        Ok((*self).into())
    }
}

impl IntoPath for &str {
    fn into_path(self) -> Result<Path> {
        self.parse()
    }
}

impl IntoPath for &String {
    fn into_path(self) -> Result<Path> {
        self.parse()
    }
}

impl IntoPath for String {
    fn into_path(self) -> Result<Path> {
        self.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_says_why() {
        let refused = |text: &str| text.parse::<Path>().unwrap_err();
        for text in ["", "/", "/ipfs", "/ipfs//", "/ipld/foo", "/foo/bafkqaaa", "ipfs/bafkqaaa"] {
            assert!(matches!(refused(text), Error::Invalid { what: "path", .. }), "{text}");
        }
        assert!(matches!(refused("/ipfs/bafkqaaa/./a"), Error::Invalid { .. }));
        assert!(matches!(refused("/ipns/example.com"), Error::Unsupported(_)));
        let long = format!("/ipfs/bafkqaaa/{}", "a".repeat(MAX_LEN));
        assert!(matches!(refused(&long), Error::Limit { limit: 32_767, .. }));
        let root: Path = "bafkqaaa".parse().unwrap();
        assert!(root.clone().join("a/b").is_err() && root.clone().join("").is_err());
        assert_eq!(root.join("a").unwrap().to_string(), "/ipfs/bafkqaaa/a");
    }
}
