//! Content paths: `/ipfs/<cid>/…`, `/ipld/<cid>/…`, `/ipns/<name>/…`, their URIs, or a CID.

mod uri;

use std::{fmt, str::FromStr};

use ipfs_traits::{Cid, Error, Result};

/// A root, and a way on from it.
///
/// In the namespace `/ipfs` names are those of UnixFS where a block is dag-pb, and keys of maps and
/// places in lists elsewhere; in `/ipld` they are keys and places everywhere. A path in `/ipns` can
/// be held and shown; what it leads to is a typed error until names can be resolved.
///
/// # What is a path
///
/// [`FromStr`] takes, as Kubo does on its command line:
/// - a content path such as `/ipfs/bafkqaaa/a/b`. Every character of a name stands for itself:
///   `%20` are three of them.
/// - a URI such as `ipfs://bafkqaaa/a%20b`, `ipfs:bafkqaaa`, `ipns://…` or `ipld://…`. Case does
///   not matter in its scheme, percent-encoding is undone once the names are apart, and a query or
///   a fragment is no part of the path.
/// - a CID, with names behind it or not: in `/ipfs`.
///
/// [`canonical`](Self::canonical) takes only the first, for places where nothing else may stand.
///
/// Empty names are left out, a slash at the end is kept and means nothing, `.` is left out, and `..`
/// takes back the name before it; one that would take back the root is an error. Names are text: an
/// entry whose name is not UTF-8 is reached with [`ipfs_unixfs::Exporter::resolve`], and so is one
/// that is called `.` or `..`. A name with a slash or a NUL in it, which a URI can spell, is an
/// error.
///
/// ```
/// use ipfs_core::Path;
///
/// let path: Path = "/ipfs/bafkqaaa/a//c/../b%20c".parse()?;
/// assert_eq!(path.segments(), ["a", "b%20c"]);
/// assert_eq!(path.to_string(), "/ipfs/bafkqaaa/a/b%20c");
/// assert_eq!(path.to_uri(), "ipfs://bafkqaaa/a/b%2520c");
/// assert_eq!("IPFS://bafkqaaa/a/b%2520c?x#y".parse::<Path>()?, path);
/// assert_eq!("bafkqaaa".parse::<Path>()?, "/ipfs/bafkqaaa".parse()?);
/// assert!("/ipfs/bafkqaaa/../b".parse::<Path>().is_err());
/// # Ok::<(), ipfs_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    root: Root,
    segments: Vec<String>,
    slash: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Root {
    Ipfs(Cid),
    Ipld(Cid),
    Ipns(String),
}

/// How the names of a [`Path`] are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Namespace {
    /// `/ipfs`: files and directories.
    Ipfs,
    /// `/ipld`: the data model.
    Ipld,
    /// `/ipns`: what a name leads to now.
    Ipns,
}

/// Bytes of a path: what the URL of a gateway can hold.
const MAX_LEN: usize = 32_767;

impl Namespace {
    const ALL: [Self; 3] = [Self::Ipfs, Self::Ipld, Self::Ipns];

    /// Its first name in a path, and its scheme in a URI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipfs => "ipfs",
            Self::Ipld => "ipld",
            Self::Ipns => "ipns",
        }
    }

    /// Whether what a path leads to can change.
    pub const fn is_mutable(self) -> bool {
        matches!(self, Self::Ipns)
    }
}

impl Path {
    /// Parses a content path, and nothing else: no URI, no CID alone.
    ///
    /// # Errors
    ///
    /// As [`IntoPath::into_path`].
    pub fn canonical(text: &str) -> Result<Self> {
        check_len(text)?;
        let mut names = text.split('/').filter(|name| !name.is_empty());
        if !text.starts_with('/') {
            return Err(invalid("it does not begin with a slash"));
        }
        let namespace = names.next().ok_or_else(|| invalid("it has no namespace"))?;
        let known = Namespace::ALL.into_iter().find(|known| known.name() == namespace);
        let known = known.ok_or_else(|| invalid(format!("there is no namespace {namespace:?}")))?;
        let root = names.next().ok_or_else(|| invalid("it has no root"))?;
        Self::new(known, root)?.go(names, text.ends_with('/'))
    }

