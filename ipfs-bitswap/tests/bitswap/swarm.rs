//! Many bare engines on one virtual clock, with liars, churn, loss and slow links: every fetch that
//! can complete does.

use std::{collections::BTreeSet, time::Duration};

use ipfs_bitswap::engine::SessionId;
use ipfs_traits::{Block, Cid, PeerId, memory::peer_id};

use crate::{
    numbers::Numbers,
    world::{Lie, Link, World, blocks, cids},
};

/// What one node wants.
struct Fetch {
    at: PeerId,
    session: SessionId,
    wanted: Vec<Cid>,
    outstanding: BTreeSet<Cid>,
    got: usize,
    all: usize,
}

const WINDOW: usize = 32;

impl Fetch {
    fn go_on(&mut self, world: &mut World) {
        for (_, cid) in world.delivered(self.at) {
            assert!(self.outstanding.remove(&cid), "{cid} was delivered and not wanted");
            self.got += 1;
        }
        while self.outstanding.len() < WINDOW
            && let Some(cid) = self.wanted.pop()
        {
            self.outstanding.insert(cid);
            world.want(self.at, self.session, cid);
        }
    }
}

/// What came of it.
#[derive(Debug, PartialEq)]
struct Outcome {
    took: Duration,
    messages: u64,
    blocks: u64,
    duplicates: u64,
    unwanted: u64,
    most_reading: u64,
    most_wants: usize,
}

const FILES: u64 = 12;
const BLOCKS: usize = 60;
const BLOCK: usize = 16_000;

/// So many nodes, a fifth of them liars; each of the honest ones has some files, and wants one that
/// two others at least have.
fn swarm(seed: u64, count: u64) -> Outcome {
    let mut numbers = Numbers(seed);
    let link = Link {
        delay: (Duration::from_millis(1), Duration::from_millis(300)),
        far: true,
        loss: numbers.below(2) * 5,
        bandwidth: 1e6 * (1 + numbers.below(20)) as f64,
    };
    let mut world = World::new(seed, count, link);
    world.routing = true;
    let files: Vec<Vec<Block>> =
        (0..FILES).map(|file| blocks(seed ^ (file << 32), BLOCKS, BLOCK)).collect();
    // Few flood: each want of theirs is remembered by those who are asked, in one process here.
    let quiet = [Lie::Have, Lie::Garbage, Lie::Silence];
    let honest: Vec<u64> = (0..count).filter(|i| i % 5 != 0).collect();
    for i in (0..count).step_by(5) {
        let n = i / 5;
        let lie = if n % 8 == 3 { Lie::Flood } else { quiet[(n % 3) as usize] };
        world.lie(peer_id(i), lie);
    }
    for (n, i) in honest.iter().enumerate() {
        let has = &files[n % FILES as usize];
        // Two have all of it, others what they came by.
        let some = if n < 2 * FILES as usize { BLOCKS } else { numbers.below(30) as usize };
        world.give(peer_id(*i), &has[..some]);
    }
    for i in 0..count {
        for _ in 0..4 {
            let other = numbers.below(count);
            if other != i {
                world.connect(peer_id(i), peer_id(other));
            }
        }
    }
    // Those that have all of a file are always there, or come back.
    for i in honest.iter().skip(1).step_by(4) {
        world.churn(peer_id(*i));
    }
    let mut fetches: Vec<Fetch> = Vec::new();
    for (n, i) in honest.iter().enumerate() {
        let wants = &files[(n + 1 + numbers.below(FILES - 1) as usize) % FILES as usize];
        let (at, wanted) = (peer_id(*i), cids(wants));
        let session = world.session(at);
        let (outstanding, all) = (BTreeSet::new(), wanted.len());
        fetches.push(Fetch { at, session, wanted, outstanding, got: 0, all });
    }
    run(&mut world, &mut fetches, seed);
    outcome(&world, &honest)
}

fn run(world: &mut World, fetches: &mut [Fetch], seed: u64) {
    fetches.iter_mut().for_each(|fetch| fetch.go_on(world));
    let mut left = fetches.len();
    for step in 0_u64.. {
        if step % 64 == 0 {
            fetches.iter_mut().filter(|f| f.got < f.all).for_each(|fetch| fetch.go_on(world));
            left = fetches.iter().filter(|fetch| fetch.got < fetch.all).count();
        }
        if left == 0 {
            return;
        }
        let late = world.elapsed() > Duration::from_secs(3600);
        if late || !world.step() {
            let missing = fetches.iter().filter(|fetch| fetch.got < fetch.all);
            let missing: Vec<_> = missing.map(|f| (f.at, f.got, f.outstanding.len())).collect();
            panic!("seed {seed}: after {:?} {missing:?}", world.elapsed());
        }
    }
}

