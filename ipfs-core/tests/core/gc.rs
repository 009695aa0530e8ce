//! Garbage collection: what goes and what stays.

mod fire;
mod meanwhile;
mod policy;

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use ipfs_core::{
    Block, Blockstore, Error, Ipld, Node, NodeEvent, codes,
    memory::{MemoryDatastore, MemoryStore},
};

use crate::content;

async fn node() -> Node {
    Node::builder().offline().spawn().await.unwrap()
}

fn raw(node: &Node, number: u64) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, content::bytes(number, 100), node.hashes()).unwrap()
}

/// All blocks that are here, by the digests of their multihashes.
async fn all(node: &Node) -> Vec<Vec<u8>> {
    let pages: Vec<_> = node.blocks().list().try_collect().await.unwrap();
    pages.concat().into_iter().map(|(hash, _)| hash.to_bytes()).collect()
}

#[tokio::test]
async fn what_nothing_keeps_goes() {
    let node = node().await;
    let (held, loose) = (raw(&node, 1), raw(&node, 2));
    let hold = node.hold();
    node.under(&hold).blocks().put(held.clone()).await.unwrap();
    node.blocks().put(loose.clone()).await.unwrap();
    let file = node.unixfs().add_bytes(content::bytes(3, 3_000_000)).await.unwrap().cid;
    node.pins().add(file).await.unwrap();
    let tree = node.mfs().await.unwrap();
    tree.mkdir("/a", false).await.unwrap();
    let root = tree.flush().await.unwrap();
    drop(tree);
    let direct = node.dag().put(&Ipld::List(vec![Ipld::Link(*loose.cid())])).await.unwrap();
    node.pins().add(direct).direct().await.unwrap();

    let mut events = node.events();
    let dry = node.gc().collect().dry_run().await.unwrap();
    let done = node.gc().collect().await.unwrap();
    let (blocks, bytes) = (done.deleted_blocks, done.deleted_bytes);
    for expected in [NodeEvent::CollectionBegan, NodeEvent::CollectionEnded { blocks, bytes }] {
        assert_eq!(events.next().await, Some(expected));
    }
    assert_eq!(dry, done);
    assert!(!node.gc().is_unfinished().await.unwrap());
    assert!(!node.blocks().has(loose.cid()).await.unwrap());
    for kept in [held.cid(), &direct, &root] {
        assert!(node.blocks().has(kept).await.unwrap(), "{kept}");
    }
    node.pins().verify().one(&node.pins().get(&file).await.unwrap().unwrap()).await.unwrap();

    drop(hold);
    node.pins().remove(&file).await.unwrap();
    node.pins().remove(&direct).await.unwrap();
    let last = node.gc().collect().await.unwrap();
    // The empty directory and the one that holds it.
    assert_eq!((last.kept_blocks, all(&node).await.len()), (2, 2));
}

#[tokio::test]
async fn a_pin_that_is_not_whole_stops_it_before_anything_goes() {
    let node = node().await;
    let loose = raw(&node, 1);
    node.blocks().put(loose.clone()).await.unwrap();
    let leaf = node.dag().put(&Ipld::Integer(1)).await.unwrap();
    let root = node.dag().put(&Ipld::List(vec![Ipld::Link(leaf)])).await.unwrap();
    node.pins().add(root).await.unwrap();
    // As a damaged disk takes it.
    let store = Arc::new(MemoryStore::new());
    for cid in [&root, loose.cid()] {
        store.put_many(&[node.blocks().get(cid).await.unwrap()]).await.unwrap();
    }
    let broken = Node::builder()
        .offline()
        .store(store as Arc<dyn Blockstore>)
        .datastore(node.datastore().clone())
        .spawn()
        .await
        .unwrap();
    let error = broken.gc().collect().await.unwrap_err();
    assert!(
        matches!(&error, Error::Incomplete { missing, .. } if missing[0].cid == leaf),
        "{error}"
    );
    assert!(broken.blocks().has(loose.cid()).await.unwrap());
}

#[tokio::test]
async fn what_is_below_an_unknown_codec_stops_it() {
    let datastore = Arc::new(MemoryDatastore::new());
    let node =
        Node::builder().offline().datastore(datastore.clone() as Arc<_>).codec(ipld_git::GitCodec);
    let store = Arc::new(MemoryStore::new());
    let node = node.store(store.clone() as Arc<dyn Blockstore>).spawn().await.unwrap();
    let blob = ipld_git::blob(b"x");
    let block = Block::of(codes::GIT_RAW, codes::SHA1, blob, node.hashes()).unwrap();
    node.blocks().put(block.clone()).await.unwrap();
    node.pins().add(block.cid()).await.unwrap();
    drop(node);
    let without = Node::builder().offline().datastore(datastore as Arc<_>).store(store as Arc<_>);
    let without = without.spawn().await.unwrap();
    let error = without.gc().collect().await.unwrap_err();
    let Error::Incomplete { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing[0].cid, *block.cid());
    assert!(matches!(missing[0].why, Error::UnknownCodec(codes::GIT_RAW)));
}

#[tokio::test]
async fn a_temporary_pin_keeps_what_is_here_and_what_comes() {
    let node = node().await;
    let leaf = raw(&node, 1);
    let link = BTreeMap::from([("leaf".to_owned(), Ipld::Link(*leaf.cid()))]);
    let root = node.dag().put(&Ipld::Map(link)).await.unwrap();
    let kept = node.pins().temporary(&root);
    node.gc().collect().await.unwrap();
    node.blocks().put(leaf.clone()).await.unwrap();
    node.gc().collect().await.unwrap();
    assert!(node.blocks().has(leaf.cid()).await.unwrap());
    drop(kept);
    assert_eq!(node.gc().collect().await.unwrap().deleted_blocks, 2);
}

/// A listing of a pack store was asked again after its end, and panicked.
#[tokio::test]
async fn a_store_on_disk_is_swept_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::builder().data_dir(folder.path()).offline().spawn().await.unwrap();
    node.blocks().put(raw(&node, 1)).await.unwrap();
    assert_eq!(node.gc().collect().await.unwrap().deleted_blocks, 1);
    assert_eq!(node.gc().collect().await.unwrap().deleted_blocks, 0);
    node.close().await.unwrap();
}
