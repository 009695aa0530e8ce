//! Several routers as one, and parts of one.

mod parts;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{Either, select},
    stream::{self, BoxStream},
};
use ipfs_routing::{
    Routing, Validator, Validators,
    combine::{Combined, MAX_PROVIDERS, Turn},
};
use ipfs_traits::{
    Bytes, Error, HashTable, Multiaddr, Multihash, NoRouting, Parts, PeerId, PeerInfo, Recipe,
    Result, Runtime, RuntimeExt, VirtualRuntime, async_trait, conformance,
    memory::{RoutingTable, peer_id},
    network::{MAX_ADDRESS, MAX_ADDRESSES},
    recipe,
};

pub(crate) fn key() -> Multihash {
    HashTable::standard().hash(0x12, b"a block").unwrap()
}

pub(crate) fn peer(n: u64, ports: &[u16]) -> PeerInfo {
    let at = |port: &u16| format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
    PeerInfo::new(peer_id(n), ports.iter().map(at).collect())
}

/// Runs it, for a day at the most: then what it waits for is not going to come.
pub(crate) fn run<T>(runtime: &VirtualRuntime, future: impl Future<Output = T>) -> T {
    let day = RuntimeExt::sleep(runtime, Duration::from_secs(24 * 3600));
    match runtime.block_on(select(pin!(future), day)).unwrap() {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("it waits in vain"),
    }
}

/// A router that does as it is told: each of its answers takes a while.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    runtime: VirtualRuntime,
    /// Seconds before each item, and before the end.
    takes: u64,
    pub(crate) peers: Vec<PeerInfo>,
    values: Vec<&'static str>,
    error: Option<Error>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: Mutex<Vec<Instant>>,
    under_way: Arc<()>,
    closed: AtomicBool,
}

impl Fake {
    pub(crate) fn new(runtime: &VirtualRuntime, takes: u64) -> Self {
        let (runtime, seen) = (runtime.clone(), Arc::default());
        Self { runtime, takes, peers: Vec::new(), values: Vec::new(), error: None, seen }
    }

    fn peers(self, peers: impl IntoIterator<Item = PeerInfo>) -> Self {
        Self { peers: peers.into_iter().collect(), ..self }
    }

    fn values(self, values: &[&'static str]) -> Self {
        Self { values: values.to_vec(), ..self }
    }

    pub(crate) fn fails(self, error: Error) -> Self {
        Self { error: Some(error), ..self }
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.calls.lock().unwrap().len()
    }

    /// When it was called first, in seconds after `start`.
    fn called_after(&self, start: Instant) -> Option<u64> {
        self.seen.calls.lock().unwrap().first().map(|at| (*at - start).as_secs())
    }

    fn under_way(&self) -> usize {
        Arc::strong_count(&self.seen.under_way) - 1
    }

    fn call<T: Send + 'static>(&self, items: Vec<T>) -> BoxStream<'static, Result<T>> {
        self.seen.calls.lock().unwrap().push(self.runtime.now());
        let (fake, open) = (self.clone(), self.seen.under_way.clone());
        let ends = stream::iter([self.error.clone().map(Err)]);
        let items = stream::iter(items).map(|item| Some(Ok(item))).chain(ends);
        items
            .then(move |item| {
                let (fake, open) = (fake.clone(), open.clone());
                async move {
                    let _open = open;
                    RuntimeExt::sleep(&fake.runtime, Duration::from_secs(fake.takes)).await;
                    item
                }
            })
            .filter_map(std::future::ready)
            .boxed()
    }

    async fn done(&self) -> Result<()> {
        self.call(vec![()]).try_collect().await
    }
}

#[async_trait]
impl Routing for Fake {
    fn find_providers(&self, _: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        self.call(self.peers.iter().take(want).cloned().collect())
    }
    async fn provide(&self, _: Vec<Multihash>) -> Result<()> {
        self.done().await
    }
    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        self.done().await?;
        let found = self.peers.iter().find(|known| known.id == peer).cloned();
        found.ok_or(Error::Unreachable(peer, None))
    }
    fn get_value(&self, _: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        self.call(self.values.iter().map(|value| Bytes::from_static(value.as_bytes())).collect())
    }
    async fn put_value(&self, _: &[u8], _: Bytes) -> Result<()> {
        self.done().await
    }
    async fn closest_peers(&self, _: &[u8]) -> Result<Vec<PeerInfo>> {
        self.done().await?;
        Ok(self.peers.clone())
    }
    async fn close(&self) -> Result<()> {
        self.seen.closed.store(true, Ordering::Relaxed);
        self.error.clone().map_or(Ok(()), Err)
    }
}

fn combined(runtime: &VirtualRuntime, turn: Turn, fakes: &[&Fake]) -> Combined {
    let routers = fakes.iter().map(|fake| (turn, Arc::new((*fake).clone()) as Arc<dyn Routing>));
    Combined::new(Arc::new(runtime.clone()), routers)
}

