//! The sweep when all goes well, and when the node comes and goes.

use std::{collections::BTreeSet, time::Duration};

use ipfs_routing::{
    Position,
    provide::{Nothing, Options},
};

use super::world::{Call, HOUR, INTERVAL, World, counts, each_once, keys, region, source};

/// The longest pause between calls, and the mean, in seconds.
fn gaps(calls: &[Call]) -> (f64, f64) {
    let gaps = calls.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64());
    let (sum, most) = gaps.fold((0.0, 0.0_f64), |(sum, most), gap| (sum + gap, most.max(gap)));
    (most, sum / (calls.len() - 1) as f64)
}

#[test]
fn every_key_goes_once_in_each_interval_evenly_and_in_order() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let provider = world.provider(source(&all)).await;
        for cycle in 0..3 {
            world.sleep(INTERVAL).await;
            let calls = world.router.calls();
            each_once(&counts(&calls), &all);
            let (most, mean) = gaps(&calls);
            println!("cycle {cycle}: {} calls, most {most} s apart, mean {mean}", calls.len());
            assert!(most < mean * 1.02, "{most} {mean}");
            let regions = calls.iter().map(|call| region(&call.keys[0])).collect::<Vec<_>>();
            assert!(regions.is_sorted(), "{regions:?}");
        }
        let stats = provider.stats();
        assert_eq!((stats.known, stats.failing, stats.queued), (10_000, 0, 0));
        assert!(stats.last_error.is_none());
    });
}

/// What the module's documentation says a home connection needs.
#[test]
fn a_hundred_thousand_keys_need_few_calls() {
    const PEERS: f64 = 10_000.0;
    const K: f64 = 20.0;
    const RECORD: f64 = 250.0;
    for (count, calls, said) in [(100_000, 256, 6_300.0), (1_000_000, 2_048, 63_100.0)] {
        let slots = f64::from(calls);
        let peers = PEERS / slots + K;
        let (connections, records) = (slots * peers, f64::from(count) * K);
        let rate = records * RECORD / INTERVAL.as_secs_f64();
        println!(
            "{count} keys: {slots} calls of {:.0} keys, one in {:.1} s, {peers:.0} peers each, \
             {connections:.0} connections, {records:.0} records, {rate:.0} bytes a second",
            f64::from(count) / slots,
            INTERVAL.as_secs_f64() / slots,
        );
        assert!((rate / said - 1.0).abs() < 0.01, "{rate}");
    }
    World::run(async |world| {
        let all = keys(0..100_000);
        let _provider = world.provider(source(&all)).await;
        world.sleep(INTERVAL).await;
        let calls = world.router.calls();
        assert_eq!(calls.len(), 256);
        each_once(&counts(&calls), &all);
        let near = |call: &Call| {
            let positions = call.keys.iter().map(Position::of_block);
            positions.map(|at| at.as_bytes()[0]).collect::<BTreeSet<_>>().len()
        };
        assert!(calls.iter().all(|call| near(call) == 1));
    });
}

/// Dropped with a batch under way, built again at once: only that batch is announced twice.
#[test]
fn a_restart_goes_on_where_it_was() {
    World::run(async |world| {
        let all = keys(0..10_000);
        world.router.takes(Duration::from_secs(100));
        for hours in [3, 5, 7, 7] {
            let provider = world.provider(source(&all)).await;
            world.sleep(HOUR * hours + Duration::from_secs(17)).await;
            drop(provider);
        }
        world.sleep(Duration::from_secs(1)).await;
        let counts = counts(&world.router.calls());
        assert_eq!(counts.len(), all.len());
        let twice = counts.values().filter(|count| **count > 1).count();
        println!("{twice} keys of {} twice after three restarts", all.len());
        assert!(twice <= 3 * 60, "{twice}");
    });
}

