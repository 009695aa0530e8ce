//! One request for all who want a block, bounds on what is under way, and how it ends.

use std::{
    future::ready,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use futures::{FutureExt, StreamExt, future::join_all, poll, stream};
use ipfs_bitswap::{
    Combined, HttpExchange,
    http::{Options, Scope},
};
use ipfs_traits::{
    Block, BlockSource, Bytes, Cid, Error, Exchange, HashTable, Session, TokioRuntime, conformance,
    memory::MemoryHttp,
};

use super::{
    all, one,
    web::{self, Web, body, bytes, late, never, status},
};
use crate::world::blocks;

#[test]
fn two_sessions_make_one_request_and_the_last_to_leave_ends_it() {
    let (web, block) = (Web::new(), one(20));
    let (runtime, data) = (web.runtime.clone(), block.data().clone());
    web.host("a", move |_| late(&runtime, 1000, bytes([data.clone()])));
    web.run(async {
        let exchange = web.exchange(&["a"]);
        let (one, other) = (exchange.session(None), exchange.session(None));
        let mut first = Box::pin(one.get(block.cid()));
        let mut second = Box::pin(other.get(block.cid()));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        web.settle().await;
        assert_eq!((web.sent().len(), web.open()), (1, 1));
        drop(first);
        assert_eq!((one.stats().wanted, other.stats().wanted), (0, 1));
        assert_eq!(second.await.unwrap(), block);
        assert_eq!((web.sent().len(), other.stats().blocks), (1, 1));

        let (mut first, second) = (Box::pin(one.get(block.cid())), other.get(block.cid()));
        let mut second = Box::pin(second);
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        web.settle().await;
        assert_eq!(web.open(), 1);
        drop(second);
        web.settle().await;
        assert_eq!(web.open(), 1);
        drop(first);
        web.settle().await;
        assert_eq!((web.sent().len(), web.open()), (2, 0));
        assert_eq!(one.stats().givers.iter().map(|giver| giver.in_flight).sum::<u64>(), 0);
    });
}

#[test]
fn requests_to_one_gateway_are_bounded() {
    let (web, blocks) = (Web::new(), blocks(21, 200, 100));
    let (handle, most) = (web.clone(), Arc::new(Mutex::new(0)));
    let (stock, seen) = (blocks.clone(), most.clone());
    web.host("a", move |path| {
        let mut seen = seen.lock().unwrap();
        *seen = handle.open().max(*seen);
        let cid = web::cid(path);
        let block = stock.iter().find(|block| *block.cid() == cid).unwrap();
        late(&handle.runtime, 10, bytes([block.data().clone()]))
    });
    let mut options = Options::default();
    options.requests = 7;
    web.run(async {
        let exchange = web.exchange_with(&["a"], options);
        let sessions: Vec<_> = (0..4).map(|_| exchange.session(None)).collect();
        let work = sessions.iter().zip(blocks.chunks(50)).map(|(one, blocks)| all(one, blocks));
        assert!(join_all(work).await.iter().all(|found| found.as_ref().unwrap().len() == 50));
    });
    assert_eq!(*most.lock().unwrap(), 7);
}

/// The bytes that a stream holds are bounded also when nobody reads it, and when blocks are suddenly
/// much larger than those before. All of them come in the end.
#[test]
fn what_is_not_read_is_bounded() {
    let (web, mut blocks) = (Web::new(), blocks(22, 400, 100));
    blocks.extend(crate::world::blocks(23, 60, 1 << 20));
    web.good("a", &blocks);
    let mut options = Options::default();
    options.window = 4 << 20;
    web.run(async {
        let exchange = web.exchange_with(&["a"], options.clone());
        let session = exchange.session(None);
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        let mut answers = session.get_many(stream::iter(cids).boxed());
        for _ in 0..300 {
            answers.next().await.unwrap().1.unwrap();
        }
        web.sleep(10_000).await;
        let (asked, gave) = (web.sent().len(), session.stats().givers[0].blocks);
        assert_eq!(gave, 300);
        assert!(asked > 400, "{asked}: large ones are on their way");
        let rest: Vec<_> = answers.collect().await;
        assert_eq!(rest.len(), 160);
        assert!(rest.iter().all(|(_, answer)| answer.is_ok()));
        let again = web.sent().len() - blocks.len();
        assert!(again > 10, "{again} were asked for again, since there was no room for them");
    });
}

/// The same promises where tasks run beside each other, which shows locks that wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_promises_on_several_threads() {
    let make = |blocks: &[Block]| {
        let http = MemoryHttp::new();
        http.serve("http://a.example/ipfs/bafkqaaa?format=raw", "");
        for block in blocks {
            let url = format!("http://a.example/ipfs/{}?format=raw", block.cid());
            http.serve(url, block.data().clone());
        }
        let (runtime, urls) = (Arc::new(TokioRuntime::current()?), ["http://a.example"]);
        let hashes = HashTable::standard();
        HttpExchange::new(runtime, Arc::new(http), hashes, urls, Options::default())
    };
    let race = |blocks: &[Block]| {
        let (runtime, empty) = (Arc::new(TokioRuntime::current()?), &blocks[..0]);
        let all = [make(blocks)?, make(empty)?, make(blocks)?];
        let all = all.map(|exchange| Arc::new(exchange) as Arc<dyn Exchange>);
        Ok(Combined::racing(runtime, all))
    };
    for _ in 0..20 {
        conformance::exchange(|blocks| ready(make(&blocks))).await.unwrap();
        conformance::exchange(|blocks| ready(race(&blocks))).await.unwrap();
    }
}

