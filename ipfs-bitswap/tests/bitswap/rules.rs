//! Rules of other implementations for what stands in one message, held against what the engine sends.

use std::time::Instant;

use ipfs_bitswap::{
    engine::{Engine, Output},
    message::{Entry, MAX_MESSAGE, Message, Received, Version, Want},
};
use ipfs_traits::{Block, Bytes, Cid, Error, HashTable, Prefix, memory::peer_id, varint};

use crate::{
    engine::{found, number, outputs, received},
    support::{Report, table},
    world::blocks,
};

fn entry(cid: Cid, want: Want, priority: i32, send_dont_have: bool) -> Entry {
    Entry { cid, want, priority, send_dont_have }
}

/// An engine that a peer has asked for this, in one message.
fn asked(entries: Vec<Entry>) -> Engine {
    let (mut engine, now) = (Engine::new([6; 32]), Instant::now());
    engine.handle_connected(peer_id(0), Version::V1_2, now);
    let message = received(&Message { entries, ..Message::default() });
    engine.handle_message(peer_id(0), &message, vec![], now);
    engine
}

/// All that it then says to the peer, if it has these blocks.
fn said(engine: &mut Engine, have: &[Block]) -> Vec<Message> {
    let (peer, now) = (peer_id(0), Instant::now());
    let size = have.first().map(|block| block.len() as u64);
    for output in found(engine, size) {
        if let Output::Load { cids, .. } = output {
            let get = |cid| (cid, have.iter().find(|block| *block.cid() == cid).cloned());
            engine.handle_loaded(peer, cids.into_iter().map(get).collect());
        }
    }
    outputs(engine);
    std::iter::from_fn(|| engine.poll_transmit(peer, 1 << 20, now)).collect()
}

