//! A large file and sharded directories go from each to the other, over each transport.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::io::AllowStdIo;
use ipfs_core::{Cid, Node, unixfs::StatKind};
use tokio::task::block_in_place;

use super::{Kubo, file, is_here, program, text};
use crate::{
    content,
    network::{QUIC, TCP, listening},
};

const LARGE: usize = 100 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_fetches_from_kubo_over_tcp() {
    from_kubo("/tcp/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_fetches_from_kubo_over_quic() {
    from_kubo("/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_from_a_node_over_tcp() {
    to_kubo(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_fetches_from_a_node_over_quic() {
    to_kubo(QUIC).await;
}

/// A directory with so many entries that it is sharded.
fn directory(folder: &Path, seed: u64) -> PathBuf {
    let path = folder.join(format!("directory {seed}"));
    fs::create_dir(&path).unwrap();
    for n in 0..5000 {
        let name = format!("one of many entries, and its number is {n}");
        fs::write(path.join(name), content::bytes(seed << 32 | n, 100)).unwrap();
    }
    path
}

async fn from_kubo(transport: &str) {
    let Some(program) = program() else { return };
    let kubo = Arc::new(Kubo::new(&program));
    let folder = tempfile::tempdir().unwrap();
    let (many, tree) = (directory(folder.path(), 2), folder.path().join("tree"));
    // With an empty block in it, which Kubo says that it has instead of giving it.
    content::tree(&tree, 3);
    let sources = [file(folder.path(), 1, LARGE), many, tree];
    let mut cids = Vec::new();
    for source in &sources {
        let cid = kubo.call(&["add", "-r", "-Q", "--pin=false", text(source)]).await;
        cids.push(cid.parse::<Cid>().unwrap());
    }
    let daemon = kubo.start();
    let node = Node::builder().listen([]).spawn().await.unwrap();
    node.connect(&kubo.address(transport).await).await.unwrap();
    let mut all = Vec::new();
    for cid in &cids {
        let fetched = node.fetch(cid).await.unwrap();
        assert_eq!((fetched.root, fetched.fetched_blocks), (*cid, fetched.blocks));
        assert_eq!(fetched.stats.duplicates, 0, "{transport}");
        all.push(fetched);
    }
    drop(daemon);
    let stat = node.unixfs().stat(&cids[1]).await.unwrap();
    assert!(matches!(stat.kind, StatKind::ShardedDirectory { .. }), "{stat:?}");
    let other = Node::builder().offline().spawn().await.unwrap();
    for ((source, cid), fetched) in sources.iter().zip(&cids).zip(&all) {
        is_here(&node, fetched, source).await;
        assert_eq!(other.unixfs().add_path(source).await.unwrap().cid, *cid);
    }
}

/// By each of the commands that fetch: a pin asks for many blocks at a time, the others for few.
async fn to_kubo(listen: &str) {
    let Some(program) = program() else { return };
    let kubo = Arc::new(Kubo::new(&program));
    let folder = tempfile::tempdir().unwrap();
    let (many, tree) = (directory(folder.path(), 1), folder.path().join("tree"));
    let large = file(folder.path(), 2, LARGE);
    content::tree(&tree, 3);
    let node = listening(listen).await.unwrap();
    let mut cids = Vec::new();
    for source in [&many, &large, &tree] {
        let cid = node.unixfs().add_path(source).await.unwrap().cid;
        let says = kubo.call(&["add", "-r", "-Q", "--only-hash", text(source)]).await;
        assert_eq!(says, cid.to_string());
        cids.push(cid);
    }
    let names: Vec<String> = cids.iter().map(Cid::to_string).collect();
    let _daemon = kubo.start();
    kubo.call(&["swarm", "connect", &node.addresses()[0].to_string()]).await;

    kubo.call(&["pin", "add", "--progress=false", &names[0]]).await;
    let got = folder.path().join("got the large one");
    kubo.call(&["get", &names[1], "-o", text(&got)]).await;
    assert!(fs::read(&got).unwrap() == fs::read(&large).unwrap(), "{listen}");
    let mut export = kubo.command(&["dag", "export", "--progress=false", &names[2]]);
    let archive = block_in_place(|| export.output()).unwrap().stdout;
    let ours = folder.path().join("ours.car");
    let out = AllowStdIo::new(fs::File::create(&ours).unwrap());
    node.dag().export(&cids[2..], out).await.unwrap();
    assert!(archive == fs::read(&ours).unwrap(), "{listen}: other archives");

    // What is pinned is there.
    node.close().await.unwrap();
    let got = folder.path().join("got the many");
    kubo.call(&["get", &names[0], "-o", text(&got)]).await;
    assert!(content::read(&got) == content::read(&many), "{listen}");
}
