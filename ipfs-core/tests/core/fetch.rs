//! Bringing what a path leads to into the store: all of it, and no more.

mod incomplete;
pub(crate) mod neighbour;
mod odd;

use std::{collections::BTreeSet, future::Future, time::Duration};

use futures::{StreamExt, TryStreamExt};
use ipfs_core::{
    Block, Blockstore, Cid, Error, Giver, Ipld, Multihash, Node, PeerId, Result, VirtualRuntime,
    codes,
    memory::{MemoryHub, MemoryStore, peer_id},
    unixfs::{Chunker, Params, Sharding},
};

use self::neighbour::{Neighbour, all};
use crate::{content, three::join};

/// Runs a test on a clock of its own.
fn on_virtual_time<F: Future<Output = ()>>(test: impl FnOnce(VirtualRuntime) -> F) {
    let runtime = VirtualRuntime::new();
    runtime.block_on(test(runtime.clone())).unwrap();
}

fn list(links: &[Cid]) -> Ipld {
    Ipld::List(links.iter().map(|cid| Ipld::Link(*cid)).collect())
}

fn hashes(cids: &[Cid]) -> BTreeSet<Multihash> {
    cids.iter().map(|cid| *cid.hash()).collect()
}

/// Deep files, and directories that are sharded with more than a few entries.
fn small_blocks() -> Params {
    Params {
        chunker: Chunker::Fixed(1000),
        max_links: 4,
        sharding: Sharding::ByBlock(500),
        fanout: 8,
        ..Params::default()
    }
}

/// A value of DAG-JSON and one of DAG-CBOR, of which one links to the other twice, to a tree of
/// files, and to raw blocks.
async fn mixed(node: &Node) -> Cid {
    let folder = tempfile::tempdir().unwrap();
    content::tree(&folder.path().join("tree"), 5);
    let files = node.unixfs().params(small_blocks());
    let tree = files.add_path(folder.path().join("tree")).await.unwrap().cid;
    let raw = Block::of(codes::RAW, codes::BLAKE3, "raw", node.hashes()).unwrap();
    node.blocks().put(raw.clone()).await.unwrap();
    let inline: Cid = "bafkqac3imvwgy3zao5xxe3de".parse().unwrap();
    let json = list(&[tree, *raw.cid(), inline]);
    let json = node.dag().put_with(codes::DAG_JSON, codes::SHA2_512, &json).await.unwrap();
    node.dag().put(&list(&[json, *raw.cid(), json])).await.unwrap()
}

#[test]
fn a_whole_dag_of_several_codecs_comes_from_peers() {
    on_virtual_time(|runtime| async move {
        let hub = MemoryHub::new();
        let ((a, _), (b, _)) = (join(&hub, &runtime, 1).await, join(&hub, &runtime, 2).await);
        let root = mixed(&a).await;
        let expected = a.dag().stat(&[root]).await.unwrap();
        b.connect(a.peer_id()).await.unwrap();

        let mut fetching = b.fetch(root).start();
        let (mut last, mut told, began) = (None, 0_u64, runtime_now(&b));
        while let Some(progress) = fetching.next().await {
            told += 1;
            last = Some(progress);
        }
        let time = runtime_now(&b) - began;
        assert!(told <= 2 + time.as_millis() as u64 / 100, "{told} in {time:?}");
        let (last, done) = (last.unwrap(), fetching.await.unwrap());
        assert_eq!((done.root, &done.rest[..]), (root, &[][..]));
        assert_eq!((done.blocks, done.bytes), (expected.unique_blocks, expected.unique_bytes));
        assert_eq!((done.fetched_blocks, done.fetched_bytes), (done.blocks - 1, done.bytes - 11));
        assert_eq!(last.here_blocks + last.fetched_blocks, done.blocks);
        assert_eq!(last.here_bytes + last.fetched_bytes, done.bytes);
        assert_eq!((last.wanted, last.queued, last.missing), (0, 0, 0));
        let givers: Vec<&Giver> = done.stats.givers.iter().map(|giver| &giver.giver).collect();
        assert_eq!(givers, [&Giver::Peer(a.peer_id())]);

        // All is here, and is kept until it is no longer held.
        a.close().await.unwrap();
        let blocks: Vec<Block> = b.dag().walk(&root).try_collect().await.unwrap();
        assert_eq!(blocks.len() as u64, done.blocks);
        let stored = |block: &&Block| Block::inline(block.cid()).is_none();
        let cids: Vec<Cid> = blocks.iter().filter(stored).map(|block| *block.cid()).collect();
        for cid in &cids {
            assert!(matches!(b.blocks().delete(cid).await, Err(Error::InUse(_))), "{cid}");
        }
        let again = b.fetch(format!("/ipfs/{root}/0")).await.unwrap();
        assert_eq!((again.fetched_blocks, again.blocks), (0, done.blocks));
        drop((done, again));
        b.store().delete_many(&cids).await.unwrap();
        assert!(all(&b).await.is_empty());
    });
}

