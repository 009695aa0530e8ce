//! Waiting for a pin, on a virtual clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use http::{Request, Response, StatusCode};
use ipfs_core::{
    Bytes, Error, HttpBody, Runtime,
    pinning_service::{Failure, MAX_FAILURES, MAX_PAUSE, MAX_POLL, PinOptions, Status},
};

use super::{Web, body, cid, hostile::pin_with, said};

/// Says one thing after the other, the last one again and again, and notes when it was asked.
fn script(
    web: &Web,
    says: impl Fn(usize) -> Response<HttpBody> + Send + 'static,
) -> Arc<Mutex<Vec<Duration>>> {
    let (asked, start) = (Arc::new(Mutex::new(Vec::new())), web.runtime.now());
    let (times, runtime) = (asked.clone(), web.runtime.clone());
    web.say(move |_: &Request<Bytes>| {
        let mut times = times.lock().unwrap();
        times.push(runtime.now() - start);
        Some(says(times.len() - 1))
    });
    asked
}

fn ok(status: &str, info: &str) -> Response<HttpBody> {
    let pin = pin_with("a", &cid(1), &format!(r#""status":"{status}","info":{{"d":"{info}"}}"#));
    said(200, &[], body([pin.into()]))
}

/// The waits between the questions, in milliseconds.
fn waits(asked: &Mutex<Vec<Duration>>) -> Vec<u128> {
    let asked = asked.lock().unwrap();
    asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[test]
fn it_is_told_of_each_change_until_the_end() {
    let web = Web::new();
    web.run(async {
        let pin = web.client().pin(&cid(1), PinOptions::default()).await.unwrap();
        web.service.hurry();
        let seen: Vec<_> = web.client().wait(&pin.request_id).try_collect().await.unwrap();
        let statuses: Vec<&str> = seen.iter().map(|pin| pin.status.as_str()).collect();
        assert_eq!(statuses, ["queued", "pinning", "pinned"]);
        // One that is done is told once.
        let seen: Vec<_> = web.client().wait(&pin.request_id).try_collect().await.unwrap();
        assert_eq!(seen.len(), 1);
        web.service.tell(&pin.request_id, "failed", "lost");
        let seen: Vec<_> = web.client().wait(&pin.request_id).try_collect().await.unwrap();
        assert_eq!(seen[0].status, Status::Failed);
        let unknown: Vec<_> = web.client().wait("x").collect().await;
        assert!(matches!(unknown[..], [Err(Error::Unresolved(_))]), "{unknown:?}");
    });
}

#[test]
fn questions_become_rare_and_what_is_not_new_is_not_told() {
    let web = Web::new();
    let asked = script(&web, |n| match n {
        0..10 => ok("queued", ""),
        10 => ok("queued", "next"),
        11 => ok("a word of its own", ""),
        _ => ok("pinned", ""),
    });
    let seen: Vec<_> = web.run(web.client().wait("a").try_collect()).unwrap();
    let seen: Vec<(&str, &str)> =
        seen.iter().map(|pin| (pin.status.as_str(), pin.info["d"].as_str())).collect();
    let own = "a word of its own";
    assert_eq!(seen, [("queued", ""), ("queued", "next"), (own, ""), ("pinned", "")]);
    let longest = MAX_POLL.as_millis();
    let expected = [500, 1000, 2000, 4000, 8000];
    assert_eq!(waits(&asked)[..5], expected);
    assert!(waits(&asked)[5..].iter().all(|wait| *wait == longest), "{asked:?}");
}

#[test]
fn a_service_that_asks_for_patience_gets_it() {
    let web = Web::new();
    let asked = script(&web, |n| match n {
        0 => said(429, &[("retry-after", "60")], body([])),
        1 => said(503, &[("retry-after", "0")], body([])),
        2 => said(500, &[], body([])),
        _ => ok("pinned", ""),
    });
    let seen: Vec<_> = web.run(web.client().wait("a").try_collect()).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(waits(&asked), [60_000, 1000, 2000]);
}

/// With a pause of as many seconds as fit into a number the clock ran over.
#[test]
fn patience_is_bounded() {
    let web = Web::new();
    let ever = u64::MAX.to_string();
    let asked = script(&web, move |n| match n {
        0 => said(429, &[("retry-after", &ever)], body([])),
        _ => ok("pinned", ""),
    });
    let seen: Vec<_> = web.run(web.client().wait("a").try_collect()).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(waits(&asked), [MAX_PAUSE.as_millis()]);
}

#[test]
fn a_service_that_is_gone_is_given_up() {
    let web = Web::new();
    let asked = script(&web, |n| {
        assert!(n < 100, "it asks on and on");
        said(502, &[], body([]))
    });
    let seen: Vec<_> = web.run(web.client().wait("a").collect());
    assert!(
        matches!(&seen[..], [Err(error)] if Failure::of(error).unwrap().status == StatusCode::BAD_GATEWAY),
        "{seen:?}"
    );
    assert_eq!(asked.lock().unwrap().len(), MAX_FAILURES as usize + 1);
    let all: u128 = waits(&asked).iter().sum();
    assert!((60_000..120_000).contains(&all), "{all}");
    // An answer in between begins the count anew.
    let web = Web::new();
    let asked = script(&web, |n| match n {
        50 => ok("pinned", ""),
        n if n % 8 == 0 => ok("queued", ""),
        _ => said(502, &[], body([])),
    });
    let seen: Vec<_> = web.run(web.client().wait("a").try_collect()).unwrap();
    assert_eq!((seen.len(), asked.lock().unwrap().len()), (2, 51));
}

#[test]
fn what_will_not_pass_ends_it() {
    for (status, text) in [(401, ""), (403, ""), (400, ""), (200, "{}"), (200, "no JSON")] {
        let web = Web::new();
        let asked = script(&web, move |_| said(status, &[], body([text.into()])));
        let seen: Vec<_> = web.run(web.client().wait("a").collect());
        assert!(matches!(seen[..], [Err(_)]), "{seen:?}");
        assert_eq!(asked.lock().unwrap().len(), 1, "{status}");
    }
}

/// A service that takes a question and never answers.
#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let web = Web::new();
    let never = || said(200, &[], futures::stream::pending().boxed());
    let asked = script(&web, move |_| never());
    let error = web.run(web.client().get("a")).unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    let seen: Vec<_> = web.run(web.client().wait("a").collect());
    assert!(matches!(seen[..], [Err(Error::TimedOut(_))]), "{seen:?}");
    assert_eq!(asked.lock().unwrap().len(), 1 + MAX_FAILURES as usize + 1);
}