fn outcome(world: &World, honest: &[u64]) -> Outcome {
    let stats: Vec<_> = honest.iter().map(|i| world.engine(peer_id(*i)).stats()).collect();
    Outcome {
        took: world.elapsed(),
        messages: world.messages,
        blocks: stats.iter().map(|stats| stats.blocks_received).sum(),
        duplicates: stats.iter().map(|stats| stats.duplicates).sum(),
        unwanted: stats.iter().map(|stats| stats.unwanted).sum(),
        most_reading: world.most_reading,
        most_wants: world.most_wants,
    }
}

#[test]
fn every_fetch_that_can_complete_does() {
    let soak = std::env::var_os("IPFS_SOAK").is_some();
    let count = if soak { 1000 } else { 100 };
    for seed in crate::simulation::seeds(2, 1) {
        let outcome = swarm(seed, count);
        println!("swarm of {count}, seed {seed}: {outcome:?}");
        // What is read for all, and a block that began when there was one byte of room.
        assert!(outcome.most_reading <= (64 << 20) + (2 << 20), "{outcome:?}");
        assert!(outcome.most_wants <= 1024, "{outcome:?}");
    }
}

#[test]
fn a_swarm_repeats_exactly() {
    assert_eq!(swarm(11, 30), swarm(11, 30));
}

/// Ten who have all of it: hardly a block comes twice, and all of them give.
#[test]
fn ten_equal_peers_share_the_work() {
    for seed in crate::simulation::seeds(200, 8) {
        for (len, count) in [(256_000, 400), (900, 10_000)] {
            let link = Link { bandwidth: 1e7, ..Link::GOOD };
            let mut world = World::new(seed, 11, link);
            let blocks = blocks(seed, count, len);
            for i in 1..=10 {
                world.give(peer_id(i), &blocks);
                world.connect(peer_id(0), peer_id(i));
            }
            crate::world::fetch(&mut world, peer_id(0), &cids(&blocks), 128, |_, _| {}).unwrap();
            let stats = world.engine(peer_id(0)).stats();
            let gave: Vec<u64> = (1..=10)
                .map(|i| world.engine(peer_id(i)).ledger(&peer_id(0)).blocks_sent)
                .collect();
            println!("seed {seed}, {count} blocks of {len}: {} twice, {gave:?}", stats.duplicates);
            let most = count as u64 / 100;
            assert!(stats.duplicates <= most, "seed {seed}: {} duplicates", stats.duplicates);
            let least = gave.iter().min().unwrap();
            assert!(*least >= count as u64 / 40, "seed {seed}: {gave:?}");
        }
    }
}

/// One who asks for very much does not keep one waiting who asks for little: with it, the modest
/// one has at least half of the server's link, in turns.
#[test]
fn a_greedy_peer_costs_a_modest_one_no_more_than_its_share() {
    let (server, greedy, modest) = (peer_id(0), peer_id(1), peer_id(2));
    let time = |with_greedy: bool| {
        let link = Link { bandwidth: 1e7, ..Link::GOOD };
        let mut world = World::new(5, 3, link);
        let (much, little) = (blocks(1, 1000, 1 << 18), blocks(2, 100, 100_000));
        world.give(server, &little);
        world.give(server, &much);
        world.connect(server, modest);
        if with_greedy {
            world.connect(server, greedy);
            let session = world.session(greedy);
            much.iter().for_each(|block| world.want(greedy, session, *block.cid()));
            while world.elapsed() < Duration::from_secs(2) && world.step() {}
        }
        let before = world.elapsed();
        crate::world::fetch(&mut world, modest, &cids(&little), 8, |_, _| {}).unwrap();
        let took = world.elapsed() - before;
        // It is not served by starving the other.
        let sent = world.engine(server).ledger(&greedy).bytes_sent;
        assert!(!with_greedy || sent > 10 << 20, "{sent}");
        took
    };
    let (alone, beside) = (time(false), time(true));
    println!("a modest peer alone {alone:?}, beside a greedy one {beside:?}");
    assert!(beside < alone * 4, "{alone:?} alone, {beside:?} beside a greedy one");
}
