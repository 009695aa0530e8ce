//! New annotated tags.

use super::{check_line, check_text};
use crate::{Kind, ObjectId, PersonBuf, Result, error::value, with_header};

/// Makes an annotated tag.
///
/// ```
/// use ipld_git::{Kind, Object, ObjectFormat, PersonBuf, TagBuilder, blob};
///
/// let object = ObjectFormat::Sha1.hash(&blob(b"a licence"))?;
/// let me = PersonBuf::new("A U Thor", "author@example.com", 1_112_911_993, -420);
/// let tag = TagBuilder::new(object, Kind::Blob, "licence").tagger(me).message("for all\n").build()?;
/// let Object::Tag(tag) = Object::parse(ObjectFormat::Sha1, &tag)? else { panic!() };
/// assert_eq!((tag.object(), tag.name()), (object, &b"licence"[..]));
/// # Ok::<(), ipld_git::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TagBuilder {
    object: ObjectId,
    kind: Kind,
    name: Vec<u8>,
    tagger: Option<PersonBuf>,
    message: Vec<u8>,
}

impl TagBuilder {
    /// A tag of this name for an object of this type, without a tagger and with an empty message.
    pub fn new(object: ObjectId, kind: Kind, name: impl Into<Vec<u8>>) -> Self {
        Self { object, kind, name: name.into(), tagger: None, message: Vec::new() }
    }

    /// Says who tagged. Git's strict checks want it.
    pub fn tagger(mut self, tagger: impl Into<PersonBuf>) -> Self {
        self.tagger = Some(tagger.into());
        self
    }

    /// The message; a signature belongs to its end.
    pub fn message(mut self, message: impl Into<Vec<u8>>) -> Self {
        self.message = message.into();
        self
    }

    /// The object.
    ///
    /// # Errors
    ///
    /// [`Error::Value`](crate::Error::Value) for a part that git would refuse or read otherwise.
    pub fn build(&self) -> Result<Vec<u8>> {
        if self.name.is_empty() {
            return Err(value("tag", "it has no name"));
        }
        check_line(&self.name, "tag")?;
        check_text(&self.message, "message")?;
        let mut out = Vec::with_capacity(256 + self.message.len());
        out.extend_from_slice(b"object ");
        self.object.write_hex(&mut out);
        out.extend_from_slice(b"\ntype ");
        out.extend_from_slice(self.kind.name().as_bytes());
        out.extend_from_slice(b"\ntag ");
        out.extend_from_slice(&self.name);
        out.push(b'\n');
        if let Some(tagger) = &self.tagger {
            out.extend_from_slice(b"tagger ");
            tagger.write("tagger", &mut out)?;
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(&self.message);
        Ok(with_header(Kind::Tag, &out))
    }
}
