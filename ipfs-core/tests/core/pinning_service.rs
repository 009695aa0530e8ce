//! The client of the Pinning Service API, against a service written to the text of it.

mod hostile;
mod node;
pub(crate) mod server;
mod wait;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, Response, StatusCode};
use ipfs_core::{
    Bytes, Cid, Error, HashTable, HttpBody, HttpClient, PinningService, Result, VirtualRuntime,
    async_trait, codes,
    pinning_service::{
        Failure, Filter, MAX_QUERY, Matching, Options, PinOptions, PinStatus, Status,
    },
};

use self::server::Service;

pub(crate) const TOKEN: &str = "very+secret/token==";

/// A web of one service, which may say something else for once.
#[derive(Clone)]
struct Web {
    runtime: VirtualRuntime,
    service: Service,
    says: Arc<Mutex<Says>>,
    sent: Arc<Mutex<Vec<String>>>,
}

/// What is said in the place of the service, if anything is.
type Says = Box<dyn FnMut(&Request<Bytes>) -> Option<Response<HttpBody>> + Send>;

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

impl Web {
    fn new() -> Self {
        let says: Says = Box::new(|_| None);
        let (runtime, service) = (VirtualRuntime::new(), Service::new(TOKEN));
        Self { runtime, service, says: Arc::new(Mutex::new(says)), sent: Arc::default() }
    }

    fn client(&self) -> PinningService {
        self.client_with(TOKEN)
    }

    fn client_with(&self, token: &str) -> PinningService {
        let (runtime, client) = (Arc::new(self.runtime.clone()), Arc::new(self.clone()));
        PinningService::new(runtime, client, "https://pin.example", token, Options::default())
            .unwrap()
    }

    fn say(
        &self,
        says: impl FnMut(&Request<Bytes>) -> Option<Response<HttpBody>> + Send + 'static,
    ) {
        *self.says.lock().unwrap() = Box::new(says);
    }

    /// Says this, whatever is asked.
    fn say_text(&self, status: u16, text: impl Into<Bytes>) {
        let text = text.into();
        self.say(move |_| Some(said(status, &[], body([text.clone()]))));
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work).unwrap()
    }

    /// Methods and URLs so far.
    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }

    /// Pins these, and says that they are.
    async fn pin_all(&self, pins: impl IntoIterator<Item = (Cid, PinOptions)>) -> Vec<PinStatus> {
        let mut all = Vec::new();
        for (cid, options) in pins {
            let pin = self.client().pin(&cid, options).await.unwrap();
            self.service.tell(&pin.request_id, "pinned", "");
            all.push(pin);
        }
        all
    }
}

fn said(status: u16, headers: &[(&str, &str)], body: HttpBody) -> Response<HttpBody> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body).unwrap()
}

fn body(pieces: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>) -> HttpBody {
    stream::iter(pieces).filter(|piece| std::future::ready(!piece.is_empty())).map(Ok).boxed()
}

#[async_trait]
impl HttpClient for Web {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<HttpBody>> {
        self.sent.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let said = (*self.says.lock().unwrap())(&request);
        Ok(said.unwrap_or_else(|| self.service.answer(&request).map(|bytes| body([bytes]))))
    }
}

pub(crate) fn cid(number: u64) -> Cid {
    let hash = HashTable::standard().hash(codes::SHA2_256, &number.to_le_bytes());
    Cid::new_v1(codes::RAW, hash.unwrap())
}

pub(crate) fn named(name: &str) -> PinOptions {
    let mut options = PinOptions::default();
    options.name = Some(name.into());
    options
}

