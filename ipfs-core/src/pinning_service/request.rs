//! One request: what is sent, and what is taken of the answer.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use ipfs_traits::{Error, HttpBody, Result, RuntimeExt};

use super::{
    Failure, Shared,
    pin::{at_most, check_request_id},
};

/// The most bytes of an answer: a page of a thousand pins has some 500 KB if little is said of each.
pub const MAX_ANSWER: usize = 1 << 20;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What of the service is asked: its pins, or one of them.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Pins { query: &'a str },
    Pin { request_id: &'a str },
}

impl Place<'_> {
    fn url(self, base: &str) -> Result<String> {
        match self {
            Self::Pins { query: "" } => Ok(format!("{base}/pins")),
            Self::Pins { query } => Ok(format!("{base}/pins?{query}")),
            Self::Pin { request_id } => {
                check_request_id(request_id)?;
                Ok(format!("{base}/pins/{}", escape(request_id)))
            }
        }
    }
}

impl Shared {
    /// What the service answers.
    pub(super) async fn ask(
        &self,
        method: Method,
        place: Place<'_>,
        pin: String,
    ) -> Result<String> {
        self.in_time(async {
            let answer = self.send(method, place, pin).await?;
            body(answer.into_body(), MAX_ANSWER).await
        })
        .await
    }

    /// Tells the service, which has nothing to answer.
    pub(super) async fn tell(&self, method: Method, place: Place<'_>) -> Result<()> {
        self.in_time(async { self.send(method, place, String::new()).await.map(drop) }).await
    }

    async fn in_time<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.runtime.timeout(self.options.timeout, "an answer of a pinning service", work).await
    }

    async fn send(
        &self,
        method: Method,
        place: Place<'_>,
        pin: String,
    ) -> Result<Response<HttpBody>> {
        let mut request = Request::builder()
            .method(method)
            .uri(place.url(&self.base)?)
            .header(header::ACCEPT, JSON)
            .header(header::AUTHORIZATION, bearer(&self.token)?);
        if !pin.is_empty() {
            request = request.header(header::CONTENT_TYPE, JSON);
        }
        let request = request.body(Bytes::from(pin));
        let request = request.map_err(|error| Error::component("pinning service", error))?;
        let answer = self.client.send(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let failure = Failure::read(self, answer).await;
        match place {
            Place::Pin { request_id } if failure.status == StatusCode::NOT_FOUND => {
                Err(Error::Unresolved(request_id.into()))
            }
            _ => Err(failure.into()),
        }
    }
}

/// The header that says who asks.
pub(super) fn bearer(token: &str) -> Result<HeaderValue> {
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| plain);
    let mut header =
        header.ok_or_else(|| Error::invalid("token", "it is not of printed characters alone"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The text of a body.
pub(super) async fn body(mut body: HttpBody, limit: usize) -> Result<String> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.try_next().await? {
        at_most("bytes of an answer of a pinning service", limit, bytes.len() + piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    let text = String::from_utf8(bytes.into());
    text.map_err(|_| Error::malformed("answer of a pinning service", "it is no text"))
}

/// The text where it stands for nothing but itself, in a path and in a query.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
