//! Any git object: its header, and what follows it.

use crate::{
    Blob, Commit, Error, Kind, Links, ObjectFormat, ObjectId, Result, Tag, Tree, scan::find,
};

/// A git object, read in place.
///
/// Its bytes are those that git hashes: `type SP size NUL` and the content. All that is given out
/// borrows them; where they are a `bytes::Bytes`, its `slice_ref` turns what was given out into a
/// handle that shares their memory.
///
/// ```
/// use bytes::Bytes;
/// use ipld_git::{Object, ObjectFormat};
///
/// let block = Bytes::from_static(b"blob 5\0hello");
/// let object = Object::parse(ObjectFormat::Sha1, &block)?;
/// let Object::Blob(blob) = object else { unreachable!() };
/// let content: Bytes = block.slice_ref(blob.content());
/// assert_eq!(content, "hello");
/// assert_eq!(object.id()?.to_string(), "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
/// # Ok::<(), ipld_git::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// Content of a file.
    Blob(Blob<'a>),
    /// A directory.
    Tree(Tree<'a>),
    /// A commit.
    Commit(Commit<'a>),
    /// An annotated tag.
    Tag(Tag<'a>),
}

/// What all objects have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    pub(crate) format: ObjectFormat,
    pub(crate) bytes: &'a [u8],
    /// Where the content begins.
    pub(crate) content: usize,
}

impl<'a> Raw<'a> {
    pub(crate) fn content(&self) -> &'a [u8] {
        &self.bytes[self.content..]
    }
}

/// The longest header: `commit`, a space, 20 digits, and NUL.
const MAX_HEADER: usize = 28;

/// Reads `type SP size NUL`: the type, the declared size, and the length of it all.
///
/// # Errors
///
/// [`Error::Header`]: for another type than git's four, and for a size that is not written as git
/// writes it, in decimal digits without a sign, a space or a leading zero.
pub fn read_header(bytes: &[u8]) -> Result<(Kind, u64, usize)> {
    let start = &bytes[..bytes.len().min(MAX_HEADER)];
    let end = find(0, start).ok_or(Error::Header)?;
    let space = find(b' ', &start[..end]).ok_or(Error::Header)?;
    let kind = Kind::of_name(&start[..space]).ok_or(Error::Header)?;
    let digits = &start[space + 1..end];
    if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
        return Err(Error::Header);
    }
    let size = digits.iter().try_fold(0_u64, |size, digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        size.checked_mul(10)?.checked_add(value)
    });
    Ok((kind, size.ok_or(Error::Header)?, end + 1))
}

/// The bytes of an object: the header that git gives this content, and the content.
pub fn with_header(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_HEADER + content.len());
    write_header(kind, content.len(), &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

pub(crate) fn write_header(kind: Kind, size: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(kind.name().as_bytes());
    out.push(b' ');
    out.extend_from_slice(size.to_string().as_bytes());
    out.push(0);
}

impl<'a> Object<'a> {
    /// Reads an object whose ids are of this format.
    ///
    /// What git needs to take an object for valid is checked once, here, in time proportional to
    /// the bytes and without allocating; what it reads leniently is read on demand.
    ///
    /// # Errors
    ///
    /// [`Error::Header`] and [`Error::Size`] for what stands before the content,
    /// [`Error::Malformed`] for the content.
    pub fn parse(format: ObjectFormat, bytes: &'a [u8]) -> Result<Self> {
        let (kind, declared, content) = read_header(bytes)?;
        let found = (bytes.len() - content) as u64;
        if declared != found {
            return Err(Error::Size { declared, found });
        }
        let raw = Raw { format, bytes, content };
        Ok(match kind {
            Kind::Blob => Self::Blob(Blob::new(raw)),
            Kind::Tree => Self::Tree(Tree::new(raw)?),
            Kind::Commit => Self::Commit(Commit::new(raw)?),
            Kind::Tag => Self::Tag(Tag::new(raw)?),
        })
    }

    pub(crate) const fn raw(&self) -> &Raw<'a> {
        match self {
            Self::Blob(blob) => blob.raw(),
            Self::Tree(tree) => tree.raw(),
            Self::Commit(commit) => commit.raw(),
            Self::Tag(tag) => tag.raw(),
        }
    }

    /// Its type.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Blob(_) => Kind::Blob,
            Self::Tree(_) => Kind::Tree,
            Self::Commit(_) => Kind::Commit,
            Self::Tag(_) => Kind::Tag,
        }
    }

    /// The hash function of the ids in it.
    pub const fn format(&self) -> ObjectFormat {
        self.raw().format
    }

    /// All of it, header included: what git hashes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.raw().bytes
    }

    /// What follows the header: what `git cat-file TYPE ID` prints.
    pub fn content(&self) -> &'a [u8] {
        self.raw().content()
    }

    /// Its id, by hashing it.
    ///
    /// # Errors
    ///
    /// [`Error::Collision`].
    pub fn id(&self) -> Result<ObjectId> {
        self.format().hash(self.bytes())
    }

    /// The objects that it names, in the order of the bytes, each as often as it stands there: the
    /// entries of a tree, submodules included; the tree, parents and merged tags' objects of a
    /// commit; the object of a tag. Nothing is decoded, and nothing allocated.
    pub fn links(&self) -> Links<'a> {
        Links::new(self)
    }
}
