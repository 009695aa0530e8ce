//! Whole repositories on disk: reading their objects, and writing a new one.
//!
//! What is on disk is not trusted. Objects are hashed when they are read, and refused if their id is
//! another or if they are part of a collision attack; sizes are bounded before memory is taken.
//!
//! All calls here block on files: in an async program they belong where blocking work goes.
//!
//! ```no_run
//! use ipld_git::repository::{Error, Limits, Repository};
//!
//! let repository = Repository::open(".")?;
//! let report = repository.export(&Limits::default(), |cid, object| {
//!     println!("{cid}: {} bytes", object.len());
//!     Ok::<(), Error>(())
//! })?;
//! println!("{report}");
//! # Ok::<(), Error>(())
//! ```

mod export;
mod new;
mod read;
mod references;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

pub use self::{
    export::{Limits, Report},
    new::NewRepository,
    read::Repository,
};
use crate::ObjectId;

/// Why a repository cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no repository here.
    #[error("no git repository at {}", .0.display())]
    NotFound(PathBuf),

    /// Something about the repository that is not understood, or not well formed.
    #[error("{}: {reason}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What it is.
        reason: String,
    },

    /// A file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// An object that is not there.
    #[error("object {0} is missing")]
    Missing(ObjectId),

    /// An object that is not what its id says, or no object.
    #[error("object {id} is damaged")]
    Damaged {
        /// Its id.
        id: ObjectId,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Bytes that are no object, given to be written.
    #[error("not an object to write")]
    Object(#[from] crate::Error),

    /// The packs or loose objects of a repository cannot be listed or read.
    #[error("object database")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// A name that git does not take for a reference.
    #[error("{0:?} is no name of a reference")]
    Reference(String),
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn io_error(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { path, source }
}

/// The text of a file; none where there is no file.
fn read_if_there(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn database(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Database(Box::new(error))
}

/// An object that does not have the id under which it was found.
#[derive(Debug)]
struct OtherId(ObjectId);

impl fmt::Display for OtherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it hashes to {}", self.0)
    }
}

impl std::error::Error for OtherId {}
