//! Records of anything, and records that are almost right: the body that the fuzz target runs.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::record;

#[path = "../../hostile/reference.rs"]
mod body;

/// One record, as the body reads it.
fn one(which: u8, value: &[u8]) -> Vec<u8> {
    let value = &value[..value.len().min(255)];
    [&[which, value.len() as u8], value].concat()
}

/// Records that lead to each of the blocks, and some that should not.
fn good() -> Vec<Vec<u8>> {
    let url = body::URL.as_bytes();
    vec![
        one(0, &record(b"a", 0, 10)),
        one(1, &record(b"a", 3, 3)),
        one(2, &record(b"b/c", 0, 7)),
        one(3, &record(url, 8, 10)),
        one(4, &record(b"a", 4, 0)),
        one(5, &record(b"../secret", 0, 6)),
        one(6, &record(b"link", 0, 5)),
        one(60, b"ABC"),
    ]
}

proptest! {
    #[test]
    fn records_of_anything(input in vec(any::<u8>(), 0..2000)) {
        body::reference(&input);
    }

    #[test]
    fn records_almost_right(
        order in vec(0..8_usize, 1..12),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
        cut: Option<Index>,
    ) {
        let good = good();
        let mut input = order.iter().map(|&i| good[i].clone()).collect::<Vec<_>>().concat();
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        input.truncate(cut.map_or(input.len(), |cut| cut.index(input.len())));
        body::reference(&input);
    }
}

/// Writes what the fuzz target begins with to the folder that `IPFS_SEEDS` names, a folder for each.
#[test]
fn seeds() {
    body::reference(&good().concat());
    let Some(folder) = std::env::var_os("IPFS_SEEDS") else { return };
    let folder = std::path::Path::new(&folder).join("reference");
    std::fs::create_dir_all(&folder).unwrap();
    for (i, record) in good().iter().chain([&good().concat()]).enumerate() {
        std::fs::write(folder.join(format!("record {i}")), record).unwrap();
    }
}
