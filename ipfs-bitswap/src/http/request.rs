//! One request to one gateway: what is asked, what is believed, and for how long it is waited.

use std::{future::ready, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ipfs_traits::{Block, Cid, Error, HttpBody, Result, Runtime, RuntimeExt, limits};

use super::{Shared, gateway::Ticket};

/// How long the head of an answer may take: as in boxo. A gateway that has to look for a block itself
/// takes longer, and by then another one is the better choice.
const HEAD: Duration = Duration::from_secs(10);

/// How long a body may bring nothing.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// How long a block may take in all: the largest comes through at 17 kB/s, and a server that trickles
/// holds a place for no longer.
pub(super) const WHOLE: Duration = Duration::from_secs(120);

/// Above this a block is hashed where blocking work goes: below it takes less time than going there.
const HASHED_HERE: usize = 32 << 10;

/// The CID of the empty block, which every gateway answers without having it.
const PROBE: &str = "bafkqaaa?format=raw";

/// Why a gateway did not give what it was asked for.
#[derive(Debug)]
pub(super) enum Fault {
    /// It does not have it.
    Lacks,
    /// It will not give this, now or later; others may.
    Refused(Error),
    /// It has too much to do, and may have said for how long.
    Busy(Option<Duration>, Error),
    /// It may give it later.
    Failed(Error),
    /// It gave something else.
    Lied(Error),
}

impl Fault {
    /// What is told to the one who asked, if it is more than that the block is absent.
    pub(super) const fn error(&self) -> Option<&Error> {
        match self {
            Self::Lacks => None,
            Self::Refused(error)
            | Self::Busy(_, error)
            | Self::Failed(error)
            | Self::Lied(error) => Some(error),
        }
    }
}

/// What a gateway did, for the source of an [`Error::Component`].
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error("{0} answered with status {1}")]
    Status(Arc<str>, StatusCode),
    #[error("{0} does not answer as a gateway does")]
    NoGateway(Arc<str>),
    #[error("{0} gave wrong bytes before, and is left alone for now")]
    Distrusted(Arc<str>),
}

impl From<GatewayError> for Error {
    fn from(error: GatewayError) -> Self {
        Self::component("gateway", error)
    }
}

/// Asks whether it works: any success says yes.
pub(super) async fn probe(shared: &Shared, ticket: &Ticket) -> Result<(), Fault> {
    let answer = send(shared, ticket, Method::HEAD, PROBE, super::RAW).await;
    answer.map(drop).map_err(|fault| match fault {
        Fault::Lacks => Fault::Failed(GatewayError::NoGateway(ticket.url().clone()).into()),
        Fault::Refused(error) => Fault::Failed(error),
        other => other,
    })
}

/// Asks for a block, which is shown to be it.
pub(super) async fn block(shared: &Shared, ticket: &Ticket, cid: &Cid) -> Result<Block, Fault> {
    let work = async {
        let path = format!("{cid}?format=raw");
        let answer = send(shared, ticket, Method::GET, &path, super::RAW).await?;
        let started = shared.runtime.now();
        let data = whole(shared, answer).await?;
        let (len, time) = (data.len(), shared.runtime.now() - started);
        let block = verify(shared, *cid, data).await?;
        ticket.gave(len, time);
        Ok(block)
    };
    let in_time = shared.runtime.timeout(WHOLE, "a block from a gateway", async { Ok(work.await) });
    in_time.await.unwrap_or_else(|error| Err(Fault::Failed(error)))
}

/// Sends a request for what stands behind `/ipfs/`, and gives the answer if it is a success.
pub(super) async fn send(
    shared: &Shared,
    ticket: &Ticket,
    method: Method,
    path: &str,
    accept: &str,
) -> Result<Response<HttpBody>, Fault> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}/ipfs/{path}", ticket.url()))
        .header(header::ACCEPT, accept)
        .body(Bytes::new())
        .map_err(|error| Fault::Refused(Error::component("gateway", error)))?;
    let started = shared.runtime.now();
    let answer = shared.client.send(request);
    let answer = shared.runtime.timeout(HEAD, "the answer of a gateway", answer).await;
    let answer = answer.map_err(Fault::Failed)?;
    ticket.answered(shared.runtime.now() - started);
    check(ticket, answer.status(), answer.headers())?;
    Ok(answer)
}

fn check(ticket: &Ticket, status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    let error = || GatewayError::Status(ticket.url().clone(), status).into();
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Fault::Lacks),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Err(Fault::Busy(retry_after(headers), error()))
        }
        _ if status.is_client_error() => Err(Fault::Refused(error())),
        _ => Err(Fault::Failed(error())),
    }
}

/// The seconds of `Retry-After`; a date is as if there were none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A body of at most one block.
async fn whole(shared: &Shared, answer: Response<HttpBody>) -> Result<Bytes, Fault> {
    if let Some(len) = content_length(answer.headers()) {
        fits(len)?;
    }
    let mut body = answer.into_body();
    let mut data = BytesMut::new();
    while let Some(piece) =
        piece(&*shared.runtime, &mut body, STALL).await.map_err(Fault::Failed)?
    {
        fits(data.len() + piece.len())?;
        data.extend_from_slice(&piece);
    }
    Ok(data.freeze())
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn fits(len: usize) -> Result<(), Fault> {
    if len > limits::MAX_BLOCK {
        return Err(Fault::Refused(Error::limit("bytes of a block", limits::MAX_BLOCK, len)));
    }
    Ok(())
}

/// The next bytes of a body, `None` at its end.
pub(super) async fn piece(
    runtime: &dyn Runtime,
    body: &mut HttpBody,
    within: Duration,
) -> Result<Option<Bytes>> {
    let next = async { body.next().await.transpose() };
    runtime.timeout(within, "the body of an answer", next).await
}

async fn verify(shared: &Shared, cid: Cid, data: Bytes) -> Result<Block, Fault> {
    let len = data.len();
    let hashes = shared.hashes.clone();
    let work = move || Block::verify(cid, data, &hashes);
    let block = hash(&*shared.runtime, len, work).await;
    block.map_err(|error| match error {
        Error::Corrupt(_) => Fault::Lied(error),
        _ => Fault::Refused(error),
    })
}

/// Runs what hashes `len` bytes, where it does no harm.
pub(super) async fn hash<T: Send + 'static>(
    runtime: &dyn Runtime,
    len: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match len <= HASHED_HERE {
        true => ready(work()).await,
        false => runtime.blocking(work).await?,
    }
}
