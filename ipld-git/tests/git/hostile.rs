//! Input from strangers: the bodies that the fuzz targets run, on arbitrary bytes, on objects that
//! are almost right, and on the largest ones.

use ipld_git::{
    CommitBuilder, Kind, Mode, Object, ObjectFormat, ObjectId, PersonBuf, TagBuilder, TreeBuilder,
    blob, decode_as, encode_as, with_header,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{memory, support, value::at};

#[cfg(feature = "zlib")]
#[path = "../hostile/loose.rs"]
mod loose;
#[path = "../hostile/object.rs"]
mod object;

fn ids(format: ObjectFormat) -> impl Strategy<Value = ObjectId> {
    vec(any::<u8>(), format.id_len()).prop_map(|bytes| ObjectId::from_bytes(&bytes).unwrap())
}

fn people() -> impl Strategy<Value = PersonBuf> {
    ("[^<>\n\0]{0,20}", "[^<>\n\0]{0,20}", any::<i64>(), -1500..1500_i32)
        .prop_map(|(name, email, seconds, offset)| PersonBuf::new(name, email, seconds, offset))
}

fn formats() -> impl Strategy<Value = ObjectFormat> {
    prop_oneof![Just(ObjectFormat::Sha1), Just(ObjectFormat::Sha256)]
}

fn commits(format: ObjectFormat) -> impl Strategy<Value = CommitBuilder> {
    let start = (ids(format), vec(ids(format), 0..4), people(), people());
    let headers = vec(("[a-z-]{1,10}x", vec(any::<u8>(), 0..40)), 0..3);
    let rest = (headers, any::<Option<Vec<u8>>>(), any::<String>(), any::<Option<String>>());
    (start, rest).prop_map(|((tree, parents, author, committer), rest)| {
        let (headers, signature, message, encoding) = rest;
        let mut commit = CommitBuilder::new(tree, author, committer).message(message);
        commit = parents.into_iter().fold(commit, CommitBuilder::parent);
        commit =
            headers.into_iter().fold(commit, |commit, (name, value)| commit.header(name, value));
        if let Some(encoding) = encoding {
            commit = commit.encoding(encoding);
        }
        match signature {
            Some(signature) => commit.signature(signature),
            None => commit,
        }
    })
}

fn tags(format: ObjectFormat) -> impl Strategy<Value = TagBuilder> {
    let kinds = prop::sample::select(&Kind::ALL[..]);
    let parts = (ids(format), kinds, "[^\n\0]{1,20}", prop::option::of(people()), any::<String>());
    parts.prop_map(|(object, kind, name, tagger, message)| {
        let tag = TagBuilder::new(object, kind, name).message(message);
        tagger.into_iter().fold(tag, TagBuilder::tagger)
    })
}

fn trees(format: ObjectFormat) -> impl Strategy<Value = TreeBuilder> {
    let modes = prop::sample::select(vec![
        Mode::TREE,
        Mode::FILE,
        Mode::EXECUTABLE,
        Mode::GROUP_WRITABLE,
        Mode::LINK,
        Mode::SUBMODULE,
    ]);
    let names = prop_oneof!["[a-c.]{1,3}".prop_map(String::into_bytes), vec(1_u8.., 1..8)];
    vec((modes, names, ids(format)), 0..8).prop_map(move |entries| {
        entries
            .into_iter()
            .fold(TreeBuilder::new(format), |tree, (mode, name, id)| tree.entry(mode, name, id))
    })
}

/// Whether fields of text hold all of it.
fn is_text(object: &Object<'_>) -> bool {
    let text = |bytes| std::str::from_utf8(bytes).is_ok();
    match object {
        Object::Blob(_) => true,
        Object::Tree(tree) => tree.entries().all(|entry| text(entry.name)),
        _ => text(object.bytes()),
    }
}

/// Objects that git would write. What a builder refuses is no object.
fn objects() -> impl Strategy<Value = (ObjectFormat, Vec<u8>)> {
    formats().prop_flat_map(|format| {
        prop_oneof![
            commits(format).prop_filter_map("refused", |commit| commit.build().ok()),
            tags(format).prop_filter_map("refused", |tag| tag.build().ok()),
            trees(format).prop_filter_map("refused", |tree| tree.build().ok()),
            vec(any::<u8>(), 0..200).prop_map(|content| blob(&content)),
        ]
        .prop_map(move |object| (format, object))
    })
}

/// Lines that commits and tags are made of, in any order.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let line = prop::sample::select(vec![
        format!("tree {id}\n"),
        format!("parent {id}\n"),
        format!("parent {}\n", id.to_uppercase()),
        format!("object {id}\n"),
        "type commit\n".into(),
        "tag v1\n".into(),
        " type commit\n tag v1\n".into(),
        "author A <a@b> 1 +0000\n".into(),
        "author A  <a@b>  1 +0000 odd\n".into(),
        "committer nobody\n".into(),
        "committer \u{e9} <a@b> 1 +0000\n".into(),
        "tagger A <a@b> 1 +0000\n".into(),
        " tagger A <a@b> 1 +0000\n".into(),
        "encoding latin1\n".into(),
        format!("mergetag object {id}\n type commit\n tag v1\n tagger A <a@b> 1 +0000\n \n m\n"),
        format!("mergetag object {id}\n"),
        "gpgsig -----BEGIN PGP SIGNATURE-----\n \n a\n -----END PGP SIGNATURE-----\n".into(),
        "gpgsig -----BEGIN SSH SIGNATURE-----\n a\n -----END SSH SIGNATURE-----\n".into(),
        "gpgsig \n".into(),
        "gpgsig  a\n".into(),
        "change-id a\n".into(),
        " \n".into(),
        " more\n".into(),
        "\n".into(),
        "message".into(),
    ]);
    let odd = vec(any::<u8>(), 0..6);
    let line = prop_oneof![9 => line.prop_map(String::into_bytes), 1 => odd];
    vec(line, 0..14).prop_map(|lines| lines.concat())
}

