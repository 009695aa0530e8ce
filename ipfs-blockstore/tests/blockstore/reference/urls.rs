//! References to what URLs give, and servers that lie.

use std::{fmt, time::Duration};

use futures::{StreamExt, stream};
use http::{Request, Response};
use ipfs_blockstore::reference::State;
use ipfs_traits::{Bytes, HttpBody, HttpClient, VirtualRuntime, memory::MemoryHttp};

use super::*;

fn at_url(block: &Block, url: &str, offset: u64) -> Reference {
    Reference { block: block.clone(), origin: Origin::Url(url.into()), offset }
}

fn over(client: impl HttpClient) -> World {
    let mut options = Options::default();
    options.client = Some(Arc::new(client));
    World::with(tempfile::tempdir().unwrap(), options)
}

const URL: &str = "https://example.com/file?a=b";

#[tokio::test]
async fn ranges_of_urls_are_blocks() {
    let http = MemoryHttp::new();
    let world = over(http.clone());
    let content: Vec<u8> = (0..100_000_u32).map(|i| (i / 7) as u8).collect();
    http.serve(URL, content.clone());
    let blocks: Vec<Block> = content.chunks(9_999).map(|part| block(part.to_vec())).collect();
    let references: Vec<_> = std::iter::zip(&blocks, (0..).step_by(9_999))
        .map(|(block, offset)| at_url(block, URL, offset))
        .chain([at_url(&block(""), URL, 5)])
        .collect();
    world.store.put_references(&references).await.unwrap();
    let cids: Vec<Cid> = references.iter().map(|one| *one.block.cid()).collect();
    for (found, expected) in std::iter::zip(world.store.get_many(&cids).await, &references) {
        assert_eq!(found.unwrap().as_ref(), Some(&expected.block));
    }
    assert_eq!(http.requests(), blocks.len() as u64, "no bytes are not asked for");
    assert!(world.records().await.iter().all(|record| record.origin == URL && record.is_url()));
    for bad in
        ["ftp://example.com/", "http://", "example.com", "https://user:x@a/", "http://127.1/"]
    {
        let refused = world.store.put_references(&[at_url(&block("x"), bad, 0)]).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. } | Error::Malformed { .. })),
            "{bad}: {refused:?}"
        );
    }
}

/// Gives what a test wants.
struct Liar<F>(F);

impl<F> fmt::Debug for Liar<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Liar")
    }
}

#[async_trait]
impl<F> HttpClient for Liar<F>
where
    F: Fn(Request<Bytes>) -> Result<Response<HttpBody>> + Send + Sync + 'static,
{
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        (self.0)(request)
    }
}

type Headers = &'static [(&'static str, &'static str)];

/// What becomes of a reference to 5 bytes at 3 when the server answers so.
async fn told(status: u16, headers: Headers, pieces: &[&'static [u8]]) -> (State, Error) {
    let pieces: Vec<&'static [u8]> = pieces.to_vec();
    let world = over(Liar(move |request: Request<Bytes>| {
        assert_eq!(request.headers()["range"], "bytes=3-7");
        assert_eq!(request.headers()["accept-encoding"], "identity");
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let body = pieces.clone().into_iter().map(|piece| Ok(Bytes::from_static(piece)));
        Ok(answer.body(stream::iter(body).boxed()).unwrap())
    }));
    let block = block("34567");
    world.store.put_references(&[at_url(&block, URL, 3)]).await.unwrap();
    let found = world.store.get(block.cid()).await;
    let checked = world.store.check_references(&[*block.cid()]).await.unwrap().remove(0);
    match found {
        Ok(found) => {
            assert_eq!((found, checked.state), (Some(block), State::Ok));
            (State::Ok, Error::NotFound(checked.cid))
        }
        Err(error) => (checked.state, error),
    }
}

const RANGE: (&str, &str) = ("content-range", "bytes 3-7/10");

#[tokio::test]
async fn answers_are_believed_only_if_they_fit() {
    // Right ones.
    assert_eq!(told(206, &[RANGE], &[b"34", b"567"]).await.0, State::Ok);
    assert_eq!(told(206, &[("content-range", "bytes 3-7/*")], &[b"34567"]).await.0, State::Ok);
    assert_eq!(told(200, &[], &[b"0", b"123456789"]).await.0, State::Ok);
    assert_eq!(told(200, &[("content-encoding", "identity")], &[b"01234567"]).await.0, State::Ok);
    // Other bytes, fewer, more.
    for (status, headers, pieces) in [
        (206, &[RANGE][..], &[b"34568" as &[u8]][..]),
        (206, &[RANGE], &[b"3456"]),
        (206, &[RANGE], &[]),
        (206, &[("content-range", "bytes 3-5/6")], &[b"345"]),
        (200, &[], &[b"0123456"]),
        (200, &[], &[b"01"]),
        (200, &[], &[b"34567"]),
        (416, &[("content-range", "bytes */2")], &[]),
    ] {
        let (state, error) = told(status, headers, pieces).await;
        assert!(matches!(error, Error::Corrupt(_)), "{status} {pieces:?}: {error:?}");
        assert_eq!(state, State::Changed);
    }
    // Not what was asked for at all.
    for (status, headers, pieces) in [
        (206, &[RANGE][..], &[b"345678" as &[u8]][..]),
        (206, &[RANGE], &[b"34567", b"8"]),
        (206, &[], &[b"34567"]),
        (206, &[("content-range", "bytes 0-4/10")], &[b"34567"]),
        (206, &[("content-range", "bytes 3-9/10")], &[b"3456789"]),
        (206, &[("content-range", "lines 3-7/10")], &[b"34567"]),
        (206, &[RANGE, ("content-encoding", "gzip")], &[b"34567"]),
        (200, &[("content-encoding", "br")], &[b"01234567"]),
        (206, &[RANGE], &[b"", b"34567"]),
        (404, &[], &[b"34567"]),
        (500, &[], &[]),
        (301, &[("location", "/elsewhere")], &[]),
        (204, &[], &[]),
    ] {
        let (state, error) = told(status, headers, pieces).await;
        assert!(matches!(error, Error::Component { .. }), "{status} {pieces:?}: {error:?}");
        assert_eq!(state, State::FileError);
    }
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let pieces = Arc::new(AtomicU64::new(0));
    let count = pieces.clone();
    let world = over(Liar(move |request: Request<Bytes>| {
        let count = count.clone();
        let status = if request.uri().path() == "/range" { 206 } else { 200 };
        let body = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(&[7; 1000]))
        });
        let answer =
            Response::builder().status(status).header("content-range", "bytes 5000-5999/*");
        Ok(answer.body(body.boxed()).unwrap())
    }));
    let block = block(vec![7; 1000]);
    let refer = async |url: &str, offset: u64| {
        pieces.store(0, Ordering::Relaxed);
        world.store.put_references(&[at_url(&block, url, offset)]).await.unwrap();
        (world.store.get(block.cid()).await, pieces.load(Ordering::Relaxed))
    };
    let (found, read) = refer("http://a.example/all", 5000).await;
    assert_eq!((found.unwrap(), read), (Some(block.clone()), 6));
    let (found, read) = refer("http://a.example/range", 5000).await;
    assert!(matches!(found, Err(Error::Component { .. })) && read == 2, "{found:?} {read}");
    // What lies far in is asked for by its range alone.
    let (found, read) = refer("http://a.example/all", (64 << 20) + 1).await;
    assert!(matches!(found, Err(Error::Limit { .. })) && read == 0, "{found:?} {read}");
}

