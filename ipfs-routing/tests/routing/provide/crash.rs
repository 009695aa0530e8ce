//! Power that fails after any commit, and memory.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use ipfs_routing::{
    Routing,
    provide::{Options, Provider, from_fn},
};
use ipfs_traits::{
    Multihash, Result, RuntimeExt, VirtualRuntime, async_trait, memory::MemoryDatastore,
};

use super::world::{HOUR, INTERVAL, World, key, keys, source};
use crate::memory;

/// The disk stops after the n-th commit, for every n, in the middle of listing, announcing and
/// sweeping. What is built on what it holds goes on with nothing left out; what is announced twice is
/// what the lost commits would have noted.
#[test]
fn every_prefix_of_commits_is_a_valid_state() {
    let (all, new) = (keys(0..5000), keys(6000..6100));
    let mut last = 0;
    for commits in 0.. {
        let mut whole = false;
        World::run(async |world| {
            world.disk.commits.store(commits, Ordering::Relaxed);
            let provider = world.provider(source(&all)).await;
            world.sleep(HOUR * 2).await;
            let queued = provider.announce(new.clone()).await.is_ok();
            world.sleep(Duration::from_secs(1)).await;
            drop(provider);
            let before = world.router.counts();
            whole = world.disk.commits.load(Ordering::Relaxed) > 0;
            last = commits;

            world.disk.commits.store(usize::MAX, Ordering::Relaxed);
            let provider = world.provider(source(&all)).await;
            world.sleep(INTERVAL).await;
            let after = world.router.counts();
            let seen: BTreeSet<&Multihash> = before.keys().chain(after.keys()).collect();
            assert!(all.iter().all(|key| seen.contains(key)), "{commits}");
            assert!(!queued || new.iter().all(|key| seen.contains(key)), "{commits}");
            assert!(after.values().all(|count| *count <= 2), "{commits}");
            assert_eq!(provider.stats().queued, 0);
        });
        if whole {
            break;
        }
    }
    println!("stopped after each of {last} commits");
    assert!(last > 25);
}

/// Counts, and keeps nothing.
#[derive(Debug, Default)]
struct Counter {
    calls: AtomicUsize,
    keys: AtomicUsize,
    sum: AtomicU64,
}

#[async_trait]
impl Routing for Counter {
    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.keys.fetch_add(keys.len(), Ordering::Relaxed);
        for key in keys {
            let digest = key.digest()[..8].try_into().unwrap();
            self.sum.fetch_add(u64::from_be_bytes(digest), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The table is filled in a first cycle, so that the second one measures the provider and not the
/// datastore, which is in memory here.
#[test]
fn memory_does_not_grow_with_the_keys() {
    const KEYS: u64 = 200_000;
    let runtime = VirtualRuntime::new();
    let (counter, disk) = (Arc::new(Counter::default()), Arc::new(MemoryDatastore::new()));
    let cycle = async || {
        let list = || stream::iter((0..KEYS).step_by(1000)).map(|at| Ok(keys(at..at + 1000)));
        let provider = Provider::spawn(
            Arc::new(runtime.clone()),
            counter.clone(),
            disk.clone(),
            Arc::new(from_fn(move || list().boxed())),
            Options::default(),
        );
        let provider = provider.await.unwrap();
        runtime.sleep(INTERVAL).await;
        assert_eq!(provider.stats().known, KEYS);
    };
    runtime.block_on(cycle()).unwrap();
    let ((), peak) = memory::peak(|| runtime.block_on(cycle()).unwrap());
    let calls = counter.calls.load(Ordering::Relaxed);
    println!("{KEYS} keys: {calls} calls in two cycles, at most {peak} bytes");
    assert!(peak < 4 << 20, "{peak}");
    assert_eq!(counter.keys.load(Ordering::Relaxed), 2 * KEYS as usize);
    let digest = |at| u64::from_be_bytes(key(at).digest()[..8].try_into().unwrap());
    let sum = (0..KEYS).fold(0, |sum: u64, at| sum.wrapping_add(digest(at)));
    assert_eq!(counter.sum.load(Ordering::Relaxed), sum.wrapping_mul(2));
}
