use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> Error {
    text.parse::<Path>().unwrap_err()
}

#[test]
fn what_is_no_path_says_why() {
    for text in [
        "",
        "/",
        "/ipfs",
        "/ipfs//",
        "/ipld/foo",
        "/foo/bafkqaaa",
        "ipfs/bafkqaaa",
        "ipfs:",
        "ipfs://?bafkqaaa",
        "http://bafkqaaa",
        "/ipfs/bafkqaaa/a\0",
    ] {
        assert!(matches!(refused(text), Error::Invalid { what: "path", .. }), "{text}");
    }
    let long = format!("/ipfs/bafkqaaa/{}", "a".repeat(MAX_LEN));
    assert!(matches!(refused(&long), Error::Limit { limit: 32_767, .. }));
    let root: Path = "bafkqaaa".parse().unwrap();
    assert!(matches!(root.join("a".repeat(MAX_LEN)), Err(Error::Limit { .. })));
}

#[test]
fn no_path_leads_out_of_its_root() {
    for text in [
        "/ipfs/bafkqaaa/..",
        "/ipfs/bafkqaaa/a/../../b",
        "/ipfs/bafkqaaa/../bafkqaaa",
        "bafkqaaa/..",
        "ipfs://bafkqaaa/a/%2e%2E/../b",
        "/ipns/example.com/../other.com",
    ] {
        assert!(matches!(refused(text), Error::Invalid { what: "path", .. }), "{text}");
    }
    let root: Path = "/ipfs/bafkqaaa/a".parse().unwrap();
    assert_eq!(root.clone().join("../b").unwrap().to_string(), "/ipfs/bafkqaaa/b");
    assert!(root.join("../../b").is_err());
}

#[test]
fn one_name_is_one_name() {
    let root: Path = "bafkqaaa".parse().unwrap();
    for name in ["", ".", "..", "a/b", "/", "a\0"] {
        assert!(root.clone().child(name).is_err(), "{name:?}");
    }
    assert_eq!(root.child("a%2Fb").unwrap().to_string(), "/ipfs/bafkqaaa/a%2Fb");
}

#[test]
fn only_uris_are_percent_encoded() {
    let names = |text: &str| text.parse::<Path>().unwrap().segments().to_vec();
    assert_eq!(names("/ipfs/bafkqaaa/a%20b"), ["a%20b"]);
    assert_eq!(names("bafkqaaa/a%2"), ["a%2"]);
    assert_eq!(names("/ipfs/bafkqaaa/what?#why"), ["what?#why"]);
    assert_eq!(names("ipfs://bafkqaaa/a%20b/%C3%A4"), ["a b", "\u{e4}"]);
    assert_eq!(names("ipld:bafkqaaa/a+b?c=d#e"), ["a+b"]);
    assert_eq!(names("ipfs://bafkqaaa/%2e/a"), ["a"]);
    for text in
        ["ipfs://bafkqaaa/%", "ipfs://bafkqaaa/%2", "ipfs://bafkqaaa/%+1", "ipfs://bafkqaaa/%zz"]
    {
        assert!(matches!(refused(text), Error::Invalid { .. }), "{text}");
    }
    // A slash or a NUL within a name, and what is no text.
    for text in ["ipfs://bafkqaaa/a%2Fb", "ipfs://bafkqaaa/%00", "ipfs://bafkqaaa/%ff"] {
        assert!(matches!(refused(text), Error::Invalid { .. }), "{text}");
    }
}

#[test]
fn names_of_ipns_are_held_and_not_resolved() {
    let path: Path = "/ipns/example.com/a".parse().unwrap();
    assert_eq!((path.namespace(), path.name()), (Namespace::Ipns, Some("example.com")));
    assert!(path.namespace().is_mutable());
    assert!(matches!(path.root(), Err(Error::Unsupported(_))));
}

proptest! {
    /// What a path is written as is the same path, as text and as a URI.
    #[test]
    fn round_trip(names in prop::collection::vec("[^/\0]{1,12}", 0..5), slash: bool) {
        prop_assume!(names.iter().all(|name| name != "." && name != ".."));
        let mut path = Path::from(Cid::default());
        for name in &names {
            path = path.child(name).unwrap();
        }
        path = path.join(if slash { "/" } else { "" }).unwrap();
        prop_assert_eq!(path.segments(), names);
        prop_assert_eq!(&Path::canonical(&path.to_string()).unwrap(), &path);
        prop_assert_eq!(&path.to_string().parse::<Path>().unwrap(), &path);
        prop_assert_eq!(path.to_uri().parse::<Path>().unwrap(), path);
    }
}
