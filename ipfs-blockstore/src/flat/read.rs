//! Reading and listing.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, Cid, Error, HashTable, Multihash, Result, limits};

use super::{FlatError, Inner, layout};

/// Blocks in one page of a listing.
const PAGE: usize = 1024;

impl Inner {
    pub(super) fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        cids.iter().map(|cid| self.get(cid)).collect()
    }

    fn get(&self, cid: &Cid) -> Result<Option<Block>> {
        let read = |path: &PathBuf| {
            let len = self.files.len(path)?;
            match len <= limits::MAX_STORED_BLOCK as u64 {
                true => self.files.read(path).map(Bytes::from),
                false => Err(io::Error::new(io::ErrorKind::InvalidData, "too large for a block")),
            }
        };
        let Some(data) = self.find(cid.hash(), read)? else { return Ok(None) };
        self.check(cid, &data)?;
        Ok(Some(Block::trusted(*cid, data)))
    }

    /// Hashes what was read if it is wanted so, or if it is empty: that is what a crash makes of a
    /// file that was never synced.
    fn check(&self, cid: &Cid, data: &[u8]) -> Result<()> {
        match &self.options.verify_reads {
            Some(hashes) => hashes.verify(cid, data),
            None if data.is_empty() => match HashTable::standard().verify(cid, data) {
                Err(Error::Corrupt(cid)) => Err(Error::Corrupt(cid)),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    pub(super) fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let size = |cid: &Cid| self.find(cid.hash(), |path| self.files.len(path));
        cids.iter().map(size).collect()
    }

    /// Looks at the file of a block, wherever it is; `None` if there is none.
    fn find<T>(
        &self,
        hash: &Multihash,
        look: impl Fn(&PathBuf) -> io::Result<T>,
    ) -> Result<Option<T>> {
        loop {
            let temp = self.state().pending.get(hash).map(|pending| pending.temp);
            let path = match temp {
                Some(temp) => self.temp_path(temp),
                None => self.place(hash).1,
            };
            match look(&path) {
                Ok(found) => return Ok(Some(found)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if temp.is_none() {
                        return Ok(None);
                    }
                    // It was given its name meanwhile, or deleted: look again.
                }
                Err(error) => return Err(FlatError::of("read", &path)(error)),
            }
        }
    }
}

/// A listing: first what waits for its name, then one directory after the other.
///
/// What waits at the beginning is passed over in the directories, where it may have come meanwhile.
/// So a block that is there all the time is listed once, from the one place or the other.
struct Listing {
    inner: Arc<Inner>,
    waiting: HashSet<Multihash>,
    first: vec::IntoIter<(Multihash, u64)>,
    directories: Option<vec::IntoIter<String>>,
    files: vec::IntoIter<(Multihash, PathBuf)>,
}

pub(super) fn list(inner: Arc<Inner>) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
    let (waiting, first, files) = (HashSet::new(), Vec::new().into_iter(), Vec::new().into_iter());
    let listing = Listing { inner, waiting, first, directories: None, files };
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
            let Some((hash, path)) = self.files.next() else {
                if self.next_directory()? { continue } else { break }
            };
            match self.inner.files.len(&path) {
                Ok(len) => page.push((hash, len)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FlatError::of("read", &path)(error)),
            }
        }
        Ok(page)
    }

    fn begin(&mut self) -> Result<()> {
        let first: Vec<(Multihash, u64)> = {
            let state = self.inner.state();
            state.pending.iter().map(|(hash, pending)| (*hash, pending.len)).collect()
        };
        self.waiting = first.iter().map(|(hash, _)| *hash).collect();
        self.first = first.into_iter();
        let names = self.list(&self.inner.root)?.into_iter();
        let directories = names.filter(|(name, is_dir)| *is_dir && !name.starts_with('.'));
        let directories: Vec<String> = directories.map(|(name, _)| name).collect();
        self.directories = Some(directories.into_iter());
        Ok(())
    }

    /// Goes on to the next directory; `false` when there is none.
    fn next_directory(&mut self) -> Result<bool> {
        let Some(name) = self.directories.as_mut().and_then(Iterator::next) else {
            return Ok(false);
        };
        let path = self.inner.root.join(name);
        let mut files = Vec::new();
        for (name, is_dir) in self.list(&path)? {
            let hash = layout::parse_file_name(&name).filter(|_| !is_dir);
            files.extend(
                hash.filter(|hash| !self.waiting.contains(hash))
                    .map(|hash| (hash, path.join(name))),
            );
        }
        self.files = files.into_iter();
        Ok(true)
    }

    fn list(&self, path: &Path) -> Result<Vec<(String, bool)>> {
        match self.inner.files.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(FlatError::of("list", path)),
        }
    }
}
