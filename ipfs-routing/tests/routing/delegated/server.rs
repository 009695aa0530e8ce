//! What the server answers, and what it refuses.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, StreamExt, TryStreamExt, future::pending, stream, stream::BoxStream};
use http::{HeaderMap, Request};
use ipfs_routing::{
    MAX_VALUE, Routing, Validators,
    delegated::{Filters, Lookup, MAX_URL, Record, Records, Server, ServerOptions},
};
use ipfs_traits::{
    Bytes, Error, HttpBody, Multihash, PeerId, PeerInfo, Result, async_trait,
    memory::{RoutingTable, peer_id},
};

use super::{
    CID,
    hostile::Longest,
    key, peer,
    web::{Web, pieces},
};

/// Status, headers and body.
type Got = (u16, HeaderMap, Result<String>);

pub(crate) async fn ask(server: &Server, request: Request<HttpBody>) -> Got {
    let (head, body) = server.call(request).await.into_parts();
    let body: Result<Vec<Bytes>> = body.try_collect().await;
    let text = body.map(|pieces| String::from_utf8_lossy(&pieces.concat()).into_owned());
    (head.status.as_u16(), head.headers, text)
}

pub(crate) fn get(path: &str, accept: &str) -> Request<HttpBody> {
    request("GET", path, &[("accept", accept)], "")
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<HttpBody> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(pieces(body.into())).unwrap()
}

fn put(peer: PeerId, body: impl Into<Bytes>) -> Request<HttpBody> {
    let headers = [("content-type", "application/vnd.ipfs.ipns-record")];
    request("PUT", &format!("/routing/v1/ipns/{peer}"), &headers, body)
}

fn serve(web: &Web, routing: impl Routing, options: ServerOptions) -> Server {
    let rules = Validators::new().with("ipns", Longest);
    Server::new(Arc::new(routing), rules, Arc::new(web.runtime.clone()), options)
}

/// A router that finds what a test says, and takes any value.
#[derive(Debug, Default)]
struct Fake {
    /// Finds these, and then fails, waits or ends.
    peers: Vec<PeerInfo>,
    then: Then,
    values: Vec<&'static str>,
    put: Arc<Mutex<Vec<Bytes>>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Then {
    #[default]
    Ends,
    Fails,
    Waits,
}

impl Fake {
    fn stream<T: Send + 'static>(&self, items: Vec<T>) -> BoxStream<'static, Result<T>> {
        let items = stream::iter(items.into_iter().map(Ok));
        match self.then {
            Then::Ends => items.boxed(),
            Then::Fails => items.chain(stream::iter([Err(Error::Closed("a fake"))])).boxed(),
            Then::Waits => items.chain(stream::pending()).boxed(),
        }
    }
}

#[async_trait]
impl Routing for Fake {
    fn find_providers(&self, _: &Multihash, _: usize) -> BoxStream<'static, Result<PeerInfo>> {
        self.stream(self.peers.clone())
    }

    fn get_value(&self, _: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        self.stream(self.values.iter().map(|value| Bytes::from_static(value.as_bytes())).collect())
    }

    async fn put_value(&self, _: &[u8], value: Bytes) -> Result<()> {
        self.put.lock().unwrap().push(value);
        match self.then {
            Then::Waits => pending().await,
            _ => Ok(()),
        }
    }
}

const PROVIDERS: &str =
    "/routing/v1/providers/bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";

