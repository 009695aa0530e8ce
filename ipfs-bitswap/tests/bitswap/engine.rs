//! One engine, message by message: bounds, turns, and what a peer must not be able to do.

use std::{collections::VecDeque, time::Instant};

use ipfs_bitswap::{
    engine::{Engine, Output},
    message::{Entry, Message, Received, Version, Want},
};
use ipfs_traits::{Block, Bytes, Cid, HashTable, PeerId, codes, memory::peer_id, varint};

use crate::world::blocks;

pub(crate) fn received(message: &Message) -> Received {
    let bytes = message.encode(Version::V1_2, &HashTable::standard()).unwrap().concat();
    let (_, body) = varint::read(&bytes, "test").unwrap();
    Received::parse(Bytes::copy_from_slice(body)).unwrap()
}

pub(crate) fn outputs(engine: &mut Engine) -> Vec<Output> {
    std::iter::from_fn(|| engine.poll_output()).collect()
}

/// An engine with connected peers.
fn engine(peers: u64) -> (Engine, Instant) {
    let (mut engine, now) = (Engine::new([1; 32]), Instant::now());
    (0..peers).for_each(|i| engine.handle_connected(peer_id(i), Version::V1_2, now));
    (engine, now)
}

pub(crate) fn wants(cids: impl IntoIterator<Item = Cid>, want: Want) -> Message {
    let entry = |(i, cid)| Entry { cid, want, priority: 2000 - i as i32, send_dont_have: true };
    Message { entries: cids.into_iter().enumerate().map(entry).collect(), ..Message::default() }
}

/// Answers all lookups with this size.
pub(crate) fn found(engine: &mut Engine, size: Option<u64>) -> Vec<Output> {
    let (mut rest, mut all) = (outputs(engine), Vec::new());
    while !rest.is_empty() {
        for output in std::mem::take(&mut rest) {
            match output {
                Output::Sizes { peer, cids } => {
                    engine.handle_sizes(peer, cids.into_iter().map(|cid| (cid, size)).collect());
                }
                other => all.push(other),
            }
        }
        rest = outputs(engine);
    }
    all
}

pub(crate) fn number(i: u64) -> Cid {
    Cid::new_v1(codes::RAW, HashTable::standard().hash(codes::SHA2_256, &i.to_be_bytes()).unwrap())
}

#[test]
fn have_is_answered_without_a_read_and_small_blocks_are_sent_instead() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let ask = |engine: &mut Engine, size| {
        engine.handle_message(peer, &received(&wants([number(1)], Want::Have)), vec![], now);
        found(engine, size)
    };
    assert_eq!(ask(&mut engine, Some(2000)), [Output::Send(peer)]);
    let answer = engine.poll_transmit(peer, 1 << 20, now).unwrap();
    assert_eq!(answer.presences, [(number(1), true)]);
    assert!(engine.poll_transmit(peer, 1 << 20, now).is_none());

    assert_eq!(ask(&mut engine, None), [Output::Send(peer)]);
    let answer = engine.poll_transmit(peer, 1 << 20, now).unwrap();
    assert_eq!(answer.presences, [(number(1), false)]);
    engine.poll_transmit(peer, 1 << 20, now);

    let small = ask(&mut engine, Some(1024));
    assert_eq!(small, [Output::Load { peer, cids: vec![number(1)] }]);
}

/// Whoever asks for a block, and then whether it is here, is told again that it is not.
#[test]
fn every_question_is_answered() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    for want in [Want::Block, Want::Have] {
        engine.handle_message(peer, &received(&wants([number(1)], want)), vec![], now);
        assert_eq!(found(&mut engine, None), [Output::Send(peer)], "{want:?}");
        let answer = engine.poll_transmit(peer, 1 << 20, now).unwrap();
        assert_eq!(answer.presences, [(number(1), false)], "{want:?}");
        assert!(engine.poll_transmit(peer, 1 << 20, now).is_none());
    }
    assert_eq!(engine.wantlist_of(&peer), [number(1)]);
}

