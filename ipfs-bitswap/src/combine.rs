//! Several exchanges as one: one after the other, or all at once.

mod gather;
mod recipe;
mod tier;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future::join_all, stream};
use ipfs_traits::{
    Block, BlockSource, Cid, Exchange, PeerInfo, Recipe, Result, Runtime, Session, SessionStats,
};

use self::gather::Gather;
pub use self::recipe::CombinedRecipe;
use ipfs_traits::sync::{Latch, lock};

/// Several exchanges as one.
///
/// Each CID is asked of the first; it is asked of the next one as well when those before have failed
/// or said that they do not have it, or when the one before has been asked for a stated time. Those
/// asked first go on being asked. The first block that comes is given, and the rest are no longer
/// asked. With [`racing`](Self::racing) all are asked at once.
///
/// The time of a CID begins when its exchange takes it, since an exchange takes only what it has room
/// for; what waits for room goes on to the next exchange when none was taken for that time. An
/// exchange that let the time pass for [`MISSES`] blocks of a session, and gave none meanwhile, is not
/// waited for in that session until it gives one again.
///
/// What is under way and unread is bounded by what each of the exchanges allows a stream. A block may
/// come from two of them: the second one is dropped and counted as a duplicate.
///
/// # Errors
///
/// A block is an error when all have failed: [`Error::NotFound`](ipfs_traits::Error::NotFound) when
/// all say so, otherwise the error of the first in the list that said anything else. An exchange that
/// waits for ever, as bitswap does, keeps the errors of the others from being given.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use ipfs_bitswap::{Combined, HttpExchange, http::Options};
/// use ipfs_traits::{
///     codes, memory::MemoryHttp, Block, BlockSource, Exchange, HashTable, OfflineExchange,
///     VirtualRuntime,
/// };
///
/// let (runtime, web, hashes) = (VirtualRuntime::new(), MemoryHttp::new(), HashTable::standard());
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &hashes)?;
/// web.serve("https://gateway.example/ipfs/bafkqaaa?format=raw", "");
/// web.serve(format!("https://gateway.example/ipfs/{}?format=raw", block.cid()), "hello");
///
/// let (handle, urls) = (Arc::new(runtime.clone()), ["https://gateway.example"]);
/// let http = HttpExchange::new(handle.clone(), Arc::new(web), hashes, urls, Options::default())?;
/// let peers = OfflineExchange; // bitswap, in a node
/// let both = Combined::tiered(
///     handle,
///     [(Arc::new(peers) as Arc<dyn Exchange>, Duration::from_secs(1)), (Arc::new(http), Duration::ZERO)],
/// );
/// assert_eq!(runtime.block_on(both.session(None).get(block.cid())).unwrap()?, block);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
///
/// As the exchange of a node it is built with [`Combined::first`].
#[derive(Clone)]
pub struct Combined(Arc<Shared>);

/// After so many blocks that an exchange did not give in time it is not waited for: enough that a few
/// rare blocks do not end the waiting, few enough that a walk from block to block soon goes at the
/// speed of the next exchange.
pub const MISSES: u32 = 16;

/// A longer wait is as if it were this one, a year: the clock need not count so far.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

struct Shared {
    runtime: Arc<dyn Runtime>,
    tiers: Vec<(Arc<dyn Exchange>, Duration)>,
    latch: Latch,
}

impl Combined {
    /// One after the other, each with the time that it is given before the next one is asked too. That
    /// of the last means nothing. Of none, nothing can be had.
    pub fn tiered(
        runtime: Arc<dyn Runtime>,
        tiers: impl IntoIterator<Item = (Arc<dyn Exchange>, Duration)>,
    ) -> Self {
        let latch = Latch::new("the combined exchange");
        let tiers = tiers.into_iter().map(|(exchange, delay)| (exchange, delay.min(LONGEST)));
        Self(Arc::new(Shared { runtime, tiers: tiers.collect(), latch }))
    }

    /// All at once; the first block that comes is given.
    pub fn racing(
        runtime: Arc<dyn Runtime>,
        exchanges: impl IntoIterator<Item = Arc<dyn Exchange>>,
    ) -> Self {
        Self::tiered(runtime, exchanges.into_iter().map(|exchange| (exchange, Duration::ZERO)))
    }

