//! What git takes and its model does not show: each oddity, what is carried of it, and what becomes
//! of a value whose fields are changed.

use ipld_core::{
    codec::{Codec, Links},
    ipld::Ipld,
};
use ipld_git::{
    CommitBuilder, Error, GitCodec, GitSha1, GitSha256, Kind, Mode, ObjectFormat, ObjectId,
    PersonBuf, TagBuilder, TreeBuilder, blob, cid_of, decode_as, detect_format, encode_as,
    links_as, with_header,
};

use crate::value::at;

const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const OTHER: &str = "19f0805d8de36b6442e8c573074112ba72ad6780";
const SHA1: ObjectFormat = ObjectFormat::Sha1;

fn commit(rest: impl AsRef<[u8]>) -> Vec<u8> {
    with_header(Kind::Commit, &[format!("tree {ID}\n").as_bytes(), rest.as_ref()].concat())
}

fn tag(rest: impl AsRef<[u8]>) -> Vec<u8> {
    let start = format!("object {ID}\ntype tree\ntag v1\n");
    with_header(Kind::Tag, &[start.as_bytes(), rest.as_ref()].concat())
}

fn tree(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(number, (mode, name)): (usize, &(&str, &[u8]))| {
        [mode.as_bytes(), b" ", name, b"\0", &[number as u8 + 1; 20]].concat()
    };
    with_header(Kind::Tree, &entries.iter().enumerate().map(entry).collect::<Vec<_>>().concat())
}

const A: &str = "author A <a@b> 1 +0000\n";
const C: &str = "committer C <c@d> 2 +0000\n";
const PGP: &str = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n a\n -----END PGP SIGNATURE-----\n";
const SSH: &str = "gpgsig -----BEGIN SSH SIGNATURE-----\n a\n -----END SSH SIGNATURE-----\n";

fn ordinary() -> Vec<(&'static str, Vec<u8>)> {
    let mergetag = format!(
        "mergetag object {ID}\n type commit\n tag v1\n tagger A <a@b> 1 +0000\n \n m\n \n n\n"
    );
    vec![
        ("commit", commit(format!("{A}{C}\nmessage\n"))),
        ("parents", commit(format!("parent {ID}\nparent {OTHER}\n{A}{C}\nm"))),
        ("no people", commit("\nmessage")),
        ("encoding", commit(format!("{A}{C}encoding latin1\n\nmessage"))),
        ("no date", commit(format!("author A <a@b>\n{C}\nmessage"))),
        ("OpenPGP", commit(format!("{A}{C}{PGP}\nmessage"))),
        ("OpenPGP, and a line behind it", commit(format!("{A}{C}{PGP} \n\nmessage"))),
        ("SSH", commit(format!("{A}{C}{SSH}\nmessage"))),
        ("other headers", commit(format!("{A}{C}HG:extra a\nchange-id b\n{SSH}\nmessage"))),
        ("other headers, OpenPGP", commit(format!("{A}{C}change-id b\n{PGP} \n\nmessage"))),
        ("mergetags", commit(format!("{A}{C}{mergetag}{mergetag}{PGP}\nmessage"))),
        ("an empty signature", commit(format!("{A}{C}gpgsig \nx y\n\nmessage"))),
        ("a parent too late for git", commit(format!("{A}{C}parent {ID}\n\nmessage"))),
        ("an odd mergetag", commit(format!("{A}{C}mergetag object {ID}\n type x\n\nmessage"))),
        ("no message", commit(format!("{A}{C}\n"))),
        ("tag", tag("tagger A <a@b> 1 +0000\n\nmessage")),
        ("tag without tagger", tag("\nmessage")),
        ("tag without message", tag("tagger A <a@b> 1 +0000\n\n")),
        ("no entries", tree(&[])),
        (
            "entries",
            tree(&[("100644", b"a"), ("100755", b"a.b"), ("40000", b"a0"), ("160000", b"b")]),
        ),
        // No file can be named so, but bytes can: a directory sorts as if its name ended so.
        ("a slash in a name", tree(&[("40000", b"a"), ("100644", b"a/b")])),
        ("padded modes", tree(&[("040000", b"a"), ("100664", b"b")])),
        ("names of fields", tree(&[("40000", b"object"), ("40000", b"tree")])),
    ]
}

