//! Bringing what a path leads to into the store: where paths, UnixFS, codecs and sessions meet.

mod clock;
mod crawl;
mod links;
mod missing;
mod pending;
mod progress;
mod seen;
mod under_way;
mod way;

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use ipfs_traits::{Blockstore, Cid, Error, PeerInfo, Result, Session, SessionStats};

pub(crate) use self::missing::Lacking;
use self::{
    clock::Times,
    crawl::{Crawl, Watch},
    links::{Filter, Role, Rules},
    pending::Job,
    progress::Shared,
};
pub use self::{progress::FetchProgress, under_way::Fetching};
use crate::{Follow, Hold, IntoPath, IntoPeer, Node, NodeEvent, NodeSource, Path};

/// How long a [`Fetch`] goes on without an answer if nothing else is said: enough to find who has a
/// block in a slow network, or for the largest one, of 2 MiB, to come at 35 kB/s.
const STALL: Duration = Duration::from_secs(60);

/// What is to be fetched, and how: see [`Node::fetch`]. Nothing happens before it is awaited or
/// [started](Self::start).
#[must_use = "nothing is fetched before it is started or awaited"]
pub struct Fetch {
    node: Node,
    path: Result<Path>,
    role: Role,
    follow: Follow,
    filter: Option<Arc<Filter>>,
    max_depth: Option<usize>,
    providers: Result<Vec<PeerInfo>>,
    times: Times,
}

/// What was fetched: all of it is here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// The block that the path leads to.
    pub root: Cid,
    /// The way on inside its value; empty when the path leads to the block itself.
    pub rest: Vec<String>,
    /// Blocks that were brought: those on the way to the root, those that were here, and those that
    /// their CIDs hold are counted, and each once.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How many of the blocks were not here.
    pub fetched_blocks: u64,
    /// Bytes of these.
    pub fetched_bytes: u64,
    /// What the session has done, and who gave what.
    pub stats: SessionStats,
    /// Keeps all of it until dropped.
    pub hold: Hold,
}

