//! An entry of a tree that is to be imported.

use std::{fmt, path::PathBuf, pin::Pin};

use bytes::Bytes;
use futures_io::AsyncRead;
use ipfs_traits::{Error, Result};

use crate::{Name, data::Mtime};

/// An entry of a tree, for [`Importer::entries`](crate::Importer::entries): something of an archive,
/// of a form that was uploaded, of a database.
///
/// ```
/// use ipfs_unixfs::{data::Mtime, NewEntry};
///
/// let mut entry = NewEntry::file(["docs", "hello.txt"], "hello");
/// entry.mode = Some(0o644);
/// entry.mtime = Some(Mtime { seconds: 1_700_000_000, nanos: None });
/// ```
#[derive(Debug)]
pub struct NewEntry {
    /// Where it goes: the names on the way from the root, its own last, at most
    /// [`MAX_DEPTH`](Self::MAX_DEPTH) of them. The root itself has none.
    pub path: Vec<Name>,
    /// What it is.
    pub content: NewContent,
    /// Its permissions, which are written as [`Params::mode`](crate::Params::mode) says.
    pub mode: Option<u32>,
    /// When it was changed, which is written as [`Params::mtime`](crate::Params::mtime) says.
    pub mtime: Option<Mtime>,
}

/// What a [`NewEntry`] is.
#[non_exhaustive]
pub enum NewContent {
    /// A directory. Those on the way to an entry need not be told; one that is stands there even if
    /// it stays empty, unless [`Params::empty_directories`](crate::Params::empty_directories) says
    /// otherwise, and has a mode and a time.
    Directory,
    /// A file of these bytes.
    Bytes(Bytes),
    /// A file of what this gives, to its end. It is read before the next entry is asked for, so that
    /// it may be a part of what the entries come from.
    Reader(Pin<Box<dyn AsyncRead + Send>>),
    /// A file on disk, with its content alone: mode and time are those of the entry.
    Disk(PathBuf),
    /// A symbolic link, and where it leads.
    Symlink(Bytes),
}

impl fmt::Debug for NewContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("Directory"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Reader(_) => f.write_str("Reader"),
            Self::Disk(path) => f.debug_tuple("Disk").field(path).finish(),
            Self::Symlink(target) => f.debug_tuple("Symlink").field(target).finish(),
        }
    }
}

impl NewEntry {
    /// The most names of a path: more than any disk takes, whose paths have 4,096 bytes.
    pub const MAX_DEPTH: usize = 2048;

    /// An entry without mode and time.
    pub fn new(path: impl IntoIterator<Item: Into<Name>>, content: NewContent) -> Self {
        let path = path.into_iter().map(Into::into).collect();
        Self { path, content, mode: None, mtime: None }
    }

    /// A directory.
    pub fn directory(path: impl IntoIterator<Item: Into<Name>>) -> Self {
        Self::new(path, NewContent::Directory)
    }

    /// A file of bytes.
    pub fn file(path: impl IntoIterator<Item: Into<Name>>, bytes: impl Into<Bytes>) -> Self {
        Self::new(path, NewContent::Bytes(bytes.into()))
    }

    /// A file of what a reader gives.
    pub fn reader(
        path: impl IntoIterator<Item: Into<Name>>,
        reader: impl AsyncRead + Send + 'static,
    ) -> Self {
        Self::new(path, NewContent::Reader(Box::pin(reader)))
    }

    /// A symbolic link.
    pub fn symlink(path: impl IntoIterator<Item: Into<Name>>, target: impl Into<Bytes>) -> Self {
        Self::new(path, NewContent::Symlink(target.into()))
    }
}

/// Whether an entry may go there.
pub(super) fn check(path: &[Name]) -> Result<()> {
    if path.len() > NewEntry::MAX_DEPTH {
        return Err(Error::limit("names of a path", NewEntry::MAX_DEPTH, path.len()));
    }
    path.iter().try_for_each(|name| name.check_new("entry"))
}
