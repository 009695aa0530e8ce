//! Having content pinned by others: a client of the Pinning Service API.

mod answer;
mod failure;
mod filter;
mod from_node;
mod pin;
mod request;
mod wait;

use std::{fmt, sync::Arc, time::Duration};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, Uri};
use ipfs_traits::{AddressFilter, Cid, Error, HttpClient, Result, Runtime};

use self::{answer::Page, request::Place};
pub use self::{
    failure::Failure,
    filter::{Filter, MAX_CIDS, MAX_PAGE, MAX_QUERY, Matching},
    pin::{
        MAX_META, MAX_NAME, MAX_PIN, MAX_PROVIDERS, MAX_REQUEST_ID, PinOptions, PinStatus, Status,
    },
    request::MAX_ANSWER,
    wait::{FIRST_POLL, MAX_FAILURES, MAX_PAUSE, MAX_POLL},
};
use crate::Node;

/// A service that pins, asked over the [Pinning Service API][specification], version 1.0.0.
///
/// What it is asked to pin it fetches, by bitswap, from whoever has it, and keeps until the pin is
/// removed. Each request for a pin is a pin of its own, also of the same CID, and has a name of its
/// own, which the service gives.
///
/// It has no task, and nothing is asked again by itself but by [`wait`](Self::wait). Clones are the
/// same.
///
/// ```
/// # use std::sync::Arc;
/// # use http::{Method, Request, Response};
/// # use ipfs_core::{Bytes, HttpBody, HttpClient, Result, VirtualRuntime, async_trait};
/// # #[derive(Debug)]
/// # struct Web;
/// # #[async_trait]
/// # impl HttpClient for Web {
/// #     async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
/// #         let status = if request.method() == Method::POST { "queued" } else { "pinned" };
/// #         let pin = format!(
/// #             r#"{{"requestid":"a","status":"{status}","created":"2020-07-27T17:32:28Z",
/// #             "pin":{{"cid":"bafkqaaa"}},"delegates":[]}}"#
/// #         );
/// #         let list = format!(r#"{{"count":1,"results":[{pin}]}}"#);
/// #         let answer = if request.uri().query().is_some() { list } else { pin };
/// #         Ok(Response::new(Box::pin(futures::stream::iter([Ok(answer.into())]))))
/// #     }
/// # }
/// # let (virtual_runtime, client) = (VirtualRuntime::new(), Arc::new(Web));
/// # let runtime = Arc::new(virtual_runtime.clone());
/// # virtual_runtime.block_on(async {
/// use futures::TryStreamExt;
/// use ipfs_core::pinning_service::{Filter, Options, PinOptions, PinningService, Status};
///
/// let (endpoint, token) = ("https://pin.example/api", "secret");
/// let service = PinningService::new(runtime, client, endpoint, token, Options::default())?;
///
/// let mut options = PinOptions::default();
/// options.name = Some("holiday photos".into());
/// let pin = service.pin(&"bafkqaaa".parse().unwrap(), options).await?;
///
/// let mut statuses = service.wait(&pin.request_id);
/// while let Some(pin) = statuses.try_next().await? {
///     println!("{:?}", pin.status); // the last one is Pinned or Failed
/// }
///
/// let pinned: Vec<_> = service.list(Filter::default()).try_collect().await?;
/// assert_eq!(pinned[0].status, Status::Pinned);
/// service.remove(&pin.request_id).await?;
/// # Ok::<(), ipfs_core::Error>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Trust
///
/// The token goes into the header of requests and nowhere else: into no error, no log, and not with a
/// redirect to another host. What the service says is bounded in size and number; that it has what it
/// says to have pinned is for the caller to believe.
///
/// # Cancel safety
///
/// A call that is dropped may or may not have done its work there: [`list`](Self::list) tells.
///
/// # Errors
///
/// Of all calls: [`Error::Component`] with what the service says as its source, a [`Failure`], or with
/// what the client says; [`Error::TimedOut`]; [`Error::Malformed`] and [`Error::Limit`] for an answer
/// that is none or too large.
///
/// [specification]: https://ipfs.github.io/pinning-services-api-spec/
#[derive(Clone)]
pub struct PinningService(Arc<Shared>);

