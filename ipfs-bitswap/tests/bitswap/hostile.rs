//! Input from strangers: the body that the fuzz target runs, on inputs that are almost right; and what
//! has harmed other implementations, over streams.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, future, future::Either};
use ipfs_bitswap::{
    Options,
    message::{Entry, Message, V1_2_0, Version, Want},
};
use ipfs_traits::{
    BlockSource, Blockstore, BlockstoreExt, Cid, Exchange, HashTable, Network, Session,
    memory::{MemoryNetwork, peer_id},
    varint,
};
use proptest::{prelude::*, sample::Index};

use crate::{
    place::{Node, Place, all, hear, say, try_hear},
    world::blocks,
};

#[path = "../hostile/message.rs"]
mod body;

fn encoded(
    wants: &[(u8, u8, i32, bool)],
    presences: &[bool],
    sizes: &[usize],
    full: bool,
) -> Vec<u8> {
    let all = blocks(2, 8, 16);
    let kinds = [Want::Have, Want::Block, Want::Cancel];
    let entry = |(cid, want, priority, send_dont_have): &(u8, u8, i32, bool)| Entry {
        cid: *all[usize::from(*cid) % 8].cid(),
        want: kinds[usize::from(*want) % 3],
        priority: *priority,
        send_dont_have: *send_dont_have,
    };
    let message = Message {
        full,
        entries: wants.iter().map(entry).collect(),
        blocks: sizes.iter().flat_map(|size| blocks(3, 1, 16 + size)).collect(),
        presences: presences
            .iter()
            .enumerate()
            .map(|(i, have)| (*all[i % 8].cid(), *have))
            .collect(),
        pending_bytes: 9,
    };
    let bytes = message.encode(Version::V1_2, &HashTable::standard()).unwrap().concat();
    varint::read(&bytes, "test").unwrap().1.to_vec()
}

proptest! {
    #[test]
    fn anything(input in prop::collection::vec(any::<u8>(), 0..4000)) {
        body::message(&input);
    }

    #[test]
    fn almost_right(
        wants in prop::collection::vec(any::<(u8, u8, i32, bool)>(), 0..20),
        presences in prop::collection::vec(any::<bool>(), 0..10),
        sizes in prop::collection::vec(0..500_usize, 0..4),
        full: bool,
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut: Option<Index>,
    ) {
        let mut input = encoded(&wants, &presences, &sizes, full);
        for (at, byte) in changes {
            if !input.is_empty() {
                let at = at.index(input.len());
                input[at] = byte;
            }
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len() + 1));
        }
        body::message(&input);
    }
}

/// Four megabytes of the shortest entries would take sixty as a list.
#[test]
fn many_short_entries_stay_small() {
    let entry = [0x0a, 6, 0x0a, 4, 1, 0x55, 0, 0];
    let wantlist = entry.repeat(500_000);
    let mut input = vec![0x0a];
    varint::write(wantlist.len() as u64, &mut input);
    input.extend(wantlist);
    body::message(&input);
    let presences = [0x22, 6, 0x0a, 4, 1, 0x55, 0, 0].repeat(500_000);
    body::message(&presences);
    let payloads = [0x1a, 6, 0x0a, 4, 1, 0x55, 0, 0].repeat(500_000);
    body::message(&payloads);
}

const SECOND: Duration = Duration::from_secs(1);

/// A node, somebody who means no harm, and somebody who does; both are connected to it.
struct Scene {
    place: Place,
    victim: Node,
    friend: Node,
    hostile: Arc<MemoryNetwork>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Options::default())
    }

    /// A node with these options.
    fn with(options: Options) -> Self {
        let place = Place::new();
        let victim = place.node_with(1, options, |_| ());
        let (friend, hostile) = (place.node(2), place.stranger(3));
        place.run(async {
            friend.network.connect(&peer_id(1).into()).await.unwrap();
            hostile.connect(&peer_id(1).into()).await.unwrap();
        });
        Self { place, victim, friend, hostile }
    }

    async fn open(&self) -> ipfs_traits::network::Stream {
        self.hostile.open(peer_id(1), &[V1_2_0]).await.unwrap()
    }

    /// The node still serves the one who means no harm, and soon.
    async fn serves(&self) {
        let block = blocks(80, 1, 5000).remove(0);
        self.victim.store.put(block.clone()).await.unwrap();
        let session = self.friend.bitswap.session(None);
        let found = self.place.within(SECOND, session.get(block.cid())).await;
        assert_eq!(found.unwrap(), block);
    }
}

fn want(cid: Cid, priority: i32) -> Entry {
    Entry { cid, want: Want::Block, priority, send_dont_have: true }
}

fn wants(entries: Vec<Entry>) -> Message {
    Message { entries, ..Message::default() }
}

/// A field of protobuf, with its length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    varint::write(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    field
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    varint::write(message.len() as u64, &mut framed);
    framed.extend_from_slice(message);
    framed
}

