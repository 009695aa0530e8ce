//! Objects as values of the IPLD data model, and back. The form is described in `DESIGN.md`.

mod commit;
mod fields;
mod splice;
mod tag;
mod tree;

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use crate::{
    Error, Kind, Object, ObjectFormat, Result, error::value, id_of, object::Raw, with_header,
};

type Map = BTreeMap<String, Ipld>;

/// The key under which a value carries what is odd about its object. No entry of a tree can have it:
/// git refuses empty names.
const ODD: &str = "";

/// The value of an object whose ids are of this format.
///
/// Its shape is that of go-ipld-git's schema: a blob is its bytes, header included; a tree a map of
/// names to `mode` and `hash`; commits and tags are maps of their parts. What such a shape cannot
/// express (an unusual order, text that is not UTF-8, a name that stands there twice, …) is carried
/// under the empty key, so that [`encode_as`] always gives the same bytes again.
///
/// # Errors
///
/// As [`Object::parse`].
///
/// # Memory
///
/// A value is larger than the bytes: a map takes some 1.5 kB whatever it holds, so an entry of a
/// tree does, and a line among `other` takes some 130 bytes. Where that matters, read the
/// [`Object`], which allocates nothing.
pub fn decode_as(format: ObjectFormat, object: &[u8]) -> Result<Ipld> {
    Ok(match Object::parse(format, object)? {
        Object::Blob(_) => Ipld::Bytes(object.into()),
        Object::Tree(tree) => Ipld::Map(tree::read(&tree)),
        Object::Commit(commit) => Ipld::Map(whole(commit::read(&commit), commit.raw())?),
        Object::Tag(tag) => Ipld::Map(whole(tag::read(&tag), tag.raw())?),
    })
}

/// The value with what is odd, if its fields alone would give other bytes.
fn whole(mut map: Map, raw: &Raw<'_>) -> Result<Map> {
    let mut canonical = Vec::with_capacity(raw.bytes.len());
    plain(&map, &mut canonical)?;
    if canonical != raw.content() {
        map.insert(ODD.into(), splice::between(&canonical, raw.content()));
    }
    Ok(map)
}

/// Appends the content that the fields of a commit or a tag give.
fn plain(map: &Map, out: &mut Vec<u8>) -> Result<()> {
    match kind_of(map) {
        Kind::Commit => commit::write(map, out),
        _ => tag::write(map, out),
    }
}

/// The bytes of the object that is this value, with ids of this format.
///
/// The value of an object gives the object's bytes. A value that was made by hand gives them as git
/// writes them. The result is read again, and has to be the value: so nothing is ever changed
/// silently.
///
/// # Errors
///
/// [`Error::Value`] for what no git object can hold, [`Error::Cid`] for a link to anything else
/// than a git object, [`Error::Malformed`] for text that git would take for something else, and
/// [`Error::Disagreement`] when fields were changed that do not fit what is carried.
pub fn encode_as(format: ObjectFormat, ipld: &Ipld) -> Result<Vec<u8>> {
    let object = match ipld {
        Ipld::Bytes(bytes) => bytes.clone(),
        Ipld::Map(map) => write(map, format)?,
        _ => return Err(value("value", "it is neither a map nor bytes")),
    };
    match decode_as(format, &object) {
        Ok(again) if again == *ipld => Ok(object),
        _ if has_odd(ipld) => Err(Error::Disagreement),
        Ok(_) => Err(value("value", "git would read it as another")),
        Err(error) => Err(error),
    }
}

fn has_odd(ipld: &Ipld) -> bool {
    matches!(ipld, Ipld::Map(map) if map.contains_key(ODD))
}

fn write(map: &Map, format: ObjectFormat) -> Result<Vec<u8>> {
    let kind = kind_of(map);
    if kind == Kind::Tree {
        return Ok(with_header(kind, &tree::write(map, format)?));
    }
    let mut content = Vec::new();
    plain(map, &mut content)?;
    if let Some(odd) = map.get(ODD) {
        content = splice::apply(&content, odd)?;
    }
    Ok(with_header(kind, &content))
}

/// What is a link in a commit or a tag is a map in a tree that has an entry of that name.
fn kind_of(map: &Map) -> Kind {
    let links = |name| matches!(map.get(name), Some(Ipld::Link(_)));
    match (links("tree"), links("object")) {
        (true, _) => Kind::Commit,
        (_, true) => Kind::Tag,
        _ => Kind::Tree,
    }
}

/// The format of the first link in a value, by which a codec that knows both chooses.
pub(crate) fn format_of(ipld: &Ipld) -> Result<ObjectFormat> {
    let Ipld::Map(map) = ipld else { return Ok(ObjectFormat::Sha1) };
    let first = map.values().find_map(|entry| {
        let mut links = Vec::new();
        entry.references(&mut links);
        links.first().copied()
    });
    first.map_or(Ok(ObjectFormat::Sha1), |cid| Ok(id_of(&cid)?.format()))
}