fn runtime_now(node: &Node) -> std::time::Instant {
    node.runtime().now()
}

/// What a scope brings is exactly what a reader of it touches.
async fn same_as_read<T>(
    neighbour: &Neighbour,
    runtime: &VirtualRuntime,
    fetched: Result<ipfs_core::Fetched>,
    read: impl AsyncFnOnce(&Node) -> T,
) -> BTreeSet<Cid> {
    let (fetched, asked) = (fetched.unwrap(), neighbour.asked());
    let reader = neighbour.node(runtime).await;
    read(&reader).await;
    assert_eq!(asked, neighbour.asked());
    assert_eq!(fetched.fetched_blocks, asked.len() as u64);
    asked
}

#[test]
fn a_range_brings_the_blocks_that_hold_it_and_no_other() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let folder = tempfile::tempdir().unwrap();
        // The second has the same leaf again and again, the third the same four.
        std::fs::write(folder.path().join("a"), content::bytes(1, 100_500)).unwrap();
        std::fs::write(folder.path().join("b"), vec![0; 100_500]).unwrap();
        std::fs::write(folder.path().join("c"), content::bytes(2, 4000).repeat(25)).unwrap();
        let files = origin.unixfs().params(small_blocks());
        let root = files.add_path(folder.path()).await.unwrap().cid;
        for (name, range, leaves) in [
            ("a", 0..1, 1),
            ("a", 999..1001, 2),
            ("a", 50_000..60_000, 10),
            ("a", 15_999..48_001, 34),
            ("a", 100_400..u64::MAX, 1),
            ("a", 200_000..300_000, 0),
            ("a", 7..7, 0),
            ("a", 0..100_500, 101),
            ("b", 3_500..70_000, 1),
            ("b", 99_500..100_500, 2),
            ("c", 3_500..4_500, 2),
            ("c", 15_500..17_500, 3),
        ] {
            let node = neighbour.node(&runtime).await;
            let path = format!("/ipfs/{root}/{name}");
            let fetched = node.fetch(&path).range(range.clone()).await;
            let asked = same_as_read(&neighbour, &runtime, fetched, async |reader: &Node| {
                let file = reader.unixfs().open(&path).await.unwrap();
                file.range(range.clone()).try_collect::<Vec<_>>().await.unwrap();
            })
            .await;
            let found = asked.iter().filter(|cid| cid.codec() == codes::RAW).count();
            assert_eq!(found, leaves, "{name} {range:?}");
        }
        let node = neighbour.node(&runtime).await;
        let wrong = node.fetch(root).range(0..1).await;
        assert!(matches!(wrong, Err(Error::WrongKind { found: "a directory", .. })), "{wrong:?}");
    });
}

#[test]
fn an_entity_is_a_whole_file_or_a_directory_without_its_entries() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let root = mixed(&origin).await;
        let (file, many) = (format!("{root}/0/0/large.bin"), format!("{root}/0/0/many"));
        let fetch = async |path: &str| neighbour.node(&runtime).await.fetch(path).entity().await;

        let asked =
            same_as_read(&neighbour, &runtime, fetch(&file).await, async |reader: &Node| {
                let file = reader.unixfs().open(&file).await.unwrap();
                file.range(..).try_collect::<Vec<_>>().await.unwrap();
            });
        assert!(asked.await.len() > 5000);
        let asked =
            same_as_read(&neighbour, &runtime, fetch(&many).await, async |reader: &Node| {
                let entries = reader.unixfs().list(&many).await.unwrap();
                assert_eq!(entries.count().await, 200);
            });
        assert!(asked.await.len() > 20, "the directory is sharded");
        let small = fetch(&format!("{root}/0/0/a")).await.unwrap();
        neighbour.asked();
        let value = fetch(&format!("{root}/0")).await.unwrap();
        assert_eq!((small.blocks, value.blocks), (2 + 1 + 1, 2));
        neighbour.asked();

        // A path that ends inside a value leads to its block.
        let node = neighbour.node(&runtime).await;
        let block = node.fetch(root).block().await.unwrap();
        assert_eq!((block.blocks, block.root), (1, root));
        let inside = node.dag().put(&Ipld::List(vec![list(&[root])])).await.unwrap();
        let inside = node.fetch(format!("{inside}/0")).max_depth(1).await.unwrap();
        assert_eq!((inside.blocks, &inside.rest[..]), (2, &["0".to_owned()][..]));
    });
}

