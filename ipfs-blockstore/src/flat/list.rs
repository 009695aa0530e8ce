//! Listing, and counting on the way.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Multihash, Result};

use super::{FlatError, Inner, layout, usage::Count};

/// Blocks in one page of a listing.
const PAGE: usize = 1024;

/// How often a directory is counted again that changes meanwhile, before the count is given up.
const RECOUNTS: usize = 5;

/// A listing: first what waits for its name, then one directory after the other.
///
/// What waits at the beginning is passed over in the directories, where it may have come meanwhile.
/// So a block that is there all the time is listed once, from the one place or the other.
///
/// Where nobody knows how much is in the folder, the listing counts it.
struct Listing {
    inner: Arc<Inner>,
    waiting: HashSet<Multihash>,
    first: vec::IntoIter<(Multihash, u64)>,
    directories: Option<vec::IntoIter<String>>,
    directory: Option<Directory>,
    census: Option<u64>,
}

/// A directory, and what of it was not looked at yet.
struct Directory {
    name: String,
    path: PathBuf,
    files: vec::IntoIter<(Multihash, String)>,
    count: Count,
    counts: bool,
}

pub(super) fn list(inner: Arc<Inner>) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
    let (waiting, first) = (HashSet::new(), Vec::new().into_iter());
    let listing =
        Listing { inner, waiting, first, directories: None, directory: None, census: None };
    stream::unfold(Some(listing), |listing| async move {
        let mut listing = listing?;
        let inner = listing.inner.clone();
        let turn = inner.blocking(move |_| {
            let page = listing.page();
            (page, listing)
        });
        match turn.await {
            Ok((Ok(page), _)) if page.is_empty() => None,
            Ok((Ok(page), listing)) => Some((Ok(page), Some(listing))),
            Ok((Err(error), _)) | Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Listing {
    /// The next page; empty at the end.
    fn page(&mut self) -> Result<Vec<(Multihash, u64)>> {
        if self.directories.is_none() {
            self.begin()?;
        }
        let mut page: Vec<_> = self.first.by_ref().take(PAGE).collect();
        while page.len() < PAGE {
            let Some(directory) = &mut self.directory else {
                if self.next_directory()? { continue } else { break }
            };
            let Some((hash, name)) = directory.files.next() else {
                self.leave_directory()?;
                continue;
            };
            let Some(len) = size(&self.inner, &directory.path.join(name))? else { continue };
            directory.count.add(len);
            if !self.waiting.contains(&hash) {
                page.push((hash, len));
            }
        }
        Ok(page)
    }

    fn begin(&mut self) -> Result<()> {
        let first: Vec<(Multihash, u64)> = {
            let mut state = self.inner.state();
            self.census = state.tally.begin();
            state.pending.iter().map(|(hash, pending)| (*hash, pending.len)).collect()
        };
        self.waiting = first.iter().map(|(hash, _)| *hash).collect();
        self.first = first.into_iter();
        let names = names(&self.inner, &self.inner.root)?.into_iter();
        let directories = names.filter(|(name, is_dir)| *is_dir && !name.starts_with('.'));
        let directories: Vec<String> = directories.map(|(name, _)| name).collect();
        self.directories = Some(directories.into_iter());
        Ok(())
    }

    /// Goes on to the next directory; `false` when there is none.
    fn next_directory(&mut self) -> Result<bool> {
        let Some(name) = self.directories.as_mut().and_then(Iterator::next) else {
            if let Some(census) = self.census.take() {
                self.inner.state().tally.finish(census);
            }
            return Ok(false);
        };
        let enter = |number| self.inner.state().tally.enter(number, &name);
        let counts = self.census.is_some_and(enter);
        let (path, files) = (self.inner.root.join(&name), blocks(&self.inner, &name)?);
        let (files, count) = (files.into_iter(), Count::default());
        self.directory = Some(Directory { name, path, files, count, counts });
        Ok(true)
    }

    /// Ends with a directory. What was counted of it holds if nothing has changed there meanwhile.
    fn leave_directory(&mut self) -> Result<()> {
        let directory = self.directory.take().filter(|directory| directory.counts);
        let (Some(Directory { name, mut count, .. }), Some(number)) = (directory, self.census)
        else {
            return Ok(());
        };
        let inner = &self.inner;
        for _ in 0..RECOUNTS {
            if inner.state().tally.leave(number, count) {
                return Ok(());
            }
            inner.state().tally.enter(number, &name);
            count = recount(inner, &name)?;
        }
        inner.state().tally.abandon(number);
        Ok(())
    }
}

fn recount(inner: &Inner, name: &str) -> Result<Count> {
    let (path, mut count) = (inner.root.join(name), Count::default());
    for (_, file) in blocks(inner, name)? {
        if let Some(len) = size(inner, &path.join(file))? {
            count.add(len);
        }
    }
    Ok(count)
}

/// The files in a directory that hold blocks, as far as their names say.
fn blocks(inner: &Inner, directory: &str) -> Result<Vec<(Multihash, String)>> {
    let names = names(inner, &inner.root.join(directory))?.into_iter();
    let block = |(name, is_dir): (String, bool)| {
        let hash = layout::parse_file_name(&name, directory, inner.sharding);
        hash.filter(|_| !is_dir).map(|hash| (hash, name))
    };
    Ok(names.filter_map(block).collect())
}

/// The names in a directory: none if it is not there.
fn names(inner: &Inner, path: &Path) -> Result<Vec<(String, bool)>> {
    match inner.files.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found.map_err(FlatError::of("list", path)),
    }
}

/// The size of a block's file; `None` if it is gone, or no file.
fn size(inner: &Inner, path: &Path) -> Result<Option<u64>> {
    match inner.files.len(path) {
        Ok(len) => Ok(Some(len)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(FlatError::of("read", path)(error)),
    }
}

/// Whether there is no file: none, or something else with its name.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}
