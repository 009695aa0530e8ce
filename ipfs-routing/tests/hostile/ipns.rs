//! What must hold of records, names and links whatever is given for them: shared by the test and the
//! fuzz target.

use std::time::SystemTime;

use ipfs_routing::{
    Ipns, Validator, dnslink,
    ipns::{Name, Record},
};
use ipfs_traits::{memory::peer_id, protobuf};

/// Reads `input` as a record, as what is signed in one, and as text.
pub(crate) fn ipns(input: &[u8]) {
    let mut around = Vec::new();
    protobuf::write_bytes(8, b"a signature", &mut around);
    protobuf::write_bytes(9, input, &mut around);
    crate::memory::bounded(input, || {
        record(input.to_vec());
        record(around);
        if let Ok(text) = std::str::from_utf8(input) {
            names(text);
        }
    });
}

fn record(bytes: Vec<u8>) {
    let Ok(record) = Record::parse(bytes) else { return };
    let key = record.public_key();
    let name = key.map_or_else(|| peer_id(0).into(), |key| Name::from(&key));
    for now in [SystemTime::UNIX_EPOCH, record.validity()] {
        let counts = record.verify(&name, now).is_ok();
        let validated = Ipns.validate(&name.routing_key(), record.as_bytes(), now).is_ok();
        assert_eq!(counts, validated);
    }
    assert!(!record.is_better_than(&record));
    assert_eq!(Record::parse(record.as_bytes().clone()).ok().as_ref(), Some(&record));
    assert!(!format!("{record:?}").is_empty());
}

fn names(text: &str) {
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse::<Name>().ok(), Some(name));
        assert_eq!(Name::from_routing_key(&name.routing_key()).ok(), Some(name));
    }
    if let Some(path) = dnslink::parse(text) {
        assert_eq!(dnslink::parse(&format!("dnslink={path}")), Some(path));
    }
}