#[test]
fn an_empty_block_is_sent_like_any_other() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let empty = Block::of(codes::RAW, codes::SHA2_256, "", &HashTable::standard()).unwrap();
    engine.handle_message(peer, &received(&wants([*empty.cid()], Want::Block)), vec![], now);
    assert_eq!(found(&mut engine, Some(0)), [Output::Load { peer, cids: vec![*empty.cid()] }]);
    engine.handle_loaded(peer, vec![(*empty.cid(), Some(empty.clone()))]);
    assert_eq!(outputs(&mut engine), [Output::Send(peer)]);
    let message = engine.poll_transmit(peer, 1 << 20, now).unwrap();
    assert_eq!(message.blocks, std::slice::from_ref(&empty));
    let (prefix, data) = received(&message).payloads().next().unwrap();
    assert_eq!(Block::with_prefix(&prefix, data, &HashTable::standard()).unwrap(), empty);
}

/// CVE-2023-25568: ten thousand wants. A share is remembered, the rest is told so, and another peer is served.
#[test]
fn too_many_wants_cost_only_who_sends_them() {
    let (mut engine, now) = engine(2);
    let (greedy, modest) = (peer_id(0), peer_id(1));
    for chunk in 0..10 {
        let many = (0..1000).map(|i| number(chunk * 1000 + i));
        engine.handle_message(greedy, &received(&wants(many, Want::Block)), vec![], now);
    }
    assert_eq!(engine.wantlist_of(&greedy).len(), 1024);
    assert_eq!(engine.stats().wants_dropped, 10_000 - 1024);
    let small = blocks(9, 1, 50).remove(0);
    engine.handle_message(modest, &received(&wants([*small.cid()], Want::Block)), vec![], now);
    let done = found(&mut engine, Some(50));
    assert!(done.contains(&Output::Load { peer: modest, cids: vec![*small.cid()] }), "{done:?}");
    engine.handle_gone(greedy, now);
    assert_eq!(engine.wantlist_of(&greedy).len(), 0);
}

/// CVE-2023-25568: while the store looked for the first wants of a peer, all that came after them were
/// kept to be looked for, those that were dropped or wanted again included.
#[test]
fn what_is_to_be_looked_up_is_bounded_as_what_is_wanted() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let entry = |i: u64, priority| Entry {
        cid: number(i),
        want: Want::Block,
        priority,
        send_dont_have: false,
    };
    let send = |engine: &mut Engine, entries| {
        let message = Message { entries, ..Message::default() };
        engine.handle_message(peer, &received(&message), vec![], now);
    };
    send(&mut engine, vec![entry(0, 0)]);
    let first = outputs(&mut engine);
    assert_eq!(first, [Output::Sizes { peer, cids: vec![number(0)] }]);
    // Each one matters more than those before; then one again and again.
    (1..5).for_each(|i| {
        let many = (0..1000).map(|j| entry(i * 1000 + j, (i * 1000 + j) as i32));
        send(&mut engine, many.collect());
    });
    send(&mut engine, (0..5000).map(|i| entry(4999, 10_000 + i)).collect());
    assert_eq!(outputs(&mut engine), []);
    engine.handle_sizes(peer, vec![(number(0), None)]);
    let [Output::Sizes { cids, .. }] = &outputs(&mut engine)[..] else { panic!("one look-up") };
    assert_eq!(cids.len(), 1024);
}

#[test]
fn what_is_not_here_goes_first_and_then_what_matters_least() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let first: Vec<Cid> = (0..1024).map(number).collect();
    engine.handle_message(peer, &received(&wants(first.clone(), Want::Block)), vec![], now);
    // Of the first, one is absent; the others are large, so that they stay.
    let sizes = outputs(&mut engine).into_iter().find_map(|output| match output {
        Output::Sizes { cids, .. } => Some(cids),
        _ => None,
    });
    let absent = first[500];
    let size = |cid: Cid| (cid, (cid != absent).then_some(2 << 20));
    engine.handle_sizes(peer, sizes.unwrap().into_iter().map(size).collect());
    let least = Entry { cid: number(5000), want: Want::Block, priority: -7, send_dont_have: false };
    let message = |entry| Message { entries: vec![entry], ..Message::default() };
    engine.handle_message(peer, &received(&message(least)), vec![], now);
    let list = engine.wantlist_of(&peer);
    assert!(!list.contains(&absent) && list.contains(&number(5000)));
    let less = Entry { cid: number(5001), priority: -8, ..least };
    engine.handle_message(peer, &received(&message(less)), vec![], now);
    assert!(!engine.wantlist_of(&peer).contains(&number(5001)));
    let more = Entry { cid: number(5002), priority: 5000, ..least };
    engine.handle_message(peer, &received(&message(more)), vec![], now);
    let list = engine.wantlist_of(&peer);
    assert!(list.contains(&number(5002)) && !list.contains(&number(5000)));
    assert_eq!(list.len(), 1024);
}