    /// How to build it as the exchange of a node, from how its exchanges are built. This one is asked
    /// first; [`CombinedRecipe::after`] says which one is next, and when.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    ///
    /// use ipfs_bitswap::{Bitswap, Combined, HttpExchange, Options, http};
    /// use ipfs_traits::{Exchange, HttpClient, Recipe};
    ///
    /// /// Peers, and a gateway for what they have not given after half a second.
    /// fn peers_and_gateway(client: Arc<dyn HttpClient>) -> impl Recipe<dyn Exchange> {
    ///     let gateways = ["https://trustless-gateway.link"];
    ///     let http = HttpExchange::recipe(client, gateways, http::Options::default());
    ///     Combined::first(Bitswap::recipe(Options::default()))
    ///         .after(Duration::from_millis(500), http)
    /// }
    /// ```
    pub fn first(recipe: impl Recipe<dyn Exchange>) -> CombinedRecipe {
        CombinedRecipe::new(recipe)
    }

    fn exchanges(&self) -> impl Iterator<Item = &Arc<dyn Exchange>> {
        self.0.tiers.iter().map(|(exchange, _)| exchange)
    }
}

#[async_trait]
impl Exchange for Combined {
    fn session(&self, root: Option<&Cid>) -> Arc<dyn Session> {
        let parts = self.exchanges().map(|exchange| Part::new(exchange.session(root))).collect();
        let (shared, counts) = (self.0.clone(), Mutex::default());
        Arc::new(CombinedSession(Arc::new(Inner { shared, parts, counts })))
    }

    /// Tells all of them.
    ///
    /// # Errors
    ///
    /// The first error in the order of the list, after all were told.
    async fn notify(&self, blocks: &[Block]) -> Result<()> {
        self.0.latch.check()?;
        join_all(self.exchanges().map(|exchange| exchange.notify(blocks)))
            .await
            .into_iter()
            .collect()
    }

    /// Closes all of them.
    ///
    /// # Errors
    ///
    /// The first error in the order of the list, after all were closed.
    async fn close(&self) -> Result<()> {
        self.0.latch.close();
        join_all(self.exchanges().map(|exchange| exchange.close())).await.into_iter().collect()
    }
}

impl fmt::Debug for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.tiers).finish()
    }
}

/// A session of each exchange.
#[derive(Clone)]
struct CombinedSession(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    parts: Vec<Part>,
    counts: Mutex<SessionStats>,
}

/// The session of one exchange, and what it was good for.
struct Part {
    session: Arc<dyn Session>,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    blocks: u64,
    bytes: u64,
    /// Blocks that it let wait since it last gave one.
    misses: u32,
}

impl Part {
    fn new(session: Arc<dyn Session>) -> Self {
        Self { session, used: Mutex::default() }
    }

    fn used(&self, bytes: usize) {
        let mut used = lock(&self.used);
        used.blocks += 1;
        used.bytes += bytes as u64;
        used.misses = 0;
    }

    fn missed(&self) {
        let mut used = lock(&self.used);
        used.misses = used.misses.saturating_add(1);
    }

    /// Its givers. What it gave and was not used, because another was sooner, is a duplicate of theirs.
    fn stats(&self) -> SessionStats {
        let (mut stats, used) = (self.session.stats(), *lock(&self.used));
        let mut late = stats.blocks.saturating_sub(used.blocks);
        let mut late_bytes = stats.bytes.saturating_sub(used.bytes);
        for giver in &mut stats.givers {
            let (blocks, bytes) = (late.min(giver.blocks), late_bytes.min(giver.bytes));
            giver.blocks -= blocks;
            giver.duplicates += blocks;
            giver.bytes -= bytes;
            (late, late_bytes) = (late - blocks, late_bytes - bytes);
        }
        stats
    }
}

impl Inner {
    fn count(&self, change: impl FnOnce(&mut SessionStats)) {
        change(&mut lock(&self.counts));
    }

    /// How long a part is given before the next one is asked.
    fn patience(&self, part: usize) -> Duration {
        match lock(&self.parts[part].used).misses {
            0..MISSES => self.shared.tiers[part].1,
            _ => Duration::ZERO,
        }
    }
}

#[async_trait]
impl BlockSource for CombinedSession {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let mut gather = Gather::new(self.0.clone(), stream::iter([*cid]).boxed());
        match gather.next().await {
            Some((_, answer)) => answer,
            None => Err(self.0.shared.latch.error()),
        }
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        Gather::new(self.0.clone(), cids).boxed()
    }
}

impl Session for CombinedSession {
    fn providers(&self, peers: &[PeerInfo]) {
        self.0.parts.iter().for_each(|part| part.session.providers(peers));
    }

    /// Blocks are those that were given here; givers those of all exchanges.
    fn stats(&self) -> SessionStats {
        let mut stats = lock(&self.0.counts).clone();
        for part in &self.0.parts {
            let of = part.stats();
            stats.duplicates += of.duplicates;
            stats.givers.extend(of.givers);
        }
        stats
    }
}

impl fmt::Debug for CombinedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.parts.iter().map(|part| &part.session)).finish()
    }
}
