//! Disks that are full, or refuse to be written: an error that says so, and nothing is lost.

use std::{error::Error as _, io::ErrorKind, path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_blockstore::{FlatStore, PackStore, RedbDatastore, flat, pack};
use ipfs_traits::{
    Batch, Block, Blockstore, BlockstoreExt, Cid, Datastore, Error, HashTable, Multihash, Result,
    VirtualRuntime, codes,
};

use crate::{
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
};

const ROOT: &str = "/store";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flat,
    Pack,
}

struct Work {
    files: Faulty,
    runtime: VirtualRuntime,
}

impl Work {
    fn new() -> Self {
        let files = Faulty::new(Path::new(ROOT), false, TakenOut::Nothing);
        Self { files, runtime: VirtualRuntime::new() }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    fn open(&self, kind: Kind, files: &Faulty) -> Result<Arc<dyn Blockstore>> {
        let (files, runtime) = (Arc::new(files.clone()), Arc::new(self.runtime.clone()));
        Ok(match kind {
            Kind::Flat => {
                let options = flat::Options::default();
                Arc::new(self.run(FlatStore::open_on(files, ROOT, runtime, options))?)
            }
            Kind::Pack => {
                let mut options = pack::Options::default();
                (options.segment_bytes, options.index_table) = (2 << 10, 20);
                Arc::new(self.run(PackStore::open_on(files, ROOT, runtime, options))?)
            }
        })
    }

    /// The store gives each of these, whole.
    fn gives(&self, store: &dyn Blockstore, blocks: &[Block]) {
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        for (found, block) in std::iter::zip(self.run(store.get_many(&cids)), blocks) {
            assert_eq!(found.unwrap().as_ref(), Some(block));
        }
    }

    fn lists(&self, store: &dyn Blockstore) -> usize {
        let listed: Vec<(Multihash, u64)> = self.run(store.list().try_concat()).unwrap();
        listed.len()
    }
}

fn blocks(seed: u64, count: u8) -> Vec<Block> {
    let mut numbers = Numbers(seed);
    let mut data = |i| {
        let len = numbers.below(100);
        [vec![i], (0..len).map(|_| numbers.next() as u8).collect()].concat()
    };
    let block = |data| Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard());
    (0..count).map(|i| block(data(i)).unwrap()).collect()
}

/// The error of the machine below one of a store's.
fn cause(error: &Error) -> ErrorKind {
    assert!(matches!(error, Error::Component { .. }), "{error:?}");
    let mut source = error.source();
    while let Some(below) = source {
        if let Some(io) = below.downcast_ref::<std::io::Error>() {
            return io.kind();
        }
        source = below.source();
    }
    panic!("{error:?} names no cause");
}

/// The disk is full when so much has been done, and later has room again.
#[test]
fn a_full_disk_takes_nothing_of_what_is_there() {
    for (kind, seed) in (0..60).flat_map(|seed| [(Kind::Flat, seed), (Kind::Pack, seed)]) {
        let work = Work::new();
        let store = work.open(kind, &work.files).unwrap();
        let (before, after) = (blocks(seed, 40), blocks(seed + 1000, 60));
        work.run(store.put_many(&before)).unwrap();
        if seed % 2 == 0 {
            work.run(store.flush()).unwrap();
        }
        work.files.refuse(Some(ErrorKind::StorageFull));
        let mut refused = 0;
        for some in after.chunks(1 + seed as usize % 20) {
            for answer in [work.run(store.put_many(some)), work.run(store.flush())] {
                if let Err(error) = answer {
                    assert_eq!(cause(&error), ErrorKind::StorageFull, "{kind:?}: {error:?}");
                    refused += 1;
                }
            }
            work.gives(&*store, &before);
        }
        assert!(refused > 0, "{kind:?}, seed {seed}");
        let compacted = work.run(store.compact());
        assert!(compacted.is_ok() || matches!(compacted, Err(Error::Component { .. })));
        // There is room again.
        work.files.refuse(None);
        work.run(store.put_many(&after)).unwrap();
        work.run(store.flush()).unwrap();
        work.run(store.delete(before[0].cid())).unwrap();
        work.run(store.flush()).unwrap();
        work.run(store.compact()).unwrap();
        let there = [&before[1..], &after].concat();
        work.gives(&*store, &there);
        assert_eq!(work.lists(&*store), there.len());
        drop(store);
        let survivor = work.files.after_power_loss(&mut Numbers(seed));
        let store = work.open(kind, &survivor).unwrap();
        work.gives(&*store, &there);
        assert_eq!(work.lists(&*store), there.len(), "{kind:?}, seed {seed}");
    }
}

