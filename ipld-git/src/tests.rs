//! Reading takes work in proportion to the size of an object, whatever it is made of. Bytes that are
//! looked at are counted, not seconds.

use crate::{Kind, Object, ObjectFormat, decode_as, encode_as, links_as, scan::work, with_header};

const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const MIB: usize = 1 << 20;

/// Reads every part there is, and gives how often each byte was looked at.
fn read(bytes: &[u8]) -> usize {
    work::take();
    let object = Object::parse(ObjectFormat::Sha1, bytes).unwrap();
    links_as(ObjectFormat::Sha1, bytes).unwrap().for_each(drop);
    if let Object::Commit(commit) = object {
        commit.parents().for_each(drop);
        commit.headers().for_each(|header| drop(header.unfolded()));
        commit.mergetags().for_each(drop);
        let _ = (commit.author(), commit.committer(), commit.encoding(), commit.signature());
    }
    if let Object::Tag(tag) = object {
        tag.headers().for_each(|header| drop(header.unfolded()));
        let _ = tag.tagger();
    }
    work::take().div_ceil(bytes.len())
}

/// The same for its value, and back.
fn value(bytes: &[u8]) -> usize {
    work::take();
    let value = decode_as(ObjectFormat::Sha1, bytes).unwrap();
    assert!(encode_as(ObjectFormat::Sha1, &value).unwrap() == bytes);
    work::take().div_ceil(bytes.len())
}

fn commit(rest: &str) -> Vec<u8> {
    with_header(Kind::Commit, format!("tree {ID}\n{rest}").as_bytes())
}

#[test]
fn headers_of_64_mib() {
    for (line, repeated) in [
        ("one line", "x".to_owned()),
        ("one header", format!("{}\n ", "x".repeat(69))),
        ("many headers", format!("{}\n", "x".repeat(69))),
        ("signatures", format!("gpgsig -----BEGIN PGP SIGNATURE-----\n {}\n", "x".repeat(69))),
        ("an endless signature", "gpgsig -----BEGIN PGP SIGNATURE-----\n".to_owned()),
        ("mergetags", format!("mergetag object {ID}\n type x\n tag y\n")),
        ("authors", "author A <<<<\n".to_owned()),
        ("brackets", "author <<<<<<<<<<<<<<<<>\n".to_owned()),
    ] {
        let bytes = commit(&format!("x {}", repeated.repeat(64 * MIB / repeated.len())));
        let passes = read(&bytes);
        println!("{line}: {passes}");
        assert!(passes <= 16, "{line}: {passes}");
    }
}

#[test]
fn values_of_8_mib() {
    for (line, repeated) in [
        ("one header", format!("{}\n ", "x".repeat(69))),
        ("many headers", format!("{}\n", "x".repeat(69))),
        ("signatures", format!("gpgsig -----BEGIN PGP SIGNATURE-----\n {}\n", "x".repeat(69))),
        ("mergetags", format!("mergetag object {ID}\n type x\n tag y\n")),
        ("endless mergetags", format!("mergetag object {ID}\n type x\n tag y\n \n {ID}\n")),
    ] {
        let bytes = commit(&format!("x y\n{}", repeated.repeat(8 * MIB / repeated.len())));
        let passes = value(&bytes);
        println!("{line}: {passes}");
        assert!(passes <= 32, "{line}: {passes}");
    }
}

#[test]
fn a_million_of_each() {
    let parents = commit(&format!("parent {ID}\n").repeat(1_000_000));
    assert!(read(&parents) <= 8 && value(&parents) <= 8);

    for (what, name) in [
        ("in order", &(|number| format!("{number:07}")) as &dyn Fn(u32) -> String),
        ("backwards", &|number| format!("{:07}", 9_999_999 - number)),
        ("one name", &|_| "a".into()),
    ] {
        let tree = |count| {
            let entry =
                |number| [format!("40000 {}\0", name(number)).as_bytes(), &[7; 20]].concat();
            with_header(Kind::Tree, &(0..count).flat_map(entry).collect::<Vec<_>>())
        };
        // As values they would take more than a gigabyte.
        let (in_place, as_value) = (read(&tree(1_000_000)), value(&tree(50_000)));
        println!("{what}: {in_place}, {as_value}");
        assert!(in_place <= 8 && as_value <= 32, "{what}: {in_place}, {as_value}");
    }

    let tag = format!("object {ID}\ntype blob\ntag {}\n", "x".repeat(64 * MIB));
    let tag = with_header(Kind::Tag, (tag + &"x y\n".repeat(MIB)).as_bytes());
    assert!(read(&tag) <= 8);
}
