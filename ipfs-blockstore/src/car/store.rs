//! A CAR file as a store that is only read.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, Runtime, RuntimeExt, codes, limits,
};

use super::{
    ReadOptions,
    file::CarFile,
    file_error,
    index::{Builder, Entry, Index, IndexKind, Place, Position},
};
use crate::{
    files::{Disk, Files, Open},
    section::Head,
};

/// The blocks of a CAR file of version 1 or 2, as a store that is only read: a put, a delete or a
/// compaction is [`Error::Unsupported`].
///
/// The index of a CARv2 is used where there is one of a form that is known; else one is made in
/// memory when the file is opened, from the heads of all sections. Of an index in the file 0.1 bytes a
/// block are in memory, of one that was made 40 bytes. Nobody may write to the file while it is open.
///
/// What is read is hashed, for the file may come from anywhere; what the index of a stranger leaves
/// out is absent. Identity CIDs are not listed: they hold their blocks.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("some.car");
/// use std::sync::Arc;
///
/// use ipfs_blockstore::{car::{self, CarStore}, BlockstoreExt};
/// use ipfs_traits::{codes, Block, HashTable, TokioRuntime};
///
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let mut writer = car::Writer::new(Vec::new(), &[*block.cid()]).await?;
/// writer.write(&[block.clone()]).await?;
/// std::fs::write(&path, writer.finish().await?)?;
///
/// let store = CarStore::open(&path, Arc::new(TokioRuntime::current()?)).await?;
/// assert_eq!(store.roots(), [*block.cid()]);
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CarStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    car: CarFile,
    index: Index,
    roots: Vec<Cid>,
    runtime: Arc<dyn Runtime>,
    options: ReadOptions,
}