fn odd() -> Vec<(&'static str, Vec<u8>)> {
    let upper = ID.to_uppercase();
    vec![
        ("order of people", commit(format!("{C}{A}\nmessage"))),
        ("order of encoding", commit(format!("encoding x\n{A}{C}\nmessage"))),
        ("headers behind a signature", commit(format!("{A}{C}{SSH}change-id b\n\nmessage"))),
        ("two authors", commit(format!("{A}{A}{C}\nmessage"))),
        ("two signatures", commit(format!("{A}{C}{PGP}{SSH}\nmessage"))),
        ("spaces in a person", commit(format!("author  A  <a@b>  1  +0000 x\n{C}\nmessage"))),
        ("nobody", commit(format!("author A\n{C}\nmessage"))),
        ("brackets", commit(format!("author A <<a>b> 1 +0000\n{C}\nmessage"))),
        ("a latin1 name", commit([b"author \xe9 <a> 1 +0\n", C.as_bytes(), b"\nm"].concat())),
        ("a latin1 message", commit([A.as_bytes(), C.as_bytes(), b"\nd\xe9j\xe0"].concat())),
        ("a latin1 header", commit([A.as_bytes(), C.as_bytes(), b"x \xe9\n\nm"].concat())),
        ("no end", commit(format!("{A}{C}"))),
        ("no line feed", commit(format!("{A}committer C <c@d> 2 +0000"))),
        ("only a tree", commit("")),
        ("a tree twice", commit(format!("tree {OTHER}\n{A}{C}\nmessage"))),
        ("upper case", commit(format!("parent {upper}\n{A}{C}\nmessage"))),
        (
            "a header behind the mergetag's place",
            commit(format!("{A}{C}x y\nmergetag object {ID}\n type x\n tag y\n \n\nmessage")),
        ),
        (
            "a mergetag without message",
            commit(format!("{A}{C}mergetag object {ID}\n type x\n tag y\n\nmessage")),
        ),
        ("tag without end", tag("tagger A <a@b> 1 +0000\n")),
        ("tag with headers", tag("tagger A <a@b> 1 +0000\nx y\n\nmessage")),
        ("tag with headers first", tag("x y\ntagger A <a@b> 1 +0000\n\nmessage")),
        ("tag in latin1", tag(b"tagger A <a@b> 1 +0000\n\nd\xe9j\xe0")),
        ("order", tree(&[("100644", b"b"), ("100644", b"a"), ("100644", b"c")])),
        ("order of directories", tree(&[("40000", b"a"), ("100644", b"a.b")])),
        ("order of names with a slash", tree(&[("40000", b"a/b"), ("40000", b"a")])),
        ("order of a slash", tree(&[("100644", b"a/b"), ("40000", b"a")])),
        ("a name twice", tree(&[("100644", b"a"), ("100644", b"a"), ("100644", b"b")])),
        ("a name twice, apart", tree(&[("100644", b"a"), ("100644", b"a.b"), ("40000", b"a")])),
        ("a latin1 file", tree(&[("100644", b"a"), ("100644", b"\xe9"), ("100644", b"\xe9")])),
    ]
}

#[test]
fn the_value_of_an_ordinary_object_has_the_fields_of_the_schema_alone() {
    let fields = [
        "author",
        "committer",
        "encoding",
        "mergetag",
        "message",
        "object",
        "other",
        "parents",
        "signature",
        "tag",
        "tagger",
        "tree",
        "type",
    ];
    for (what, bytes) in ordinary() {
        let value = decode_as(SHA1, &bytes).unwrap();
        let Ipld::Map(map) = &value else { panic!("{what}") };
        assert!(!map.contains_key(""), "{what}: {value:?}");
        if !bytes.starts_with(b"tree") {
            assert!(map.keys().all(|key| fields.contains(&key.as_str())), "{what}: {value:?}");
        }
        assert_eq!(encode_as(SHA1, &value).unwrap(), bytes, "{what}");
    }
}

#[test]
fn the_value_of_an_odd_object_carries_what_is_odd() {
    for (what, bytes) in odd() {
        let value = decode_as(SHA1, &bytes).unwrap();
        assert!(at(&value, &[""]).is_some(), "{what}: {value:?}");
        assert_eq!(encode_as(SHA1, &value).unwrap(), bytes, "{what}");
        let mut links = Vec::new();
        value.references(&mut links);
        let mut expected: Vec<_> = links_as(SHA1, &bytes).unwrap().collect();
        links.sort();
        expected.sort();
        assert_eq!(links, expected, "{what}");
    }
}

