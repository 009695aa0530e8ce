//! What a service says when it does not do what it was asked.

use std::{error::Error as StdError, fmt, time::Duration};

use http::{HeaderMap, Response, StatusCode, header};
use ipfs_traits::{Error, HttpBody};

use super::{
    Shared,
    answer::{object, text},
    request::body,
};

/// The most bytes of an answer that says what went wrong: a word and some sentences. A page of a
/// server that stands before the service may be longer, and says nothing of use.
const MAX_FAILURE: usize = 16 << 10;

/// What a service says when it does not do what it was asked: the source of an
/// [`Error::Component`].
///
/// ```
/// # fn example(result: Result<(), ipfs_core::Error>) {
/// use http::StatusCode;
/// use ipfs_core::pinning_service::Failure;
///
/// if let Err(error) = &result
///     && let Some(failure) = Failure::of(error)
///     && failure.status == StatusCode::UNAUTHORIZED
/// {
///     println!("another token is needed: {failure}");
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// 400 for a request that the service does not understand or take; 401 and 403 for a token that
    /// is none, or of somebody who may not do this; 409 for one whose funds are used up; 429 for too
    /// many requests; others of 4xx for reasons of the service; 5xx for its own faults.
    pub status: StatusCode,
    /// The reason, as a word for programs, such as `INSUFFICIENT_FUNDS`: the API says to give one.
    pub reason: Option<String>,
    /// The reason, for people.
    pub details: Option<String>,
    /// After how long the service says to ask again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// What a service has said, if that is what an error is about.
    pub fn of(error: &Error) -> Option<&Self> {
        match error.what() {
            Error::Component { source, .. } => source.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the same request may be answered otherwise later.
    pub(super) fn is_passing(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    pub(super) async fn read(shared: &Shared, answer: Response<HttpBody>) -> Self {
        let (head, body) = answer.into_parts();
        let retry_after = retry_after(shared, &head.headers);
        let said = self::body(body, MAX_FAILURE).await.unwrap_or_default();
        let said = object(&said).unwrap_or_default();
        let error = said.get("error").and_then(|error| object(error.get())).unwrap_or_default();
        // A service may repeat what it was sent, the token too.
        let word = |name| {
            let word = error.get(name).and_then(|json| text(json));
            word.map(|word| word.replace(&*shared.token, "…"))
        };
        Self { status: head.status, reason: word("reason"), details: word("details"), retry_after }
    }
}

/// How long `Retry-After` says to wait, in seconds or as a date.
fn retry_after(shared: &Shared, headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(shared.runtime.wall()).unwrap_or_default())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service answered with status {}", self.status)?;
        // Quoted: it may hold anything, also what a terminal takes for a command.
        match (&self.reason, &self.details) {
            (Some(reason), Some(details)) => write!(f, ": {reason:?}, {details:?}"),
            (Some(said), None) | (None, Some(said)) => write!(f, ": {said:?}"),
            (None, None) => Ok(()),
        }
    }
}

impl StdError for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::component("pinning service", failure)
    }
}
