//! Blocks from trustless gateways: web servers that give each block by its CID.
//!
//! [`HttpExchange`] asks those that the host names, as the [trustless gateway specification] says,
//! and believes nothing that does not hash to its CID.
//!
//! # Which gateway is asked
//!
//! A gateway is asked for nothing before it has answered a probe, which is sent when it could first be
//! needed; meanwhile others are asked. Of those that may be asked, the one is that would give a block soonest, as far as known:
//! by how soon it answered so far, how fast bodies came, how many requests are before this one, and
//! how often it had what it was asked for.
//!
//! | what a gateway does | what follows |
//! |---|---|
//! | 404, 410 | it lacks the block; the next gateway is asked |
//! | another 4xx, or more than 2 MiB | it is not asked for this block again |
//! | 429, 503 | it is left alone as long as `Retry-After` says in seconds, for a minute at the most |
//! | another status, no answer in time, a broken body | it is left alone for a second, then two, four … a minute |
//! | bytes that do not hash to the CID | it is left alone for ten minutes, and nobody waits for it |
//!
//! One search asks the same gateway three times at the most, and waits for those that are left alone
//! only if no other is there.
//!
//! # Addresses
//!
//! The gateways come from the host, and are asked wherever they are, as far as the filter of the
//! [`HttpClient`] lets them be: one that allows public addresses alone refuses a gateway at
//! `127.0.0.1`, and a redirect or a name that leads there. Do not give URLs of strangers to a client
//! without a filter.
//!
//! # Not here yet
//!
//! A session does not use CAR files: which blocks it will want is known to its walker alone, and a
//! file that brings more than that costs more than it saves. [`HttpExchange::fetch_car`] gives them to
//! one who wants a whole DAG. Gateways that providers name are not asked.
//!
//! [trustless gateway specification]: https://specs.ipfs.tech/http-gateways/trustless-gateway/

mod car;
mod gateway;
mod ledger;
mod request;
mod search;
mod session;
mod wants;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::FutureExt;
use http::Uri;
use ipfs_traits::{
    AddressFilter, Block, Cid, Error, Exchange, HashTable, HttpClient, Parts, Recipe, Result,
    Runtime, Session,
};

pub use self::car::Scope;
use self::{
    gateway::Gateway,
    ledger::Ledger,
    session::HttpSession,
    wants::{Added, Given, Mailbox, Wants},
};
use ipfs_traits::sync::{Latch, lock};

/// Fetches from trustless gateways.
///
/// It serves nobody and announces nothing, has no task of its own while nothing is wanted, and does
/// not heed [`Session::providers`]. Sessions live on when it is dropped; [`close`](Exchange::close)
/// ends them.
///
/// A block is [`Error::NotFound`] when all gateways say that they lack it. When one of them failed,
/// that is not certain, and its failure is the error: [`Error::Component`] for a status and for what
/// the client says, [`Error::TimedOut`], [`Error::Corrupt`] for wrong bytes, [`Error::Limit`] for a
/// block of more than 2 MiB.
///
/// A request that serves several sessions stands in the counts of the one that it was made for, and
/// its block in those of all.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_bitswap::http::{HttpExchange, Options};
/// use ipfs_traits::{
///     codes, memory::MemoryHttp, Block, BlockSource, Exchange, HashTable, VirtualRuntime,
/// };
///
/// let (runtime, web) = (VirtualRuntime::new(), MemoryHttp::new());
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// web.serve("https://gateway.example/ipfs/bafkqaaa?format=raw", "");
/// web.serve(format!("https://gateway.example/ipfs/{}?format=raw", block.cid()), "hello");
///
/// let exchange = HttpExchange::new(
///     Arc::new(runtime.clone()),
///     Arc::new(web),
///     HashTable::standard(),
///     ["https://gateway.example"],
///     Options::default(),
/// )?;
/// let found = runtime.block_on(exchange.session(None).get(block.cid())).unwrap()?;
/// assert_eq!(found, block);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone)]
pub struct HttpExchange(Arc<Shared>);

