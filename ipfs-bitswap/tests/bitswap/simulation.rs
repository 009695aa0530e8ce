//! Bare engines against delay, loss, silence, lies and nodes that stop: the same for a seed.

use std::time::Duration;

use ipfs_traits::memory::peer_id;

use crate::{
    numbers::Numbers,
    world::{Lie, Link, World, blocks, cids, fetch},
};

pub(crate) fn seeds(soak: u64, few: u64) -> std::ops::Range<u64> {
    let count = if std::env::var_os("IPFS_SOAK").is_some() { soak } else { few };
    let start = std::env::var("IPFS_SEED").ok().and_then(|seed| seed.parse().ok());
    let start = start.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.subsec_nanos().into()
    });
    println!("seeds from {start} on, {count} of them");
    start..start + count
}

/// A link of any quality that a seed gives: up to 100 ms, and half of them lose up to 5 % of all
/// messages.
fn any_link(numbers: &mut Numbers) -> Link {
    let least = Duration::from_millis(numbers.below(50));
    Link {
        delay: (least, least + Duration::from_millis(numbers.below(50))),
        far: false,
        loss: numbers.below(2) * numbers.below(50),
        bandwidth: 1e6 * (1 + numbers.below(100)) as f64,
    }
}

#[test]
fn two_serve_together_and_one_of_them_stops_halfway() {
    let (a, b, c) = (peer_id(0), peer_id(1), peer_id(2));
    let mut of_stopped = Vec::new();
    for seed in seeds(2000, 40) {
        let mut numbers = Numbers(seed);
        let link = any_link(&mut numbers);
        let mut world = World::new(seed, 3, link);
        let blocks = blocks(seed, 400, 20_000);
        for server in [a, b] {
            world.give(server, &blocks);
            world.connect(c, server);
        }
        let stops = numbers.below(2) == 0;
        let halfway = |world: &mut World, got| {
            if stops && got == 200 {
                world.stop(a);
            }
        };
        let done = fetch(&mut world, c, &cids(&blocks), 32, halfway);
        done.unwrap_or_else(|error| panic!("seed {seed}, {link:?}: {error}"));
        let sent = [a, b].map(|server| world.engine(server).stats().blocks_sent);
        // Where messages are lost, what was in them is waited for, and the other one does the work.
        // One that stops has half of the time, and may be the slower one by chance.
        let least = if stops { 40 } else { 60 };
        let shared = link.loss > 0 || sent.iter().all(|sent| *sent >= least);
        assert!(shared, "seed {seed}: {sent:?}, {link:?}");
        if link.loss == 0 && stops {
            of_stopped.push(sent[0]);
        }
        let stats = world.engine(c).stats();
        assert_eq!(stats.blocks_received, 400);
        if link.loss == 0 && !stops {
            let more = stats.duplicates * 100 / 400;
            assert!(more <= 2, "seed {seed}: {} duplicates", stats.duplicates);
        }
        assert_eq!(world.engine(c).wantlist().count(), 0);
    }
    // Of the 200 blocks before a stop, and some that were on their way.
    let average = of_stopped.iter().sum::<u64>() / of_stopped.len().max(1) as u64;
    assert!(of_stopped.is_empty() || average >= 85, "{average} blocks, {of_stopped:?}");
}

#[test]
fn silence_and_lies_are_passed_by() {
    let (a, b, c, d) = (peer_id(0), peer_id(1), peer_id(2), peer_id(3));
    for seed in seeds(500, 10) {
        let mut world = World::new(seed, 4, Link::GOOD);
        let blocks = blocks(seed, 100, 5000);
        world.give(b, &blocks);
        world.give(d, &blocks);
        world.lie(a, Lie::Have);
        for server in [a, b, d] {
            world.connect(c, server);
        }
        let silence = |world: &mut World, got| {
            if got == 50 {
                world.freeze(d);
            }
        };
        fetch(&mut world, c, &cids(&blocks), 16, silence).unwrap();
        assert!(world.elapsed() < Duration::from_secs(120), "seed {seed}: {:?}", world.elapsed());
    }
}

#[test]
fn what_nobody_has_is_searched_for_and_served_when_it_comes() {
    let (a, c) = (peer_id(0), peer_id(1));
    let mut world = World::new(1, 2, Link::GOOD);
    let blocks = blocks(1, 3, 2000);
    world.connect(a, c);
    let session = world.session(c);
    for block in &blocks {
        world.want(c, session, *block.cid());
    }
    while world.elapsed() < Duration::from_secs(20) && world.step() {}
    assert!((2..=6).contains(&world.searches(c)), "{} searches in 20 s", world.searches(c));
    assert!(world.delivered(c).is_empty());
    // The peer remembers what it was asked, and gives it as soon as it has it.
    let before = world.elapsed();
    world.give(a, &blocks);
    while world.engine(c).wantlist().count() > 0 {
        assert!(world.step());
        assert!(world.elapsed() - before < Duration::from_secs(1));
    }
    assert!(world.elapsed() - before < Duration::from_millis(50));
}

/// The same seed gives the same run, message by message.
#[test]
fn a_run_repeats_exactly() {
    let run = |seed| {
        let mut world = World::new(seed, 5, Link { loss: 20, ..Link::GOOD });
        let blocks = blocks(seed, 200, 3000);
        for i in 0..4 {
            world.give(peer_id(i), &blocks[(i as usize * 30)..(i as usize * 30 + 110).min(200)]);
            world.connect(peer_id(4), peer_id(i));
        }
        let mut order = Vec::new();
        let done = fetch(&mut world, peer_id(4), &cids(&blocks), 24, |world, got| {
            order.push((world.elapsed(), got));
        });
        done.unwrap();
        (world.messages, order)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, 0);
}

/// Two sessions that want the same are one want, which ends with the last of them.
#[test]
fn a_want_of_two_sessions_is_one() {
    let (a, c) = (peer_id(0), peer_id(1));
    let mut world = World::new(3, 2, Link::GOOD);
    let wanted = blocks(3, 1, 2000);
    world.connect(a, c);
    let (one, other) = (world.session(c), world.session(c));
    world.want(c, one, *wanted[0].cid());
    world.want(c, other, *wanted[0].cid());
    while world.step() && world.elapsed() < Duration::from_millis(500) {}
    assert_eq!(world.engine(a).wantlist_of(&c).len(), 1);
    world.cancel(c, one, wanted[0].cid());
    assert_eq!(world.engine(c).wantlist().count(), 1);
    world.close_session(c, other);
    assert_eq!(world.engine(c).wantlist().count(), 0);
    while world.step() {}
    assert_eq!(world.engine(a).wantlist_of(&c).len(), 0, "the peer was told");
}
