//! Files that are almost those of a store: the bodies that the fuzz targets run.

use std::sync::LazyLock;

use ipfs_traits::{Block, Blockstore, Cid, HashTable, codes};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::faulty::Faulty;

#[path = "../hostile/pack.rs"]
mod body;

type Contents = Vec<(String, Vec<u8>)>;

/// A store in which much has happened, and its files by their names.
static MADE: LazyLock<(Faulty, Contents)> = LazyLock::new(|| {
    let store = body::Store::new();
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
});

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
}

/// Writes what the fuzz target begins with to the folder that `IPFS_SEEDS` names.
#[test]
fn seeds() {
    let Some(folder) = std::env::var_os("IPFS_SEEDS") else { return };
    let segments = MADE.1.iter().filter(|(name, _)| name.ends_with(".car"));
    for (i, (_, content)) in segments.enumerate() {
        std::fs::write(std::path::Path::new(&folder).join(format!("segment {i}")), content)
            .unwrap();
    }
}
