//! What is read of an answer, and how long it is kept.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Response, header};
use ipfs_traits::{Error, HttpBody, Result, sync::lock};

use super::Shared;
use crate::{
    MAX_VALUE,
    cache::MAX_KEPT,
    delegated::{Decoder, Format, IPNS_RECORD, JSON, NDJSON, Record},
};

/// The longest that an answer is kept, whatever it says: providers come and go.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The records of an answer, as they come.
pub(super) fn records(
    shared: Arc<Shared>,
    path: String,
    answer: Response<HttpBody>,
) -> Result<BoxStream<'static, Result<Record>>> {
    let (head, body) = answer.into_parts();
    let format = match media_type(&head.headers) {
        NDJSON => Format::NdJson,
        JSON => Format::Json,
        _ => return Err(Error::malformed("answer of a router", "its media type is unknown")),
    };
    let until = shared.runtime.now() + max_age(&head.headers);
    let (decoder, ready) = (Some(Decoder::new(format)), VecDeque::new());
    let reading =
        Reading { shared, path, until, body, decoder, ready, found: Vec::new(), whole: false };
    let next = |mut reading: Reading| async move {
        let record = reading.next().await?;
        Ok(record.map(|record| (record, reading)))
    };
    Ok(stream::try_unfold(reading, next).boxed())
}

struct Reading {
    shared: Arc<Shared>,
    path: String,
    /// How long what was found is kept.
    until: Instant,
    body: HttpBody,
    /// `None` once there is nothing more to read.
    decoder: Option<Decoder>,
    ready: VecDeque<Record>,
    found: Vec<Record>,
    whole: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                if self.found.len() <= MAX_KEPT {
                    self.found.push(record.clone());
                }
                return Ok(Some(record));
            }
            let Some(mut decoder) = self.decoder.take() else {
                self.whole = true;
                return Ok(None);
            };
            let records = match self.body.try_next().await? {
                None => decoder.finish()?,
                Some(piece) => {
                    let records = decoder.push(&piece)?;
                    self.decoder = (!decoder.is_full()).then_some(decoder);
                    records
                }
            };
            let filters = &self.shared.options.filters;
            self.ready.extend(records.into_iter().filter_map(|record| filters.apply(record)));
        }
    }
}

/// Whoever read only a part leaves it for those who want no more.
impl Drop for Reading {
    fn drop(&mut self) {
        if self.until > self.shared.runtime.now() {
            let (path, found) = (std::mem::take(&mut self.path), std::mem::take(&mut self.found));
            lock(&self.shared.cache).put(path, found, self.whole, self.until);
        }
    }
}

/// The record in an answer. One of another media type says that there is none.
pub(super) async fn value(answer: Response<HttpBody>) -> Result<Option<Bytes>> {
    if media_type(answer.headers()) != IPNS_RECORD {
        return Ok(None);
    }
    let mut body = answer.into_body();
    let mut value = BytesMut::new();
    while let Some(piece) = body.try_next().await? {
        value.extend_from_slice(&piece);
        if value.len() > MAX_VALUE {
            return Err(Error::limit("bytes of a value", MAX_VALUE, value.len()));
        }
    }
    Ok((!value.is_empty()).then(|| value.freeze()))
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// How long an answer may be kept: not at all, unless it says so.
fn max_age(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    let values = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut age = Duration::ZERO;
    for value in values.map(str::trim) {
        if value.eq_ignore_ascii_case("no-store") || value.eq_ignore_ascii_case("no-cache") {
            return Duration::ZERO;
        }
        if let Some(seconds) = value.strip_prefix("max-age=").and_then(|age| age.parse().ok()) {
            age = Duration::from_secs(seconds).min(MAX_AGE);
        }
    }
    age
}
