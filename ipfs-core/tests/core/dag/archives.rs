//! CARs of a part of a DAG, in and out.

use std::sync::Arc;

use futures::io::{self, AllowStdIo, Cursor};
use ipfs_core::{
    Block, Blockstore, Cid, Error, ExportedLocal, HashTable, ImportOptions, Node, TokioRuntime,
    VirtualRuntime,
    blockstore::{VerifyingStore, car::Writer},
    codes,
    memory::{MemoryHub, MemoryStore},
};

use super::{list, offline};
use crate::three::join;

fn block(codec: u64, data: &'static [u8]) -> Block {
    Block::of(codec, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

async fn car(roots: &[Cid], blocks: &[Block]) -> Cursor<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), roots).await.unwrap();
    writer.write(blocks).await.unwrap();
    Cursor::new(writer.finish().await.unwrap())
}

fn required() -> ImportOptions {
    let mut options = ImportOptions::default();
    options.require_roots = true;
    options
}

#[tokio::test]
async fn roots_may_be_elsewhere_unless_they_are_required() {
    let node = offline().await;
    let dag = node.dag();
    let (here, leaf, elsewhere) =
        (block(codes::RAW, b"here"), block(codes::RAW, b"leaf"), block(codes::RAW, b"elsewhere"));
    node.blocks().put(here.clone()).await.unwrap();
    let roots = [*here.cid(), *elsewhere.cid(), *leaf.cid(), *elsewhere.cid()];
    let partial = car(&roots, std::slice::from_ref(&leaf)).await;

    let imported = dag.import(partial.clone()).await.unwrap();
    assert_eq!((&imported.roots[..], imported.blocks), (&roots[..], 1));
    // What was here before is as much of the DAG as what came.
    for kept in [&here, &leaf] {
        assert!(matches!(node.blocks().delete(kept.cid()).await, Err(Error::InUse(_))));
    }
    drop(imported);
    node.blocks().delete(leaf.cid()).await.unwrap();

    let refused = dag.import_with(partial, required()).await;
    assert!(
        matches!(&refused, Err(Error::Incomplete { count: 1, missing, .. }) if missing[0].cid == *elsewhere.cid()),
        "{refused:?}"
    );
    let rest = car(&roots[..2], std::slice::from_ref(&elsewhere)).await;
    dag.import_with(rest, required()).await.unwrap();
}

/// A DAG over two archives is kept whole from the first block on.
#[tokio::test]
async fn archives_under_one_hold_are_kept_together() {
    let node = offline().await;
    let leaf = block(codes::RAW, b"leaf");
    let origin = offline().await;
    let root = origin.dag().put(&list(&[*leaf.cid()])).await.unwrap();
    let root = origin.blocks().get(&root).await.unwrap();
    let hold = node.hold();
    let dag = node.under(&hold).dag();
    for one in [&leaf, &root] {
        dag.import(car(&[*root.cid()], std::slice::from_ref(one)).await).await.unwrap();
    }
    for kept in [&leaf, &root] {
        assert!(matches!(node.blocks().delete(kept.cid()).await, Err(Error::InUse(_))));
    }
    drop((hold, dag));
    assert_eq!(node.blocks().delete_many(&[*leaf.cid(), *root.cid()]).await.unwrap(), [true; 2]);
}

#[tokio::test]
async fn large_blocks_are_imported_where_they_are_allowed() {
    let node = offline().await;
    let large = vec![1; (2 << 20) + 1];
    let large = Block::of(codes::RAW, codes::SHA2_256, large, node.hashes()).unwrap();
    let archive = car(&[*large.cid()], std::slice::from_ref(&large)).await;
    let refused = node.dag().import(archive.clone()).await;
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
    let mut options = ImportOptions::default();
    options.allow_large = true;
    node.dag().import_with(archive, options).await.unwrap();
    assert!(node.blocks().has(large.cid()).await.unwrap());
}