impl Node {
    /// Brings what a path leads to into the store, with the blocks on the way to it: all below it,
    /// unless the [`Fetch`] is told to bring less. Blocks that are here already are not asked for.
    ///
    /// It ends when all is here and durable, or nothing more can be had; then it is an error that
    /// names what is missing ([`Error::Incomplete`]), and what came stays. Calling again asks only
    /// for the rest. A block that does not come keeps no other from being fetched.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ipfs_core::{Error, Node};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let local = || Node::builder().listen(["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
    /// # let (a, b) = (local().spawn().await?, local().spawn().await?);
    /// # let cid = a.unixfs().add_bytes("hello world").await?.cid;
    /// # b.connect(a.addresses()).await?;
    /// let fetched = b.fetch(&cid).await?;
    /// assert_eq!(fetched.root, cid);
    ///
    /// // The same, watched, and with a limit.
    /// let mut fetching = b.fetch(&cid).timeout(Duration::from_secs(600)).start();
    /// while let Some(progress) = fetching.next().await {
    ///     println!("{} bytes, {} bytes/s", progress.fetched_bytes, progress.rate);
    /// }
    /// match fetching.await {
    ///     Ok(fetched) => assert_eq!((fetched.blocks, fetched.fetched_blocks), (1, 0)),
    ///     Err(Error::Incomplete { count, missing, .. }) => {
    ///         println!("{count} are missing, such as {}: {}", missing[0].cid, missing[0].why);
    ///     }
    ///     Err(other) => return Err(other),
    /// }
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`], which names the first thousand blocks that were not found, are
    /// damaged, cannot be understood or have a codec that the node does not know, each with the
    /// reason, and counts the others; so it is for a block on the way to the root that cannot be had.
    /// Those of [`Dag::resolve`](crate::Dag::resolve) for a path that leads nowhere; [`Error::WrongKind`] for
    /// a range of what is no file; [`Error::Invalid`] for a provider that is none;
    /// [`Error::Full`] and [`Error::Closed`], after which nothing more can be had; what the store
    /// says when it is flushed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it, or the [`Fetching`] that it becomes, cancels it and gives up what was asked for.
    /// What came by then is stored; it is held only by a hold of one's own ([`under`](Self::under)),
    /// which also is what keeps it when the fetch is incomplete.
    ///
    /// # Memory
    ///
    /// Some 40 bytes for each block, beside the 16 of the hold; at most some 10 MB of links whose
    /// turn has not come; and of blocks what the session has on its way or waiting.
    pub fn fetch(&self, path: impl IntoPath) -> Fetch {
        Fetch {
            node: self.clone(),
            path: path.into_path(),
            role: Role::All,
            follow: Follow::All,
            filter: None,
            max_depth: None,
            providers: Ok(Vec::new()),
            times: Times { timeout: None, stall: Some(STALL) },
        }
    }
}

impl Fetch {
    /// Brings all blocks below the root, by the node's codecs. The default.
    pub fn dag(mut self) -> Self {
        self.role = Role::All;
        self
    }

    /// Brings the file or directory that the root is the first block of: all blocks of a file; of a
    /// directory its own, also if it is sharded, and none of its entries. What is not UnixFS is one
    /// block. It is what gateways call `dag-scope=entity`.
    pub fn entity(mut self) -> Self {
        self.role = Role::Entity;
        self
    }

    /// Brings the root alone.
    pub fn block(mut self) -> Self {
        self.role = Role::Leaf;
        self
    }

    /// Brings the blocks that hold these bytes of a file, and those that lead to them. Ends beyond
    /// the file are cut. Of parts that do not say how large they are all is brought.
    pub fn range(mut self, range: Range<u64>) -> Self {
        self.role = Role::Range(range);
        self
    }

    /// Brings what can be reached along some of the links. The default is all of them.
    pub const fn follow(mut self, follow: Follow) -> Self {
        self.follow = follow;
        self
    }

    /// Follows only those links below the root of which this says so: given where the link leads,
    /// the block in which it stands, and how many links that is from the root.
    ///
    /// It is asked of the links of each block in the order in which blocks come. Where several ways
    /// of different length lead to a block, that may be any of them, and it is not asked again for
    /// the others.
    pub fn filter(
        mut self,
        filter: impl Fn(&Cid, &Cid, usize) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Follows links only so far from the root, which itself is at 0. No bound by default.
    pub const fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = Some(depth);
        self
    }

    /// Names peers that are likely to have the blocks: they are asked beside those that the node
    /// finds. Calls add up.
    pub fn providers(mut self, peers: impl IntoIterator<Item: IntoPeer>) -> Self {
        let more: Result<Vec<PeerInfo>> = peers.into_iter().map(IntoPeer::into_peer).collect();
        self.providers = self.providers.and_then(|mut all| {
            all.extend(more?);
            Ok(all)
        });
        self
    }

    /// Ends after this time, counted from the start, with what came by then. Links that were not
    /// looked at yet are missing then, though they may lead to what is here. Making durable what is
    /// whole takes its own time. No bound by default.
    pub fn timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.times.timeout = time.into();
        self
    }

    /// Ends when nothing has come for this time, from here or from others. What is missing is then
    /// known: what is here is followed to its end before. The default is 60 seconds, in which the
    /// largest block comes at 35 kB/s, and a block is found in a slow network; `None` waits as long
    /// as it takes for somebody to have it.
    pub fn stall(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.times.stall = time.into();
        self
    }

    /// Starts it in the node's runtime: it goes on whether it is watched or not, until it is done or
    /// dropped.
    pub fn start(self) -> Fetching {
        let runtime = self.node.runtime().clone();
        let shared = Arc::new(Shared::new(runtime.clone()));
        let hold = self.node.hold_of_writes();
        let node = self.node.under(&hold);
        let root = self.path.as_ref().ok().and_then(|path| path.root().ok().copied());
        let source = NodeSource::new(node, root);
        let work = run(self, source.clone(), shared.clone(), hold);
        Fetching::spawn(&*runtime, work, source, shared)
    }
}

/// Errors after which nothing more can be had.
fn is_fatal(error: &Error) -> bool {
    matches!(error.what(), Error::Closed(_) | Error::Full { .. })
}

async fn run(fetch: Fetch, source: NodeSource, shared: Arc<Shared>, hold: Hold) -> Result<Fetched> {
    let Fetch { node, path, role, follow, filter, max_depth, providers, times } = fetch;
    let path = node.immutable(path?).await?;
    let watch: Watch = Box::new(times.watch(shared.clone()));
    source.providers(&providers?);
    let found = way::locate(&node, &source, &shared, &path, watch()).await?;
    let rules = Rules { codecs: node.codecs().clone(), follow, filter, max_depth };
    let root = Job::new(found.cid, role, 0);
    let mut crawl = Crawl::new(rules, source.clone(), shared.clone(), watch, root);
    if !found.rest.is_empty() {
        // To see that, the block was read.
        crawl = crawl.counted(&found.cid);
    }
    crawl.run().await?;
    node.guarded().flush().await?;
    let (done, _) = shared.read();
    let (blocks, bytes) = (done.fetched_blocks, done.fetched_bytes);
    node.emit(NodeEvent::Fetched { root: found.cid, blocks, bytes });
    Ok(Fetched {
        root: found.cid,
        rest: found.rest,
        blocks: done.here_blocks + done.fetched_blocks,
        bytes: done.here_bytes + done.fetched_bytes,
        fetched_blocks: done.fetched_blocks,
        fetched_bytes: done.fetched_bytes,
        stats: source.stats(),
        hold,
    })
}

impl IntoFuture for Fetch {
    type Output = Result<Fetched>;
    type IntoFuture = Fetching;

    fn into_future(self) -> Fetching {
        self.start()
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("path", &self.path)
            .field("what", &self.role)
            .field("max_depth", &self.max_depth)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
