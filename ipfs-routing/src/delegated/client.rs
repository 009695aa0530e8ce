//! Asks one endpoint.

mod answer;
mod recipe;
mod request;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future, stream};
use http::{Method, Uri};
use ipfs_traits::{
    AddressFilter, Error, HttpClient, Multihash, PeerId, PeerInfo, Recipe, Result, Routing,
    Runtime,
    network::MAX_ADDRESSES,
    sync::{Latch, lock},
};

use self::recipe::HttpRecipe;
use super::{Filters, Lookup, Record, Records, ipns_name, pause::Pause};
use crate::{
    MAX_VALUE, Validators,
    cache::Cache,
    until::{closed, until},
};

/// A router that asks an endpoint of the Delegated Routing HTTP API.
///
/// It finds providers and peers, the peers closest to a key that is a multihash, and gets and puts
/// IPNS records, whose keys begin with `/ipns/`. It does not provide: the API has no such call any
/// more. It has no task of its own; [`close`](Routing::close) ends what is under way.
///
/// An endpoint that fails, or says that it has too much to do (429 and 5xx), is left alone for a
/// second, then two, four, … a minute, or as long as its `Retry-After` says in seconds, a minute at
/// the most ([`MAX_PAUSE`](super::MAX_PAUSE)). Meanwhile every call fails at once. An answer is kept
/// as long as its `Cache-Control` allows; IPNS records are not kept here.
///
/// The endpoint comes from the host, and is asked wherever it is, as far as the filter of the
/// [`HttpClient`] lets it be. Addresses in records are data: nothing connects to them here.
///
/// # Errors
///
/// [`Error::TimedOut`]; [`Error::Component`] for a status that is no success, an endpoint that is
/// left alone, and what the client says; [`Error::Malformed`] and [`Error::Limit`] for an answer
/// that is none or too large, after the records that came before; [`Error::Unsupported`] for keys
/// that the API has no word for, and for calls that the endpoint does not know; [`Error::Closed`].
///
/// ```
/// use std::sync::Arc;
///
/// use futures::TryStreamExt;
/// use ipfs_routing::{Routing, delegated::{HttpRouter, Options}};
/// use ipfs_traits::{Cid, VirtualRuntime, memory::MemoryHttp};
///
/// # let (runtime, web) = (VirtualRuntime::new(), MemoryHttp::new());
/// # let handle = Arc::new(runtime.clone());
/// # runtime.block_on(async {
/// let endpoint = "https://delegated-ipfs.dev";
/// let router = HttpRouter::new(handle, Arc::new(web), endpoint, Options::default())?;
/// let cid: Cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
/// let found: Vec<_> = router.find_providers(cid.hash(), 10).try_collect().await?;
/// assert!(found.is_empty()); // there is no such server in this web
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap()?;
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone)]
pub struct HttpRouter(Arc<Shared>);

/// How [`HttpRouter`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What is asked for, and taken of what comes. By default peers that speak bitswap, and those
    /// whose protocols are not known, at any address: what a node without retrieval over HTTP can
    /// use, as in Kubo.
    pub filters: Filters,
    /// How long a request may take in all: 15 seconds by default, as in Kubo. Servers give up after
    /// 30, but what they find that late is of little use.
    pub timeout: Duration,
    /// Answers that are kept: 256 by default, of 100 records each at the most. Lookups of the same
    /// few roots repeat within minutes; the rest rarely comes again.
    pub cache: usize,
    /// The rules that values are held against where they have one for the key: none by default.
    /// Whoever uses a value checks it.
    pub validators: Validators,
}

impl Default for Options {
    fn default() -> Self {
        let protocols = ["unknown", "transport-bitswap"].map(Into::into).into();
        let filters = Filters { protocols, ..Filters::default() };
        let timeout = Duration::from_secs(15);
        Self { filters, timeout, cache: 256, validators: Validators::new() }
    }
}

/// The most peers that are closest to a key: the size of a bucket.
const CLOSEST: usize = 20;

struct Shared {
    runtime: Arc<dyn Runtime>,
    client: Arc<dyn HttpClient>,
    /// What stands before `/routing/v1/`.
    base: Box<str>,
    options: Options,
    cache: Mutex<Cache<String, Record>>,
    pause: Mutex<Pause>,
    latch: Latch,
}

impl HttpRouter {
    /// A router that asks this endpoint, named by what stands before `/routing/v1/` in its URLs:
    /// `https://delegated-ipfs.dev`, `http://127.0.0.1:8080/somewhere`. What is behind may be named
    /// too.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a URL that is not `http` or `https`, has credentials, a query or a
    /// fragment.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        client: Arc<dyn HttpClient>,
        endpoint: &str,
        options: Options,
    ) -> Result<Self> {
        let (base, cache) = (base(endpoint)?.into(), Mutex::new(Cache::new(options.cache)));
        let (pause, latch) = (Mutex::default(), Latch::new("the delegated router"));
        Ok(Self(Arc::new(Shared { runtime, client, base, options, cache, pause, latch })))
    }

    /// How to build it as the routing of a node.
    pub fn recipe(
        client: Arc<dyn HttpClient>,
        endpoint: impl Into<String>,
        options: Options,
    ) -> impl Recipe<dyn Routing> {
        HttpRecipe { client, endpoint: endpoint.into(), options }
    }

    /// What the endpoint says of the peers that are looked for, [`MAX_RECORDS`](super::MAX_RECORDS)
    /// at the most, as it comes.
    pub fn records(&self, lookup: &Lookup) -> BoxStream<'static, Result<Record>> {
        self.some_records(*lookup, usize::MAX)
    }

    fn some_records(&self, lookup: Lookup, want: usize) -> BoxStream<'static, Result<Record>> {
        let shared = self.0.clone();
        future::lazy(move |_| shared.start(lookup, want)).flatten_stream().boxed()
    }
}

