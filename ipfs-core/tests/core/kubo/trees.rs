//! Trees on disk that look like chance, with what imports have stumbled over.

use std::{
    ffi::OsStr,
    fs, iter,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
};

use ipfs_core::unixfs::{Chunker, Params, Symlinks};

use crate::{content, numbers::Numbers};

/// The most bytes of a tree, so that many of them take little time.
const MOST_BYTES: usize = 6 << 20;

/// The most leaves of a file.
const MOST_LEAVES: usize = 1500;

/// Makes a tree, or one file, at `at`.
pub(super) fn grow(at: &Path, seed: u64, params: &Params) {
    let mut grower = Grower { numbers: Numbers(seed), params: params.clone(), left: MOST_BYTES };
    if grower.numbers.below(8) == 0 {
        return grower.boundary_file(at);
    }
    fs::create_dir(at).unwrap();
    for _ in 0..grower.numbers.within(1, 4) {
        grower.numbers.one(PARTS)(&mut grower, at);
    }
}

/// What trees are made of. A part adds to a directory, which may have some of it already.
const PARTS: &[fn(&mut Grower, &Path)] = &[
    Grower::boundary_files,
    Grower::empty_things,
    Grower::deep,
    Grower::wide,
    Grower::odd_names,
    Grower::hidden,
    Grower::the_same,
    Grower::links,
    Grower::subtree,
];

struct Grower {
    numbers: Numbers,
    params: Params,
    left: usize,
}

impl Grower {
    fn file(&mut self, path: &Path, len: usize) {
        let len = len.min(self.left);
        self.left -= len;
        let seed = self.numbers.next();
        let content = match self.numbers.below(6) {
            0 => vec![0; len],
            1 => content::bytes(seed, 1 + len / 5).repeat(5)[..len].to_vec(),
            _ => content::bytes(seed, len),
        };
        fs::write(path, content).unwrap();
    }

    /// A file of as many leaves as fill a level of its tree, or of one byte more or less.
    fn boundary_file(&mut self, path: &Path) {
        let (chunk, links) = (chunk(&self.params.chunker), self.params.max_links);
        let leaves = [0, 1, 2, links - 1, links, links + 1, links * links, links * links + 1];
        let leaves = self.numbers.one(&leaves).min(MOST_LEAVES);
        let len = (leaves * chunk + self.numbers.within(0, 2)).saturating_sub(1);
        self.file(path, len);
    }

    fn boundary_files(&mut self, at: &Path) {
        for _ in 0..self.numbers.within(1, 5) {
            let name = format!("file {}", self.numbers.below(1000));
            self.boundary_file(&at.join(name));
        }
    }

    fn empty_things(&mut self, at: &Path) {
        self.file(&at.join("an empty file"), 0);
        fs::create_dir_all(at.join("an empty directory")).unwrap();
        fs::create_dir_all(at.join("hollow/within/within")).unwrap();
    }

    fn deep(&mut self, at: &Path) {
        let depth = self.numbers.within(1, 60);
        let bottom = (0..depth).fold(at.to_owned(), |at, _| at.join("d"));
        fs::create_dir_all(&bottom).unwrap();
        self.file(&bottom.join("deepest"), 10);
    }

    fn wide(&mut self, at: &Path) {
        let wide = at.join("wide");
        fs::create_dir_all(&wide).unwrap();
        let (count, len) = (self.numbers.within(1, 600), self.numbers.within(0, 40));
        for number in 0..count {
            self.file(&wide.join(format!("{number:0width$}", width = 1 + number % 40)), len);
        }
    }

    fn odd_names(&mut self, at: &Path) {
        for _ in 0..self.numbers.within(1, 10) {
            let len = self.numbers.one(&[1, 2, 3, 10, 100, 254, 255]);
            let name: Vec<u8> = (0..len).map(|_| self.byte_of_a_name()).collect();
            // A dot at the start hides, and another part has a directory of the name `d`.
            let taken = name[0] == b'.' || name == b"d";
            let name = if taken { vec![b'_'] } else { name };
            self.file(&at.join(OsStr::from_bytes(&name)), 3);
        }
        for name in ODD_NAMES {
            if self.numbers.coin() {
                self.file(&at.join(name), 4);
            }
        }
    }

    /// Any that a name may have, so that most names are no UTF-8.
    fn byte_of_a_name(&mut self) -> u8 {
        match self.numbers.below(256) as u8 {
            0 | b'/' => 0x7f,
            byte => byte,
        }
    }

    fn hidden(&mut self, at: &Path) {
        self.file(&at.join(".hidden"), 20);
        fs::create_dir_all(at.join(".d/.e")).unwrap();
        self.file(&at.join(".d/shown"), 20);
        self.file(&at.join(".d/.e/..f"), 1);
    }