/// What is asked, and where it hangs when the exchange is closed.
#[test]
fn close_ends_every_wait() {
    type Hang = fn(&Web);
    let hangs: [(&str, Hang); 7] = [
        ("probe", |web| web.raw_host("a", |_| never())),
        ("head", |web| web.host("a", |_| never())),
        ("body", |web| web.host("a", |_| body(stream::pending().boxed()))),
        ("pause", |web| web.host("a", |_| web::busy(429, "50"))),
        ("pause of a probe", |web| web.raw_host("a", |_| status(500))),
        ("second piece", |web| {
            web.host("a", |_| {
                let piece = Ok(Bytes::from_static(b"x"));
                body(stream::iter([piece]).chain(stream::pending()).boxed())
            });
        }),
        ("CAR section", |web| {
            web.host("a", |path| {
                let header = Ok(ipfs_traits::car::header(&[web::cid(path)]).into());
                body(stream::iter([header]).chain(stream::pending()).boxed())
            });
        }),
    ];
    for (name, hang) in hangs {
        let (web, blocks) = (Web::new(), blocks(24, 100, 100));
        hang(&web);
        let mut options = Options::default();
        options.requests = 10;
        web.run(async {
            let exchange = web.exchange_with(&["a"], options);
            let session = exchange.session(None);
            let one = session.get(blocks[0].cid());
            let many = all(&session, &blocks);
            let car = exchange.fetch_car(blocks[0].cid(), "", Scope::All).collect::<Vec<_>>();
            let close = async {
                web.sleep(500).await;
                exchange.close().await.unwrap();
            };
            let (one, many, car, ()) = futures::join!(one, many, car, close);
            assert!(matches!(one, Err(Error::Closed(_))), "{name}: {one:?}");
            assert!(matches!(many, Err(Error::Closed(_))), "{name}: {many:?}");
            assert!(matches!(&car[..], [Err(Error::Closed(_))]), "{name}: {car:?}");
            assert_eq!(web.elapsed().as_millis(), 500, "{name}");
            web.settle().await;
            assert_eq!((web.open(), session.stats().wanted), (0, 0), "{name}");

            let late = exchange.session(None).get(blocks[1].cid()).await;
            assert!(matches!(late, Err(Error::Closed(_))), "{name}: {late:?}");
            let late: Vec<_> =
                exchange.fetch_car(blocks[0].cid(), "", Scope::All).collect::<Vec<_>>().await;
            assert!(matches!(&late[..], [Err(Error::Closed(_))]), "{name}: {late:?}");
            assert!(matches!(exchange.notify(&[]).await, Err(Error::Closed(_))));
        });
    }
}

#[test]
fn a_stream_that_is_dropped_at_any_point_leaves_nothing_behind() {
    let (web, blocks) = (Web::new(), blocks(25, 60, 100));
    let (runtime, stock) = (web.runtime.clone(), blocks.clone());
    web.host("a", move |path| {
        let cid = web::cid(path);
        let block = stock.iter().find(|block| *block.cid() == cid).unwrap();
        late(&runtime, 5, bytes([block.data().clone()]))
    });
    let mut options = Options::default();
    options.requests = 4;
    web.run(async {
        let exchange = web.exchange_with(&["a"], options);
        for millis in 0..30 {
            let session = exchange.session(None);
            let mut work = Box::pin(all(&session, &blocks));
            assert!(matches!(poll!(&mut work), Poll::Pending));
            web.sleep(millis).await;
            drop(work);
            web.settle().await;
            let stats = session.stats();
            let in_flight: u64 = stats.givers.iter().map(|giver| giver.in_flight).sum();
            assert_eq!((web.open(), stats.wanted, in_flight), (0, 0, 0));
        }
        let session = exchange.session(None);
        let found: Vec<Block> = all(&session, &blocks).await.unwrap();
        assert_eq!(found.len(), 60);
        let idle = pin!(session.get_many(stream::pending().boxed()).into_future());
        assert!(idle.now_or_never().is_none());
    });
}
