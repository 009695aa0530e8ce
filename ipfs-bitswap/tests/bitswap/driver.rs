//! The driver over the network in memory: what an exchange promises, and what a hostile peer tries.

use std::{sync::Arc, time::Duration};

use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt,
    future::{Either, select},
    stream::{self, BoxStream},
};
use ipfs_bitswap::{
    Bitswap,
    message::{Entry, Message, V1_2_0, Want},
};
use ipfs_traits::{
    Block, BlockSource, Blockstore, BlockstoreExt, Bytes, Cid, Error, Exchange, Network, PeerInfo,
    Result, Routing, Runtime, RuntimeExt, Session, SessionStats, async_trait, conformance,
    memory::{MemoryNetwork, peer_id},
    varint,
};

use crate::{
    place::{Place, all, hear, say},
    world::blocks,
};

/// An exchange and the node that it fetches from.
#[derive(Debug)]
struct Pair {
    near: Bitswap,
    _far: Bitswap,
    _networks: [Arc<MemoryNetwork>; 2],
}

#[async_trait]
impl Exchange for Pair {
    fn session(&self, root: Option<&Cid>) -> Arc<dyn Session> {
        self.near.session(root)
    }
    async fn notify(&self, blocks: &[Block]) -> Result<()> {
        self.near.notify(blocks).await
    }
    async fn close(&self) -> Result<()> {
        self.near.close().await
    }
}

#[test]
fn keeps_the_promises_of_an_exchange() {
    let place = Place::new();
    let numbers = std::sync::atomic::AtomicU64::new(0);
    let made = conformance::exchange(|blocks| {
        let number = numbers.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
        let (far, near) = (place.node(number), place.node(number + 1));
        async move {
            far.store.put_many(&blocks).await?;
            near.network.connect(&far.network.local_peer().into()).await?;
            let networks = [far.network, near.network];
            Ok(Pair { near: near.bitswap, _far: far.bitswap, _networks: networks })
        }
    });
    place.run(made).unwrap();
}

#[test]
fn two_serve_one_and_one_is_enough() {
    let place = Place::new();
    let (a, b, c) = (place.node(1), place.node(2), place.node(3));
    let blocks = blocks(11, 600, 20_000);
    place.run(async {
        a.store.put_many(&blocks).await.unwrap();
        b.store.put_many(&blocks).await.unwrap();
        c.network.connect(&peer_id(1).into()).await.unwrap();
        c.network.connect(&peer_id(2).into()).await.unwrap();
        let session = c.bitswap.session(None);
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        let mut answers = session.get_many(stream::iter(cids).boxed());
        for _ in 0..300 {
            answers.next().await.unwrap().1.unwrap();
        }
        let served = a.bitswap.stats().blocks_sent;
        a.network.close().await.unwrap();
        assert_eq!(answers.map(|(_, block)| block.unwrap()).count().await, 300);
        assert!(served > 50 && b.bitswap.stats().blocks_sent > 200, "{served}");
        let SessionStats { blocks, wanted, .. } = session.stats();
        assert_eq!((blocks, wanted), (600, 0));
    });
}

/// A block that comes into a store is given at once to a peer that waits for it.
#[test]
fn whoever_waits_is_served_when_the_block_comes() {
    // A small one is sent at once, though the peer has said that it lacks it, and was asked nothing
    // since; of a larger one it says that it has it now.
    for size in [500, 5000] {
        a_block_comes_late(size);
    }
}

fn a_block_comes_late(size: usize) {
    let place = Place::new();
    let (a, c) = (place.node(1), place.node(2));
    let block = blocks(12, 1, size).remove(0);
    place.run(async {
        c.network.connect(&peer_id(1).into()).await.unwrap();
        let session = c.bitswap.session(None);
        let mut waiting = session.get(block.cid());
        let pause = RuntimeExt::sleep(&place.runtime, Duration::from_secs(3));
        let early = select(&mut waiting, pause).await;
        assert!(matches!(early, Either::Right(_)));
        a.store.put(block.clone()).await.unwrap();
        a.bitswap.notify(std::slice::from_ref(&block)).await.unwrap();
        assert_eq!(waiting.await.unwrap(), block);
    });
}

#[test]
fn providers_are_found_and_connected_to() {
    let place = Place::new();
    let (a, c) = (place.node(1), place.node(2));
    let blocks = blocks(13, 20, 3000);
    place.run(async {
        a.store.put_many(&blocks).await.unwrap();
        a.routing.provide(blocks.iter().map(|block| *block.hash()).collect()).await.unwrap();
        let session = c.bitswap.session(Some(blocks[0].cid()));
        assert_eq!(all(&session, &blocks).await.unwrap().len(), 20);
    });
}

#[test]
fn named_providers_are_connected_to_at_once() {
    let place = Place::new();
    let (a, c) = (place.node(1), place.node(2));
    let block = blocks(14, 1, 3000).remove(0);
    place.run(async {
        a.store.put(block.clone()).await.unwrap();
        let session = c.bitswap.session(None);
        let waiting = session.get(block.cid());
        session.providers(&[PeerInfo::new(peer_id(1), a.network.addresses())]);
        assert_eq!(waiting.await.unwrap(), block);
    });
}

