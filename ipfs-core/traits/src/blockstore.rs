//! The store of blocks.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use crate::{Block, Cid, Multihash, Result};

/// Keeps blocks, by multihash.
///
/// # Contract
///
/// *Identity.* A block is known by its multihash: what was put under a CIDv0 is found under the
/// CIDv1, and under any codec. A block is given back under the CID that was asked for.
///
/// *Order and presence.* A put that has returned is seen by every later call, flushed or not; so is
/// a delete. Putting what is there already changes nothing, deleting what is absent is no error.
/// Calls may run at the same time; of a put and a delete of one block at the same time either may
/// win. Empty blocks exist. Every store takes blocks of up to
/// [`limits::MAX_STORED_BLOCK`](crate::limits::MAX_STORED_BLOCK) bytes.
///
/// *Hash functions.* A store keeps blocks whatever function made their multihashes, with digests of
/// 0 to [`limits::MAX_DIGEST`](crate::limits::MAX_DIGEST) bytes: which ones are to be believed is
/// for those above it. One that hashes takes those of its [`HashTable`](crate::HashTable), and may
/// refuse others with [`Error::UnknownHash`](crate::Error::UnknownHash), storing nothing.
///
/// *One opener.* Whoever opens the place of a store that somebody has open is refused with
/// [`Error::InUse`](crate::Error::InUse), until that one closes or drops it; unless the store is
/// [`shared`](Self::shared), and each sees what the others have flushed.
///
/// *Trust.* A store may give back a block without hashing it; it never gives back bytes that it
/// knows to be damaged. It is not asked for identity CIDs: whoever stands above it answers those
/// with [`Block::inline`], and may treat them like any other if it is asked.
///
/// *Durability.* After [`flush`](Self::flush) has returned, all that was put or deleted before it
/// was called survives a loss of power. What was not flushed may be gone then, wholly or in part,
/// but never what was flushed, and never is a torn block given back.
///
/// *Batches.* Every method takes many at once, and is to be called so: a store does one thing for a
/// batch (one hop to a thread, one sync) that it would do for each. In [`put_many`](Self::put_many)
/// a failure may leave a part of the batch stored.
///
/// # Implementing
///
/// ```
/// use std::{collections::HashMap, sync::Mutex};
///
/// use futures::stream::{self, BoxStream, StreamExt};
/// use ipfs_traits::{async_trait, limits, Block, Blockstore, Cid, Multihash, Result};
///
/// #[derive(Debug, Default)]
/// struct Simple(Mutex<HashMap<Multihash, Block>>);
///
/// #[async_trait]
/// impl Blockstore for Simple {
///     async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
///         let blocks = self.0.lock().expect("no panic while locked");
///         let get = |cid: &Cid| blocks.get(cid.hash()).cloned().map(|b| b.with_cid(*cid));
///         cids.iter().map(|cid| get(cid).transpose()).collect()
///     }
///     async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
///         let blocks = self.0.lock().expect("no panic while locked");
///         Ok(cids.iter().map(|cid| blocks.get(cid.hash()).map(|b| b.len() as u64)).collect())
///     }
///     async fn put_many(&self, new: &[Block]) -> Result<()> {
///         new.iter().try_for_each(|block| limits::check_stored_size(block.len()))?;
///         let mut blocks = self.0.lock().expect("no panic while locked");
///         blocks.extend(new.iter().map(|block| (*block.hash(), block.clone())));
///         Ok(())
///     }
///     async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
///         let mut blocks = self.0.lock().expect("no panic while locked");
///         blocks.retain(|hash, _| !cids.iter().any(|cid| cid.hash() == hash));
///         Ok(())
///     }
///     fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
///         let blocks = self.0.lock().expect("no panic while locked");
///         let all = blocks.values().map(|block| (*block.hash(), block.len() as u64));
///         let all: Vec<_> = all.collect();
///         let pages: Vec<_> = all.chunks(500).map(|page| Ok(page.to_vec())).collect();
///         stream::iter(pages).boxed()
///     }
///     async fn flush(&self) -> Result<()> {
///         Ok(()) // memory has no power to lose
///     }
/// }
///
/// # futures::executor::block_on(async {
/// ipfs_traits::conformance::blockstore(|| async { Ok(Simple::default()) }).await
/// # }).unwrap();
/// ```
///
/// [`conformance::blockstore`](crate::conformance::blockstore) checks an implementation, and
/// [`conformance::blockstore_reopen`](crate::conformance::blockstore_reopen) one that lasts.
///
/// # Cancel safety
///
/// Every future may be dropped at any time. A dropped put, delete or flush may or may not have
/// happened, for each block alone; the store stays whole and usable.
///
/// # Errors
///
/// Absence is no error here. [`Error::Corrupt`](crate::Error::Corrupt) for a damaged record,
/// [`Error::Full`](crate::Error::Full) before anything of a batch is stored,
/// [`Error::Limit`](crate::Error::Limit) for a block that is too large,
/// [`Error::Component`](crate::Error::Component) for what the disk says,
/// [`Error::Closed`](crate::Error::Closed) after a close.
#[async_trait]
pub trait Blockstore: Debug + Send + Sync + 'static {
    /// The blocks, in the order asked, each under the CID it was asked by; `None` for what is
    /// absent. A damaged record is the error of that entry alone.
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>>;

    /// How many bytes each block has, in the order asked, without reading it; `None` for what is
    /// absent.
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>>;

    /// Stores the blocks.
    async fn put_many(&self, blocks: &[Block]) -> Result<()>;

    /// Removes the blocks.
    async fn delete_many(&self, cids: &[Cid]) -> Result<()>;

    /// All blocks with their sizes in bytes, in pages of bounded length and no particular order.
    ///
    /// A block that is there from the beginning of the listing to its end is listed exactly once;
    /// one that comes or goes meanwhile may be. An error is an item, and ends the stream: a listing
    /// that ends without one is whole.
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>>;

    /// Returns when all that was put or deleted before is durable.
    async fn flush(&self) -> Result<()>;

    /// What the store holds and may hold; `None` where that is not known cheaply.
    async fn usage(&self) -> Result<Option<Usage>> {
        Ok(None)
    }

    /// Gives back the space that deletes have freed, where that needs doing.
    async fn compact(&self) -> Result<()> {
        Ok(())
    }

    /// Whether other processes or machines write here too. A node then collects no garbage in it
    /// without a lease.
    fn shared(&self) -> bool {
        false
    }

    /// Flushes, waits for what is under way, and lets go of what the store keeps from others: a
    /// lock, a connection. The same place can then be opened again. Closing twice is no error; what
    /// else is called afterwards may give [`Error::Closed`](crate::Error::Closed).
    async fn close(&self) -> Result<()> {
        self.flush().await
    }
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Blocks stored, where the store counts them.
    pub blocks: Option<u64>,
    /// Bytes of the blocks stored.
    pub bytes: u64,
    /// Bytes taken on disk, where they are known: more than [`bytes`](Self::bytes) by what is dead
    /// and by overhead.
    pub on_disk: Option<u64>,
    /// The most bytes that the store may hold.
    pub limit: Option<u64>,
}

