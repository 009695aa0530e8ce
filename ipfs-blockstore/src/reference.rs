//! Blocks that are ranges of the user's own files, or of what URLs give.

mod error;
mod list;
mod paths;
mod read;
mod record;
mod url;
mod verify;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{
    Batch, Block, Blockstore, Bytes, Cid, Datastore, HashTable, HttpClient, Multihash, Reference,
    ReferenceSink, Result, Runtime, Usage, limits,
};

use self::{error::Broken, read::Wanted, record::key};
pub use self::{
    list::Referenced,
    record::Record,
    verify::{Checked, Remove, State, Verified},
};
use crate::wrap::pass_on;

/// A store over another one that also knows blocks whose bytes it does not hold: ranges of files
/// below a folder, and of what URLs give. Kubo calls it the filestore, and has the same records.
///
/// A reference comes in by [`ReferenceSink`], and is a record in a [`Datastore`]. All else is the
/// inner store's: what is put there is found there first.
///
/// # What is read
///
/// The bytes of a reference are hashed at every read, and what is wrong is the error of that block
/// alone: [`Error::Corrupt`](ipfs_traits::Error::Corrupt) where the bytes are no longer those of the block, or are fewer;
/// [`Error::Malformed`](ipfs_traits::Error::Malformed) or [`Error::Limit`](ipfs_traits::Error::Limit) for a record that makes no sense; [`Error::Unsupported`](ipfs_traits::Error::Unsupported)
/// where the store was given no root or no client; [`Error::Component`](ipfs_traits::Error::Component) for a file that is gone or
/// cannot be read, and for a server that does not answer as it should.
/// [`sizes`](Blockstore::sizes) and [`list`](Blockstore::list) believe the records, and read no
/// file. A record that makes no sense counts as none there.
///
/// # What is put
///
/// A block that is put is stored, even if there is a reference to it: that is only as good as the
/// file, and a put is a promise. (Kubo stores nothing then, and so cannot heal a broken reference.)
/// [`duplicates`](Self::duplicates) tells what is there twice. A reference to a block that is stored
/// is not kept. [`delete_many`](Blockstore::delete_many) removes both; nothing ever removes or
/// changes a file of the user's.
///
/// References are durable when [`put_references`](ReferenceSink::put_references) returns.
/// [`usage`](Blockstore::usage) tells of the inner store alone, and [`close`](Blockstore::close)
/// leaves the datastore open, which others use too.
///
/// # Where bytes may lie
///
/// Files have to lie below [`Options::root`], and are recorded by their path from there: the folder
/// may move. A record whose path leads out (`..`, an absolute path, a drive) is never followed, nor
/// is a symbolic link that does; the path is looked up with all its links before a file is opened.
/// Whoever can change links below the root while it is read can be read more than that; so can
/// whoever runs with the rights of the node.
///
/// URLs are asked through [`Options::client`], whose [`AddressFilter`](ipfs_traits::AddressFilter)
/// says which addresses are out of bounds.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// use std::sync::Arc;
///
/// use ipfs_blockstore::{BlockstoreExt, ReferenceStore, reference::Options};
/// use ipfs_traits::{
///     codes, memory::{MemoryDatastore, MemoryStore}, Block, HashTable, Origin, Reference,
///     ReferenceSink, TokioRuntime,
/// };
///
/// let path = folder.path().join("greeting.txt");
/// std::fs::write(&path, "hello world")?;
///
/// let mut options = Options::default();
/// options.root = Some(folder.path().into());
/// let (runtime, records) = (TokioRuntime::current()?, MemoryDatastore::new());
/// let store =
///     ReferenceStore::new(MemoryStore::new(), Arc::new(records), Arc::new(runtime), options);
///
/// let block = Block::of(codes::RAW, codes::SHA2_256, "world", &HashTable::standard())?;
/// let origin = Origin::File(path.into());
/// store.put_references(&[Reference { block: block.clone(), origin, offset: 6 }]).await?;
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct ReferenceStore<S> {
    inner: Arc<S>,
    references: Arc<References>,
}

/// Where a [`ReferenceStore`] may read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The folder below which files may be read. None by default: no file is read.
    pub root: Option<PathBuf>,
    /// Who asks URLs. None by default: no URL is asked.
    pub client: Option<Arc<dyn HttpClient>>,
    /// The longest that one block may take to come from a URL: one minute. A stuck server holds up
    /// a batch no longer.
    pub url_timeout: Duration,
    /// The hash functions by which blocks are verified.
    pub hashes: HashTable,
}

impl Default for Options {
    fn default() -> Self {
        let url_timeout = Duration::from_secs(60);
        Self { root: None, client: None, url_timeout, hashes: HashTable::standard() }
    }
}

/// The records, and what it takes to follow them.
#[derive(Debug)]
struct References {
    datastore: Arc<dyn Datastore>,
    runtime: Arc<dyn Runtime>,
    options: Options,
}

/// Records that are looked up at the same time: a datastore on disk answers each from a thread.
const LOOK_UPS: usize = 32;