/// Entries that trees are made of, in any order and more than once.
fn entries(format: ObjectFormat) -> impl Strategy<Value = Vec<u8>> {
    let modes =
        prop::sample::select(vec!["40000", "040000", "100644", "100664", "160000", "0", ""]);
    let names = prop::sample::select(vec![&b"a"[..], b"a.b", b"a0", b"b", b"\xe9", b"a/b", b""]);
    let entry = (modes, names, vec(any::<u8>(), format.id_len()))
        .prop_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", &id].concat());
    vec(entry, 0..8).prop_map(|entries| entries.concat())
}

proptest! {
    #[test]
    fn anything(bytes in vec(any::<u8>(), 0..300)) {
        object::object(&bytes);
        for kind in Kind::ALL {
            object::content(kind, &bytes);
        }
    }

    #[test]
    fn odd_commits(first: bool, lines in lines()) {
        let start: &[u8] = if first { b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n" } else { b"" };
        object::content(Kind::Commit, &[start, &lines].concat());
    }

    #[test]
    fn odd_tags(first: bool, lines in lines()) {
        let start = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype blob\ntag a\n";
        let start = if first { start } else { "" };
        object::content(Kind::Tag, &[start.as_bytes(), &lines].concat());
    }

    #[test]
    fn odd_trees(bytes in formats().prop_flat_map(entries)) {
        object::content(Kind::Tree, &bytes);
    }

    /// What builders make is ordinary: it comes back, and carries nothing odd.
    #[test]
    fn what_is_built((format, bytes) in objects()) {
        let value = decode_as(format, &bytes).unwrap();
        prop_assert_eq!(encode_as(format, &value).unwrap(), bytes.clone());
        // What is not UTF-8 is carried beside the fields; nothing else is.
        let odd = at(&value, &[""]).is_some();
        prop_assert_eq!(odd, !is_text(&Object::parse(format, &bytes).unwrap()), "{:?}", value);
        object::object(&bytes);
    }

    #[test]
    fn almost_right(
        (_, mut bytes) in objects(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut: Option<Index>,
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        object::object(&bytes);
        // With a header that fits, so that more of them are objects.
        let content = bytes.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1);
        for kind in Kind::ALL {
            object::content(kind, &bytes[content..]);
        }
    }
}

#[cfg(feature = "zlib")]
proptest! {
    #[test]
    fn loose_objects(
        mut bytes in objects().prop_map(|(_, object)| ipld_git::deflate(&object)),
        changes in vec((any::<Index>(), any::<u8>()), 0..3),
        noise in vec(any::<u8>(), 0..100),
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        loose::loose(&bytes);
        loose::loose(&noise);
    }
}

/// The fixtures, each cut at every place and with every byte changed: none panics, and what is
/// taken comes back.
#[test]
fn fixtures_damaged() {
    for case in support::table("git/objects.tsv").iter().filter(|case| case["size"].len() < 4) {
        let bytes = support::bytes(&format!("git/objects/{}", case.id()));
        let content = bytes.iter().position(|byte| *byte == 0).unwrap() + 1;
        let kind = Object::parse(ObjectFormat::Sha1, &bytes)
            .or_else(|_| Object::parse(ObjectFormat::Sha256, &bytes))
            .unwrap()
            .kind();
        for at in content..bytes.len() {
            object::content(kind, &bytes[content..at]);
            let mut changed = bytes[content..].to_vec();
            changed[at - content] ^= 0x20;
            object::content(kind, &changed);
        }
    }
}

/// Reading in place allocates nothing, however large an object is; its value takes what a map of
/// the data model takes for each entry.
#[test]
fn the_largest_objects_take_little_memory() {
    const MIB: usize = 1 << 20;
    let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let tree = format!("tree {id}\n").into_bytes();
    let parents = format!("parent {id}\n").repeat(1_000_000).into_bytes();
    let folded = format!("gpgsig {}", "a".repeat(60) + "\n ").repeat(16 * MIB / 70).into_bytes();
    let entries: Vec<u8> = (0..100_000_u32)
        .flat_map(|number| [format!("100644 {number:08}\0").as_bytes(), &[7; 20]].concat())
        .collect();
    for (what, kind, content, most) in [
        ("one header line", Kind::Commit, [&tree[..], b"x ", &vec![b'x'; 64 * MIB]].concat(), 4),
        ("a folded header", Kind::Commit, [&tree[..], &folded].concat(), 8),
        ("a million parents", Kind::Commit, [&tree[..], &parents].concat(), 8),
        ("a message", Kind::Commit, [&tree[..], b"\n", &vec![0xe9; 16 * MIB]].concat(), 24),
        ("100,000 entries", Kind::Tree, entries, 50),
    ] {
        let bytes = with_header(kind, &content);
        let (links, held) =
            memory::peak(|| Object::parse(ObjectFormat::Sha1, &bytes).unwrap().links().count());
        assert_eq!(held, 0, "{what}");
        let (value, held) = memory::peak(|| decode_as(ObjectFormat::Sha1, &bytes).unwrap());
        println!(
            "{what}: {links} links, {:.1} times its bytes as a value",
            held as f64 / bytes.len() as f64
        );
        assert!(held <= most * bytes.len(), "{what}: {held} bytes for {}", bytes.len());
        assert!(encode_as(ObjectFormat::Sha1, &value).unwrap() == bytes, "{what}");
    }
}