/// The size is that of the record, and what comes is not gathered beyond it.
#[test]
fn no_more_than_a_block_is_held() {
    let client = Liar(|_: Request<Bytes>| {
        let body = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 1 << 10]))).boxed();
        Ok(Response::new(body))
    });
    let runtime = VirtualRuntime::new();
    let mut options = Options::default();
    options.client = Some(Arc::new(client));
    let records = Arc::new(MemoryDatastore::new());
    let store =
        ReferenceStore::new(MemoryStore::new(), records, Arc::new(runtime.clone()), options);
    let block = block(vec![7; 3 << 20]);
    let ((), peak) = crate::memory::peak(|| {
        runtime
            .block_on(async {
                store.put_references(&[at_url(&block, URL, 40 << 20)]).await.unwrap();
                assert!(store.get(block.cid()).await.unwrap().is_some());
            })
            .unwrap();
    });
    assert!(peak < 7 << 20, "{peak} bytes were held");
}

/// A server that never answers, and one that stops in the middle.
#[test]
fn a_stuck_server_is_given_up() {
    #[derive(Debug)]
    struct Stuck;
    #[async_trait]
    impl HttpClient for Stuck {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
            if request.uri().path() == "/never" {
                return std::future::pending().await;
            }
            let some = stream::iter([Ok(Bytes::from_static(b"con"))]);
            Ok(Response::new(some.chain(stream::pending()).boxed()))
        }
    }
    let runtime = VirtualRuntime::new();
    let mut options = Options::default();
    options.client = Some(Arc::new(Stuck));
    let records = Arc::new(MemoryDatastore::new());
    let store =
        ReferenceStore::new(MemoryStore::new(), records, Arc::new(runtime.clone()), options);
    let block = block("content");
    for url in ["http://a.example/never", "http://a.example/part"] {
        let before = runtime.now();
        let found = runtime.block_on(async {
            store.put_references(&[at_url(&block, url, 0)]).await.unwrap();
            store.get(block.cid()).await
        });
        assert!(matches!(found.unwrap(), Err(Error::TimedOut(_))));
        assert_eq!(runtime.now() - before, Duration::from_secs(60));
    }
}

/// What the client says is told on: where it may not connect, that it found nobody.
#[tokio::test]
async fn the_error_of_the_client_is_told() {
    let world = over(Liar(|_: Request<Bytes>| Err(ipfs_traits::AddressFilter::refused())));
    let block = block("content");
    let reference = at_url(&block, "http://internal.example/", 0);
    world.store.put_references(&[reference]).await.unwrap();
    assert!(matches!(world.store.get(block.cid()).await, Err(Error::Invalid { .. })));
    let checked = world.store.check_references(&[*block.cid()]).await.unwrap().remove(0);
    assert_eq!(checked.state, State::FileError);
}