#[test]
fn links_are_followed_as_far_as_it_is_said() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        // A chain, to whose end a short way leads too.
        let end = origin.dag().put(&Ipld::String("end".into())).await.unwrap();
        let near = origin.dag().put(&list(&[end])).await.unwrap();
        let mut chain = vec![origin.dag().put(&list(&[near])).await.unwrap()];
        for n in 0..5 {
            let value = Ipld::List(vec![Ipld::Integer(n), Ipld::Link(chain[n as usize])]);
            chain.push(origin.dag().put(&value).await.unwrap());
        }
        let root = origin.dag().put(&list(&[chain[5], near])).await.unwrap();

        for (depth, blocks) in [(0, 1), (1, 3), (2, 5), (3, 6), (usize::MAX, 9)] {
            let node = neighbour.node(&runtime).await;
            let fetched = node.fetch(root).max_depth(depth).await.unwrap();
            assert_eq!(fetched.blocks, blocks, "{depth}");
        }
        let node = neighbour.node(&runtime).await;
        let (last, first) = (chain[3], chain[5]);
        let filter = move |link: &Cid, parent: &Cid, depth: usize| {
            assert!(*parent != root || depth == 1);
            *link != last
        };
        let fetched = node.fetch(root).filter(filter).await.unwrap();
        assert_eq!(fetched.blocks, 5);
        assert_eq!(all(&node).await, hashes(&[root, first, chain[4], near, end]));
    });
}

/// A block that was come to at the greatest depth, and then by a shorter way.
#[test]
fn a_shorter_way_leads_further() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let (origin, node) = (neighbour.origin(&runtime).await, neighbour.node(&runtime).await);
        let end = origin.dag().put(&Ipld::Null).await.unwrap();
        let near = node.dag().put(&list(&[end])).await.unwrap();
        let short = origin.dag().put(&list(&[near])).await.unwrap();
        let long = node.dag().put(&list(&[near, near])).await.unwrap();
        let long = node.dag().put(&list(&[long])).await.unwrap();
        let root = node.dag().put(&list(&[long, short])).await.unwrap();
        neighbour.delay(&runtime, Duration::from_secs(1));
        let fetched = node.fetch(root).max_depth(3).await.unwrap();
        assert_eq!((fetched.blocks, fetched.fetched_blocks), (6, 2));
    });
}

#[test]
fn providers_are_named_and_bad_ones_refused() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let root = neighbour.origin(&runtime).await.unixfs().add_bytes("x").await.unwrap().cid;
        let node = neighbour.node(&runtime).await;
        let peers: [PeerId; 2] = [peer_id(7), peer_id(8)];
        node.fetch(root)
            .providers(peers)
            .providers([format!("/p2p/{}", peer_id(9)).as_str()])
            .await
            .unwrap();
        let named: Vec<PeerId> = neighbour.named().iter().map(|peer| peer.id).collect();
        assert_eq!(named, [peer_id(7), peer_id(8), peer_id(9)]);
        let wrong = node.fetch(root).providers(["nobody"]).await;
        assert!(matches!(wrong, Err(Error::Invalid { what: "address", .. })));
        for path in ["no path", "/ipfs/bafkqaaa/.."] {
            assert!(matches!(node.fetch(path).await, Err(Error::Invalid { .. })));
        }
        assert!(matches!(node.fetch("/ipns/example.com").await, Err(Error::Unsupported(_))));
        assert!(node.fetch(format!("{root}/x")).await.is_err());
    });
}

/// More links than are kept: those that are dropped are read once more.
#[test]
fn a_wide_dag_comes_whole() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let inline = |n: u32| {
            let hash = Multihash::wrap(codes::IDENTITY, &n.to_be_bytes()).unwrap();
            Cid::new_v1(codes::RAW, hash)
        };
        let mut wide = Vec::new();
        for n in 0..4 {
            let links: Vec<Cid> = (0..30_000).map(|m| inline(n * 30_000 + m)).collect();
            wide.push(origin.dag().put(&list(&links)).await.unwrap());
        }
        let root = origin.dag().put(&list(&wide)).await.unwrap();
        let node = neighbour.node(&runtime).await;
        let fetched = node.fetch(root).await.unwrap();
        assert_eq!((fetched.blocks, fetched.fetched_blocks), (120_005, 5));
    });
}

#[test]
fn a_full_store_and_a_closed_node_end_it() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let origin = neighbour.origin(&runtime).await;
        let root = origin.unixfs().add_bytes(content::bytes(1, 5 << 20)).await.unwrap().cid;
        let node = neighbour.node_with(&runtime, MemoryStore::with_limit(2 << 20)).await;
        assert!(matches!(node.fetch(root).await, Err(Error::Full { .. })));
        node.close().await.unwrap();
        let began = runtime_now(&node);
        assert!(matches!(node.fetch(root).await, Err(Error::Closed(_))));
        assert_eq!(runtime_now(&node) - began, Duration::ZERO);
    });
}
