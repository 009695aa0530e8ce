//! Files that are almost those of a store: the bodies that the fuzz targets run.

use std::sync::LazyLock;

use ipfs_blockstore::car::{self, IndexKind, IndexedWriter};
use ipfs_traits::{Block, HashTable, codes};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::faulty::Faulty;

#[path = "../hostile/pack.rs"]
mod body;
#[path = "../hostile/car_file.rs"]
mod car_file;

type Contents = Vec<(String, Vec<u8>)>;

/// A store in which much has happened, and its files by their names.
static MADE: LazyLock<(Faulty, Contents)> = LazyLock::new(body::made);

fn changed(good: &[u8], changes: Vec<(Index, u8)>, cut: Option<Index>) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (at, byte) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
    }
    bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
    bytes
}

fn changes() -> impl Strategy<Value = (Vec<(Index, u8)>, Option<Index>)> {
    (vec(any::<(Index, u8)>(), 0..5), any::<Option<Index>>())
}

proptest! {
    #[test]
    fn segments_of_anything(input in vec(any::<u8>(), 0..3000)) {
        body::segment(&input);
    }

    /// Of any of its files, with the others as they were or alone.
    #[test]
    fn files_almost_right(which: Index, (changes, cut) in changes()) {
        let (files, contents) = &*MADE;
        let (name, good) = &contents[which.index(contents.len())];
        let input = changed(good, changes, cut);
        body::file(files, name, &input);
        if name.ends_with(".car") {
            body::segment(&input);
        }
    }

    /// Indexes whose checksums are right, and which say anything.
    #[test]
    fn indexes_almost_right(manifest: bool, (changes, cut) in changes()) {
        let (_, contents) = &*MADE;
        let end = if manifest { "manifest" } else { ".run" };
        let (_, good) = contents.iter().find(|(name, _)| name.ends_with(end)).unwrap();
        let input = [&[u8::from(!manifest)][..], &changed(good, changes, cut)].concat();
        body::index(&MADE, &input);
    }
}

/// Archives of both versions, with each kind of index, one that was not closed, and one with what
/// was deleted.
static ARCHIVES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let block = |i: u8| {
        let hash = [codes::SHA2_256, codes::SHA1, codes::IDENTITY][usize::from(i) % 3];
        let data = vec![i; usize::from(i) * 3 % 60];
        Block::of(codes::RAW, hash, data, &HashTable::standard()).unwrap()
    };
    let blocks: Vec<Block> = (0..30).map(block).collect();
    let roots = [*blocks[0].cid(), *blocks[2].cid()];
    futures::executor::block_on(async {
        let mut all = Vec::new();
        let mut writer = car::Writer::new(Vec::new(), &roots).await.unwrap();
        writer.write(&blocks).await.unwrap();
        all.push(writer.finish().await.unwrap());
        for kind in [IndexKind::Sorted, IndexKind::MultihashSorted] {
            let out = futures::io::Cursor::new(Vec::new());
            let mut writer = IndexedWriter::new(out, &roots, kind).await.unwrap();
            writer.write(&blocks).await.unwrap();
            all.push(writer.finish().await.unwrap().into_inner());
        }
        // One that is gone on with is not finished, and looks as a crash leaves it.
        let whole = &all[2];
        let mut unfinished = whole[..whole.len() - 700].to_vec();
        unfinished[35..51].fill(0);
        all.push(unfinished);
        all.push(car_file::with_deleted(&blocks).await);
        all
    })
});

proptest! {
    #[test]
    fn archives_of_anything(input in vec(any::<u8>(), 0..3000)) {
        car_file::car_file(&input);
    }

    #[test]
    fn archives_almost_right(which: Index, (changes, cut) in changes()) {
        let archives = &*ARCHIVES;
        car_file::car_file(&changed(&archives[which.index(archives.len())], changes, cut));
    }
}

#[test]
fn archives_that_are_right() {
    for archive in &*ARCHIVES {
        car_file::car_file(archive);
    }
}

/// Writes what the fuzz targets begin with to the folder that `IPFS_SEEDS` names, a folder for each.
#[test]
fn seeds() {
    let Some(folder) = std::env::var_os("IPFS_SEEDS") else { return };
    let segments = MADE.1.iter().filter(|(name, _)| name.ends_with(".car"));
    let segments = segments.map(|(_, content)| ("pack", content));
    let archives = ARCHIVES.iter().map(|content| ("car_file", content.clone()));
    let segments = segments.map(|(target, content)| (target, content.clone()));
    let index = |(name, content): &(String, Vec<u8>)| {
        let which =
            [("manifest", 0), (".run", 1)].into_iter().find(|(end, _)| name.ends_with(end))?;
        Some(("pack_index", [&[which.1], &content[..]].concat()))
    };
    let indexes = MADE.1.iter().filter_map(index);
    for (i, (target, content)) in segments.chain(archives).chain(indexes).enumerate() {
        let folder = std::path::Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("seed {i}")), content).unwrap();
    }
}
