//! The blocks on the way to what is fetched.

use std::sync::{Arc, Mutex, PoisonError};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};
use ipfs_traits::{Block, BlockSource, Cid, Error, Missing, Result, async_trait};

use super::{
    clock::Late,
    is_fatal,
    progress::{From, Shared},
};
use crate::{Node, NodeSource, Path, Resolved, source::Found};

/// Where a path leads, with the blocks on the way counted.
pub(super) async fn locate(
    node: &Node,
    source: &NodeSource,
    shared: &Arc<Shared>,
    path: &Path,
    late: BoxFuture<'static, Late>,
) -> Result<Resolved> {
    let (source, shared, at) = (source.clone(), shared.clone(), Arc::default());
    let counted = Counted { source, shared, at };
    let dag = node.dag();
    let found = select(Box::pin(dag.locate(&counted, path)), late).await;
    let (cid, why) = match found {
        Either::Left((Err(error), _)) if is_fatal(&error) => return Err(error),
        Either::Left((found, _)) => match (found, counted.at()) {
            (Err(error), Some(cid)) => (cid, error.what().clone()),
            (found, _) => return found,
        },
        Either::Right((late, _)) => match counted.at() {
            Some(cid) => (cid, late.why()),
            None => return Err(late.why()),
        },
    };
    // A block on the way could not be had.
    counted.shared.tell(0, 0, 1);
    Err(Error::incomplete(1, vec![Missing::new(cid, why)]))
}

/// A source whose blocks are counted.
#[derive(Clone, Debug)]
struct Counted {
    source: NodeSource,
    shared: Arc<Shared>,
    /// The block that is waited for, or could not be had.
    at: Arc<Mutex<Option<Cid>>>,
}

impl Counted {
    fn at(&self) -> Option<Cid> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: Option<Cid>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    async fn find(&self, cid: Cid) -> Result<(From, Block)> {
        match self.source.look(vec![cid]).await.pop() {
            Some(Found::Here(_, block)) => return Ok((From::Here, block?)),
            Some(Found::Missing(_)) => {}
            None => return Err(Error::NotFound(cid)),
        }
        self.shared.tell(1, 0, 0);
        let mut fetched = self.source.clone().fetch(stream::iter([cid]).boxed());
        match fetched.next().await {
            Some((_, block)) => Ok((From::Peers, block?)),
            None => Err(Error::Closed("the source of blocks")),
        }
    }
}

#[async_trait]
impl BlockSource for Counted {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.set(Some(*cid));
        let (from, block) = self.find(*cid).await?;
        self.set(None);
        self.shared.came(from, block.len());
        self.shared.tell(0, 0, 0);
        Ok(block)
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let source = self.clone();
        cids.then(move |cid| {
            let source = source.clone();
            async move { (cid, source.get(&cid).await) }
        })
        .boxed()
    }
}
