//! What references may not lead to.

use super::*;

#[tokio::test]
async fn the_root_may_move_and_links_may_not_lead_out_of_it() {
    let world = World::new();
    let block = world.refer("a/b", "content").await;
    let moved = world.folder.path().join("moved");
    std::fs::rename(world.root(), &moved).unwrap();
    let error = world.store.get(block.cid()).await.unwrap_err();
    assert!(matches!(error, Error::Component { .. }), "{error:?}");
    let store =
        ReferenceStore::new(world.inner.clone(), world.records.clone(), runtime(), rooted(&moved));
    assert_eq!(store.get(block.cid()).await.unwrap(), Some(block.clone()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        let outside = world.folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::rename(moved.join("a/b"), outside.join("b")).unwrap();
        std::fs::remove_dir(moved.join("a")).unwrap();
        // A folder, then a file, that is a link to what has the right bytes.
        symlink(&outside, moved.join("a")).unwrap();
        let leads_out = |error: Error| {
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("leads out of the root"), "{source}");
        };
        leads_out(store.get(block.cid()).await.unwrap_err());
        std::fs::remove_file(moved.join("a")).unwrap();
        std::fs::create_dir(moved.join("a")).unwrap();
        symlink(outside.join("b"), moved.join("a/b")).unwrap();
        leads_out(store.get(block.cid()).await.unwrap_err());
        let error = store.put_references(&[in_file(&block, "a/b", 0)]).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        // One that stays within is followed, and the root may be one itself.
        std::fs::copy(outside.join("b"), moved.join("c")).unwrap();
        std::fs::remove_file(moved.join("a/b")).unwrap();
        symlink("../c", moved.join("a/b")).unwrap();
        symlink(&moved, world.root()).unwrap();
        for store in [&store, &world.store] {
            assert_eq!(store.get(block.cid()).await.unwrap(), Some(block.clone()));
        }
    }
}

/// A pipe would wait for somebody to write to it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let world = World::new();
    let block = block("content");
    let path = world.root().join("pipe");
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    world.record(block.hash(), record(b"pipe", 0, 7)).await;
    let error = world.store.get(block.cid()).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("is not a file"));
}

#[tokio::test]
async fn references_are_taken_only_where_they_may_lead() {
    let world = World::new();
    let good = world.write("good", b"content");
    let outside = world.folder.path().join("outside");
    std::fs::write(&outside, b"content").unwrap();
    let content = block("content");
    for path in [outside, "../outside".into(), world.root(), "a/../../outside".into()] {
        let both = [in_file(&block("c"), &good, 0), in_file(&content, &path, 0)];
        let refused = world.store.put_references(&both).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::Invalid { .. } | Error::Component { .. } | Error::Malformed { .. }
            ),
            "{path:?}: {refused:?}"
        );
    }
    let absent = world.store.put_references(&[in_file(&content, "absent", 0)]).await;
    assert!(matches!(absent, Err(Error::Component { .. })), "{absent:?}");
    let beyond = world.store.put_references(&[in_file(&content, &good, u64::MAX)]).await;
    assert!(matches!(beyond, Err(Error::Malformed { .. })), "{beyond:?}");
    let url = Origin::Url("https://example.com/".into());
    let url = Reference { block: content.clone(), origin: url, offset: 0 };
    let refused = world.store.put_references(&[url]).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "there is no client");
    assert!(world.records().await.is_empty(), "nothing of a call is kept that fails");

    let world = World::with(world.folder, Options::default());
    let refused = world.store.put_references(&[in_file(&content, &good, 0)]).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "there is no root");
    world.record(content.hash(), record(b"good", 0, 7)).await;
    assert!(matches!(world.store.get(content.cid()).await, Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn records_by_an_enemy_lead_nowhere() {
    let world = World::new();
    world.write("a", b"content");
    std::fs::write(world.folder.path().join("secret"), b"secret").unwrap();
    let absolute = world.folder.path().join("secret");
    let absolute = absolute.to_str().unwrap().as_bytes();
    let (secret, content) = (block("secret"), block("content"));
    let over = limits::MAX_STORED_BLOCK as u64 + 1;
    for (block, value) in [
        (&secret, record(b"../secret", 0, 6)),
        (&secret, record(b"a/../../secret", 0, 6)),
        (&secret, record(absolute, 0, 6)),
        (&secret, record(b"a\0/../../secret", 0, 6)),
        (&content, record(b"a", u64::MAX, 7)),
        (&content, record(b"a", u64::MAX - 7, 8)),
        (&content, record(b"a", 0, over)),
        (&content, record(b"a", 0, u64::MAX)),
        (&content, record(b"a", 0, 7)[..6].to_vec()),
        (&content, vec![0xff; 40]),
        (&content, Vec::new()),
    ] {
        world.record(block.hash(), value.clone()).await;
        let error = world.store.get(block.cid()).await.unwrap_err();
        let typed = matches!(error, Error::Malformed { .. } | Error::Limit { .. });
        assert!(typed, "{error:?} for {value:?}");
        // It counts as none.
        assert_eq!(world.store.size(block.cid()).await.unwrap(), None);
        assert!(world.store.list().try_concat().await.unwrap().is_empty());
        world.store.delete(block.cid()).await.unwrap();
        assert_eq!(world.store.get(block.cid()).await.unwrap(), None);
    }
    // The right bytes, but more or fewer of them, or elsewhere.
    for value in [record(b"a", 0, 6), record(b"a", 0, 8), record(b"a", 1, 6), record(b"a", 1, 7)] {
        world.record(content.hash(), value).await;
        assert!(matches!(world.store.get(content.cid()).await, Err(Error::Corrupt(_))));
    }
    // A record of a later version, with fields that are unknown here.
    let mut value = record(b"a", 0, 7);
    value.extend(b"\x22\x01x");
    world.record(content.hash(), value).await;
    assert_eq!(world.store.get(content.cid()).await.unwrap(), Some(content));
}

/// What a record claims is not made room for.
#[test]
fn a_record_takes_no_more_memory_than_its_file_has() {
    let runtime = ipfs_traits::VirtualRuntime::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"content").unwrap();
    let records = Arc::new(MemoryDatastore::new());
    let shared = Arc::new(runtime.clone());
    let store =
        ReferenceStore::new(MemoryStore::new(), records.clone(), shared, rooted(folder.path()));
    let block = block("content");
    let key = format!("/filestore/{}", BASE32_NOPAD.encode(&block.hash().to_bytes()));
    let value = record(b"a", 0, limits::MAX_STORED_BLOCK as u64);
    runtime.block_on(records.commit(Batch::new().put(key, value))).unwrap().unwrap();
    let (found, peak) = crate::memory::peak(|| runtime.block_on(store.get(block.cid())).unwrap());
    assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?}");
    assert!(peak < 64 << 10, "{peak} bytes were held");
}
