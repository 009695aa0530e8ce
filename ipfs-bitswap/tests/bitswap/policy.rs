//! Who is served, how fast, and what is remembered of it.

use std::{sync::Arc, time::Duration};

use ipfs_bitswap::{Ledger, Options, Policy, RateLimits, engine::Engine, message::Version};
use ipfs_traits::{
    BlockSource, BlockstoreExt, Cid, Exchange, Network, PeerId, Runtime, memory::peer_id,
};

use crate::{
    engine::{outputs, received},
    place::{Place, all},
    world::blocks,
};

const MIB: u64 = 1 << 20;

/// How long it takes to fetch 10 MiB with limits at both ends.
fn with_limits(server: RateLimits, client: RateLimits) -> Duration {
    let place = Place::new();
    let options = |limits| {
        let mut options = Options::default();
        options.rate_limits = limits;
        options
    };
    let (a, c) =
        (place.node_with(1, options(server), |_| ()), place.node_with(2, options(client), |_| ()));
    let blocks = blocks(30, 40, 1 << 18);
    place.run(async {
        a.store.put_many_blocks(&blocks).await;
        c.network.connect(&peer_id(1).into()).await.unwrap();
        let before = place.runtime.now();
        assert_eq!(all(&c.bitswap.session(None), &blocks).await.unwrap().len(), 40);
        place.runtime.now() - before
    })
}

/// A store that is filled in one go.
trait Fill {
    async fn put_many_blocks(&self, blocks: &[ipfs_traits::Block]);
}

impl Fill for Arc<ipfs_traits::memory::MemoryStore> {
    async fn put_many_blocks(&self, blocks: &[ipfs_traits::Block]) {
        ipfs_traits::Blockstore::put_many(self, blocks).await.unwrap();
    }
}

#[test]
fn each_limit_of_rate_is_kept() {
    let none = RateLimits::default();
    assert!(with_limits(none, none) < Duration::from_secs(1));
    let set = |change: fn(&mut RateLimits)| {
        let mut limits = none;
        change(&mut limits);
        limits
    };
    let up = set(|limits| limits.up = Some(MIB));
    let up_each = set(|limits| limits.up_per_peer = Some(MIB));
    let down = set(|limits| limits.down = Some(MIB));
    let down_each = set(|limits| limits.down_per_peer = Some(MIB));
    for (server, client) in [(up, none), (up_each, none), (none, down), (none, down_each)] {
        let took = with_limits(server, client).as_secs_f64();
        // Ten seconds' worth, and a message more or less.
        assert!((8.0..13.0).contains(&took), "{took} s for {server:?}, {client:?}");
    }
}

/// A limit that stops nearly everything is taken away, and the rest comes at once; what the peer is
/// to be told is not held up by it meanwhile.
#[test]
fn limits_change_while_they_hold() {
    let place = Place::new();
    let (a, c) = (place.node(1), place.node(2));
    let mut limits = RateLimits::default();
    limits.up = Some(1);
    a.bitswap.set_rate_limits(limits);
    assert_eq!(a.bitswap.rate_limits(), limits);
    let blocks = blocks(31, 40, 1 << 18);
    place.run(async {
        a.store.put_many_blocks(&blocks).await;
        c.network.connect(&peer_id(1).into()).await.unwrap();
        let session = c.bitswap.session(None);
        assert_eq!(session.get(blocks[0].cid()).await.unwrap(), blocks[0]);
        let mut rest = Box::pin(all(&session, &blocks[1..]));
        let waited = futures::future::select(&mut rest, Box::pin(place.sleep(HOUR)));
        assert!(matches!(waited.await, futures::future::Either::Right(_)), "it is limited");

        // The other way nothing is limited, and nothing waits.
        c.store.put(blocks[1].clone()).await.unwrap();
        let other = a.bitswap.session(None).get(blocks[1].cid()).await;
        assert_eq!(other.unwrap(), blocks[1]);

        a.bitswap.set_rate_limits(RateLimits::default());
        let changed = place.runtime.now();
        assert_eq!(rest.await.unwrap().len(), 39);
        assert!(place.runtime.now() - changed < Duration::from_secs(10));
    });
}

const HOUR: Duration = Duration::from_secs(3600);

/// Serves all but one.
#[derive(Debug)]
struct Choosy;

impl Policy for Choosy {
    fn serves(&self, peer: &PeerId, _: &Cid) -> bool {
        *peer != peer_id(9)
    }
}

#[test]
fn whom_the_policy_refuses_is_told_that_nothing_is_here() {
    let place = Place::new();
    let mut options = Options::default();
    options.policy = Arc::new(Choosy);
    let server = place.node_with(1, options, |_| ());
    let (friend, other) = (place.node(2), place.node(9));
    let block = blocks(32, 1, 5000).remove(0);
    place.run(async {
        server.store.put(block.clone()).await.unwrap();
        for node in [&friend, &other] {
            node.network.connect(&peer_id(1).into()).await.unwrap();
        }
        assert_eq!(friend.bitswap.session(None).get(block.cid()).await.unwrap(), block);
        let session = other.bitswap.session(None);
        let refused =
            futures::future::select(session.get(block.cid()), Box::pin(place.sleep(HOUR)));
        assert!(matches!(refused.await, futures::future::Either::Right(_)));
        assert_eq!(server.bitswap.ledger(&peer_id(9)).wants_refused, 1);
        assert_eq!(server.bitswap.ledger(&peer_id(9)).blocks_sent, 0);
        let ledger = server.bitswap.ledger(&peer_id(2));
        assert_eq!((ledger.blocks_sent, ledger.bytes_sent), (1, 5000));
        let ledger = friend.bitswap.ledger(&peer_id(1));
        assert_eq!((ledger.blocks_received, ledger.bytes_received), (1, 5000));
    });
}

/// What a peer gave and took is remembered when it goes, of the last thousand that went.
#[test]
fn ledgers_outlive_connections() {
    let (mut engine, now) = (Engine::new([4; 32]), std::time::Instant::now());
    let all = blocks(34, 1, 100);
    let meet = |engine: &mut Engine, number| {
        let peer = peer_id(number);
        engine.handle_connected(peer, Version::V1_2, now);
        let session = engine.open_session();
        engine.handle_providers(session, &[peer.into()], now);
        engine.want(session, *all[0].cid(), now);
        engine.poll_transmit(peer, 1 << 20, now);
        engine.handle_message(peer, &received(&Default::default()), all.clone(), now);
        outputs(engine);
        engine.handle_gone(peer, now);
    };
    meet(&mut engine, 1);
    assert_eq!(engine.ledger(&peer_id(1)).blocks_received, 1);
    meet(&mut engine, 1);
    assert_eq!(engine.ledger(&peer_id(1)).blocks_received, 2);
    (2..1026).for_each(|number| meet(&mut engine, number));
    assert_eq!(engine.ledger(&peer_id(1)), Ledger::default());
    assert_eq!(engine.ledger(&peer_id(1025)).bytes_received, 100);
}