fn one(mut messages: Vec<Message>) -> Message {
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

fn dedupe_blocks() {
    let block = blocks(60, 1, 5000).remove(0);
    let want = entry(*block.cid(), Want::Block, 1, true);
    let message = one(said(&mut asked(vec![want, want]), std::slice::from_ref(&block)));
    assert_eq!(message.blocks, [block]);
}

fn dedupe_presence() {
    let want = entry(number(1), Want::Have, 1, true);
    let mut engine = asked(vec![want, want]);
    found(&mut engine, Some(5000));
    let again = received(&Message { entries: vec![want], ..Message::default() });
    engine.handle_message(peer_id(0), &again, vec![], Instant::now());
    found(&mut engine, Some(5000));
    let message = engine.poll_transmit(peer_id(0), 1 << 20, Instant::now()).unwrap();
    assert_eq!(message.presences, [(number(1), true)]);
}

/// Neither comes beside the other, in whichever order they were asked for.
fn block_overrides_have() {
    let block = blocks(61, 1, 5000).remove(0);
    let [have, whole] = [Want::Have, Want::Block].map(|want| entry(*block.cid(), want, 1, true));
    let mut engine = asked(vec![have]);
    found(&mut engine, Some(5000));
    let message = received(&Message { entries: vec![whole], ..Message::default() });
    engine.handle_message(peer_id(0), &message, vec![], Instant::now());
    let message = one(said(&mut engine, std::slice::from_ref(&block)));
    assert_eq!((message.blocks.len(), message.presences.len()), (1, 0));
    for entries in [vec![have, whole], vec![whole, have]] {
        let message = one(said(&mut asked(entries), std::slice::from_ref(&block)));
        assert_eq!((message.blocks.len(), message.presences.len()), (1, 0));
    }
}

fn send_dont_have_sticky() {
    for [first, second] in [[true, false], [false, true], [false, false]] {
        let entries = [first, second].map(|say| entry(number(2), Want::Block, 1, say)).to_vec();
        let messages = said(&mut asked(entries), &[]);
        let presences: Vec<_> = messages.iter().flat_map(|message| &message.presences).collect();
        assert_eq!(presences.len(), usize::from(first || second));
    }
}

/// What is wanted most is sent first.
fn priority_of_the_same_type() {
    let all = blocks(62, 2, 2000);
    let [a, b] = [*all[0].cid(), *all[1].cid()];
    let first = |changed: Entry| {
        let entries = vec![entry(a, Want::Block, 5, true), entry(b, Want::Block, 1, true), changed];
        said(&mut asked(entries), &all)[0].blocks[0].clone()
    };
    assert_eq!(first(entry(b, Want::Block, 9, true)), all[1]);
    assert_eq!(first(entry(b, Want::Have, 9, true)), all[0]);
    let entries = vec![
        entry(a, Want::Block, 5, true),
        entry(b, Want::Have, 1, true),
        entry(b, Want::Block, 9, true),
    ];
    assert_eq!(said(&mut asked(entries), &all)[0].blocks[0], all[0]);
}

/// Messages are made of what is wanted when they are sent: one that is wanted, no longer wanted and
/// wanted again stands there once, as wanted; one that is no longer wanted before it was sent not
/// at all.
fn cancel_wins() {
    let now = Instant::now();
    let mut engine = Engine::new([7; 32]);
    engine.handle_connected(peer_id(0), Version::V1_2, now);
    let session = engine.open_session();
    engine.handle_providers(session, &[peer_id(0).into()], now);
    engine.want(session, number(3), now);
    engine.cancel(session, &number(3));
    assert!(engine.poll_transmit(peer_id(0), 1 << 20, now).is_none());
    engine.want(session, number(3), now);
    engine.poll_transmit(peer_id(0), 1 << 20, now);
    engine.cancel(session, &number(3));
    let message = engine.poll_transmit(peer_id(0), 1 << 20, now).unwrap();
    assert_eq!(message.entries, [entry(number(3), Want::Cancel, 0, false)]);
    engine.want(session, number(3), now);
    engine.poll_transmit(peer_id(0), 1 << 20, now);
    engine.cancel(session, &number(3));
    engine.want(session, number(3), now);
    let message = engine.poll_transmit(peer_id(0), 1 << 20, now).unwrap();
    let wants: Vec<Want> = message.entries.iter().map(|entry| entry.want).collect();
    assert_eq!(wants, [Want::Block]);
}

fn read(message: &Message, version: Version) -> (usize, Received) {
    let bytes = message.encode(version, &HashTable::standard()).unwrap().concat();
    let (_, body) = varint::read(&bytes, "test").unwrap();
    (body.len(), Received::parse(Bytes::copy_from_slice(body)).unwrap())
}

fn two_mebibytes_fit() {
    let message = Message { blocks: blocks(63, 1, 2 << 20), ..Message::default() };
    let (len, read) = read(&message, Version::V1_2);
    assert!(len < MAX_MESSAGE);
    let (prefix, data) = read.payloads().next().unwrap();
    let block = Block::with_prefix(&prefix, data, &HashTable::standard()).unwrap();
    assert_eq!([block], message.blocks[..]);
}

fn blocks_of_1_0_0() {
    let hashes = HashTable::standard();
    let block = Block::with_prefix(&Prefix::v0(), "bare", &hashes).unwrap();
    let message = Message { blocks: vec![block.clone()], ..Message::default() };
    let (_, bare) = read(&message, Version::V1_0);
    assert_eq!(bare.payloads().next().unwrap(), (Prefix::v0(), block.data().clone()));
    let (_, whole) = read(&message, Version::V1_1);
    assert_eq!(whole.payloads().next().unwrap().0, Prefix::of(block.cid()));
}

fn pending_bytes() {
    let bytes = Bytes::from_static(&[5 << 3, 77]);
    assert_eq!(Received::parse(bytes).unwrap().pending_bytes(), 77);
}

fn max_message() {
    let long = Received::parse(vec![0; MAX_MESSAGE + 1].into());
    assert!(matches!(long, Err(Error::Limit { .. })));
}

#[test]
fn rules() {
    let path = "bitswap/rules.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        match case.id() {
            "dedupe-blocks" => dedupe_blocks(),
            "dedupe-presence" => dedupe_presence(),
            "block-overrides-have" | "have-not-over-block" => block_overrides_have(),
            "senddonthave-sticky" => send_dont_have_sticky(),
            "priority-same-type" => priority_of_the_same_type(),
            "cancel-wins" => cancel_wins(),
            "2MiB-fits" => two_mebibytes_fit(),
            "100-blocks-field" => blocks_of_1_0_0(),
            "pending-bytes" => pending_bytes(),
            "max-message" => max_message(),
            other => panic!("{other} is not known"),
        }
        report.ran(case.id(), Ok::<(), Error>(()));
    }
    report.finish();
}
