//! Input from strangers: the bodies that the fuzz targets run, on inputs that are almost right.

use proptest::{prelude::*, sample::Index};

#[path = "../hostile/codecs.rs"]
mod codecs;
#[path = "../hostile/keys.rs"]
pub(crate) mod keys;
#[path = "../hostile/path.rs"]
mod path;

/// One of each codec, with links where it has them.
const GOOD: &[&[u8]] = &[
    b"\xa3aa\x01ab\xd8*X%\x00\x01U\x12 \x2c\xf2M\xba_\xb0\xa3\x0e&\xe8;*\xc5\xb9\xe2\x9e\x1b\x16\x1e\\\x1f\xa7B^s\x043b\x93\x8b\x98$ac\x84\xf5\xf6 \xfb?\xf8\x00\x00\x00\x00\x00\x00",
    br#"{"a":[1,-2.5,null,true,"\u00e9\n"],"b":{"/":"bafkqaaa"},"c":{"/":{"bytes":"AQ"}}}"#,
    b"\x12\x0b\x0a\x04\x01\x55\x00\x00\x12\x01a\x18\x00\x0a\x02\x08\x01",
];

proptest! {
    #[test]
    fn codecs_take_anything(
        good in prop::sample::select(GOOD),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut in any::<Option<Index>>(),
    ) {
        let mut input = good.to_vec();
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len()));
        }
        codecs::codecs(&input);
    }

    #[test]
    fn any_text_is_a_path_or_an_error(text in "(/|ipfs:|/ipfs/bafkqaaa)?[a%2F./?#\\PC]{0,40}") {
        path::path(&text);
    }
}

#[test]
fn numbers_that_cannot_be_written_as_they_are_are_read() {
    for number in
        [&b"\xf9\xff\x9b"[..], b"\x81\xf9\x7c\x00", b"\xfb\xff\xf0\0\0\0\0\0\0", b"\xf9\x80\x00"]
    {
        codecs::codecs(number);
    }
}

#[test]
fn what_they_begin_with_is_read() {
    use ipfs_core::{Bytes, Cid, Codec, HashTable, codes, standard_codecs};
    let hash = HashTable::empty().hash(codes::IDENTITY, b"").unwrap();
    for (code, good) in [codes::DAG_CBOR, codes::DAG_JSON, codes::DAG_PB].into_iter().zip(GOOD) {
        let cid = Cid::new_v1(code, hash);
        let codec = standard_codecs().by_code(code).unwrap().clone();
        codec.decode(&cid, &Bytes::from_static(good)).unwrap();
    }
}