/// A folder that becomes one that cannot be written, and is one when the store is opened.
#[test]
fn a_folder_that_cannot_be_written_says_so() {
    for refusal in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
        for kind in [Kind::Flat, Kind::Pack] {
            let work = Work::new();
            work.files.refuse(Some(refusal));
            let error = work.open(kind, &work.files).unwrap_err();
            assert_eq!(cause(&error), refusal, "{kind:?}: {error:?}");
            work.files.refuse(None);
            let store = work.open(kind, &work.files).unwrap();
            let all = blocks(1, 30);
            work.run(store.put_many(&all)).unwrap();
            work.run(store.flush()).unwrap();
            work.files.refuse(Some(refusal));
            let more = blocks(2, 30);
            let done = work.run(async {
                store.put_many(&more).await?;
                store.flush().await
            });
            assert_eq!(cause(&done.unwrap_err()), refusal);
            work.gives(&*store, &all);
            drop(store);
            let refused = work.files.after_kill();
            refused.refuse(Some(refusal));
            let error = work.open(kind, &refused).unwrap_err();
            assert_eq!(cause(&error), refusal, "{kind:?}: {error:?}");
            refused.refuse(None);
            work.gives(&*work.open(kind, &refused).unwrap(), &all);
        }
    }
}

/// The same for a datastore, which after a failure may have to be opened again.
#[test]
fn a_datastore_whose_disk_is_full_keeps_what_it_has() {
    for refusal in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        let work = Work::new();
        let open = |files: &Faulty| {
            let (files, runtime) = (Arc::new(files.clone()), Arc::new(work.runtime.clone()));
            work.run(RedbDatastore::open_on(files, "/store/state.redb", runtime))
        };
        let store = open(&work.files).unwrap();
        let commit = |store: &RedbDatastore, key: &'static str| {
            work.run(store.commit(Batch::new().put(key, vec![7; 100_000])))
        };
        commit(&store, "before").unwrap();
        work.files.refuse(Some(refusal));
        let error = commit(&store, "refused").unwrap_err();
        assert!(matches!(error, Error::Component { .. }), "{error:?}");
        work.files.refuse(None);
        drop(store);
        let store = open(&work.files.after_kill()).unwrap();
        assert!(work.run(store.get(b"before")).unwrap().is_some());
        assert!(work.run(store.get(b"refused")).unwrap().is_none());
        commit(&store, "after").unwrap();
    }
}

/// An index is lost, or damaged, at any time: it is made anew, and what was deleted stays so.
#[test]
fn a_deleted_block_never_comes_back_with_a_new_index() {
    for seed in 0..40 {
        let work = Work::new();
        let store = work.open(Kind::Pack, &work.files).unwrap();
        let all = blocks(seed, 100);
        let mut numbers = Numbers(seed);
        for some in all.chunks(10) {
            work.run(store.put_many(some)).unwrap();
            if numbers.below(2) == 0 {
                work.run(store.flush()).unwrap();
            }
        }
        let (gone, there): (Vec<Block>, Vec<Block>) =
            all.iter().cloned().partition(|_| numbers.below(2) == 0);
        let cids: Vec<Cid> = gone.iter().map(|block| *block.cid()).collect();
        work.run(store.delete_many(&cids)).unwrap();
        work.run(store.flush()).unwrap();
        for compacted in [false, true] {
            if compacted {
                work.run(store.compact()).unwrap();
            }
            let index = Path::new(ROOT).join("index");
            let lost = work.files.after_loss_of(&index);
            let damaged = work.files.after_kill();
            for (name, _) in ipfs_blockstore::files::Files::list(&damaged, &index).unwrap() {
                damaged.damage(&index.join(name), &mut numbers);
            }
            for files in [lost, damaged] {
                for files in [files.clone(), files.after_power_loss(&mut numbers)] {
                    let again = work.open(Kind::Pack, &files).unwrap();
                    work.gives(&*again, &there);
                    let sizes = work.run(again.sizes(&cids)).unwrap();
                    assert!(sizes.iter().all(Option::is_none), "seed {seed}: a block is back");
                    assert_eq!(work.lists(&*again), there.len(), "seed {seed}");
                    drop(again);
                }
            }
        }
    }
}
