//! Commits as values.

use ipld_core::ipld::Ipld;

use super::{
    Map,
    fields::{
        as_id, as_list, as_map, as_text, entries, get, get_text, link, mergetag, person, text,
        write_id, write_line, write_person,
    },
};
use crate::{
    Commit, Header, MergeTag, ObjectFormat, Person, Result, header,
    scan::{line, lines},
};

const BEGIN: &[u8] = b"gpgsig -----BEGIN PGP SIGNATURE-----\n";
const END: &[u8] = b" -----END PGP SIGNATURE-----";

/// The fields of a commit.
pub(super) fn read(commit: &Commit<'_>) -> Map {
    let mut fields = entries([
        ("message", text(commit.message())),
        ("parents", Ipld::List(commit.parents().map(|id| link(&id)).collect())),
        ("tree", link(&commit.tree())),
    ]);
    let (mut mergetags, mut other) = (Vec::new(), Vec::new());
    for header in commit.headers() {
        match part(commit.tree().format(), &header) {
            Part::Mergetag(tag) => mergetags.push(tag),
            // Of several with one name git reads the first.
            Part::Field(name, value, behind) if !fields.contains_key(name) => {
                fields.insert(name.into(), value);
                other.extend(lines(behind).map(text));
            }
            _ => other.extend(lines(header.raw).map(text)),
        }
    }
    fields.insert("mergetag".into(), Ipld::List(mergetags));
    fields.insert("other".into(), Ipld::List(other));
    fields
}

/// What a header is to the value of its commit.
enum Part<'a> {
    /// A field, and lines of the header that are not in it.
    Field(&'static str, Ipld, &'a [u8]),
    Mergetag(Ipld),
    Other,
}

fn part<'a>(format: ObjectFormat, header: &Header<'a>) -> Part<'a> {
    let field = |name, value: Option<Ipld>| value.map(|value| Part::Field(name, value, &[]));
    let known = |name| field(name, Person::parse(header.value).map(|found| person(&found)));
    match header.name {
        b"author" => known("author"),
        b"committer" => known("committer"),
        b"encoding" => field("encoding", Some(text(header.value))),
        b"gpgsig" => signature(header),
        b"mergetag" => MergeTag::parse(format, header).map(|tag| Part::Mergetag(mergetag(&tag))),
        _ => None,
    }
    .unwrap_or(Part::Other)
}

/// A signature: of OpenPGP's the lines between its first and its last, as they stand, which is what
/// go-ipld-git makes of it, and apart from them those behind its end; of others all, as git reads it.
fn signature<'a>(header: &Header<'a>) -> Option<Part<'a>> {
    const NAME: &str = "signature";
    if let Some(inner) = header.raw.strip_prefix(BEGIN) {
        let mut rest = inner;
        while !rest.is_empty() {
            let (first, behind) = line(rest);
            if first == END {
                let inner = text(&inner[..inner.len() - rest.len()]);
                return Some(Part::Field(NAME, inner, behind));
            }
            rest = behind;
        }
    }
    // The first byte tells the one form from the other.
    match header.value.first() {
        None | Some(b' ') => None,
        _ => Some(Part::Field(NAME, text(&header.unfolded()), &[])),
    }
}

/// Appends the content that such fields give: in git's order, mergetags before the other headers, and
/// behind a signature of OpenPGP the lines that go on with it.
pub(super) fn write(map: &Map, out: &mut Vec<u8>) -> Result<()> {
    write_id("tree ", &as_id(get(map, "tree")?, "tree")?, out);
    for parent in as_list(get(map, "parents")?, "parents")? {
        write_id("parent ", &as_id(parent, "parents")?, out);
    }
    for (field, word) in [("author", "author "), ("committer", "committer ")] {
        if let Some(person) = map.get(field) {
            write_person(word, person, field, out)?;
        }
    }
    if let Some(encoding) = map.get("encoding") {
        write_line("encoding ", as_text(encoding, "encoding")?, out);
    }
    for tag in as_list(get(map, "mergetag")?, "mergetag")? {
        write_mergetag(as_map(tag, "mergetag")?, out)?;
    }
    write_others(map, out)?;
    out.push(b'\n');
    out.extend_from_slice(get_text(map, "message")?.as_bytes());
    Ok(())
}

fn write_mergetag(map: &Map, out: &mut Vec<u8>) -> Result<()> {
    write_id("mergetag object ", &as_id(get(map, "object")?, "object")?, out);
    write_line(" type ", get_text(map, "type")?, out);
    write_line(" tag ", get_text(map, "tag")?, out);
    if let Some(tagger) = map.get("tagger") {
        write_person(" tagger ", tagger, "tagger", out)?;
    }
    out.extend_from_slice(b" \n");
    out.extend_from_slice(get_text(map, "message")?.as_bytes());
    Ok(())
}

fn write_others(map: &Map, out: &mut Vec<u8>) -> Result<()> {
    let lines = as_list(get(map, "other")?, "other")?
        .iter()
        .map(|line| as_text(line, "other"))
        .collect::<Result<Vec<_>>>()?;
    let signature = match map.get("signature") {
        Some(signature) => Some(as_text(signature, "signature")?),
        None => None,
    };
    let inner = signature.is_some_and(|text| text.is_empty() || text.starts_with(' '));
    let going_on = lines.iter().rev().take_while(|line| inner && line.starts_with(' ')).count();
    let (before, behind) = lines.split_at(lines.len() - going_on);
    before.iter().for_each(|line| write_line("", line, out));
    match signature {
        Some(signature) if inner => {
            out.extend_from_slice(BEGIN);
            out.extend_from_slice(signature.as_bytes());
            out.extend_from_slice(END);
            out.push(b'\n');
        }
        Some(signature) => header::write(b"gpgsig", signature.as_bytes(), out),
        None => {}
    }
    behind.iter().for_each(|line| write_line("", line, out));
    Ok(())
}
