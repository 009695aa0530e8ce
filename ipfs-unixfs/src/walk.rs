//! Walking along links, whatever they are of: the blocks of a DAG, in order.

mod stat;

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, future};
use ipfs_traits::{Block, BlockSource, Cid, CodecTable, Error, Result, codes};

pub use self::stat::{DagStat, RootStat, dag_stat};
use crate::{
    Name,
    ahead::{Admit, Ahead, Level, Next, Opened, Reader, WINDOW, Want},
    dagpb,
};

/// What is walked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkOptions {
    /// Visit a block once, and not each time that it is linked to. Some 100 bytes for each CID are
    /// then kept.
    pub unique: bool,
    /// How far from the roots blocks may be; a root itself is at 0. No bound by default.
    pub max_depth: Option<usize>,
    /// How many visits there may be; beyond it [`Error::Limit`]. 100 million by default, hours of
    /// work: a small DAG can link to itself in so many ways that nobody could ever visit all of
    /// them.
    pub max_visits: u64,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self { unique: true, max_depth: None, max_visits: 100_000_000 }
    }
}

/// A block that a [`Walk`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visit {
    /// The block.
    pub block: Block,
    /// How many links lead here from a root.
    pub depth: usize,
    /// The link that led here; a root has none.
    pub link: Option<Edge>,
}

/// A link between two blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Edge {
    /// The block that links.
    pub from: Cid,
    /// The block that is linked to.
    pub to: Cid,
    /// The name of the link, which only dag-pb has. It is a stranger's, and may be any bytes.
    pub name: Name,
}

/// The blocks below some roots, depth first, each before those that it links to, those in the order
/// of their links: the order of Kubo's `refs` and of archives. It is the same every time, whatever
/// the source does.
///
/// Up to 128 blocks are asked for at once, and about 16 MiB held. A block that is wanted in several
/// places at once is asked for once. Dropping the walk gives up what was asked for.
///
/// # Errors
///
/// The stream ends with what the source says of a block, with [`Error::UnknownCodec`], with what the
/// codec says of the bytes, or with [`Error::Limit`]. One that ends without an error is whole.
///
/// ```
/// # use std::sync::Arc;
/// # use futures::TryStreamExt;
/// # use ipfs_traits::{memory::MemoryStore, CodecTable, Local, VirtualRuntime};
/// # use ipfs_unixfs::{dagpb::DagPb, Exporter, Importer, Params, Walk, WalkOptions};
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("hello.txt"), "hello world")?;
/// # let params = Params { raw_leaves: false, ..Params::default() };
/// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone())).params(params);
/// # let root = importer.path(folder.path()).await?.cid;
/// let mut codecs = CodecTable::new();
/// codecs.insert(DagPb);
/// let source = Arc::new(Local(store));
/// let walk = Walk::new(source, Arc::new(codecs), &[root], WalkOptions::default());
/// let visits: Vec<_> = walk.try_collect().await?;
/// assert_eq!(*visits[0].block.cid(), root);
/// assert_eq!(visits[1].link.as_ref().unwrap().name, "hello.txt");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
pub struct Walk(Ahead<Blocks>);

impl Walk {
    /// A walk from some roots, one after the other.
    ///
    /// `codecs` says which links a block has; raw blocks and blocks at the greatest depth need none.
    pub fn new(
        source: Arc<dyn BlockSource>,
        codecs: Arc<CodecTable>,
        roots: &[Cid],
        options: WalkOptions,
    ) -> Self {
        let root = |cid: Cid| Next::Want(Want::new(cid, Role { link: None, depth: 0 }, ESTIMATE));
        let roots: Vec<Next<Blocks>> = roots.iter().copied().map(root).collect();
        let roots = Box::new(roots.into_iter());
        let reader = Blocks { codecs, options, seen: HashMap::new(), visits: 0 };
        Self(Ahead::new(&*source, reader, Level::new(0, [], Some(roots), None), WINDOW))
    }

