//! Answers with peers.

use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};
use http::{HeaderMap, Response, StatusCode};
use ipfs_traits::{HttpBody, Result, Runtime};

use super::{
    Inner,
    answer::{self, Refusal},
    request,
};
use crate::delegated::{Filters, Format, JSON, Lookup, NDJSON, Record};

/// The most records that are looked at for one answer: filters may want one in ten.
pub(super) const MAX_SEEN: usize = 10_000;

pub(super) async fn find(
    server: &Arc<Inner>,
    lookup: Lookup,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response<HttpBody>, Refusal> {
    let (filters, format) = (Filters::parse(query), request::format(headers)?);
    let limit = match format {
        Format::Json => server.options.records,
        Format::NdJson => server.options.streamed_records,
    };
    let wanted = move |record: Result<Record>| {
        future::ready(match record {
            Ok(record) => filters.apply(record).map(Ok),
            Err(error) => Some(Err(error)),
        })
    };
    let end = server.runtime.sleep_until(server.runtime.now() + server.options.timeout);
    let records = server.records.records(&lookup).take(MAX_SEEN).filter_map(wanted);
    let records = records.take(limit).take_until(end).boxed();
    let (kind, results, body) = match format {
        Format::Json => json(lookup, records).await?,
        Format::NdJson => lines(records).await?,
    };
    let mut answer = answer::empty(StatusCode::OK).map(|_| body);
    answer::found(answer.headers_mut(), kind, server.runtime.wall());
    answer::cache(answer.headers_mut(), results);
    Ok(answer)
}

type Body = (&'static str, bool, HttpBody);

/// All at once. A failure after some were found is not told.
async fn json(
    lookup: Lookup,
    mut records: BoxStream<'static, Result<Record>>,
) -> Result<Body, Refusal> {
    let mut found = Vec::new();
    while let Some(record) = records.next().await {
        match record {
            Ok(record) => found.push(record.encode()),
            Err(error) if found.is_empty() => return Err(error.into()),
            Err(_) => break,
        }
    }
    let name = if matches!(lookup, Lookup::Providers(_)) { "Providers" } else { "Peers" };
    let body = format!("{{\"{name}\":[{}]}}", found.join(","));
    Ok((JSON, !found.is_empty(), answer::whole(body)))
}

/// One by one. A failure after some were found breaks the answer off, so that nobody keeps it.
async fn lines(mut records: BoxStream<'static, Result<Record>>) -> Result<Body, Refusal> {
    let first = records.next().await.transpose()?;
    let results = first.is_some();
    let records = stream::iter(first.map(Ok)).chain(records);
    let line = |record: Record| Bytes::from(format!("{}\n", record.encode()));
    Ok((NDJSON, results, records.map(move |record| record.map(line)).boxed()))
}
