//! What the tables of other projects do not hold.

use ipfs_traits::{Block, Error, HashTable};

use super::*;

fn decode(codec: Json, text: &str) -> Result<Ipld> {
    let block = Block::of(codec.code(), codes::SHA2_256, text.to_owned(), &HashTable::standard())?;
    codec.decode(block.cid(), block.data())
}

fn roundtrip(text: &str) {
    let value = decode(Json::dag(), text).unwrap();
    assert_eq!(Json::dag().encode(&value).unwrap(), text);
}

#[test]
fn values_come_back_as_they_were() {
    let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    for text in [
        r#"{"a":[1,-2,3.5,true,false,null],"b":"\"\\\b\f\n\r\t\u0001é😀"}"#,
        r#"{"/":{"bytes":""}}"#,
        r#"[{"/":{"bytes":"AQID"}}]"#,
        "10.0",
        "1e-7",
        "1e+21",
        "0.000001",
        "123456789012345680000.0",
    ] {
        roundtrip(text);
    }
    roundtrip(&format!(r#"{{"link":{{"/":"{cid}"}}}}"#));
}

#[test]
fn what_json_does_not_allow_is_refused() {
    for text in [
        "",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "nul",
        "tru",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "[1 2]",
        "\"\u{1}\"",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "1 2",
        "1e999",
        "18446744073709551616",
        "-18446744073709551617",
        "{1:2}",
        "\u{feff}1",
    ] {
        for codec in [Json::dag(), Json::plain()] {
            let error = decode(codec, text).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{text}: {error}");
        }
    }
    assert_eq!(decode(Json::dag(), r#""\ud83d\ude00""#).unwrap(), Ipld::String("😀".into()));
}

#[test]
fn depth_is_bounded_both_ways() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let deep = decode(Json::dag(), &nested(256)).unwrap();
    assert_eq!(Json::dag().encode(&deep).unwrap(), nested(256));
    let deeper = Ipld::List(vec![deep]);
    assert!(matches!(Json::dag().encode(&deeper), Err(Error::Limit { .. })));
    for text in [nested(257), "[".repeat(2_000_000)] {
        assert!(matches!(decode(Json::plain(), &text), Err(Error::Limit { limit: 256, .. })));
    }
}

#[test]
fn a_map_that_would_be_read_as_something_else_is_not_written() {
    let map = |key: &str, value| Ipld::Map([(key.to_owned(), value)].into());
    let text = Ipld::String("x".into());
    for value in [map("/", text.clone()), map("/", map("bytes", text.clone()))] {
        assert!(matches!(Json::dag().encode(&value), Err(Error::Invalid { .. })));
        assert!(Json::plain().encode(&value).is_ok());
    }
    let Ipld::Map(mut entries) = map("/", text) else { unreachable!() };
    entries.insert("!".into(), Ipld::Null);
    roundtrip(std::str::from_utf8(&Json::dag().encode(&Ipld::Map(entries)).unwrap()).unwrap());
    assert!(Json::plain().encode(&Ipld::Bytes(vec![])).is_err());
}

#[test]
fn links_are_found_wherever_they_stand() {
    let cid: Cid = "bafkqaaa".parse().unwrap();
    let text = r#"{"a":[{"/":"bafkqaaa"}],"b":{"/":"bafkqaaa"}}"#;
    let mut found = Vec::new();
    Json::dag().links(&cid, text.as_bytes(), &mut |link| found.push(link)).unwrap();
    assert_eq!(found, [cid, cid]);
    Json::plain().links(&cid, text.as_bytes(), &mut |_| panic!("JSON has no links")).unwrap();
}