/// What a session has given up is no longer asked for, and what another wants still is.
#[test]
fn a_dropped_stream_cancels_what_nobody_else_wants() {
    let place = Place::new();
    let (_a, c) = (place.node(1), place.node(2));
    let wanted = blocks(15, 2, 3000);
    place.run(async {
        c.network.connect(&peer_id(1).into()).await.unwrap();
        let (one, other) = (c.bitswap.session(None), c.bitswap.session(None));
        let mut both = one
            .get_many(stream::iter([*wanted[0].cid(), *wanted[1].cid()]).boxed()
                as BoxStream<'static, Cid>);
        let mut first = other.get(wanted[0].cid());
        assert!((&mut first).now_or_never().is_none());
        assert!(both.next().now_or_never().is_none());
        assert_eq!(c.bitswap.wantlist().len(), 2);
        drop(both);
        assert_eq!(c.bitswap.wantlist(), [*wanted[0].cid()]);
        drop(first);
        assert_eq!(c.bitswap.wantlist().len(), 0);
    });
}

#[test]
fn closing_ends_every_wait() {
    let place = Place::new();
    let node = place.node(1);
    let absent = blocks(16, 1, 16).remove(0);
    place.run(async {
        let session = node.bitswap.session(None);
        let waiting = session.get(absent.cid());
        let (answer, closed) = futures::join!(waiting, node.bitswap.close());
        closed.unwrap();
        assert!(matches!(answer, Err(Error::Closed(_))), "{answer:?}");
        assert!(matches!(session.get(absent.cid()).await, Err(Error::Closed(_))));
        assert!(matches!(node.bitswap.notify(&[absent]).await, Err(Error::Closed(_))));
    });
}

#[test]
fn dropping_the_last_handle_ends_every_wait_too() {
    let place = Place::new();
    let node = place.node(1);
    let absent = blocks(17, 1, 16).remove(0);
    place.run(async {
        let session = node.bitswap.session(None);
        let mut waiting = session.get(absent.cid());
        assert!((&mut waiting).now_or_never().is_none());
        drop(node.bitswap);
        assert!(matches!(waiting.await, Err(Error::Closed(_))));
    });
}

/// An empty file could not be fetched from Kubo: it answers a want for the block without bytes with
/// HAVE, each time, and never sends it. Nobody is asked for it any more.
#[test]
fn the_empty_block_is_asked_of_nobody() {
    let place = Place::new();
    let node = place.node(1);
    place.run(async {
        let empty = Block::of(0x55, 0x12, "", &ipfs_traits::HashTable::standard()).unwrap();
        let session = node.bitswap.session(None);
        assert_eq!(session.get(empty.cid()).await.unwrap(), empty);
    });
}

#[test]
fn cids_that_may_not_be_used_are_refused_before_anybody_is_asked() {
    let place = Place::new();
    let node = place.node(1);
    place.run(async {
        let session = node.bitswap.session(None);
        let md5 = Cid::new_v1(
            0x55,
            ipfs_traits::read_multihash(&[
                0xd5, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ])
            .unwrap()
            .0,
        );
        assert!(matches!(session.get(&md5).await, Err(Error::UnknownHash(0xd5))));
    });
}

/// A peer that misbehaves in several ways at once, beside one that does not; `hostile.rs` has them one
/// by one.
#[test]
fn a_hostile_peer_harms_nobody_else() {
    let place = Place::new();
    let (victim, friend) = (place.node(1), place.node(2));
    let hostile = place.stranger(3);
    let blocks = blocks(18, 50, 30_000);
    place.run(async {
        victim.store.put_many(&blocks).await.unwrap();
        hostile.connect(&peer_id(1).into()).await.unwrap();
        friend.network.connect(&peer_id(1).into()).await.unwrap();
        let protocols = [V1_2_0];
        let open = || hostile.open(peer_id(1), &protocols);

        // A message of 5 MiB: the stream is reset as soon as its length is known.
        let mut stream = open().await.unwrap();
        let mut head = Vec::new();
        varint::write(5 << 20, &mut head);
        stream.write_all(&head).await.unwrap();
        assert!(stream.read(&mut [0]).await.is_err());

        // A message that is none, and one that is cut off.
        for bytes in [&[3, 0xff, 0xff, 0xff][..], &[200, 1, 0]] {
            let mut stream = open().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.close().await.unwrap();
            assert!(stream.read(&mut [0]).await.is_err());
        }

        // Blocks that nobody asked for.
        let mut stream = open().await.unwrap();
        let unasked = crate::world::blocks(19, 5, 30_000);
        say(&mut stream, &Message { blocks: unasked.clone(), ..Message::default() }).await.unwrap();

        // Ten thousand wants.
        for chunk in 0..10_u64 {
            let entries = crate::world::blocks(100 + chunk, 1000, 16)
                .into_iter()
                .map(|block| Entry {
                    cid: *block.cid(),
                    want: Want::Block,
                    priority: 1,
                    send_dont_have: false,
                })
                .collect();
            say(&mut stream, &Message { entries, ..Message::default() }).await.unwrap();
        }

        // Meanwhile the other one is served as ever.
        let session = friend.bitswap.session(None);
        assert_eq!(all(&session, &blocks).await.unwrap().len(), 50);
        let stats = victim.bitswap.stats();
        assert_eq!((stats.unwanted, stats.wants_dropped), (5, 10_000 - 1024));
        for block in &unasked {
            assert!(!victim.store.has(block.cid()).await.unwrap());
        }
    });
}

/// A stream that was kept for ever kept its connection for ever, whether anything was said or not.
#[test]
fn a_stream_that_idles_is_closed_and_opened_again_when_there_is_something_to_say() {
    let place = Place::new();
    let (node, peer) = (place.node(1), place.stranger(2));
    let blocks = blocks(20, 2, 100);
    let mut streams = peer.accept(&[V1_2_0], 8).unwrap();
    place.run(async {
        peer.connect(&peer_id(1).into()).await.unwrap();
        let session = node.bitswap.session(None);
        for block in &blocks {
            let (asked, heard) = (session.get(block.cid()), async {
                let mut stream = streams.next().await.unwrap().stream;
                let message = hear(&mut stream).await;
                let wanted: Vec<Cid> = message.entries().map(|entry| entry.cid).collect();
                assert_eq!(wanted, [*block.cid()]);
                let mut answer = peer.open(peer_id(1), &[V1_2_0]).await.unwrap();
                let blocks = vec![block.clone()];
                say(&mut answer, &Message { blocks, ..Message::default() }).await.unwrap();
                // Dropped, it would take along what was not read yet.
                answer.close().await.unwrap();
                stream
            });
            let (found, mut stream) = futures::join!(asked, heard);
            assert_eq!(found.unwrap(), *block);
            // What else it has to say, and then the end, which is no reset.
            let heard = place.runtime.now();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            assert!(place.runtime.now() - heard <= Duration::from_secs(60));
        }
    });
}

/// A peer that answers a want with other bytes is not believed, and the block is had from another.
#[test]
fn a_block_that_does_not_match_is_not_taken() {
    let place = Place::new();
    let (victim, friend) = (place.node(1), place.node(2));
    let hostile = place.stranger(3);
    let wanted = blocks(20, 1, 30_000).remove(0);
    let wrong = blocks(21, 1, 30_000);
    place.run(async {
        let mut guests = hostile.accept(&[V1_2_0], 8).unwrap();
        hostile.connect(&peer_id(1).into()).await.unwrap();
        let session = victim.bitswap.session(None);
        let fetching = session.get(wanted.cid());
        let lying = async {
            let mut asked = guests.next().await.unwrap().stream;
            let mut back = hostile.open(peer_id(1), &[V1_2_0]).await.unwrap();
            let first = hear(&mut asked).await;
            assert_eq!(first.entries().next().unwrap().want, Want::Have);
            let yes = Message { presences: vec![(*wanted.cid(), true)], ..Message::default() };
            say(&mut back, &yes).await.unwrap();
            let second = hear(&mut asked).await;
            assert_eq!(second.entries().next().unwrap().want, Want::Block);
            say(&mut back, &Message { blocks: wrong, ..Message::default() }).await.unwrap();
            // Then it says nothing more. Somebody comes who has it.
            friend.store.put(wanted.clone()).await.unwrap();
            friend.network.connect(&peer_id(1).into()).await.unwrap();
            (asked, back)
        };
        let (block, _open) = futures::join!(fetching, lying);
        assert_eq!(block.unwrap(), wanted);
        // On this clock a second later is when all that was sent has been read.
        RuntimeExt::sleep(&place.runtime, Duration::from_secs(1)).await;
        assert_eq!(victim.bitswap.stats().unwanted, 1);
    });
}

/// A consumer that stops reading keeps its own blocks waiting, and nobody else's.
#[test]
fn a_stream_that_is_not_read_holds_up_no_other() {
    let place = Place::new();
    let (a, c) = (place.node(1), place.node(2));
    let (large, small) = (blocks(22, 120, 1 << 20), blocks(23, 200, 2000));
    place.run(async {
        a.store.put_many(&large).await.unwrap();
        a.store.put_many(&small).await.unwrap();
        c.network.connect(&peer_id(1).into()).await.unwrap();
        let (idle, busy) = (c.bitswap.session(None), c.bitswap.session(None));
        let cids: Vec<Cid> = large.iter().map(|block| *block.cid()).collect();
        let mut unread = idle.get_many(stream::iter(cids).boxed());
        unread.next().await.unwrap().1.unwrap();
        assert_eq!(all(&busy, &small).await.unwrap().len(), 200);
        // What was delivered and not read is bounded, and the rest comes when it is read.
        let on_the_way = c.bitswap.stats().bytes_received;
        assert!(on_the_way < 100 << 20, "{on_the_way} bytes for one that is read");
        assert_eq!(
            unread.map(|(_, block)| block.unwrap().into_data()).collect::<Vec<Bytes>>().await.len(),
            119
        );
    });
}