/// How a [`PinningService`] is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long a request may take in all: 30 seconds by default. Services answer from a table, but
    /// some write to a chain of blocks before they do.
    pub timeout: Duration,
    /// Whether the token may be sent to another machine without TLS: not by default. Whoever sees it
    /// can remove every pin.
    pub plain_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), plain_http: false }
    }
}

struct Shared {
    runtime: Arc<dyn Runtime>,
    client: Arc<dyn HttpClient>,
    /// What stands before `/pins`.
    base: Box<str>,
    token: Box<str>,
    options: Options,
}

impl PinningService {
    /// A service, named by what stands before `/pins` in its URLs, and the token that it has given
    /// out. Nothing is asked yet.
    ///
    /// It is asked wherever it is, as far as the filter of the client lets it be: for one in a private
    /// network the client needs another [`AddressFilter`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a URL that is not `https` (`http` is good for this machine, and with
    /// [`Options::plain_http`]), has credentials, a query or a fragment, and for a token that cannot be
    /// sent.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        client: Arc<dyn HttpClient>,
        endpoint: &str,
        token: &str,
        options: Options,
    ) -> Result<Self> {
        let base = base(endpoint, options.plain_http)?.into();
        request::bearer(token)?;
        Ok(Self(Arc::new(Shared { runtime, client, base, token: token.into(), options })))
    }

    /// What stands before `/pins` in its URLs.
    pub fn endpoint(&self) -> &str {
        &self.0.base
    }

    /// Asks for a pin of all below `cid`. The service answers before it has it: see
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for options beyond the limits that they name, and [`Error::Invalid`] for an
    /// origin without a peer's name at its end; nothing is sent then. Those of all calls.
    pub async fn pin(&self, cid: &Cid, options: PinOptions) -> Result<PinStatus> {
        self.post(Place::Pins { query: "" }, cid, options).await
    }

    /// Asks for a pin of what a node has: the service is told the node's addresses as further origins,
    /// and the node connects to the delegates that the service names, if they can be reached within 10
    /// seconds. With a service at a public address, or at a name, public addresses alone count, both
    /// ways.
    ///
    /// If the node does not have the first block, that is the same as [`pin`](Self::pin).
    ///
    /// # Errors
    ///
    /// Those of [`pin`](Self::pin), and what the node's store says.
    pub async fn pin_from(&self, node: &Node, cid: &Cid, options: PinOptions) -> Result<PinStatus> {
        from_node::pin(self, node, cid, options).await
    }

    /// The pin that a request was for.
    ///
    /// # Errors
    ///
    /// [`Error::Unresolved`] if the service does not know the request; [`Error::Invalid`] and
    /// [`Error::Limit`] for what can be no name of one. Those of all calls.
    pub async fn get(&self, request_id: &str) -> Result<PinStatus> {
        let answer = self.0.ask(Method::GET, Place::Pin { request_id }, String::new()).await?;
        let status = PinStatus::read(&answer)?;
        if status.request_id != request_id {
            return Err(Error::malformed(ANSWER, "it is about another request"));
        }
        Ok(status)
    }

    /// The pins that pass a filter, the latest first. They are asked for by the page, when it is their
    /// turn.
    ///
    /// A pin that cannot be read is an error that others follow; after any other error nothing does.
    ///
    /// # Errors
    ///
    /// The stream gives [`Error::Limit`] and [`Error::Invalid`] for a filter beyond the limits that it
    /// names, before anything is sent; and those of all calls.
    pub fn list(&self, filter: Filter) -> BoxStream<'static, Result<PinStatus>> {
        let listing = Listing { service: self.clone(), filter, before: None };
        let pages = stream::try_unfold(Some(listing), async |listing: Option<Listing>| {
            let Some(listing) = listing else { return Ok(None) };
            listing.next().await.map(Some)
        });
        pages.map_ok(stream::iter).try_flatten().boxed()
    }

    /// Asks for a pin in the place of another one, which goes when the new one is there: blocks that
    /// both have are not fetched again. The new one has a name of its own.
    ///
    /// # Errors
    ///
    /// Those of [`pin`](Self::pin) and [`get`](Self::get).
    pub async fn replace(
        &self,
        request_id: &str,
        cid: &Cid,
        options: PinOptions,
    ) -> Result<PinStatus> {
        self.post(Place::Pin { request_id }, cid, options).await
    }

    /// Removes a pin, or the request for one.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn remove(&self, request_id: &str) -> Result<()> {
        self.0.tell(Method::DELETE, Place::Pin { request_id }).await
    }

    /// The pin that a request was for, and again whenever the service says something new of it, until
    /// it is pinned or has failed.
    ///
    /// The service is asked again after half a second ([`FIRST_POLL`]), then after one, … at last
    /// every 15 seconds ([`MAX_POLL`]). When it cannot be reached, has a fault or too much to do (429
    /// and 5xx), it is asked again too, after as long as its `Retry-After` says, but five minutes at the
    /// most ([`MAX_PAUSE`]); when that happens 11 times in a row ([`MAX_FAILURES`]), the stream ends
    /// with the error. How long to wait in all is for the caller to say.
    ///
    /// # Errors
    ///
    /// The stream gives those of [`get`](Self::get), and ends.
    pub fn wait(&self, request_id: &str) -> BoxStream<'static, Result<PinStatus>> {
        wait::wait(self.clone(), request_id.into())
    }

    async fn post(&self, place: Place<'_>, cid: &Cid, options: PinOptions) -> Result<PinStatus> {
        let pin = pin::encode(cid, options)?;
        let status = PinStatus::read(&self.0.ask(Method::POST, place, pin).await?)?;
        // It may be spelled as a CID of the other version.
        if status.cid.hash() != cid.hash() {
            return Err(Error::malformed(ANSWER, "it is about another CID"));
        }
        Ok(status)
    }
}

