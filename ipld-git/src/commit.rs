//! Commits.

use std::borrow::Cow;

use crate::{
    Header, Headers, Kind, ObjectFormat, ObjectId, Person, Result,
    error::malformed,
    object::Raw,
    scan::{header_len, line},
};

/// A commit, read in place.
///
/// Git needs a `tree` line and, right behind it, any number of `parent` lines. All other headers may
/// be there or not, in any order and more than once; of several with one name git reads the first.
/// The message begins behind the first empty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    raw: Raw<'a>,
    /// Lengths within the content: up to the parents, to the other headers, and to their end.
    parents: usize,
    others: usize,
    header: usize,
    /// Whether there is a header of that name: most commits need not be searched for it.
    merges_tags: bool,
}

const TREE: &[u8] = b"tree ";
const PARENT: &[u8] = b"parent ";

/// The id in the line at the start of `bytes`, and the length of that line with its end.
fn id_line(format: ObjectFormat, word: &[u8], bytes: &[u8]) -> Option<(ObjectId, usize)> {
    let digits = bytes.strip_prefix(word)?;
    let id = ObjectId::read(format, digits)?;
    (digits.get(2 * format.id_len()) == Some(&b'\n')).then_some((id, line_len(format, word)))
}

const fn line_len(format: ObjectFormat, word: &[u8]) -> usize {
    word.len() + 2 * format.id_len() + 1
}

impl<'a> Commit<'a> {
    pub(crate) fn new(raw: Raw<'a>) -> Result<Self> {
        let (format, content) = (raw.format, raw.content());
        let no_tree = || malformed(Kind::Commit, "it does not begin with a tree and its id");
        let (_, parents) = id_line(format, TREE, content).ok_or_else(no_tree)?;
        let mut others = parents;
        // What is too short for a parent is a header like any other, as it is to git.
        while content[others..].starts_with(PARENT)
            && content.len() - others >= line_len(format, PARENT)
        {
            let no_parent = || malformed(Kind::Commit, "a parent has no id");
            let (_, len) = id_line(format, PARENT, &content[others..]).ok_or_else(no_parent)?;
            others += len;
        }
        let mut merges_tags = false;
        let header = header_len(&content[others..], |line| {
            merges_tags |= line.starts_with(b"mergetag ");
        });
        Ok(Self { raw, parents, others, header: others + header, merges_tags })
    }

    pub(crate) const fn raw(&self) -> &Raw<'a> {
        &self.raw
    }

    /// All of it, header included: what git hashes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.raw.bytes
    }

    /// The tree.
    pub fn tree(&self) -> ObjectId {
        let digits = &self.raw.content()[TREE.len()..];
        ObjectId::read(self.raw.format, digits).expect("it was read when the commit was parsed")
    }

    /// The parents, in their order.
    pub fn parents(&self) -> Parents<'a> {
        let lines = &self.raw.content()[self.parents..self.others];
        Parents { format: self.raw.format, lines }
    }

    /// The headers behind the parents, in their order.
    pub fn headers(&self) -> Headers<'a> {
        Headers::new(&self.raw.content()[self.others..self.header])
    }

    /// Who wrote the change. `None` where the header is missing or names nobody; the line is then
    /// among [`headers`](Self::headers).
    pub fn author(&self) -> Option<Person<'a>> {
        Person::parse(self.headers().named(b"author")?.value)
    }

    /// Who made the commit. `None` as for [`author`](Self::author).
    pub fn committer(&self) -> Option<Person<'a>> {
        Person::parse(self.headers().named(b"committer")?.value)
    }

    /// The encoding of the message and the names, where it is said not to be UTF-8.
    pub fn encoding(&self) -> Option<&'a [u8]> {
        Some(self.headers().named(b"encoding")?.value)
    }

    /// The signature, of whatever kind (OpenPGP, SSH, X.509): the header `gpgsig`, or
    /// `gpgsig-sha256` where ids are SHA-256, as git hands it to the program that verifies it.
    pub fn signature(&self) -> Option<Cow<'a, [u8]>> {
        Some(self.headers().named(signature_name(self.raw.format))?.unfolded())
    }

    /// The signed tags that were merged, where they have git's form.
    pub fn mergetags(&self) -> impl Iterator<Item = MergeTag<'a>> + use<'a> {
        let format = self.raw.format;
        self.mergetag_headers().filter_map(move |header| MergeTag::parse(format, &header))
    }

    /// The headers among which those tags are.
    pub(crate) fn mergetag_headers(&self) -> Headers<'a> {
        if self.merges_tags { self.headers() } else { Headers::new(&[]) }
    }

    /// Everything behind the first empty line, in the encoding of the commit. Empty where there is
    /// no such line.
    pub fn message(&self) -> &'a [u8] {
        self.raw.content().get(self.header + 1..).unwrap_or_default()
    }
}

/// The header that holds a commit's signature.
pub(crate) const fn signature_name(format: ObjectFormat) -> &'static [u8] {
    match format {
        ObjectFormat::Sha1 => b"gpgsig",
        ObjectFormat::Sha256 => b"gpgsig-sha256",
    }
}

/// The parents of a commit.
#[derive(Clone, Debug)]
pub struct Parents<'a> {
    format: ObjectFormat,
    /// Lines of one length.
    lines: &'a [u8],
}

impl Iterator for Parents<'_> {
    type Item = ObjectId;

    fn next(&mut self) -> Option<ObjectId> {
        let (id, len) = id_line(self.format, PARENT, self.lines)?;
        self.lines = &self.lines[len..];
        Some(id)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.lines.len() / line_len(self.format, PARENT);
        (len, Some(len))
    }
}

impl ExactSizeIterator for Parents<'_> {}

/// A signed tag that a merge commit carries along: the content of the tag object, in the header
/// `mergetag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeTag<'a> {
    /// The object that was tagged.
    pub object: ObjectId,
    /// The name of its type.
    pub kind: &'a [u8],
    /// The name of the tag.
    pub name: &'a [u8],
    /// Who tagged it.
    pub tagger: Option<Person<'a>>,
    /// The lines of the message as they stand in the commit: each begins with a space and ends with
    /// a line feed.
    pub folded_message: &'a [u8],
}

impl<'a> MergeTag<'a> {
    /// Reads a header `mergetag`; `None` if it has not the form that git gives it.
    pub(crate) fn parse(format: ObjectFormat, header: &Header<'a>) -> Option<Self> {
        let object = header.raw.strip_prefix(b"mergetag ")?;
        let (object, len) = id_line(format, b"object ", object).map(|(id, len)| (id, len + 9))?;
        let (kind, rest) = line(header.raw[len..].strip_prefix(b" type ")?);
        let (name, rest) = line(rest.strip_prefix(b" tag ")?);
        let (tagger, rest) = match rest.strip_prefix(b" tagger ") {
            Some(rest) => {
                let (person, rest) = line(rest);
                (Some(Person::parse(person)?), rest)
            }
            None => (None, rest),
        };
        let folded_message = match rest {
            [] => rest,
            _ => rest.strip_prefix(b" \n")?,
        };
        Some(Self { object, kind, name, tagger, folded_message })
    }
}