/// How [`HttpExchange`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Requests to one gateway at once, each of which may hold a block: 64 by default, as in boxo.
    /// Servers commonly take 100 over one connection of HTTP/2.
    pub requests: usize,
    /// Bytes of blocks that one stream of a session has on their way or waiting to be read: 32 MiB by
    /// default, as with bitswap. Blocks that come larger than those before them may take twice that;
    /// what comes beyond is dropped and asked for again.
    pub window: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { requests: 64, window: 32 << 20 }
    }
}

/// The most gateways: each search looks at all of them, and a host names a few.
pub const MAX_GATEWAYS: usize = 64;

/// The media type of a single block.
const RAW: &str = "application/vnd.ipld.raw";

/// What the sessions and the searches share.
struct Shared {
    runtime: Arc<dyn Runtime>,
    client: Arc<dyn HttpClient>,
    hashes: HashTable,
    gateways: Vec<Arc<Gateway>>,
    options: Options,
    wants: Mutex<Wants>,
    latch: Latch,
}

impl HttpExchange {
    /// An exchange with these gateways, named by what stands before `/ipfs/` in their URLs:
    /// `https://trustless-gateway.link`, `http://127.0.0.1:8080`. One that is named twice is one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there is none, or for a URL that is not `http` or `https`, has
    /// credentials, a query or a fragment; [`Error::Limit`] for more than [`MAX_GATEWAYS`].
    pub fn new(
        runtime: Arc<dyn Runtime>,
        client: Arc<dyn HttpClient>,
        hashes: HashTable,
        gateways: impl IntoIterator<Item = impl Into<String>>,
        options: Options,
    ) -> Result<Self> {
        let mut known = BTreeSet::new();
        let mut urls = Vec::new();
        for url in gateways {
            let url = base(&url.into())?;
            if known.insert(url.clone()) {
                urls.push(Gateway::new(url, options.requests));
            }
        }
        if urls.is_empty() {
            return Err(Error::invalid("gateways", "there is none"));
        }
        if urls.len() > MAX_GATEWAYS {
            return Err(Error::limit("gateways", MAX_GATEWAYS, urls.len()));
        }
        let (wants, latch) = (Mutex::default(), Latch::new("the HTTP exchange"));
        let gateways = urls;
        Ok(Self(Arc::new(Shared { runtime, client, hashes, gateways, options, wants, latch })))
    }

    /// How to build it as the exchange of a node.
    pub fn recipe(
        client: Arc<dyn HttpClient>,
        gateways: impl IntoIterator<Item = impl Into<String>>,
        options: Options,
    ) -> impl Recipe<dyn Exchange> {
        let gateways = gateways.into_iter().map(Into::into).collect();
        HttpRecipe { client, gateways, options }
    }

    /// The blocks of a DAG, or of what `path` leads to below `root` (`a/b`; empty for the root
    /// itself), as one gateway sends them in a CAR file.
    ///
    /// Each block is verified to match its CID. Whether it belongs to the DAG, and whether all of it
    /// has come, is for the walker of the DAG to see: a gateway may send what was not asked for, and
    /// how much of it is taken is for the caller to bound. Blocks come once or more, in the order of
    /// the file; those of identity CIDs are mostly left out.
    ///
    /// The gateways are tried in turn, as for a block, until one of them sends the head of a CAR file.
    /// It is read as the stream is pulled, at most one block and one piece of the body ahead. Pull it
    /// on: a section that takes longer than two minutes, or a body that brings nothing for ten
    /// seconds, is an error.
    ///
    /// # Errors
    ///
    /// The first error ends the stream: those of a session's blocks, [`Error::NotFound`] also for a
    /// path that leads nowhere; [`Error::Invalid`] for a path with `.` or `..`; [`Error::Malformed`] for a file that is none or is cut off;
    /// [`Error::Limit`] for a section with more than 2 MiB of a block.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream ends the request.
    pub fn fetch_car(
        &self,
        root: &Cid,
        path: &str,
        scope: Scope,
    ) -> BoxStream<'static, Result<Block>> {
        car::fetch(self.0.clone(), *root, path, scope)
    }
}

