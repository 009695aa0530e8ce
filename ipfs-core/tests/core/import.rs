//! Ways to add files beyond bytes and paths: entries, references, only the CID.

use std::sync::Arc;

use futures::{AsyncReadExt, stream};
use ipfs_core::{
    BlockstoreExt, Error, Node, TokioRuntime,
    blockstore::{ReferenceStore, reference::Options},
    memory::{MemoryDatastore, MemoryStore},
    unixfs::{Attribute, Chunker, NewEntry, Params},
};

#[tokio::test]
async fn entries_are_added_durably_and_held() {
    let node = Node::builder().offline().spawn().await.unwrap();
    let entries = [NewEntry::file(["d", "a"], "one"), NewEntry::file(["b"], "two")];
    let params = Params { mode: Attribute::Set(0o600), ..Params::default() };
    let files = node.unixfs().params(params.clone());
    let added = files.add_entries(stream::iter(entries.map(Ok))).await.unwrap();
    assert_eq!((added.report.files, added.report.directories), (2, 2));
    assert_eq!(added.report.params, params);
    let mut text = String::new();
    let path = format!("/ipfs/{}/d/a", added.cid);
    node.unixfs().open(path).await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one");
    assert!(matches!(node.blocks().delete(&added.cid).await, Err(Error::InUse(_))));
}

#[tokio::test]
async fn files_are_added_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content: Vec<u8> = (0..30_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &content).unwrap();
    let mut options = Options::default();
    options.root = Some(folder.path().into());
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let records = Arc::new(MemoryDatastore::new());
    let plain = Arc::new(MemoryStore::new());
    let store = Arc::new(ReferenceStore::new(plain.clone(), records, runtime, options));
    let node = Node::builder().store(store.clone()).offline().spawn().await.unwrap();

    let chunker = Chunker::fixed(50_000).unwrap();
    let files = node.unixfs().params(Params { chunker, ..Params::default() }).references(store);
    let added = files.add_path(&path).await.unwrap();
    let mut found = Vec::new();
    node.unixfs().open(&added.cid).await.unwrap().read_to_end(&mut found).await.unwrap();
    assert!(found == content);
    let leaves = node.dag().links(&added.cid).await.unwrap();
    assert_eq!(leaves.len(), 3);
    assert!(!plain.has(&leaves[0]).await.unwrap(), "the store has no copy");
    assert!(matches!(node.blocks().delete(&leaves[0]).await, Err(Error::InUse(_))), "it is held");

    let only = node.unixfs().only_hash().path(&path).await.unwrap();
    assert!(only.only_hash && !plain.has(&only.cid).await.unwrap());
}
