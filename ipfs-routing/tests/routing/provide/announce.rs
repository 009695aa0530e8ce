//! New keys, ahead of the sweep.

use std::time::Duration;

use futures::FutureExt;
use ipfs_routing::provide::{Nothing, Options};
use ipfs_traits::{Error, Multihash};

use super::world::{HOUR, INTERVAL, World, each_once, key, keys, region, source};

#[test]
fn new_keys_go_out_at_once_while_the_sweep_goes_on() {
    World::run(async |world| {
        let (old, new) = (keys(0..10_000), keys(20_000..21_000));
        world.router.takes(Duration::from_secs(5));
        let provider = world.provider(source(&old)).await;
        world.sleep(HOUR * 2).await;
        world.router.calls();
        let before = world.router.now();
        provider.announce(new.clone()).await.unwrap();
        assert_eq!(provider.stats().queued, 1000);
        world.sleep(Duration::from_secs(11)).await;
        assert_eq!(provider.stats().queued, 0);
        let calls = world.router.calls();
        let ours: Vec<_> = calls.iter().filter(|call| new.contains(&call.keys[0])).collect();
        assert!(ours.iter().all(|call| call.at <= before + Duration::from_secs(5)));
        // In four calls of keys that are near each other.
        assert_eq!(ours.len(), 4);
        assert_eq!(ours.iter().map(|call| call.keys.len()).sum::<usize>(), 1000);
        assert!(ours[0].keys.iter().all(|key| region(key) < 80));
        // They are in the schedule: those whose place is to come go out again in this interval.
        world.sleep(HOUR * 19 + HOUR / 2).await;
        let seen = world.router.counts();
        assert!(new.iter().all(|key| !(32..245).contains(&region(key)) || seen.contains_key(key)));
        // The source does not have them: no more after the next listing.
        world.sleep(HOUR).await;
        world.router.calls();
        world.sleep(INTERVAL).await;
        each_once(&world.router.counts(), &old);
    });
}

#[test]
fn the_queue_outlives_the_provider() {
    World::run(async |world| {
        let new = keys(0..1000);
        world.router.takes(HOUR);
        let provider = world.provider(Nothing).await;
        provider.announce(new.clone()).await.unwrap();
        provider.close().await.unwrap();
        world.router.calls();
        world.router.takes(Duration::ZERO);
        let provider = world.provider(Nothing).await;
        assert_eq!(provider.stats().queued, 1000);
        world.sleep(Duration::from_secs(1)).await;
        each_once(&world.router.counts(), &new);
        assert_eq!(provider.stats().queued, 0);
        drop(provider);
        assert_eq!(world.provider(Nothing).await.stats().queued, 0);
    });
}

#[test]
fn the_queue_is_bounded() {
    World::run(async |world| {
        world.router.takes(Duration::from_secs(60));
        let mut options = Options::default();
        options.queue = 1000;
        let provider = world.spawn(Nothing, options).await.unwrap();
        provider.announce(keys(0..900)).await.unwrap();
        let refused = provider.announce(keys(1000..1101)).await;
        assert!(matches!(refused, Err(Error::Limit { limit: 1000, actual: 1001, .. })));
        // What could not be written, or was dropped, takes no room.
        world.disk.commits.store(0, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..20 {
            let failed = provider.announce(keys(1000..1100)).await;
            assert!(matches!(failed, Err(Error::Component { .. })), "{failed:?}");
            assert!(provider.announce(keys(1000..1100)).now_or_never().is_some());
        }
        assert_eq!(provider.stats().queued, 900);
        world.disk.commits.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
        world.sleep(Duration::from_secs(90)).await;
        provider.announce(keys(1000..1101)).await.unwrap();
    });
}

/// Twice the same, a whole bucket at one place, and keys that are their own block.
#[test]
fn odd_keys_are_announced_once_or_not_at_all() {
    World::run(async |world| {
        let provider = world.provider(Nothing).await;
        let identity = Multihash::wrap(0, b"hello").unwrap();
        provider.announce([key(1), key(1), identity, key(2), key(1)]).await.unwrap();
        provider.announce([key(1)]).await.unwrap();
        provider.announce([]).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        each_once(&world.router.counts(), &keys(1..3));
        assert_eq!(provider.stats().queued, 0);
        let mut options = Options::default();
        (options.batch, options.max_batch) = (2, 3);
        drop(provider);
        let provider = world.spawn(Nothing, options).await.unwrap();
        let near: Vec<_> = (0..200_000).map(key).filter(|key| region(key) == 7).collect();
        provider.announce(near.clone()).await.unwrap();
        world.sleep(HOUR / 2).await;
        let calls = world.router.calls();
        assert!(calls.iter().all(|call| call.keys.len() <= 3));
        each_once(&super::world::counts(&calls), &near);
        assert_eq!(provider.stats().queued, 0);
    });
}

/// A key that always fails stands alone from its second try, and holds up nobody.
#[test]
fn keys_that_fail_are_tried_again_alone() {
    World::run(async |world| {
        let bad = key(13);
        world.router.fails(move |keys| keys.contains(&bad));
        let provider = world.provider(Nothing).await;
        provider.announce(keys(0..2000)).await.unwrap();
        world.sleep(HOUR / 2).await;
        provider.announce(keys(5000..7000)).await.unwrap();
        world.sleep(HOUR / 2).await;
        let calls = world.router.calls();
        let again = calls.iter().filter(|call| call.failed).skip(1);
        assert!(again.map(|call| call.keys.len()).max().unwrap() < 12);
        let good: Vec<_> = keys(0..2000).into_iter().filter(|key| *key != bad).collect();
        let seen = super::world::counts(&calls);
        let left: Vec<_> = good.iter().filter(|key| !seen.contains_key(key)).collect();
        // Only what shares its 4,096th of the keyspace.
        assert!(left.len() <= 4, "{}", left.len());
        assert_eq!(provider.stats().failing, 1);
        assert!(matches!(provider.stats().last_error, Some(Error::TimedOut(_))));
        let tries = calls.iter().filter(|call| call.failed).count();
        assert!((5..15).contains(&tries), "{tries}");
        world.router.fails(|_| false);
        world.sleep(HOUR).await;
        assert_eq!((provider.stats().queued, provider.stats().failing), (0, 0));
    });
}

#[test]
fn after_a_close_it_is_closed() {
    World::run(async |world| {
        let all = keys(0..100);
        world.router.takes(HOUR);
        let provider = world.provider(source(&all)).await;
        provider.announce(keys(0..10)).await.unwrap();
        let mut pass = Box::pin(provider.sweep_now());
        assert!(pass.as_mut().now_or_never().is_none());
        world.sleep(HOUR / 2).await;
        provider.close().await.unwrap();
        provider.close().await.unwrap();
        assert!(matches!(pass.await, Err(Error::Closed(_))));
        assert!(matches!(provider.sweep_now().await, Err(Error::Closed(_))));
        assert!(matches!(provider.announce([key(1)]).await, Err(Error::Closed(_))));
        world.router.calls();
        world.sleep(INTERVAL).await;
        assert!(world.router.calls().is_empty());
        assert_eq!(std::sync::Arc::strong_count(&world.disk), 2, "the world, and the handle");
    });
}
