//! Pairs of blocks that are asked for together.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, future, stream::FuturesUnordered};
use ipfs_traits::{Block, BlockSource, Cid, Result};

/// A block of each side, or of one.
pub(super) type Blocks = [Option<Block>; 2];

/// What was asked for and is not taken yet.
pub(super) struct Load {
    source: Arc<dyn BlockSource>,
    running: FuturesUnordered<BoxFuture<'static, (u64, Result<Blocks>)>>,
    arrived: HashMap<u64, Result<Blocks>>,
    last: u64,
}

impl Load {
    pub(super) fn new(source: Arc<dyn BlockSource>) -> Self {
        Self { source, running: FuturesUnordered::new(), arrived: HashMap::new(), last: 0 }
    }

    /// Asks for these, under the number that it gives.
    pub(super) fn ask(&mut self, cids: [Option<Cid>; 2]) -> u64 {
        self.last += 1;
        let (number, source) = (self.last, self.source.clone());
        let load = async move {
            let get = |cid: Option<Cid>| {
                let source = source.clone();
                async move {
                    match cid {
                        Some(cid) => source.get(&cid).await.map(Some),
                        None => Ok(None),
                    }
                }
            };
            let [before, after] = cids;
            let both = future::try_join(get(before), get(after)).await;
            (number, both.map(|(before, after)| [before, after]))
        };
        self.running.push(load.boxed());
        number
    }

    /// How many were asked for and not taken.
    pub(super) fn count(&self) -> usize {
        self.running.len() + self.arrived.len()
    }

    /// Takes in what has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((number, blocks))) = self.running.poll_next_unpin(cx) {
            self.arrived.insert(number, blocks);
        }
    }

    /// What was asked for under a number, once it has come.
    pub(super) fn take(&mut self, number: u64) -> Option<Result<Blocks>> {
        self.arrived.remove(&number)
    }
}
