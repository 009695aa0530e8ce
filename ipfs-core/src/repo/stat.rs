//! What a node keeps, in numbers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ipfs_traits::{Error, Result, RuntimeExt, Usage};

use crate::{Node, data_dir};

/// What a node keeps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepoStat {
    /// What the store holds and may hold, as far as it knows.
    pub usage: Option<Usage>,
    /// The data directory, if the node has one.
    pub folder: Option<FolderStat>,
}

/// A data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderStat {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub version: u64,
    /// Bytes of all files in it, backups of migrations included. One that has two names counts
    /// twice.
    pub bytes: u64,
    /// Bytes of the datastore's file, if the datastore is there.
    pub state_bytes: Option<u64>,
}

pub(super) async fn stat(node: &Node) -> Result<RepoStat> {
    let usage = node.usage().await?;
    let folder = match node.data_dir().cloned() {
        Some(path) => Some(node.runtime().blocking(move || of_folder(path)).await??),
        None => None,
    };
    Ok(RepoStat { usage, folder })
}

fn of_folder(path: PathBuf) -> Result<FolderStat> {
    let measure = || Ok((size(&path)?, present(fs::metadata(data_dir::state(&path)))?));
    let (bytes, state) = measure().map_err(|error: io::Error| Error::component("stat", error))?;
    let state_bytes = state.map(|state| state.len());
    Ok(FolderStat { path, version: data_dir::VERSION, bytes, state_bytes })
}

/// Bytes of all files in a folder. What goes meanwhile counts nothing.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = present(fs::read_dir(folder))? else { continue };
        for entry in entries {
            let entry = entry?;
            match present(entry.metadata())? {
                Some(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Some(metadata) => bytes += metadata.len(),
                None => {}
            }
        }
    }
    Ok(bytes)
}

fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
