//! Routers, disks, sources and clocks that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use ipfs_routing::provide::{Nothing, Options, from_fn};
use ipfs_traits::{Batch, Datastore, Error, Multihash};

use super::world::{HOUR, INTERVAL, World, counts, each_once, key, keys, region, source};
use crate::numbers::Numbers;

#[test]
fn an_outage_of_thirty_hours_is_waited_for_and_made_up_for() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let provider = world.provider(source(&all)).await;
        world.sleep(HOUR * 11).await;
        world.router.calls();
        let offline = Arc::new(AtomicBool::new(true));
        let fails = offline.clone();
        world.router.fails(move |_| fails.load(Ordering::Relaxed));
        world.sleep(HOUR * 30).await;
        provider.announce(keys(20_000..20_100)).await.unwrap();
        assert!(provider.stats().completes.is_none());
        let tries = world.router.calls().len();
        println!("{tries} tries in thirty hours");
        assert!(tries <= 30 * 12 + 6, "{tries}");
        offline.store(false, Ordering::Relaxed);
        world.sleep(Duration::from_secs(301)).await;
        let calls = world.router.calls();
        let seen = counts(&calls);
        assert!(keys(20_000..20_100).iter().all(|key| seen.contains_key(key)));
        assert!(all.iter().all(|key| seen.get(key) == Some(&1)));
        assert_eq!(provider.stats().failing, 0);
    });
}

/// What the probes leave behind must not delay what can be announced again.
#[test]
fn a_node_with_few_keys_comes_back_within_five_minutes() {
    World::run(async |world| {
        let offline = Arc::new(AtomicBool::new(true));
        let fails = offline.clone();
        world.router.fails(move |_| fails.load(Ordering::Relaxed));
        let provider = world.provider(Nothing).await;
        provider.announce(keys(0..4)).await.unwrap();
        world.sleep(HOUR * 30 + HOUR / 2).await;
        offline.store(false, Ordering::Relaxed);
        world.sleep(Duration::from_secs(301)).await;
        assert_eq!(provider.stats().queued, 0);
    });
}

#[test]
fn a_region_that_fails_holds_up_nobody() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let bad = |key: &Multihash| (64..68).contains(&region(key));
        world.router.fails(move |keys| keys.iter().any(bad));
        let provider = world.provider(source(&all)).await;
        world.sleep(INTERVAL).await;
        let calls = world.router.calls();
        let good: Vec<_> = all.iter().copied().filter(|key| !bad(key)).collect();
        each_once(&counts(&calls), &good);
        assert_eq!(provider.stats().failing, 4);
        let tries = calls.iter().filter(|call| call.failed).count();
        println!("{tries} tries of four regions in 22 hours");
        assert!((4 * 10..4 * 40).contains(&tries), "{tries}");
        let last = calls.iter().rev().find(|call| !call.failed).unwrap();
        assert!(region(&last.keys[0]) == 255);
        world.router.fails(|_| false);
        world.sleep(HOUR * 2).await;
        assert_eq!(provider.stats().failing, 0);
    });
}

/// A router that never answers holds its place for a quarter of an hour.
#[test]
fn a_router_that_does_not_answer_is_given_up() {
    World::run(async |world| {
        let provider = world.provider(Nothing).await;
        world.router.takes(HOUR * 1000);
        provider.announce([key(1)]).await.unwrap();
        world.sleep(HOUR / 2).await;
        assert!(matches!(provider.stats().last_error, Some(Error::TimedOut(_))));
        world.router.takes(Duration::ZERO);
        world.sleep(HOUR).await;
        assert_eq!(provider.stats().queued, 0);
    });
}

#[test]
fn a_disk_that_fails_is_tried_again() {
    World::run(async |world| {
        let all = keys(0..10_000);
        world.disk.reads.store(0, Ordering::Relaxed);
        assert!(world.spawn(source(&all), Options::default()).await.is_err());
        world.disk.reads.store(usize::MAX, Ordering::Relaxed);
        world.disk.commits.store(1, Ordering::Relaxed);
        let provider = world.provider(source(&all)).await;
        world.sleep(HOUR).await;
        assert!(provider.stats().began.is_none());
        assert!(matches!(provider.stats().last_error, Some(Error::Component { .. })));
        assert!(provider.sweep_now().await.is_err());
        world.disk.commits.store(usize::MAX, Ordering::Relaxed);
        world.sleep(HOUR * 2).await;
        assert!(provider.stats().began.is_some());
        // Neither is an hour without reads, nor one without writes, the end of a cycle.
        world.disk.reads.store(0, Ordering::Relaxed);
        world.sleep(HOUR).await;
        assert!(provider.stats().failing > 0);
        world.disk.reads.store(usize::MAX, Ordering::Relaxed);
        world.sleep(HOUR * 3).await;
        world.disk.commits.store(0, Ordering::Relaxed);
        world.sleep(HOUR).await;
        world.disk.commits.store(usize::MAX, Ordering::Relaxed);
        world.sleep(HOUR * 14 - Duration::from_secs(60)).await;
        each_once(&world.router.counts(), &all);
        assert_eq!(provider.stats().failing, 0);
    });
}

