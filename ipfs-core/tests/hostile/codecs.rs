//! What must hold of the codecs of a node whatever they are fed: shared by the test and the fuzz
//! target.

use ipfs_core::{Bytes, Cid, Codec, Error, Ipld, codes, standard_codecs};

/// Decodes `input` in every codec, and writes and reads again what that gives.
pub(crate) fn codecs(input: &[u8]) {
    let hash = ipfs_core::HashTable::empty().hash(codes::IDENTITY, b"").expect("it is short");
    let bytes = Bytes::copy_from_slice(input);
    let table = standard_codecs();
    for code in [codes::DAG_CBOR, codes::CBOR, codes::DAG_JSON, codes::JSON, codes::DAG_PB] {
        let codec = table.by_code(code).expect("it is a standard codec");
        let cid = Cid::new_v1(code, hash);
        let Ok(value) = codec.decode(&cid, &bytes) else {
            continue;
        };
        assert_eq!(links_of(&**codec, &cid, input), links(&value), "{code:#x}");
        let made = match codec.encode(&value) {
            // Plain CBOR has numbers that cannot be written.
            Err(Error::Invalid { .. }) if code == codes::CBOR && !is_finite(&value) => continue,
            made => made.expect("it was decoded"),
        };
        let again = codec.decode(&cid, &made).expect("its own");
        assert_eq!(again, value, "{code:#x}");
        assert_eq!(codec.encode(&again).expect("it was decoded"), made, "{code:#x}");
    }
}

fn links_of(codec: &dyn Codec, cid: &Cid, input: &[u8]) -> Vec<Cid> {
    let mut links = Vec::new();
    codec.links(cid, input, &mut |cid| links.push(cid)).expect("it can be decoded");
    links.sort();
    links
}

/// A value and all that are in it.
fn all(value: &Ipld) -> Vec<&Ipld> {
    let mut all = vec![value];
    let mut at = 0;
    while let Some(value) = all.get(at) {
        match *value {
            Ipld::List(values) => all.extend(values),
            Ipld::Map(entries) => all.extend(entries.values()),
            _ => {}
        }
        at += 1;
    }
    all
}

/// The links of a value, in order.
fn links(value: &Ipld) -> Vec<Cid> {
    let link = |value: &Ipld| match value {
        Ipld::Link(cid) => Some(*cid),
        _ => None,
    };
    let mut links: Vec<Cid> = all(value).into_iter().filter_map(link).collect();
    links.sort();
    links
}

fn is_finite(value: &Ipld) -> bool {
    all(value).into_iter().all(|value| !matches!(value, Ipld::Float(float) if !float.is_finite()))
}