/// References that are committed together.
const COMMIT: usize = 1024;

const WHAT: &str = "reference store";

impl<S: Blockstore> ReferenceStore<S> {
    /// A store over this one, whose records are in `datastore`, under keys that begin with
    /// `/filestore/`.
    pub fn new(
        inner: S,
        datastore: Arc<dyn Datastore>,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Self {
        let references = Arc::new(References { datastore, runtime, options });
        Self { inner: Arc::new(inner), references }
    }
}

impl References {
    /// The values of the records of these blocks, as they stand.
    async fn values(&self, hashes: Vec<Multihash>) -> Vec<Result<Option<Bytes>>> {
        let look_ups = hashes.into_iter().map(|hash| {
            let datastore = self.datastore.clone();
            async move { datastore.get(&key(&hash)).await }
        });
        stream::iter(look_ups).buffered(LOOK_UPS).collect().await
    }

    /// The blocks that have references, read and verified.
    async fn get_many(&self, cids: Vec<Cid>) -> Vec<Result<Option<Block>>> {
        let values = self.values(cids.iter().map(|cid| *cid.hash()).collect()).await;
        let mut answers = Vec::with_capacity(cids.len());
        let mut wanted = Vec::new();
        for (i, (cid, value)) in std::iter::zip(cids, values).enumerate() {
            let record =
                value.and_then(|value| value.map(|value| Record::parse(&value)).transpose());
            answers.push(record.map(|record| {
                wanted.extend(record.map(|record| (i, Wanted { cid, record })));
                None
            }));
        }
        let (places, wanted): (Vec<usize>, Vec<Wanted>) = wanted.into_iter().unzip();
        for (i, read) in std::iter::zip(places, self.read(wanted).await) {
            answers[i] = read.map(Some).map_err(Broken::into_error);
        }
        answers
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        // Nothing is expected in it.
        self.datastore.commit(batch).await.map(drop)
    }
}

#[async_trait]
impl<S: Blockstore> Blockstore for ReferenceStore<S> {
    pass_on!(flush, usage, compact, close);

    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let mut found = self.inner.get_many(cids).await;
        // What is damaged there may be whole in its file.
        let missing: Vec<usize> =
            (0..cids.len()).filter(|&i| !matches!(found[i], Ok(Some(_)))).collect();
        let asked = missing.iter().map(|&i| cids[i]).collect();
        for (&i, read) in std::iter::zip(&missing, self.references.get_many(asked).await) {
            if found[i].is_ok() || matches!(read, Ok(Some(_))) {
                found[i] = read;
            }
        }
        found
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let mut sizes = self.inner.sizes(cids).await?;
        let missing: Vec<usize> = (0..cids.len()).filter(|&i| sizes[i].is_none()).collect();
        let asked = missing.iter().map(|&i| *cids[i].hash()).collect();
        for (&i, value) in std::iter::zip(&missing, self.references.values(asked).await) {
            let record = value?.and_then(|value| Record::parse(&value).ok());
            sizes[i] = record.map(|record| record.size);
        }
        Ok(sizes)
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.inner.put_many(blocks).await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.inner.delete_many(cids).await?;
        let hashes: Vec<Multihash> = cids.iter().map(|cid| *cid.hash()).collect();
        let values = self.references.values(hashes.clone()).await;
        let mut batch = Batch::new();
        for (hash, value) in std::iter::zip(hashes, values) {
            if value?.is_some() {
                batch = batch.delete(key(&hash));
            }
        }
        // A commit is a sync, and most blocks have no reference.
        if batch.is_empty() { Ok(()) } else { self.references.commit(batch).await }
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        list::list(self.references.clone(), self.inner.list())
    }

    fn shared(&self) -> bool {
        self.inner.shared() || self.references.datastore.shared()
    }
}

#[async_trait]
impl<S: Blockstore> ReferenceSink for ReferenceStore<S> {
    async fn put_references(&self, references: &[Reference]) -> Result<()> {
        for one in references {
            limits::check_stored_size(one.block.len())?;
            // What cannot be verified could never be read.
            self.references.options.hashes.check(one.block.cid())?;
        }
        let records = self.references.records(references).await?;
        let cids: Vec<Cid> = references.iter().map(|one| *one.block.cid()).collect();
        let stored = self.inner.sizes(&cids).await?;
        let new: Vec<(Vec<u8>, Vec<u8>)> = std::iter::zip(std::iter::zip(cids, records), stored)
            .filter(|(_, stored)| stored.is_none())
            .map(|((cid, record), _)| (key(cid.hash()), record.to_bytes()))
            .collect();
        for some in new.chunks(COMMIT) {
            let put = |batch: Batch, (key, value): &(Vec<u8>, Vec<u8>)| {
                batch.put(key.clone(), value.clone())
            };
            self.references.commit(some.iter().fold(Batch::new(), put)).await?;
        }
        Ok(())
    }
}

impl<S> Clone for ReferenceStore<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), references: self.references.clone() }
    }
}
