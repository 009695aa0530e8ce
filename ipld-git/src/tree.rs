//! Trees: directories.

use std::cmp::Ordering;

use crate::{
    Kind, ObjectFormat, ObjectId, Result,
    error::malformed,
    object::Raw,
    scan::{find, work},
};

/// A tree, read in place.
///
/// Each entry is `mode SP name NUL id`. Git needs a mode of octal digits and a name of at least one
/// byte; it writes entries in the order of [`compare_names`] and each name once, but reads others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree<'a> {
    raw: Raw<'a>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(raw: Raw<'a>) -> Result<Self> {
        let mut rest = raw.content();
        while !rest.is_empty() {
            rest = split(raw.format, rest)?.rest;
        }
        Ok(Self { raw })
    }

    pub(crate) const fn raw(&self) -> &Raw<'a> {
        &self.raw
    }

    /// All of it, header included: what git hashes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.raw.bytes
    }

    /// The entries, in the order of the bytes.
    pub fn entries(&self) -> Entries<'a> {
        Entries { format: self.raw.format, rest: self.raw.content() }
    }

    /// The first entry of this name, as git finds it.
    pub fn entry(&self, name: &[u8]) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.name == name)
    }
}

/// The entries of a tree.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    format: ObjectFormat,
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        // The tree was checked when it was parsed; its end is the only thing that is no entry.
        let Parts { mode, name, id, rest } = split(self.format, self.rest).ok()?;
        self.rest = rest;
        Some(Entry { mode, name, id: ObjectId::new(self.format, id) })
    }
}

/// How many octal digits `bytes` begin with, where a space follows them.
#[inline(always)]
fn mode_len(bytes: &[u8]) -> Option<usize> {
    // Nearly all are one of these.
    if bytes.starts_with(b"100644 ") || bytes.starts_with(b"100755 ") {
        return Some(6);
    }
    if bytes.starts_with(b"40000 ") {
        return Some(5);
    }
    let digits = bytes.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    (digits > 0 && bytes.get(digits) == Some(&b' ')).then_some(digits)
}

/// An entry, and what follows it.
struct Parts<'a> {
    mode: &'a [u8],
    name: &'a [u8],
    id: &'a [u8],
    rest: &'a [u8],
}

/// The entry at the start of `bytes`.
#[inline(always)]
fn split(format: ObjectFormat, bytes: &[u8]) -> Result<Parts<'_>> {
    let wrong = |reason| malformed(Kind::Tree, reason);
    let digits = mode_len(bytes).ok_or_else(|| wrong("an entry has no octal mode"))?;
    let (mode, rest) = (&bytes[..digits], &bytes[digits + 1..]);
    let end = find(0, rest).ok_or_else(|| wrong("a name has no end"))?;
    if end == 0 {
        return Err(wrong("an entry has no name"));
    }
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    match rest.split_at_checked(format.id_len()) {
        Some((id, rest)) => Ok(Parts { mode, name, id, rest }),
        None => Err(wrong("the id of an entry is cut off")),
    }
}

/// An entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The mode as it stands: octal digits. Git writes no zeroes in front, but old tools did.
    pub mode: &'a [u8],
    /// The name.
    pub name: &'a [u8],
    /// The object; of another repository if this is a submodule.
    pub id: ObjectId,
}

impl Entry<'_> {
    /// The mode as a number.
    pub fn mode(&self) -> Mode {
        // Digits too many fall out at the left, as they do in git.
        Mode(
            self.mode.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit.wrapping_sub(b'0'))),
        )
    }
}

/// The mode of a tree's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mode(pub u32);

impl Mode {
    /// A directory.
    pub const TREE: Self = Self(0o040_000);
    /// A file.
    pub const FILE: Self = Self(0o100_644);
    /// A file that can be executed.
    pub const EXECUTABLE: Self = Self(0o100_755);
    /// A file as early git wrote it where the group may write. Git reads it; strict checks do not
    /// like it.
    pub const GROUP_WRITABLE: Self = Self(0o100_664);
    /// A symbolic link; the blob is its target.
    pub const LINK: Self = Self(0o120_000);
    /// A submodule: a commit of another repository.
    pub const SUBMODULE: Self = Self(0o160_000);

    const fn file_type(self) -> u32 {
        self.0 & 0o170_000
    }

    /// Whether it is a directory.
    pub const fn is_tree(self) -> bool {
        self.file_type() == Self::TREE.0
    }

    /// Whether it is a submodule.
    pub const fn is_submodule(self) -> bool {
        self.file_type() == Self::SUBMODULE.0
    }

    /// Whether it is a symbolic link.
    pub const fn is_link(self) -> bool {
        self.file_type() == Self::LINK.0
    }

    /// Whether it is a file that can be executed.
    pub const fn is_executable(self) -> bool {
        self.file_type() == 0o100_000 && self.0 & 0o100 != 0
    }

    /// The type of the object: what is neither a directory nor a submodule is a blob.
    pub const fn kind(self) -> Kind {
        if self.is_tree() {
            Kind::Tree
        } else if self.is_submodule() {
            Kind::Commit
        } else {
            Kind::Blob
        }
    }
}

/// Git's order of entries: bytewise, a directory as if its name ended with a slash.
pub fn compare_names(a: &[u8], a_mode: Mode, b: &[u8], b_mode: Mode) -> Ordering {
    let common = a.len().min(b.len());
    work::add(common + 1);
    // What comes behind the part that both have.
    let next = |name: &[u8], mode: Mode| match name.get(common) {
        Some(byte) => *byte,
        None if mode.is_tree() => b'/',
        None => 0,
    };
    a[..common]
        .cmp(&b[..common])
        .then_with(|| next(a, a_mode).cmp(&next(b, b_mode)))
        // So that it is an order among names with slashes, too, which git does not write.
        .then_with(|| a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_sort_as_if_a_slash_followed() {
        let order = |a: &str, am, b: &str, bm| compare_names(a.as_bytes(), am, b.as_bytes(), bm);
        let (tree, file) = (Mode::TREE, Mode::FILE);
        assert_eq!(order("a", tree, "a.b", file), Ordering::Greater);
        assert_eq!(order("a", file, "a.b", file), Ordering::Less);
        assert_eq!(order("a", tree, "a0", file), Ordering::Less);
        assert_eq!(order("a", tree, "a", tree), Ordering::Equal);
        assert_eq!(order("a", file, "a", tree), Ordering::Less);
    }

    #[test]
    fn modes_mean_what_git_takes_them_for() {
        for (text, mode, kind) in [
            ("040000", Mode::TREE, Kind::Tree),
            ("100664", Mode::GROUP_WRITABLE, Kind::Blob),
            ("160000", Mode::SUBMODULE, Kind::Commit),
            ("120000", Mode::LINK, Kind::Blob),
            ("70000000000040000", Mode::TREE, Kind::Tree),
            ("0", Mode(0), Kind::Blob),
        ] {
            let id = ObjectId::new(ObjectFormat::Sha1, &[0; 20]);
            let entry = Entry { mode: text.as_bytes(), name: b"a", id };
            assert_eq!((entry.mode(), entry.mode().kind()), (mode, kind), "{text}");
        }
        assert!(Mode(0o100_744).is_executable() && !Mode::FILE.is_executable());
        assert!(Mode::LINK.is_link() && !Mode::SUBMODULE.is_link());
    }
}
