//! What the stores need of a file system, in one place: a form for each platform, and a seam where
//! tests put a file system that fails.

mod disk;

use std::{
    fmt::{self, Debug},
    io,
    path::Path,
    sync::Arc,
};

pub use self::disk::Disk;

/// A folder on a file system, as strict about durability as POSIX is.
///
/// # Contract
///
/// What is written is there at once for every reader, but may be gone, or torn, after a loss of
/// power, until it is synced: the bytes of a file by [`sync_file`](Self::sync_file), its name by
/// [`sync_dir`](Self::sync_dir) of the directory that holds it, all at once by
/// [`sync_all`](Self::sync_all) where the platform can. All paths lie below the folder. Every call
/// blocks.
///
/// After a failed sync nobody knows what is on disk: whoever sees one must not take a later success
/// as saying anything of what came before it.
///
/// # Implementing
///
/// [`Disk`] is the real one. A test implements it to fail at chosen points.
///
/// # Cancel safety
///
/// Nothing here waits asynchronously.
///
/// # Errors
///
/// Those of `std::fs`. Removing or renaming what is absent is [`io::ErrorKind::NotFound`], making
/// what is there [`io::ErrorKind::AlreadyExists`].
pub trait Files: Debug + Send + Sync + 'static {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// How many bytes a file has.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// The names in a directory, and whether each is a directory itself. Names that are not Unicode
    /// are left out: the stores make none.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, bool)>>;

    /// Makes a directory.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file with this content.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Opens a file to be read at any place, and unless it is [`Open::Reading`] written too; with
    /// [`Open::New`] it is made.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn OpenFile>>;

    /// Gives a file another name, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the content of a file durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable: those made, changed and removed.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes everything below the folder durable; `false` where the platform cannot, and then
    /// nothing is done.
    fn sync_all(&self) -> io::Result<bool>;

    /// Takes a lock that no other process, and nobody else in this one, holds at the same time;
    /// `None` when it is taken.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// One that is there.
    Existing,
    /// One that is not there, and is made.
    New,
    /// One that is there, only to be read: it may be one that nobody may write.
    Reading,
}

/// A file that is open, read and written at any place by several at once.
///
/// It stays readable when its name is removed.
#[allow(clippy::len_without_is_empty, reason = "a file is rarely asked whether it is empty")]
pub trait OpenFile: Debug + Send + Sync {
    /// Fills `buf` from `offset` on; gives how many bytes there were, fewer only at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// How many bytes it has.
    fn len(&self) -> io::Result<u64>;

    /// Cuts what is behind so many bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes its content durable, its length too.
    fn sync(&self) -> io::Result<()>;

    /// Takes a lock on the file that nobody else who has it open, here or in another process, holds
    /// at the same time; it is held until this is dropped. `false` when it is taken.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Holds a lock until it is dropped, or the process ends.
pub struct Lock(#[expect(dead_code, reason = "it is held for its drop")] Box<dyn Send + Sync>);

impl Lock {
    /// A lock that is held by a value.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

impl Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}