    fn new(namespace: Namespace, root: &str) -> Result<Self> {
        let cid =
            || root.parse::<Cid>().map_err(|error| invalid(format!("its root {root:?}: {error}")));
        let root = match namespace {
            Namespace::Ipfs => Root::Ipfs(cid()?),
            Namespace::Ipld => Root::Ipld(cid()?),
            Namespace::Ipns => Root::Ipns(checked(root)?.to_owned()),
        };
        Ok(Self { root, segments: Vec::new(), slash: false })
    }

    /// Goes on along these names.
    fn go<'a>(mut self, names: impl IntoIterator<Item = &'a str>, slash: bool) -> Result<Self> {
        for name in names {
            match name {
                "" | "." => {}
                ".." => {
                    let outside = || invalid("it leads out of its root");
                    self.segments.pop().ok_or_else(outside)?;
                }
                name => self.segments.push(checked(name)?.to_owned()),
            }
        }
        self.slash = slash;
        Ok(self)
    }

    /// The CID that it begins with.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] in `/ipns`.
    pub fn root(&self) -> Result<&Cid> {
        match &self.root {
            Root::Ipfs(cid) | Root::Ipld(cid) => Ok(cid),
            Root::Ipns(_) => Err(Error::unsupported("resolving names in /ipns")),
        }
    }

    /// The name that it begins with in `/ipns`, as it was written.
    pub fn name(&self) -> Option<&str> {
        match &self.root {
            Root::Ipns(name) => Some(name),
            _ => None,
        }
    }

    /// The namespace.
    pub const fn namespace(&self) -> Namespace {
        match &self.root {
            Root::Ipfs(_) => Namespace::Ipfs,
            Root::Ipld(_) => Namespace::Ipld,
            Root::Ipns(_) => Namespace::Ipns,
        }
    }

    /// The names behind the root; none of them is empty, `.` or `..`.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path that goes on along the names of a relative path, which may begin with a slash, and
    /// in which `..` takes back a name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for one that leads out of the root, or for a NUL; [`Error::Limit`] for
    /// more than 32,767 bytes in all.
    pub fn join(self, names: impl AsRef<str>) -> Result<Self> {
        let names = names.as_ref();
        let path = self.go(names.split('/'), names.ends_with('/'))?;
        check_len(&path.to_string())?;
        Ok(path)
    }

    /// The path that goes on by one name, such as that of an entry of a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that is empty, `.` or `..`, or holds a slash or a NUL;
    /// [`Error::Limit`] for more than 32,767 bytes in all.
    pub fn child(self, name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        if matches!(name, "" | "." | "..") {
            return Err(invalid(format!("{name:?} is not the name of an entry")));
        }
        let name = checked(name)?;
        self.join(name)
    }
}

fn check_len(text: &str) -> Result<()> {
    match text.len() > MAX_LEN {
        true => Err(Error::limit("bytes of a path", MAX_LEN, text.len())),
        false => Ok(()),
    }
}

/// What no system can hold in a name, and what would be two names to whatever a path is handed on
/// to.
fn checked(name: &str) -> Result<&str> {
    match name.contains(['/', '\0']) {
        true => Err(invalid(format!("{name:?} is not one name"))),
        false => Ok(name),
    }
}

fn invalid(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid("path", reason)
}

impl From<Cid> for Path {
    fn from(root: Cid) -> Self {
        Self { root: Root::Ipfs(root), segments: Vec::new(), slash: false }
    }
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        check_len(text)?;
        match uri::split(text) {
            Some((namespace, rest)) => Self::from_uri(namespace, rest),
            None if text.starts_with('/') => Self::canonical(text),
            None => Self::canonical(&format!("/ipfs/{text}")),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.namespace().name())?;
        match &self.root {
            Root::Ipfs(cid) | Root::Ipld(cid) => cid.fmt(f)?,
            Root::Ipns(name) => f.write_str(name)?,
        }
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))?;
        f.write_str(if self.slash { "/" } else { "" })
    }
}

/// What every call that takes a path takes: a [`Path`], a CID, or the text of either.
pub trait IntoPath {
    /// The path.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no path; [`Error::Limit`] for one beyond 32,767 bytes.
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
mod tests;
