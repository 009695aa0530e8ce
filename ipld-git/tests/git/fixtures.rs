//! Objects that other projects' suites hold, and what go-ipld-git makes of them.

use std::collections::BTreeMap;

use cid::Cid;
use ipld_core::{
    codec::{Codec, Links},
    ipld::Ipld,
};
use ipld_git::{
    Error, GitCodec, Object, ObjectFormat, Person, PersonBuf, cid_of, decode_as, encode_as, id_of,
    links_as,
};
use serde_json::Value;

use crate::{
    support::{self, Report, bytes, text},
    value::{at, to_json},
};

fn object(cid: &str) -> (ObjectFormat, Vec<u8>) {
    let id = id_of(&cid.parse().unwrap()).unwrap();
    (id.format(), bytes(&format!("git/objects/{cid}")))
}

#[test]
fn objects() {
    let mut report = Report::new("git/objects.tsv");
    for case in support::table("git/objects.tsv") {
        let (format, bytes) = object(case.id());
        report.ran(case.id(), same_again(&case, format, &bytes));
    }
    report.finish();
}

fn same_again(case: &support::Case, format: ObjectFormat, bytes: &[u8]) -> Result<(), String> {
    let wrong = |error: Error| error.to_string();
    let object = Object::parse(format, bytes).map_err(wrong)?;
    let id = object.id().map_err(wrong)?;
    if (id.to_string(), cid_of(&id).to_string()) != (case["oid"].into(), case.id().into()) {
        return Err(format!("its id is {id}, its CID {}", cid_of(&id)));
    }
    if (object.kind().name(), object.bytes().len().to_string())
        != (&case["type"], case["size"].into())
    {
        return Err(format!("a {} of {}", object.kind(), object.bytes().len()));
    }
    let value = decode_as(format, bytes).map_err(wrong)?;
    if encode_as(format, &value).map_err(wrong)? != bytes {
        return Err("its value gives other bytes".into());
    }
    let value = GitCodec::decode_from_slice(bytes).map_err(wrong)?;
    match GitCodec::encode_to_vec(&value).map_err(wrong)? == bytes {
        true => Ok(()),
        false => Err("the codec gives other bytes".into()),
    }
}

/// Objects whose values differ from those of go-ipld-git, and why ours are right.
const OTHERWISE: &[(&str, &str)] = &[(
    "baf4bcfhkutsez7xbt6a2hi6udgbcmor7bhrd6bq",
    "several < in a person: git splits at the first",
)];

#[test]
fn decoded_go() {
    let mut report = Report::new("git/decoded_go.jsonl");
    let mut cases = BTreeMap::<String, usize>::new();
    for line in text("git/decoded_go.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let cid = case["cid"].as_str().unwrap();
        let (format, bytes) = object(cid);
        let ours = decode_as(format, &bytes).unwrap();
        if let Some(error) = case["go_error"].as_str() {
            *cases.entry(format!("go-ipld-git fails: {error}")).or_default() += 1;
            report.ran(cid, right_where_go_fails(format, error, &ours));
            continue;
        }
        if case["go_round_trip"] == "differs" {
            *cases.entry("go-ipld-git gives other bytes".into()).or_default() += 1;
        }
        let (found, expected) = (without_odd(&ours), as_ours(case["node"].clone()));
        if let Some((_, why)) = OTHERWISE.iter().find(|(other, _)| *other == cid) {
            println!("{cid}: {why}");
            report.ran(cid, if found == expected { Err("they do not differ") } else { Ok(()) });
            continue;
        }
        report.same(cid, found, expected);
        let mut expected: Vec<Cid> = serde_json::from_value::<Vec<String>>(case["links"].clone())
            .unwrap()
            .iter()
            .map(|link| link.parse().unwrap())
            .collect();
        let mut found: Vec<Cid> = links_as(format, &bytes).unwrap().collect();
        found.sort();
        expected.sort();
        report.same(cid, found, expected);
    }
    for (case, count) in cases {
        println!("{count}: {case}");
    }
    report.finish();
}

/// It knows neither SSH signatures, which are whole in our value, nor empty ones, which are lines like
/// others, nor SHA-256.
pub(crate) fn right_where_go_fails(
    format: ObjectFormat,
    error: &str,
    ours: &Ipld,
) -> Result<(), String> {
    if error.starts_with("sha256") {
        return match format {
            ObjectFormat::Sha256 => Ok(()),
            ObjectFormat::Sha1 => Err("it has SHA-1".into()),
        };
    }
    match at(ours, &["signature"]) {
        Some(Ipld::String(signature)) if !signature.starts_with(' ') => Ok(()),
        None if lines(ours).contains(&"gpgsig ") => Ok(()),
        other => Err(format!("its signature is {other:?}")),
    }
}

