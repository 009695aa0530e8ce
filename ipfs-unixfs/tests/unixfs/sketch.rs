//! Trees as plain values: made into blocks, read from a disk, and from the parts of an archive.

use std::{collections::BTreeMap, fs, path::Path};

use ipfs_traits::{Block, codes};
use ipfs_unixfs::{
    data::{Kind, Mtime, NewData},
    tar,
};
use proptest::prelude::*;

use crate::{
    content::Desk,
    export::{put, put_linked},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sketch {
    pub(crate) is: Is,
    pub(crate) mode: Option<u32>,
    pub(crate) mtime: Option<Mtime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Sketch>),
    Link(Vec<u8>),
}

pub(crate) fn file(bytes: &[u8]) -> Sketch {
    Sketch { is: Is::File(bytes.to_vec()), mode: None, mtime: None }
}

pub(crate) fn link(target: &[u8]) -> Sketch {
    Sketch { is: Is::Link(target.to_vec()), mode: None, mtime: None }
}

pub(crate) fn directory<const N: usize>(entries: [(&str, Sketch); N]) -> Sketch {
    let entries = entries.map(|(name, entry)| (name.as_bytes().to_vec(), entry));
    Sketch { is: Is::Directory(entries.into()), mode: None, mtime: None }
}

pub(crate) const fn at(seconds: i64, nanos: Option<u32>) -> Option<Mtime> {
    Some(Mtime { seconds, nanos })
}

impl Sketch {
    pub(crate) fn with(mut self, mode: Option<u32>, mtime: Option<Mtime>) -> Self {
        (self.mode, self.mtime) = (mode, mtime);
        self
    }

    /// Its blocks; files have leaves of at most 1,000 bytes.
    pub(crate) fn store(&self, desk: &Desk) -> Block {
        let (mode, mtime) = (self.mode, self.mtime);
        match &self.is {
            Is::File(bytes) if self.mode.is_none() && mtime.is_none() && bytes.len() <= 1000 => {
                put(desk, codes::RAW, bytes.clone())
            }
            Is::File(bytes) => {
                let leaves: Vec<Block> =
                    bytes.chunks(1000).map(|leaf| put(desk, codes::RAW, leaf.to_vec())).collect();
                let sizes = leaves.iter().map(|leaf| leaf.len() as u64).collect();
                let file_size = Some(bytes.len() as u64);
                let data = NewData {
                    file_size,
                    block_sizes: sizes,
                    mode,
                    mtime,
                    ..NewData::of(Kind::File)
                };
                let links: Vec<_> = leaves.iter().map(|leaf| (&b""[..], leaf)).collect();
                put_linked(desk, &links, &data)
            }
            Is::Link(target) => {
                let content = Some(&target[..]);
                let data = NewData { content, mode, mtime, ..NewData::of(Kind::Symlink) };
                put_linked(desk, &[], &data)
            }
            Is::Directory(entries) => {
                let blocks: Vec<_> =
                    entries.iter().map(|(name, entry)| (&name[..], entry.store(desk))).collect();
                let links: Vec<_> = blocks.iter().map(|(name, block)| (*name, block)).collect();
                put_linked(desk, &links, &NewData { mode, mtime, ..NewData::of(Kind::Directory) })
            }
        }
    }

