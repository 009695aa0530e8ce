//! The blocks of a node that are here and can be understood, and a list of the others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, CodecTable, Error, Missing, Result, async_trait};

use crate::{
    NodeSource,
    fetch::Lacking,
    source::{Found, LOCAL_BATCH},
};

/// Gives what is here. What cannot be had, or not be followed, is not found, and is noted. Clones are
/// the same.
#[derive(Clone, Debug)]
pub(super) struct Here {
    source: Arc<NodeSource>,
    codecs: Arc<CodecTable>,
    lacking: Arc<Mutex<Lacking>>,
}

impl Here {
    pub(super) fn new(source: Arc<NodeSource>, codecs: Arc<CodecTable>) -> Self {
        Self { source, codecs, lacking: Arc::default() }
    }

    /// How many blocks could not be had, and the first of them.
    pub(super) fn left_out(&self) -> (u64, Vec<Missing>) {
        std::mem::take(&mut *self.lacking()).into_parts()
    }

    fn lacking(&self) -> MutexGuard<'_, Lacking> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, cids: Vec<Cid>) -> Vec<(Cid, Result<Block>)> {
        let found = self.source.look(cids).await;
        found.into_iter().map(|found| self.sort(found)).collect()
    }

    fn sort(&self, found: Found) -> (Cid, Result<Block>) {
        let (cid, block) = match found {
            Found::Here(cid, block) => (cid, block),
            Found::Missing(cid) => (cid, Err(Error::NotFound(cid))),
        };
        let understood = block.and_then(|block| self.codecs.links(&block).map(|_| block));
        match understood {
            Err(why) if !is_of_the_store(&why) => {
                self.lacking().add(cid, why);
                (cid, Err(Error::NotFound(cid)))
            }
            other => (cid, other),
        }
    }
}

/// Whether this says something of the store, and not of one block.
fn is_of_the_store(error: &Error) -> bool {
    matches!(error.what(), Error::Closed(_) | Error::Component { .. })
}

#[async_trait]
impl BlockSource for Here {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.look(vec![*cid]).await.pop().map_or(Err(Error::NotFound(*cid)), |(_, block)| block)
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let here = self.clone();
        cids.ready_chunks(LOCAL_BATCH)
            .then(move |cids| {
                let here = here.clone();
                async move { stream::iter(here.look(cids).await) }
            })
            .flatten()
            .boxed()
    }
}