fn meta(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn a_pin_is_made_replaced_and_removed() {
    let web = Web::new();
    let service = web.client();
    web.run(async {
        let mut options = named("Größe & \"quotes\"");
        options.origins = vec![origin(1), origin(2), origin(1)];
        options.meta = meta(&[("app", "a\nb"), ("", "ü")]);
        let pin = service.pin(&cid(1), options.clone()).await.unwrap();
        assert_eq!((&pin.status, pin.cid), (&Status::Queued, cid(1)));
        assert_eq!((&pin.name, &pin.meta), (&options.name, &options.meta));
        assert_eq!(pin.delegates.len(), 1);
        let told = web.service.told(&pin.request_id);
        assert_eq!(told["origins"].as_array().unwrap().len(), 2);

        web.service.tell(&pin.request_id, "failed", "too big");
        let found = service.get(&pin.request_id).await.unwrap();
        assert_eq!(found.status, Status::Failed);
        assert_eq!(found.info, meta(&[("status_details", "too big")]));
        assert_eq!(found.created, pin.created);

        let next = service.replace(&pin.request_id, &cid(2), PinOptions::default()).await.unwrap();
        assert_ne!(next.request_id, pin.request_id);
        assert_eq!((next.cid, next.name, next.meta), (cid(2), None, BTreeMap::new()));
        let gone = service.get(&pin.request_id).await;
        assert!(matches!(gone, Err(Error::Unresolved(id)) if id == pin.request_id));

        service.remove(&next.request_id).await.unwrap();
        let unknown = service.remove(&next.request_id).await;
        assert!(matches!(unknown, Err(Error::Unresolved(_))), "{unknown:?}");
        let unknown = service.replace("x", &cid(2), PinOptions::default()).await;
        assert!(matches!(unknown, Err(Error::Unresolved(_))), "{unknown:?}");
    });
    assert_eq!(web.sent()[1], "GET https://pin.example/pins/request%2F1%3F");
}

fn origin(number: u64) -> ipfs_core::Multiaddr {
    let peer = ipfs_core::memory::peer_id(number);
    format!("/ip4/1.1.1.1/tcp/{number}/p2p/{peer}").parse().unwrap()
}

/// The service may call a CID by its other version.
#[test]
fn a_cid_of_version_0_is_the_same_in_version_1() {
    let web = Web::new();
    let old = Cid::new_v0(*cid(1).hash()).unwrap();
    let pin = web.run(web.client().pin(&old, PinOptions::default())).unwrap();
    assert_eq!(pin.cid, old);
    let new = Cid::new_v1(codes::DAG_PB, *old.hash());
    web.say_text(202, hostile::pin("a", &new));
    assert_eq!(web.run(web.client().pin(&old, PinOptions::default())).unwrap().cid, new);
}

async fn list(web: &Web, filter: Filter) -> Vec<Cid> {
    web.client().list(filter).map_ok(|pin| pin.cid).try_collect().await.unwrap()
}

#[test]
fn lists_go_on_over_pages() {
    let web = Web::new();
    web.run(async {
        assert!(list(&web, Filter::default()).await.is_empty());
        web.pin_all((0..250).map(|number| (cid(number), PinOptions::default()))).await;
        let latest: Vec<Cid> = (0..250).rev().map(cid).collect();
        for page in [1, 10, 100, 125, 249, 250, 251, 1000] {
            let before = web.sent().len();
            let mut filter = Filter::default();
            filter.page = page;
            assert_eq!(list(&web, filter).await, latest, "{page}");
            assert_eq!(web.sent().len() - before, 250_usize.div_ceil(page), "{page}");
        }
        // Nothing is asked for before it is wanted.
        let before = web.sent().len();
        let mut pins = web.client().list(Filter::default());
        for expected in &latest[..100] {
            assert_eq!(pins.next().await.unwrap().unwrap().cid, *expected);
        }
        assert_eq!(web.sent().len() - before, 1);
    });
}

#[test]
fn filters_are_understood() {
    let web = Web::new();
    let mut about = PinOptions::default();
    about.meta = meta(&[("app", "a&b=c,d"), ("more", "x")]);
    let pins = web.run(web.pin_all([
        (cid(0), named("Photos, 2020")),
        (cid(1), named("photos")),
        (cid(2), about),
        (cid(3), PinOptions::default()),
    ]));
    web.service.tell(&pins[3].request_id, "failed", "");
    let check = |change: &dyn Fn(&mut Filter), expected: &[u64]| {
        let mut filter = Filter::default();
        change(&mut filter);
        let expected: Vec<Cid> = expected.iter().copied().map(cid).collect();
        assert_eq!(web.run(list(&web, filter.clone())), expected, "{filter:?}");
    };
    check(&|_| {}, &[2, 1, 0]);
    check(&|filter| filter.statuses = vec![Status::Failed, Status::Failed], &[3]);
    check(&|filter| filter.statuses = vec![Status::Failed, Status::Pinned], &[3, 2, 1, 0]);
    check(&|filter| filter.statuses = vec![Status::Queued, Status::Pinning], &[]);
    check(&|filter| filter.cids = vec![cid(1), cid(2), cid(1)], &[2, 1]);
    check(&|filter| filter.meta = meta(&[("app", "a&b=c,d")]), &[2]);
    check(&|filter| filter.meta = meta(&[("app", "a&b=c,d"), ("more", "y")]), &[]);
    for (name, matching, expected) in [
        ("photos", Matching::Exact, &[1][..]),
        ("PHOTOS", Matching::Exact, &[]),
        ("PHOTOS", Matching::IExact, &[1]),
        ("hotos", Matching::Partial, &[1, 0]),
        ("Photos, ", Matching::Partial, &[0]),
        ("PHOTOS", Matching::IPartial, &[1, 0]),
    ] {
        let change = |filter: &mut Filter| {
            filter.name = Some(name.into());
            filter.matching = matching;
        };
        check(&change, expected);
    }
    // Times are exact as far as the clocks of all systems are.
    let ten = Duration::from_micros(10);
    check(&|filter| filter.before = Some(pins[0].created), &[]);
    check(&|filter| filter.before = Some(pins[0].created + ten), &[2, 1, 0]);
    check(&|filter| filter.after = Some(pins[0].created - ten), &[2, 1, 0]);
    check(&|filter| filter.after = Some(pins[0].created + ten), &[]);
}

/// What is beyond the limits of the API is not sent.
#[test]
fn limits_are_held_before_anything_is_sent() {
    let web = Web::new();
    let long = "ü".repeat(256);
    let many: BTreeMap<String, String> = (0..1001).map(|n| (n.to_string(), "".into())).collect();
    let pin = |change: &dyn Fn(&mut PinOptions)| {
        let mut options = PinOptions::default();
        change(&mut options);
        web.run(web.client().pin(&cid(0), options)).map(drop)
    };
    let list = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        web.run(web.client().list(filter).try_collect::<Vec<_>>()).map(drop)
    };
    let get = |id: &str| web.run(web.client().get(id)).map(drop);
    let large = "x".repeat(1 << 16);
    for beyond in [
        pin(&|options| options.name = Some(long.clone())),
        pin(&|options| options.origins = (0..21).map(origin).collect()),
        pin(&|options| options.meta = many.clone()),
        pin(&|options| options.meta = meta(&[("a", &large)])),
        list(&|filter| filter.name = Some(long.clone())),
        list(&|filter| filter.cids = (0..11).map(cid).collect()),
        list(&|filter| filter.meta = many.clone()),
        list(&|filter| filter.meta = meta(&[("a", &large[..MAX_QUERY])])),
        list(&|filter| filter.page = 1001),
        get(&"x".repeat(513)),
    ] {
        assert!(matches!(beyond, Err(Error::Limit { .. })), "{beyond:?}");
    }
    for wrong in [
        pin(&|options| options.origins = vec!["/ip4/1.1.1.1/tcp/1".parse().unwrap()]),
        list(&|filter| filter.page = 0),
        list(&|filter| filter.statuses = vec!["lost".into()]),
        list(&|filter| filter.before = Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1))),
        get(""),
        get("."),
        get(".."),
    ] {
        assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
    }
    assert_eq!(web.sent(), [""; 0]);
    // Up to the limits the service takes it.
    pin(&|options| {
        options.name = Some("ü".repeat(255));
        options.origins = (0..20).map(origin).collect();
        options.meta = many.clone().into_iter().skip(1).collect();
    })
    .unwrap();
    list(&|filter| {
        filter.name = Some("ü".repeat(255));
        filter.cids = (0..10).map(cid).collect();
        filter.page = 1000;
        filter.statuses = ["queued", "pinning", "pinned", "failed"].map(Status::from).to_vec();
    })
    .unwrap();
}

