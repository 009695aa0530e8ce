//! Codecs against the tables of the specifications and of other implementations.

mod dag;
mod keys;

use std::collections::BTreeMap;

use ipfs_core::{
    Block, Cid, CodecTable, Error, HashTable, Ipld, Path, Prefix, Result, codes, standard_codecs,
};

use crate::support::{self, Report, bytes, hex, to_hex};

fn code(name: &str) -> u64 {
    match name {
        "raw" => codes::RAW,
        "dag-pb" | "dag-pb-node" => codes::DAG_PB,
        "dag-cbor" => codes::DAG_CBOR,
        "dag-json" => codes::DAG_JSON,
        other => panic!("codec {other}"),
    }
}

struct Codecs(CodecTable, HashTable);

impl Codecs {
    fn new() -> Self {
        Self(standard_codecs(), HashTable::standard())
    }

    fn decode(&self, codec: &str, data: Vec<u8>) -> Result<Ipld> {
        self.0.decode(&Block::of(code(codec), codes::SHA2_256, data, &self.1)?)
    }

    fn encode(&self, codec: &str, value: &Ipld) -> Result<Block> {
        self.0.encode(code(codec), codes::SHA2_256, value, &self.1)
    }

    /// Whether the bytes decode, and give the same bytes again.
    fn roundtrip(&self, codec: &str, data: &[u8]) -> Result<(), String> {
        let value = self.decode(codec, data.to_vec()).map_err(|e| e.to_string())?;
        let again = self.encode(codec, &value).map_err(|e| format!("encode: {e}"))?;
        match again.data() == data {
            true => Ok(()),
            false => Err(format!("gave {} again", to_hex(again.data()))),
        }
    }
}

/// The outcome of something that has to be refused.
fn refused<T: std::fmt::Debug>(result: Result<T>) -> Result<(), String> {
    match result {
        Err(Error::Malformed { .. } | Error::Invalid { .. } | Error::Limit { .. }) => Ok(()),
        Err(other) => Err(format!("another error: {other}")),
        Ok(value) => Err(format!("it was taken: {value:?}")),
    }
}

#[test]
fn codec_fixtures() {
    let codecs = Codecs::new();
    let mut report = Report::new("codecs/codec-fixtures");
    let mut values: BTreeMap<String, Vec<(String, Vec<u8>, Ipld)>> = BTreeMap::new();
    for case in support::table("codecs/codec-fixtures/INDEX.tsv") {
        let (fixture, codec, cid) = (case.id(), &case["codec"], &case["expected_cid"]);
        let id = format!("{fixture} {codec}");
        let data = bytes(&format!("codecs/codec-fixtures/{fixture}/{cid}.{codec}"));
        report.ran(&id, codecs.roundtrip(codec, &data));
        let prefix = Prefix::v1(code(codec), codes::SHA2_256);
        report.same(&id, prefix.cid(&data, &codecs.1).unwrap().to_string(), cid.to_owned());
        if let Ok(value) = codecs.decode(codec, data.clone()) {
            values.entry(fixture.into()).or_default().push((codec.into(), data, value));
        }
    }
    for (fixture, forms) in values {
        for (from, _, value) in &forms {
            for (to, data, expected) in &forms {
                let id = format!("{fixture} {from} to {to}");
                report.same(&id, value, expected);
                let encoded = codecs.encode(to, value).map(|block| to_hex(block.data()));
                report.same(&id, encoded.map_err(|e| e.to_string()), Ok(to_hex(data)));
            }
        }
    }
    report.finish();
}

#[test]
fn negative() {
    let codecs = Codecs::new();
    let mut report = Report::new("codecs/negative.json");
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&bytes("codecs/negative.json")).unwrap();
    for case in cases {
        let field = |name: &str| case.get(name).and_then(|value| value.as_str());
        let (id, codec) = (field("id").unwrap(), field("codec").unwrap());
        match field("phase").unwrap() {
            "decode" => {
                report.ran(id, refused(codecs.decode(codec, hex(field("hex").unwrap()))));
            }
            "encode" => {
                let text = serde_json::to_vec(&case["dag_json"]).unwrap();
                let value = codecs.decode("dag-json", text).unwrap();
                report.ran(id, refused(codecs.encode(codec, &value)));
            }
            other => panic!("{id}: phase {other}"),
        }
    }
    report.finish();
}