#[test]
fn a_full_wantlist_takes_the_place_of_the_last() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    engine.handle_message(
        peer,
        &received(&wants([number(1), number(2)], Want::Block)),
        vec![],
        now,
    );
    let full = Message { full: true, ..wants([number(3)], Want::Block) };
    engine.handle_message(peer, &received(&full), vec![], now);
    assert_eq!(engine.wantlist_of(&peer), [number(3)]);
    engine.handle_message(peer, &received(&wants([number(3)], Want::Cancel)), vec![], now);
    assert_eq!(engine.wantlist_of(&peer), []);
}

/// Answers are split so that no message grows beyond what was asked for and one block.
#[test]
fn replies_stay_within_their_size() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let all = blocks(4, 40, 300_000);
    let cids: Vec<Cid> = all.iter().map(|block| *block.cid()).collect();
    engine.handle_message(peer, &received(&wants(cids.clone(), Want::Block)), vec![], now);
    let mut sent = Vec::new();
    let mut rest = found(&mut engine, Some(300_000));
    while !rest.is_empty() {
        for output in std::mem::take(&mut rest) {
            match output {
                Output::Load { cids, .. } => {
                    let get = |cid| (cid, all.iter().find(|block| *block.cid() == cid).cloned());
                    let loaded: Vec<_> = cids.into_iter().map(get).collect();
                    engine.handle_loaded(peer, loaded);
                }
                Output::Send(_) => {
                    while let Some(message) = engine.poll_transmit(peer, 1 << 20, now) {
                        let bytes: usize = message.blocks.iter().map(Block::len).sum();
                        assert!(bytes <= (1 << 20) + 300_000, "{bytes}");
                        sent.extend(message.blocks.iter().map(|block| *block.cid()));
                        engine.handle_sent(peer, bytes);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        rest = outputs(&mut engine);
    }
    assert_eq!(sent, cids, "in the order of their priority");
}

/// However much two peers ask for, what is read ahead for them is bounded, and they take turns.
#[test]
fn peers_take_turns_within_a_budget() {
    let (mut engine, now) = engine(20);
    for peer in 0..20 {
        let cids = (0..50).map(|i| number(peer * 1000 + i));
        engine.handle_message(peer_id(peer), &received(&wants(cids, Want::Block)), vec![], now);
    }
    let loads: Vec<(PeerId, usize)> = found(&mut engine, Some(2 << 20))
        .into_iter()
        .filter_map(|output| match output {
            Output::Load { peer, cids } => Some((peer, cids.len())),
            _ => None,
        })
        .collect();
    let total: usize = loads.iter().map(|(_, count)| count).sum();
    assert!((30..=36).contains(&total), "{total} blocks of 2 MiB are read ahead");
    assert!(loads.iter().all(|(_, count)| *count <= 2));
    let mut peers: Vec<PeerId> = loads.iter().map(|(peer, _)| *peer).collect();
    peers.dedup();
    assert!(peers.len() >= 15, "{} of 20 had a turn", peers.len());
    // The first one sends; its room goes to those who had none yet.
    let first = peers[0];
    engine.handle_loaded(first, vec![]);
    engine.handle_gone(first, now);
    let next: Vec<Output> = outputs(&mut engine);
    let served = |output: &Output| matches!(output, Output::Load { peer, .. } if *peer != first);
    assert!(next.iter().any(served), "{next:?}");
}

/// Unsolicited blocks: one that nobody asked for is dropped, and so is one whose bytes hash to something else.
#[test]
fn unasked_blocks_are_counted_and_dropped() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let all = blocks(5, 2, 100);
    engine.handle_message(peer, &received(&Message::default()), all.clone(), now);
    assert_eq!(outputs(&mut engine), []);
    assert_eq!(engine.stats().unwanted, 2);
    let session = engine.open_session();
    engine.want(session, *all[0].cid(), now);
    engine.poll_transmit(peer, 1 << 20, now);
    outputs(&mut engine);
    engine.handle_message(peer, &received(&Message::default()), all.clone(), now);
    let delivered: Vec<Output> = outputs(&mut engine);
    assert_eq!(delivered, [Output::Deliver { session, block: all[0].clone() }]);
    assert_eq!(engine.stats().unwanted, 3);
    engine.handle_message(peer, &received(&Message::default()), all, now);
    assert_eq!((engine.stats().duplicates, engine.stats().unwanted), (1, 4));
    assert_eq!(engine.session_stats(session).duplicates, 1);
}

/// A block is found under whichever CID of its multihash was wanted.
#[test]
fn one_block_answers_all_cids_of_its_multihash() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let v0 = Block::with_prefix(&ipfs_traits::Prefix::v0(), "x", &HashTable::standard()).unwrap();
    let v1 = v0.cid().into_v1().unwrap();
    let session = engine.open_session();
    engine.want(session, *v0.cid(), now);
    engine.want(session, v1, now);
    engine.poll_transmit(peer, 1 << 20, now);
    outputs(&mut engine);
    engine.handle_message(peer, &received(&Message::default()), vec![v0.clone()], now);
    let mut cids: Vec<Cid> = outputs(&mut engine)
        .into_iter()
        .filter_map(|output| match output {
            Output::Deliver { block, .. } => Some(*block.cid()),
            _ => None,
        })
        .collect();
    cids.sort();
    assert_eq!(cids, [*v0.cid(), v1]);
}

/// A look-up that found nothing, and comes back after the block has come, changes nothing.
#[test]
fn a_late_look_up_does_not_hide_a_new_block() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let block = blocks(6, 1, 5000).remove(0);
    engine.handle_message(peer, &received(&wants([*block.cid()], Want::Block)), vec![], now);
    outputs(&mut engine);
    engine.handle_new_blocks(std::slice::from_ref(&block));
    assert_eq!(outputs(&mut engine), [Output::Load { peer, cids: vec![*block.cid()] }]);
    engine.handle_sizes(peer, vec![(*block.cid(), None)]);
    engine.handle_loaded(peer, vec![(*block.cid(), Some(block.clone()))]);
    let message = engine.poll_transmit(peer, 1 << 20, now).unwrap();
    assert_eq!((message.blocks.len(), message.presences.len()), (1, 0));
}

/// Wants beyond what a peer remembers are held back, and asked as room comes free.
#[test]
fn a_peer_is_never_asked_for_more_than_it_remembers() {
    let (mut engine, now) = engine(1);
    let peer = peer_id(0);
    let session = engine.open_session();
    engine.handle_providers(session, &[peer.into()], now);
    let all = blocks(7, 3000, 40);
    all.iter().for_each(|block| engine.want(session, *block.cid(), now));
    let (mut asked, mut most, mut delivered) = (VecDeque::new(), 0, 0);
    while delivered < all.len() {
        while let Some(message) = engine.poll_transmit(peer, 1 << 20, now) {
            asked.extend(message.entries.iter().map(|entry| entry.cid));
        }
        most = most.max(asked.len());
        let some: Vec<Cid> = asked.drain(..asked.len().min(100)).collect();
        let some = all.iter().filter(|block| some.contains(block.cid())).cloned().collect();
        engine.handle_message(peer, &received(&Message::default()), some, now);
        let outputs = outputs(&mut engine);
        delivered +=
            outputs.iter().filter(|output| matches!(output, Output::Deliver { .. })).count();
    }
    assert_eq!(most, 1000);
}