#[test]
fn what_the_disk_holds_is_checked() {
    World::run(async |world| {
        let newer = [&[2_u8][..], &[0; 40]].concat();
        for (state, is_newer) in
            [(vec![], false), (vec![1; 40], false), (vec![1; 42], false), (newer, true)]
        {
            let batch = Batch::new().put("provide/state", state.clone());
            world.disk.table.commit(batch).await.unwrap();
            let error = world.spawn(Nothing, Options::default()).await.unwrap_err();
            assert_eq!(matches!(error, Error::Newer { found: 2, known: 1, .. }), is_newer);
            assert_eq!(matches!(error, Error::Malformed { .. }), !is_newer, "{state:?}");
        }
        world.disk.table.commit(Batch::new().delete("provide/state")).await.unwrap();
        let provider = world.provider(source(&keys(0..100))).await;
        world.sleep(HOUR).await;
        drop(provider);
        // Any numbers are a state; a key that is none is said to be so.
        let wild = [&[1_u8][..], &[0xff; 40]].concat();
        let batch = Batch::new().put("provide/state", wild).put("provide/done/\0", vec![0xff; 999]);
        world.disk.table.commit(batch).await.unwrap();
        let provider = world.provider(source(&keys(0..100))).await;
        world.sleep(INTERVAL * 2).await;
        assert_eq!(world.router.counts().len(), 100);
        drop(provider);
        world.disk.table.commit(Batch::new().put("provide/new/x", "")).await.unwrap();
        let error = world.spawn(Nothing, Options::default()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    });
}

#[test]
fn a_source_that_fails_makes_nothing_forgotten() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let (broken, listed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (fails, tries, known) = (broken.clone(), listed.clone(), all.clone());
        let flaky = from_fn(move || {
            tries.fetch_add(1, Ordering::Relaxed);
            let mut pages = vec![Ok(known[..5000].to_vec()), Ok(known[5000..].to_vec())];
            if fails.load(Ordering::Relaxed) {
                pages[1] = Err(Error::TimedOut("the source"));
            }
            stream::iter(pages).boxed()
        });
        let provider = world.provider(flaky).await;
        world.sleep(HOUR).await;
        // Not known to be whole, so nothing is said to be all.
        assert!(world.router.calls().is_empty());
        let tries = listed.load(Ordering::Relaxed);
        assert!((5..8).contains(&tries), "{tries}");
        assert!(provider.sweep_now().await.is_err());
        broken.store(false, Ordering::Relaxed);
        provider.sweep_now().await.unwrap();
        each_once(&world.router.counts(), &all);
        broken.store(true, Ordering::Relaxed);
        world.sleep(INTERVAL * 3).await;
        world.router.calls();
        world.sleep(INTERVAL).await;
        each_once(&world.router.counts(), &all);
        assert!(matches!(provider.stats().last_error, Some(Error::TimedOut(_))));
    });
}

/// Twice the same and in no order; without an end; without keys; without an answer.
#[test]
fn a_source_may_do_as_it_likes() {
    World::run(async |world| {
        let all = keys(0..20_000);
        let mut odd: Vec<_> = all.iter().chain(&all).copied().collect();
        let mut numbers = Numbers(1);
        for at in (1..odd.len()).rev() {
            odd.swap(at, numbers.below(at as u64 + 1) as usize);
        }
        odd.push(Multihash::wrap(0, b"hello").unwrap());
        let provider = world.provider(source(&odd)).await;
        world.sleep(INTERVAL).await;
        each_once(&world.router.counts(), &all);
        assert_eq!(provider.stats().known, 20_000);
        drop(provider);

        let mut options = Options::default();
        options.keys = 30_000;
        let endless = from_fn(|| stream::iter(0..).map(|at| Ok(keys(at * 7..at * 7 + 7))).boxed());
        let provider = world.spawn(endless, options.clone()).await.unwrap();
        world.sleep(INTERVAL).await;
        assert!(matches!(provider.stats().last_error, Some(Error::Limit { limit: 30_000, .. })));
        let known = provider.stats().known;
        assert!((25_000..=30_000).contains(&known), "{known}");
        drop(provider);

        let empty = from_fn(|| stream::repeat_with(|| Ok(Vec::new())).boxed());
        let provider = world.spawn(empty, options).await.unwrap();
        provider.sweep_now().await.unwrap();
        assert_eq!(provider.stats().known, 0);
        drop(provider);

        let silent = from_fn(|| stream::pending().boxed());
        let provider = world.provider(silent).await;
        provider.announce(keys(0..10)).await.unwrap();
        let before = world.router.now();
        let error = provider.sweep_now().await.unwrap_err();
        assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
        assert!(world.router.now() - before <= HOUR);
    });
}

/// The time of day is ten years ahead for a while, and then right again; and the other way round.
#[test]
fn a_wall_clock_that_jumps_loses_nothing_and_floods_nobody() {
    const YEARS: i64 = 10 * 365 * 24;
    for jump in [YEARS, -YEARS, 30, -7] {
        World::run(async |world| {
            let all = keys(0..2000);
            let _provider = world.provider(source(&all)).await;
            world.sleep(INTERVAL + HOUR * 5).await;
            for ahead in [jump, 0] {
                world.router.calls();
                world.clock.set_ahead(ahead);
                world.sleep(HOUR * 44).await;
                let seen = world.router.counts();
                assert_eq!(seen.len(), all.len(), "{jump} {ahead}");
                let most = seen.values().max().unwrap();
                assert!(*most <= 3, "{jump} {ahead} {most}");
            }
            world.sleep(INTERVAL).await;
            world.router.calls();
            world.sleep(INTERVAL).await;
            each_once(&world.router.counts(), &all);
        });
    }
}

#[test]
fn a_clock_before_1970_is_no_reason_to_fail() {
    World::run(async |world| {
        world.clock.set_ahead(-100 * 365 * 24);
        let all = keys(0..100);
        let provider = world.provider(source(&all)).await;
        world.sleep(HOUR).await;
        world.clock.set_ahead(0);
        world.sleep(INTERVAL * 2).await;
        assert_eq!(world.router.counts().len(), 100);
        assert_eq!(provider.stats().failing, 0);
    });
}
