//! Files go from a node to Helia, and back. `IPFS_HELIA` names its program.

use std::fs;

use ipfs_core::{Cid, Node};

use super::{Peer, file, is_here, named, text};
use crate::network::{TCP, listening};

const SIZE: usize = 20 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn each_fetches_a_file_from_the_other() {
    let Some(program) = named("IPFS_HELIA") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (file(folder.path(), 1, SIZE), file(folder.path(), 2, SIZE));
    let mut helia = Peer::start(&program, "node");

    // Helia's to a node of ours, which dials.
    let cid: Cid = helia.ask(&format!("add {}", text(&theirs))).parse().unwrap();
    let node = Node::builder().listen([]).spawn().await.unwrap();
    node.connect(&helia.address).await.unwrap();
    let fetched = node.fetch(cid).await.unwrap();
    assert_eq!(fetched.stats.duplicates, 0, "{:?}", fetched.stats);
    is_here(&node, &fetched, &theirs).await;
    assert_eq!(node.unixfs().add_path(&theirs).await.unwrap().cid, cid);

    // Another's to Helia, which dials.
    let other = listening(TCP).await.unwrap();
    let cid = other.unixfs().add_path(&ours).await.unwrap().cid;
    helia.ask(&format!("connect {}", other.addresses()[0]));
    let got = folder.path().join("got");
    assert_eq!(helia.ask(&format!("get {cid} {}", text(&got))), SIZE.to_string());
    assert!(fs::read(&got).unwrap() == fs::read(&ours).unwrap(), "Helia got something else");
}
