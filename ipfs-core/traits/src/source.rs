//! Where readers get blocks from: a store, an exchange, or both.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::{Block, Blockstore, BlockstoreExt, Cid, Error, Result};

/// Gives blocks to whoever reads a file or walks a DAG.
///
/// # Contract
///
/// What is given is verified: it hashes to the CID it is given under, which is the CID asked for.
/// Identity CIDs are answered from themselves. Absence is an error here, unlike in a store: a
/// reader that misses a block cannot go on.
///
/// [`get_many`](Self::get_many) answers each CID of its input exactly once (a CID that stands there
/// twice is answered twice), in any order, and ends when its input has ended and all is answered. A
/// failure is the answer of one CID and does not end the stream. It takes the next CID only while
/// it has room for its block: what is on its way and what is delivered but not read yet are bounded
/// together, whatever the length of the input.
///
/// # Implementing
///
/// ```
/// use futures::{stream::BoxStream, StreamExt};
/// use ipfs_traits::{async_trait, Block, BlockSource, Cid, Error, Result};
///
/// /// Has the blocks of identity CIDs, and no other.
/// #[derive(Debug)]
/// struct Inline;
///
/// #[async_trait]
/// impl BlockSource for Inline {
///     async fn get(&self, cid: &Cid) -> Result<Block> {
///         Block::inline(cid).ok_or(Error::NotFound(*cid))
///     }
///     fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
///         cids.then(|cid| async move { (cid, Inline.get(&cid).await) }).boxed()
///     }
/// }
/// ```
///
/// [`conformance::source`](crate::conformance::source) checks an implementation.
///
/// # Cancel safety
///
/// A future or a stream may be dropped at any time; what it asked for and nobody else wants is then
/// no longer asked for. Nothing that was delivered is lost.
///
/// # Errors
///
/// [`Error::NotFound`] when nobody has the block (a source that asks peers may wait for one to
/// appear, and says for how long); [`Error::Corrupt`] for a damaged record;
/// [`Error::UnknownHash`], [`Error::Limit`] or [`Error::Malformed`] for a CID that may not be used.
#[async_trait]
pub trait BlockSource: Debug + Send + Sync + 'static {
    /// The block.
    async fn get(&self, cid: &Cid) -> Result<Block>;

    /// The blocks, each with the CID that it was asked by, as they come.
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)>;
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: BlockSource + ?Sized> BlockSource for $pointer<T> {
            async fn get(&self, cid: &Cid) -> Result<Block> {
                (**self).get(cid).await
            }
            fn get_many(
                &self,
                cids: BoxStream<'static, Cid>,
            ) -> BoxStream<'static, (Cid, Result<Block>)> {
                (**self).get_many(cids)
            }
        }
    )*};
}
forward!(Arc, Box);

/// A store as a source: what is not in it is not found, and nothing is fetched.
#[derive(Clone, Debug)]
pub struct Local<S>(pub S);

/// How many blocks [`Local`] asks its store for at once: enough to share one hop to a thread among
/// small blocks, and at most 32 MiB of exchangeable ones.
const LOCAL_BATCH: usize = 16;

#[async_trait]
impl<S: Blockstore + Clone> BlockSource for Local<S> {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        match Block::inline(cid) {
            Some(block) => Ok(block),
            None => self.0.get(cid).await?.ok_or(Error::NotFound(*cid)),
        }
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let store = self.0.clone();
        cids.ready_chunks(LOCAL_BATCH)
            .then(move |cids| {
                let store = store.clone();
                async move { stream::iter(answers(&store, cids).await) }
            })
            .flatten()
            .boxed()
    }
}

async fn answers(store: &impl Blockstore, cids: Vec<Cid>) -> Vec<(Cid, Result<Block>)> {
    let inline: Vec<Option<Block>> = cids.iter().map(Block::inline).collect();
    let stored: Vec<Cid> = std::iter::zip(&cids, &inline)
        .filter_map(|(cid, inline)| inline.is_none().then_some(*cid))
        .collect();
    let mut stored = store.get_many(&stored).await.into_iter();
    std::iter::zip(cids, inline)
        .map(|(cid, inline)| {
            let answer = match inline {
                Some(block) => Ok(block),
                None => {
                    stored.next().unwrap_or(Ok(None)).and_then(|b| b.ok_or(Error::NotFound(cid)))
                }
            };
            (cid, answer)
        })
        .collect()
}
