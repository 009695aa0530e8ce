//! The index against a map, over its files.

use std::{collections::BTreeMap, fs};

use ipfs_traits::{HashTable, codes};

use super::*;
use crate::files::Disk;

fn key(n: u32) -> Multihash {
    let hashes = HashTable::standard();
    match n % 10 {
        // Hash functions and lengths of every kind, and digests that share what they begin with.
        0 => hashes.hash(codes::SHA1, &n.to_be_bytes()).unwrap(),
        1 => Multihash::wrap(0x1234, &[&[7; 60][..], &n.to_be_bytes()].concat()).unwrap(),
        2 => Multihash::wrap(codes::IDENTITY, &n.to_be_bytes()).unwrap(),
        3 if n == 3 => Multihash::wrap(codes::IDENTITY, &[]).unwrap(),
        _ => hashes.hash(codes::SHA2_256, &n.to_be_bytes()).unwrap(),
    }
}

fn place(n: u32) -> Place {
    Place { segment: n, offset: n ^ 99, head: n as u8, len: n % 100, crc: !n }
}

struct Tried {
    index: Index,
    model: BTreeMap<Multihash, Place>,
}

impl Tried {
    fn new(root: &Path) -> Self {
        let files = Arc::new(Disk::open(root).unwrap());
        Self { index: Index::create(files, root.to_owned()).unwrap(), model: BTreeMap::new() }
    }

    fn change(&mut self, numbers: impl Iterator<Item = u32>, delete: impl Fn(u32) -> bool) {
        for n in numbers {
            let place = (!delete(n)).then(|| place(n));
            self.index.apply([(key(n), place)]);
            match place {
                Some(place) => self.model.insert(key(n), place),
                None => self.model.remove(&key(n)),
            };
        }
    }

    fn check(&self, numbers: std::ops::Range<u32>) {
        let keys: Vec<Multihash> = numbers.map(key).collect();
        let expected: Vec<_> = keys.iter().map(|key| self.model.get(key).copied()).collect();
        assert!(self.index.get_many(&keys).unwrap() == expected);
        assert_eq!(list(&self.index), self.model);
    }

    fn settle(&self) {
        while self.index.write_frozen().unwrap() {}
        while self.index.merge().unwrap() {}
    }
}

fn list(index: &Index) -> BTreeMap<Multihash, Place> {
    let mut keys = index.snapshot().keys().unwrap();
    let found: Vec<_> = std::iter::from_fn(|| keys.next().unwrap()).collect();
    assert!(found.is_sorted_by(|(a, _), (b, _)| a < b));
    found.into_iter().collect()
}

fn checkpoint(offset: u32) -> Checkpoint {
    let content = Content { segment: 3, blocks: 5, alive: 6, all: 7 };
    Checkpoint { segment: 3, offset, segments: vec![content] }
}

#[test]
fn it_is_a_map() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = Tried::new(folder.path());
    tried.check(0..10);
    for round in 0..12 {
        tried.change((round * 500..round * 500 + 900).rev(), |n| n % 7 == round % 7);
        tried.check(round * 400..round * 500 + 1000);
        tried.index.freeze(checkpoint(round));
        // What is frozen and not written yet is there all the same, and is hidden by what is newer.
        tried.change((round * 300..round * 300 + 50).chain([3]), |n| n % 2 == 0);
        tried.check(round * 250..round * 500 + 1000);
        if round % 3 != 0 {
            tried.settle();
            assert!(tried.index.read().runs.len() <= 8);
        }
        tried.check(0..7000);
    }
    tried.index.freeze(checkpoint(99));
    tried.settle();
    let files = tried.index.files.clone();
    let index = Index::open(files, folder.path().to_owned()).unwrap().unwrap();
    assert_eq!((index.checkpoint(), index.table_len()), (checkpoint(99), 0));
    Tried { index, model: tried.model }.check(0..7000);
}

#[test]
fn what_is_deleted_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = Tried::new(folder.path());
    for delete in [false, true] {
        tried.change(0..3000, |_| delete);
        tried.index.freeze(checkpoint(1));
        tried.settle();
    }
    assert!(tried.index.read().runs.is_empty());
    tried.check(0..3000);
    let runs = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(runs, 1, "the manifest alone");
}

/// A listing shows one moment, though all is changed and merged meanwhile.
#[test]
fn a_snapshot_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = Tried::new(folder.path());
    tried.change(0..1000, |_| false);
    tried.index.freeze(checkpoint(1));
    tried.settle();
    tried.change(1000..1500, |_| false);
    let (snapshot, before) = (tried.index.snapshot(), tried.model.clone());
    tried.change(0..2000, |n| n % 2 == 0);
    tried.index.freeze(checkpoint(2));
    tried.settle();
    let mut keys = snapshot.keys().unwrap();
    let found: BTreeMap<_, _> = std::iter::from_fn(|| keys.next().unwrap()).collect();
    assert!(found == before);
}

/// Whatever byte of its files is changed: what is read is right, or is said to be damaged.
#[test]
fn damage_is_never_taken_for_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = Tried::new(folder.path());
    tried.change(0..120, |n| n % 5 == 0);
    tried.index.freeze(checkpoint(1));
    tried.settle();
    let run = folder.path().join("1.run");
    let good = fs::read(&run).unwrap();
    let manifest = folder.path().join("manifest");
    let good_manifest = fs::read(&manifest).unwrap();
    let files = || Arc::new(Disk::open(folder.path()).unwrap());
    let keys: Vec<Multihash> = (0..130).map(key).collect();
    let expected: Vec<_> = keys.iter().map(|key| tried.model.get(key).copied()).collect();
    let mut noticed = 0;
    let cuts = (0..good.len()).step_by(97).map(|at| good[..at].to_vec());
    let changes = (0..good.len()).step_by(13).map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 4;
        bad
    });
    for bad in cuts.chain(changes) {
        fs::write(&run, &bad).unwrap();
        fs::write(&manifest, &good_manifest).unwrap();
        let found = Index::open(files(), folder.path().to_owned())
            .and_then(|index| index.unwrap().get_many(&keys));
        match found {
            Ok(found) => assert!(found == expected),
            Err(PackError::Damaged { .. }) => {
                noticed += 1;
                // It is not believed again, though it was seen only when it was needed.
                let again = Index::open(files(), folder.path().to_owned());
                assert!(matches!(again, Ok(None) | Err(PackError::Damaged { .. })));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(noticed > good.len() / 20);
    fs::write(&manifest, &good_manifest).unwrap();
    fs::remove_file(&run).unwrap();
    let gone = Index::open(files(), folder.path().to_owned());
    assert!(matches!(gone, Err(PackError::Damaged { .. })));
}

#[test]
fn runs_are_merged_when_they_are_not_much_larger() {
    assert_eq!(due([].into_iter()), 0);
    assert_eq!(due([5].into_iter()), 0);
    assert_eq!(due([1, 1].into_iter()), 2);
    assert_eq!(due([1, 2, 9].into_iter()), 0);
    assert_eq!(due([1, 1, 2, 9].into_iter()), 3);
    assert_eq!(due([1, 1, 3, 9, 20].into_iter()), 5);
}