/// CVE-2023-25568 (boxo and go-bitswap) and GHSA-6fcr-9h9g-23fq (js-ipfs-bitswap): wants without end,
/// with CIDs without end, kept in memory after the peer had gone, and the blocks that were read for
/// it.
#[test]
fn a_flood_of_wants_is_bounded_and_goes_with_its_peer() {
    let scene = Scene::new();
    let Scene { place, victim, hostile, .. } = &scene;
    let large = blocks(81, 50, 1 << 20);
    place.run(async {
        let _guests = hostile.accept(&[V1_2_0], 1).unwrap();
        place.sleep(SECOND).await;
        victim.store.put_many(&large).await.unwrap();
        let mut stream = scene.open().await;
        // Blocks that are here and are never read; then ten thousand others, each wanted more.
        let entries = large.iter().map(|block| want(*block.cid(), i32::MAX)).collect();
        say(&mut stream, &wants(entries)).await.unwrap();
        for i in 0..10 {
            let entry = |(j, block): (usize, ipfs_traits::Block)| {
                want(*block.cid(), i32::try_from(i * 1000 + j).unwrap())
            };
            let many = blocks(100 + i as u64, 1000, 16).into_iter().enumerate().map(entry);
            say(&mut stream, &wants(many.collect())).await.unwrap();
        }
        // CIDs of 100 kB, by identity and by a hash function that is allowed.
        for code in [0x00, 0x12] {
            let mut cid = vec![1, 0x55, code];
            varint::write(100_000, &mut cid);
            cid.resize(cid.len() + 100_000, 7);
            let message = field(1, &field(1, &field(1, &cid)));
            stream.write_all(&framed(&message)).await.unwrap();
        }
        place.sleep(SECOND).await;
        let (wanted, stats) = (victim.bitswap.wantlist_of(&peer_id(3)), victim.bitswap.stats());
        // All but those that were sent before it read no more.
        assert!((1020..=1024).contains(&wanted.len()), "{}", wanted.len());
        assert!(wanted.iter().all(|cid| cid.hash().digest().len() == 32));
        assert!(stats.wants_dropped > 8900, "{}", stats.wants_dropped);
        assert!((1 << 20..6 << 20).contains(&stats.reading), "{}", stats.reading);
        scene.serves().await;

        hostile.disconnect(peer_id(1)).await.unwrap();
        place.sleep(SECOND).await;
        assert_eq!(victim.bitswap.wantlist_of(&peer_id(3)), []);
        assert_eq!(victim.bitswap.stats().reading, 0);
    });
}

/// boxo#961: a message that had no wantlist ended the process.
#[test]
fn a_message_without_a_wantlist_is_read_like_any_other() {
    let scene = Scene::new();
    let Scene { place, victim, hostile, .. } = &scene;
    let block = blocks(82, 1, 5000).remove(0);
    place.run(async {
        victim.store.put(block.clone()).await.unwrap();
        let mut guests = hostile.accept(&[V1_2_0], 8).unwrap();
        let mut stream = scene.open().await;
        let presences = Message { presences: vec![(*block.cid(), true)], ..Message::default() };
        let unasked = Message { blocks: blocks(83, 1, 50), ..Message::default() };
        // Nothing at all, an empty wantlist, one without entries that is the whole of it.
        for bytes in [&[][..], &field(1, &[]), &field(1, &[0x10, 1])] {
            stream.write_all(&framed(bytes)).await.unwrap();
        }
        say(&mut stream, &presences).await.unwrap();
        say(&mut stream, &unasked).await.unwrap();
        // The same stream is read on.
        say(&mut stream, &wants(vec![want(*block.cid(), 1)])).await.unwrap();
        let answer = async {
            let mut guest = guests.next().await.unwrap().stream;
            hear(&mut guest).await.payloads().next().unwrap().1
        };
        assert_eq!(place.within(SECOND, answer).await, block.data());
        scene.serves().await;
    });
}

/// boxo#702: a session that wanted more at once than it asked of all ended the process. So much is
/// wanted here that nobody has, beside a peer that says nothing; then somebody comes who has it.
#[test]
fn more_may_be_wanted_than_is_asked_of_all() {
    let mut options = Options::default();
    options.window = 4 << 30; // of blocks whose size is not known yet
    let scene = Scene::with(options);
    let Scene { place, victim, friend, hostile } = &scene;
    let all_blocks = blocks(84, 3000, 40);
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let mut guests = hostile.accept(&[V1_2_0], 8).unwrap();
    let noted = asked.clone();
    place.beside(async move {
        while let Some(mut guest) = guests.next().await {
            while let Some(message) = try_hear(&mut guest.stream).await {
                noted.lock().unwrap().extend(message.entries().map(|entry| entry.cid));
            }
        }
    });
    place.run(async {
        // It would say that it lacks them.
        friend.network.disconnect(peer_id(1)).await.unwrap();
        place.sleep(SECOND).await;
        let session = victim.bitswap.session(None);
        let mut waiting = std::pin::pin!(all(&session, &all_blocks));
        let pause = place.sleep(SECOND * 4);
        let early = future::select(&mut waiting, pause.boxed()).await;
        assert!(matches!(early, Either::Right(_)), "nobody has it");
        assert_eq!(victim.bitswap.wantlist().len(), 1024);
        let count = asked.lock().unwrap().len();
        assert!((1..=64).contains(&count), "{count} are asked of all at once");
        let giver = place.node(4);
        giver.store.put_many(&all_blocks).await.unwrap();
        giver.network.connect(&peer_id(1).into()).await.unwrap();
        assert_eq!(place.within(SECOND * 60, waiting).await.unwrap().len(), 3000);
    });
}

