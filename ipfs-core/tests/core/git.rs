//! Git objects in a node whose application registered their codec: paths, walks and fetches cross
//! from other formats into them, and from object to object.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use ipfs_core::{
    Block, Builder, Cid, Error, Ipld, Node, Static, codes, conformance,
    memory::{MemoryHub, peer_id},
};
use ipld_git::{
    CommitBuilder, GitCodec, GitSha256, Kind, Mode, ObjectFormat, PersonBuf, TagBuilder,
    TreeBuilder, blob, cid_of, with_header,
};

/// A small history: two commits and a tag, with a directory, a file, and a submodule's commit that
/// is elsewhere, if it is wanted.
pub(crate) struct History {
    pub(crate) blocks: Vec<(Cid, Vec<u8>)>,
    pub(crate) tag: Cid,
}

impl History {
    pub(crate) fn new(format: ObjectFormat, submodule: bool) -> Self {
        let mut blocks = Vec::new();
        let mut add = |object: Vec<u8>| {
            let id = format.hash(&object).unwrap();
            blocks.push((cid_of(&id), object));
            id
        };
        let (old, new) = (add(blob(b"fn old() {}\n")), add(blob(b"fn new() {}\n")));
        let me = PersonBuf::new("A", "a@example.com", 1_700_000_000, 60);
        let mut parent = None;
        for file in [old, new] {
            let src = TreeBuilder::new(format).entry(Mode::FILE, "lib.rs", file).build();
            let src = add(src.unwrap());
            let mut root = TreeBuilder::new(format).entry(Mode::TREE, "src", src);
            if submodule {
                root.push(Mode::SUBMODULE, "sub", format.hash(b"elsewhere").unwrap());
            }
            let root = add(root.build().unwrap());
            let commit = CommitBuilder::new(root, me.clone(), me.clone()).message("a commit\n");
            let commit = parent.into_iter().fold(commit, CommitBuilder::parent);
            parent = Some(add(commit.build().unwrap()));
        }
        let tag = TagBuilder::new(parent.unwrap(), Kind::Commit, "v1").tagger(me);
        let tag = cid_of(&add(tag.build().unwrap()));
        Self { blocks, tag }
    }

    async fn put(&self, node: &Node) {
        let blocks = self
            .blocks
            .iter()
            .map(|(cid, bytes)| Block::verify(*cid, bytes.clone().into(), node.hashes()).unwrap());
        node.blocks().put_many(&blocks.collect::<Vec<_>>()).await.unwrap();
    }
}

async fn join(hub: &MemoryHub, n: u64, with: impl FnOnce(Builder) -> Builder) -> Node {
    let builder = Node::builder().network(hub.join(peer_id(n)).unwrap());
    with(builder).spawn().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_walks_and_fetches_cross_into_git() {
    let hub = MemoryHub::new();
    let a = join(&hub, 1, |builder| builder.codec(GitCodec)).await;
    let b = join(&hub, 2, |builder| builder.codec(GitCodec)).await;
    b.connect(a.peer_id()).await.unwrap();
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let history = History::new(format, false);
        history.put(&a).await;
        let release = BTreeMap::from([("source".to_owned(), Ipld::Link(history.tag))]);
        let release = a.dag().put(&Ipld::Map(release)).await.unwrap();

        let dag = b.dag();
        let get = |path: &str| dag.get(format!("/ipfs/{release}/source/{path}"));
        let file = get("object/tree/src/hash/lib.rs/hash").await.unwrap();
        assert_eq!(file, Ipld::Bytes(blob(b"fn new() {}\n")));
        let old = get("object/parents/0/tree/src/hash/lib.rs/hash").await.unwrap();
        assert_eq!(old, Ipld::Bytes(blob(b"fn old() {}\n")));
        let message = get("object/message").await.unwrap();
        assert_eq!(message, Ipld::String("a commit\n".into()));
        let mode = dag.resolve(format!("/ipld/{release}/source/object/tree/src/mode")).await;
        assert_eq!(mode.unwrap().rest, ["src", "mode"]);
        assert!(matches!(get("object/tree/absent").await, Err(Error::NoEntry { .. })));

        let all: Vec<Block> = b.dag().walk(&release).try_collect().await.unwrap();
        assert_eq!(all.len(), history.blocks.len() + 1);
        // What was fetched is what git would hash.
        let held = b.blocks().get(&history.tag).await.unwrap();
        assert_eq!(format.hash(held.data()).map(|id| cid_of(&id)), Ok(history.tag));
    }
}

#[tokio::test]
async fn without_the_codec_it_is_a_typed_error() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let history = History::new(ObjectFormat::Sha1, false);
    history.put(&node).await;
    let found = node.dag().get(&history.tag).await;
    assert!(matches!(found, Err(Error::UnknownCodec(codes::GIT_RAW))));
    assert!(matches!(
        node.dag().walk(&history.tag).next().await,
        Some(Err(Error::UnknownCodec(_)))
    ));
}

/// Of the bytes alone it cannot be told whether this tree has ids of 20 or of 32 bytes.
#[tokio::test]
async fn a_codec_for_one_hash_function_knows_what_the_bytes_do_not_say() {
    let mut content = [0x11; 72];
    for (at, start) in [(0, b"1 a\0"), (24, b"1 b\0"), (36, b"1 c\0"), (48, b"1 d\0")] {
        content[at..at + 4].copy_from_slice(start);
    }
    let tree = with_header(Kind::Tree, &content);
    let cid = cid_of(&ObjectFormat::Sha256.hash(&tree).unwrap());
    let names = async |builder: Builder| {
        let node = builder.offline().spawn().await.unwrap();
        let block = Block::verify(cid, tree.clone().into(), node.hashes()).unwrap();
        node.blocks().put(block).await.unwrap();
        node.dag().get(&cid).await.map(|value| match value {
            Ipld::Map(map) => map.into_keys().collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
    };
    let general = names(Node::builder().codec(GitCodec)).await;
    assert!(matches!(general, Err(Error::Malformed { .. })), "{general:?}");
    let both = Node::builder().codec(GitCodec).codec_for(codes::SHA2_256, GitSha256);
    assert_eq!(names(both).await.unwrap(), ["a", "c"]);
}

/// A value is put through the node's table, too.
#[tokio::test]
async fn values_are_encoded_as_git_objects() {
    let node = Node::builder().codec(GitCodec).offline().spawn().await.unwrap();
    let history = History::new(ObjectFormat::Sha1, true);
    history.put(&node).await;
    for (cid, _) in &history.blocks {
        let value = node.dag().get(cid).await.unwrap();
        let again = node.dag().put_with(codes::GIT_RAW, codes::SHA1, &value).await.unwrap();
        assert_eq!(again, *cid);
    }
    let none = node.dag().put_with(codes::GIT_RAW, codes::SHA1, &Ipld::Integer(1)).await;
    assert!(matches!(none, Err(Error::Invalid { .. })));
}

#[test]
fn it_keeps_the_promises_of_a_codec() {
    let history = History::new(ObjectFormat::Sha1, true);
    let mut values: Vec<Ipld> = history
        .blocks
        .iter()
        .map(|(_, bytes)| ipld_git::decode_as(ObjectFormat::Sha1, bytes).unwrap())
        .collect();
    // And one that carries what is odd.
    let odd = with_header(Kind::Tree, &[&b"1 b\0"[..], &[7; 20], b"1 a\0", &[8; 20]].concat());
    values.push(ipld_git::decode_as(ObjectFormat::Sha1, &odd).unwrap());
    conformance::codec(&Static::<GitCodec>::new(), &values).unwrap();
}
