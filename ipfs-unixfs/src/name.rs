//! Names of entries: UTF-8 by the specification, any bytes in what exists.

use std::{borrow::Borrow, fmt, ops::Deref};

use bytes::Bytes;
use ipfs_traits::{Error, Result};

/// The name of an entry of a directory.
///
/// The specification wants UTF-8, and what Kubo makes of a Unix disk may be any bytes; so a name is
/// bytes, and [`to_str`](Self::to_str) says whether they are text. It is a stranger's, and may be
/// empty, lead elsewhere (`..`), or hold a slash: whoever writes it somewhere checks it first.
///
/// Clones share their memory, which may be that of a whole block.
///
/// ```
/// use ipfs_unixfs::Name;
///
/// let name = Name::from("a.txt");
/// assert_eq!(name, "a.txt");
/// assert_eq!(name.to_str()?, "a.txt");
/// let odd = Name::from(&b"\xff"[..]);
/// assert!(odd.to_str().is_err());
/// assert_eq!(odd.to_string(), "\u{fffd}");
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

impl Name {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What comes behind the first `count` bytes, which there are.
    pub(crate) fn without_prefix(&self, count: usize) -> Self {
        Self(self.0.slice(count..))
    }

    /// Whether an entry may be made with this name: one that every reader takes for one name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], which says of `what`.
    pub(crate) fn check_new(&self, what: &'static str) -> Result<()> {
        let bad = match &self.0[..] {
            b"" => "a name is empty",
            b"." | b".." => "a name leads elsewhere",
            name if name.contains(&b'/') => "a name holds a slash",
            name if name.contains(&0) => "a name holds a zero byte",
            _ => return Ok(()),
        };
        Err(Error::invalid(what, format!("{bad}: {self:?}")))
    }

    /// The name as text.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it is not UTF-8.
    pub fn to_str(&self) -> Result<&str> {
        std::str::from_utf8(&self.0)
            .map_err(|_| Error::malformed("name of an entry", "it is not UTF-8"))
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Name {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(name))
    }
}

impl PartialEq<[u8]> for Name {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// How much of a path is told in an error: as much as systems take.
const MAX_TOLD: usize = 4096;

/// Names as a path, for errors: each behind a slash, and not more than anybody would read.
pub(crate) fn path_text<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    let mut path = String::new();
    for name in names {
        path.push('/');
        let (told, rest) = name.split_at(name.len().min(MAX_TOLD));
        path.push_str(&String::from_utf8_lossy(told));
        if path.len() > MAX_TOLD || !rest.is_empty() {
            path.push('\u{2026}');
            break;
        }
    }
    path
}

/// As text, with U+FFFD in the place of what is not UTF-8.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Quoted and escaped, so that no name can act on a terminal.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
