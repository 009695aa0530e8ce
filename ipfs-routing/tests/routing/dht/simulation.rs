//! Whole networks in simulation: how many lookups succeed, and what they cost.

use std::time::Duration;

use ipfs_routing::dht::engine::Find;
use ipfs_traits::{Multihash, PeerInfo};

use super::world::{Found, Liar, Settings, World, hash, name};
use crate::{
    Position,
    seeds::{is_soak, seeds},
};

/// How many servers a network has.
fn size() -> usize {
    let given = std::env::var("IPFS_NODES").ok().and_then(|nodes| nodes.parse().ok());
    given.unwrap_or(if is_soak() { 10_000 } else { 500 })
}

/// A network of servers, a fifth as many nodes that only ask, and liars among the servers.
fn network(settings: Settings, servers: usize, liars: usize) -> World {
    let mut world = World::new(settings);
    for number in 0..servers {
        let liar = (number >= 10 && number < 10 + liars).then(|| Liar::ALL[number % 4]);
        world.add(true, liar);
    }
    for _ in 0..servers / 5 {
        world.add(false, None);
    }
    let all = world.nodes.len();
    for node in 0..all {
        // The first ten are known to all, as bootstrap peers are.
        let through = (0..3).map(|_| world.numbers.below(10) as usize).filter(|it| *it != node);
        let through = through.collect();
        let after = Duration::from_millis(world.numbers.below(300_000));
        world.join(node, if node < 10 { Duration::ZERO } else { after }, through);
    }
    // All have joined, and half of them have looked around once more.
    world.run_for(Duration::from_secs(750));
    world
}

/// Nodes leave without a word, and others come: one in ten within the time that lookups take.
fn churn(world: &mut World, leave: usize) {
    for _ in 0..leave {
        let gone = world.somebody();
        if gone >= 10 {
            world.nodes[gone].alive = false;
            let new = world.add(true, None);
            let through = vec![world.numbers.below(10) as usize];
            world.join(new, Duration::ZERO, through);
        }
    }
}

fn key(world: &mut World) -> Multihash {
    hash(world.numbers.next())
}

struct Figures {
    closest: f64,
    providers: f64,
    hops: u32,
    messages: usize,
    took: Duration,
}