#[test]
fn paths_and_methods_are_those_of_the_specification() {
    let web = Web::new();
    let server = serve(&web, RoutingTable::new().join(peer(1)), ServerOptions::default());
    let id = peer_id(1);
    let cid = ipfs_traits::Cid::new_v1(0x72, *id.as_ref());
    let (long, filler) = (format!("{PROVIDERS}?{}", "a".repeat(MAX_URL)), "1".repeat(1900));
    let cases = [
        ("GET", format!("/routing/v1/providers/{CID}"), 200),
        ("GET", format!("/routing/v1/peers/{id}"), 200),
        ("GET", format!("/routing/v1/peers/{cid}"), 200),
        ("GET", format!("/routing/v1/dht/closest/peers/{CID}"), 200),
        ("GET", format!("/routing/v1/dht/closest/peers/{id}"), 200),
        ("GET", format!("/routing/v1/ipns/{cid}"), 200),
        ("OPTIONS", format!("/routing/v1/ipns/{cid}"), 204),
        ("POST", format!("/routing/v1/ipns/{cid}"), 405),
        ("PUT", format!("/routing/v1/providers/{CID}"), 405),
        ("PUT", "/routing/v1/providers/".into(), 405),
        ("DELETE", format!("/routing/v1/peers/{id}"), 405),
        ("GET", "/routing/v1/providers/".into(), 400),
        ("GET", "/routing/v1/providers/nonsense".into(), 400),
        ("GET", format!("/routing/v1/providers/{id}/{CID}"), 400),
        ("GET", format!("/routing/v1/providers/../peers/{id}"), 400),
        ("GET", format!("/routing/v1/providers/%2e%2e/peers/{id}"), 400),
        ("GET", format!("/routing/v1/providers/%62{}", &CID[1..]), 400),
        ("GET", format!("/routing/v1/../v1/providers/{CID}"), 400),
        ("GET", format!("/routing/v1//providers/{CID}"), 400),
        ("GET", format!("/routing/v2/providers/{CID}"), 400),
        ("GET", format!("/routing/v1/dht/closest/peers/{CID}/x"), 400),
        ("GET", "/routing/v1/peers/%00".into(), 400),
        ("GET", format!("/routing/v1/ipns/{cid}%00"), 400),
        ("GET", format!("/routing/v1/ipns/{CID}"), 400),
        ("GET", format!("/routing/v1/peers/{filler}"), 400),
        ("GET", "/".into(), 400),
        ("GET", "*".into(), 400),
        ("GET", long, 414),
    ];
    for (method, path, status) in cases {
        let got = web.run(ask(&server, request(method, &path, &[], "")));
        assert_eq!(got.0, status, "{method} {path}: {got:?}");
        assert_eq!(got.1["access-control-allow-origin"], "*", "{path}");
        assert_eq!(got.1.contains_key("allow"), status == 405, "{path}");
        assert!(!got.2.unwrap().contains("nonsense"), "nothing of a request comes back");
    }
}

#[test]
fn what_is_accepted_is_what_is_answered() {
    let web = Web::new();
    let server = serve(&web, RoutingTable::new().join(peer(1)), ServerOptions::default());
    let (json, lines) = ("application/json", "application/x-ndjson");
    for (accept, kind) in [
        ("application/json", Some(json)),
        ("APPLICATION/JSON;q=0.1", Some(json)),
        ("*/*", Some(json)),
        ("text/html, application/*", Some(json)),
        ("application/json, application/x-ndjson", Some(lines)),
        ("application/x-ndjson;q=0.9", Some(lines)),
        ("text/html", None),
        (",;,/", None),
    ] {
        let (status, headers, _) = web.run(ask(&server, get(PROVIDERS, accept)));
        match kind {
            Some(kind) => assert_eq!((status, headers["content-type"] == kind), (200, true)),
            None => assert_eq!(status, 406, "{accept}"),
        }
    }
    let name = format!("/routing/v1/ipns/{}", peer_id(1));
    assert_eq!(web.run(ask(&server, get(&name, "text/html"))).0, 406);
    assert_eq!(web.run(ask(&server, get(&name, "text/html, */*"))).0, 200);
}