impl Usage {
    /// A usage of so many bytes, with nothing else known.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self { blocks: None, bytes, on_disk: None, limit: None }
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: Blockstore + ?Sized> Blockstore for $pointer<T> {
            async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
                (**self).get_many(cids).await
            }
            async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
                (**self).sizes(cids).await
            }
            async fn put_many(&self, blocks: &[Block]) -> Result<()> {
                (**self).put_many(blocks).await
            }
            async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
                (**self).delete_many(cids).await
            }
            fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
                (**self).list()
            }
            async fn flush(&self) -> Result<()> {
                (**self).flush().await
            }
            async fn usage(&self) -> Result<Option<Usage>> {
                (**self).usage().await
            }
            async fn compact(&self) -> Result<()> {
                (**self).compact().await
            }
            fn shared(&self) -> bool {
                (**self).shared()
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    )*};
}
forward!(Arc, Box);

/// Calls for one block, over those for many. Where there are many, use those.
#[async_trait]
pub trait BlockstoreExt: Blockstore {
    /// The block, or `None`.
    ///
    /// # Errors
    ///
    /// As [`Blockstore::get_many`].
    async fn get(&self, cid: &Cid) -> Result<Option<Block>> {
        self.get_many(std::slice::from_ref(cid)).await.pop().unwrap_or(Ok(None))
    }

    /// How many bytes the block has, or `None`.
    ///
    /// # Errors
    ///
    /// As [`Blockstore::sizes`].
    async fn size(&self, cid: &Cid) -> Result<Option<u64>> {
        Ok(self.sizes(std::slice::from_ref(cid)).await?.pop().flatten())
    }

    /// Whether the block is there.
    ///
    /// # Errors
    ///
    /// As [`Blockstore::sizes`].
    async fn has(&self, cid: &Cid) -> Result<bool> {
        Ok(self.size(cid).await?.is_some())
    }

    /// Stores the block.
    ///
    /// # Errors
    ///
    /// As [`Blockstore::put_many`].
    async fn put(&self, block: Block) -> Result<()> {
        self.put_many(&[block]).await
    }

    /// Removes the block.
    ///
    /// # Errors
    ///
    /// As [`Blockstore::delete_many`].
    async fn delete(&self, cid: &Cid) -> Result<()> {
        self.delete_many(std::slice::from_ref(cid)).await
    }
}

impl<T: Blockstore + ?Sized> BlockstoreExt for T {}
