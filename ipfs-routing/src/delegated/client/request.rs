//! One request: what is sent, and what its status means.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ipfs_traits::{Error, HttpBody, Result, RuntimeExt, sync::lock};

use super::Shared;
use crate::delegated::{IPNS_RECORD, NDJSON_OR_JSON};

/// What an endpoint did, for the source of an [`Error::Component`].
#[derive(Debug, thiserror::Error)]
enum RouterError {
    #[error("{0} answered with status {1}")]
    Status(Box<str>, StatusCode),
    #[error("{0} failed before, and is left alone for now")]
    Paused(Box<str>),
}

impl From<RouterError> for Error {
    fn from(error: RouterError) -> Self {
        Self::component("delegated router", error)
    }
}

/// What the future gives in the time of a request.
pub(super) async fn in_time<T: Send>(
    shared: &Shared,
    future: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    shared.runtime.timeout(shared.options.timeout, "an answer of a router", future).await
}

/// The answer to a request for what stands behind `/routing/v1/`, if it is a success. There is none
/// if the endpoint says that there is no such thing.
pub(super) async fn send(
    shared: &Shared,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Option<Response<HttpBody>>> {
    if !lock(&shared.pause).is_over(shared.runtime.now()) {
        return Err(RouterError::Paused(shared.base.clone()).into());
    }
    let kind = if path.starts_with("ipns/") { IPNS_RECORD } else { NDJSON_OR_JSON };
    let names = if method == Method::PUT { header::CONTENT_TYPE } else { header::ACCEPT };
    let request = Request::builder()
        .method(method)
        .uri(format!("{}/routing/v1/{path}", shared.base))
        .header(names, kind)
        .body(body)
        .map_err(|error| Error::component("delegated router", error))?;
    let answer = in_time(shared, shared.client.send(request)).await;
    let now = shared.runtime.now();
    let answer = answer.inspect_err(|_| lock(&shared.pause).failed(now, None))?;
    let status = answer.status();
    if status == StatusCode::TOO_MANY_REQUESTS
        || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
    {
        lock(&shared.pause).failed(now, retry_after(answer.headers()));
    } else {
        lock(&shared.pause).answered();
    }
    match status {
        _ if status.is_success() => Ok(Some(answer)),
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED => {
            Err(Error::unsupported("this call at this endpoint"))
        }
        _ => Err(RouterError::Status(shared.base.clone(), status).into()),
    }
}

/// The seconds of `Retry-After`; a date is as if there were none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
