//! The exchange over HTTP: what an exchange promises, and what hostile gateways try.

mod car;
mod sharing;
mod web;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use ipfs_bitswap::http::{HttpExchange, MAX_GATEWAYS, Options};
use ipfs_traits::{
    Block, BlockSource, Bytes, Cid, Error, Exchange, Giver, HashTable, Parts, Recipe, Result,
    RuntimeExt, Session, VirtualRuntime, conformance, limits,
    memory::{MemoryHttp, peer_id},
};

use self::web::{Web, body, busy, bytes, late, never, status};
use crate::world::blocks;

fn one(seed: u64) -> Block {
    blocks(seed, 1, 100).remove(0)
}

async fn all(session: &Arc<dyn Session>, blocks: &[Block]) -> Result<Vec<Block>> {
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let answers: Vec<_> = session.get_many(stream::iter(cids).boxed()).collect().await;
    answers.into_iter().map(|(_, block)| block).collect()
}

#[test]
fn keeps_the_promises_of_an_exchange() {
    let web = Web::new();
    let runtime = Arc::new(web.runtime.clone());
    web.run(conformance::exchange(|blocks| {
        let http = MemoryHttp::new();
        // The first has every second block.
        for (at, url) in ["http://a.example/gateway", "http://b.example"].iter().enumerate() {
            http.serve(format!("{url}/ipfs/bafkqaaa?format=raw"), "");
            for block in blocks.iter().step_by(2 - at) {
                let url = format!("{url}/ipfs/{}?format=raw", block.cid());
                http.serve(url, block.data().clone());
            }
        }
        let urls = ["http://a.example/gateway/", "http://b.example"];
        let (http, hashes) = (Arc::new(http), HashTable::standard());
        let made = HttpExchange::new(runtime.clone(), http, hashes, urls, Options::default());
        async move { made }
    }))
    .unwrap();
}