#[test]
fn a_node_that_was_off_for_thirty_hours_catches_up_in_order() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let provider = world.provider(source(&all)).await;
        world.sleep(HOUR * 11).await;
        drop(provider);
        world.sleep(HOUR * 30).await;
        let before = counts(&world.router.calls());
        // In the half of the keyspace that was never announced, and then from the beginning.
        let _provider = world.provider(source(&all)).await;
        world.router.takes(Duration::from_secs(5));
        world.sleep(HOUR).await;
        let calls = world.router.calls();
        let after = counts(&calls);
        assert!(after.values().all(|count| *count == 1));
        assert!(all.iter().all(|key| before.contains_key(key) || after.contains_key(key)));
        let regions: Vec<u8> = calls.iter().map(|call| region(&call.keys[0])).collect();
        assert_eq!(regions[0], 128);
        assert!(regions.windows(2).all(|pair| pair[0].wrapping_add(1) == pair[1]), "{regions:?}");
        // And from then on evenly again, each key no later than five quarters of the interval.
        world.sleep(HOUR * 27).await;
        world.router.calls();
        world.sleep(INTERVAL).await;
        let calls = world.router.calls();
        each_once(&counts(&calls), &all);
        let (most, mean) = gaps(&calls);
        assert!(most < mean * 1.2, "{most} {mean}");
    });
}

#[test]
fn what_the_source_no_longer_has_is_dropped_and_what_is_new_is_added() {
    World::run(async |world| {
        let provider = world.provider(source(&keys(0..1000))).await;
        world.sleep(HOUR).await;
        drop(provider);
        world.sleep(HOUR * 21).await;
        world.router.calls();
        let provider = world.provider(source(&keys(500..1500))).await;
        world.sleep(INTERVAL).await;
        let seen = world.router.counts();
        assert!(keys(500..1500).iter().all(|key| seen.contains_key(key)));
        assert!(!keys(0..500).iter().any(|key| seen.contains_key(key)));
        assert_eq!(provider.stats().known, 1000);
    });
}

#[test]
fn a_full_pass_is_as_fast_as_allowed() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let provider = world.provider(source(&all)).await;
        world.sleep(HOUR * 5).await;
        world.router.calls();
        world.router.takes(Duration::from_secs(10));
        let before = world.router.now();
        provider.sweep_now().await.unwrap();
        assert_eq!(world.router.now() - before, Duration::from_secs(256 / 2 * 10));
        each_once(&world.router.counts(), &all);
        world.sleep(INTERVAL * 3).await;
        world.router.calls();
        world.sleep(INTERVAL).await;
        let calls = world.router.calls();
        each_once(&counts(&calls), &all);
        let (most, mean) = gaps(&calls);
        assert!(most < mean * 1.2, "{most} {mean}");
    });
}

#[test]
fn it_says_when_it_will_be_done() {
    World::run(async |world| {
        let all = keys(0..10_000);
        let provider = world.provider(source(&all)).await;
        assert!(provider.stats().completes.is_none());
        assert!(provider.stats().began.is_none());
        world.sleep(HOUR).await;
        let stats = provider.stats();
        let (began, completes) = (stats.began.unwrap(), stats.completes.unwrap());
        let takes = completes.duration_since(began).unwrap();
        assert!(takes <= INTERVAL && takes > INTERVAL - HOUR, "{takes:?}");
        assert!((400..600).contains(&stats.announced), "{stats:?}");
        provider.pause();
        assert!(provider.stats().paused && provider.stats().completes.is_none());
        // Behind by the whole of it, the rate says when.
        world.sleep(HOUR * 40).await;
        world.router.takes(Duration::from_secs(100));
        provider.resume();
        world.sleep(HOUR).await;
        let stats = provider.stats();
        let (now, completes) = (stats.began.unwrap(), stats.completes.unwrap());
        println!("{stats:?}");
        assert!(completes > now);
        world.sleep(INTERVAL).await;
    });
}

#[test]
fn without_keys_nothing_is_announced() {
    World::run(async |world| {
        let provider = world.provider(Nothing).await;
        world.sleep(INTERVAL * 2).await;
        assert!(world.router.calls().is_empty());
        provider.sweep_now().await.unwrap();
        assert!(provider.stats().began.is_some());
        let nonsense = [
            |options: &mut Options| options.interval = HOUR * 39,
            |options: &mut Options| options.interval = Duration::from_secs(59),
            |options: &mut Options| options.batch = 0,
            |options: &mut Options| options.max_batch = 255,
            |options: &mut Options| options.sweeping = 0,
            |options: &mut Options| options.announcing = 0,
            |options: &mut Options| options.retry = Duration::ZERO,
        ];
        for change in nonsense {
            let mut options = Options::default();
            change(&mut options);
            let error = world.spawn(Nothing, options).await.unwrap_err();
            assert!(matches!(error, ipfs_traits::Error::Invalid { .. }), "{error:?}");
        }
    });
}
