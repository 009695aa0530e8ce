//! Statuses and headers.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use ipfs_traits::{Error, HttpBody};

/// How long an answer with peers is good: as in boxo.
const WITH_RESULTS: Duration = Duration::from_secs(300);

/// How long an answer without is: somebody may begin to provide at any time.
const WITHOUT_RESULTS: Duration = Duration::from_secs(15);

/// How long a stale answer is better than none: as long as records of providers live in the DHT.
const STALE: Duration = Duration::from_secs(48 * 3600);

/// What one who is refused for the crowd is told to wait, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why there is no answer. It repeats nothing of what was asked.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
    header: Option<(header::HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), header: None }
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let header = Some((header::ALLOW, HeaderValue::from_static(allowed)));
        Self { header, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "the path has no such method") }
    }

    pub(super) fn busy() -> Self {
        let header = Some((header::RETRY_AFTER, RETRY_AFTER));
        Self {
            header,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests are under way")
        }
    }

    pub(super) fn into_answer(self) -> Response<HttpBody> {
        let mut answer = text(self.status, self.text);
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, value);
        }
        set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
        answer
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.what() {
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

pub(super) fn empty(status: StatusCode) -> Response<HttpBody> {
    let mut answer = Response::new(stream::empty().boxed());
    *answer.status_mut() = status;
    answer
}

pub(super) fn text(status: StatusCode, text: String) -> Response<HttpBody> {
    let mut answer = empty(status).map(|_| whole(text));
    set(answer.headers_mut(), header::CONTENT_TYPE, "text/plain; charset=utf-8");
    answer
}

/// A body in one piece, of which none may be empty.
pub(super) fn whole(bytes: impl Into<Bytes>) -> HttpBody {
    let bytes = bytes.into();
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

pub(super) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        headers.insert(name, value);
    }
}

/// How long an answer of peers is good.
pub(super) fn cache(headers: &mut HeaderMap, results: bool) {
    cache_for(headers, if results { WITH_RESULTS } else { WITHOUT_RESULTS }, STALE);
}

pub(super) fn cache_for(headers: &mut HeaderMap, age: Duration, stale: Duration) {
    let (age, stale) = (age.as_secs(), stale.as_secs());
    let value =
        format!("public, max-age={age}, stale-while-revalidate={stale}, stale-if-error={stale}");
    set(headers, header::CACHE_CONTROL, value);
}

/// What was found now, and may look otherwise to one who accepts otherwise.
pub(super) fn found(headers: &mut HeaderMap, kind: &str, now: SystemTime) {
    set(headers, header::CONTENT_TYPE, kind);
    set(headers, header::VARY, "Accept");
    set(headers, header::LAST_MODIFIED, date(now));
}

/// A time as headers have it, which know the years from 1970 to 9999.
pub(super) fn date(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since.min(LAST))
}

/// Any site may ask, and read all that is answered.
pub(super) fn allow_all_sites(headers: &mut HeaderMap) {
    set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, "GET, PUT, OPTIONS");
    set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type");
    set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, "*");
}
