//! What must hold of the codecs of a node whatever they are fed: shared by the test and the fuzz
//! target.

use ipfs_core::{Bytes, Cid, Codec, Ipld, codes, standard_codecs};

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
        let made = codec.encode(&value).expect("it was decoded");
        let again = codec.decode(&cid, &made).expect("its own");
        // Not by `==`: what is no number is not the same as itself.
        assert_eq!(format!("{again:?}"), format!("{value:?}"), "{code:#x}");
        assert_eq!(codec.encode(&again).expect("it was decoded"), made, "{code:#x}");
    }
}

fn links_of(codec: &dyn Codec, cid: &Cid, input: &[u8]) -> Vec<Cid> {
    let mut links = Vec::new();
    codec.links(cid, input, &mut |cid| links.push(cid)).expect("it can be decoded");
    links.sort();
    links
}

/// The links of a value, in order.
fn links(value: &Ipld) -> Vec<Cid> {
    let (mut links, mut pending) = (Vec::new(), vec![value]);
    while let Some(value) = pending.pop() {
        match value {
            Ipld::Link(cid) => links.push(*cid),
            Ipld::List(values) => pending.extend(values),
            Ipld::Map(entries) => pending.extend(entries.values()),
            _ => {}
        }
    }
    links.sort();
    links
}
