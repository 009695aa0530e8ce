//! What parameters are refused, and how chunkers are spelled.

use super::*;

fn refused(params: Params) -> Error {
    params.check().unwrap_err()
}

#[test]
fn bad_parameters_are_named() {
    let params = Params { hash: codes::SHA2_512, ..Params::unixfs_v0_2015() };
    assert!(matches!(refused(params), Error::Invalid { what: "hash", .. }));
    let params = Params { max_links: 1, ..Params::default() };
    assert!(matches!(refused(params), Error::Invalid { what: "max_links", .. }));
    let params = Params { max_links: Params::MAX_LINKS + 1, ..Params::default() };
    assert!(matches!(refused(params), Error::Limit { .. }));
    for fanout in [0, 4, 100, 2048] {
        let params = Params { fanout, ..Params::default() };
        assert!(matches!(refused(params), Error::Invalid { what: "fanout", .. }));
    }
    let params = Params { inline: Some(65), ..Params::default() };
    assert!(matches!(refused(params), Error::Limit { limit: 64, .. }));
    let params = Params { hash: 0x9999, ..Params::default() };
    let unknown = params.check_with(&HashTable::standard());
    assert!(matches!(unknown, Err(Error::UnknownHash(0x9999))));
    let params = Params { mode: Attribute::Set(0o10000), ..Params::default() };
    assert!(matches!(refused(params), Error::Limit { what: "mode", .. }));
    let mtime = Attribute::Set(Mtime { seconds: 0, nanos: Some(1_000_000_000) });
    assert!(matches!(
        refused(Params { mtime, ..Params::default() }),
        Error::Invalid { what: "mtime", .. }
    ));
    for name in ["", ".", "..", "a/b", "a\0"] {
        let params = Params { wrap: Some(name.into()), ..Params::default() };
        assert!(matches!(refused(params), Error::Invalid { what: "wrap", .. }), "{name:?}");
    }
    let params = Params { ignore: vec!["a{".into(), "[z-a]".into()], ..Params::default() };
    assert!(matches!(refused(params), Error::Invalid { what: "ignore", .. }));
}

#[test]
fn chunkers_out_of_bounds_are_refused() {
    assert!(matches!(Chunker::fixed(0), Err(Error::Invalid { what: "chunker", .. })));
    assert!(matches!(Chunker::fixed(Chunker::MAX_SIZE + 1), Err(Error::Limit { .. })));
    for (min, avg, max) in [(15, 20, 30), (16, 16, 30), (16, 17, 17), (0, 0, 0)] {
        assert!(matches!(Chunker::rabin(min, avg, max), Err(Error::Invalid { .. })));
    }
    assert!(matches!(Chunker::rabin(16, 17, Chunker::MAX_SIZE + 1), Err(Error::Limit { .. })));
    // One that was put together by hand is looked at too.
    let chunker = Chunker::Rabin { min: 1, avg: 0, max: 5 };
    assert!(matches!(refused(Params { chunker, ..Params::default() }), Error::Invalid { .. }));
}

#[test]
fn chunkers_are_spelled_as_they_are_read() {
    for (text, spelled) in [
        ("", "size-262144"),
        ("default", "size-262144"),
        ("size-+5", "size-5"),
        ("rabin", "rabin-87381-262144-393216"),
        ("rabin-48", "rabin-16-48-72"),
        ("rabin-1397931", "rabin-465977-1397931-2096896"),
        ("rabin-min:18-avg:25-max:32", "rabin-18-25-32"),
        ("buzhash", "buzhash"),
    ] {
        let chunker: Chunker = text.parse().unwrap();
        assert_eq!(chunker.to_string(), spelled);
        assert_eq!(spelled.parse::<Chunker>().unwrap(), chunker);
    }
    for bad in [
        "size",
        "size-",
        "size--1",
        "size-0",
        "size-1-2",
        "size-99999999999999999999",
        "rabin-47",
        "rabin-0",
        "rabin-1397932",
        "rabin-18446744073709551615",
        "rabin-1-2",
        "rabin-max:18-25-32",
        "rabin-16-17-18-19",
        "buzhash-1",
        "Default",
        " size-5",
    ] {
        assert!(bad.parse::<Chunker>().is_err(), "{bad:?}");
    }
}
