//! Pins: complete or an error, and nothing in between.

use futures::{StreamExt, TryStreamExt};
use ipfs_core::{Block, Cid, Error, Follow, Ipld, Node, NodeEvent, PinMode, PinnedBy};
use ipld_git::{Mode, ObjectFormat, TreeBuilder, blob, cid_of};

async fn node() -> Node {
    Node::builder().offline().codec(ipld_git::GitCodec).spawn().await.unwrap()
}

async fn list(node: &Node, links: &[Cid]) -> Cid {
    let links = links.iter().map(|cid| Ipld::Link(*cid)).collect();
    node.dag().put(&Ipld::List(links)).await.unwrap()
}

async fn number(node: &Node, number: i128) -> Cid {
    node.dag().put(&Ipld::Integer(number)).await.unwrap()
}

#[tokio::test]
async fn a_pin_is_whole_or_says_what_is_missing() {
    let node = node().await;
    let (here, gone) = (number(&node, 1).await, number(&node, 2).await);
    let root = list(&node, &[here, gone]).await;
    node.blocks().delete(&gone).await.unwrap();
    let error = node.pins().add(root).await.unwrap_err();
    assert!(
        matches!(&error, Error::Incomplete { count: 1, missing, .. } if missing[0].cid == gone)
    );
    assert_eq!(node.pins().get(&root).await.unwrap(), None);
    // Alone it can be pinned.
    assert_eq!(node.pins().add(root).direct().await.unwrap().mode, PinMode::Direct);
    number(&node, 2).await;
    let pin = node.pins().add(root).name("all").metadata("k", "v").await.unwrap();
    assert_eq!(node.pins().get(&root).await.unwrap(), Some(pin.clone()));
    let all: Vec<_> = node.pins().list().try_collect().await.unwrap();
    assert_eq!(all, [pin]);
    assert!(matches!(node.pins().add(root).direct().await, Err(Error::Exists(_))));
}

#[tokio::test]
async fn who_pins_what_is_known() {
    let node = node().await;
    let leaf = number(&node, 1).await;
    let (middle, other) = (list(&node, &[leaf]).await, number(&node, 3).await);
    let root = list(&node, &[middle, other]).await;
    node.pins().add(root).await.unwrap();
    node.pins().add(other).direct().await.unwrap();
    assert_eq!(node.pins().why(&root).await.unwrap(), Some(PinnedBy::Recursive));
    assert_eq!(node.pins().why(&other).await.unwrap(), Some(PinnedBy::Direct));
    assert_eq!(node.pins().why(&leaf).await.unwrap(), Some(PinnedBy::Indirect(root)));
    let mut below: Vec<Cid> = node
        .pins()
        .indirect()
        .map_ok(|found| {
            assert_eq!(found.root, root);
            found.cid
        })
        .try_collect()
        .await
        .unwrap();
    below.sort();
    let mut expected = vec![middle, leaf];
    expected.sort();
    assert_eq!(below, expected);
    for cid in [root, other, leaf] {
        let refused = node.blocks().delete(&cid).await;
        assert!(matches!(refused, Err(Error::Pinned { cid: of, .. }) if *of == cid));
    }
    node.pins().remove(&root).await.unwrap();
    assert!(matches!(node.pins().remove(&root).await, Err(Error::NotPinned(of)) if of == root));
    node.blocks().delete(&leaf).await.unwrap();
}

#[tokio::test]
async fn an_update_pins_the_new_one_before_it_drops_the_old() {
    let node = node().await;
    let (a, b) = (number(&node, 1).await, number(&node, 2).await);
    let (old, new) = (list(&node, &[a]).await, list(&node, &[a, b]).await);
    node.pins().add(old).name("mine").await.unwrap();
    node.blocks().delete(&b).await.unwrap();
    assert!(matches!(node.pins().update(&old, new).await, Err(Error::Incomplete { .. })));
    assert!(node.pins().get(&old).await.unwrap().is_some());
    number(&node, 2).await;
    let mut events = node.events();
    let pin = node.pins().update(&old, new).await.unwrap();
    let pinned = NodeEvent::Pinned { root: new, name: Some("mine".into()) };
    for expected in [pinned, NodeEvent::Unpinned { root: old }] {
        assert_eq!(events.next().await, Some(expected));
    }
    assert_eq!((pin.cid, pin.name.as_deref()), (new, Some("mine")));
    assert_eq!(node.pins().get(&old).await.unwrap(), None);
    assert!(matches!(node.pins().update(&old, new).await, Err(Error::NotPinned(_))));
}

/// A tree with a submodule, whose commit is in another repository.
#[tokio::test]
async fn submodules_are_left_out_where_that_is_asked_for() {
    let (node, format) = (node().await, ObjectFormat::Sha1);
    let file = blob(b"here");
    let id = format.hash(&file).unwrap();
    let mut tree = TreeBuilder::new(format).entry(Mode::FILE, "file", id);
    tree.push(Mode::SUBMODULE, "sub", format.hash(b"elsewhere").unwrap());
    let tree = tree.build().unwrap();
    let root = cid_of(&format.hash(&tree).unwrap());
    for (cid, bytes) in [(cid_of(&id), file), (root, tree)] {
        let block = Block::verify(cid, bytes.into(), node.hashes()).unwrap();
        node.blocks().put(block).await.unwrap();
    }
    assert!(matches!(node.pins().add(root).await, Err(Error::Incomplete { count: 1, .. })));
    let pin = node.pins().add(root).follow(Follow::WithoutSubmodules).await.unwrap();
    assert_eq!(pin.mode, PinMode::Recursive(Follow::WithoutSubmodules));
    node.pins().verify().one(&pin).await.unwrap();
    node.gc().collect().await.unwrap();
    assert!(node.blocks().has(&cid_of(&id)).await.unwrap());
}
