//! Annotated tags.

use crate::{
    Headers, Kind, ObjectId, Person, Result,
    error::malformed,
    object::Raw,
    scan::{header_len, line},
};

/// An annotated tag, read in place.
///
/// Git needs the lines `object`, `type` and `tag`, in this order; a `tagger` was added later, and
/// old tags have none. The message begins behind the first empty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    raw: Raw<'a>,
    object: ObjectId,
    kind: Kind,
    /// Where the name stands in the content.
    name: (usize, usize),
    header: usize,
}

impl<'a> Tag<'a> {
    pub(crate) fn new(raw: Raw<'a>) -> Result<Self> {
        let (format, content) = (raw.format, raw.content());
        let wrong = |reason| malformed(Kind::Tag, reason);
        let rest = content.strip_prefix(b"object ");
        let object = rest
            .and_then(|digits| ObjectId::read(format, digits))
            .ok_or_else(|| wrong("it does not begin with an object and its id"))?;
        let at = 7 + 2 * format.id_len();
        let (kind, behind) = content[at..]
            .strip_prefix(b"\ntype ")
            .map(line)
            .ok_or_else(|| wrong("its second line is no type"))?;
        let kind = Kind::of_name(kind).ok_or_else(|| wrong("there is no such type"))?;
        let name = behind.strip_prefix(b"tag ").ok_or_else(|| wrong("its third line is no tag"))?;
        let start = content.len() - name.len();
        let (name, behind) = line(name);
        if start + name.len() == content.len() {
            return Err(wrong("its third line has no end"));
        }
        let header = content.len() - behind.len() + header_len(behind, |_| {});
        Ok(Self { raw, object, kind, name: (start, start + name.len()), header })
    }

    pub(crate) const fn raw(&self) -> &Raw<'a> {
        &self.raw
    }

    /// All of it, header included: what git hashes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.raw.bytes
    }

    /// The object that is tagged.
    pub const fn object(&self) -> ObjectId {
        self.object
    }

    /// The type that the tag says the object has.
    pub const fn object_kind(&self) -> Kind {
        self.kind
    }

    /// The name of the tag.
    pub fn name(&self) -> &'a [u8] {
        &self.raw.content()[self.name.0..self.name.1]
    }

    /// The headers behind the name, in their order: `tagger`, and what else is there.
    pub fn headers(&self) -> Headers<'a> {
        Headers::new(&self.raw.content()[self.name.1 + 1..self.header])
    }

    /// Who made the tag. `None` where the header is missing or names nobody.
    pub fn tagger(&self) -> Option<Person<'a>> {
        Person::parse(self.headers().named(b"tagger")?.value)
    }

    /// Everything behind the first empty line. A signature stands at its end. Empty where there is
    /// no such line.
    pub fn message(&self) -> &'a [u8] {
        self.raw.content().get(self.header + 1..).unwrap_or_default()
    }
}
