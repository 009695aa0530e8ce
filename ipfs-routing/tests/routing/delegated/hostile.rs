//! What an endpoint that means harm may answer.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_routing::{
    MAX_VALUE, Routing, Validator, Validators,
    delegated::{Lookup, MAX_ANSWER, MAX_PROTOCOLS, MAX_RECORD, MAX_RECORDS, Options},
};
use ipfs_traits::{
    Bytes, Cid, Error, HttpBody, Result,
    memory::peer_id,
    network::{MAX_ADDRESS, MAX_ADDRESSES},
};

use multibase::Base;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    key, providers, record,
    web::{Web, json, ndjson, never, pieces, typed},
};

const NDJSON: &str = "application/x-ndjson";

/// The piece, again and again; the test fails if more of it is taken than anybody should.
fn endless(piece: impl Into<Bytes>) -> HttpBody {
    let piece = piece.into();
    let most = 2 * MAX_ANSWER / piece.len();
    stream::iter(0..)
        .map(move |n| {
            assert!(n < most, "it reads on and on");
            Ok(piece.clone())
        })
        .boxed()
}

async fn all(web: &Web, body: impl Fn() -> HttpBody + Send + Sync + 'static) -> Result<usize> {
    web.answer(move |_| typed(NDJSON, body()));
    let router = web.router();
    let records: Vec<_> = router.records(&Lookup::Providers(key())).try_collect().await?;
    Ok(records.len())
}

#[test]
fn records_without_end_are_taken_up_to_a_bound() {
    let web = Web::new();
    let piece = format!("{}\n", record(1));
    let taken = web.run(all(&web, move || endless(piece.clone())));
    assert_eq!(taken.unwrap(), MAX_RECORDS);
    assert_eq!(web.open(), 0, "the rest is not waited for");
}

#[test]
fn a_million_providers_are_taken_up_to_a_bound() {
    let web = Web::new();
    let million = format!("{}\n", record(1)).repeat(1000);
    let taken = web.run(all(&web, move || {
        let million = Bytes::from(million.clone());
        stream::iter(0..1000).map(move |_| Ok(million.clone())).boxed()
    }));
    assert_eq!(taken.unwrap(), MAX_RECORDS);
}

#[test]
fn a_line_without_end_is_refused() {
    let web = Web::new();
    let taken = web.run(all(&web, || endless(vec![b' '; 1000])));
    let limit = MAX_RECORD as u64;
    assert!(matches!(taken, Err(Error::Limit { limit: l, .. }) if l == limit), "{taken:?}");
}

#[test]
fn lines_that_say_nothing_are_taken_up_to_a_bound() {
    for line in ["\n", "{}\n", "[]\n1\nnull\n"] {
        let web = Web::new();
        let taken = web.run(all(&web, move || endless(line.repeat(100))));
        let limit = MAX_ANSWER as u64;
        assert!(matches!(taken, Err(Error::Limit { limit: l, .. }) if l == limit), "{taken:?}");
    }
}

#[test]
fn a_list_without_end_is_refused() {
    let web = Web::new();
    web.answer(|_| {
        let begin = stream::iter([Ok(Bytes::from_static(b"{\"Providers\":["))]);
        typed("application/json", begin.chain(endless("1,".repeat(500))).boxed())
    });
    let taken = web.run(providers(&web.router(), 9));
    assert!(matches!(taken, Err(Error::Limit { .. })), "{taken:?}");
}

