//! A client of HTTP whose servers are in memory.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};

use crate::{AddressFilter, Error, HttpBody, HttpClient, Result};

/// Answers requests from a map of URLs. Clones are the same map.
///
/// GET and HEAD are answered, with one range of bytes where one is asked for; what is not in the map
/// is 404, another method 405.
#[derive(Clone, Debug, Default)]
pub struct MemoryHttp(Arc<Mutex<Served>>);

#[derive(Debug, Default)]
struct Served {
    contents: BTreeMap<String, Bytes>,
    requests: u64,
}

/// Bytes in one item of a body.
const PIECE: usize = 16 << 10;

impl MemoryHttp {
    /// A client that finds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this is what the URL gives, spelled so.
    pub fn serve(&self, url: impl Into<String>, content: impl Into<Bytes>) {
        self.served().contents.insert(url.into(), content.into());
    }

    /// From now on the URL gives 404.
    pub fn remove(&self, url: &str) {
        self.served().contents.remove(url);
    }

    /// How many requests there were so far.
    pub fn requests(&self) -> u64 {
        self.served().requests
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for MemoryHttp {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        AddressFilter::Any.check(request.uri())?;
        let content = {
            let mut served = self.served();
            served.requests += 1;
            served.contents.get(&request.uri().to_string()).cloned()
        };
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return answer(StatusCode::METHOD_NOT_ALLOWED, None, Bytes::new(), false),
        };
        let Some(content) = content else {
            return answer(StatusCode::NOT_FOUND, None, Bytes::new(), head);
        };
        let Some(asked) =
            request.headers().get(header::RANGE).and_then(|range| range.to_str().ok())
        else {
            return answer(StatusCode::OK, None, content, head);
        };
        match range(asked, content.len()) {
            Some(range) => {
                let place = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
                answer(StatusCode::PARTIAL_CONTENT, Some(place), content.slice(range), head)
            }
            None => {
                let place = format!("bytes */{}", content.len());
                answer(StatusCode::RANGE_NOT_SATISFIABLE, Some(place), Bytes::new(), head)
            }
        }
    }
}

/// The part of `len` bytes that a `Range` header asks for; `None` if there is none of it.
fn range(asked: &str, len: usize) -> Option<Range<usize>> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", last) => len.saturating_sub(last.parse().ok()?)..len,
        (first, "") => first.parse().ok()?..len,
        (first, last) => {
            first.parse().ok()?..last.parse::<usize>().ok()?.saturating_add(1).min(len)
        }
    };
    (range.start < range.end).then_some(range)
}

fn answer(
    status: StatusCode,
    place: Option<String>,
    content: Bytes,
    head: bool,
) -> Result<Response<HttpBody>> {
    let mut answer =
        Response::builder().status(status).header(header::CONTENT_LENGTH, content.len());
    if let Some(place) = place {
        answer = answer.header(header::CONTENT_RANGE, place);
    }
    let content = if head { Bytes::new() } else { content };
    let starts = (0..content.len()).step_by(PIECE);
    let pieces = starts.map(move |at| Ok(content.slice(at..content.len().min(at + PIECE))));
    let body = stream::iter(pieces).boxed();
    answer.body(body).map_err(|error| Error::component("memory HTTP", error))
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt, executor::block_on};

    use super::*;

    fn ask(http: &MemoryHttp, method: &str, range: Option<&str>) -> (u16, Option<String>, Vec<u8>) {
        let mut request = Request::builder().method(method).uri("http://a.example/b?c");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        block_on(async {
            let answer = http.send(request.body(Bytes::new()).unwrap()).await.unwrap();
            let place = answer.headers().get("content-range");
            let place = place.map(|place| place.to_str().unwrap().to_owned());
            let status = answer.status().as_u16();
            let body: Vec<Bytes> = answer.into_body().try_collect().await.unwrap();
            assert!(body.iter().all(|piece| !piece.is_empty()));
            (status, place, body.concat())
        })
    }

    #[test]
    fn answers_as_a_server_would() {
        let http = MemoryHttp::new();
        assert_eq!(ask(&http, "GET", None).0, 404);
        let content: Vec<u8> = (0..40_000_u32).map(|i| i as u8).collect();
        http.serve("http://a.example/b?c", content.clone());
        assert_eq!(ask(&http, "GET", None), (200, None, content.clone()));
        assert_eq!(ask(&http, "HEAD", None), (200, None, Vec::new()));
        assert_eq!(ask(&http, "POST", None).0, 405);
        for (asked, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=17000-39999", 17_000..40_000),
            ("bytes=39990-50000", 39_990..40_000),
            ("bytes=39990-", 39_990..40_000),
            ("bytes=-7", 39_993..40_000),
        ] {
            let place = format!("bytes {}-{}/40000", range.start, range.end - 1);
            assert_eq!(ask(&http, "GET", Some(asked)), (206, Some(place), content[range].to_vec()));
        }
        let none = (416, Some("bytes */40000".to_owned()), Vec::new());
        for asked in ["bytes=40000-", "bytes=3-2", "lines=1-2", "bytes=x-"] {
            assert_eq!(ask(&http, "GET", Some(asked)), none);
        }
        http.remove("http://a.example/b?c");
        assert_eq!((ask(&http, "GET", None).0, http.requests()), (404, 14));
    }
}