const ANSWER: &str = "answer of a pinning service";

fn base(endpoint: &str, plain_http: bool) -> Result<&str> {
    const WHAT: &str = "URL of a pinning service";
    let base = endpoint.trim_end_matches('/');
    let base = base.strip_suffix("/pins").unwrap_or(base).trim_end_matches('/');
    let url: Uri = base.parse().map_err(|_| Error::invalid(WHAT, "it is none"))?;
    AddressFilter::Any.check(&url)?;
    if url.query().is_some() || base.contains('#') {
        return Err(Error::invalid(WHAT, "it has a query or a fragment"));
    }
    let host = url.host().unwrap_or_default();
    if url.scheme_str() != Some("https") && !plain_http && !is_loopback(host) {
        return Err(Error::invalid(WHAT, "it is not https, and the token would be seen"));
    }
    Ok(base)
}

/// Whether a host is this machine, as far as it tells by itself.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// A list under way.
struct Listing {
    service: PinningService,
    filter: Filter,
    /// The time of the oldest pin so far, as the service spells it.
    before: Option<(std::time::SystemTime, String)>,
}

impl Listing {
    /// The pins of the next page, and what is behind it.
    async fn next(mut self) -> Result<(Vec<Result<PinStatus>>, Option<Self>)> {
        let before = self.before.as_ref().map(|(_, text)| &**text);
        let query = self.filter.query(before)?;
        let place = Place::Pins { query: &query };
        let page = Page::read(&self.service.0.ask(Method::GET, place, String::new()).await?)?;
        if page.count <= page.pins.len() as u64 {
            return Ok((page.pins, None));
        }
        // A service that repeats itself would be asked for ever.
        match (&self.before, &page.oldest) {
            (_, None) => return Err(Error::malformed(ANSWER, "it promises pins and has none")),
            (Some((before, _)), Some((oldest, _))) if oldest >= before => {
                return Err(Error::malformed(ANSWER, "it repeats the pins of the one before"));
            }
            _ => self.before = page.oldest,
        }
        Ok((page.pins, Some(self)))
    }
}

impl fmt::Debug for PinningService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinningService").field("endpoint", &self.0.base).finish_non_exhaustive()
    }
}
