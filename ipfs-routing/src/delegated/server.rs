//! Answers as an endpoint.

mod answer;
mod ipns;
mod peers;
mod request;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future, stream};
use http::{Method, Request, Response, StatusCode};
use ipfs_traits::{Error, HttpBody, Result, Routing, Runtime};

use self::{
    answer::{Refusal, allow_all_sites},
    request::Route,
};
use super::{Lookup, Record, Records};
use crate::Validators;

/// An endpoint of the Delegated Routing HTTP API, for a host to mount in its HTTP server.
///
/// It takes requests whose path begins with `/routing/v1/`, and asks a router. It listens nowhere,
/// has no task of its own, and asks nobody for credentials: whom it answers is for the host to say.
///
/// # Answers
///
/// JSON holds at most [`records`](ServerOptions::records) peers; one who accepts
/// `application/x-ndjson` gets them as they are found. Both end when the router has had its time: what
/// it found by then is the answer. When it fails, that is one of these:
///
/// | status | when |
/// |---|---|
/// | 400 | the path, or a CID, a name or a record in the request is none |
/// | 405 | the method is none of the path's |
/// | 406 | neither of the media types is accepted, or what was put is no IPNS record |
/// | 408 | the body did not come in time |
/// | 409 | a better record than the one that was put is known |
/// | 413, 414 | a record of more than 10 KiB ([`MAX_VALUE`](crate::MAX_VALUE)), a URL of more than 2 KiB ([`MAX_URL`]) |
/// | 429 | too many requests are under way; some seconds later there may be room |
/// | 500, 504 | the router has failed, or took too long to put a record |
/// | 501 | the router cannot do this |
///
/// Finding nothing is 200 with an empty list, and for a name 200 with a text. Every site may ask
/// (CORS).
///
/// # Mounting it
///
/// With axum, whose bodies are streams of bytes too:
///
/// ```ignore
/// async fn delegated(server: State<Server>, request: Request<Body>) -> Response<Body> {
///     let error = |error| ipfs_traits::Error::component("HTTP server", error);
///     let request = request.map(|body| body.into_data_stream().map_err(error).boxed());
///     server.call(request).await.map(Body::from_stream)
/// }
/// let app = Router::new().route("/routing/v1/{*path}", any(delegated)).with_state(server);
/// ```
///
/// # Cancel safety
///
/// Dropping the future or the body of the answer ends the lookup.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

/// How [`Server`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Peers in an answer of JSON: 20 by default, as in boxo, which is a page that a light client can
    /// use; the specification allows 100.
    pub records: usize,
    /// Peers in an answer of NDJSON: 1000 by default, which are more than a client connects to. boxo
    /// has no bound.
    pub streamed_records: usize,
    /// How long the router may take: 30 seconds by default, as in boxo. A lookup in the DHT takes
    /// about that long at the worst.
    pub timeout: Duration,
    /// Requests at once, beyond which the answer is 429: 1024 by default. Each may hold a lookup in
    /// the DHT with its ten streams.
    pub requests: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let timeout = Duration::from_secs(30);
        Self { records: 20, streamed_records: 1000, timeout, requests: 1024 }
    }
}

/// The longest URL, path and query, in bytes: a name and filters take a quarter of it.
pub const MAX_URL: usize = 2048;

struct Inner {
    routing: Arc<dyn Routing>,
    records: Arc<dyn Records>,
    validators: Validators,
    runtime: Arc<dyn Runtime>,
    options: ServerOptions,
    under_way: AtomicUsize,
}

impl Server {
    /// An endpoint in front of a router. Records that are put must be valid, so without rules for
    /// `ipns` none is taken; of several that the router finds, the rules say which is the best.
    pub fn new(
        routing: Arc<dyn Routing>,
        validators: Validators,
        runtime: Arc<dyn Runtime>,
        options: ServerOptions,
    ) -> Self {
        let records = Arc::new(Plain(routing.clone()));
        Self::with_records(routing, records, validators, runtime, options)
    }

    /// The same, with lookups of peers answered from where more is known of them than their
    /// addresses: from another endpoint, or a table of one's own.
    pub fn with_records(
        routing: Arc<dyn Routing>,
        records: Arc<dyn Records>,
        validators: Validators,
        runtime: Arc<dyn Runtime>,
        options: ServerOptions,
    ) -> Self {
        let under_way = AtomicUsize::new(0);
        Self(Arc::new(Inner { routing, records, validators, runtime, options, under_way }))
    }

    /// Answers a request.
    pub async fn call(&self, request: Request<HttpBody>) -> Response<HttpBody> {
        let place = Place::take(&self.0);
        let answer = match &place {
            Some(_) => self.0.route(request).await,
            None => Err(Refusal::busy()),
        };
        let mut answer = answer.unwrap_or_else(Refusal::into_answer);
        allow_all_sites(answer.headers_mut());
        answer.map(|body| {
            let hold = stream::poll_fn(move |_| {
                let _held = &place;
                std::task::Poll::Ready(None)
            });
            body.chain(hold).boxed()
        })
    }
}

impl Inner {
    async fn route(
        self: &Arc<Self>,
        request: Request<HttpBody>,
    ) -> Result<Response<HttpBody>, Refusal> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        if path.len() > MAX_URL {
            return Err(Refusal::new(StatusCode::URI_TOO_LONG, "the URL is too long"));
        }
        match (Route::parse(head.uri.path())?, &head.method) {
            (_, &Method::OPTIONS) => Ok(answer::empty(StatusCode::NO_CONTENT)),
            (Route::Peers(lookup), &Method::GET) => {
                peers::find(self, lookup?, head.uri.query().unwrap_or_default(), &head.headers)
                    .await
            }
            (Route::Name(name), &Method::GET) => ipns::find(self, &name?, &head.headers).await,
            (Route::Name(name), &Method::PUT) => ipns::put(self, &name?, &head.headers, body).await,
            (Route::Peers(_), _) => Err(Refusal::method("GET, OPTIONS")),
            (Route::Name(_), _) => Err(Refusal::method("GET, PUT, OPTIONS")),
        }
    }
}

/// A place among the requests that are under way.
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>) -> Option<Self> {
        let place = Self(inner.clone());
        let before = inner.under_way.fetch_add(1, Ordering::Relaxed);
        (before < inner.options.requests).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A router, which knows nothing of peers but their addresses.
#[derive(Debug)]
struct Plain(Arc<dyn Routing>);

impl Records for Plain {
    fn records(&self, lookup: &Lookup) -> BoxStream<'static, Result<Record>> {
        let routing = self.0.clone();
        match *lookup {
            Lookup::Providers(key) => {
                let found = routing.find_providers(&key, peers::MAX_SEEN);
                found.map(|peer| peer.map(Record::new)).boxed()
            }
            Lookup::Peer(peer) => {
                let found = async move { routing.find_peer(peer).await };
                let found = found.map(|found| match found {
                    Err(Error::Unreachable(..)) => None,
                    other => Some(other.map(Record::new)),
                });
                stream::once(found).filter_map(future::ready).boxed()
            }
            Lookup::Closest(key) => {
                let found = async move {
                    match routing.closest_peers(&key.to_bytes()).await {
                        Ok(peers) => peers.into_iter().map(|peer| Ok(Record::new(peer))).collect(),
                        Err(error) => vec![Err(error)],
                    }
                };
                found.map(stream::iter).flatten_stream().boxed()
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.0.routing).finish()
    }
}
