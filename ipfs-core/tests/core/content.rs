//! Files to import, and trees to compare.

use std::{collections::BTreeMap, fs, path::Path};

use crate::numbers::Numbers;

/// Bytes that look like chance, the same for a seed.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend(numbers.next().to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A directory with something of everything: deep, empty, large, many, and odd names.
pub(crate) fn tree(at: &Path, seed: u64) {
    let file = |name: &str, len| {
        let path = at.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(seed ^ len as u64, len)).unwrap();
    };
    file("empty", 0);
    file("small.txt", 11);
    file("one chunk", 1 << 20);
    file("large.bin", (5 << 20) + 123);
    file("a/b/c/d/deep", 300_000);
    file("ünï/çødé ✓", 5);
    fs::create_dir(at.join("nothing")).unwrap();
    (0..200).for_each(|n| file(&format!("many/{n}"), 100 + n));
    #[cfg(unix)]
    std::os::unix::fs::symlink("../small.txt", at.join("a/link")).unwrap();
}

/// All that is below a directory: what each path is, or holds.
pub(crate) fn read(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    add(at, at, &mut all);
    all
}

fn add(root: &Path, at: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
    let name = at.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let kind = fs::symlink_metadata(at).unwrap().file_type();
    if kind.is_dir() {
        all.insert(name + "/", Vec::new());
        for entry in fs::read_dir(at).unwrap() {
            add(root, &entry.unwrap().path(), all);
        }
    } else if kind.is_symlink() {
        let target = fs::read_link(at).unwrap();
        all.insert(name + "@", target.to_str().unwrap().into());
    } else {
        all.insert(name, fs::read(at).unwrap());
    }
}
