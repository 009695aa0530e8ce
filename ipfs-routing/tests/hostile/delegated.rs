//! What must hold of any answer of a router.

use ipfs_routing::delegated::{Decoder, Format, MAX_PROTOCOL, MAX_PROTOCOLS, MAX_RECORDS, Record};
use ipfs_traits::network::{MAX_ADDRESS, MAX_ADDRESSES};

/// The first byte says how the rest is cut in pieces.
pub(crate) fn delegated(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    for format in [Format::Json, Format::NdJson] {
        let whole = read(format, rest, rest.len().max(1));
        let pieces = read(format, rest, usize::from(*first).max(1));
        assert_eq!(whole, pieces, "cutting it makes no difference");
    }
}

/// The records until the end or the first error, and whether there was one.
fn read(format: Format, input: &[u8], piece: usize) -> (Vec<Record>, bool) {
    let (mut decoder, mut found) = (Decoder::new(format), Vec::new());
    for piece in input.chunks(piece) {
        match decoder.push(piece) {
            Ok(records) => found.extend(records),
            Err(_) => return (Vec::new(), true),
        }
    }
    match decoder.finish() {
        Ok(records) => found.extend(records),
        Err(_) => return (Vec::new(), true),
    }
    assert!(found.len() <= MAX_RECORDS);
    found.iter().for_each(check);
    (found, false)
}

fn check(record: &Record) {
    assert!(record.addresses.len() <= MAX_ADDRESSES);
    assert!(record.addresses.iter().all(|address| address.len() <= MAX_ADDRESS));
    assert!(record.protocols.len() <= MAX_PROTOCOLS);
    assert!(record.protocols.iter().all(|name| name.len() <= MAX_PROTOCOL));
    let line = record.encode();
    assert!(!line.contains(['\n', '\r']), "a record is one line");
    if let Ok(again) = Record::decode(&line) {
        assert_eq!(again.as_ref(), Some(record), "a record comes back as it was");
    }
}