impl CarStore {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::Limit`] for what is no CAR, or cut off; [`Error::Component`]
    /// for what the disk says.
    pub async fn open(path: impl Into<PathBuf>, runtime: Arc<dyn Runtime>) -> Result<Self> {
        Self::open_with(path, runtime, ReadOptions::default()).await
    }

    /// Opens a file with options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        options: ReadOptions,
    ) -> Result<Self> {
        let path = path.into();
        Self::open_on(Arc::new(Disk::reading()), path, runtime, options).await
    }

    /// Opens a file on a file system of the caller's.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_on(
        files: Arc<dyn Files>,
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        options: ReadOptions,
    ) -> Result<Self> {
        let (path, blocking) = (path.into(), runtime.clone());
        let open = move || Inner::open(&*files, &path, runtime, options);
        Ok(Self(Arc::new(blocking.blocking(open).await??)))
    }

    /// The roots that the header names, whether they are there or not.
    pub fn roots(&self) -> &[Cid] {
        &self.0.roots
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        self.0.runtime.blocking(move || work(&inner)).await
    }
}

impl Inner {
    fn open(
        files: &dyn Files,
        path: &Path,
        runtime: Arc<dyn Runtime>,
        options: ReadOptions,
    ) -> Result<Self> {
        let file = files.open(path, Open::Reading).map_err(file_error("open", path))?;
        let car = CarFile::open(file, path)?;
        let index = match stored_index(&car)? {
            Some(index) => index,
            None => made_index(&car)?,
        };
        let roots = car.roots.roots().collect();
        Ok(Self { car, index, roots, runtime, options })
    }

    fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let found: Vec<_> = cids.iter().map(|cid| self.find(cid.hash())).collect();
        // In the order in which they lie.
        let mut order: Vec<usize> = (0..cids.len()).collect();
        order.sort_unstable_by_key(|&i| found[i].as_ref().ok().and_then(|f| f.map(|(at, _)| at)));
        let mut answers: Vec<Result<Option<Block>>> = cids.iter().map(|_| Ok(None)).collect();
        let mut places = Vec::new();
        let mut read = Vec::new();
        for i in order {
            match &found[i] {
                Ok(None) => {}
                Err(error) => answers[i] = Err(error.clone()),
                Ok(Some((at, head))) => match self.car.block(*at, head) {
                    Ok(data) => {
                        places.push(i);
                        read.push((cids[i], data));
                    }
                    Err(error) => answers[i] = Err(error),
                },
            }
        }
        let verified = Block::verify_many(read, &self.options.hashes);
        for (i, verified) in std::iter::zip(places, verified) {
            answers[i] = verified.map(Some);
        }
        answers
    }

    /// Where the section of a block begins, and what stands before the block.
    fn find(&self, hash: &Multihash) -> Result<Option<(u64, Head)>> {
        let places = self.index.find(hash)?;
        let mut wrong = None;
        for at in places {
            match self.car.head(at) {
                Ok(head) if head.cid.hash() == hash => return self.allowed(at, head).map(Some),
                // The same digest of another hash function, if the index does not tell them apart.
                Ok(_) => {}
                Err(error) => wrong = Some(error),
            }
        }
        wrong.map_or(Ok(None), Err)
    }

    fn allowed(&self, at: u64, head: Head) -> Result<(u64, Head)> {
        let most = self.options.max_block.min(limits::MAX_STORED_BLOCK);
        match head.len <= most {
            true => Ok((at, head)),
            false => Err(Error::limit("bytes of a block", most, head.len)),
        }
    }

    /// The next blocks of the index, and where to go on.
    fn page(&self, at: Position, last: Option<Multihash>) -> Result<Option<Page>> {
        let Some((entries, next)) = self.index.page(at)? else { return Ok(None) };
        let mut page = Page { blocks: Vec::new(), next, last };
        for entry in entries {
            let (hash, len) = self.listed(&entry)?;
            // Several sections of one block stand together.
            let again = page.last.replace(hash) == Some(hash);
            if !again && hash.code() != codes::IDENTITY {
                page.blocks.push((hash, len));
            }
        }
        Ok(Some(page))
    }

    fn listed(&self, entry: &Entry) -> Result<(Multihash, u64)> {
        let head = self.car.head(entry.offset)?;
        let hash = *head.cid.hash();
        let fits = entry.code.is_none_or(|code| code == hash.code());
        match fits && entry.digest[..] == *hash.digest() {
            true => Ok((hash, head.len as u64)),
            false => Err(Error::malformed("CAR index", "it names a block that is not there")),
        }
    }
}

struct Page {
    blocks: Vec<(Multihash, u64)>,
    next: Position,
    last: Option<Multihash>,
}

/// The index that the file has, if it has one of a form that is known.
fn stored_index(car: &CarFile) -> Result<Option<Index>> {
    let Some(from) = car.header.map(|header| header.index_offset).filter(|from| *from > 0) else {
        return Ok(None);
    };
    let to = car.file.len().map_err(file_error("read", &car.path))?;
    let (file, path) = (car.file.clone(), Arc::from(&*car.path));
    match Index::open(Place::File { file, path, from, to }) {
        Err(Error::Unsupported(_)) => Ok(None),
        index => index.map(Some),
    }
}

/// An index of all sections.
fn made_index(car: &CarFile) -> Result<Index> {
    let (mut builder, mut sections) = (Builder::new(), car.sections());
    while let Some((at, head)) = sections.next()? {
        builder.push(head.cid.hash(), at);
    }
    let bytes = builder.encode(IndexKind::MultihashSorted).concat();
    Index::open(Place::Memory(bytes.into()))
}

fn refused() -> Error {
    Error::unsupported("writing to a CAR file that is only read")
}

#[async_trait]
impl Blockstore for CarStore {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let asked = cids.to_vec();
        match self.blocking(move |inner| inner.get_many(&asked)).await {
            Ok(found) => found,
            Err(error) => cids.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let asked = cids.to_vec();
        let size =
            |inner: &Inner, cid: &Cid| Ok(inner.find(cid.hash())?.map(|(_, head)| head.len as u64));
        self.blocking(move |inner| asked.iter().map(|cid| size(inner, cid)).collect()).await?
    }

    async fn put_many(&self, _: &[Block]) -> Result<()> {
        Err(refused())
    }

    async fn delete_many(&self, _: &[Cid]) -> Result<()> {
        Err(refused())
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let begin = Some((self.clone(), (0, 0), None));
        let pages = stream::unfold(begin, |state| async move {
            let (store, at, last) = state?;
            let page = store.blocking(move |inner| inner.page(at, last)).await;
            match page.and_then(|page| page) {
                Ok(Some(Page { blocks, next, last })) => {
                    Some((Ok(blocks), Some((store, next, last))))
                }
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        pages.boxed()
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    async fn compact(&self) -> Result<()> {
        Err(refused())
    }
}