/// Unsolicited blocks: nothing is hashed that comes from a peer of which nothing is wanted, and what
/// was not asked for is not given to anybody and not stored, whatever else is wanted.
#[test]
fn blocks_that_nobody_asked_for_are_dropped() {
    let scene = Scene::new();
    let Scene { place, victim, hostile, .. } = &scene;
    let (wanted, unasked) = (blocks(85, 1, 5000).remove(0), blocks(86, 20, 5000));
    place.run(async {
        let mut guests = hostile.accept(&[V1_2_0], 8).unwrap();
        let mut stream = scene.open().await;
        let push = Message { blocks: unasked.clone(), ..Message::default() };
        say(&mut stream, &push).await.unwrap();
        place.sleep(SECOND).await;
        assert_eq!(victim.bitswap.stats().unwanted, 20);

        let session = victim.bitswap.session(None);
        let mut waiting = session.get(wanted.cid());
        assert!((&mut waiting).now_or_never().is_none());
        hear(&mut guests.next().await.unwrap().stream).await;
        say(&mut stream, &push).await.unwrap();
        place.sleep(SECOND).await;
        assert!((&mut waiting).now_or_never().is_none());
        let blocks = vec![wanted.clone()];
        say(&mut stream, &Message { blocks, ..Message::default() }).await.unwrap();
        assert_eq!(place.within(SECOND, waiting).await.unwrap(), wanted);

        let stats = victim.bitswap.stats();
        assert_eq!((stats.unwanted, stats.blocks_received), (40, 1));
        assert_eq!((session.stats().blocks, session.stats().duplicates), (1, 0));
        for block in &unasked {
            assert!(!victim.store.has(block.cid()).await.unwrap());
        }
    });
}

/// CVE-2022-23492 and CVE-2022-23486 (go-libp2p, rust-libp2p): streams without end.
#[test]
fn a_peer_has_only_so_many_streams_and_others_have_theirs() {
    let scene = Scene::new();
    let Scene { place, victim, hostile, .. } = &scene;
    place.run(async {
        let (mut open, protocols) = (Vec::new(), [V1_2_0]);
        for _ in 0..300 {
            open.extend(hostile.open(peer_id(1), &protocols).await.ok());
        }
        let most = Options::default().max_streams;
        assert_eq!(open.len(), most);
        assert_eq!(victim.network.stats().refused_streams as usize, 300 - most);
        place.sleep(SECOND * 600).await;
        assert!(hostile.open(peer_id(1), &protocols).await.is_err());
        scene.serves().await;
        // What is given back can be had again.
        drop(open);
        place.sleep(SECOND).await;
        scene.open().await;
    });
}

/// The same, of memory: a hundred streams of a peer, each with all but the end of the largest message.
#[test]
fn what_one_peer_has_in_memory_is_bounded_whatever_its_streams() {
    let scene = Scene::new();
    let Scene { place, .. } = &scene;
    place.run(async {
        let piece = vec![0; 64 << 10];
        let mut writes = Vec::new();
        for _ in 0..100 {
            let mut stream = scene.open().await;
            stream.write_all(&[0x80, 0x80, 0x80, 2]).await.unwrap();
            writes.push((stream, 0));
        }
        // Each writes until nobody takes more.
        for _ in 0..64 {
            for (stream, written) in &mut writes {
                if *written < 63 * piece.len() {
                    let write = stream.write(&piece).now_or_never();
                    *written += write.map_or(0, |count| count.unwrap());
                }
            }
            place.sleep(Duration::from_millis(1)).await;
        }
        let taken: usize = writes.iter().map(|(_, written)| written).sum();
        // Two messages, and what waits in the streams themselves.
        assert!((8 << 20..36 << 20).contains(&taken), "{taken}");
        scene.serves().await;
        // It is read on when the first ones are given up.
        place.sleep(SECOND * 121).await;
        let ended = writes[0].0.read(&mut [0]).now_or_never();
        assert!(ended.is_some_and(|read| read.is_err()));
    });
}
