//! Trees as values.

use std::{cmp::Ordering, collections::HashSet};

use ipld_core::ipld::Ipld;

use super::{
    Map, ODD,
    fields::{as_id, as_list, as_map, as_text, get, get_len, get_text, link, map, text},
    splice::common,
};
use crate::{
    Entry, Error, ObjectFormat, Result, Tree, build::write_entry, compare_names, error::value,
};

/// The entries of a tree by name. Where they alone would give another tree, what is odd: the
/// entries from the first that stands elsewhere to the last. Those that are in the map are only
/// named there; those that cannot be, because of their name, are there in full.
pub(super) fn read(tree: &Tree<'_>) -> Map {
    let (mut named, mut ordinary, mut last) = (Vec::new(), true, None);
    for entry in tree.entries() {
        match std::str::from_utf8(entry.name) {
            Ok(name) => named.push((name.to_owned(), about(&entry))),
            Err(_) => ordinary = false,
        }
        ordinary &= last.is_none_or(|last| order(&last, &entry) == Ordering::Less);
        last = Some(entry);
    }
    let count = named.len();
    // Of several with one name the last stays that a map is made of: backwards, the first.
    let mut map: Map = named.into_iter().rev().collect();
    ordinary &= map.len() == count;
    if !ordinary {
        map.insert(ODD.into(), odd(tree));
    }
    map
}

fn order(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    compare_names(a.name, a.mode(), b.name, b.mode())
}

fn about(entry: &Entry<'_>) -> Ipld {
    map([("hash", link(&entry.id)), ("mode", text(entry.mode))])
}

fn odd(tree: &Tree<'_>) -> Ipld {
    let mut names = HashSet::new();
    // Those that are in the map: the first of each name that is text.
    let actual: Vec<(Entry<'_>, bool)> = tree
        .entries()
        .map(|entry| {
            let named = std::str::from_utf8(entry.name).is_ok() && names.insert(entry.name);
            (entry, named)
        })
        .collect();
    let mut canonical: Vec<_> = actual.iter().filter(|(_, named)| *named).copied().collect();
    canonical.sort_by(|(a, _), (b, _)| order(a, b));
    let (start, end) = common(&canonical, &actual, |a, b| a == b);
    let entries = actual[start..actual.len() - end].iter().map(|(entry, named)| match named {
        true => text(entry.name),
        false => map([
            ("hash", link(&entry.id)),
            ("mode", text(entry.mode)),
            ("name", Ipld::Bytes(entry.name.into())),
        ]),
    });
    map([
        ("at", Ipld::Integer(start as i128)),
        ("cut", Ipld::Integer((canonical.len() - end - start) as i128)),
        ("entries", Ipld::List(entries.collect())),
    ])
}

/// The content of a tree with these entries.
pub(super) fn write(map: &Map, format: ObjectFormat) -> Result<Vec<u8>> {
    let entries = map.iter().filter(|(name, _)| *name != ODD);
    let mut sorted = entries
        .map(|(name, about)| entry(name.as_bytes(), about, format))
        .collect::<Result<Vec<_>>>()?;
    sorted.sort_by(order);
    if let Some(odd) = map.get(ODD) {
        sorted = spliced(&sorted, map, odd, format)?;
    }
    let mut out = Vec::with_capacity(64 * sorted.len());
    sorted.iter().for_each(|entry| write_entry(entry.mode, entry.name, &entry.id, &mut out));
    Ok(out)
}

fn entry<'a>(name: &'a [u8], about: &'a Ipld, format: ObjectFormat) -> Result<Entry<'a>> {
    let about = as_map(about, "entry")?;
    let mode = get_text(about, "mode")?.as_bytes();
    let id = as_id(get(about, "hash")?, "hash")?;
    if mode.is_empty() || mode.iter().any(|digit| !matches!(digit, b'0'..=b'7')) {
        return Err(value("mode", "it is not octal"));
    }
    if name.is_empty() || name.contains(&0) {
        return Err(value("name", "it is empty, or holds a NUL"));
    }
    if id.format() != format {
        return Err(value("hash", "it has another hash function"));
    }
    Ok(Entry { mode, name, id })
}

fn spliced<'a>(
    canonical: &[Entry<'a>],
    map: &'a Map,
    odd: &'a Ipld,
    format: ObjectFormat,
) -> Result<Vec<Entry<'a>>> {
    let odd = as_map(odd, "odd")?;
    let (at, cut) = (get_len(odd, "at")?, get_len(odd, "cut")?);
    let (before, rest) = canonical.split_at_checked(at).ok_or(Error::Disagreement)?;
    let behind = rest.get(cut..).ok_or(Error::Disagreement)?;
    let mut entries = before.to_vec();
    for item in as_list(get(odd, "entries")?, "entries")? {
        entries.push(match item {
            Ipld::Map(about) => match get(about, "name")? {
                Ipld::Bytes(name) => entry(name, item, format)?,
                _ => return Err(value("name", "it is no byte string")),
            },
            name => {
                let name = as_text(name, "entries")?;
                let about = map.get(name).ok_or(Error::Disagreement)?;
                entry(name.as_bytes(), about, format)?
            }
        });
    }
    entries.extend_from_slice(behind);
    Ok(entries)
}
