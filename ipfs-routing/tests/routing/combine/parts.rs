//! Routers that do a part of what another does.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use ipfs_routing::{
    Routing,
    combine::{Cached, CachedOptions, Call, Limited, Static},
};
use ipfs_traits::{
    Bytes, Error, Result, RuntimeExt, VirtualRuntime, conformance,
    memory::{RoutingTable, peer_id},
};

use super::{Fake, broken, key, peer, providers, run};

#[test]
fn keep_the_promises_of_a_router() {
    let runtime = VirtualRuntime::new();
    let handle = Arc::new(runtime.clone());
    let known = || Arc::new(RoutingTable::new().join(peer(1, &[1])));
    let cached = || {
        let cached = Cached::new(handle.clone(), known(), CachedOptions::default());
        async move { Ok(cached) }
    };
    run(&runtime, conformance::routing(cached)).unwrap();
    let limited = || {
        let calls = [Call::FindProviders, Call::GetValue("test"), Call::PutValue("test")];
        let limited = Limited::new(known(), calls);
        async move { Ok(limited) }
    };
    run(&runtime, conformance::routing(limited)).unwrap();
    run(&runtime, conformance::routing(|| async { Ok(Static::default()) })).unwrap();
}

#[test]
fn what_is_not_allowed_is_not_supported() {
    let runtime = VirtualRuntime::new();
    let fake = Fake::new(&runtime, 0);
    let supported = |calls: &[Call]| {
        let router = Limited::new(Arc::new(fake.clone()), calls.iter().copied());
        let ok = |answer: Result<()>| !matches!(answer, Err(Error::Unsupported(_)));
        run(&runtime, async {
            let providers: Result<Vec<_>> = router.find_providers(&key(), 1).try_collect().await;
            let get = async |key: &[u8]| match router.get_value(key).next().await {
                None => Ok(()),
                Some(value) => value.map(drop),
            };
            let put = async |key: &[u8]| router.put_value(key, Bytes::new()).await;
            [
                ok(providers.map(drop)),
                ok(router.provide(vec![]).await),
                ok(router.find_peer(peer_id(1)).await.map(drop)),
                ok(router.closest_peers(b"").await.map(drop)),
                ok(get(b"/ipns/x").await),
                ok(get(b"/ipns").await),
                ok(get(b"/ipnsx/x").await),
                ok(put(b"/ipns/x").await),
                ok(put(b"ipns/x").await),
            ]
        })
    };
    let cases = [
        (vec![], vec![]),
        (vec![Call::FindProviders], vec![0]),
        (vec![Call::Provide, Call::FindPeer], vec![1, 2]),
        (vec![Call::ClosestPeers], vec![3]),
        (vec![Call::GetValue("ipns")], vec![4]),
        (vec![Call::PutValue("ipns"), Call::GetValue("pk")], vec![7]),
        (vec![Call::PutValue(""), Call::GetValue("")], vec![]),
    ];
    for (calls, expected) in cases {
        let allowed = supported(&calls);
        let allowed: Vec<usize> = (0..9).filter(|at| allowed[*at]).collect();
        assert_eq!(allowed, expected, "{calls:?}");
    }
}

#[test]
fn what_is_known_beforehand_is_found() {
    let runtime = VirtualRuntime::new();
    let known = Static::new([peer(1, &[1])])
        .with_provider(key(), peer_id(1))
        .with_provider(key(), peer_id(2));
    assert_eq!(providers(&runtime, &known, 9).unwrap(), [peer(1, &[1]), peer(2, &[])]);
    assert_eq!(providers(&runtime, &known, 1).unwrap(), [peer(1, &[1])]);
    assert_eq!(run(&runtime, known.find_peer(peer_id(1))).unwrap(), peer(1, &[1]));
    let unknown = run(&runtime, known.find_peer(peer_id(2)));
    assert!(matches!(unknown, Err(Error::Unreachable(..))), "{unknown:?}");
}

#[test]
fn what_was_found_is_remembered_for_a_while() {
    let runtime = VirtualRuntime::new();
    let sleep = |seconds| run(&runtime, runtime.sleep(Duration::from_secs(seconds)));
    let cached = |fake: &Fake| {
        Cached::new(Arc::new(runtime.clone()), Arc::new(fake.clone()), CachedOptions::default())
    };
    let fake = Fake::new(&runtime, 0).peers((1..6).map(|n| peer(n, &[1])));
    let router = cached(&fake);
    for (wait, want, calls) in [
        (0, 2, 1),
        (0, 2, 1),   // known
        (0, 1, 1),   // a part of it
        (0, 9, 2),   // more than is known
        (0, 9, 2),   // that is all
        (0, 99, 2),  // and there are no more
        (299, 9, 2), // still known
        (1, 9, 3),   // no longer
    ] {
        sleep(wait);
        assert_eq!(providers(&runtime, &router, want).unwrap().len(), want.min(5));
        assert_eq!(fake.calls(), calls, "after {wait} for {want}");
    }
    for (wait, calls) in [(0, 4), (299, 4), (1, 5)] {
        sleep(wait);
        run(&runtime, router.find_peer(peer_id(1))).unwrap();
        assert_eq!(fake.calls(), calls);
    }

    // That there is nothing, too, but not for so long.
    let fake = Fake::new(&runtime, 0);
    let router = cached(&fake);
    for (wait, calls) in [(0, 2), (14, 2), (1, 4)] {
        sleep(wait);
        assert_eq!(providers(&runtime, &router, 9).unwrap(), []);
        run(&runtime, router.find_peer(peer_id(1))).unwrap_err();
        assert_eq!(fake.calls(), calls);
    }

    // Nothing of a failure.
    let fake = Fake::new(&runtime, 0).fails(broken());
    let router = cached(&fake);
    for calls in [2, 4] {
        providers(&runtime, &router, 9).unwrap_err();
        run(&runtime, router.find_peer(peer_id(1))).unwrap_err();
        assert_eq!(fake.calls(), calls);
    }
}
