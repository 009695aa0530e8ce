//! A range of what a URL gives.

use std::sync::Arc;

use futures_util::StreamExt;
use http::{HeaderMap, Request, StatusCode, header};
use ipfs_traits::{Bytes, Cid, Error, HttpBody, HttpClient};

use super::{
    Record,
    error::{Broken, FileError},
};

/// The most bytes of an answer that are passed over to reach a block, where a server gives the whole
/// and not the range: as many as a block can have.
const MAX_SKIPPED: u64 = ipfs_traits::limits::MAX_STORED_BLOCK as u64;

/// Bytes that are made room for before they come: a server can promise anything.
const ROOM: u64 = 64 << 10;

/// The bytes of a block; whether they hash to it is not checked yet.
pub(super) async fn fetch(
    client: &Arc<dyn HttpClient>,
    cid: Cid,
    record: &Record,
) -> Result<Bytes, Broken> {
    let Record { origin: url, offset, size } = record;
    if *size == 0 {
        // No range has no bytes.
        return Ok(Bytes::new());
    }
    let end = offset + size;
    let request = Request::get(url)
        .header(header::RANGE, format!("bytes={offset}-{}", end - 1))
        .header(header::ACCEPT_ENCODING, "identity")
        .body(Bytes::new());
    let request = request.map_err(|_| FileError::server(url, "it is no URL"))?;
    let answer = client.send(request).await.map_err(Broken::server)?;
    let refused = |reason: &'static str| FileError::server(url, reason);
    let encoding = answer.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(refused("the server sends the bytes in another encoding"));
    }
    let (skip, exact) = match answer.status() {
        StatusCode::PARTIAL_CONTENT => match given_range(answer.headers()) {
            Some((first, last)) if first == *offset && last == end - 1 => (0, true),
            Some((first, last)) if first == *offset && last < end - 1 => {
                return Err(Broken::changed(cid));
            }
            _ => return Err(refused("the server gives another range than was asked for")),
        },
        StatusCode::OK if *offset <= MAX_SKIPPED => (*offset, false),
        StatusCode::OK => {
            let (what, limit, actual) = ("bytes before a block of a URL", MAX_SKIPPED, *offset);
            return Err(Broken::server(Error::Limit { what, limit, actual }));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(Broken::changed(cid)),
        status => return Err(FileError::server(url, format!("the server answers with {status}"))),
    };
    read(url, cid, answer.into_body(), skip, *size, exact).await
}

/// The first and the last byte of what an answer gives.
fn given_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (first, last) = range.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// `size` bytes of a body behind `skip`; an exact one has nothing else.
async fn read(
    url: &str,
    cid: Cid,
    mut body: HttpBody,
    mut skip: u64,
    size: u64,
    exact: bool,
) -> Result<Bytes, Broken> {
    let mut data = Vec::with_capacity(size.min(ROOM) as usize);
    while exact || (data.len() as u64) < size {
        let Some(piece) = body.next().await else { break };
        let piece = piece.map_err(Broken::server)?;
        if piece.is_empty() {
            // It could go on so for ever, and never wait.
            return Err(FileError::server(url, "the answer has a piece without bytes"));
        }
        let passed = skip.min(piece.len() as u64);
        skip -= passed;
        let piece = &piece[passed as usize..];
        let left = (size - data.len() as u64) as usize;
        if exact && piece.len() > left {
            return Err(FileError::server(url, "the server gives more than was asked for"));
        }
        data.extend_from_slice(&piece[..piece.len().min(left)]);
    }
    match data.len() as u64 == size {
        true => Ok(data.into()),
        false => Err(Broken::changed(cid)),
    }
}
