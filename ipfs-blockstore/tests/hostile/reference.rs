//! What must hold of a reference store whatever its records say: shared by the test and the fuzz
//! target.

use std::sync::{Arc, LazyLock};

use data_encoding::BASE32_NOPAD;
use futures::TryStreamExt;
use ipfs_blockstore::{
    ReferenceStore,
    reference::{Options, Remove},
};
use ipfs_traits::{
    Batch, Block, Blockstore, Cid, Datastore, Error, HashTable, VirtualRuntime, codes,
    memory::{MemoryDatastore, MemoryHttp, MemoryStore},
};

/// So many bytes may be held beside the input: mostly the table of a listing.
const HELD: usize = 6 << 20;

/// Files below a root and beside it, and blocks of both.
struct Files {
    root: std::path::PathBuf,
    inside: Vec<Block>,
    outside: Vec<Block>,
    _folder: tempfile::TempDir,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("b")).unwrap();
    let block = |data: &'static [u8]| {
        Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap()
    };
    for (name, content) in [("a", "0123456789"), ("b/c", "content"), ("../secret", "secret")] {
        std::fs::write(root.join(name), content).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    let inside = [&b"0123456789"[..], b"345", b"content", b"from a URL", b""].map(block).to_vec();
    Files { root, inside, outside: vec![block(b"secret"), block(b"secre")], _folder: folder }
});

pub(crate) const URL: &str = "http://a.example/u";

/// Reads the input as records: which block (or a key of its own), a length, and the value.
fn records(input: &[u8]) -> Batch {
    let blocks = || FILES.inside.iter().chain(&FILES.outside);
    let mut batch = Batch::new();
    let mut rest = input;
    while let [which, len, more @ ..] = rest {
        let (value, after) = more.split_at(more.len().min(usize::from(*len)));
        let key = match blocks().nth(usize::from(*which)) {
            Some(block) => BASE32_NOPAD.encode(&block.hash().to_bytes()).into_bytes(),
            None => value.iter().take(usize::from(*which)).copied().collect(),
        };
        let key = [b"/filestore/", &key[..]].concat();
        batch = batch.put(key, value.to_vec());
        rest = after;
    }
    batch
}

pub(crate) fn reference(input: &[u8]) {
    LazyLock::force(&FILES);
    let ((), peak) = crate::memory::peak(|| used(input));
    assert!(peak <= 100 * input.len() + HELD, "{peak} bytes were held for {}", input.len());
}

fn used(input: &[u8]) {
    let (runtime, http) = (VirtualRuntime::new(), MemoryHttp::new());
    http.serve(URL, &b"this is from a URL too"[..]);
    let mut options = Options::default();
    options.root = Some(FILES.root.clone());
    options.client = Some(Arc::new(http));
    let datastore = Arc::new(MemoryDatastore::new());
    let shared = Arc::new(runtime.clone());
    let store = ReferenceStore::new(MemoryStore::new(), datastore.clone(), shared, options);
    let work = async {
        datastore.commit(records(input)).await?;
        let cids = |blocks: &[Block]| blocks.iter().map(|b| *b.cid()).collect::<Vec<Cid>>();
        for (block, found) in
            std::iter::zip(&FILES.inside, store.get_many(&cids(&FILES.inside)).await)
        {
            match found {
                Ok(found) => assert!(found.is_none_or(|found| found == *block)),
                Err(
                    Error::Malformed { .. }
                    | Error::Limit { .. }
                    | Error::Corrupt(_)
                    | Error::Invalid { .. }
                    | Error::Component { .. },
                ) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        for found in store.get_many(&cids(&FILES.outside)).await {
            assert!(!matches!(found, Ok(Some(_))), "it was read outside of the root");
        }
        let listed: Vec<_> = store.list().try_concat().await?;
        let listed: Vec<Cid> =
            listed.into_iter().map(|(hash, _)| Cid::new_v1(codes::RAW, hash)).collect();
        assert!(store.sizes(&listed).await?.iter().all(Option::is_some));
        let references = store.references().try_concat().await?;
        let readable = references.iter().filter(|one| one.record.is_ok());
        assert_eq!(readable.count(), listed.len());
        store.verify_references(Remove::Broken).try_collect::<Vec<_>>().await?;
        let left = store.references().try_concat().await?;
        assert!(left.iter().all(|one| one.record.is_ok()));
        store.put_many(&FILES.inside).await?;
        for (block, found) in
            std::iter::zip(&FILES.inside, store.get_many(&cids(&FILES.inside)).await)
        {
            assert_eq!(found?.as_ref(), Some(block));
        }
        Ok::<(), Error>(())
    };
    runtime.block_on(work).unwrap().unwrap();
}