fn base(endpoint: &str) -> Result<&str> {
    const WHAT: &str = "URL of a router";
    let base = endpoint.trim_end_matches('/');
    let base = base.strip_suffix("/routing/v1").unwrap_or(base).trim_end_matches('/');
    let uri: Uri = base.parse().map_err(|_| Error::invalid(WHAT, "it is none"))?;
    AddressFilter::Any.check(&uri)?;
    if uri.query().is_some() || base.contains('#') {
        return Err(Error::invalid(WHAT, "it has a query or a fragment"));
    }
    Ok(base)
}

impl Shared {
    /// The records, until the time of the request is over or the router is closed.
    fn start(self: Arc<Self>, lookup: Lookup, want: usize) -> BoxStream<'static, Result<Record>> {
        if let Err(error) = self.latch.check() {
            return stream::iter([Err(error)]).boxed();
        }
        let time = self.runtime.sleep_until(self.runtime.now() + self.options.timeout);
        let time = time.map(|()| Error::TimedOut("an answer of a router")).boxed();
        let ends = vec![closed(&self.latch), time];
        until(self.ask(lookup, want).try_flatten_stream().boxed(), ends)
    }

    async fn ask(
        self: Arc<Self>,
        lookup: Lookup,
        want: usize,
    ) -> Result<BoxStream<'static, Result<Record>>> {
        let path = format!("{}{}", lookup.path(), self.options.filters.query());
        if let Some(found) = lock(&self.cache).get(&path, want, self.runtime.now()) {
            return Ok(stream::iter(found.into_iter().map(Ok)).boxed());
        }
        match request::send(&self, Method::GET, &path, Bytes::new()).await? {
            Some(answer) => answer::records(self, path, answer),
            None => Ok(stream::empty().boxed()),
        }
    }

    async fn value(self: Arc<Self>, key: Vec<u8>) -> Result<Option<Bytes>> {
        let path = format!("ipns/{}", ipns_name(&key)?);
        let value = async {
            match request::send(&self, Method::GET, &path, Bytes::new()).await? {
                Some(answer) => answer::value(answer).await,
                None => Ok(None),
            }
        };
        let value = self.latch.guard(request::in_time(&self, value)).await?;
        if let Some(value) = &value {
            self.check(&key, value)?;
        }
        Ok(value)
    }

    /// Holds a value against the rules, where there are some.
    fn check(&self, key: &[u8], value: &[u8]) -> Result<()> {
        match self.options.validators.knows(key) {
            true => self.options.validators.validate(key, value, self.runtime.wall()),
            false => Ok(()),
        }
    }
}

impl Records for HttpRouter {
    fn records(&self, lookup: &Lookup) -> BoxStream<'static, Result<Record>> {
        self.records(lookup)
    }
}

#[async_trait]
impl Routing for HttpRouter {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        match want {
            0 => stream::empty().boxed(),
            _ => self
                .some_records(Lookup::Providers(*key), want)
                .map_ok(Into::into)
                .take(want)
                .boxed(),
        }
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        let mut found = PeerInfo::from(peer);
        let mut records = self.records(&Lookup::Peer(peer));
        while let Some(record) = records.try_next().await? {
            let new = record.addresses.into_iter();
            let new = new.filter(|_| record.id == peer);
            found
                .addresses
                .extend(new.filter(|new| !found.addresses.contains(new)).collect::<Vec<_>>());
        }
        found.addresses.truncate(MAX_ADDRESSES);
        if found.addresses.is_empty() { Err(Error::Unreachable(peer, None)) } else { Ok(found) }
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        let value = self.0.clone().value(key.to_vec()).map(Result::transpose);
        stream::once(value).filter_map(future::ready).boxed()
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        let path = format!("ipns/{}", ipns_name(key)?);
        if value.len() > MAX_VALUE {
            return Err(Error::limit("bytes of a value", MAX_VALUE, value.len()));
        }
        self.0.check(key, &value)?;
        let sent =
            request::send(&self.0, Method::PUT, &path, value).and_then(|answer| async move {
                match answer {
                    Some(_) => Ok(()),
                    None => Err(Error::unsupported("putting values at this endpoint")),
                }
            });
        self.0.latch.guard(request::in_time(&self.0, sent)).await
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        let key = Multihash::from_bytes(key)
            .map_err(|_| Error::unsupported("finding peers close to a key that is no multihash"))?;
        let mut found: Vec<PeerInfo> = Vec::new();
        let mut records = self.some_records(Lookup::Closest(key), CLOSEST);
        while let Some(record) = records.try_next().await? {
            if found.iter().all(|peer| peer.id != record.id) {
                found.push(record.into());
            }
            if found.len() == CLOSEST {
                break;
            }
        }
        Ok(found)
    }

    async fn close(&self) -> Result<()> {
        self.0.latch.close();
        Ok(())
    }
}

impl fmt::Debug for HttpRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpRouter").field(&self.0.base).finish()
    }
}
