//! Single blocks: how large they are, bytes under chosen CIDs, and many deleted at once.

use ipfs_core::{
    Block, BlockstoreExt, Error, Node, Prefix, VirtualRuntime, codes, memory::MemoryHub,
};

use crate::three::join;

#[test]
fn a_stat_fetches_what_is_not_here() {
    let runtime = VirtualRuntime::new();
    let test = async {
        let hub = MemoryHub::new();
        let ((a, _), (b, at_b)) = (join(&hub, &runtime, 1).await, join(&hub, &runtime, 2).await);
        b.connect(a.peer_id()).await.unwrap();
        let text = r#"{"a":{"b":1}}"#;
        let cid = a.dag().put_encoded(codes::DAG_JSON, text, Default::default()).await.unwrap();
        assert_eq!(b.blocks().size(&cid).await.unwrap(), None);
        // A way on inside of the block does not make it smaller.
        for path in [format!("/ipfs/{cid}"), format!("/ipld/{cid}/a/b")] {
            let stat = b.blocks().stat(path).await.unwrap();
            assert_eq!((stat.cid, stat.size), (cid, 7));
        }
        assert_eq!(at_b.stats().blocks_received, 1);
        let inline = b.blocks().stat("bafkqac3imvwgy3zao5xxe3de").await.unwrap();
        assert_eq!(inline.size, 11);
    };
    runtime.block_on(test).unwrap();
}

#[tokio::test]
async fn bytes_are_put_under_cids_that_can_be_believed() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let blocks = node.blocks();
    let put = async |prefix: Prefix| blocks.put_bytes(&prefix, "foooo\n").await;
    let v0 = put(Prefix::v0()).await.unwrap();
    assert_eq!(v0.to_string().len(), 46);
    let sha3 = Prefix::v1(codes::RAW, codes::SHA3_512);
    let cid = put(sha3.with_digest_len(20)).await.unwrap();
    assert_eq!(cid.to_string(), "bafkrifctrq4xazzixy2v4ezymjcvzpskqdwlxra");
    assert_eq!(blocks.get(&cid).await.unwrap().data(), "foooo\n");

    // So few bytes of a digest that others have it, too, and more than there are.
    let short = put(sha3.with_digest_len(19)).await;
    assert!(matches!(short, Err(Error::Limit { limit: 20, actual: 19, .. })), "{short:?}");
    let long = put(sha3.with_digest_len(65)).await;
    assert!(matches!(long, Err(Error::Malformed { .. })), "{long:?}");
    let cut = put(Prefix::v0().with_digest_len(20)).await;
    assert!(matches!(cut, Err(Error::Malformed { .. })), "{cut:?}");
    let md5 = put(Prefix::v1(codes::RAW, 0xd5)).await;
    assert!(matches!(md5, Err(Error::UnknownHash(0xd5))), "{md5:?}");
    let large = blocks.put_bytes(&sha3, vec![0; (2 << 20) + 1]).await;
    assert!(matches!(large, Err(Error::Limit { limit: 2_097_152, .. })), "{large:?}");
}

#[tokio::test]
async fn many_are_deleted_or_none() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let blocks = node.blocks();
    let prefix = Prefix::v1(codes::RAW, codes::SHA2_256);
    let hold = node.hold();
    let held = node.under(&hold).blocks().put_bytes(&prefix, "held").await.unwrap();
    let free = blocks.put_bytes(&prefix, "free").await.unwrap();
    let absent = Block::of(codes::RAW, codes::SHA2_256, "absent", node.hashes()).unwrap();

    let refused = blocks.delete_many(&[free, *absent.cid(), held]).await;
    assert!(matches!(refused, Err(Error::InUse(_))), "{refused:?}");
    assert!(node.store().has(&free).await.unwrap(), "none of them");
    let deleted = blocks.delete_many(&[free, *absent.cid()]).await.unwrap();
    assert_eq!(deleted, [true, false]);
    drop(hold);
    assert_eq!(blocks.delete_many(&[free, held]).await.unwrap(), [false, true]);
    assert!(blocks.delete_many(&[]).await.unwrap().is_empty());
}
