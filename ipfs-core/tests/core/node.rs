//! The node's own promises: what it keeps, what it refuses, and how it ends.

use std::sync::Arc;

use futures::{AsyncReadExt, StreamExt, TryStreamExt};
use ipfs_core::{
    Block, BlockSource, Blockstore, BlockstoreExt, Builder, Bytes, Cid, Codec, Error, HashFunction,
    HashTable, Ipld, NoRouting, Node, OfflineExchange, Routing,
    blockstore::FlatStore,
    codes,
    memory::MemoryStore,
    network::Event,
    unixfs::{Event as WorkEvent, Params},
};

use crate::{
    content,
    network::{TCP, listening},
};

async fn offline() -> Node {
    Node::builder().offline().spawn().await.unwrap()
}

fn block(text: &str) -> Block {
    let text = text.to_owned();
    Block::of(codes::RAW, codes::SHA2_256, text, &HashTable::standard()).unwrap()
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let hub = ipfs_core::memory::MemoryHub::new();
    let network = |n| hub.join(ipfs_core::memory::peer_id(n)).unwrap();
    let key = ipfs_core::identity::Keypair::generate_ed25519();
    let address = || [TCP.parse().unwrap()];
    let wrong: [Builder; 4] = [
        Node::builder().offline().network(network(1)),
        Node::builder().listen(address()).offline(),
        Node::builder().network(network(2)).listen(address()),
        Node::builder().identity(key).network(network(3)),
    ];
    for builder in wrong {
        let refused = builder.spawn().await;
        assert!(matches!(refused, Err(Error::Invalid { what: "builder", .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_data_directory_keeps_all_and_is_one_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Node::builder().data_dir(folder.path().join("node")).offline().spawn();
    let node = open().await.unwrap();
    let name = node.peer_id();
    let cid = node.unixfs().add_bytes("kept").await.unwrap().cid;
    assert!(matches!(open().await, Err(Error::InUse(_))));
    node.close().await.unwrap();
    node.close().await.unwrap();

    // Every handle of it is closed, whatever is called.
    let blocks = node.blocks();
    assert!(matches!(blocks.get(&cid).await, Err(Error::Closed(_))));
    assert!(matches!(blocks.put(block("x")).await, Err(Error::Closed(_))));
    assert!(matches!(blocks.list().try_next().await, Err(Error::Closed(_))));
    assert!(matches!(node.unixfs().add_bytes("x").await, Err(Error::Closed(_))));
    assert!(matches!(node.datastore().get(b"x").await, Err(Error::Closed(_))));

    let again = open().await.unwrap();
    assert_eq!(again.peer_id(), name);
    let mut text = String::new();
    again.unixfs().open(&cid).await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "kept");
}

/// A build that fails at its last step gives back what the steps before have taken.
#[tokio::test]
async fn a_build_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let node = || Node::builder().data_dir(folder.path()).offline();
    let fails = ipfs_core::recipe(|_| async {
        Err::<Arc<dyn Routing>, _>(Error::invalid("routing", "it is made to fail"))
    });
    let failed = node().routing(fails).spawn().await;
    assert!(matches!(failed, Err(Error::Invalid { what: "routing", .. })));
    node().spawn().await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_ends_the_node() {
    let (a, b) = (listening(TCP).await.unwrap(), listening(TCP).await.unwrap());
    let (mut events, name) = (b.network().events(), a.peer_id());
    // The first event tells who is connected by then, and the connection shall come after it.
    assert!(matches!(events.next().await, Some(Event::Snapshot(_))));
    a.connect(b.addresses()).await.unwrap();
    while events.next().await.unwrap() != Event::Connected(name) {}
    let (also, source) = (a.clone(), a.source(block("x").cid()));
    drop(a);
    assert_eq!(also.peers().await, [b.peer_id()]);
    drop(also);
    drop(source);
    while events.next().await.unwrap() != Event::Gone(name) {}
}

#[tokio::test]
async fn what_is_added_or_read_under_a_hold_stays() {
    let node = offline().await;
    let before = block("before");
    node.blocks().put(before.clone()).await.unwrap();
    let added = node.unixfs().add_bytes(content::bytes(1, 3 << 20)).await.unwrap();
    let all: Vec<Block> = node.dag().walk(&added.cid).try_collect().await.unwrap();
    assert_eq!(all.len(), 4);

    for block in &all {
        let refused = node.blocks().delete(block.cid()).await;
        assert!(matches!(refused, Err(Error::InUse(_))));
    }
    let cids: Vec<Cid> = all.iter().map(|block| *block.cid()).collect();
    let mixed = [&[*before.cid()], &cids[..]].concat();
    assert!(node.store().delete_many(&mixed).await.is_err());
    assert!(node.blocks().has(before.cid()).await.unwrap(), "nothing of a refused delete is done");

    let hold = node.hold();
    node.under(&hold).blocks().get(before.cid()).await.unwrap();
    assert!(node.blocks().delete(before.cid()).await.is_err(), "reading under a hold keeps");
    drop(hold);
    drop(added);
    node.store().delete_many(&mixed).await.unwrap();
    assert!(node.store().sizes(&mixed).await.unwrap().iter().all(Option::is_none));
    assert!(node.store().close().await.is_err(), "the store is the node's to close");
}

#[tokio::test]
async fn progress_is_told_and_ends_with_the_result() {
    let node = offline().await;
    let mut adding = node.unixfs().add_bytes(content::bytes(2, 30 << 20));
    let (mut last, mut done) = (0, None);
    while let Some(event) = adding.try_next().await.unwrap() {
        match event {
            WorkEvent::Progress(progress) => {
                assert!(progress.bytes >= last);
                last = progress.bytes;
            }
            WorkEvent::Done(added) => done = Some(added),
        }
    }
    let added = done.unwrap();
    assert!(last > 0 && added.report.bytes == 30 << 20);

    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let mut told = 0;
    let mut writing = node.unixfs().write(added.cid, &target);
    while let Some(event) = writing.try_next().await.unwrap() {
        if let WorkEvent::Progress(progress) = event {
            told = progress.bytes;
        }
    }
    assert!(told > 0);
    assert!(std::fs::read(target).unwrap() == content::bytes(2, 30 << 20));
    let exists = node.unixfs().write(added.cid, folder.path()).await;
    assert!(matches!(exists, Err(Error::InUse(_))));
}

#[tokio::test]
async fn a_walk_is_whole_or_ends_with_an_error() {
    let node = offline().await;
    let leaves: Vec<Block> = (0..500).map(|n| block(&format!("leaf {n}"))).collect();
    node.store().put_many(&leaves).await.unwrap();
    let links = leaves.iter().map(|leaf| Ipld::Link(*leaf.cid()));
    let shared = node.dag().put(&Ipld::List(links.collect())).await.unwrap();
    let root = Ipld::List(vec![Ipld::Link(shared), Ipld::Link(shared)]);
    let root = node.dag().put(&root).await.unwrap();

    let all: Vec<Block> = node.dag().walk(&root).try_collect().await.unwrap();
    assert_eq!(*all[0].cid(), root);
    let mut cids: Vec<Cid> = all.iter().map(|block| *block.cid()).collect();
    cids.sort();
    cids.dedup();
    assert_eq!((all.len(), cids.len()), (502, 502), "each once");

    node.blocks().delete(leaves[250].cid()).await.unwrap();
    let mut walk = node.dag().walk(&root);
    let error = loop {
        match walk.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a walk with a block missing ended as if it were whole"),
        }
    };
    assert!(matches!(error, Error::NotFound(cid) if cid == *leaves[250].cid()));
    assert!(walk.next().await.is_none());

    let odd = Block::of(0x1234, codes::SHA2_256, "x", node.hashes()).unwrap();
    node.blocks().put(odd.clone()).await.unwrap();
    let unknown: Result<Vec<Block>, Error> = node.dag().walk(odd.cid()).try_collect().await;
    assert!(matches!(unknown, Err(Error::UnknownCodec(0x1234))));
}

#[tokio::test]
async fn paths_lead_through_files_and_values() {
    let node = offline().await;
    let folder = tempfile::tempdir().unwrap();
    content::tree(&folder.path().join("tree"), 3);
    let root = node.unixfs().add_path(folder.path().join("tree")).await.unwrap().cid;
    let value = Ipld::Map([("files".to_owned(), Ipld::Link(root))].into());
    let value = node.dag().put(&value).await.unwrap();

    // From a value into files, by their names.
    let found = node.dag().resolve(format!("/ipfs/{value}/files/a/b/c/d/deep")).await.unwrap();
    let deep = node.unixfs().resolve(format!("/ipfs/{root}/a/b/c/d/deep")).await.unwrap();
    assert_eq!((found.cid, found.rest.len()), (deep, 0));
    // In /ipld a directory is a value like any other.
    let links = node.dag().get(format!("/ipld/{root}/Links/0/Name")).await.unwrap();
    assert_eq!(links, Ipld::String("a".into()));
    assert!(node.dag().get(format!("/ipfs/{root}/Links/0/Name")).await.is_err());

    let dag = node.dag();
    let missing = dag.get(format!("{value}/nothing")).await;
    assert!(matches!(missing, Err(Error::NoEntry { name, .. }) if name == "nothing"));
    let missing = node.unixfs().open(format!("{root}/a/x")).await;
    assert!(matches!(missing, Err(Error::NoEntry { name, .. }) if name == "x"));
    let wrong = node.unixfs().open(&root).await;
    assert!(matches!(wrong, Err(Error::WrongKind { .. })));
    let wrong = node.unixfs().list(&deep).await.err();
    assert!(matches!(wrong, Some(Error::WrongKind { .. })));
    let namespace = node.unixfs().stat(format!("/ipld/{root}")).await;
    assert!(matches!(namespace, Err(Error::Invalid { what: "path", .. })));
    let name = node.unixfs().resolve("/ipns/example.com").await;
    assert!(matches!(name, Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn bad_blocks_and_cids_are_refused_and_harm_nothing() {
    let node = offline().await;
    let kept = block("kept");
    node.blocks().put(kept.clone()).await.unwrap();
    let large = vec![0; (2 << 20) + 1];
    let large = Block::of(codes::RAW, codes::SHA2_256, large, node.hashes()).unwrap();
    let refused = node.blocks().put(large.clone()).await;
    assert!(matches!(refused, Err(Error::Limit { limit: 2_097_152, .. })));
    node.blocks().put_large(large.clone()).await.unwrap();
    assert_eq!(node.blocks().get(large.cid()).await.unwrap(), large);

    let absent = node.blocks().get(block("absent").cid()).await;
    assert!(matches!(absent, Err(Error::NotFound(cid)) if cid == *block("absent").cid()));
    // md5: no hash function to believe.
    let md5 = ipfs_core::Multihash::wrap(0xd5, &[7; 16]).unwrap();
    let unknown = node.blocks().get(&Cid::new_v1(codes::RAW, md5)).await;
    assert!(matches!(unknown, Err(Error::UnknownHash(0xd5) | Error::Limit { .. })), "{unknown:?}");
    let value = node.dag().put_with(0x9999, codes::SHA2_256, &Ipld::Null).await;
    assert!(matches!(value, Err(Error::UnknownCodec(0x9999))));
    let value = node.dag().put_with(codes::DAG_CBOR, 0x9999, &Ipld::Null).await;
    assert!(matches!(value, Err(Error::UnknownHash(0x9999))));
    let value = node.dag().put_with(codes::DAG_PB, codes::SHA2_256, &Ipld::Null).await;
    assert!(matches!(value, Err(Error::Invalid { .. })));
    let folder = tempfile::tempdir().unwrap();
    let nothing = node.unixfs().add_path(folder.path().join("absent")).await;
    assert!(matches!(nothing, Err(Error::Component { name: "import", .. })));
    assert_eq!(node.blocks().get(kept.cid()).await.unwrap(), kept);
}

/// A hash function with a code of its own: the beginning of what SHA2-512 gives.
#[derive(Debug)]
struct Half;

const HALF: u64 = 0x30_0002;

impl HashFunction for Half {
    fn code(&self) -> u64 {
        HALF
    }
    fn size(&self) -> usize {
        32
    }
    fn digest(&self, data: &[u8], out: &mut [u8]) {
        let whole = HashTable::standard().hash(codes::SHA2_512, data).unwrap();
        out.copy_from_slice(&whole.digest()[..out.len()]);
    }
}

/// A codec with a code of its own: text, kept in this case.
#[derive(Debug)]
enum Text {
    Upper,
    Lower,
}

const TEXT: u64 = 0x30_0001;

impl Codec for Text {
    fn code(&self) -> u64 {
        TEXT
    }
    fn links(&self, _: &Cid, _: &[u8], _: &mut dyn FnMut(Cid)) -> ipfs_core::Result<()> {
        Ok(())
    }
    fn decode(&self, _: &Cid, data: &Bytes) -> ipfs_core::Result<Ipld> {
        let text = std::str::from_utf8(data).map_err(|_| Error::malformed("text", "not UTF-8"))?;
        Ok(Ipld::String(text.into()))
    }
    fn encode(&self, value: &Ipld) -> ipfs_core::Result<Bytes> {
        match (value, self) {
            (Ipld::String(text), Self::Upper) => Ok(text.to_uppercase().into()),
            (Ipld::String(text), Self::Lower) => Ok(text.to_lowercase().into()),
            _ => Err(Error::invalid("value to encode", "it is no text")),
        }
    }
}

/// Plugs of one's own: a store, a datastore, a routing, codecs, a hash function.
#[tokio::test]
async fn parts_of_ones_own_go_in_through_the_builder() {
    let store = Arc::new(MemoryStore::new());
    let node = Node::builder()
        .store(store.clone())
        .datastore(ipfs_core::memory::MemoryDatastore::new())
        .routing(NoRouting)
        .exchange(OfflineExchange)
        .codec(serde_ipld_dagcbor::codec::DagCborCodec)
        .codec_with(Text::Upper)
        .codec_with_for(HALF, Text::Lower)
        .hash(Half)
        .offline();
    let node = node.spawn().await.unwrap();
    let hi = Ipld::String("Hi".into());
    for (codec, hash, kept) in [
        (TEXT, codes::SHA2_256, &b"HI"[..]),
        (TEXT, HALF, b"hi"),
        (codes::DAG_CBOR, HALF, b"\x62Hi"),
    ] {
        let cid = node.dag().put_with(codec, hash, &hi).await.unwrap();
        assert_eq!((cid.codec(), cid.hash().code()), (codec, hash));
        assert_eq!(&store.get(&cid).await.unwrap().unwrap().data()[..], kept);
        assert!(matches!(node.dag().get(&cid).await.unwrap(), Ipld::String(_)));
    }
    let params = Params { hash: HALF, ..Params::default() };
    let file = node.unixfs().params(params).add_bytes("hi").await.unwrap().cid;
    assert_eq!(file.hash().code(), HALF);
    let mut text = String::new();
    node.unixfs().open(&file).await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hi");
}

/// A store whose files are damaged behind its back: what is asked to hash all that it reads gives an
/// error for that block, and reads the others.
#[tokio::test]
async fn a_damaged_block_is_an_error_and_not_data() {
    let folder = tempfile::tempdir().unwrap();
    let open = || async {
        let runtime = Arc::new(ipfs_core::TokioRuntime::current().unwrap());
        let mut options = ipfs_core::blockstore::flat::Options::default();
        options.verify_reads = Some(HashTable::standard());
        let store = FlatStore::open_with(folder.path(), runtime, options).await.unwrap();
        Node::builder().store(store).offline().spawn().await.unwrap()
    };
    let node = open().await;
    let data = content::bytes(4, 3 << 20);
    let added = node.unixfs().add_bytes(data.clone()).await.unwrap();
    let leaves = node.dag().links(&added.cid).await.unwrap();
    node.close().await.unwrap();
    let is_hurt =
        |path: &&std::path::PathBuf| std::fs::read(path).unwrap() == data[1 << 20..2 << 20];
    let files = walk(folder.path());
    let hurt = files.iter().find(is_hurt).unwrap();
    let mut bytes = std::fs::read(hurt).unwrap();
    bytes[500_000] ^= 1;
    std::fs::write(hurt, bytes).unwrap();

    let node = open().await;
    let source = node.source(&added.cid);
    let found = source.get(&leaves[1]).await;
    assert!(matches!(found, Err(Error::Corrupt(cid)) if cid == leaves[1]), "{found:?}");
    assert_eq!(source.get(&leaves[2]).await.unwrap().data(), &data[2 << 20..]);
    let all: Result<Vec<Block>, Error> = node.dag().walk(&added.cid).try_collect().await;
    assert!(matches!(all, Err(Error::Corrupt(_))));
}

fn walk(at: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