/// Not more than what is odd.
#[test]
fn what_is_carried_is_small() {
    let carried = |bytes: &[u8]| at(&decode_as(SHA1, bytes).unwrap(), &[""]).unwrap().clone();
    let spaces = carried(&commit(format!("author A <a@b>  1 +0000\n{C}\nmessage")));
    assert_eq!(at(&spaces, &["bytes"]), Some(&Ipld::Bytes(b" ".to_vec())));
    assert_eq!(at(&spaces, &["cut"]), Some(&Ipld::Integer(0)));
    let latin1 = carried(&commit([A.as_bytes(), C.as_bytes(), b"\nd\xe9j"].concat()));
    assert_eq!(at(&latin1, &["bytes"]), Some(&Ipld::Bytes(vec![0xe9])));
    let order = carried(&tree(&[("100644", b"b"), ("100644", b"a"), ("100644", b"c")]));
    let names = ["b", "a"].map(|name| Ipld::String(name.into()));
    assert_eq!(at(&order, &["entries"]), Some(&Ipld::List(names.into())));
    assert_eq!(at(&order, &["cut"]), Some(&Ipld::Integer(2)));
}

/// All values that differ from this one in one place: a part that is changed, left out or added.
fn changed(value: &Ipld) -> Vec<Ipld> {
    let mut out = match value {
        Ipld::Integer(number) => vec![Ipld::Integer(number + 1), Ipld::Integer(-1)],
        Ipld::String(text) => {
            let texts =
                [format!("{text}x"), format!("x\n{text}"), format!("{text}\n"), "\0".into()];
            texts.into_iter().chain([String::new()]).map(Ipld::String).collect()
        }
        Ipld::Bytes(bytes) => vec![Ipld::Bytes([&bytes[..], b"x"].concat()), Ipld::Bytes(vec![])],
        _ => Vec::new(),
    };
    match value {
        Ipld::List(items) => {
            for (place, item) in items.iter().enumerate() {
                let with = |item| {
                    let mut items = items.clone();
                    items.splice(place..=place, item);
                    Ipld::List(items)
                };
                out.extend(changed(item).into_iter().map(|item| with(Some(item))));
                out.push(with(None));
            }
            out.push(Ipld::List([&items[..], &[Ipld::String("more".into())]].concat()));
        }
        Ipld::Map(map) => {
            for (key, item) in map {
                let with = |item| {
                    let mut map = map.clone();
                    map.insert(key.clone(), item);
                    Ipld::Map(map)
                };
                out.extend(changed(item).into_iter().map(with));
                let mut less = map.clone();
                less.remove(key);
                out.push(Ipld::Map(less));
            }
            let mut more = map.clone();
            more.insert("more".into(), Ipld::String("more".into()));
            out.push(Ipld::Map(more));
        }
        Ipld::Link(_) => {
            out.push(Ipld::Link("baf4bcfaz6caf3dpdnnsef2gfomducev2okwwpaa".parse().unwrap()))
        }
        _ => {}
    }
    out.push(Ipld::Null);
    out.retain(|other| other != value);
    out
}

/// Each part of each object is changed: what comes of it is that value, or a typed error.
#[test]
fn a_changed_value_is_encoded_as_such_or_refused() {
    let (mut encoded, mut refused, mut disagree) = (0, 0, 0);
    for (what, bytes) in ordinary().into_iter().chain(odd()) {
        for value in changed(&decode_as(SHA1, &bytes).unwrap()) {
            match encode_as(SHA1, &value) {
                Ok(other) => {
                    assert_ne!(other, bytes, "{what}: the change is lost: {value:?}");
                    assert_eq!(decode_as(SHA1, &other).unwrap(), value, "{what}");
                    encoded += 1;
                }
                Err(Error::Disagreement) => disagree += 1,
                Err(Error::Value { .. } | Error::Malformed { .. } | Error::Cid(_)) => refused += 1,
                Err(other) => panic!("{what}: {other}: {value:?}"),
            }
        }
    }
    println!("{encoded} encoded, {refused} refused, {disagree} disagreed");
    assert!(encoded > 100 && refused > 100 && disagree > 100);
}

