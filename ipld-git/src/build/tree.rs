//! New trees.

use super::check_format;
use crate::{Kind, Mode, ObjectFormat, ObjectId, Result, compare_names, error::value, with_header};

/// Makes a tree. Entries may come in any order.
///
/// ```
/// use ipld_git::{Mode, Object, ObjectFormat, TreeBuilder, blob};
///
/// let file = ObjectFormat::Sha1.hash(&blob(b"hello\n"))?;
/// let tree = TreeBuilder::new(ObjectFormat::Sha1)
///     .entry(Mode::FILE, "b", file)
///     .entry(Mode::EXECUTABLE, "a", file)
///     .build()?;
/// let Object::Tree(tree) = Object::parse(ObjectFormat::Sha1, &tree)? else { panic!() };
/// assert_eq!(tree.entries().map(|entry| entry.name).collect::<Vec<_>>(), [b"a", b"b"]);
/// # Ok::<(), ipld_git::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TreeBuilder {
    format: ObjectFormat,
    entries: Vec<NewEntry>,
    /// The names, one behind the other.
    names: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct NewEntry {
    mode: Mode,
    name: (usize, usize),
    id: ObjectId,
}

/// The modes that git writes, and the one that it wrote once: octal, without zeroes in front.
const fn mode_text(mode: Mode) -> Option<&'static [u8]> {
    Some(match mode {
        Mode::TREE => b"40000",
        Mode::FILE => b"100644",
        Mode::EXECUTABLE => b"100755",
        Mode::GROUP_WRITABLE => b"100664",
        Mode::LINK => b"120000",
        Mode::SUBMODULE => b"160000",
        _ => return None,
    })
}

impl TreeBuilder {
    /// An empty tree.
    pub const fn new(format: ObjectFormat) -> Self {
        Self { format, entries: Vec::new(), names: Vec::new() }
    }

    /// Adds an entry.
    pub fn entry(mut self, mode: Mode, name: impl AsRef<[u8]>, id: ObjectId) -> Self {
        self.push(mode, name, id);
        self
    }

    /// Adds an entry, where there are many.
    pub fn push(&mut self, mode: Mode, name: impl AsRef<[u8]>, id: ObjectId) {
        let start = self.names.len();
        self.names.extend_from_slice(name.as_ref());
        self.entries.push(NewEntry { mode, name: (start, self.names.len()), id });
    }

    /// The object.
    ///
    /// # Errors
    ///
    /// [`Error::Value`](crate::Error::Value) for a name that stands there twice or that git refuses
    /// (empty, `.`, `..`, `.git`, with a slash or a NUL), for a mode that is not one of the
    /// constants of [`Mode`], and for an id of another hash function.
    pub fn build(&self) -> Result<Vec<u8>> {
        let name = |entry: &NewEntry| &self.names[entry.name.0..entry.name.1];
        let mut sorted = self.entries.clone();
        sorted.sort_by(|a, b| compare_names(name(a), a.mode, name(b), b.mode));
        let mut out = Vec::with_capacity(self.names.len() + 40 * sorted.len());
        for entry in &sorted {
            self.check(entry, name(entry))?;
            let mode = mode_text(entry.mode);
            let mode = mode.ok_or_else(|| value("mode", "git has no such mode"))?;
            write_entry(mode, name(entry), &entry.id, &mut out);
        }
        self.check_twice(&sorted)?;
        Ok(with_header(Kind::Tree, &out))
    }

    fn check(&self, entry: &NewEntry, name: &[u8]) -> Result<()> {
        check_format(self.format, &entry.id, "entry")?;
        let refused = matches!(name, b"" | b"." | b"..") || name.eq_ignore_ascii_case(b".git");
        if refused || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(value("name", "git refuses it"));
        }
        Ok(())
    }

    /// A file and a directory of one name need not stand side by side: `a`, `a.b`, `a/`.
    fn check_twice(&self, sorted: &[NewEntry]) -> Result<()> {
        let name = |entry: &NewEntry| &self.names[entry.name.0..entry.name.1];
        let mut twice = sorted.windows(2).any(|pair| name(&pair[0]) == name(&pair[1]));
        if !twice && sorted.iter().any(|entry| entry.mode.is_tree()) {
            let mut names: Vec<&[u8]> = sorted.iter().map(name).collect();
            names.sort_unstable();
            twice = names.windows(2).any(|pair| pair[0] == pair[1]);
        }
        if twice { Err(value("name", "it stands there twice")) } else { Ok(()) }
    }
}

pub(crate) fn write_entry(mode: &[u8], name: &[u8], id: &ObjectId, out: &mut Vec<u8>) {
    out.extend_from_slice(mode);
    out.push(b' ');
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(id.as_bytes());
}