/// What stands before `/ipfs/`.
fn base(url: &str) -> Result<Arc<str>> {
    const WHAT: &str = "URL of a gateway";
    let url = url.trim_end_matches('/');
    let uri: Uri = url.parse().map_err(|_| Error::invalid(WHAT, "it is none"))?;
    AddressFilter::Any.check(&uri)?;
    if uri.query().is_some() || url.contains('#') {
        return Err(Error::invalid(WHAT, "it has a query or a fragment"));
    }
    Ok(url.into())
}

impl Shared {
    /// Has a block brought to a stream.
    fn want(self: &Arc<Self>, cid: Cid, mailbox: &Arc<Mailbox>, ledger: &Arc<Ledger>) {
        let added = lock(&self.wants).add(cid, mailbox);
        let number = match added {
            Added::New(number) => number,
            Added::Joined => return,
            Added::Closed => return mailbox.deliver(cid, Err(self.latch.error())),
        };
        let search = Search { shared: self.clone(), cid, number, answer: None };
        let ledger = ledger.clone();
        let task = self.runtime.spawn(Box::pin(async move {
            let answer = search.shared.block(cid, ledger).await;
            search.end(answer);
        }));
        // Bound, so that it is dropped without the lock.
        let unwanted = lock(&self.wants).started(&cid, number, task);
        drop(unwanted);
    }

    /// A stream no longer waits for a block.
    fn give_up(&self, cid: &Cid, mailbox: &Arc<Mailbox>) {
        let unwanted = lock(&self.wants).remove(cid, mailbox);
        drop(unwanted);
    }

    async fn block(self: &Arc<Self>, cid: Cid, ledger: Arc<Ledger>) -> Result<Given> {
        search::search(self, &cid, |gateway, ticket| {
            let (shared, asked) = (self.clone(), ledger.ask(gateway));
            async move {
                let block = request::block(&shared, &ticket, &cid).await;
                if block.as_ref().is_err_and(|fault| fault.error().is_some()) {
                    asked.failed();
                }
                Ok(Given { block: block?, gateway })
            }
            .boxed()
        })
        .await
    }
}

/// A search under way. Those who wait are told when it ends, however it does.
struct Search {
    shared: Arc<Shared>,
    cid: Cid,
    number: u64,
    answer: Option<Result<Given>>,
}

impl Search {
    fn end(mut self, answer: Result<Given>) {
        self.answer = Some(answer);
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        let want = lock(&self.shared.wants).finish(&self.cid, self.number);
        let answer = self.answer.take().unwrap_or(Err(Error::Closed("the runtime")));
        want.into_iter().for_each(|want| want.answer(self.cid, &answer));
    }
}

#[async_trait]
impl Exchange for HttpExchange {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(HttpSession::new(self.0.clone()))
    }

    async fn notify(&self, _: &[Block]) -> Result<()> {
        self.0.latch.check()
    }

    async fn close(&self) -> Result<()> {
        self.0.latch.close();
        let wants = lock(&self.0.wants).close();
        let answer = Err(self.0.latch.error());
        wants.into_iter().for_each(|(cid, want)| want.answer(cid, &answer));
        Ok(())
    }
}

struct HttpRecipe {
    client: Arc<dyn HttpClient>,
    gateways: Vec<String>,
    options: Options,
}

#[async_trait]
impl Recipe<dyn Exchange> for HttpRecipe {
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<dyn Exchange>> {
        let (runtime, hashes) = (parts.runtime().clone(), parts.hashes().clone());
        let built = HttpExchange::new(runtime, self.client, hashes, self.gateways, self.options)?;
        Ok(Arc::new(built))
    }
}

impl fmt::Debug for HttpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.0.gateways.iter().map(|gateway| gateway.url());
        f.debug_list().entries(urls).finish()
    }
}
