//! Looking at all that is stored, and mending what is damaged.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Blockstore, Bytes, Cid, Error, Multihash, Result, codes};

use super::{
    Inner, PackStore, error::PackError, frame::Position, index::Keys, place::Place,
    segment::data_of,
};

/// Blocks that are looked at in one go, and read in the order in which they lie.
const PAGE: usize = 2048;

/// Bytes of blocks that are in memory for one such go.
const PAGE_BYTES: u64 = 16 << 20;

/// What [`PackStore::verify`] does with a block that is damaged.
#[derive(Clone, Debug)]
pub enum Mend {
    /// It is reported, and stays.
    No,
    /// It is removed, so that it is absent and can be put again.
    Drop,
    /// It is fetched from here, and put in place of the damaged one. What cannot be fetched stays.
    Fetch(Arc<dyn BlockSource>),
}

/// How far [`PackStore::verify`] has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Blocks that were looked at so far.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blocks whose hash function is unknown: only their checksums were looked at.
    pub unknown: u64,
    /// Blocks that are damaged, found since the item before. A CID tells the multihash; the codec is
    /// the block's where that can still be read, else raw.
    pub damaged: Vec<Cid>,
    /// How many of these were mended.
    pub mended: u64,
}

/// What is looked at in one go, with its places.
type Page = Vec<(Multihash, Place)>;

impl PackStore {
    /// Reads and hashes all blocks, on as many threads as there are cores, and says every few
    /// thousand blocks how far it has come. Blocks that come meanwhile are not looked at.
    ///
    /// The stream ends with an error, or when all was looked at. Dropping it ends the work.
    ///
    /// # Errors
    ///
    /// What the disk says, and what [`Mend::Fetch`] meets when it puts. That a block is damaged, or
    /// cannot be fetched, is no error of the stream.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir()?;
    /// # let runtime = std::sync::Arc::new(ipfs_traits::TokioRuntime::current()?);
    /// # let store = ipfs_blockstore::PackStore::open(folder.path(), runtime).await?;
    /// use futures::TryStreamExt;
    /// use ipfs_blockstore::pack::Mend;
    ///
    /// let mut verifying = store.verify(Mend::No);
    /// while let Some(so_far) = verifying.try_next().await? {
    ///     assert!(so_far.damaged.is_empty(), "after {} blocks", so_far.blocks);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn verify(&self, mend: Mend) -> BoxStream<'static, Result<Verified>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let store = self.clone();
        let look = {
            let store = store.clone();
            move |page: Result<Page>| {
                let store = store.clone();
                async move {
                    let page = page?;
                    store.blocking(move |inner| inner.look_at(page)).await
                }
            }
        };
        let looked = self.key_pages().map(look).buffered(cores);
        looked
            .scan(Verified::default(), move |so_far, looked| {
                let (store, mend) = (store.clone(), mend.clone());
                let before = std::mem::take(so_far);
                let now = looked.map(|now| before.and(now));
                if let Ok(now) = &now {
                    *so_far = Verified { damaged: Vec::new(), ..now.clone() };
                }
                async move { Some((store, mend, now)) }
            })
            .then(|(store, mend, now)| async move {
                let mut now = now?;
                now.mended = store.mend(&now.damaged, &mend).await?;
                Ok(now)
            })
            .boxed()
    }

    /// All keys with their places, in pages whose blocks are not too large together.
    fn key_pages(&self) -> BoxStream<'static, Result<Page>> {
        let begin = Some((self.clone(), None));
        stream::unfold(begin, |state| async move {
            let (store, keys) = state?;
            let page = move |inner: &Inner| inner.index.note_damage(next_page(inner, keys));
            match store.blocking(page).await {
                Ok((page, _)) if page.is_empty() => None,
                Ok((page, keys)) => Some((Ok(page), Some((store, Some(keys))))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Mends damaged blocks; gives how many.
    async fn mend(&self, damaged: &[Cid], mend: &Mend) -> Result<u64> {
        let source = match mend {
            Mend::No => return Ok(0),
            Mend::Drop => {
                self.delete_many(damaged).await?;
                return Ok(damaged.len() as u64);
            }
            Mend::Fetch(source) => source,
        };
        let mut mended = 0;
        for cid in damaged {
            let Ok(block) = source.get(cid).await else { continue };
            self.delete_many(&[*cid]).await?;
            self.put_many(&[block]).await?;
            mended += 1;
        }
        if mended > 0 {
            self.flush().await?;
        }
        Ok(mended)
    }
}

impl Verified {
    fn and(self, more: Self) -> Self {
        Self {
            blocks: self.blocks + more.blocks,
            bytes: self.bytes + more.bytes,
            unknown: self.unknown + more.unknown,
            damaged: more.damaged,
            mended: 0,
        }
    }
}

fn next_page(inner: &Inner, keys: Option<Keys>) -> Result<(Page, Keys), PackError> {
    let mut keys = match keys {
        Some(keys) => keys,
        None => inner.index.snapshot().keys()?,
    };
    let (mut page, mut bytes) = (Page::new(), 0);
    while page.len() < PAGE
        && bytes < PAGE_BYTES
        && let Some((key, place)) = keys.next()?
    {
        bytes += u64::from(place.len);
        page.push((key, place));
    }
    page.sort_unstable_by_key(|(_, place)| (place.segment, place.offset));
    Ok((page, keys))
}

impl Inner {
    fn look_at(&self, page: Page) -> Result<Verified, PackError> {
        let mut verified = Verified::default();
        let mut ready: Vec<(Cid, Bytes)> = Vec::new();
        for (key, place) in page {
            let cid = Cid::new_v1(codes::RAW, key);
            let data = match self.segments.section(&place)? {
                Some(section) => data_of(section, &place, &key),
                None => None,
            };
            match data {
                Some(data) => {
                    verified.blocks += 1;
                    verified.bytes += data.len() as u64;
                    ready.push((cid, data));
                }
                // Moved or deleted meanwhile, and not damaged.
                None if self.index.get_many(&[key])?[0] != Some(place) => {}
                None => {
                    verified.blocks += 1;
                    verified.damaged.push(self.cid_at(key, &place)?);
                }
            }
        }
        let cids: Vec<Cid> = ready.iter().map(|(cid, _)| *cid).collect();
        for (cid, answer) in std::iter::zip(&cids, Block::verify_many(ready, &self.options.hashes))
        {
            match answer {
                Ok(_) => {}
                Err(Error::Corrupt(_)) => verified.damaged.push(*cid),
                Err(_) => verified.unknown += 1,
            }
        }
        Ok(verified)
    }

    /// The CID that a block was put under, if that can be read.
    fn cid_at(&self, key: Multihash, place: &Place) -> Result<Cid, PackError> {
        let at = Position { segment: place.segment, offset: place.offset };
        let head = self.segments.head(at)?.filter(|head| *head.cid.hash() == key);
        Ok(head.map_or(Cid::new_v1(codes::RAW, key), |head| head.cid))
    }
}