#[test]
fn answers_hold_no_more_than_they_may() {
    let web = Web::new();
    let peers = || (0..5000).map(peer).collect();
    let fake = |then| Fake { peers: peers(), then, ..Fake::default() };
    let server = serve(&web, fake(Then::Ends), ServerOptions::default());
    let (_, _, text) = web.run(ask(&server, get(PROVIDERS, "*/*")));
    assert_eq!(text.unwrap().matches("\"peer\"").count(), 20);
    let (_, _, text) = web.run(ask(&server, get(PROVIDERS, "application/x-ndjson")));
    assert_eq!(text.unwrap().lines().count(), 1000);
    // Few are wanted of many: the search for them ends.
    #[derive(Debug)]
    struct Endless;
    impl Records for Endless {
        fn records(&self, _: &Lookup) -> BoxStream<'static, Result<Record>> {
            stream::iter(0..)
                .map(|n| {
                    assert!(n <= 10_000, "it looks on and on");
                    Ok(Record::new(peer(1)))
                })
                .boxed()
        }
    }
    let runtime = Arc::new(web.runtime.clone());
    let (routing, rules) = (Arc::new(Fake::default()), Validators::new());
    let options = ServerOptions::default();
    let server = Server::with_records(routing, Arc::new(Endless), rules, runtime, options);
    let filtered = format!("{PROVIDERS}?filter-protocols=transport-bitswap");
    let (status, _, text) = web.run(ask(&server, get(&filtered, "*/*")));
    assert_eq!((status, text.unwrap()), (200, "{\"Providers\":[]}".into()));
}

#[test]
fn a_router_that_takes_its_time_is_not_waited_for() {
    let web = Web::new();
    for (accept, begin) in [("*/*", "{\"Providers\":[{"), ("application/x-ndjson", "{\"Addrs\"")] {
        for peers in [vec![], vec![peer(1)]] {
            let found = !peers.is_empty();
            let fake = Fake { peers, then: Then::Waits, ..Fake::default() };
            let server = serve(&web, fake, ServerOptions::default());
            let before = web.elapsed();
            let (status, headers, text) = web.run(ask(&server, get(PROVIDERS, accept)));
            assert_eq!(web.elapsed() - before, Duration::from_secs(30));
            assert_eq!((status, text.unwrap().starts_with(begin)), (200, found));
            let age = if found { "max-age=300" } else { "max-age=15" };
            assert!(headers["cache-control"].to_str().unwrap().contains(age));
        }
    }
    let server =
        serve(&web, Fake { then: Then::Waits, ..Fake::default() }, ServerOptions::default());
    assert_eq!(web.run(ask(&server, put(peer_id(1), "ok"))).0, 504);
}

#[test]
fn a_router_that_fails_is_told() {
    let web = Web::new();
    let lines = "application/x-ndjson";
    let fails = |peers| Fake { peers, then: Then::Fails, ..Fake::default() };
    let server = serve(&web, fails(vec![]), ServerOptions::default());
    for accept in ["*/*", lines] {
        let (status, headers, _) = web.run(ask(&server, get(PROVIDERS, accept)));
        assert_eq!((status, headers["cache-control"] == "no-store"), (500, true));
    }
    let server = serve(&web, fails(vec![peer(1)]), ServerOptions::default());
    let (status, _, text) = web.run(ask(&server, get(PROVIDERS, "*/*")));
    assert_eq!((status, text.unwrap().matches("\"peer\"").count()), (200, 1));
    let (status, _, text) = web.run(ask(&server, get(PROVIDERS, lines)));
    assert_eq!(status, 200);
    assert!(matches!(text, Err(Error::Closed(_))), "the answer breaks off: {text:?}");
    let closest = format!("/routing/v1/dht/closest/peers/{CID}");
    assert_eq!(web.run(ask(&server, get(&closest, "*/*"))).0, 501);
}

#[test]
fn too_many_at_once_are_refused() {
    let web = Web::new();
    let mut options = ServerOptions::default();
    options.requests = 2;
    let fake = Fake { peers: vec![peer(1)], then: Then::Waits, ..Fake::default() };
    let server = serve(&web, fake, options);
    let lines = || get(PROVIDERS, "application/x-ndjson");
    web.run(async {
        // A body that is not read yet holds its place.
        let first = server.call(lines()).await;
        let mut second = server.call(get(PROVIDERS, "*/*")).boxed();
        assert!((&mut second).now_or_never().is_none());
        let (status, headers, _) = ask(&server, lines()).await;
        assert_eq!((status, headers["retry-after"] == "5"), (429, true));
        drop(first);
        let third = server.call(lines()).await;
        assert_eq!(third.status(), 200);
        assert_eq!(ask(&server, lines()).await.0, 429);
        drop(second);
        assert_eq!(server.call(lines()).await.status(), 200);
    });
}

