//! The blocks of a DAG in the order of an archive: depth first, each before those that it links to.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_channel::mpsc;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, CodecTable, Error, Result};

/// Blocks that are asked for, or held until it is their turn, at the same time: enough that a file's
/// leaves come side by side, and at most 128 MiB of the largest that travel.
const AHEAD: usize = 64;

/// What of a DAG is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// Give a block each time that it is linked to, and not only the first time. A small DAG can
    /// then have more blocks than anybody can count: bound them with
    /// [`max_blocks`](Self::max_blocks).
    pub duplicates: bool,
    /// Leave out blocks that are not found, and what only they link to.
    pub partial: bool,
    /// Leave out blocks that their CIDs hold, where Kubo writes them. What they link to is given all
    /// the same.
    pub without_identity: bool,
    /// The most blocks that are given; beyond it [`Error::Limit`]. No bound by default.
    pub max_blocks: Option<u64>,
}

impl Order {
    /// Whether so many blocks may be given.
    pub(super) fn check(&self, given: u64) -> Result<()> {
        match self.max_blocks {
            Some(limit) if given > limit => {
                Err(Error::Limit { what: "blocks of a DAG", limit, actual: given })
            }
            _ => Ok(()),
        }
    }
}

/// The blocks below some roots, depth first and in the order of their links, each before those that
/// it links to, and once unless `order` says otherwise: what Kubo and the trustless gateway call
/// `dfs`. It is the same every time, whatever the source does.
///
/// Up to 64 blocks are fetched ahead. Each CID that was given is remembered (some 100 bytes), and
/// what a block links to until its turn comes.
///
/// # Errors
///
/// The stream ends with what the source says of a block, with [`Error::UnknownCodec`], and with what
/// the codec says of the bytes. One that ends without an error is whole.
pub fn walk(
    source: Arc<dyn BlockSource>,
    codecs: Arc<CodecTable>,
    roots: &[Cid],
    order: Order,
) -> BoxStream<'static, Result<Block>> {
    let walk = Walk::new(source, codecs, roots, order);
    stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        match walk.next().await {
            Ok(Some(block)) => Some((Ok(block), Some(walk))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Walk {
    codecs: Arc<CodecTable>,
    order: Order,
    /// What is to be visited, the next one last.
    stack: Vec<Cid>,
    seen: HashSet<Cid>,
    ahead: Ahead,
    given: u64,
}

impl Walk {
    fn new(
        source: Arc<dyn BlockSource>,
        codecs: Arc<CodecTable>,
        roots: &[Cid],
        order: Order,
    ) -> Self {
        let stack = roots.iter().rev().copied().collect();
        let (seen, ahead) = (HashSet::new(), Ahead::new(&*source));
        Self { codecs, order, stack, seen, ahead, given: 0 }
    }

    async fn next(&mut self) -> Result<Option<Block>> {
        while let Some(cid) = self.stack.pop() {
            if !self.order.duplicates && !self.seen.insert(cid) {
                continue;
            }
            let block = match Block::inline(&cid) {
                Some(block) => block,
                None => match self.fetch(cid).await {
                    Err(Error::NotFound(_)) if self.order.partial => continue,
                    block => block?,
                },
            };
            let links = self.codecs.links(&block)?;
            self.stack.extend(links.into_iter().rev());
            if self.order.without_identity && Block::inline(&cid).is_some() {
                continue;
            }
            self.given += 1;
            self.order.check(self.given)?;
            return Ok(Some(block));
        }
        Ok(None)
    }

    /// A block, with those behind it asked for as far as there is room.
    async fn fetch(&mut self, cid: Cid) -> Result<Block> {
        self.ahead.ask(cid);
        for cid in self.stack.iter().rev().take(AHEAD) {
            if self.ahead.is_full() {
                break;
            }
            if Block::inline(cid).is_none() && !self.seen.contains(cid) {
                self.ahead.ask(*cid);
            }
        }
        self.ahead.take(cid).await
    }
}

/// Blocks that were asked for before their turn.
struct Ahead {
    wanted: mpsc::UnboundedSender<Cid>,
    blocks: BoxStream<'static, (Cid, Result<Block>)>,
    /// Those that have not come yet, and those that wait for their turn.
    held: HashMap<Cid, Option<Result<Block>>>,
}

impl Ahead {
    fn new(source: &dyn BlockSource) -> Self {
        // Never longer than what is held.
        let (wanted, asked) = mpsc::unbounded();
        Self { wanted, blocks: source.get_many(asked.boxed()), held: HashMap::new() }
    }

    fn is_full(&self) -> bool {
        self.held.len() >= AHEAD
    }

    fn ask(&mut self, cid: Cid) {
        self.held.entry(cid).or_insert_with(|| {
            // Whoever takes it then sees that the source has ended.
            let _ = self.wanted.unbounded_send(cid);
            None
        });
    }

    /// The block that was asked for, when it comes.
    async fn take(&mut self, cid: Cid) -> Result<Block> {
        while !matches!(self.held.get(&cid), Some(Some(_))) {
            let (cid, block) = self.blocks.next().await.ok_or(Error::Closed("the source"))?;
            if let Some(place) = self.held.get_mut(&cid) {
                *place = Some(block);
            }
        }
        self.held.remove(&cid).flatten().unwrap_or(Err(Error::NotFound(cid)))
    }
}
