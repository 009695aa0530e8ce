//! Tags as values.

use super::{
    Map,
    fields::{
        as_id, entries, get, get_text, link, person, text, write_id, write_line, write_person,
    },
};
use crate::{Result, Tag};

/// The fields of a tag.
pub(super) fn read(tag: &Tag<'_>) -> Map {
    let mut fields = entries([
        ("message", text(tag.message())),
        ("object", link(&tag.object())),
        ("tag", text(tag.name())),
        ("type", text(tag.object_kind().name().as_bytes())),
    ]);
    fields.extend(tag.tagger().map(|tagger| ("tagger".into(), person(&tagger))));
    fields
}

/// Appends the content that such fields give.
pub(super) fn write(map: &Map, out: &mut Vec<u8>) -> Result<()> {
    write_id("object ", &as_id(get(map, "object")?, "object")?, out);
    write_line("type ", get_text(map, "type")?, out);
    write_line("tag ", get_text(map, "tag")?, out);
    if let Some(tagger) = map.get("tagger") {
        write_person("tagger ", tagger, "tagger", out)?;
    }
    out.push(b'\n');
    out.extend_from_slice(get_text(map, "message")?.as_bytes());
    Ok(())
}
