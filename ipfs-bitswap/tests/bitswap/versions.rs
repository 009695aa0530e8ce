//! Peers that speak an older version: what they are told, and what is made of what they say.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use ipfs_bitswap::{
    engine::{Engine, Output},
    message::{Message, PROTOCOLS, Received, UNVERSIONED, V1_0_0, V1_1_0, V1_2_0, Version, Want},
};
use ipfs_traits::{
    Block, BlockSource, BlockstoreExt, Bytes, Exchange, HashTable, Network, Prefix,
    memory::peer_id,
    network::{Protocol, Stream},
    varint,
};

use crate::{
    engine::{outputs, received},
    place::Place,
    world::blocks,
};

const OLD: [Protocol; 3] = [V1_1_0, V1_0_0, UNVERSIONED];

#[test]
fn the_best_version_of_a_peer_is_chosen() {
    assert_eq!(Version::best(&PROTOCOLS), Some(Version::V1_2));
    assert_eq!(Version::best(&[V1_0_0, V1_1_0]), Some(Version::V1_1));
    assert_eq!(Version::best(&[UNVERSIONED]), Some(Version::V1_0));
    assert_eq!(Version::best(&[Protocol::from_static("/ipfs/kad/1.0.0")]), None);
}

/// What each version can say comes back, and nothing else is said.
#[test]
fn each_version_says_what_it_can() {
    let hashes = HashTable::standard();
    let v0 = Block::with_prefix(&Prefix::v0(), "0", &hashes).unwrap();
    let message = Message {
        blocks: vec![v0.clone()],
        presences: vec![(*v0.cid(), false)],
        pending_bytes: 5,
        ..Message::default()
    };
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let bytes = message.encode(version, &hashes).unwrap().concat();
        let (_, body) = varint::read(&bytes, "test").unwrap();
        let read = Received::parse(Bytes::copy_from_slice(body)).unwrap();
        let blocks: Vec<Block> = read
            .payloads()
            .map(|(prefix, data)| Block::with_prefix(&prefix, data, &hashes).unwrap())
            .collect();
        assert_eq!(blocks, message.blocks);
        let said = usize::from(version.has_presences());
        assert_eq!((read.presences().count(), read.pending_bytes()), (said, said as u32 * 5));
        // Of 1.0.0 the block is the second field, and its bytes are all that is in it.
        assert_eq!(body == [0x12, 1, b'0'], version == Version::V1_0);
    }
}

/// A peer that cannot say what it has is asked for the block at once, is not expected to say that
/// it lacks it, and loses its turn after a while without being taken for dead.
#[test]
fn an_old_peer_is_asked_for_blocks_one_after_the_other() {
    let (mut engine, start) = (Engine::new([5; 32]), Instant::now());
    let wanted = blocks(40, 1, 100).remove(0);
    for number in 1..=3 {
        engine.handle_connected(peer_id(number), Version::V1_1, start);
    }
    let session = engine.open_session();
    engine.want(session, *wanted.cid(), start);
    let mut asked = Vec::new();
    let mut now = start;
    while asked.len() < 3 {
        for output in outputs(&mut engine) {
            if let Output::Send(peer) = output
                && let Some(message) = engine.poll_transmit(peer, 1 << 20, now)
            {
                let entry = message.entries[0];
                assert_eq!((entry.want, entry.send_dont_have), (Want::Block, false));
                asked.push((peer, now - start));
            }
        }
        now = engine.poll_timeout().unwrap().max(now);
        engine.handle_timeout(now);
        assert!(now - start < Duration::from_secs(60), "{asked:?}");
    }
    let mut peers: Vec<_> = asked.iter().map(|(peer, _)| *peer).collect();
    peers.sort_unstable();
    peers.dedup();
    assert_eq!(peers.len(), 3, "each is asked: {asked:?}");
    assert!(asked.windows(2).all(|two| two[1].1 - two[0].1 >= Duration::from_secs(4)));
    // The first one has it after all.
    let first = asked[0].0;
    engine.handle_message(first, &received(&Message::default()), vec![wanted.clone()], now);
    assert!(outputs(&mut engine).contains(&Output::Deliver { session, block: wanted }));
}

async fn write(stream: &mut Stream, version: Version, message: &Message) {
    let runs = message.encode(version, &HashTable::standard()).unwrap();
    stream.write_all(&runs.concat()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn read(stream: &mut Stream) -> Received {
    let (mut len, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte).await.unwrap();
        len.push(byte[0]);
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; varint::read(&len, "test").unwrap().0 as usize];
    stream.read_exact(&mut body).await.unwrap();
    Received::parse(body.into()).unwrap()
}

/// A stranger who speaks one old version only is fetched from, and served.
#[test]
fn old_peers_are_spoken_with_over_a_network() {
    for protocol in OLD {
        let place = Place::new();
        let (node, peer) = (place.node(1), place.stranger(2));
        let version = Version::of(&protocol).unwrap();
        let hashes = HashTable::standard();
        let [mine, theirs] =
            ["1", "2"].map(|data| Block::with_prefix(&Prefix::v0(), data, &hashes).unwrap());
        let mut streams = peer.accept(std::slice::from_ref(&protocol), 8).unwrap();
        place.run(async {
            node.store.put(mine.clone()).await.unwrap();
            peer.connect(&peer_id(1).into()).await.unwrap();
            let session = node.bitswap.session(None);
            let (found, ()) = futures::join!(session.get(theirs.cid()), async {
                let mut stream = streams.next().await.unwrap().stream;
                let entry = read(&mut stream).await.entries().next().unwrap();
                assert_eq!((entry.cid, entry.want), (*theirs.cid(), Want::Block));
                let mut answer =
                    peer.open(peer_id(1), std::slice::from_ref(&protocol)).await.unwrap();
                let message = Message { blocks: vec![theirs.clone()], ..Message::default() };
                write(&mut answer, version, &message).await;
                let entries = vec![ipfs_bitswap::message::Entry { cid: *mine.cid(), ..entry }];
                write(&mut answer, version, &Message { entries, ..Message::default() }).await;
                // What is asked for comes in the words of the version.
                let served = read(&mut stream).await;
                let (prefix, data) = served.payloads().next().unwrap();
                assert_eq!(Block::with_prefix(&prefix, data, &hashes).unwrap(), mine);
                answer.close().await.unwrap();
            });
            assert_eq!(found.unwrap(), theirs, "{protocol}");
        });
    }
    assert!(!OLD.contains(&V1_2_0));
}
