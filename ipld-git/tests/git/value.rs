//! Values as DAG-JSON, to compare them with those of others.

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use serde_json::{Value, json};

/// The DAG-JSON of a value.
pub(crate) fn to_json(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(bool) => json!(bool),
        Ipld::Integer(number) => json!(i64::try_from(*number).unwrap()),
        Ipld::Float(number) => json!(number),
        Ipld::String(text) => json!(text),
        Ipld::Bytes(bytes) => json!({ "/": { "bytes": BASE64_NOPAD.encode(bytes) } }),
        Ipld::List(items) => items.iter().map(to_json).collect(),
        Ipld::Map(map) => map.iter().map(|(key, value)| (key.clone(), to_json(value))).collect(),
        Ipld::Link(cid) => json!({ "/": cid.to_string() }),
    }
}

/// The value at the end of a path that stays inside of one object.
pub(crate) fn at<'a>(value: &'a Ipld, path: &[&str]) -> Option<&'a Ipld> {
    path.iter().try_fold(value, |value, name| match value {
        Ipld::Map(map) => map.get(*name),
        Ipld::List(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}
