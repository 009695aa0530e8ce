//! What must hold of a message whatever a peer sends: shared by the test and the fuzz target.

use std::time::Instant;

use ipfs_bitswap::{
    engine::Engine,
    message::{Received, Version},
};
use ipfs_traits::{Block, Bytes, HashTable, memory::peer_id};

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
    let blocks = message
        .payloads()
        .filter_map(|(prefix, data)| Block::with_prefix(&prefix, data, &hashes).ok())
        .collect();
    let (mut engine, now) = (Engine::new([0; 32]), Instant::now());
    engine.handle_connected(peer_id(0), Version::V1_2, now);
    engine.handle_message(peer_id(0), &message, blocks, now);
    assert!(engine.wantlist_of(&peer_id(0)).len() <= 1024);
    while engine.poll_output().is_some() {}
    while engine.poll_transmit(peer_id(0), 1 << 20, now).is_some() {}
    engine.handle_gone(peer_id(0), now);
}
