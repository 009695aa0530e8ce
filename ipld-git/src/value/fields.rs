//! The parts of a value.

use ipld_core::ipld::Ipld;

use super::Map;
use crate::{MergeTag, ObjectId, Person, Result, cid_of, error::value, id_of};

/// Text as a string. What is not UTF-8 in it is replaced, and then shows as odd.
pub(super) fn text(bytes: &[u8]) -> Ipld {
    Ipld::String(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    })
}

pub(super) fn link(id: &ObjectId) -> Ipld {
    Ipld::Link(cid_of(id))
}

pub(super) fn person(person: &Person<'_>) -> Ipld {
    map([
        ("date", text(person.date)),
        ("email", text(person.email)),
        ("name", text(person.name)),
        ("timezone", text(person.timezone)),
    ])
}

pub(super) fn mergetag(tag: &MergeTag<'_>) -> Ipld {
    let mut fields = entries([
        ("message", text(tag.folded_message)),
        ("object", link(&tag.object)),
        ("tag", text(tag.name)),
        ("type", text(tag.kind)),
    ]);
    fields.extend(tag.tagger.iter().map(|tagger| ("tagger".into(), person(tagger))));
    Ipld::Map(fields)
}

pub(super) fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(entries(fields))
}

pub(super) fn entries<const N: usize>(fields: [(&str, Ipld); N]) -> Map {
    // One by one, in order: to collect them would allocate a list first, and there are many maps.
    let mut map = Map::new();
    for (name, value) in fields {
        map.insert(name.to_owned(), value);
    }
    map
}

pub(super) fn get<'a>(map: &'a Map, field: &'static str) -> Result<&'a Ipld> {
    map.get(field).ok_or_else(|| value(field, "it is missing"))
}

pub(super) fn as_id(ipld: &Ipld, field: &'static str) -> Result<ObjectId> {
    match ipld {
        Ipld::Link(cid) => id_of(cid),
        _ => Err(value(field, "it is no link")),
    }
}

pub(super) fn as_text<'a>(ipld: &'a Ipld, field: &'static str) -> Result<&'a str> {
    match ipld {
        Ipld::String(text) => Ok(text),
        _ => Err(value(field, "it is no text")),
    }
}

pub(super) fn as_list<'a>(ipld: &'a Ipld, field: &'static str) -> Result<&'a [Ipld]> {
    match ipld {
        Ipld::List(items) => Ok(items),
        _ => Err(value(field, "it is no list")),
    }
}

pub(super) fn as_map<'a>(ipld: &'a Ipld, field: &'static str) -> Result<&'a Map> {
    match ipld {
        Ipld::Map(map) => Ok(map),
        _ => Err(value(field, "it is no map")),
    }
}

pub(super) fn get_text<'a>(map: &'a Map, field: &'static str) -> Result<&'a str> {
    as_text(get(map, field)?, field)
}

/// A place or a length.
pub(super) fn get_len(map: &Map, field: &'static str) -> Result<usize> {
    match get(map, field)? {
        Ipld::Integer(number) => usize::try_from(*number).ok(),
        _ => None,
    }
    .ok_or_else(|| value(field, "it is no length"))
}

/// Appends `word`, the id and a line feed.
pub(super) fn write_id(word: &str, id: &ObjectId, out: &mut Vec<u8>) {
    out.extend_from_slice(word.as_bytes());
    id.write_hex(out);
    out.push(b'\n');
}

/// Appends `word`, the text and a line feed.
pub(super) fn write_line(word: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Appends `word`, a person and a line feed.
pub(super) fn write_person(
    word: &str,
    ipld: &Ipld,
    field: &'static str,
    out: &mut Vec<u8>,
) -> Result<()> {
    let fields = as_map(ipld, field)?;
    let part = |name| get_text(fields, name).map(str::as_bytes);
    let person = Person {
        name: part("name")?,
        email: part("email")?,
        date: part("date")?,
        timezone: part("timezone")?,
    };
    out.extend_from_slice(word.as_bytes());
    person.write(out);
    out.push(b'\n');
    Ok(())
}