fn lines(commit: &Ipld) -> Vec<&str> {
    let Some(Ipld::List(lines)) = at(commit, &["other"]) else {
        panic!("a commit has other lines")
    };
    lines
        .iter()
        .filter_map(|line| if let Ipld::String(line) = line { Some(&line[..]) } else { None })
        .collect()
}

pub(crate) fn without_odd(value: &Ipld) -> Value {
    let mut json = to_json(value);
    if let Value::Object(map) = &mut json {
        map.remove("");
    }
    json
}

/// Its absent encoding and signature are null, and a tagger that is not there has empty parts.
pub(crate) fn as_ours(mut node: Value) -> Value {
    if let Value::Object(map) = &mut node {
        let nobody = |value: &Value| {
            value.as_object().is_some_and(|parts| parts.values().all(|part| part == ""))
        };
        map.retain(|key, value| !(value.is_null() || key == "tagger" && nobody(value)));
    }
    node
}

#[test]
fn decode() {
    let mut report = Report::new("git/decode.tsv");
    for case in support::table("git/decode.tsv") {
        let (path, expected) = (&case["path"], &case["expected"]);
        let outcome = match &case["root"] {
            "(person line)" => person(path, expected),
            "(bytes)" => match GitCodec::decode_from_slice(path.as_bytes()) {
                Err(Error::Header) => Ok(()),
                other => Err(format!("{other:?}")),
            },
            "(bytes hex)" => {
                let bytes = support::hex(path);
                let links = GitCodec::links(&bytes).unwrap().count();
                match GitCodec::decode_from_slice(&bytes) {
                    Ok(Ipld::Bytes(same)) if same == bytes && links == 0 => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
            "(tree node)" => stops_at_the_link(),
            root => follow(root, path, expected),
        };
        report.ran(case.id(), outcome);
    }
    report.finish();
}

/// The parts of a person line: those that are expected, the others empty; and the line again.
fn person(line: &str, expected: &str) -> Result<(), String> {
    let person = Person::parse(line.as_bytes()).ok_or("nobody")?;
    let expected: BTreeMap<String, String> = serde_json::from_str(expected).unwrap();
    let parts = [
        ("name", person.name),
        ("email", person.email),
        ("date", person.date),
        ("timezone", person.timezone),
    ];
    for (name, part) in parts {
        if expected.get(name).map_or("", String::as_str).as_bytes() != part {
            return Err(format!("its {name} is {:?}", String::from_utf8_lossy(part)));
        }
    }
    match PersonBuf::from(person).to_string() == line {
        true => Ok(()),
        false => Err("it is written as another line".into()),
    }
}

/// Walks from object to object.
fn follow(root: &str, path: &str, expected: &str) -> Result<(), String> {
    let load = |cid: &str| {
        let (format, bytes) = object(cid);
        decode_as(format, &bytes).unwrap()
    };
    let mut value = load(root);
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if let Ipld::Link(cid) = &value {
            value = load(&cid.to_string());
        }
        value = at(&value, &[name]).ok_or_else(|| format!("there is no {name}"))?.clone();
    }
    if let Ipld::Link(cid) = &value {
        value = load(&cid.to_string());
    }
    let (found, expected) = (to_json(&value), serde_json::from_str::<Value>(expected).unwrap());
    if found == expected { Ok(()) } else { Err(format!("{found}")) }
}

/// What is behind a link is in another object.
fn stops_at_the_link() -> Result<(), String> {
    let trees = support::table("git/objects.tsv");
    for case in trees.iter().filter(|case| &case["type"] == "tree") {
        let (format, bytes) = object(case.id());
        let Object::Tree(tree) = Object::parse(format, &bytes).unwrap() else { panic!("a tree") };
        let value = decode_as(format, &bytes).unwrap();
        for entry in tree.entries().filter(|entry| entry.mode().is_tree()) {
            let Ok(name) = std::str::from_utf8(entry.name) else { continue };
            if !matches!(at(&value, &[name, "hash"]), Some(Ipld::Link(_)))
                || at(&value, &[name, "hash", "subfile"]).is_some()
            {
                return Err(format!("{}: {name}", case.id()));
            }
        }
    }
    Ok(())
}
