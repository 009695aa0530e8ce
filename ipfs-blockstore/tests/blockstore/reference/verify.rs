//! What becomes of references.

use std::collections::BTreeMap;

use ipfs_blockstore::reference::{Checked, Remove, State, Verified};

use super::*;

async fn verify(world: &World, remove: Remove) -> (Verified, BTreeMap<Cid, State>) {
    let mut all = BTreeMap::new();
    let mut last = Verified::default();
    let mut verifying = world.store.verify_references(remove);
    while let Some(so_far) = verifying.try_next().await.unwrap() {
        assert!(so_far.references >= last.references);
        all.extend(so_far.checked.iter().map(|one| (one.cid, one.state)));
        last = so_far;
    }
    (last, all)
}

#[test]
fn states_have_the_numbers_of_kubo() {
    let states = [
        State::Ok,
        State::FileError,
        State::NotFound,
        State::Changed,
        State::Other,
        State::KeyNotFound,
    ];
    assert_eq!(states.map(State::code), [0, 10, 11, 12, 20, 30]);
}

#[tokio::test]
async fn every_state_is_told_and_what_is_lost_is_removed() {
    let world = World::new();
    let fine = world.refer("fine", "fine").await;
    let changed = world.refer("changed", "changed").await;
    let shorter = world.refer("shorter", "shorter").await;
    let gone = world.refer("gone/below", "gone").await;
    let folder = world.refer("folder", "folder").await;
    let (odd, url, unknown, absent) = (block("odd"), block("url"), block("unknown"), block("none"));
    world.record(odd.hash(), record(b"../odd", 0, 3)).await;
    world.record(url.hash(), record(b"http://example.com/", 0, 3)).await;
    // A hash function that is in no table.
    let strange = Multihash::wrap(0x30_0001, unknown.hash().digest()).unwrap();
    world.record(&strange, record(b"fine", 0, 4)).await;
    let junk = Batch::new().put("/filestore/junk", "x").put("/filestoreX", "y");
    world.records.commit(junk).await.unwrap();
    world.write("changed", b"changes");
    world.write("shorter", b"short");
    std::fs::remove_dir_all(world.root().join("gone")).unwrap();
    std::fs::write(world.root().join("gone"), "a file in the place of a folder").unwrap();
    std::fs::remove_file(world.root().join("folder")).unwrap();
    std::fs::create_dir(world.root().join("folder")).unwrap();

    let strange = Cid::new_v1(codes::RAW, strange);
    let expected = BTreeMap::from([
        (*fine.cid(), State::Ok),
        (*changed.cid(), State::Changed),
        (*shorter.cid(), State::Changed),
        (*gone.cid(), State::NotFound),
        (*folder.cid(), State::FileError),
        (*odd.cid(), State::Other),
        (*url.cid(), State::Other),
        (strange, State::Other),
    ]);
    let (last, states) = verify(&world, Remove::Nothing).await;
    assert_eq!(states, expected);
    let counts = (last.references, last.bytes, last.broken, last.unknown, last.removed);
    assert_eq!(counts, (8, 4, 7, 1, 0));

    let cids: Vec<Cid> = expected.keys().copied().chain([*absent.cid()]).collect();
    let checked: Vec<Checked> = world.store.check_references(&cids).await.unwrap();
    let states: Vec<State> = checked.iter().map(|one| one.state).collect();
    let told: Vec<State> = expected.values().copied().chain([State::KeyNotFound]).collect();
    assert_eq!(states, told);
    assert!(checked.iter().all(|one| one.error.is_some() == (one.state != State::Ok)));
    assert!(checked.iter().all(|one| cids.contains(&one.cid)));

    let (last, _) = verify(&world, Remove::Broken).await;
    assert_eq!(last.removed, 5, "changed, shorter, gone, odd, and the key that is none");
    let (last, states) = verify(&world, Remove::Broken).await;
    let left = [*fine.cid(), *folder.cid(), *url.cid(), strange];
    assert_eq!(states.into_keys().collect::<Vec<_>>(), {
        let mut left = left.to_vec();
        left.sort();
        left
    });
    assert_eq!((last.removed, last.unknown), (0, 0));
    assert!(world.records.get(b"/filestoreX").await.unwrap().is_some(), "it is none of ours");
    assert_eq!(world.store.get(fine.cid()).await.unwrap(), Some(fine));
    assert_eq!(world.store.get(changed.cid()).await.unwrap(), None);
}

/// An unmounted disk would have all its references removed.
#[tokio::test]
async fn nothing_is_removed_when_the_root_is_gone() {
    let world = World::new();
    let block = world.refer("file", "content").await;
    let away = world.folder.path().join("away");
    std::fs::rename(world.root(), &away).unwrap();
    let error = world.store.verify_references(Remove::Broken).try_next().await.unwrap_err();
    assert!(matches!(error, Error::Component { .. }), "{error:?}");
    std::fs::rename(&away, world.root()).unwrap();
    assert_eq!(world.store.get(block.cid()).await.unwrap(), Some(block));
}

/// A datastore in which somebody else writes between every look and every commit.
#[derive(Debug)]
struct Busy {
    below: Arc<MemoryDatastore>,
    meanwhile: std::sync::Mutex<Option<Batch>>,
}

#[async_trait]
impl Datastore for Busy {
    async fn get(&self, key: &[u8]) -> Result<Option<ipfs_traits::Bytes>> {
        self.below.get(key).await
    }
    fn scan(
        &self,
        prefix: &[u8],
    ) -> BoxStream<'static, Result<Vec<(ipfs_traits::Bytes, ipfs_traits::Bytes)>>> {
        self.below.scan(prefix)
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            self.below.commit(meanwhile).await?;
        }
        self.below.commit(batch).await
    }
    fn shared(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_reference_that_was_mended_meanwhile_is_not_removed() {
    let world = World::new();
    let mended = world.refer("mended", "mended").await;
    let lost = world.refer("lost", "lost").await;
    for name in ["mended", "lost"] {
        std::fs::remove_file(world.root().join(name)).unwrap();
    }
    world.write("elsewhere", b"mended");
    let key = format!("/filestore/{}", BASE32_NOPAD.encode(&mended.hash().to_bytes()));
    let meanwhile = Batch::new().put(key, record(b"elsewhere", 0, 6));
    let busy = Busy { below: world.records.clone(), meanwhile: Some(meanwhile).into() };
    let store =
        ReferenceStore::new(world.inner.clone(), Arc::new(busy), runtime(), rooted(&world.root()));
    assert!(store.shared() && !world.store.shared());
    let found: Vec<_> = store.verify_references(Remove::Broken).try_collect().await.unwrap();
    assert_eq!(found.last().unwrap().removed, 1);
    assert_eq!(store.get(mended.cid()).await.unwrap(), Some(mended));
    assert_eq!(store.get(lost.cid()).await.unwrap(), None);
}

#[tokio::test]
async fn many_references_are_verified_with_progress() {
    let world = World::new();
    let path = world.write("file", &[7; 5000]);
    let blocks: Vec<Block> = (1..=1000).map(|len| block(vec![7; len])).collect();
    let references: Vec<_> = blocks.iter().map(|block| in_file(block, &path, 11)).collect();
    world.store.put_references(&references).await.unwrap();
    let items: Vec<Verified> =
        world.store.verify_references(Remove::Broken).try_collect().await.unwrap();
    assert!(items.len() > 3, "{} items", items.len());
    let last = items.last().unwrap();
    assert_eq!((last.references, last.bytes, last.broken), (1000, 500_500, 0));
    assert_eq!(items.iter().map(|item| item.checked.len()).sum::<usize>(), 1000);
}
