//! `RedbDatastore` on a real disk.

use std::{path::Path, sync::Arc};

use futures::future::join_all;
use ipfs_blockstore::RedbDatastore;
use ipfs_traits::{Batch, Datastore, Error, TokioRuntime, conformance};

async fn open(path: &Path) -> ipfs_traits::Result<RedbDatastore> {
    RedbDatastore::open(path, Arc::new(TokioRuntime::current()?)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_datastore() {
    let folder = tempfile::tempdir().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let number = || next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    conformance::datastore(|| {
        let path = folder.path().join(number());
        async move { open(&path).await }
    })
    .await
    .unwrap();
    let same = folder.path().join("same");
    conformance::datastore_reopen(|| open(&same)).await.unwrap();
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let first = open(&path).await.unwrap();
    assert!(matches!(open(&path).await.unwrap_err(), Error::InUse(_)));
    drop(first);
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_none_of_ours_is_an_error_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    std::fs::write(&path, vec![7; 10_000]).unwrap();
    assert!(matches!(open(&path).await.unwrap_err(), Error::Component { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 10_000]);
}

/// A hundred commits at once all happen, each counting one further than the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_at_once_happen_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("state.redb")).await.unwrap();
    let count = |store: RedbDatastore| async move {
        loop {
            let before = store.get(b"count").await.unwrap();
            let number = before.as_ref().map_or(0, |value| value[0]);
            let next = Batch::new().expect("count", before).put("count", vec![number + 1]);
            if store.commit(next).await.unwrap() {
                return;
            }
        }
    };
    join_all((0..100).map(|_| tokio::spawn(count(store.clone())))).await;
    assert_eq!(store.get(b"count").await.unwrap().as_deref(), Some(&[100][..]));
}