#[test]
fn records_that_are_put_must_be_valid_and_new() {
    let web = Web::new();
    let put_there = Arc::default();
    let fake = Fake {
        values: vec!["ok", "forged and long", "ok then"],
        put: Arc::clone(&put_there),
        ..Fake::default()
    };
    let server = serve(&web, fake, ServerOptions::default());
    let id = peer_id(1);
    let status = |request| web.run(ask(&server, request)).0;
    assert_eq!(status(put(id, "forged")), 400);
    assert_eq!(status(put(id, "")), 400);
    assert_eq!(status(put(id, vec![b'o'; MAX_VALUE + 1])), 413);
    assert_eq!(status(put(id, "ok old")), 409, "a better one is known");
    assert_eq!(*put_there.lock().unwrap(), Vec::<Bytes>::new());
    assert_eq!(status(put(id, "ok then")), 200);
    assert_eq!(status(put(id, "ok and newer")), 200);
    assert_eq!(*put_there.lock().unwrap(), ["ok then", "ok and newer"]);
    let path = format!("/routing/v1/ipns/{id}");
    assert_eq!(status(request("PUT", &path, &[("content-type", "text/plain")], "ok")), 406);
    assert_eq!(status(request("PUT", &path, &[], "ok and newer")), 406);
    let (status, _, text) = web.run(ask(&server, get(&path, "*/*")));
    assert_eq!(
        (status, text.unwrap()),
        (200, "ok then".into()),
        "the best of those that are valid"
    );
}

#[test]
fn a_body_without_end_is_refused() {
    let web = Web::new();
    let server = serve(&web, Fake::default(), ServerOptions::default());
    let endless = stream::iter(0..).map(|n| {
        assert!(n < 1000, "it reads on and on");
        Ok(Bytes::from_static(&[b'o'; 100]))
    });
    assert_eq!(web.run(ask(&server, put(peer_id(1), "").map(|_| endless.boxed()))).0, 413);
    let never = put(peer_id(1), "").map(|_| stream::pending().boxed());
    assert_eq!(web.run(ask(&server, never)).0, 408);
    assert_eq!(web.elapsed().as_secs(), 30);
    let broken = stream::iter([Err(Error::Closed("a connection"))]).boxed();
    assert_eq!(web.run(ask(&server, put(peer_id(1), "").map(|_| broken))).0, 400);
}

#[test]
fn without_rules_no_record_is_taken() {
    let web = Web::new();
    let (routing, runtime) = (Arc::new(Fake::default()), Arc::new(web.runtime.clone()));
    let server = Server::new(routing, Validators::new(), runtime, ServerOptions::default());
    assert_eq!(web.run(ask(&server, put(peer_id(1), "ok"))).0, 501);
}

#[test]
fn filters_are_read_from_the_query_and_bounded_by_it() {
    let web = Web::new();
    let fake = Fake { peers: vec![peer(1)], ..Fake::default() };
    let server = serve(&web, fake, ServerOptions::default());
    for (query, found) in [
        ("filter-addrs=tcp", true),
        ("filter-addrs=%54CP%2Cudp", true),
        ("filter-addrs=!tcp", false),
        ("filter-protocols=unknown", true),
        ("filter-protocols=transport-bitswap", false),
        ("filter-addrs=%zz,,&filter-protocols=,", true),
        ("&&=&filter-addrs", true),
    ] {
        let (status, _, text) = web.run(ask(&server, get(&format!("{PROVIDERS}?{query}"), "*/*")));
        let expected = found && query != "filter-addrs=%zz,,&filter-protocols=,";
        assert_eq!((status, text.unwrap().contains("\"peer\"")), (200, expected), "{query}");
    }
    assert_eq!(Filters::parse("").query(), "");
    assert_eq!(key(), *CID.parse::<ipfs_traits::Cid>().unwrap().hash());
}