    /// What is at a path, with all modes and times.
    #[cfg(unix)]
    pub(crate) fn on_disk(path: &Path) -> Self {
        use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
        let metadata = fs::symlink_metadata(path).unwrap();
        let is = if metadata.is_dir() {
            let entries = fs::read_dir(path).unwrap().map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().as_bytes().to_vec(), Self::on_disk(&entry.path()))
            });
            Is::Directory(entries.collect())
        } else if metadata.is_symlink() {
            Is::Link(fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
        } else {
            Is::File(fs::read(path).unwrap())
        };
        let mtime = at(metadata.mtime(), Some(metadata.mtime_nsec() as u32));
        Self { is, mode: Some(metadata.mode() & 0o7777), mtime }
    }

    /// What the parts of an archive say, which must begin with the root.
    pub(crate) fn of_archive(parts: Vec<tar::Part>) -> (Vec<u8>, Self) {
        let mut root: Option<(Vec<u8>, Self)> = None;
        let mut parts = parts.into_iter();
        while let Some(part) = parts.next() {
            let tar::Part::Entry(entry) = part else { panic!("{part:?}") };
            let is = match entry.kind {
                tar::Kind::Directory => Is::Directory(BTreeMap::new()),
                tar::Kind::Symlink { target } => Is::Link(target.to_vec()),
                tar::Kind::File { size } => {
                    let mut bytes = Vec::new();
                    loop {
                        match parts.next().unwrap() {
                            tar::Part::Data(data) => bytes.extend(data),
                            tar::Part::End => break,
                            tar::Part::Entry(entry) => panic!("{entry:?}"),
                        }
                    }
                    assert_eq!(bytes.len() as u64, size);
                    Is::File(bytes)
                }
            };
            let new = Self { is, mode: Some(entry.mode), mtime: entry.mtime };
            let (first, rest) = entry.path.split_first().unwrap();
            let Some((name, root)) = &mut root else {
                assert!(rest.is_empty());
                root = Some((first.to_vec(), new));
                continue;
            };
            assert_eq!(first.as_bytes(), name);
            let (last, way) = rest.split_last().unwrap();
            let above = way.iter().fold(root, |at, name| match &mut at.is {
                Is::Directory(entries) => entries.get_mut(&name[..]).unwrap(),
                other => panic!("{other:?}"),
            });
            let Is::Directory(entries) = &mut above.is else { panic!("{above:?}") };
            assert_eq!(entries.insert(last.to_vec(), new), None);
        }
        root.unwrap()
    }

    /// Whether `found` is this tree, with rights and nothing else for modes, and whatever it likes
    /// where nothing is said; 0 is no mode. `shown` are the modes of what says none, if they must be
    /// these.
    pub(crate) fn assert_is(&self, found: &Self, shown: bool) {
        let default = match &self.is {
            Is::File(_) => 0o644,
            Is::Directory(_) => 0o755,
            Is::Link(_) => 0o777,
        };
        let said = self.mode.filter(|mode| *mode != 0);
        if shown || (said.is_some() && !matches!(self.is, Is::Link(_))) {
            let want = said.map_or(default, |mode| mode & 0o777);
            assert_eq!(found.mode, Some(want), "{self:?}");
        }
        if let Some(Mtime { seconds, nanos }) = self.mtime {
            let Mtime { seconds: s, nanos: n } =
                found.mtime.unwrap_or(Mtime { seconds: 0, nanos: None });
            assert_eq!((s, n.unwrap_or(0)), (seconds, nanos.unwrap_or(0)), "{self:?}");
        } else if shown {
            assert_eq!(found.mtime, None);
        }
        match (&self.is, &found.is) {
            (Is::Directory(want), Is::Directory(got)) => {
                assert!(want.keys().eq(got.keys()), "{:?} {:?}", want.keys(), got.keys());
                want.iter().for_each(|(name, entry)| entry.assert_is(&got[name], shown));
            }
            (want, got) => assert_eq!(want, got),
        }
    }
}

/// A name of any bytes that a disk holds.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no name", |byte| ![0, b'/'].contains(byte));
    let odd = prop::collection::vec(byte, 1..20);
    prop_oneof![
        2 => odd.prop_filter("elsewhere", |name| name != b"." && name != b".."),
        2 => "[a-zäß .-]{1,12}".prop_map(String::into_bytes)
            .prop_filter("elsewhere", |name| name != b"." && name != b".."),
        1 => (60..=255_usize).prop_map(|len| vec![b'n'; len]),
    ]
}

/// Trees of all kinds. Owners keep the right to look into them and to remove them, so that a test
/// need not be root's; times are such that common file systems hold them.
pub(crate) fn sketches() -> impl Strategy<Value = Sketch> {
    let nanos = prop::option::of(0..1_000_000_000_u32);
    let mtime = prop::option::of((-(1_i64 << 31)..(1 << 33), nanos));
    let mtime = mtime.prop_map(|said| said.and_then(|(seconds, nanos)| at(seconds, nanos)));
    let mode = prop::option::of(any::<u32>());
    let about = (mode, mtime);
    let file = prop::collection::vec(any::<u8>(), 0..3000).prop_map(Is::File);
    let target = prop::collection::vec(1..=255_u8, 1..200).prop_map(Is::Link);
    let leaf = (prop_oneof![3 => file, 1 => target], about.clone())
        .prop_map(|(is, (mode, mtime))| Sketch { is, mode: mode.map(|mode| mode | 0o400), mtime });
    leaf.prop_recursive(4, 24, 6, move |inner| {
        (prop::collection::btree_map(name(), inner, 0..6), about.clone()).prop_map(
            |(entries, (mode, mtime))| {
                let mode = mode.map(|mode| mode | 0o700);
                Sketch { is: Is::Directory(entries), mode, mtime }
            },
        )
    })
}