#[test]
fn is_built_from_the_parts_of_a_node_and_from_urls_that_make_sense() {
    let (web, block) = (Web::new(), one(1));
    web.good("a", std::slice::from_ref(&block));
    let runtime = Arc::new(web.runtime.clone());
    let parts = Parts::new(runtime.clone(), HashTable::standard(), Arc::default(), peer_id(1));
    let recipe = HttpExchange::recipe(
        Arc::new(web.clone()),
        ["https://a.example", "https://a.example/"],
        Options::default(),
    );
    let found = web.run(async {
        let exchange = Box::new(recipe).build(&parts).await?;
        assert_eq!(format!("{exchange:?}"), r#"["https://a.example"]"#);
        exchange.session(None).get(block.cid()).await
    });
    assert_eq!(found.unwrap(), block);
    let sent = web.sent().remove(0);
    assert_eq!(sent.what, format!("GET {}?format=raw", block.cid()));
    assert_eq!(sent.accept, "application/vnd.ipld.raw");
    assert_eq!(web.all_sent()[0].what, "HEAD bafkqaaa?format=raw");

    let many = (0..=MAX_GATEWAYS).map(|i| format!("http://{i}.example")).collect();
    for urls in [
        vec![],
        vec!["ftp://a.example".to_owned()],
        vec!["/ipfs".into()],
        vec!["https://a.example?x".into()],
        vec!["https://a.example/#x".into()],
        vec!["https://me@a.example".into()],
        many,
    ] {
        let (client, hashes) = (Arc::new(web.clone()), HashTable::standard());
        let made =
            HttpExchange::new(runtime.clone(), client, hashes, urls.clone(), Options::default());
        assert!(made.is_err(), "{urls:?}");
    }
}

#[test]
fn wrong_bytes_are_not_believed_and_their_giver_is_left_alone() {
    let (web, blocks) = (Web::new(), blocks(2, 20, 100));
    web.host("a", |_| bytes(["something else".into()]));
    web.good("b", &blocks);
    web.run(async {
        let exchange = web.exchange(&["a", "b"]);
        let session = exchange.session(None);
        for block in &blocks {
            assert_eq!(session.get(block.cid()).await.unwrap(), *block);
        }
        let asked = web.sent().iter().filter(|sent| sent.host == "a.example").count();
        assert_eq!(asked, 1);
        let stats = session.stats();
        assert_eq!((stats.blocks, stats.bytes, stats.wanted), (20, 2000, 0));
        let of = |name: &str| stats.givers.iter().find(|g| g.giver == Giver::Url(name.into()));
        let (a, b) = (of("https://a.example").unwrap(), of("https://b.example").unwrap());
        assert_eq!((a.asked, a.blocks, a.failures, a.in_flight), (1, 0, 1, 0));
        assert_eq!((b.asked, b.blocks, b.bytes, b.failures), (20, 20, 2000, 0));
        assert!(b.latency.is_some());
    });
}

#[test]
fn one_that_lied_is_not_waited_for_and_comes_back_after_a_while() {
    let (web, blocks) = (Web::new(), blocks(3, 3, 100));
    web.host("a", |_| bytes(["something else".into()]));
    web.run(async {
        let session = web.exchange(&["a"]).session(None);
        let first = session.get(blocks[0].cid()).await;
        assert!(matches!(first, Err(Error::Corrupt(cid)) if cid == *blocks[0].cid()), "{first:?}");
        let second = session.get(blocks[1].cid()).await;
        assert!(matches!(second, Err(Error::Component { name: "gateway", .. })), "{second:?}");
        assert_eq!((web.sent().len(), web.elapsed().as_secs()), (1, 0));
        web.good("a", &blocks);
        web.sleep(601_000).await;
        session.get(blocks[2].cid()).await.unwrap();
    });
}

#[test]
fn no_more_than_a_block_is_read_of_a_body() {
    const PIECE: usize = 64 << 10;
    let piece = Bytes::from(vec![7; PIECE]);
    for declared in [None, Some(3 << 20), Some(usize::MAX)] {
        let (web, read) = (Web::new(), Arc::new(AtomicUsize::new(0)));
        let (count, piece) = (read.clone(), piece.clone());
        web.host("a", move |_| {
            let (count, piece) = (count.clone(), piece.clone());
            let endless = stream::repeat_with(move || {
                count.fetch_add(piece.len(), Ordering::Relaxed);
                Ok(piece.clone())
            });
            let mut answer = http::Response::builder();
            if let Some(len) = declared {
                answer = answer.header("content-length", len);
            }
            let answer = answer.body(endless.boxed()).unwrap();
            async move { Ok(answer) }.boxed()
        });
        web.run(async {
            let session = web.exchange(&["a"]).session(None);
            let answer = session.get(one(4).cid()).await;
            assert!(matches!(answer, Err(Error::Limit { .. })), "{answer:?}");
        });
        let most = if declared.is_some() { 0 } else { limits::MAX_BLOCK + PIECE };
        let read = read.load(Ordering::Relaxed);
        assert!(read <= most, "{read} bytes were read");
    }
}

#[test]
fn the_largest_block_passes() {
    let (web, block) = (Web::new(), blocks(5, 1, limits::MAX_BLOCK).remove(0));
    let data = block.data().clone();
    web.host("a", move |_| {
        let data = data.clone();
        body(stream::iter((0..32).map(move |i| Ok(data.slice(i << 16..(i + 1) << 16)))).boxed())
    });
    let found = web.run(async { web.exchange(&["a"]).session(None).get(block.cid()).await });
    assert_eq!(found.unwrap(), block);
}

/// Servers that take a place for as long as they are let.
#[test]
fn slow_servers_are_given_up_and_others_asked() {
    type Slow = fn(&VirtualRuntime) -> web::Answer;
    let hosts: [(&str, Slow, u64); 3] = [
        ("no head", |_| never(), 10),
        ("no body", |_| body(stream::pending().boxed()), 10),
        (
            "a byte now and then",
            |runtime| {
                let runtime = runtime.clone();
                let pieces = stream::unfold(runtime, |runtime| async {
                    RuntimeExt::sleep(&runtime, Duration::from_secs(9)).await;
                    Some((Ok(Bytes::from_static(b"x")), runtime))
                });
                body(pieces.boxed())
            },
            120,
        ),
    ];
    for (name, answer, seconds) in hosts {
        let (web, block) = (Web::new(), one(6));
        let runtime = web.runtime.clone();
        web.host("a", move |_| answer(&runtime));
        web.good("b", std::slice::from_ref(&block));
        web.run(async {
            let found = web.exchange(&["a", "b"]).session(None).get(block.cid()).await;
            assert_eq!(found.unwrap(), block, "{name}");
            assert_eq!(web.elapsed().as_secs(), seconds, "{name}");
            web.settle().await;
            assert_eq!(web.open(), 0);

            let alone = web.exchange(&["a"]).session(None).get(block.cid()).await;
            assert!(matches!(alone, Err(Error::TimedOut(_))), "{name}: {alone:?}");
            let most = Duration::from_secs(seconds * 4 + 4);
            assert!(web.elapsed() <= most, "{name}: {:?}", web.elapsed());
        });
    }
}

#[test]
fn what_is_absent_everywhere_is_not_found_and_a_failure_is_said() {
    let (web, block) = (Web::new(), one(7));
    web.good("a", &[]);
    web.host("gone", |_| status(410));
    for (name, code) in [("moved", 302), ("refuses", 403), ("broken", 500), ("odd", 304)] {
        web.host(name, move |_| status(code));
    }
    web.raw_host("none", |_| status(404));
    web.run(async {
        let absent = web.exchange(&["a", "gone"]).session(None).get(block.cid()).await;
        assert!(matches!(absent, Err(Error::NotFound(cid)) if cid == *block.cid()), "{absent:?}");
        assert_eq!(web.sent().len(), 2);
        for name in ["moved", "refuses", "broken", "odd", "none"] {
            let failed = web.exchange(&["a", name]).session(None).get(block.cid()).await;
            let Err(Error::Component { name: "gateway", source }) = failed else {
                panic!("{name}: {failed:?}")
            };
            assert!(source.to_string().contains(name), "{source}");
        }
        let asked = |name: &str| {
            let host = format!("{name}.example");
            web.all_sent().iter().filter(|sent| sent.host == host).count()
        };
        assert_eq!(asked("refuses"), 2, "a probe and one request");
        assert_eq!(asked("none"), 3, "probes alone");
    });
}

/// When a gateway was asked, in seconds.
fn times(web: &Web) -> Vec<u64> {
    web.sent().iter().map(|sent| sent.after.as_secs()).collect()
}

#[test]
fn pauses_grow_and_what_a_server_asks_for_is_heeded_within_bounds() {
    let giant = u64::MAX.to_string();
    for (retry, expected) in [
        (None, vec![0, 1, 3]),
        (Some("5"), vec![0, 5, 10]),
        (Some("0"), vec![0, 1, 2]),
        (Some(&*giant), vec![0, 60, 120]),
        (Some("99999999999999999999999"), vec![0, 1, 3]),
        (Some("Wed, 21 Oct 2065 07:28:00 GMT"), vec![0, 1, 3]),
    ] {
        for code in [429, 503] {
            let web = Web::new();
            let after = retry.map(str::to_owned);
            web.host("a", move |_| match &after {
                Some(after) => busy(code, after),
                None => status(code),
            });
            let failed =
                web.run(async { web.exchange(&["a"]).session(None).get(one(8).cid()).await });
            assert!(matches!(failed, Err(Error::Component { .. })), "{failed:?}");
            assert_eq!(times(&web), expected, "{retry:?}");
        }
    }
}

#[test]
fn a_gateway_that_comes_back_is_used_again() {
    let (web, blocks) = (Web::new(), blocks(9, 30, 100));
    web.host("a", |_| status(500));
    web.run(async {
        let session = web.exchange(&["a"]).session(None);
        let work = all(&session, &blocks);
        let repair = async {
            web.sleep(500).await;
            web.good("a", &blocks);
        };
        let (found, ()) = futures::join!(work, repair);
        assert_eq!(found.unwrap().len(), 30);
        assert_eq!(web.elapsed().as_secs(), 1);
    });
}

#[test]
fn a_broken_gateway_costs_the_others_little() {
    let (web, blocks) = (Web::new(), blocks(10, 500, 100));
    web.raw_host("down", |_| never());
    web.good("up", &blocks);
    web.run(async {
        let session = web.exchange(&["down", "up"]).session(None);
        assert_eq!(all(&session, &blocks).await.unwrap().len(), 500);
        let at_it = web.all_sent().iter().filter(|sent| sent.host == "down.example").count();
        assert_eq!(at_it, 1, "one probe at a time");
        assert!(web.elapsed() < Duration::from_secs(1), "{:?}", web.elapsed());
    });
}

#[test]
fn the_faster_one_gets_more_to_do() {
    let (web, blocks) = (Web::new(), blocks(11, 1000, 100));
    for (name, millis) in [("slow", 300), ("fast", 10)] {
        let (runtime, blocks) = (web.runtime.clone(), blocks.clone());
        web.raw_host(name, move |path| {
            let cid = web::cid(path);
            let block = blocks.iter().find(|block| *block.cid() == cid);
            let data = block.map(|block| block.data().clone()).unwrap_or_default();
            late(&runtime, millis, bytes([data]))
        });
    }
    web.run(async {
        let session = web.exchange(&["slow", "fast"]).session(None);
        all(&session, &blocks).await.unwrap();
        let stats = session.stats();
        let fast = stats.givers.iter().find(|g| g.giver.to_string().contains("fast")).unwrap();
        assert!(fast.blocks > 900, "{stats:?}");
        assert_eq!(fast.latency, Some(Duration::from_millis(10)));
        assert!(web.elapsed() < Duration::from_secs(1), "{:?}", web.elapsed());
    });
}
