//! CARs go both ways.

use std::{fs, path::Path, sync::Arc};

use futures::{
    TryStreamExt,
    io::{AllowStdIo, Cursor},
};
use ipfs_core::{
    Block, Blockstore, BlockstoreExt, Cid, Node, TokioRuntime,
    blockstore::{AppendableCar, car::AppendOptions},
    codes,
};

use super::{Kubo, program, text};
use crate::content;

/// CARs go both ways: what Kubo exports is imported here, what is exported here and what an
/// appendable archive holds is imported there, and both write the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn cars_go_both_ways() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    content::tree(&ours, 21);
    content::tree(&theirs, 22);
    let file = |path: &Path| AllowStdIo::new(fs::File::create(path).unwrap());
    let node = Node::builder().offline().spawn().await.unwrap();

    // Kubo's, with a value of DAG-CBOR above.
    let files = kubo.run(&["add", "-r", "-Q", text(&theirs)]);
    let value = folder.path().join("value");
    fs::write(&value, format!(r#"{{"all":[{{"/":"{files}"}},{{"/":"{files}"}}],"n":1}}"#)).unwrap();
    let cid = kubo.run(&["dag", "put", text(&value)]);
    let exported = kubo.command(&["dag", "export", "--progress=false", &cid]).output().unwrap();
    assert!(exported.status.success());
    let input = Cursor::new(exported.stdout.clone());
    let imported = node.dag().import(input).await.unwrap();
    let root: Cid = cid.parse().unwrap();
    assert_eq!(imported.roots, [root]);
    let out = folder.path().join("theirs out");
    node.unixfs().write(&files, &out).await.unwrap();
    assert!(content::read(&out) == content::read(&theirs));
    let again = folder.path().join("again.car");
    node.dag().export(&[root], file(&again)).await.unwrap();
    assert!(fs::read(&again).unwrap() == exported.stdout, "the same archive, to the byte");

    // Ours, of version 1, and of version 2 with its index.
    let added = node.unixfs().add_path(&ours).await.unwrap();
    let (first, second) = (folder.path().join("1.car"), folder.path().join("2.car"));
    node.dag().export(&[added.cid], file(&first)).await.unwrap();
    let mut options = AppendOptions::default();
    options.roots = vec![added.cid];
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let archive = AppendableCar::open_with(&second, runtime, options).await.unwrap();
    let mut walk = node.dag().walk(&added.cid);
    while let Some(block) = walk.try_next().await.unwrap() {
        archive.put(block).await.unwrap();
    }
    let deleted = Block::of(codes::RAW, codes::SHA2_256, "away with it", node.hashes()).unwrap();
    archive.put(deleted.clone()).await.unwrap();
    archive.delete(deleted.cid()).await.unwrap();
    archive.close().await.unwrap();
    for archive in [first, second] {
        let kubo = Kubo::new(&program);
        let says = kubo.run(&["dag", "import", "--offline", text(&archive)]);
        assert!(says.contains("success"), "it pins the root, and so has all of it: {says}");
        let out = archive.with_extension("out");
        kubo.run(&["get", "--offline", &added.cid.to_string(), "-o", text(&out)]);
        assert!(content::read(&out) == content::read(&ours));
        kubo.run(&["repo", "verify"]);
    }
}
