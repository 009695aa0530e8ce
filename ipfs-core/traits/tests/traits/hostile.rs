//! Input from strangers: the bodies that the fuzz targets run, on inputs that are almost right.

use ipfs_traits::{Block, HashTable, car, codes};
use proptest::prelude::*;

#[path = "../hostile/car.rs"]
mod body;

fn archive(lengths: &[usize]) -> Vec<u8> {
    let block = |len: &usize| {
        Block::of(codes::RAW, codes::SHA2_256, vec![1; *len], &HashTable::standard()).unwrap()
    };
    let blocks: Vec<Block> = lengths.iter().map(block).collect();
    let roots: Vec<_> = blocks.iter().map(|block| *block.cid()).collect();
    let mut file = car::header(&roots);
    for block in &blocks {
        file.extend(car::section_head(block.cid(), block.len()));
        file.extend(block.data());
    }
    file
}

proptest! {
    #[test]
    fn car_of_anything(input in prop::collection::vec(any::<u8>(), 0..4000)) {
        body::car(&input);
    }

    #[test]
    fn car_almost_right(
        lengths in prop::collection::vec(0..300_usize, 0..20),
        size: u8,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut: prop::sample::Index,
    ) {
        let mut input = archive(&lengths);
        input.insert(0, size);
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        input.truncate(1 + cut.index(input.len()));
        body::car(&input);
    }
}

/// A header full of the shortest links would take twelve times its size as a list of CIDs.
#[test]
fn a_header_of_many_short_roots_stays_small() {
    let root = ipfs_traits::parse_cid(&[1, 0x55, 0, 0]).unwrap();
    let mut input = vec![255];
    input.extend(car::header(&vec![root; 50_000]));
    body::car(&input);
}

/// An archive that arrived one byte at a time was kept one byte at a time, and took 50 bytes of
/// memory for each.
#[test]
fn an_archive_in_single_bytes_stays_small() {
    let mut input = archive(&[100_000]);
    input.insert(0, 0);
    body::car(&input[..input.len() / 2]);
    body::car(&input);
}
