//! What a service that means harm may answer.

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_core::{
    Bytes, Cid, Error, HttpBody,
    network::MAX_ADDRESS,
    pinning_service::{Filter, MAX_ANSWER, MAX_META, MAX_PROVIDERS, PinOptions, PinStatus},
};
use proptest::prelude::*;

use super::{Web, body, cid, said};

/// A pin as a service writes it.
pub(super) fn pin(id: &str, cid: &Cid) -> String {
    pin_with(id, cid, r#""status":"pinned""#)
}

/// The same, with other fields: what stands last counts.
pub(super) fn pin_with(id: &str, cid: &Cid, fields: &str) -> String {
    format!(
        r#"{{"requestid":"{id}","status":"queued","created":"2020-07-27T17:32:28.276Z","pin":{{"cid":"{cid}"}},"delegates":[],{fields}}}"#
    )
}

fn page(count: u64, pins: &[String]) -> String {
    format!(r#"{{"count":{count},"results":[{}]}}"#, pins.join(","))
}

fn get(text: impl Into<Bytes>) -> Result<PinStatus, Error> {
    let web = Web::new();
    web.say_text(200, text);
    web.run(web.client().get("a"))
}

async fn all(web: &Web) -> Result<usize, Error> {
    web.client().list(Filter::default()).try_collect::<Vec<_>>().await.map(|pins| pins.len())
}

/// The piece, again and again; the test fails if more of it is taken than anybody should.
fn endless(piece: &'static [u8]) -> HttpBody {
    let most = 2 * MAX_ANSWER / piece.len();
    stream::iter(0..)
        .map(move |n| {
            assert!(n < most, "it reads on and on");
            Ok(Bytes::from_static(piece))
        })
        .boxed()
}

#[test]
fn answers_without_end_are_refused() {
    for status in [200, 202] {
        let web = Web::new();
        web.say(move |_| Some(said(status, &[], endless(&[b' '; 1000]))));
        let got = web.run(web.client().get("a"));
        assert!(matches!(got, Err(Error::Limit { .. })), "{got:?}");
        let got = web.run(web.client().pin(&cid(1), PinOptions::default()));
        assert!(matches!(got, Err(Error::Limit { .. })), "{got:?}");
        let got = web.run(all(&web));
        assert!(matches!(got, Err(Error::Limit { .. })), "{got:?}");
    }
}

/// What went wrong is told with the status alone then.
#[test]
fn failures_without_end_are_refused() {
    let web = Web::new();
    web.say(|_| {
        let begin = stream::iter([Ok(Bytes::from_static(b"{\"error\":{\"reason\":\""))]);
        Some(said(400, &[], begin.chain(endless(&[b'x'; 1000])).boxed()))
    });
    let error = web.run(web.client().get("a")).unwrap_err();
    let failure = ipfs_core::pinning_service::Failure::of(&error).unwrap();
    assert_eq!((failure.status.as_u16(), &failure.reason), (400, &None));
}

/// There is nothing to say about a pin that is gone.
#[test]
fn what_is_said_of_a_removal_is_not_read() {
    let web = Web::new();
    web.say(|_| Some(said(202, &[], endless(&[b'x'; MAX_ANSWER]))));
    web.run(web.client().remove("a")).unwrap();
}

/// A service that repeats its pages, or makes ever new ones of the same time, held those who read to
/// the end.
#[test]
fn pages_that_do_not_go_on_are_refused() {
    for pins in [1, 2, 100] {
        let web = Web::new();
        let pins: Vec<String> = (0..pins).map(|n| pin(&n.to_string(), &cid(n))).collect();
        let mut pages = 0;
        web.say(move |_| {
            pages += 1;
            assert!(pages < 10, "it reads on and on");
            Some(said(200, &[], body([page(u64::MAX, &pins).into()])))
        });
        let got = web.run(all(&web));
        assert!(matches!(got, Err(Error::Malformed { .. })), "{got:?}");
    }
    for pins in [vec![], vec!["{}".to_owned()]] {
        let (web, mut pages) = (Web::new(), 0);
        web.say(move |_| {
            pages += 1;
            assert!(pages < 10, "it reads on and on");
            Some(said(200, &[], body([page(7, &pins).into()])))
        });
        let seen: Vec<_> = web.run(web.client().list(Filter::default()).collect());
        assert!(matches!(seen[..], [Err(Error::Malformed { .. })]), "{seen:?}");
    }
}

#[test]
fn a_page_of_more_than_the_api_allows_is_refused() {
    let web = Web::new();
    let pins: Vec<String> = (0..1001).map(|n| pin(&n.to_string(), &cid(n))).collect();
    web.say_text(200, page(1001, &pins));
    let got = web.run(all(&web));
    assert!(matches!(got, Err(Error::Limit { limit: 1000, .. })), "{got:?}");
    web.say_text(200, page(1000, &pins[1..]));
    assert_eq!(web.run(all(&web)).unwrap(), 1000);
}

/// One pin whose CID nobody here can read kept all others from being listed.
#[test]
fn a_pin_that_cannot_be_read_keeps_no_other_from_it() {
    let web = Web::new();
    let longer = "z".to_owned() + &"1".repeat(200);
    let pins = [
        pin("a", &cid(1)),
        pin_with("b", &cid(2), &format!(r#""pin":{{"cid":"{longer}"}}"#)),
        "null".to_owned(),
        pin("c", &cid(3)),
    ];
    web.say_text(200, page(4, &pins));
    let seen: Vec<_> = web.run(web.client().list(Filter::default()).collect());
    let ids: Vec<Option<&str>> =
        seen.iter().map(|pin| pin.as_ref().ok().map(|pin| &*pin.request_id)).collect();
    assert_eq!(ids, [Some("a"), None, None, Some("c")]);
}

#[test]
fn what_is_no_pin_is_refused() {
    for text in ["", "null", "1", "[]", "{}", "\"a\"", "{\"requestid\":\"a\"", "\u{0}"] {
        assert!(matches!(get(text), Err(Error::Malformed { .. })), "{text}");
    }
    assert!(matches!(get(&b"\"\xff\""[..]), Err(Error::Malformed { .. })));
    for fields in [
        r#""requestid":1"#,
        r#""requestid":null"#,
        r#""status":7"#,
        r#""status":null"#,
        r#""created":"yesterday""#,
        r#""created":1595871148"#,
        r#""created":"2020-02-30T00:00:00Z""#,
        r#""pin":null"#,
        r#""pin":{}"#,
        r#""pin":{"cid":"x"}"#,
        r#""pin":{"cid":1}"#,
    ] {
        let got = get(pin_with("a", &cid(1), fields));
        assert!(matches!(got, Err(Error::Malformed { .. })), "{fields}: {got:?}");
    }
    let web = Web::new();
    for text in [
        "{}",
        "[]",
        r#"{"count":1}"#,
        r#"{"count":-1,"results":[]}"#,
        r#"{"results":[]}"#,
        r#"{"count":1,"results":{}}"#,
        r#"{"count":"1","results":[]}"#,
    ] {
        web.say_text(200, text);
        let got = web.run(all(&web));
        assert!(matches!(got, Err(Error::Malformed { .. })), "{text}: {got:?}");
    }
}

/// What the API does not have is passed over, and what services leave out or write otherwise is
/// understood.
#[test]
fn services_are_not_all_alike() {
    let odd = format!(
        r#"{{"requestid":"a","status":"frozen","created":"2020-07-27T19:32:28.276+02:00","more":[{{}}],
        "pin":{{"cid":"{}","name":null,"meta":null,"origins":null,"x":1}},
        "info":{{"dag_size":12,"deep":{{"a":[1]}},"none":null}}}}"#,
        cid(1)
    );
    let pin = get(odd).unwrap();
    assert_eq!((pin.status.as_str(), pin.status.is_final()), ("frozen", false));
    assert_eq!((pin.name, pin.meta.len(), pin.delegates.len()), (None, 0, 0));
    assert_eq!(pin.info["dag_size"], "12");
    assert_eq!(pin.info["deep"], r#"{"a":[1]}"#);
    assert_eq!(ipfs_core::rfc3339::format(pin.created).unwrap(), "2020-07-27T17:32:28.276000000Z");
    assert_eq!(get(self::pin("a", &cid(1)) + "\n").unwrap().status.as_str(), "pinned");
}

/// The name of a request becomes a part of a URL: by `..` the service could have had something else
/// removed than its pin.
#[test]
fn names_of_requests_lead_nowhere_else() {
    let long = "x".repeat(513);
    for id in ["", ".", "..", &long] {
        let web = Web::new();
        web.say_text(202, pin(id, &cid(1)));
        let got = web.run(web.client().pin(&cid(1), PinOptions::default()));
        assert!(matches!(got, Err(Error::Malformed { .. })), "{id}: {got:?}");
    }
    for (id, escaped) in
        [("../x", "..%2Fx"), ("a?b#c", "a%3Fb%23c"), ("%2e%2e", "%252e%252e"), ("ü\n", "%C3%BC%0A")]
    {
        let web = Web::new();
        web.say_text(200, "");
        let _ = web.run(web.client().get(id));
        assert_eq!(web.sent(), [format!("GET https://pin.example/pins/{escaped}")]);
    }
}

#[test]
fn answers_about_something_else_are_refused() {
    let got = get(pin("b", &cid(1)));
    assert!(matches!(got, Err(Error::Malformed { .. })), "{got:?}");
    let web = Web::new();
    web.say_text(202, pin("a", &cid(2)));
    let got = web.run(web.client().pin(&cid(1), PinOptions::default()));
    assert!(matches!(got, Err(Error::Malformed { .. })), "{got:?}");
    let got = web.run(web.client().replace("b", &cid(1), PinOptions::default()));
    assert!(matches!(got, Err(Error::Malformed { .. })), "{got:?}");
}

#[test]
fn delegates_are_bounded_in_number_and_length() {
    let long = format!("/dns4/{}/tcp/1", "a".repeat(MAX_ADDRESS));
    let many: Vec<String> = (0..2000).map(|port| format!("\"/tcp/{port}\"")).collect();
    let list = format!(r#""delegates":["{long}",1,"nonsense","/tcp/99999",{}]"#, many.join(","));
    let found = get(pin_with("a", &cid(1), &list)).unwrap().delegates;
    assert_eq!(found.len(), MAX_PROVIDERS);
    assert_eq!(found[0].to_string(), "/tcp/0");
    for list in ["null", "{}", "7", "\"/tcp/1\""] {
        let text = pin_with("a", &cid(1), &format!(r#""delegates":{list}"#));
        assert_eq!(get(text).unwrap().delegates, []);
    }
}

#[test]
fn names_and_entries_are_bounded() {
    let entries = |count: usize| {
        let entries: Vec<String> = (0..count).map(|n| format!(r#""{n}":"x""#)).collect();
        format!("{{{}}}", entries.join(","))
    };
    let (most, more) = (entries(MAX_META), entries(MAX_META + 1));
    let cid = cid(1);
    for fields in [
        format!(r#""info":{more}"#),
        format!(r#""pin":{{"cid":"{cid}","meta":{more}}}"#),
        format!(r#""pin":{{"cid":"{cid}","name":"{}"}}"#, "x".repeat(256)),
        format!(r#""pin":{{"cid":"z{}"}}"#, "1".repeat(100_000)),
    ] {
        let got = get(pin_with("a", &cid, &fields));
        assert!(matches!(got, Err(Error::Limit { .. })), "{got:?}");
    }
    let fields = format!(r#""info":{most},"pin":{{"cid":"{cid}","name":"{}"}}"#, "ü".repeat(255));
    assert_eq!(get(pin_with("a", &cid, &fields)).unwrap().info.len(), MAX_META);
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(MAX_ANSWER / 3);
    let closed = format!("{deep}{}", "]".repeat(MAX_ANSWER / 3));
    let objects = "{\"a\":".repeat(MAX_ANSWER / 6);
    for text in [&deep, &closed, &objects] {
        assert!(get(text.clone()).is_err());
        for field in ["more", "info", "pin", "delegates", "status"] {
            let got = get(pin_with("a", &cid(1), &format!(r#""{field}":{text}"#)));
            assert!(matches!(got, Ok(_) | Err(Error::Malformed { .. })), "{field}");
        }
        let got = get(pin_with("a", &cid(1), &format!(r#""info":{{"x":{text}}}"#)));
        assert!(matches!(got, Ok(_) | Err(Error::Malformed { .. })));
        let web = Web::new();
        web.say_text(200, format!(r#"{{"count":1,"results":{text}}}"#));
        assert!(web.run(all(&web)).is_err());
        web.say_text(400, format!(r#"{{"error":{text}}}"#));
        assert!(web.run(all(&web)).is_err());
    }
}

proptest! {
    /// No answer is a panic, whatever it is.
    #[test]
    fn any_bytes_are_an_answer_or_an_error(
        status in 200_u16..600,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..200,
        byte in any::<u8>(),
    ) {
        let mut changed = pin("a", &cid(1)).into_bytes();
        let at = at % changed.len();
        changed[at] = byte;
        for bytes in [bytes, changed] {
            let web = Web::new();
            web.say_text(status, bytes);
            let _ = web.run(web.client().get("a"));
            let _ = web.run(web.client().pin(&cid(1), PinOptions::default()));
            let _ = web.run(all(&web));
        }
    }
}
