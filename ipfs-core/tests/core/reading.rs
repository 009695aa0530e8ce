//! Paths, and what lies at their ends.

use futures::{AsyncReadExt, TryStreamExt};
use ipfs_core::{
    Block, Blockstore, Cid, Error, Ipld, Node, Path, codes,
    unixfs::{Item, LinksOnPath, Resolution},
};

use crate::content;

/// A tree below a value of DAG-CBOR below a directory, and a node that has it.
async fn some() -> (Node, Cid, Cid) {
    let node = Node::builder().offline().spawn().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    content::tree(&folder.path().join("tree"), 5);
    let tree = node.unixfs().add_path(folder.path().join("tree")).await.unwrap().cid;
    let value = Ipld::Map([("files".to_owned(), Ipld::List(vec![Ipld::Link(tree)]))].into());
    let value = node.dag().put(&value).await.unwrap();
    (node, tree, value)
}

#[tokio::test]
async fn files_are_reached_through_values() {
    let (node, tree, value) = some().await;
    let files = node.unixfs();
    let small = files.resolve(format!("{tree}/small.txt")).await.unwrap();
    for path in [
        format!("/ipfs/{value}/files/0/small.txt"),
        format!("ipfs://{value}/files/0/a/../small%2Etxt#top"),
        format!("/ipfs/{value}/files/0/small.txt/"),
    ] {
        assert_eq!(files.resolve(&path).await.unwrap(), small, "{path}");
        let mut text = Vec::new();
        files.open(&path).await.unwrap().read_to_end(&mut text).await.unwrap();
        assert_eq!(text.len(), 11);
    }
    let inside = files.resolve(format!("{value}/files")).await;
    assert!(matches!(inside, Err(Error::WrongKind { found: "a value inside of one", .. })));
    assert_eq!(node.dag().resolve(format!("{value}/files")).await.unwrap().rest, ["files"]);
    assert!(matches!(files.list("/ipns/example.com").await.err(), Some(Error::Unsupported(_))));
    let outside: Result<Path, _> = format!("/ipfs/{tree}/../small.txt").parse();
    assert!(matches!(outside, Err(Error::Invalid { what: "path", .. })));
}

/// Nothing is fetched to say where a path leads but what is on the way.
#[tokio::test]
async fn what_a_path_leads_to_need_not_be_here() {
    let (node, tree, value) = some().await;
    let path = format!("/ipfs/{value}/files/0/large.bin");
    let large = node.unixfs().resolve(&path).await.unwrap();
    let gone = node.dag().links(&large).await.unwrap();
    node.store().delete_many(&[large]).await.unwrap();
    assert_eq!(node.unixfs().resolve(&path).await.unwrap(), large);
    assert_eq!(node.dag().resolve(&path).await.unwrap().cid, large);
    let told = |error: &Error, at: &str| match error {
        Error::At { path, .. } => assert!(**path == *at && error.is_not_found(), "{error:?}"),
        other => panic!("{other}"),
    };
    told(&node.unixfs().open(&path).await.unwrap_err(), &path);
    told(&node.unixfs().stat(&path).await.unwrap_err(), &path);
    let items: Result<Vec<Item>, Error> =
        node.unixfs().tree(&tree).await.unwrap().try_collect().await;
    told(&items.unwrap_err(), "/large.bin");
    assert_eq!(gone.len(), 6);
}

#[cfg(unix)]
#[tokio::test]
async fn symbolic_links_are_followed_only_where_it_is_said() {
    let (node, tree, _) = some().await;
    let files = node.unixfs();
    let path = format!("{tree}/a/link");
    let link = files.resolve(&path).await.unwrap();
    let small = files.resolve(format!("{tree}/small.txt")).await.unwrap();
    let found = |symlinks| files.resolve_with(&path, symlinks);
    assert_eq!(found(LinksOnPath::Report).await.unwrap(), Resolution::Found(link));
    assert_eq!(found(LinksOnPath::Follow).await.unwrap(), Resolution::Found(small));
    assert!(matches!(files.open(&path).await, Err(Error::WrongKind { .. })));
    let within = files.resolve(format!("{path}/x")).await;
    assert!(matches!(within, Err(Error::WrongKind { found: "a symbolic link", .. })));
    // Below the folder itself it would lead out.
    let folder = files.resolve(format!("{tree}/a")).await.unwrap();
    let out = files.resolve_with(format!("{folder}/link"), LinksOnPath::Follow).await.unwrap();
    assert!(matches!(out, Resolution::Symlink { cid, .. } if cid == link));
}

#[tokio::test]
async fn dags_are_counted_with_what_they_share() {
    let (node, tree, value) = some().await;
    let stat = node.dag().stat(&[value, tree]).await.unwrap();
    assert_eq!(stat.blocks, 2 * stat.unique_blocks - 1, "one is the other and a block more");
    assert_eq!(stat.shared_bytes(), stat.roots[1].bytes);
    let odd = Block::of(0x1234, codes::SHA2_256, "x", node.hashes()).unwrap();
    node.blocks().put(odd.clone()).await.unwrap();
    let unknown = node.dag().stat(&[*odd.cid()]).await;
    assert!(matches!(unknown, Err(Error::UnknownCodec(0x1234))));
}
