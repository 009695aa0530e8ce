//! Answers with IPNS records, and takes them.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, Response, StatusCode, header};
use ipfs_traits::{Error, HttpBody, Result, RuntimeExt};
use sha2::{Digest, Sha256};

use super::{
    Inner,
    answer::{self, Refusal, set},
    request,
};
use crate::{
    MAX_VALUE,
    delegated::IPNS_RECORD,
    ipns::{Name, Record},
};

pub(super) async fn find(
    server: &Inner,
    name: &Name,
    headers: &HeaderMap,
) -> Result<Response<HttpBody>, Refusal> {
    let accepted = request::accepted(headers);
    let accepts = |kind: &String| [IPNS_RECORD, "application/*", "*/*"].contains(&&**kind);
    if !accepted.is_empty() && !accepted.iter().any(accepts) {
        let what = "retry with `Accept: application/vnd.ipfs.ipns-record`";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, what));
    }
    let (key, now) = (name.routing_key(), server.runtime.wall());
    let Some(record) = best(server, &key).await? else {
        let mut answer = answer::text(StatusCode::OK, "there is no record".into());
        answer::cache(answer.headers_mut(), false);
        return Ok(answer);
    };
    let mut answer = answer::empty(StatusCode::OK).map(|_| answer::whole(record.clone()));
    let headers = answer.headers_mut();
    answer::found(headers, IPNS_RECORD, now);
    let file = format!("attachment; filename=\"{name}.ipns-record\"");
    set(headers, header::CONTENT_DISPOSITION, file);
    set(headers, header::ETAG, etag(&record));
    set_lifetime(headers, &record, now);
    Ok(answer)
}

/// The best record that the router finds in its time. An invalid one is as if there were none.
async fn best(server: &Inner, key: &[u8]) -> Result<Option<Bytes>> {
    let end = server.runtime.sleep(server.options.timeout);
    let mut values = Box::pin(server.routing.get_value(key).take_until(end));
    let (rules, now) = (&server.validators, server.runtime.wall());
    let mut best: Option<Bytes> = None;
    while let Some(value) = values.next().await {
        let value = match value {
            Ok(value) => value,
            Err(error) if best.is_none() => return Err(error),
            Err(_) => break,
        };
        let valid = match rules.knows(key) {
            true => rules.validate(key, &value, now).is_ok(),
            false => value.len() <= MAX_VALUE,
        };
        let better = |old: &Bytes| !rules.knows(key) || rules.is_better(key, &value, old);
        if valid && best.as_ref().is_none_or(better) {
            best = Some(value);
        }
    }
    Ok(best)
}

/// As long as the record says, and no longer than it is valid. One that cannot be read, or is
/// expired, is not kept at all.
fn set_lifetime(headers: &mut HeaderMap, record: &Bytes, now: SystemTime) {
    let record = Record::parse(record.clone()).ok();
    if let Some(record) = &record {
        set(headers, header::EXPIRES, answer::date(record.validity()));
    }
    let left = record.as_ref().and_then(|record| record.validity().duration_since(now).ok());
    match record.zip(left.filter(|left| !left.is_zero())) {
        Some((record, left)) => {
            let age = if record.ttl().is_zero() { NO_TTL } else { record.ttl() }.min(left);
            answer::cache_for(headers, age, left - age);
        }
        None => set(headers, header::CACHE_CONTROL, "no-store"),
    }
}

/// How long a record is kept that does not say so.
const NO_TTL: Duration = Duration::from_secs(60);

fn etag(record: &[u8]) -> String {
    let hash = Sha256::digest(record);
    let digits: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

pub(super) async fn put(
    server: &Inner,
    name: &Name,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<Response<HttpBody>, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if request::media_type(kind.unwrap_or_default()) != IPNS_RECORD {
        let what = "retry with `Content-Type: application/vnd.ipfs.ipns-record`";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, what));
    }
    let key = name.routing_key();
    if !server.validators.knows(&key) {
        return Err(Error::unsupported("putting records").into());
    }
    let time = server.options.timeout;
    let value = server.runtime.timeout(time, "the body of a request", read(body)).await;
    let value = value.map_err(|error| {
        let status = match error {
            Error::Limit { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, error.to_string())
    })?;
    server.validators.validate(&key, &value, server.runtime.wall()).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the record is not valid: {error}"))
    })?;
    // What the router cannot look up, it may still be able to put.
    let known = best(server, &key).await.ok().flatten();
    if known.is_some_and(|known| server.validators.is_better(&key, &known, &value)) {
        return Err(Refusal::new(StatusCode::CONFLICT, "a better record is known"));
    }
    let put = server.routing.put_value(&key, value);
    server.runtime.timeout(time, "putting a record", put).await?;
    Ok(answer::empty(StatusCode::OK))
}

async fn read(mut body: HttpBody) -> Result<Bytes> {
    let mut value = BytesMut::new();
    while let Some(piece) = body.try_next().await? {
        value.extend_from_slice(&piece);
        if value.len() > MAX_VALUE {
            return Err(Error::limit("bytes of a record", MAX_VALUE, value.len()));
        }
    }
    Ok(value.freeze())
}
