//! What must hold of a pack store whatever its files hold: shared by the test and the fuzz targets.

use std::{path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_blockstore::{PackStore, files::Files, pack::Options};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, VirtualRuntime, codes,
};

use crate::faulty::{Faulty, TakenOut};

const ROOT: &str = "/store";

/// So many bytes may be held beside four times the input: windows in which frames are searched, and
/// what a store has at all times.
const HELD: usize = 24 << 20;

pub(crate) fn options() -> Options {
    let mut options = Options::default();
    (options.segment_bytes, options.index_table) = (4 << 10, 16);
    options
}

/// Files of a store, made or found.
pub(crate) struct Store {
    pub(crate) files: Faulty,
    runtime: VirtualRuntime,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self::on(Faulty::new(Path::new(ROOT), false, TakenOut::Nothing))
    }

    fn on(files: Faulty) -> Self {
        Self { files, runtime: VirtualRuntime::new() }
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work).unwrap()
    }

    pub(crate) fn open(&self) -> Result<PackStore, Error> {
        let (files, runtime) = (Arc::new(self.files.clone()), Arc::new(self.runtime.clone()));
        self.run(PackStore::open_on(files, ROOT, runtime, options()))
    }

    /// Puts another content into a file, or makes it.
    fn write(&self, name: &str, content: &[u8]) {
        let path = Path::new(ROOT).join(name);
        let _ = self.files.create_dir(path.parent().unwrap());
        let _ = self.files.remove(&path);
        self.files.create(&path, content).unwrap();
    }

    /// Names and contents of the files in a folder.
    pub(crate) fn contents(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let path = Path::new(ROOT).join(folder);
        let names = self.files.list(&path).unwrap().into_iter().filter(|(_, is_dir)| !is_dir);
        let read = |(name, _): (String, _)| {
            let content = self.files.read(&path.join(&name)).unwrap();
            (format!("{folder}/{name}"), content)
        };
        names.map(read).collect()
    }
}

/// A store whose first segment is `input`.
pub(crate) fn segment(input: &[u8]) {
    let store = Store::new();
    store.write("00000001.car", input);
    lives(&store, input).unwrap();
}

/// A store in order, but that one of its files is `input`.
pub(crate) fn file(files: &Faulty, name: &str, input: &[u8]) {
    let store = Store::on(files.after_kill());
    store.write(name, input);
    match lives(&store, input) {
        // A file that says what the folder is may say that it is something else.
        Err(Error::Malformed { .. } | Error::Newer { .. }) if name.ends_with("PACK") => {}
        // A page of an index is read when it is needed: the next opening makes the index anew.
        Err(Error::Component { .. }) if name.ends_with(".run") => {
            lives(&Store::on(store.files.after_kill()), input).unwrap();
        }
        lived => lived.unwrap(),
    }
}

/// Whatever is found there: each block can be read or is called damaged, all that a store does can
/// be done, and what is put is there.
fn lives(store: &Store, input: &[u8]) -> Result<(), Error> {
    let (result, peak) = crate::memory::peak(|| used(store));
    assert!(peak <= 4 * input.len() + HELD, "{peak} bytes were held for {}", input.len());
    result
}

fn used(store: &Store) -> Result<(), Error> {
    let opened = store.open()?;
    let new = Block::of(codes::RAW, codes::SHA2_256, "put after", &HashTable::standard())?;
    store.run(async {
        let pages: Vec<Vec<(Multihash, u64)>> = opened.list().try_collect().await?;
        let cids: Vec<Cid> =
            pages.concat().iter().map(|(hash, _)| Cid::new_v1(codes::RAW, *hash)).collect();
        for (found, cid) in std::iter::zip(opened.get_many(&cids).await, &cids) {
            match found {
                Ok(Some(block)) => assert_eq!(block.cid(), cid),
                Err(Error::Corrupt(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        opened.delete_many(&cids[..cids.len() / 2]).await?;
        opened.compact().await?;
        // It may have been there, and damaged.
        opened.delete(new.cid()).await?;
        opened.put(new.clone()).await?;
        opened.flush().await
    })?;
    let again = Store::on(store.files.after_kill());
    let opened = again.open()?;
    assert_eq!(again.run(opened.get(new.cid()))?, Some(new));
    Ok(())
}