#[test]
fn a_long_list_is_taken_up_to_a_bound() {
    let web = Web::new();
    let one = format!(r#"{{"Schema":"bitswap","ID":"{}"}},"#, peer_id(1));
    let list = one.repeat(MAX_RECORDS + 10);
    web.answer(move |_| json(format!(r#"{{"Providers":[{}]}}"#, list.trim_end_matches(','))));
    let found: Vec<_> =
        web.run(web.router().records(&Lookup::Providers(key())).try_collect()).unwrap();
    assert_eq!(found.len(), MAX_RECORDS);
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(MAX_RECORD / 3);
    let closed = format!("{deep}{}", "]".repeat(MAX_RECORD / 3));
    for text in [deep.clone(), closed.clone()] {
        let line = record(1).replace('}', &format!(r#","x":{text}}}"#));
        for whole in [line.clone(), text.clone(), format!(r#"{{"Providers":{text}}}"#)] {
            let (web, lines) = (Web::new(), whole.clone());
            web.answer(move |_| ndjson(lines.clone()));
            let found = web.run(providers(&web.router(), 9));
            assert!(matches!(found, Ok(_) | Err(Error::Malformed { .. })), "{found:?}");
            web.answer(move |_| json(format!(r#"{{"Providers":[{whole}]}}"#)));
            let found = web.run(providers(&web.router(), 9));
            assert!(matches!(found, Ok(_) | Err(Error::Malformed { .. })), "{found:?}");
        }
    }
}

#[test]
fn addresses_are_bounded_in_number_and_length() {
    let web = Web::new();
    let long = format!("/dns4/{}/tcp/1", "a".repeat(MAX_ADDRESS));
    let many: Vec<String> = (0..2000).map(|port| format!("\"/tcp/{port}\"")).collect();
    let addresses = format!(r#"["{long}",1,"nonsense","/tcp/99999",{}]"#, many.join(","));
    let names: Vec<String> = (0..2000).map(|n| format!("\"{n}\"")).collect();
    let id = peer_id(1);
    let line = format!(
        r#"{{"Schema":"peer","ID":"{id}","Addrs":{addresses},"Protocols":["{}",{}]}}"#,
        "a".repeat(64),
        names.join(",")
    );
    web.answer(move |_| ndjson(line.clone()));
    let mut options = Options::default();
    options.filters.protocols.clear();
    let records = web.router_with(options).records(&Lookup::Providers(key()));
    let found: Vec<_> = web.run(records.try_collect()).unwrap();
    assert_eq!(found[0].addresses.len(), MAX_ADDRESSES);
    assert!(found[0].addresses.iter().all(|address| address.len() <= MAX_ADDRESS));
    assert_eq!(found[0].protocols.len(), MAX_PROTOCOLS);
    assert!(found[0].protocols.iter().all(|name| name.len() < 64));
}

#[test]
fn a_name_without_end_is_no_name() {
    // The first is long, but otherwise right: a CID in base 2.
    let cid = Cid::new_v1(0x72, *peer_id(1).as_ref());
    for name in [cid.to_string_of_base(Base::Base2).unwrap(), "1".repeat(60_000)] {
        let web = Web::new();
        let line = format!(r#"{{"Schema":"peer","ID":"{name}"}}"#);
        web.answer(move |_| ndjson(line.clone()));
        assert_eq!(web.run(providers(&web.router(), 9)).unwrap(), []);
    }
}

#[test]
fn what_is_no_answer_is_malformed() {
    for (kind, text) in [
        ("application/x-ndjson", "<html>"),
        ("application/x-ndjson", "{\"Schema\":\"peer\"\n"),
        ("application/x-ndjson", "\u{fffd}"),
        ("application/json", ""),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", "{\"Providers\":1}"),
        ("application/json", "{\"Providers\":[}"),
        ("text/html", "<html>"),
        ("", ""),
    ] {
        let web = Web::new();
        web.answer(move |_| typed(kind, pieces(Bytes::from(text))));
        let found = web.run(providers(&web.router(), 9));
        assert!(matches!(found, Err(Error::Malformed { .. })), "{kind} {text}: {found:?}");
    }
    let web = Web::new();
    web.answer(|_| typed(NDJSON, pieces(Bytes::from_static(b"{\"\xff\":1}\n"))));
    let found = web.run(providers(&web.router(), 9));
    assert!(matches!(found, Err(Error::Malformed { .. })), "{found:?}");
}

#[test]
fn a_slow_endpoint_is_not_waited_for() {
    let web = Web::new();
    web.answer(|_| never());
    let router = web.router();
    let found = web.run(providers(&router, 9));
    assert!(matches!(found, Err(Error::TimedOut(_))), "{found:?}");
    assert_eq!((web.elapsed().as_secs(), web.open()), (15, 0));
    // It has failed, and is left alone.
    assert!(matches!(web.run(providers(&router, 9)), Err(Error::Component { .. })));
    let value = web.run(web.router().get_value(&name()).next());
    assert!(matches!(value, Some(Err(Error::TimedOut(_)))), "{value:?}");
}

#[test]
fn a_body_that_trickles_ends_with_its_time() {
    let web = Web::new();
    let runtime = web.runtime.clone();
    let drops = move || {
        let runtime = runtime.clone();
        stream::unfold((), move |()| {
            let runtime = runtime.clone();
            async move {
                ipfs_traits::RuntimeExt::sleep(&runtime, Duration::from_secs(1)).await;
                Some((Ok(Bytes::from_static(b" ")), ()))
            }
        })
        .boxed()
    };
    let body = drops.clone();
    let taken = web.run(all(&web, drops));
    assert!(matches!(taken, Err(Error::TimedOut(_))), "{taken:?}");
    assert_eq!((web.elapsed().as_secs(), web.open()), (15, 0));
    web.answer(move |_| typed("application/vnd.ipfs.ipns-record", body()));
    let value = web.run(web.router().get_value(&name()).next());
    assert!(matches!(value, Some(Err(Error::TimedOut(_)))), "{value:?}");
    assert_eq!((web.elapsed().as_secs(), web.open()), (30, 0));
}

fn name() -> Vec<u8> {
    [&b"/ipns/"[..], &peer_id(1).to_bytes()].concat()
}

/// Values that begin with `ok` are valid, and the longer one is better.
#[derive(Debug)]
pub(super) struct Longest;

impl Validator for Longest {
    fn validate(&self, _: &[u8], value: &[u8], _: std::time::SystemTime) -> Result<()> {
        match value.starts_with(b"ok") {
            true => Ok(()),
            false => Err(Error::malformed("test value", "it is not ok")),
        }
    }

    fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
        new.len() > old.len()
    }
}

#[test]
fn records_are_bounded_and_held_against_the_rules() {
    let web = Web::new();
    web.answer(|_| typed("application/vnd.ipfs.ipns-record", endless(vec![1; 1000])));
    let value = web.run(web.router().get_value(&name()).next());
    let limit = MAX_VALUE as u64;
    assert!(matches!(value, Some(Err(Error::Limit { limit: l, .. })) if l == limit), "{value:?}");
    let long = web.run(web.router().put_value(&name(), vec![0; MAX_VALUE + 1].into()));
    assert!(matches!(long, Err(Error::Limit { .. })), "{long:?}");

    web.answer(|_| {
        typed("application/vnd.ipfs.ipns-record", pieces(Bytes::from_static(b"forged")))
    });
    let mut options = Options::default();
    options.validators = Validators::new().with("ipns", Longest);
    let router = web.router_with(options);
    let value = web.run(router.get_value(&name()).next());
    assert!(matches!(value, Some(Err(Error::Malformed { .. }))), "{value:?}");
    let before = web.sent().len();
    let put = web.run(router.put_value(&name(), Bytes::from_static(b"forged")));
    assert!(matches!(put, Err(Error::Malformed { .. })), "{put:?}");
    assert_eq!(web.sent().len(), before, "an invalid record is not sent");
}

proptest! {
    /// Bytes of any kind, and pieces of records in any order.
    #[test]
    fn any_answer_is_read_without_harm(
        parts in vec(part(), 0..40),
        cut in 0_u8..40,
    ) {
        super::any::delegated(&[vec![cut], parts.concat()].concat());
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let cuts = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\n",
        "\r\n",
        "\"",
        "\\",
        "null",
        "1e999",
        "\"\\ud800\"",
        "{\"Providers\":[",
        "{\"Peers\":[",
        "]}",
        "{\"Providers\":null}",
    ];
    let cuts = cuts.map(|text| text.as_bytes().to_vec());
    prop_oneof![
        4 => select(cuts.to_vec()),
        8 => vec(select(fields()), 0..6).prop_map(|fields| format!("{{{}}}", fields.join(",")).into_bytes()),
        1 => vec(any::<u8>(), 0..8),
    ]
}

fn fields() -> Vec<String> {
    let id = peer_id(1);
    let fields = [
        "\"Schema\":\"peer\"",
        "\"Schema\":\"bitswap\"",
        "\"Schema\":1",
        "\"Protocol\":\"a\"",
        "\"Addrs\":[\"/tcp/1\",\"/x\",1]",
        "\"Addrs\":{}",
        "\"Protocols\":[\"a\",\"\\n\"]",
        "\"x\":{\"y\" :\n1}",
        "\"\\\"\":\"\\n\"",
        "\"y\":\r[[[]]]",
    ];
    let mut fields: Vec<String> = fields.map(Into::into).into();
    fields.push(format!("\"ID\":\"{id}\""));
    fields.extend(
        ["peer", "bitswap"].map(|schema| format!("\"Schema\":\"{schema}\",\"ID\":\"{id}\"")),
    );
    fields
}