#[test]
fn endpoints_are_checked() {
    let web = Web::new();
    let open = |endpoint: &str, token: &str, plain| {
        let mut options = Options::default();
        options.plain_http = plain;
        let runtime = Arc::new(web.runtime.clone());
        PinningService::new(runtime, Arc::new(web.clone()), endpoint, token, options)
    };
    for (endpoint, base) in [
        ("https://pin.example", "https://pin.example"),
        ("https://pin.example/api/v1/", "https://pin.example/api/v1"),
        ("https://pin.example/psa/pins/", "https://pin.example/psa"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ] {
        assert_eq!(open(endpoint, "x", false).unwrap().endpoint(), base);
    }
    for endpoint in [
        "",
        "pin.example",
        "ftp://pin.example",
        "http://pin.example",
        "http://localhost.pin.example",
        "http://10.0.0.1",
        "https://a:b@pin.example",
        "https://pin.example/?key=1",
        "https://pin.example/#a",
    ] {
        let error = open(endpoint, "x", false).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{endpoint}: {error:?}");
    }
    open("http://pin.example", "x", true).unwrap();
    for token in ["", "a b", "secret\n", "sec\u{e9}ret"] {
        let error = open("https://pin.example", token, false).unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "token", .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("sec"));
    }
}

/// What the service says goes to the caller, and may be told apart.
#[test]
fn failures_are_told() {
    let web = Web::new();
    let refused = web.run(web.client_with("another").get("a")).unwrap_err();
    let failure = Failure::of(&refused).unwrap();
    assert_eq!(failure.status, StatusCode::UNAUTHORIZED);
    assert_eq!(failure.reason.as_deref(), Some("UNAUTHORIZED"));
    assert_eq!(failure.details.as_deref(), Some("Access token is missing or invalid"));

    for (status, text, reason, details) in [
        (400, r#"{"error":{"reason":"BAD_REQUEST"}}"#, Some("BAD_REQUEST"), None),
        (403, r#"{"error":{"reason":"R","details":"D","more":[1]},"x":{}}"#, Some("R"), Some("D")),
        (409, r#"{"error":{"reason":"INSUFFICIENT_FUNDS"}}"#, Some("INSUFFICIENT_FUNDS"), None),
        (451, r#"{"error":{"details":"a\u001b[2J"}}"#, None, Some("a\u{1b}[2J")),
        (404, r#"{"error":"none"}"#, None, None),
        (418, r#"{"error":{"reason":7,"details":null}}"#, None, None),
        (500, "<html>oh</html>", None, None),
        (502, "", None, None),
        (301, "", None, None),
    ] {
        web.say_text(status, text);
        let error = web.run(web.client().list(Filter::default()).next()).unwrap().unwrap_err();
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.status.as_u16(), status);
        assert_eq!((failure.reason.as_deref(), failure.details.as_deref()), (reason, details));
        assert_eq!(failure.retry_after, None);
        assert!(failure.to_string().contains(&status.to_string()));
        assert!(!failure.to_string().contains('\u{1b}'), "{failure}");
    }
    assert!(Failure::of(&Error::TimedOut("x")).is_none());
}

#[test]
fn how_long_to_wait_is_told_in_seconds_or_as_a_date() {
    let web = Web::new();
    let wall = ipfs_core::Runtime::wall(&web.runtime);
    let at = |seconds| httpdate::fmt_http_date(wall + Duration::from_secs(seconds));
    for (header, expected) in [
        ("7".to_owned(), Some(7)),
        (" 120 ".to_owned(), Some(120)),
        (at(90), Some(90)),
        (httpdate::fmt_http_date(SystemTime::UNIX_EPOCH), Some(0)),
        ("-1".to_owned(), None),
        ("soon".to_owned(), None),
        ("99999999999999999999999".to_owned(), None),
    ] {
        let value = header.clone();
        web.say(move |_| Some(said(429, &[("retry-after", &value)], body([]))));
        let error = web.run(web.client().get("a")).unwrap_err();
        let after = Failure::of(&error).unwrap().retry_after;
        // A date is exact to the second.
        let after = after.map(|after| after.as_secs_f64().round() as u64);
        assert_eq!(after, expected, "{header}");
    }
}

/// The token of somebody was in what an application logged: the service had repeated it.
#[test]
fn the_token_is_told_to_nobody() {
    let web = Web::new();
    let text = format!(r#"{{"error":{{"reason":"{TOKEN}","details":"no such token: {TOKEN}"}}}}"#);
    web.say_text(401, text);
    let error = web.run(web.client().get("a")).unwrap_err();
    let failure = Failure::of(&error).unwrap();
    assert_eq!(failure.details.as_deref(), Some("no such token: …"));
    for said in [format!("{error:?} {failure:?} {failure}"), format!("{:?}", web.client())] {
        assert!(!said.contains(TOKEN), "{said}");
    }
    // Nor by those who show requests.
    web.say(|request| {
        assert_eq!(request.headers()["authorization"], format!("Bearer {TOKEN}"));
        assert!(!format!("{request:?}").contains(TOKEN));
        None
    });
    assert!(web.run(web.client().get("a")).is_err());
}
