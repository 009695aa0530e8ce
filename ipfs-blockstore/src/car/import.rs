//! A CAR into a store.

use std::sync::Arc;

use futures_util::{AsyncRead, TryStreamExt};
use ipfs_traits::{
    Block, Blockstore, Cid, Runtime,
    work::{Meter, Work},
};

use super::{ReadOptions, Reader};

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The roots that the header names, whether they were there or not.
    pub roots: Vec<Cid>,
    /// Sections, those with identity CIDs too.
    pub blocks: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
}

/// An import under way: a future, and a stream of its progress.
pub type Import = Work<Imported>;

/// Puts all blocks of a CAR of either version into a store, and flushes it.
///
/// Every block is verified by itself, so what came before an error, or before the work is dropped,
/// may stay: it is what it says that it is. Blocks of identity CIDs are verified and not stored.
/// Nothing of the archive is held but what is verified and stored at the moment: some 16 MiB.
///
/// # Errors
///
/// Those of a [`Reader`], and what the store says.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
///
/// use futures::io::Cursor;
/// use ipfs_blockstore::{car, BlockstoreExt};
/// use ipfs_traits::{codes, memory::MemoryStore, Block, HashTable, TokioRuntime};
///
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let mut writer = car::Writer::new(Vec::new(), &[*block.cid()]).await?;
/// writer.write(&[block.clone()]).await?;
/// let file = Cursor::new(writer.finish().await?);
///
/// let store = Arc::new(MemoryStore::new());
/// let runtime = Arc::new(TokioRuntime::current()?);
/// let done = car::import(file, store.clone(), runtime, car::ReadOptions::default()).await?;
/// assert_eq!((done.blocks, &done.roots[..]), (1, &[*block.cid()][..]));
/// assert_eq!(store.get(block.cid()).await?, Some(block));
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
pub fn import(
    input: impl AsyncRead + Send + 'static,
    store: Arc<dyn Blockstore>,
    runtime: Arc<dyn Runtime>,
    options: ReadOptions,
) -> Import {
    let meter = Meter::default();
    Work::new(meter.clone(), async move {
        let mut reader = Reader::open(input, runtime, options).await?;
        while let Some(mut batch) = reader.try_next().await? {
            let (count, bytes) = (batch.len() as u64, batch.iter().map(|b| b.len() as u64).sum());
            batch.retain(|block| Block::inline(block.cid()).is_none());
            store.put_many(&batch).await?;
            meter.blocks(count);
            meter.bytes(bytes);
        }
        store.flush().await?;
        let done = meter.read();
        Ok(Imported { roots: reader.roots().to_vec(), blocks: done.blocks, bytes: done.bytes })
    })
}
