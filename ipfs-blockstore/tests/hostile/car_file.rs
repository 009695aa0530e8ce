//! What must hold of a CAR file whatever it holds: shared by the test and the fuzz target.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use futures::{TryStreamExt, io::Cursor};
use ipfs_blockstore::{
    AppendableCar, Blockstore, BlockstoreExt, CarStore,
    car::{AppendOptions, ReadOptions, Reader},
    files::Files,
};
use ipfs_traits::{
    Block, Bytes, Cid, Error, HashTable, Multihash, Result, VirtualRuntime, codes, limits,
};

use crate::faulty::{Faulty, TakenOut};

const PATH: &str = "/folder/some.car";

/// So many bytes may be held beside six times the input: pieces that are read, and windows.
const HELD: usize = 2 << 20;

type Found = BTreeMap<Multihash, Bytes>;

/// Reads `input` as a stream, as a store, and as an archive that goes on.
pub(crate) fn car_file(input: &[u8]) {
    let (streamed, peak) = crate::memory::peak(|| stream(input));
    let (stored, more) = crate::memory::peak(|| store(input));
    let most = peak.max(more);
    assert!(most <= 6 * input.len() + HELD, "{most} bytes were held for {}", input.len());
    if let (Ok(streamed), Ok(stored)) = (streamed, stored) {
        // An index may name fewer blocks than there are, and none that are not there.
        assert!(stored.iter().all(|(hash, data)| streamed.get(hash) == Some(data)));
    }
    append(input);
}

thread_local! {
    static RUNTIME: VirtualRuntime = VirtualRuntime::new();
}

fn runtime() -> Arc<VirtualRuntime> {
    Arc::new(RUNTIME.with(VirtualRuntime::clone))
}

fn run<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work).unwrap()
}

fn files(input: &[u8]) -> Arc<Faulty> {
    let files = Faulty::new(Path::new("/folder"), false, TakenOut::Nothing);
    files.create(Path::new(PATH), input).unwrap();
    Arc::new(files)
}

fn stream(input: &[u8]) -> Result<Found> {
    let input = Cursor::new(input.to_vec());
    let read = async {
        let reader = Reader::open(input, runtime(), ReadOptions::default()).await?;
        reader.try_concat().await
    };
    let blocks: Vec<Block> = run(read)?;
    Ok(blocks.into_iter().map(|block| (*block.hash(), block.data().clone())).collect())
}

fn store(input: &[u8]) -> Result<Found> {
    let open = CarStore::open_on(files(input), PATH, runtime(), ReadOptions::default());
    run(async { found(&open.await?).await })
}

/// All that a store lists; what is given hashes to what was asked for, or is an error.
async fn found(store: &dyn Blockstore) -> Result<Found> {
    let listed: Vec<(Multihash, u64)> = store.list().try_concat().await?;
    let mut found = Found::new();
    for (hash, len) in listed {
        let cid = Cid::new_v1(codes::RAW, hash);
        if let Ok(Some(block)) = store.get(&cid).await {
            assert_eq!(block.len() as u64, len);
            HashTable::standard().verify(&cid, block.data()).unwrap();
            found.insert(hash, block.into_data());
        }
    }
    Ok(found)
}

/// Opens it to be gone on with: what was whole stays, and what is put then is there.
fn append(input: &[u8]) {
    let files = files(input);
    let opened = run(open(&files));
    let archive = match opened {
        Ok(archive) => archive,
        Err(Error::Malformed { .. } | Error::Limit { .. } | Error::Unsupported(_)) => {
            let after = files.read(Path::new(PATH)).unwrap();
            assert!(after == input, "what is not opened is not changed");
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    let before = run(found(&archive)).unwrap();
    let block = Block::of(codes::RAW, codes::SHA2_256, "more", &HashTable::standard()).unwrap();
    run(async {
        archive.put(block.clone()).await?;
        archive.close().await
    })
    .unwrap();
    let again = run(open(&files)).unwrap();
    let mut after = run(found(&again)).unwrap();
    assert_eq!(after.get(block.hash()), Some(block.data()));
    if !before.contains_key(block.hash()) {
        after.remove(block.hash());
    }
    assert!(before == after, "what was there is there still");
    run(again.close()).unwrap();
    // What was closed is an archive that anybody reads, but for what nobody hashed when it came.
    let closed = files.read(Path::new(PATH)).unwrap();
    let mut options = ReadOptions::default();
    options.max_block = limits::MAX_STORED_BLOCK;
    let store = run(CarStore::open_on(files.clone(), PATH, runtime(), options));
    let listed = run(found(&store.unwrap())).unwrap();
    assert!(before.iter().all(|(hash, data)| listed.get(hash) == Some(data)));
    assert!(closed.starts_with(b"\x0a\xa1\x67version\x02"));
}

/// An archive from which some of these were deleted.
#[allow(dead_code, reason = "the fuzz target makes none")]
pub(crate) async fn with_deleted(blocks: &[Block]) -> Vec<u8> {
    let files = Arc::new(Faulty::new(Path::new("/folder"), false, TakenOut::Nothing));
    let files_of = files.clone();
    run(async move {
        let archive = open(&files).await?;
        archive.put_many(blocks).await?;
        let some: Vec<Cid> = blocks.iter().step_by(4).map(|block| *block.cid()).collect();
        archive.delete_many(&some).await?;
        archive.close().await
    })
    .unwrap();
    files_of.read(Path::new(PATH)).unwrap()
}

async fn open(files: &Arc<Faulty>) -> Result<AppendableCar> {
    AppendableCar::open_on(files.clone(), PATH, runtime(), AppendOptions::default()).await
}