fn map<const N: usize>(entries: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn text(text: &str) -> Ipld {
    Ipld::String(text.into())
}

#[test]
fn a_value_made_by_hand_becomes_what_git_would_write() {
    let id: ObjectId = ID.parse().unwrap();
    let link = || Ipld::Link(cid_of(&id));
    let entry = |mode| map([("mode", text(mode)), ("hash", link())]);
    let tree = map([("a", entry("40000")), ("a.b", entry("100644")), ("a0", entry("160000"))]);
    let built = TreeBuilder::new(SHA1)
        .entry(Mode::TREE, "a", id)
        .entry(Mode::FILE, "a.b", id)
        .entry(Mode::SUBMODULE, "a0", id);
    assert_eq!(encode_as(SHA1, &tree), built.build());

    let who = || {
        let (name, email) = (text("A"), text("a@b"));
        map([("name", name), ("email", email), ("date", text("1")), ("timezone", text("+0000"))])
    };
    let commit = map([
        ("tree", link()),
        ("parents", Ipld::List(vec![link(), link()])),
        ("author", who()),
        ("committer", who()),
        ("message", text("by hand\n")),
        ("signature", text("-----BEGIN SSH SIGNATURE-----\na\n-----END SSH SIGNATURE-----")),
        ("mergetag", Ipld::List(vec![])),
        ("other", Ipld::List(vec![text("change-id a"), text(" more")])),
    ]);
    let me = PersonBuf::new("A", "a@b", 1, 0);
    let built = CommitBuilder::new(id, me.clone(), me.clone())
        .parent(id)
        .parent(id)
        .header("change-id", "a\nmore")
        .signature("-----BEGIN SSH SIGNATURE-----\na\n-----END SSH SIGNATURE-----")
        .message("by hand\n");
    assert_eq!(encode_as(SHA1, &commit), built.build());

    let tag = map([
        ("object", link()),
        ("type", text("tree")),
        ("tag", text("v1")),
        ("tagger", who()),
        ("message", text("by hand\n")),
    ]);
    let built = TagBuilder::new(id, Kind::Tree, "v1").tagger(me).message("by hand\n");
    assert_eq!(encode_as(SHA1, &tag), built.build());
    assert_eq!(encode_as(SHA1, &Ipld::Bytes(blob(b"by hand"))), Ok(blob(b"by hand")));
}

#[test]
fn what_no_object_can_hold_is_refused() {
    let raw: cid::Cid = "bafkqaaa".parse().unwrap();
    let sha256 = cid_of(&ObjectFormat::Sha256.hash(b"").unwrap());
    let entry = |mode, cid| map([("mode", text(mode)), ("hash", Ipld::Link(cid))]);
    let git = cid_of(&ID.parse().unwrap());
    for value in [
        Ipld::Null,
        Ipld::Integer(1),
        Ipld::List(vec![]),
        Ipld::Bytes(b"content".to_vec()),
        Ipld::Bytes(with_header(Kind::Commit, b"")),
        map([("a", Ipld::Null)]),
        map([("a", entry("100648", git))]),
        map([("a", entry("", git))]),
        map([("a\0", entry("100644", git))]),
        map([("a", entry("100644", raw))]),
        map([("a", entry("100644", sha256))]),
        map([("tree", Ipld::Link(git))]),
        map([("object", Ipld::Link(git)), ("type", text("other"))]),
    ] {
        let refused = encode_as(SHA1, &value).unwrap_err();
        let typed = matches!(
            refused,
            Error::Value { .. } | Error::Cid(_) | Error::Header | Error::Malformed { .. }
        );
        assert!(typed, "{value:?}: {refused}");
    }
}

#[test]
fn fields_that_do_not_fit_what_is_carried_are_refused() {
    let value =
        decode_as(SHA1, &commit([A.as_bytes(), C.as_bytes(), b"\nd\xe9j"].concat())).unwrap();
    let Ipld::Map(mut map) = value else { panic!("a commit") };
    map.insert("message".into(), Ipld::String("dej".into()));
    assert_eq!(encode_as(SHA1, &Ipld::Map(map)), Err(Error::Disagreement));
}

/// Two entries with ids of 32 bytes, which are also three with ids of 20.
#[test]
fn a_tree_that_can_be_read_both_ways_needs_its_format() {
    let mut content = [0x11; 72];
    for (at, start) in [(0, b"1 a\0"), (24, b"1 b\0"), (36, b"1 c\0"), (48, b"1 d\0")] {
        content[at..at + 4].copy_from_slice(start);
    }
    let bytes = with_header(Kind::Tree, &content);
    assert_eq!(GitCodec::decode_from_slice(&bytes), Err(Error::Ambiguous));
    assert_eq!(GitCodec::links(&bytes).err(), Some(Error::Ambiguous));
    let (sha1, sha256) = (
        GitSha1::decode_from_slice(&bytes).unwrap(),
        GitSha256::decode_from_slice(&bytes).unwrap(),
    );
    assert!(at(&sha1, &["b"]).is_some() && at(&sha256, &["c"]).is_some() && sha1 != sha256);
    assert_eq!(GitCodec::encode_to_vec(&sha256).unwrap(), bytes);
    assert_eq!(detect_format(&with_header(Kind::Tree, b"")), Ok(ObjectFormat::Sha1));
}

/// The beginnings of the first two files that were made to have one SHA-1.
#[test]
fn a_collision_attack_is_found() {
    for bytes in [
        include_bytes!("../fixtures/git/shattered-1.bin"),
        include_bytes!("../fixtures/git/shattered-2.bin"),
    ] {
        assert_eq!(SHA1.hash(bytes), Err(Error::Collision));
        assert!(SHA1.hash(&bytes[..256]).is_ok());
    }
}