fn parallel(runtime: &VirtualRuntime, fakes: &[&Fake]) -> Combined {
    combined(runtime, Turn::After(Duration::ZERO), fakes)
}

fn providers(
    runtime: &VirtualRuntime,
    router: &impl Routing,
    want: usize,
) -> Result<Vec<PeerInfo>> {
    run(runtime, router.find_providers(&key(), want).try_collect())
}

fn broken() -> Error {
    Error::TimedOut("a fake")
}

#[test]
fn keeps_the_promises_of_a_router() {
    let runtime = VirtualRuntime::new();
    let handle: Arc<dyn Runtime> = Arc::new(runtime.clone());
    let known = || -> Arc<dyn Routing> { Arc::new(RoutingTable::new().join(peer(1, &[1]))) };
    let second = Duration::from_secs(1);
    for turn in [Turn::After(Duration::ZERO), Turn::After(second), Turn::Otherwise] {
        run(
            &runtime,
            conformance::routing(|| {
                let none: Arc<dyn Routing> = Arc::new(NoRouting);
                let routers = [none, known(), known()].map(|router| (turn, router));
                let combined = Combined::new(handle.clone(), routers);
                async move { Ok(combined) }
            }),
        )
        .unwrap();
    }
}

#[test]
fn all_are_asked_at_once_and_each_peer_is_given_once() {
    let runtime = VirtualRuntime::new();
    let start = runtime.now();
    let slow = Fake::new(&runtime, 3).peers([peer(1, &[1]), peer(3, &[1])]);
    let fast = Fake::new(&runtime, 1).peers([peer(1, &[1]), peer(2, &[])]);
    let both = parallel(&runtime, &[&slow, &fast]);
    let found = providers(&runtime, &both, 9).unwrap();
    assert_eq!(found, [peer(1, &[1]), peer(2, &[]), peer(3, &[1])]);
    assert_eq!((slow.called_after(start), fast.called_after(start)), (Some(0), Some(0)));
}

#[test]
fn new_addresses_of_a_peer_are_given_with_those_before() {
    let runtime = VirtualRuntime::new();
    let first = Fake::new(&runtime, 1).peers([peer(1, &[])]);
    let second = Fake::new(&runtime, 2).peers([peer(1, &[1, 2])]);
    let third = Fake::new(&runtime, 3).peers([peer(1, &[2, 3]), peer(1, &[1])]);
    let all = parallel(&runtime, &[&first, &second, &third]);
    let found = providers(&runtime, &all, 9).unwrap();
    assert_eq!(found, [peer(1, &[]), peer(1, &[1, 2]), peer(1, &[1, 2, 3])]);
}

#[test]
fn enough_is_enough() {
    let runtime = VirtualRuntime::new();
    let fast = Fake::new(&runtime, 1).peers((1..4).map(|n| peer(n, &[1])));
    let never = Fake::new(&runtime, 10_000_000);
    let both = parallel(&runtime, &[&fast, &never]);
    assert_eq!(providers(&runtime, &both, 2).unwrap().len(), 2);
    assert_eq!((fast.under_way(), never.under_way()), (0, 0));
    // Dropping the stream ends all, too.
    let mut found = both.find_providers(&key(), 9);
    run(&runtime, found.next()).unwrap().unwrap();
    assert!(never.under_way() > 0);
    drop(found);
    assert_eq!((fast.under_way(), never.under_way()), (0, 0));
    assert_eq!(providers(&runtime, &both, 0).unwrap(), []);
}

/// A router gives peers without end, each with more addresses than a machine has.
#[test]
fn what_is_remembered_of_a_lookup_is_bounded() {
    #[derive(Debug)]
    struct Endless;
    #[async_trait]
    impl Routing for Endless {
        fn find_providers(&self, _: &Multihash, _: usize) -> BoxStream<'static, Result<PeerInfo>> {
            let long: Multiaddr = format!("/dns4/{}", "a".repeat(MAX_ADDRESS)).parse().unwrap();
            stream::iter(0..)
                .map(move |n| {
                    assert!(n <= 2 * MAX_PROVIDERS as u64, "it takes more and more");
                    let mut peer = peer(n, &(1..100).collect::<Vec<_>>());
                    peer.addresses.insert(0, long.clone());
                    Ok(peer)
                })
                .boxed()
        }
    }
    let runtime = VirtualRuntime::new();
    let routers: [Arc<dyn Routing>; 1] = [Arc::new(Endless)];
    let router = Combined::parallel(Arc::new(runtime.clone()), routers);
    let found = providers(&runtime, &router, usize::MAX).unwrap();
    assert_eq!(found.len(), MAX_PROVIDERS);
    assert!(found.iter().all(|peer| peer.addresses.len() == MAX_ADDRESSES));
    let mut addresses = found.iter().flat_map(|peer| &peer.addresses);
    assert!(addresses.all(|address| address.len() <= MAX_ADDRESS));
}