    /// The links that it comes along, in order: what Kubo's `refs` prints. The block that a link
    /// leads to is fetched before the link is given.
    pub fn edges(self) -> impl Stream<Item = Result<Edge>> + Send + 'static {
        self.try_filter_map(|visit| future::ready(Ok(visit.link)))
    }

    /// How many CIDs it remembers.
    fn seen(&self) -> usize {
        self.0.reader().seen.len()
    }
}

impl Stream for Walk {
    type Item = Result<Visit>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("seen", &self.seen()).finish_non_exhaustive()
    }
}

/// What a block is taken for until it is here: less than a leaf and more than most others, so that
/// blocks of all kinds are fetched side by side.
const ESTIMATE: usize = 112 << 10;

/// Reads blocks for their links.
struct Blocks {
    codecs: Arc<CodecTable>,
    options: WalkOptions,
    /// The least depth at which a CID was visited.
    seen: HashMap<Cid, usize>,
    visits: u64,
}

struct Role {
    /// Where the link stands, and its name.
    link: Option<(Cid, Name)>,
    depth: usize,
}

impl Blocks {
    /// Whether all below a CID was visited already, from a place as near to its root.
    fn was_visited(&self, cid: &Cid, depth: usize) -> bool {
        let whole = self.options.max_depth.is_none();
        self.seen.get(cid).is_some_and(|seen| whole || *seen <= depth)
    }

    fn below(&self, block: &Block, depth: usize) -> Result<Option<Links>> {
        if block.cid().codec() == codes::RAW || Some(depth) == self.options.max_depth {
            return Ok(None);
        }
        let from = *block.cid();
        let links: Box<dyn Iterator<Item = (Cid, Name)> + Send> = match from.codec() {
            // Its links have names.
            codes::DAG_PB => {
                let node = dagpb::Node::parse(block.data().clone())?;
                Box::new(node.into_links().map(|link| (link.cid, link.name)))
            }
            _ => {
                let links = self.codecs.links(block)?;
                Box::new(links.into_iter().map(|cid| (cid, Name::default())))
            }
        };
        let depth = depth + 1;
        Ok(Some(Box::new(links.map(move |(cid, name)| {
            Next::Want(Want::new(cid, Role { link: Some((from, name)), depth }, ESTIMATE))
        }))))
    }
}

type Links = Box<dyn Iterator<Item = Next<Blocks>> + Send>;

impl Reader for Blocks {
    type Role = Role;
    type Item = Visit;

    // A chain of blocks may be as long as a history.
    const KEEPS_WAY: bool = false;

    fn open(&mut self, role: &Role, block: Block, _: usize) -> Result<Opened<Self>> {
        let depth = role.depth;
        let to = *block.cid();
        let link = role.link.clone().map(|(from, name)| Edge { from, to, name });
        let (weight, links) = (block.len(), self.below(&block, depth)?);
        let visit = Visit { block, depth, link };
        Ok(match links {
            None => Opened::Item(visit),
            links => Opened::Level(Level::new(weight, [visit], links, None)),
        })
    }

    fn len(visit: &Visit) -> usize {
        visit.block.len()
    }

    fn is_known(&self, cid: &Cid, role: &Role) -> bool {
        self.options.unique && self.was_visited(cid, role.depth)
    }

    fn admit(&mut self, cid: &Cid, role: &Role) -> Result<Admit> {
        let admit = if !self.options.unique {
            Admit::Take
        } else if self.was_visited(cid, role.depth) {
            return Ok(Admit::Skip);
        } else if self.seen.insert(*cid, role.depth).is_some() {
            // It was given, but not all that is within reach from here.
            Admit::Below
        } else {
            Admit::Take
        };
        self.visits += 1;
        match self.visits > self.options.max_visits {
            true => Err(Error::Limit {
                what: "visits of a walk",
                limit: self.options.max_visits,
                actual: self.visits,
            }),
            false => Ok(admit),
        }
    }
}
