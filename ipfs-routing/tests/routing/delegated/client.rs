//! What the client asks, and what it makes of answers.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_routing::{
    Routing,
    delegated::{Filters, HttpRouter, Lookup, Options},
};
use ipfs_traits::{Bytes, Cid, Error, HashTable, Parts, Recipe, memory::peer_id};

use super::{
    key, peer, providers, record,
    web::{Web, busy, json, ndjson, never, pieces, status, typed},
};

#[test]
fn asks_as_the_specification_says() {
    let web = Web::new();
    let router = web.router();
    web.run(async {
        assert_eq!(providers(&router, 9).await.unwrap(), []);
        router.find_peer(peer_id(1)).await.unwrap_err();
        assert_eq!(router.closest_peers(&key().to_bytes()).await.unwrap(), []);
        let name = [&b"/ipns/"[..], &peer_id(1).to_bytes()].concat();
        assert!(router.get_value(&name).next().await.is_none());
        let put = router.put_value(&name, Bytes::from_static(b"record")).await;
        assert!(matches!(put, Err(Error::Unsupported(_))), "{put:?}");
        let provided = router.provide(vec![key()]).await;
        assert!(matches!(provided, Err(Error::Unsupported(_))), "{provided:?}");
    });
    let cid = super::CID;
    let (base, accept) =
        ("https://router.example/routing/v1", "application/x-ndjson,application/json");
    let filters = "filter-protocols=unknown,transport-bitswap";
    let id = Cid::new_v1(0x72, *peer_id(1).as_ref());
    let name = id.to_string_of_base(multibase::Base::Base36Lower).unwrap();
    let expected = [
        format!("GET {base}/providers/{cid}?{filters} {accept}"),
        format!("GET {base}/peers/{id}?{filters} {accept}"),
        format!("GET {base}/dht/closest/peers/{cid}?{filters} {accept}"),
        format!("GET {base}/ipns/{name} application/vnd.ipfs.ipns-record"),
        format!("PUT {base}/ipns/{name} application/vnd.ipfs.ipns-record"),
    ];
    assert_eq!(web.sent(), expected);
}

