//! What can go wrong in a pack store.

use std::{
    io,
    path::{Path, PathBuf},
};

use ipfs_traits::Error;

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf },

    /// What any part of the family says.
    #[error(transparent)]
    Other(#[from] Error),
}

impl PackError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn damaged(path: &Path) -> Self {
        Self::Damaged { path: path.to_owned() }
    }
}

impl From<PackError> for Error {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Other(error) => error,
            error => Self::component("pack store", error),
        }
    }
}
