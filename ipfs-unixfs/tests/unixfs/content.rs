//! Content for tests, made from a description.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use ipfs_traits::{Blockstore, HashTable, VirtualRuntime, codes, memory::MemoryStore};
use ipfs_unixfs::{Exporter, Imported, Importer, NewEntry, Params, data::Mtime};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::Value;

use crate::support::{folder, hex};

/// A store with an importer and an exporter, on a clock of its own.
pub(crate) struct Desk {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) store: Arc<MemoryStore>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { runtime: VirtualRuntime::new(), store: Arc::new(MemoryStore::new()) }
    }

    pub(crate) fn importer(&self, params: Params) -> Importer {
        Importer::new(self.store.clone(), Arc::new(self.runtime.clone())).params(params)
    }

    pub(crate) fn exporter(&self) -> Exporter {
        let source = Arc::new(ipfs_traits::Local(self.store.clone()));
        Exporter::new(source, Arc::new(self.runtime.clone()))
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    /// How many blocks are stored.
    pub(crate) fn store_len(&self) -> usize {
        let pages: Vec<_> = self.run(self.store.list().try_collect()).unwrap();
        pages.iter().map(Vec::len).sum()
    }

    pub(crate) fn import_bytes(&self, bytes: Vec<u8>, params: Params) -> Imported {
        self.run(self.importer(params).bytes(bytes)).unwrap()
    }
}

fn seed(text: &str) -> [u8; 32] {
    let hash = HashTable::standard().hash(codes::SHA2_256, text.as_bytes()).unwrap();
    hash.digest().try_into().unwrap()
}

/// The first `len` bytes of the ChaCha20 key stream of a seed.
pub(crate) fn chacha20(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha20Rng::from_seed(seed(text)).fill_bytes(&mut bytes);
    bytes
}

fn chacha8rand(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    chacha8rand::ChaCha8Rand::new(&seed(text)).read_bytes(&mut bytes);
    bytes
}

/// The bytes of a file that is described; `None` when the description names a file that is not
/// here.
pub(crate) fn file(node: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| node[key].as_str().unwrap_or_default();
    let len = || node["n"].as_u64().unwrap() as usize;
    Some(match text("t") {
        "text" => text("v").as_bytes().to_vec(),
        "hex" => hex(text("v")),
        "fill" => vec![node["byte"].as_u64().unwrap() as u8; len()],
        "chacha20" => chacha20(text("seed"), len()),
        "chacha8rand" => chacha8rand(text("seed_text"), len()),
        "file" => fs::read(folder().join("unixfs").join(text("v"))).ok()?,
        other => panic!("{other}"),
    })
}

/// Makes what is described on disk, below `folder`; `None` when it needs a file that is not here.
pub(crate) fn on_disk(node: &Value, folder: &Path) -> Option<PathBuf> {
    let root = folder.join("root");
    put(node, &root)?;
    Some(root)
}

fn put(node: &Value, path: &Path) -> Option<()> {
    match node["t"].as_str().unwrap() {
        "dir" => fs::create_dir_all(path).unwrap(),
        "symlink" => symlink(node["target"].as_str().unwrap(), path),
        "tree" => {
            fs::create_dir_all(path).unwrap();
            for entry in node["entries"].as_array().unwrap() {
                let place = path.join(entry[0].as_str().unwrap());
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                put(&entry[1], &place)?;
            }
        }
        "tree_seq" => {
            fs::create_dir_all(path).unwrap();
            for (name, content) in sequence(node) {
                match content {
                    Some(content) => fs::write(path.join(name), content).unwrap(),
                    None => fs::create_dir(path.join(name)).unwrap(),
                }
            }
        }
        "tree_chacha20_names" => {
            fs::create_dir_all(path).unwrap();
            let content = file(&node["content"])?;
            for name in names(node) {
                fs::write(path.join(name), &content).unwrap();
            }
        }
        _ => fs::write(path, file(node)?).unwrap(),
    }
    Some(())
}

/// The same as entries, with the modes and times that are described, those of the root by `about`;
/// `None` when it needs a file that is not here.
pub(crate) fn as_entries(node: &Value, about: &Value) -> Option<Vec<NewEntry>> {
    let mut entries = Vec::new();
    add_entry(node, Vec::new(), about, about["explicit_mode"] == true, &mut entries)?;
    Some(entries)
}

fn add_entry(
    node: &Value,
    path: Vec<String>,
    about: &Value,
    explicit: bool,
    entries: &mut Vec<NewEntry>,
) -> Option<()> {
    let within = |name: &str| {
        let names = name.split('/').filter(|name| !name.is_empty()).map(String::from);
        path.iter().cloned().chain(names).collect::<Vec<_>>()
    };
    let (mut entry, default) = match node["t"].as_str().unwrap() {
        "dir" => (NewEntry::directory(path), 0o755),
        "symlink" => (NewEntry::symlink(path, node["target"].as_str().unwrap().to_owned()), 0o777),
        "tree" => {
            for entry in node["entries"].as_array().unwrap() {
                let about = entry.get(2).unwrap_or(&Value::Null);
                add_entry(&entry[1], within(entry[0].as_str().unwrap()), about, explicit, entries)?;
            }
            return Some(());
        }
        "tree_seq" => {
            for (name, content) in sequence(node) {
                let entry = match content {
                    Some(content) => NewEntry::file(within(&name), content),
                    None => NewEntry::directory(within(&name)),
                };
                entries.push(entry);
            }
            return Some(());
        }
        "tree_chacha20_names" => {
            let content = file(&node["content"])?;
            let named = names(node).into_iter();
            entries.extend(named.map(|name| NewEntry::file(within(&name), content.clone())));
            return Some(());
        }
        _ => (NewEntry::file(path, file(node)?), 0o644),
    };
    let mode = about["mode"].as_str().map(|mode| u32::from_str_radix(mode, 8).unwrap());
    entry.mode = mode.filter(|mode| explicit || *mode != default);
    entry.mtime = about["mtime"].as_i64().map(|seconds| {
        let nanos = about["mtime_nsecs"].as_u64().map(|nanos| nanos as u32);
        Mtime { seconds, nanos }
    });
    entries.push(entry);
    Some(())
}

/// The names of a numbered tree, each with the content of its file, or none for a directory.
fn sequence(node: &Value) -> Vec<(String, Option<String>)> {
    let number = |key: &str| node[key].as_u64().unwrap();
    let entry = |i: u64| {
        let fill =
            |text: &str| text.replace("{i:06d}", &format!("{i:06}")).replace("{i}", &i.to_string());
        (fill(node["name"].as_str().unwrap()), node["content"].as_str().map(fill))
    };
    (number("from")..=number("to")).map(entry).collect()
}

fn names(node: &Value) -> Vec<String> {
    const ALPHABET: &[u8; 39] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let number = |key: &str| node[key].as_u64().unwrap() as usize;
    let (count, len, last) = (number("count"), number("name_len"), number("last_name_len"));
    let stream = chacha20(node["seed"].as_str().unwrap(), (count - 1) * len + last);
    let name = |bytes: &[u8]| {
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 39])).collect()
    };
    let (most, rest) = stream.split_at((count - 1) * len);
    most.chunks(len).chain([rest]).map(name).collect()
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

#[cfg(windows)]
fn symlink(target: &str, path: &Path) {
    std::os::windows::fs::symlink_file(target, path).unwrap();
}