    fn the_same(&mut self, at: &Path) {
        let content = content::bytes(self.numbers.below(3), self.numbers.within(0, 3000));
        for name in ["same/a", "same/b", "same/c/a", "same/d/a"] {
            let path = at.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &content).unwrap();
        }
    }

    fn links(&mut self, at: &Path) {
        self.file(&at.join("target"), 30);
        fs::create_dir_all(at.join("another/one")).unwrap();
        self.file(&at.join("another/file"), 30);
        let followed = self.params.symlinks == Symlinks::Followed;
        let directory = if followed { "another" } else { "." };
        for (name, target) in [("to a file", "target"), ("to a directory", directory)] {
            // It may be there from another part of the same kind.
            drop(fs::remove_file(at.join(name)));
            symlink(target, at.join(name)).unwrap();
        }
        // One that leads nowhere can not be followed.
        if !followed && self.numbers.coin() {
            let target: Vec<u8> = (0..30).map(|_| self.byte_of_a_name()).collect();
            drop(fs::remove_file(at.join("to nowhere")));
            symlink(OsStr::from_bytes(&target), at.join("to nowhere")).unwrap();
        }
    }

    fn subtree(&mut self, at: &Path) {
        let within = at.join(format!("sub {}", self.numbers.below(20)));
        fs::create_dir_all(&within).unwrap();
        for _ in 0..2 {
            self.numbers.one(PARTS)(self, &within);
        }
    }
}

const ODD_NAMES: &[&str] = &[
    " ",
    "-",
    "--help",
    "...",
    "a b\tc",
    "new\nline",
    "back\\slash",
    "%2F",
    "%00",
    "*",
    "C:",
    "con",
    "\u{feff}bom",
    "\u{202e}right to left",
    "e\u{301}",
    "\u{e9}",
    "\u{1f980}",
    "\u{7f}",
];

/// About how many bytes a leaf has.
fn chunk(chunker: &Chunker) -> usize {
    match *chunker {
        Chunker::Fixed(size) => size,
        Chunker::Rabin { avg, .. } => avg,
        _ => 200_000,
    }
}

/// What stands at a path: `d`, `f` and the content, or `l` and the target.
type Found = (u8, Vec<u8>);

/// All that is below a path and at it, by path, names in bytes.
pub(super) fn read(at: &Path, links: Symlinks) -> Vec<(PathBuf, Found)> {
    let mut all = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let whole = if path == Path::new("") { at.to_owned() } else { at.join(&path) };
        let kind = match links {
            Symlinks::Followed => fs::metadata(&whole).unwrap().file_type(),
            _ => fs::symlink_metadata(&whole).unwrap().file_type(),
        };
        let found = if kind.is_dir() {
            let entries = fs::read_dir(&whole).unwrap();
            pending.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
            (b'd', Vec::new())
        } else if kind.is_symlink() {
            (b'l', fs::read_link(&whole).unwrap().as_os_str().as_bytes().to_vec())
        } else {
            (b'f', fs::read(&whole).unwrap())
        };
        all.push((path, found));
    }
    all.sort();
    all
}

/// Of what is on disk, what an import with these parameters takes, whose rules leave out nothing.
pub(super) fn taken(at: &Path, params: &Params) -> Vec<(PathBuf, Found)> {
    let all = read(at, params.symlinks);
    let is_hidden = |path: &Path| path.iter().any(|name| name.as_bytes().starts_with(b"."));
    let shown: Vec<_> =
        all.into_iter().filter(|(path, _)| params.hidden || !is_hidden(path)).collect();
    let is_empty = |at: &Path| !shown.iter().any(|(path, _)| path.parent() == Some(at));
    let is_kept = |(path, (kind, _)): &&(PathBuf, Found)| {
        *kind != b'd' || params.empty_directories || path == Path::new("") || !is_empty(path)
    };
    let kept = shown.iter().filter(is_kept).cloned();
    let Some(name) = &params.wrap else { return kept.collect() };
    let within = Path::new(OsStr::from_bytes(name));
    let root = (PathBuf::new(), (b'd', Vec::new()));
    iter::once(root).chain(kept.map(|(path, found)| (within.join(path), found))).collect()
}

/// Where two trees begin to differ.
pub(super) fn difference(a: &[(PathBuf, Found)], b: &[(PathBuf, Found)]) -> Option<String> {
    let short = |(kind, content): &Found| {
        let some = content[..content.len().min(40)].escape_ascii();
        format!("{} of {} bytes, {some}", char::from(*kind), content.len())
    };
    match a.iter().zip(b).find(|(a, b)| a != b) {
        None if a.len() == b.len() => None,
        None => Some(format!("{} entries and {}", a.len(), b.len())),
        Some(((at, a), (other, b))) => {
            Some(format!("{at:?} ({}) and {other:?} ({})", short(a), short(b)))
        }
    }
}
