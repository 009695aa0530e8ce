//! Walking a DAG along its links.

use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, CodecTable, Result};

use crate::Node;

/// All blocks of a DAG: see [`Dag::walk`](crate::Dag::walk).
///
/// It remembers the CIDs that it has seen, some 100 bytes for each, and those that it has yet to
/// visit.
pub struct Walk {
    blocks: Option<BoxStream<'static, (Cid, Result<Block>)>>,
    frontier: Arc<Mutex<Frontier>>,
    codecs: Arc<CodecTable>,
    seen: HashSet<Cid>,
}

/// What is to be visited.
#[derive(Default)]
struct Frontier {
    next: Vec<Cid>,
    /// Asked for, and not answered yet.
    under_way: usize,
    waker: Option<Waker>,
}

fn lock(frontier: &Mutex<Frontier>) -> MutexGuard<'_, Frontier> {
    frontier.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Walk {
    pub(crate) fn new(node: &Node, root: Cid) -> Self {
        let frontier = Arc::new(Mutex::new(Frontier { next: vec![root], ..Frontier::default() }));
        let asked = frontier.clone();
        let cids = stream::poll_fn(move |cx| lock(&asked).poll_next(cx)).boxed();
        let blocks = Some(node.source(&root).get_many(cids));
        Self { blocks, frontier, codecs: node.codecs().clone(), seen: HashSet::from([root]) }
    }

    /// Adds what the block links to, and was not seen yet. The links of a block are visited in their
    /// order, before those that waited already: so the frontier stays as small as the DAG is deep.
    fn add_links(&mut self, block: &Block) -> Result<()> {
        let links = self.codecs.links(block)?;
        let mut new: Vec<Cid> = links.into_iter().filter(|cid| self.seen.insert(*cid)).collect();
        new.reverse();
        lock(&self.frontier).answered(new);
        Ok(())
    }
}

impl Frontier {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cid>> {
        if let Some(cid) = self.next.pop() {
            self.under_way += 1;
            return Poll::Ready(Some(cid));
        }
        if self.under_way == 0 {
            return Poll::Ready(None);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn answered(&mut self, new: Vec<Cid>) {
        self.under_way -= 1;
        self.next.extend(new);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Walk {
    type Item = Result<Block>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(blocks) = &mut self.blocks else { return Poll::Ready(None) };
        let item = match blocks.as_mut().poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => None,
            Poll::Ready(Some((_, block))) => {
                Some(block.and_then(|block| self.add_links(&block).map(|()| block)))
            }
        };
        if !matches!(item, Some(Ok(_))) {
            self.blocks = None;
        }
        Poll::Ready(item)
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}
