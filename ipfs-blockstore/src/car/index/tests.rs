use ipfs_traits::{Error, HashTable, codes};

use super::{parse::Place, *};

fn index(kind: IndexKind, entries: &[(Multihash, u64)]) -> Vec<u8> {
    let mut builder = Builder::new();
    entries.iter().for_each(|(hash, offset)| builder.push(hash, *offset));
    builder.encode(kind).concat()
}

fn open(bytes: Vec<u8>) -> ipfs_traits::Result<Index> {
    Index::open(Place::Memory(bytes.into()))
}

fn hashes(count: u64) -> Vec<(Multihash, u64)> {
    let table = HashTable::standard();
    let code = |i: u64| [codes::SHA2_256, codes::SHA2_512, codes::SHA1][i as usize % 3];
    (0..count).map(|i| (table.hash(code(i), &i.to_le_bytes()).unwrap(), i * 1000)).collect()
}

#[test]
fn what_is_written_is_found() {
    for kind in [IndexKind::Sorted, IndexKind::MultihashSorted] {
        for count in [0, 1, 2, 127, 128, 129, 5000] {
            let mut entries = hashes(count + 10);
            let absent = entries.split_off(count as usize);
            let index = open(index(kind, &entries)).unwrap();
            for (hash, offset) in &entries {
                assert_eq!(index.find(hash).unwrap(), [*offset]);
            }
            for (hash, _) in absent {
                assert_eq!(index.find(&hash).unwrap(), []);
            }
            let (mut at, mut listed) = ((0, 0), Vec::new());
            while let Some((entries, next)) = index.page(at).unwrap() {
                listed.extend(entries.into_iter().map(|entry| entry.offset));
                at = next;
            }
            listed.sort_unstable();
            assert_eq!(listed, entries.iter().map(|(_, offset)| *offset).collect::<Vec<_>>());
        }
    }
}

/// Digests that begin alike, and blocks that are there more often than are looked at.
#[test]
fn what_looks_alike_is_told_apart() {
    let hash = |i: u16| {
        let mut digest = [7; 32];
        digest[30..].copy_from_slice(&i.to_be_bytes());
        Multihash::wrap(codes::SHA2_256, &digest).unwrap()
    };
    let mut entries: Vec<_> = (0..3000).map(|i| (hash(i), u64::from(i))).collect();
    entries.extend((0..300).map(|i| (hash(1500), 10_000 + i)));
    for kind in [IndexKind::Sorted, IndexKind::MultihashSorted] {
        let index = open(index(kind, &entries)).unwrap();
        for i in (0..3000).filter(|i| *i != 1500) {
            assert_eq!(index.find(&hash(i)).unwrap(), [u64::from(i)]);
        }
        let found = index.find(&hash(1500)).unwrap();
        assert_eq!((found.len(), found[0]), (16, 1500));
    }
}

#[test]
fn what_is_no_index_is_refused() {
    let good = index(IndexKind::MultihashSorted, &hashes(50));
    for cut in 0..good.len() {
        assert!(open(good[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    let at = |bytes: &mut [u8], at: usize, word: u32| {
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    };
    // The code takes 2 bytes, the number of hash functions 4, the first of them 8, its widths 4.
    for (place, word) in
        [(2, u32::MAX), (14, u32::MAX), (18, 7), (18, 1000), (22, u32::MAX), (22, 1)]
    {
        let mut bad = good.clone();
        at(&mut bad, place, word);
        let error = open(bad).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{place}: {error}");
    }
    let mut unsorted = good.clone();
    let first = 2 + 4 + 8 + 4 + 12;
    unsorted[first] = 0xff;
    assert!(matches!(open(unsorted), Err(Error::Malformed { .. })));
    let mut unknown = good;
    unknown[0] = 0x82;
    assert!(matches!(open(unknown), Err(Error::Unsupported(_))));
    let groups = |count: u32| {
        let mut bytes = vec![0x80, 0x08];
        bytes.extend(count.to_le_bytes());
        (0..count).for_each(|_| bytes.extend([40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        open(bytes)
    };
    assert!(groups(1024).is_ok());
    assert!(matches!(groups(1025), Err(Error::Limit { .. })));
}
