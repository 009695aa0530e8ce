//! What must hold of a message whatever a peer sends: shared by the test and the fuzz target.

use std::time::Instant;

use ipfs_bitswap::{
    engine::{Engine, Output},
    message::{Received, Version},
};
use ipfs_traits::{Block, Bytes, Cid, HashTable, memory::peer_id};

/// Parses `input`, reads everything there is to read, and hands it to an engine.
pub(crate) fn message(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let parsed = crate::memory::bounded(input, || Received::parse(bytes));
    let Ok(message) = parsed else { return };
    crate::memory::bounded(input, || {
        let entries = message.entries().count();
        entries + message.presences().count() + message.payloads().count()
    });
    let hashes = HashTable::standard();
    let blocks: Vec<Block> = message
        .payloads()
        .filter_map(|(prefix, data)| Block::with_prefix(&prefix, data, &hashes).ok())
        .collect();
    for version in [Version::V1_0, Version::V1_2] {
        hand_over(&message, &blocks, version);
    }
}

/// Hands a message to an engine that wants some of what is in it, and lets time pass.
fn hand_over(message: &Received, blocks: &[Block], version: Version) {
    let (mut engine, mut now) = (Engine::new([0; 32]), Instant::now());
    let (peer, session) = (peer_id(0), engine.open_session());
    engine.handle_connected(peer, version, now);
    let named = message.presences().map(|(cid, _)| cid).take(4);
    let wanted: Vec<Cid> = named.chain(blocks.iter().map(|block| *block.cid()).take(4)).collect();
    wanted.iter().for_each(|cid| engine.want(session, *cid, now));
    let mut delivered = 0;
    for _ in 0..3 {
        engine.handle_message(peer, message, blocks.to_vec(), now);
        assert!(engine.wantlist_of(&peer).len() <= 1024);
        while let Some(output) = engine.poll_output() {
            delivered += usize::from(matches!(output, Output::Deliver { .. }));
        }
        while engine.poll_transmit(peer, 1 << 20, now).is_some() {}
        if let Some(at) = engine.poll_timeout() {
            now = now.max(at);
            engine.handle_timeout(now);
        }
    }
    assert!(delivered <= wanted.len());
    engine.handle_gone(peer, now);
    engine.close_session(session);
    assert_eq!(engine.wantlist().count(), 0);
}
