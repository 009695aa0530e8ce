//! Reading.

use std::{io, path::PathBuf};

use bytes::Bytes;
use futures_util::future;
use ipfs_traits::{Block, Cid, Error, HashTable, Multihash, Result, limits};

use super::{FlatError, FlatStore, Inner, list::is_absent};

/// Threads that look at the blocks of one call at the same time.
const READERS: usize = 4;

/// Blocks that are worth a thread.
const SHARE: usize = 32;

impl FlatStore {
    /// Does something with each block, many of them by several threads.
    pub(super) async fn in_shares<T: Clone + Send + 'static>(
        &self,
        cids: &[Cid],
        work: fn(&Inner, &Cid) -> Result<T>,
    ) -> Vec<Result<T>> {
        let readers = (cids.len() / SHARE).clamp(1, READERS);
        let shares = cids.chunks(cids.len().div_ceil(readers).max(1)).map(|share| async {
            let asked = share.to_vec();
            let all = move |inner: &Inner| asked.iter().map(|cid| work(inner, cid)).collect();
            match self.blocking(all).await {
                Ok(found) => found,
                Err(error) => share.iter().map(|_| Err(error.clone())).collect::<Vec<_>>(),
            }
        });
        future::join_all(shares).await.concat()
    }
}

impl Inner {
    pub(super) fn get(&self, cid: &Cid) -> Result<Option<Block>> {
        let read = |path: &PathBuf| match self.files.len(path)? {
            len if len > limits::MAX_STORED_BLOCK as u64 => Ok(Err(len)),
            _ => self.files.read(path).map(|data| Ok(Bytes::from(data))),
        };
        let data = match self.find(cid.hash(), read)? {
            Some(Ok(data)) => data,
            Some(Err(len)) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                return Err(limits::check_stored_size(len).expect_err("it is beyond the limit"));
            }
            None => return Ok(None),
        };
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

    pub(super) fn size(&self, cid: &Cid) -> Result<Option<u64>> {
        self.find(cid.hash(), |path| self.files.len(path))
    }

    /// Looks at the file of a block, wherever it is; `None` if there is none.
    fn find<T>(
        &self,
        hash: &Multihash,
        look: impl Fn(&PathBuf) -> io::Result<T>,
    ) -> Result<Option<T>> {
        loop {
            let temp = self.waiting(hash);
            let path = match temp {
                Some(temp) => self.temp_path(temp),
                None => self.place(hash).1,
            };
            match look(&path) {
                Ok(found) => return Ok(Some(found)),
                Err(error) if temp.is_none() && is_absent(&error) => return Ok(None),
                // It was given its name meanwhile, or deleted: look again.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && self.waiting(hash) != temp => {}
                Err(error) => return Err(FlatError::of("read", &path)(error)),
            }
        }
    }

    /// The file of a block that has no name yet.
    fn waiting(&self, hash: &Multihash) -> Option<u64> {
        self.state().pending.get(hash).map(|pending| pending.temp)
    }
}
