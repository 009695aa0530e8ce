//! The client of HTTP, and the filter that keeps it away from private addresses.

mod filter;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use http::{Request, Response};

pub use self::filter::AddressFilter;
use crate::Result;

/// The bytes of an answer, as they come.
pub type HttpBody = BoxStream<'static, Result<Bytes>>;

/// The most redirects that a client follows for one request. Browsers follow some 20, and honest
/// servers send one or two.
pub const MAX_REDIRECTS: usize = 10;

/// Sends requests over HTTP: to gateways, to delegated routers, to resolvers of names, and for
/// ranges of files that lie elsewhere.
///
/// # Contract
///
/// *Answers.* [`send`](Self::send) is done when the head of the answer is there. Every status is an
/// answer and no error, 404 and 500 too. The body follows as it is pulled: what was received and not
/// pulled yet is bounded (at most 1 MiB), whatever length the body has, and how much of it is wanted
/// at all is for the caller to bound. No item of the body is empty. A body that is cut off ends with
/// an error; one that ends without is whole.
///
/// *As it was sent.* Nothing is decompressed, and nothing is asked for that the caller has not asked
/// for: no cookies, no credentials, no `Accept-Encoding`, no cache.
///
/// *Addresses.* Only `http` and `https` are spoken. Many URLs come from strangers, and must not
/// reach what stands beside the node: a client has an [`AddressFilter`] that says where it may
/// connect to, by default public addresses alone. It is asked of every URL
/// ([`AddressFilter::check`]) and of every address that a name resolves to, at the time when the
/// connection is made.
///
/// *Redirects* are followed, [`MAX_REDIRECTS`] at the most, each of them only if the filter lets it
/// pass. Credentials do not go to another host.
///
/// *Time.* A client gives up on a connection that cannot be made after a while of its own. All other
/// waiting is for the caller to bound, with [`RuntimeExt::timeout`](crate::RuntimeExt::timeout).
///
/// # Implementing
///
/// ```
/// use bytes::Bytes;
/// use futures::{StreamExt, TryStreamExt, stream};
/// use http::{Request, Response};
/// use ipfs_traits::{AddressFilter, HttpBody, HttpClient, Result, async_trait};
///
/// /// Answers every request with its own path.
/// #[derive(Debug)]
/// struct Echo;
///
/// #[async_trait]
/// impl HttpClient for Echo {
///     async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
///         AddressFilter::Public.check(request.uri())?;
///         let path = Bytes::copy_from_slice(request.uri().path().as_bytes());
///         Ok(Response::new(stream::iter([Ok(path)]).boxed()))
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let request = Request::get("https://example.com/a").body(Bytes::new()).unwrap();
/// let body: Vec<Bytes> = Echo.send(request).await?.into_body().try_collect().await?;
/// assert_eq!(body.concat(), b"/a");
/// let inside = Request::get("http://127.0.0.1/a").body(Bytes::new()).unwrap();
/// assert!(Echo.send(inside).await.is_err());
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
///
/// [`conformance::http_client`](crate::conformance::http_client) checks an implementation.
///
/// # Cancel safety
///
/// Dropping the future or the body ends the request; the connection may serve another one or be
/// closed. Whether the server has acted on a request that was dropped is not known.
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) for a URL that may not be asked, also where a redirect
/// or a name leads there; [`Error::Limit`](crate::Error::Limit) for too many redirects;
/// [`Error::TimedOut`](crate::Error::TimedOut) for a connection that could not be made in time;
/// [`Error::Component`](crate::Error::Component) for the rest: no such name, no connection, a broken
/// one, an answer that is no HTTP.
#[async_trait]
pub trait HttpClient: Debug + Send + Sync + 'static {
    /// Sends a request, and gives the answer of the server that it ends at.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>>;
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: HttpClient + ?Sized> HttpClient for $pointer<T> {
            async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
                (**self).send(request).await
            }
        }
    )*};
}
forward!(Arc, Box);
