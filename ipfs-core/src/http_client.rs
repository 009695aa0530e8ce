//! The client of HTTP by reqwest: connections over TCP, with TLS by rustls and ring.

use std::{error::Error as StdError, fmt, io, net::ToSocketAddrs, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use ipfs_traits::{
    AddressFilter, Bytes, Error, HttpBody, HttpClient, MAX_REDIRECTS, Result, RuntimeExt,
    TokioRuntime,
};
pub use reqwest;
use reqwest::{
    ClientBuilder, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::{Attempt, Policy},
};
use rustls::{ClientConfig, crypto::ring};

/// An [`HttpClient`] by reqwest: HTTP/1.1 and HTTP/2, over TCP.
///
/// It runs on tokio, and its futures give [`Error::Invalid`] when they are polled elsewhere. Clones
/// share connections. It asks nobody but the server: no proxy is used, also where the environment
/// names one.
///
/// ```no_run
/// # async fn example() -> ipfs_core::Result<()> {
/// use futures::TryStreamExt;
/// use ipfs_core::{Bytes, HttpClient, ReqwestClient, http_client::Options};
///
/// let client = ReqwestClient::new(Options::default())?;
/// let request = http::Request::get("https://example.com/").body(Bytes::new()).unwrap();
/// let answer = client.send(request).await?;
/// assert!(answer.status().is_success());
/// let page: Vec<Bytes> = answer.into_body().try_collect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReqwestClient {
    client: reqwest::Client,
    filter: AddressFilter,
}

/// How a [`ReqwestClient`] connects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where it may connect to: public addresses alone by default.
    pub filter: AddressFilter,
    /// How long a connection may take to be made, TLS and the look-up of the name included: 10
    /// seconds by default.
    pub connect_timeout: Duration,
    /// Connections to one host that are kept when they are idle: 8 by default, for 30 seconds.
    pub idle_connections: usize,
    /// Certificates (X.509, DER) of authorities that are believed besides those of the system: of
    /// an intranet, or where the system has none. Android takes none from here.
    pub authorities: Vec<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            filter: AddressFilter::Public,
            connect_timeout: Duration::from_secs(10),
            idle_connections: 8,
            authorities: Vec::new(),
        }
    }
}

/// How long a connection is kept that is idle. Most servers keep theirs for 60 seconds or more: a
/// request on one that the server is about to close would fail.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes of the head of an answer over HTTP/2; over HTTP/1.1 hyper allows some 400 KiB.
const MAX_HEAD: u32 = 64 << 10;

/// Bytes of one body over HTTP/2 that come before they are pulled.
const AHEAD: u32 = 512 << 10;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 16;

const WHAT: &str = "HTTP client";

impl ReqwestClient {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] where the system has no certificates of authorities, and none are given.
    pub fn new(options: Options) -> Result<Self> {
        Self::configured(options, |builder| builder)
    }

    /// A client with what else reqwest can be told: a proxy, headers that go with each request.
    ///
    /// The filter is set after `configure`, and redirects with it. But a proxy connects where this
    /// client could not, and addresses that are given for names (`resolve`) are not filtered.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and what reqwest says of what it was told.
    pub fn configured(
        options: Options,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self> {
        let filter = options.filter;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&options.authorities)?)
            .no_proxy()
            .referer(false)
            .connect_timeout(options.connect_timeout)
            .pool_max_idle_per_host(options.idle_connections)
            .pool_idle_timeout(IDLE)
            .http2_max_header_list_size(MAX_HEAD)
            .http2_initial_stream_window_size(AHEAD);
        let client = configure(builder)
            .redirect(Policy::custom(move |attempt| redirect(filter, attempt)))
            .dns_resolver(Arc::new(Filtered(filter)))
            .build()
            .map_err(failed)?;
        Ok(Self { client, filter })
    }
}

/// TLS whose ciphers are those of ring, whatever else the process has chosen.
fn tls(authorities: &[Vec<u8>]) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: rustls::Error| Error::component(WHAT, error);
    let verifier = verifier(authorities, provider.clone()).map_err(failed)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let mut config = config
        .dangerous() // as rustls calls every verifier but its own
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(not(target_os = "android"))]
fn verifier(
    authorities: &[Vec<u8>],
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<rustls_platform_verifier::Verifier, rustls::Error> {
    let authorities = authorities.iter().cloned().map(Into::into);
    rustls_platform_verifier::Verifier::new_with_extra_roots(authorities, provider)
}

#[cfg(target_os = "android")]
fn verifier(
    _: &[Vec<u8>],
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<rustls_platform_verifier::Verifier, rustls::Error> {
    rustls_platform_verifier::Verifier::new(provider)
}

fn redirect(filter: AddressFilter, attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let count = attempt.previous().len();
    if count > MAX_REDIRECTS {
        return attempt.error(Error::limit("redirects of a request", MAX_REDIRECTS, count));
    }
    match check(filter, attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(error) => attempt.error(error),
    }
}

/// Whether a URL may be asked, as it is understood by who connects.
fn check(filter: AddressFilter, url: &Url) -> Result<()> {
    let uri = format!("{}://{}/", url.scheme(), url.authority());
    let uri = uri.parse().map_err(|_| Error::invalid("URL", "its host is none"))?;
    filter.check(&uri)
}

/// Looks up names on a thread where that may block, and passes on what the filter lets pass.
#[derive(Debug)]
struct Filtered(AddressFilter);

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = self.0;
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let runtime = TokioRuntime::current()?;
            let found = runtime.blocking(move || (name, 0).to_socket_addrs());
            let (mut allowed, mut refused) = (Vec::new(), false);
            for address in found.await?? {
                match filter.allows(address.ip()) {
                    true if allowed.len() < ADDRESSES => allowed.push(address),
                    true => {}
                    false => refused = true,
                }
            }
            if allowed.is_empty() && refused {
                return Err(AddressFilter::refused().into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        TokioRuntime::current()?;
        self.filter.check(request.uri())?;
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        check(self.filter, request.url())?;
        let answer = self.client.execute(request).await.map_err(failed)?;
        let mut head = Response::new(());
        *head.status_mut() = answer.status();
        *head.version_mut() = answer.version();
        *head.headers_mut() = answer.headers().clone();
        Ok(head.map(|()| body(answer)))
    }
}

fn body(answer: reqwest::Response) -> HttpBody {
    let pieces = stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        match answer.chunk().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(answer))),
            Ok(None) => None,
            Err(error) => Some((Err(failed(error)), None)),
        }
    });
    let some = |piece: &Result<Bytes>| {
        let some = piece.as_ref().map_or(true, |piece| !piece.is_empty());
        std::future::ready(some)
    };
    pieces.filter(some).boxed()
}

/// The error of ours that is in one of reqwest's, or that one.
fn failed(error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(this) = cause {
        let inside = this.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let ours = this.downcast_ref().or_else(|| inside?.downcast_ref::<Error>());
        if let Some(ours) = ours {
            return ours.clone();
        }
        cause = this.source();
    }
    match error.is_timeout() {
        true => Error::TimedOut("connecting to a server"),
        false => Error::component(WHAT, error),
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient").field("filter", &self.filter).finish_non_exhaustive()
    }
}