impl Figures {
    /// Of the lookups of both kinds.
    fn success(&self) -> f64 {
        (self.closest + self.providers) / 2.0
    }
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Announces and finds as many blocks, each by a lookup of its own.
fn measure(world: &mut World, blocks: usize, leave: usize) -> Figures {
    let (mut right, mut found, mut all) = (0, 0, Vec::new());
    for _ in 0..blocks.div_ceil(50) {
        churn(world, leave);
        let keys: Vec<(usize, Multihash)> =
            (0..50).map(|_| (world.somebody(), key(world))).collect();
        let finds = keys
            .iter()
            .map(|(node, key)| (*node, Find::Closest { key: key.to_bytes().into(), wanted: 20 }));
        let outcomes = world.lookups(finds.collect());
        for ((node, key), outcome) in keys.iter().zip(&outcomes) {
            let closest = &outcome.outcome.as_ref().unwrap().closest;
            let nearest = world.nearest(&Position::of_block(key), *node);
            right += usize::from(closest.iter().any(|peer| peer.id == nearest));
            closest.iter().for_each(|peer: &PeerInfo| world.tell(*node, &peer.id, *key));
        }
        churn(world, leave);
        world.run_for(Duration::from_secs(2));
        let finds = keys
            .iter()
            .map(|(_, key)| (world.somebody(), Find::Providers { key: *key, wanted: 4000 }));
        let finds = finds.collect();
        let searches = world.lookups(finds);
        for ((node, _), search) in keys.iter().zip(&searches) {
            found += usize::from(search.providers.contains(&world.nodes[*node].info.id));
        }
        all.extend(outcomes);
        all.extend(searches);
    }
    let outcome = |found: &Found| found.outcome.clone().unwrap();
    let rounds = blocks.div_ceil(50) as f64 * 50.0;
    Figures {
        closest: right as f64 / rounds,
        providers: found as f64 / rounds,
        hops: all.iter().map(|found| outcome(found).hops).max().unwrap_or_default(),
        messages: median(&mut all.iter().map(|found| outcome(found).asked).collect::<Vec<_>>()),
        took: median(&mut all.iter().map(|found| found.took).collect::<Vec<_>>()),
    }
}

fn print(what: &str, world: &mut World, figures: &Figures) {
    let Figures { closest, providers, hops, messages, took } = figures;
    let size = taken_for(world);
    println!(
        "{what}: {} nodes, nearest peer found {:.1} %, provider found {:.1} %, at most {hops} hops, \
         median {messages} messages and {} ms, {} messages in all, network taken for {size}",
        world.nodes.len(),
        closest * 100.0,
        providers * 100.0,
        took.as_millis(),
        world.messages,
    );
}

/// How large nodes think that the network is, in the median.
fn taken_for(world: &mut World) -> usize {
    let sizes = (0..100).filter_map(|_| {
        let node = world.somebody();
        world.stats(node).network_size
    });
    median(&mut sizes.collect::<Vec<_>>()) as usize
}

fn cheap(servers: usize, figures: &Figures) {
    let log = (servers as f64).log2();
    assert!(f64::from(figures.hops) <= log.ceil(), "{} hops", figures.hops);
    assert!(figures.messages as f64 <= 20.0 + 10.0 * log, "{} messages", figures.messages);
}

#[test]
fn an_honest_network_finds_what_is_there() {
    for seed in seeds(1, 1) {
        let servers = size();
        let mut world = network(Settings { seed, loss: 5, paths: 1 }, servers, 0);
        let figures = measure(&mut world, 300, servers / 200);
        print("honest", &mut world, &figures);
        assert!(figures.success() >= 0.99);
        cheap(servers, &figures);
        let size = taken_for(&mut world);
        assert!((servers / 2..servers * 2).contains(&size), "taken for {size}");
    }
}

#[test]
fn a_fifth_of_liars_hides_little() {
    for seed in seeds(1, 1) {
        let servers = size();
        let mut world = network(Settings { seed, loss: 5, paths: 1 }, servers, servers / 5);
        let figures = measure(&mut world, 300, servers / 200);
        print("a fifth lies", &mut world, &figures);
        assert!(figures.success() >= 0.95);
        cheap(servers, &figures);
    }
}

/// Whoever wants to hide one key starts nodes nearest to it, on the machines that they have.
#[test]
fn a_key_under_sybils() {
    for seed in seeds(1, 1) {
        let servers = size();
        let mut world = network(Settings { seed, loss: 0, paths: 1 }, servers, 0);
        let key = key(&mut world);
        let target = Position::of_block(&key);
        let bits = servers.ilog2() + 3;
        for number in 0..40_u64 {
            let id = loop {
                let id = name(world.numbers.next());
                if Position::of_peer(&id).common_prefix(&target) >= bits {
                    break id;
                }
            };
            let address = format!("/ip4/8.{}.{}.1/tcp/1", number % 2, number % 200);
            let info = PeerInfo::new(id, vec![address.parse().unwrap()]);
            let sybil = world.add_as(info, true, Some(Liar::Sybil));
            world.join(sybil, Duration::ZERO, (0..5).collect());
        }
        world.run_for(Duration::from_secs(700));
        let publisher = world.somebody();
        world.sweep(publisher, vec![key]);
        let askers: Vec<usize> = (0..100).map(|_| world.somebody_else(publisher)).collect();
        let finds = askers.into_iter().map(|asker| (asker, Find::Providers { key, wanted: 100 }));
        let found = world.lookups(finds.collect());
        let id = world.nodes[publisher].info.id;
        let found = found.iter().filter(|search| search.providers.contains(&id)).count();
        println!("40 sybils of two groups of addresses around a key: found {found} of 100 times");
        assert!(found >= 95);
    }
}

/// Blocks announced by regions, against a lookup for each.
#[test]
fn a_sweep_takes_few_lookups_and_hides_nothing() {
    for seed in seeds(1, 1) {
        let servers = size();
        let blocks = if is_soak() { 100_000 } else { 10_000 };
        let mut world = network(Settings { seed, loss: 5, paths: 1 }, servers, 0);
        let node = world.somebody();
        let keys: Vec<Multihash> = (0..blocks).map(|_| key(&mut world)).collect();
        let (lookups, messages) = world.sweep(node, keys.clone());
        let (mut found, mut tried, mut asked) = (0, 0, Vec::new());
        for some in keys.chunks(blocks / 20) {
            let finds = some.iter().step_by(some.len() / 50);
            let finds: Vec<(usize, Find)> = finds
                .map(|key| (world.somebody_else(node), Find::Providers { key: *key, wanted: 100 }))
                .collect();
            tried += finds.len();
            for search in world.lookups(finds) {
                found += usize::from(search.providers.contains(&world.nodes[node].info.id));
                asked.push(search.outcome.unwrap().asked);
            }
        }
        let alone = blocks * (median(&mut asked) + 20);
        println!(
            "{blocks} blocks in a network of {servers}: {lookups} lookups, {messages} messages \
             (some {alone} one by one); found {found} of {tried}",
        );
        // A million in the interval of 22 hours: the lookups are those of the regions, whatever stands
        // in them, or one for each of the 2,048 slots that the provider cuts the keyspace into.
        let (rest, interval) = (messages - 20 * blocks, 22 * 3600);
        let bytes = 20_000_000 * world.record_bytes(node) + rest.max(2048 * 80) * 500;
        println!("a million blocks in 22 hours: {} bytes a second", bytes / interval);
        assert!(lookups * 100 <= blocks, "{lookups} lookups");
        assert!(found * 100 >= tried * 99, "{found} of {tried}");
    }
}