#[test]
fn takes_both_ways_to_write_records() {
    let both = format!("{}\n\n{}", record(1), record(2));
    let list = format!("[{},{}]", record(1), record(2));
    let answers = [
        ("application/x-ndjson", both.clone()),
        ("application/x-ndjson; charset=utf-8", format!("{both}\r\n")),
        ("application/json", format!(r#"{{"Providers":{list}}}"#)),
        ("application/json", format!(r#"{{"Peers":{list},"More":[1,{{}}]}}"#)),
    ];
    for (kind, text) in answers {
        let web = Web::new();
        // One byte at a time.
        let bytes = text.clone().into_bytes();
        web.answer(move |_| {
            let bytes = bytes.clone().into_iter().map(|byte| Ok(Bytes::from(vec![byte])));
            typed(kind, stream::iter(bytes).boxed())
        });
        let found = web.run(providers(&web.router(), 9)).unwrap();
        assert_eq!(found, [peer(1), peer(2)], "{text}");
    }
    for empty in [r#"{"Providers":[]}"#, r#"{"Providers":null}"#] {
        let web = Web::new();
        web.answer(move |_| json(empty));
        assert_eq!(web.run(providers(&web.router(), 9)).unwrap(), []);
    }
}

#[test]
fn results_come_before_the_answer_ends() {
    let web = Web::new();
    web.answer(|_| {
        let first = stream::iter([Ok(Bytes::from(format!("{}\n", record(1))))]);
        typed("application/x-ndjson", first.chain(stream::pending()).boxed())
    });
    web.run(async {
        let router = web.router();
        let mut found = router.find_providers(&key(), 2);
        assert_eq!(found.next().await.unwrap().unwrap(), peer(1));
        assert_eq!((web.elapsed().as_secs(), web.open()), (0, 1));
        drop(found);
        assert_eq!(web.open(), 0, "dropping the stream ends the request");
        // As many as were wanted: nobody waits for more.
        let router = web.router();
        assert_eq!(providers(&router, 1).await.unwrap(), [peer(1)]);
        assert_eq!((web.elapsed().as_secs(), web.open()), (0, 0));
    });
}

#[test]
fn an_answer_is_kept_as_long_as_it_says() {
    let web = Web::new();
    web.answer(|_| ndjson([record(1), record(2)].join("\n")));
    let router = web.router();
    web.run(async {
        assert_eq!(providers(&router, 1).await.unwrap().len(), 1);
        assert_eq!(providers(&router, 1).await.unwrap().len(), 1);
        assert_eq!(web.sent().len(), 1, "the first is known");
        assert_eq!(providers(&router, 9).await.unwrap().len(), 2);
        assert_eq!(providers(&router, 9).await.unwrap().len(), 2);
        assert_eq!(web.sent().len(), 2, "all are known");
        web.sleep(60).await;
        assert_eq!(providers(&router, 9).await.unwrap().len(), 2);
        assert_eq!(web.sent().len(), 3, "after a minute it is asked again");
    });
    // An answer that breaks off is not an answer.
    web.answer(|_| {
        let broken = [Err(Error::TimedOut("a test"))];
        typed("application/x-ndjson", stream::iter(broken).boxed())
    });
    web.run(async {
        web.sleep(60).await;
        providers(&router, 9).await.unwrap_err();
        providers(&router, 9).await.unwrap_err();
        assert_eq!(web.sent().len(), 5);
    });
}

#[test]
fn an_endpoint_that_fails_is_left_alone_for_a_while() {
    let web = Web::new();
    let router = web.router();
    web.run(async {
        for (failure, pause) in [(500, 1), (429, 2), (503, 4), (502, 8)] {
            web.answer(move |_| status(failure));
            let before = web.sent().len();
            for _ in 0..3 {
                let error = providers(&router, 9).await.unwrap_err();
                assert!(matches!(error, Error::Component { .. }), "{error:?}");
            }
            assert_eq!(web.sent().len(), before + 1, "{failure}");
            web.sleep(pause).await;
        }
        for (asked, waited) in [("7", 7), ("100000000000", 60), ("soon", 32)] {
            web.answer(move |_| busy(429, asked));
            let before = web.sent().len();
            providers(&router, 9).await.unwrap_err();
            web.sleep(waited - 1).await;
            providers(&router, 9).await.unwrap_err();
            assert_eq!(web.sent().len(), before + 1, "{asked}");
            web.sleep(1).await;
            if asked == "7" {
                web.answer(|_| status(404));
                assert_eq!(providers(&router, 9).await.unwrap(), []);
                // It has answered: its next failure is the first again.
                for _ in 0..4 {
                    web.answer(|_| status(500));
                    providers(&router, 9).await.unwrap_err();
                    web.sleep(60).await;
                }
            }
        }
        // What an endpoint refuses or does not know is no failure of it.
        for (refusal, unsupported) in [(400, false), (422, false), (501, true), (405, true)] {
            web.answer(move |_| status(refusal));
            for _ in 0..2 {
                let error = providers(&router, 9).await.unwrap_err();
                assert_eq!(matches!(error, Error::Unsupported(_)), unsupported, "{refusal}");
            }
        }
    });
}

#[test]
fn filters_are_asked_for_and_held_against_what_comes() {
    let web = Web::new();
    let with = |n: u64, more: &str| record(n).replace('}', more);
    let lines = [
        with(1, r#","Protocols":["transport-bitswap"]}"#),
        with(2, r#","Protocols":["transport-other"]}"#),
        record(3),
    ];
    web.answer(move |_| ndjson(lines.join("\n")));
    let found = web.run(providers(&web.router(), 9)).unwrap();
    assert_eq!(found, [peer(1), peer(3)]);
    let mut options = Options::default();
    options.filters = Filters { addresses: vec!["udp".into()], protocols: Vec::new() };
    assert_eq!(web.run(providers(&web.router_with(options), 9)).unwrap(), []);
    assert!(web.sent()[1].contains("?filter-addrs=udp "), "{:?}", web.sent());
}

#[test]
fn more_is_known_of_a_record_than_where_its_peer_is() {
    let web = Web::new();
    let id = peer_id(1);
    web.answer(move |_| {
        ndjson(format!(
            r#"{{"Schema":"peer","ID":"{id}","Protocols":["transport-bitswap"],"x":{{"y":1}}}}"#
        ))
    });
    let records = web.router().records(&Lookup::Providers(key()));
    let found: Vec<_> = web.run(records.try_collect()).unwrap();
    assert_eq!((found[0].protocols.len(), found[0].extra("x")), (1, Some(r#"{"y":1}"#)));
}

#[test]
fn closing_ends_what_is_under_way() {
    let web = Web::new();
    web.answer(|_| never());
    let router = web.router();
    let mut lookup = router.find_providers(&key(), 1);
    web.run(async {
        let closing = async {
            web.sleep(1).await;
            router.close().await.unwrap();
        };
        let (found, ()) = futures::join!(lookup.next(), closing);
        assert!(matches!(found, Some(Err(Error::Closed(_)))), "{found:?}");
        assert!(lookup.next().await.is_none());
        assert!(matches!(router.find_peer(peer_id(1)).await, Err(Error::Closed(_))));
        assert_eq!(web.open(), 0);
    });
}

#[test]
fn is_built_from_the_parts_of_a_node_and_from_urls_that_make_sense() {
    let web = Web::new();
    let runtime = Arc::new(web.runtime.clone());
    let parts = Parts::new(runtime.clone(), HashTable::standard(), Arc::default(), peer_id(1));
    let recipe =
        |url: &str| HttpRouter::recipe(Arc::new(web.clone()), url.to_owned(), Options::default());
    for (url, asked) in [
        ("https://a.example", "https://a.example/routing/v1/"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80/routing/v1/"),
        ("https://a.example/b/c/", "https://a.example/b/c/routing/v1/"),
        ("https://a.example/b/routing/v1/", "https://a.example/b/routing/v1/"),
    ] {
        let router = web.run(Box::new(recipe(url)).build(&parts)).unwrap();
        web.run(router.find_peer(peer_id(1))).unwrap_err();
        let sent = web.sent().pop().unwrap();
        assert!(sent.starts_with(&format!("GET {asked}peers/")), "{sent}");
    }
    for url in ["", "a.example", "ftp://a.example", "https://a.example?b", "https://a.example#b"] {
        let error = web.run(Box::new(recipe(url)).build(&parts)).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{url}: {error:?}");
    }
}

#[test]
fn a_record_of_another_media_type_is_none() {
    let name = [&b"/ipns/"[..], &peer_id(1).to_bytes()].concat();
    for (kind, found) in
        [("application/vnd.ipfs.ipns-record", true), ("text/plain", false), ("", false)]
    {
        let web = Web::new();
        web.answer(move |_| typed(kind, pieces(Bytes::from_static(b"record"))));
        let value = web.run(web.router().get_value(&name).next());
        assert_eq!(value.is_some(), found, "{kind}");
    }
}