#[test]
fn the_next_is_asked_when_those_before_found_nothing() {
    let runtime = VirtualRuntime::new();
    let found = [peer(7, &[1])];
    let last = || Fake::new(&runtime, 1).peers(found.clone());
    for (first, asked) in [
        (Fake::new(&runtime, 5), true),
        (Fake::new(&runtime, 5).fails(broken()), true),
        (Fake::new(&runtime, 5).fails(Error::unsupported("it")), true),
        (Fake::new(&runtime, 5).peers([peer(7, &[1])]), false),
        (Fake::new(&runtime, 5).peers([peer(7, &[1])]).fails(broken()), false),
    ] {
        let (start, last) = (runtime.now(), last());
        let both = combined(&runtime, Turn::Otherwise, &[&first, &last]);
        assert_eq!(providers(&runtime, &both, 9).unwrap(), found);
        assert_eq!(last.called_after(start), asked.then_some(5));
    }
    let start = runtime.now();
    let (first, last) = (Fake::new(&runtime, 1), last());
    let both = combined(&runtime, Turn::Otherwise, &[&first, &last]);
    assert_eq!(run(&runtime, both.find_peer(peer_id(7))).unwrap(), peer(7, &[1]));
    assert_eq!(last.called_after(start), Some(2));
    assert_eq!(run(&runtime, both.closest_peers(b"")).unwrap(), found);
}

#[test]
fn the_next_is_asked_when_its_time_has_come() {
    let runtime = VirtualRuntime::new();
    let turn = Turn::After(Duration::from_secs(4));
    // (takes, found, wanted) → when the second is asked
    for (takes, found, want, asked) in [
        (1, 1, 1, None),     // enough in time
        (1, 1, 9, Some(2)),  // not enough, and no more will come
        (3, 9, 9, Some(4)),  // more may come, but not in time
        (90, 0, 9, Some(4)), // nothing so far
    ] {
        let first = Fake::new(&runtime, takes).peers((1..=found).map(|n| peer(n, &[1])));
        let (start, second) = (runtime.now(), Fake::new(&runtime, 1));
        let both = combined(&runtime, turn, &[&first, &second]);
        assert_eq!(providers(&runtime, &both, want).unwrap().len() as u64, found);
        assert_eq!(second.called_after(start), asked, "{takes} {found} {want}");
    }
    let start = runtime.now();
    let fakes: Vec<Fake> = (0..3).map(|_| Fake::new(&runtime, 90)).collect();
    let all = combined(&runtime, turn, &fakes.iter().collect::<Vec<_>>());
    providers(&runtime, &all, 9).unwrap();
    let asked: Vec<_> = fakes.iter().map(|fake| fake.called_after(start)).collect();
    assert_eq!(asked, [Some(0), Some(4), Some(8)]);
    // A wait that no clock can count.
    let all = combined(&runtime, Turn::After(Duration::MAX), &[&fakes[0], &fakes[1]]);
    providers(&runtime, &all, 9).unwrap();
}

#[test]
fn what_found_nothing_says_why() {
    let runtime = VirtualRuntime::new();
    let none = Fake::new(&runtime, 1);
    let cannot = none.clone().fails(Error::unsupported("it"));
    let fails = none.clone().fails(broken());
    let find = |fakes: &[&Fake]| providers(&runtime, &parallel(&runtime, fakes), 9);
    assert_eq!(find(&[&none, &cannot]).unwrap(), []);
    assert!(matches!(find(&[]), Err(Error::Unsupported(_))));
    assert!(matches!(find(&[&cannot, &cannot]), Err(Error::Unsupported(_))));
    assert!(matches!(find(&[&cannot, &fails, &none]), Err(Error::TimedOut(_))));
    let error = find(&[&fails, &fails]).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "a fake took too long; a fake took too long");
    let unknown = run(&runtime, parallel(&runtime, &[&none, &cannot]).find_peer(peer_id(1)));
    assert!(matches!(unknown, Err(Error::Unreachable(..))), "{unknown:?}");
    let unknown = run(&runtime, parallel(&runtime, &[&none, &fails]).find_peer(peer_id(1)));
    assert!(matches!(unknown, Err(Error::TimedOut(_))), "{unknown:?}");
}

