//! The folder of a node, as an application meets it.

use std::{collections::BTreeMap, fs, path::Path};

use ipfs_core::{Builder, Error, Node};

fn on(folder: &Path) -> Builder {
    Node::builder().data_dir(folder).offline()
}

/// What is in the files of a folder, but not below it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    files.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test]
async fn a_folder_has_the_version_that_is_known_here() {
    let folder = tempfile::tempdir().unwrap();
    let node = on(folder.path()).spawn().await.unwrap();
    assert_eq!(node.repo().version(), Some(1));
    node.close().await.unwrap();
    // Nothing is to be migrated, so that it may not be is no hindrance.
    let node = on(folder.path()).migrate(false).spawn().await.unwrap();
    node.close().await.unwrap();
    let without = Node::builder().offline().spawn().await.unwrap();
    assert_eq!(without.repo().version(), None);
}

/// Newer software has made the folder, or has begun to migrate it and was cut off.
#[tokio::test]
async fn what_newer_software_has_touched_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    on(folder.path()).spawn().await.unwrap().close().await.unwrap();
    for version in ["2\n", "2\nunfinished\n", "3\nand what comes then\n"] {
        let text = format!("ipfs-core data directory\n{version}");
        fs::write(folder.path().join("node.version"), text).unwrap();
        let before = files(folder.path());
        let refused = on(folder.path()).spawn().await;
        assert!(matches!(refused, Err(Error::Newer { known: 1, .. })), "{refused:?}");
        assert_eq!(files(folder.path()), before);
    }
}