#[test]
fn byte_vectors() {
    let codecs = Codecs::new();
    let mut report = Report::new("codecs/byte-vectors.tsv");
    for case in support::table("codecs/byte-vectors.tsv") {
        let (id, codec, data) = (case.id(), &case["codec"], hex(&case["hex"]));
        match &case["expect"] {
            "roundtrip" => report.ran(id, codecs.roundtrip(codec, &data)),
            "decode-error" => report.ran(id, refused(codecs.decode(codec, data))),
            "decode-ok" => {
                report.ran(id, codecs.decode(codec, data).map(drop));
            }
            // Lenient readers take it, strict ones need not; either way it does not come back.
            "sloppy-decode" | "implementation-defined" => {
                let _ = codecs.decode(codec, data);
                report.ran(id, Ok::<(), Error>(()));
            }
            other => panic!("{id}: expect {other}"),
        }
    }
    report.finish();
}

#[test]
fn dasl_cbor() {
    let codecs = Codecs::new();
    let mut report = Report::new("codecs/dasl-cbor.json");
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&bytes("codecs/dasl-cbor.json")).unwrap();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let data = hex(case["data"].as_str().unwrap());
        let tags = case["tags"].as_array().unwrap();
        if !tags.iter().any(|tag| tag == "basic" || tag == "dag-cbor") {
            report.left_out("another profile than DAG-CBOR");
            continue;
        }
        match case["type"].as_str().unwrap() {
            "roundtrip" => report.ran(id, codecs.roundtrip("dag-cbor", &data)),
            "invalid_in" => report.ran(id, refused(codecs.decode("dag-cbor", data))),
            // Such a value is not to be written: then reading it must not give it, or writing fails.
            "invalid_out" => {
                let again = codecs.decode("dag-cbor", data.clone());
                let again = again.and_then(|value| codecs.encode("dag-cbor", &value));
                let same = again.is_ok_and(|block| block.data() == &data);
                report.same(id, same, false);
            }
            other => panic!("{id}: {other}"),
        }
    }
    report.finish();
}

/// 2 MB of nested lists: what brought a decoder of Go down (CVE-2026-42328).
#[test]
fn depth_is_bounded_in_every_codec() {
    let codecs = Codecs::new();
    let deep: Vec<u8> = vec![0x81; 2_000_000];
    refused(codecs.decode("dag-cbor", deep.clone())).unwrap();
    refused(codecs.decode("dag-json", vec![b'['; 2_000_000])).unwrap();
    let mut links = Vec::new();
    let cid = Prefix::v1(codes::DAG_CBOR, codes::SHA2_256).cid(&deep, &codecs.1).unwrap();
    let codec = codecs.0.of(&cid).unwrap();
    refused(codec.links(&cid, &deep, &mut |link| links.push(link))).unwrap();
}

/// What boxo makes of the text of paths.
#[test]
fn content_paths() {
    let mut report = Report::new("paths/content_paths.tsv");
    for case in support::table("paths/content_paths.tsv") {
        let (input, expected) = (&case["input"], &case["expected"]);
        let found = match &case["op"] {
            "NewPath" => Path::canonical(input).map(|path| shown(&path)),
            "NewPathFromURI" => input.parse::<Path>().map(|path| shown(&path)),
            "Join" => {
                let (path, names) = input.split_once(" + ").unwrap();
                let names: Vec<String> = serde_json::from_str(names).unwrap();
                let joined = names.iter().try_fold(path.parse::<Path>().unwrap(), Path::join);
                joined.map(|path| path.to_string())
            }
            "StringToSegments" => {
                let path = Path::from(Cid::default()).join(input).unwrap();
                let names: Vec<String> =
                    path.segments().iter().map(|name| format!("{name:?}")).collect();
                Ok(format!("[{}]", names.join(", ")))
            }
            other => panic!("{other}"),
        };
        match expected.starts_with("ERROR") {
            true => report.ran(case.id(), refused(found)),
            false => {
                report.same(case.id(), found.map_err(|e| e.to_string()), Ok(expected.to_owned()));
            }
        }
    }
    report.finish();
}

fn shown(path: &Path) -> String {
    let namespace = path.namespace();
    format!("{path} namespace={} mutable={}", namespace.name(), namespace.is_mutable())
}
