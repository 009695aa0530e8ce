//! What can be wrong with a reference.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use ipfs_traits::{Cid, Error};

use super::{State, WHAT, paths::is_absent};

/// Why a reference cannot be read: what Kubo calls it, and the error for whoever wanted the block.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) state: State,
    error: Error,
}

impl Broken {
    /// The record makes no sense, or cannot be followed here.
    pub(super) const fn record(error: Error) -> Self {
        Self { state: State::Other, error }
    }

    /// What is there are not the bytes of the block.
    pub(super) const fn changed(cid: Cid) -> Self {
        Self { state: State::Changed, error: Error::Corrupt(cid) }
    }

    /// What hashing says of bytes that were read.
    pub(super) fn hashed(error: Error) -> Self {
        match error {
            Error::Corrupt(cid) => Self::changed(cid),
            other => Self::record(other),
        }
    }

    /// The server, or the way to it, failed.
    pub(super) const fn server(error: Error) -> Self {
        Self { state: State::FileError, error }
    }

    pub(super) fn into_error(self) -> Error {
        self.error
    }
}

/// What is wrong with a file or a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("{} leads out of the root", path.display())]
    Outside { path: PathBuf },

    #[error("{} is not a file", path.display())]
    NotFile { path: PathBuf },

    #[error("{url}: {reason}")]
    Server { url: String, reason: Cow<'static, str> },
}

impl FileError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Broken {
        Self::Io { action, path: path.to_owned(), source }.into()
    }

    pub(super) fn server(url: &str, reason: impl Into<Cow<'static, str>>) -> Broken {
        Self::Server { url: url.to_owned(), reason: reason.into() }.into()
    }
}

impl From<FileError> for Broken {
    fn from(error: FileError) -> Self {
        let state = match &error {
            FileError::Io { source, .. } if is_absent(source.kind()) => State::NotFound,
            _ => State::FileError,
        };
        Self { state, error: Error::component(WHAT, error) }
    }
}