#[test]
fn providing_and_putting_succeed_if_one_does() {
    let runtime = VirtualRuntime::new();
    let works = Fake::new(&runtime, 1);
    let cannot = works.clone().fails(Error::unsupported("it"));
    let fails = works.clone().fails(broken());
    let act = |fakes: &[&Fake], all| {
        let router = parallel(&runtime, fakes).with_all(all);
        let put = run(&runtime, router.put_value(b"/a/b", Bytes::new()));
        let provided = run(&runtime, router.provide(vec![key()]));
        assert_eq!(put.is_ok(), provided.is_ok());
        put
    };
    act(&[&works, &cannot, &fails], false).unwrap();
    act(&[&works, &cannot], true).unwrap();
    assert!(matches!(act(&[&works, &cannot, &fails], true), Err(Error::TimedOut(_))));
    assert!(matches!(act(&[&cannot, &fails], false), Err(Error::TimedOut(_))));
    assert!(matches!(act(&[&cannot, &cannot], false), Err(Error::Unsupported(_))));
    assert!(matches!(act(&[], false), Err(Error::Unsupported(_))));
    assert!(matches!(act(&[&fails, &fails], false), Err(Error::Component { .. })));
}

/// Values that begin with `ok` are valid, and the longer one is better.
#[derive(Debug)]
struct Longest;

impl Validator for Longest {
    fn validate(&self, _: &[u8], value: &[u8], _: SystemTime) -> Result<()> {
        if value.starts_with(b"ok") { Ok(()) } else { Err(Error::invalid("value", "it is bad")) }
    }

    fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
        new.len() > old.len()
    }
}

#[test]
fn values_get_better() {
    let runtime = VirtualRuntime::new();
    let fast = Fake::new(&runtime, 2).values(&["ok 22", "forged and long", "ok 22", "ok 4444"]);
    let slow = Fake::new(&runtime, 3).values(&["ok 1", "ok 333", "ok 55555"]);
    let get = |router: &Combined, key: &[u8]| -> Vec<Bytes> {
        run(&runtime, router.get_value(key).try_collect()).unwrap()
    };
    let rules = || Validators::new().with("a", Longest);
    let both = parallel(&runtime, &[&fast, &slow]).with_rules(rules());
    assert_eq!(get(&both, b"/a/b"), ["ok 22", "ok 333", "ok 4444", "ok 55555"]);
    assert_eq!(get(&both, b"/other/b").len(), 7, "the same twice in a row is given once");
    // What is not valid is as if it were not found.
    let forged = Fake::new(&runtime, 1).values(&["forged"]);
    let both = combined(&runtime, Turn::Otherwise, &[&forged, &slow]).with_rules(rules());
    assert_eq!(get(&both, b"/a/b"), ["ok 1", "ok 333", "ok 55555"]);
}

#[test]
fn closing_closes_all_and_ends_what_is_under_way() {
    let runtime = VirtualRuntime::new();
    let fakes = [Fake::new(&runtime, 90).fails(broken()), Fake::new(&runtime, 90)];
    let both = parallel(&runtime, &[&fakes[0], &fakes[1]]);
    let mut found = both.find_providers(&key(), 9);
    let mut put = both.put_value(b"/a/b", Bytes::new());
    assert!(found.next().now_or_never().is_none());
    assert!((&mut put).now_or_never().is_none());
    run(&runtime, async {
        assert!(matches!(both.close().await, Err(Error::TimedOut(_))));
        assert!(matches!(found.next().await, Some(Err(Error::Closed(_)))));
        assert!(found.next().await.is_none());
        assert!(matches!(put.await, Err(Error::Closed(_))));
        assert!(matches!(both.find_peer(peer_id(1)).await, Err(Error::Closed(_))));
    });
    for fake in &fakes {
        assert!(fake.seen.closed.load(Ordering::Relaxed));
        assert_eq!(fake.under_way(), 0);
    }
}

#[test]
fn is_built_from_recipes_and_leaves_nothing_of_a_build_that_fails() {
    let runtime = VirtualRuntime::new();
    let handle = Arc::new(runtime.clone());
    let parts = Parts::new(handle, HashTable::standard(), Arc::default(), peer_id(1));
    let (first, second) = (Fake::new(&runtime, 3), Fake::new(&runtime, 1));
    let last = Fake::new(&runtime, 1).peers([peer(7, &[1])]);
    let start = runtime.now();
    let made = Combined::first(first.clone())
        .after(Duration::from_secs(1), second.clone())
        .otherwise(last.clone());
    let router = run(&runtime, Box::new(made).build(&parts)).unwrap();
    assert_eq!(providers(&runtime, &router, 9).unwrap(), last.peers);
    let asked = [&first, &second, &last].map(|fake| fake.called_after(start).unwrap());
    assert_eq!(asked, [0, 1, 3]);

    let fails = recipe(|_: Parts| async { Err::<Arc<dyn Routing>, _>(broken()) });
    let made = Combined::first(first.clone()).otherwise(fails);
    let error = run(&runtime, Box::new(made).build(&parts)).unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    assert!(first.seen.closed.load(Ordering::Relaxed));
}
