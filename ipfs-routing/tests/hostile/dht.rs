//! What must hold of a message of the DHT whatever a peer sends: shared by the test and the fuzz
//! target.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use futures::executor::block_on;
use ipfs_routing::{
    Validators,
    dht::{
        Answers, Limits, Records, Scope,
        engine::{Config, Engine, Find, Now},
        message::{MAX_ANSWER, MAX_CLOSER, MAX_KEY, MAX_PEER_ADDRESSES, MAX_PROVIDERS, Message},
    },
};
use ipfs_traits::memory::{MemoryDatastore, peer_id};

/// Reads a message; it is a request to a node, and an answer to its lookups.
pub(crate) fn dht(input: &[u8]) {
    let (read, peak) = crate::memory::peak(|| Message::decode(input));
    // Some bytes of an address become 80; how many of them there may be is bounded.
    assert!(peak <= 40 * input.len() + (64 << 10), "{peak} bytes for {}", input.len());
    let Ok(message) = read else { return };
    assert!(message.key.len() <= MAX_KEY);
    assert!(message.closer.len() <= MAX_CLOSER && message.providers.len() <= MAX_PROVIDERS);
    let peers = message.closer.iter().chain(&message.providers);
    assert!(peers.into_iter().all(|peer| peer.addresses.len() <= MAX_PEER_ADDRESSES));
    assert_eq!(Message::decode(&message.encode()).expect("it was read"), message);
    for scope in [Scope::Wan, Scope::Any] {
        hand_over(&message, scope);
    }
}

fn hand_over(message: &Message, scope: Scope) {
    let mut now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
    let mut config = Config::new(scope);
    config.validators = Validators::standard();
    let engine = Arc::new(Mutex::new(Engine::new(peer_id(0), config, [0; 32], now.instant)));
    let store = Arc::new(MemoryDatastore::new());
    let records = block_on(Records::open(store, scope, Limits::default(), now.wall));
    let answers = Answers::new(engine.clone(), Arc::new(records.expect("memory does not fail")));
    if let Ok(Some(answer)) = block_on(answers.answer(&peer_id(1), message.clone(), now)) {
        assert!(answer.encode().len() <= MAX_ANSWER);
    }

    let mut engine = engine.lock().expect("no panic");
    let at = "/ip4/8.8.8.8/tcp/1".parse().expect("an address");
    engine.handle_candidate(ipfs_traits::PeerInfo::new(peer_id(1), vec![at]));
    let key = message.key.clone();
    let mut finds = vec![Find::Value { key: key.clone(), quorum: 1 }];
    finds.push(Find::Closest { key, wanted: 20 });
    finds.push(Find::Peer(peer_id(2)));
    finds.push(Find::Providers { key: *peer_id(3).as_ref(), wanted: 5 });
    // The peer has to answer before it is asked.
    let mut asked = 0;
    for round in 0..3 {
        if round == 1 {
            for find in finds.drain(..) {
                engine.start(find, now.instant);
            }
        }
        while let Some(query) = engine.poll_query(now.instant) {
            asked += 1;
            engine.handle_reply(query.id, Ok(message.clone()), now);
            assert!(asked <= 10_000, "it asks without end");
        }
        while engine.poll_event().is_some() {}
        now.instant += Duration::from_secs(61);
        engine.handle_timeout(now.instant);
    }
}
