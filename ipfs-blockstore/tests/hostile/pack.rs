//! What must hold of a pack store whatever its files hold: shared by the test and the fuzz targets.

use std::{path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_blockstore::{PackStore, files::Files, pack::Options};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, VirtualRuntime, codes,
    limits,
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

/// A store in which much has happened, and its files by their names.
#[allow(dead_code, reason = "one of the fuzz targets makes none")]
pub(crate) fn made() -> (Faulty, Vec<(String, Vec<u8>)>) {
    let store = Store::new();
    let opened = store.open().unwrap();
    let block = |i: u8| {
        let hash = if i.is_multiple_of(3) { codes::SHA1 } else { codes::SHA2_256 };
        Block::of(codes::RAW, hash, vec![i; usize::from(i)], &HashTable::standard()).unwrap()
    };
    let blocks: Vec<Block> = (0..60).map(block).collect();
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let work = store.run(async {
        for some in blocks.chunks(11) {
            opened.put_many(some).await?;
            opened.flush().await?;
        }
        opened.delete_many(&cids[40..50]).await?;
        opened.put_many(&blocks[45..50]).await?;
        opened.close().await
    });
    work.unwrap();
    let contents = [".", "index"].map(|folder| store.contents(folder)).concat();
    assert!(["1.car", "manifest", ".run"].iter().all(|end| {
        contents.iter().any(|(name, _)| name.ends_with(end)) //
    }));
    (store.files, contents)
}

/// A store whose index says `input`, whatever that is, under checksums that are right: the first byte
/// says whether it is the manifest, or a run of keys.
#[allow(dead_code, reason = "one of the fuzz targets looks at segments alone")]
pub(crate) fn index((files, contents): &(Faulty, Vec<(String, Vec<u8>)>), input: &[u8]) {
    let Some((which, content)) = input.split_first() else { return };
    let mut content = content.to_vec();
    let end = if which.is_multiple_of(2) { "manifest" } else { ".run" };
    match end {
        "manifest" => seal(&mut content),
        _ => seal_run(&mut content),
    }
    let Some((name, _)) = contents.iter().find(|(name, _)| name.ends_with(end)) else { return };
    let store = Store::on(files.after_kill());
    store.write(name, &content);
    // It may say that blocks are where none are, and as large as blocks can be; then a call may
    // fail, and must not do more.
    let (_, peak) = crate::memory::peak(|| used(&store, true));
    assert!(peak <= HELD + 4 * limits::MAX_STORED_BLOCK, "{peak} bytes were held");
}

/// Makes the last four bytes the checksum of the others.
fn seal(content: &mut [u8]) {
    if let Some(at) = content.len().checked_sub(4) {
        let checksum = crc32fast::hash(&content[..at]);
        content[at..].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Makes the checksums of a run right: of its pages, of what is kept in memory, and of its footer.
fn seal_run(content: &mut [u8]) {
    const PAGE: usize = 2048;
    let len = content.len();
    let Some(trailer) = len.checked_sub(16) else { return };
    let word = u32::from_le_bytes(content[trailer..trailer + 4].try_into().unwrap()) as usize;
    let Some(footer) = trailer.checked_sub(word) else { return };
    let checksum = crc32fast::hash(&content[footer..trailer]);
    content[trailer + 4..trailer + 8].copy_from_slice(&checksum.to_le_bytes());
    let pages = content[..footer].len() / PAGE;
    for page in 0..pages {
        seal(&mut content[page * PAGE..(page + 1) * PAGE]);
    }
    seal(&mut content[pages * PAGE..footer]);
}

/// Whatever is found there: each block can be read or is called damaged, all that a store does can
/// be done, and what is put is there.
fn lives(store: &Store, input: &[u8]) -> Result<(), Error> {
    let (result, peak) = crate::memory::peak(|| used(store, false));
    assert!(peak <= 4 * input.len() + HELD, "{peak} bytes were held for {}", input.len());
    result
}

/// Uses a store; of one whose index lies, nothing is asked but that it lives.
fn used(store: &Store, lies: bool) -> Result<(), Error> {
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
                _ if lies => {}
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
    let found = again.run(opened.get(new.cid()))?;
    assert!(lies || found == Some(new));
    Ok(())
}