async fn exported(node: &Node, roots: &[Cid]) -> (ExportedLocal, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("car");
    let file = std::fs::File::create(&path).unwrap();
    let done = node.dag().export_local(roots, AllowStdIo::new(file)).await.unwrap();
    (done, std::fs::read(path).unwrap())
}

/// Each thing that can be wrong with a block leaves out that one and what is below it alone.
#[tokio::test]
async fn what_is_here_is_exported_and_the_rest_is_named() {
    let store = Arc::new(MemoryStore::new());
    let (hashes, runtime) = (HashTable::standard(), Arc::new(TokioRuntime::current().unwrap()));
    let node = Node::builder().store(VerifyingStore::new(store.clone(), hashes, runtime)).offline();
    let node = node.spawn().await.unwrap();
    let (good, absent) = (block(codes::RAW, b"good"), block(codes::RAW, b"absent"));
    let (unknown, malformed) = (block(0x1234, b"?"), block(codes::DAG_CBOR, b"\xff"));
    let damaged = Block::trusted(*block(codes::RAW, b"damaged").cid(), "DAMAGED".into());
    let inline: Cid = "bafkqac3imvwgy3zao5xxe3de".parse().unwrap();
    store
        .put_many(&[good.clone(), unknown.clone(), malformed.clone(), damaged.clone()])
        .await
        .unwrap();
    // Below what is absent there is more, of which nobody knows.
    let lost = node.dag().put(&list(&[*good.cid(), *block(codes::RAW, b"more").cid()])).await;
    let lost = lost.unwrap();
    let odd = [lost, *absent.cid(), *unknown.cid(), *malformed.cid(), *damaged.cid()];
    let links = [&odd[..], &[inline, *good.cid()], &odd].concat();
    let root = node.dag().put(&list(&links)).await.unwrap();
    node.blocks().delete(&lost).await.unwrap();

    let (done, archive) = exported(&node, &[root, *good.cid()]).await;
    assert_eq!((done.blocks, done.bytes, done.left_out), (2, archive.len() as u64, 5));
    let why: Vec<(Cid, &Error)> = done.missing.iter().map(|m| (m.cid, &m.why)).collect();
    assert_eq!(why.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), odd);
    assert!(
        matches!(
            &why[..],
            [
                (_, Error::NotFound(_)),
                (_, Error::NotFound(_)),
                (_, Error::UnknownCodec(0x1234)),
                (_, Error::Malformed { .. }),
                (_, Error::Corrupt(_)),
            ]
        ),
        "{why:?}"
    );
    let imported = offline().await.dag().import(Cursor::new(archive)).await.unwrap();
    assert_eq!((&imported.roots[..], imported.blocks), (&[root, *good.cid()][..], 2));

    node.close().await.unwrap();
    let closed = node.dag().export_local(&[root], io::sink()).await;
    assert!(matches!(closed, Err(Error::Closed(_))), "{closed:?}");
}

/// A neighbour has what is missing, and is not asked for it.
#[test]
fn an_export_of_what_is_here_asks_nobody() {
    let runtime = VirtualRuntime::new();
    let test = async {
        let hub = MemoryHub::new();
        let ((a, _), (b, at_b)) = (join(&hub, &runtime, 1).await, join(&hub, &runtime, 2).await);
        b.connect(a.peer_id()).await.unwrap();
        let leaf = block(codes::RAW, b"leaf");
        a.blocks().put(leaf.clone()).await.unwrap();
        let root = b.dag().put(&list(&[*leaf.cid()])).await.unwrap();
        let (done, _) = exported(&b, &[root]).await;
        assert_eq!((done.blocks, done.left_out), (1, 1));
        assert_eq!(at_b.stats().blocks_received, 0);
        let whole = b.dag().export(&[root], io::sink()).await.unwrap();
        assert_eq!(whole.blocks, 2);
    };
    runtime.block_on(test).unwrap();
}
