//! Values in every codec, paths through them, and archives of a part of a DAG.

mod archives;

use ipfs_core::{Block, Cid, Error, Ipld, Node, PutOptions, codes};

async fn offline() -> Node {
    Node::builder().offline().spawn().await.unwrap()
}

fn stored_as(codec: u64) -> PutOptions {
    let mut options = PutOptions::default();
    options.codec = codec;
    options
}

fn list(links: &[Cid]) -> Ipld {
    Ipld::List(links.iter().map(|cid| Ipld::Link(*cid)).collect())
}

/// Bytes are read and written even where nothing but their form can change.
#[tokio::test]
async fn what_is_stored_has_the_form_of_its_codec() {
    let node = offline().await;
    let (dag, blocks) = (node.dag(), node.blocks());
    let pb = |name: &str| format!(r#"{{"Hash":{{"/":"bafkqaaa"}},"Name":"{name}","Tsize":1}}"#);
    let pb = |names: [&str; 3]| format!(r#"{{"Links":[{}]}}"#, names.map(pb).join(","));
    for (codec, input, form) in [
        (codes::CBOR, &b"\xa2\x61b\x01\x61a\x02"[..], &b"\xa2\x61a\x02\x61b\x01"[..]),
        (codes::DAG_JSON, br#" {"b":1, "a":2}"#, br#"{"a":2,"b":1}"#),
        (codes::JSON, br#" {"b":1, "a":2}"#, br#"{"a":2,"b":1}"#),
        (codes::RAW, b"as it is", b"as it is"),
    ] {
        let cid = dag.put_encoded(codec, input, stored_as(codec)).await.unwrap();
        assert_eq!(blocks.get(&cid).await.unwrap().data(), form, "0x{codec:x}");
        assert_eq!(dag.get_encoded(&cid, codec).await.unwrap(), form);
    }
    // Links of dag-pb by their names, whichever way they come, and those of one name as they stood.
    let put = |text| dag.put_encoded(codes::DAG_JSON, text, stored_as(codes::DAG_PB));
    let sorted = put(pb(["", "a", "b"])).await.unwrap();
    assert_eq!(put(pb(["b", "", "a"])).await.unwrap(), sorted);
    let json = dag.get_encoded(&sorted, codes::DAG_JSON).await.unwrap();
    assert_eq!(json, pb(["", "a", "b"]));
    let again = dag.put_encoded(codes::DAG_JSON, json, stored_as(codes::DAG_PB)).await.unwrap();
    assert_eq!(again, sorted);
}

#[tokio::test]
async fn values_that_a_codec_lacks_are_refused() {
    let node = offline().await;
    let dag = node.dag();
    let put = async |input, data: &'static str, codec, hash| {
        let mut options = stored_as(codec);
        options.hash = hash;
        dag.put_encoded(input, data, options).await
    };
    let (json, cbor, sha2) = (codes::DAG_JSON, codes::DAG_CBOR, codes::SHA2_256);
    let malformed = put(json, "{", cbor, sha2).await;
    assert!(matches!(malformed, Err(Error::Malformed { .. })), "{malformed:?}");
    for codec in [codes::RAW, codes::DAG_PB] {
        let invalid = put(json, "{}", codec, sha2).await;
        assert!(matches!(invalid, Err(Error::Invalid { .. })), "{invalid:?}");
    }
    let link = put(json, r#"{"/":"bafkqaaa"}"#, codes::JSON, sha2).await;
    assert!(matches!(link, Err(Error::Invalid { .. })), "{link:?}");
    assert!(matches!(put(json, "1", 0x9999, sha2).await, Err(Error::UnknownCodec(0x9999))));
    assert!(matches!(put(0x9999, "1", cbor, sha2).await, Err(Error::UnknownCodec(0x9999))));
    assert!(matches!(put(json, "1", cbor, 0xd5).await, Err(Error::UnknownHash(0xd5))));

    let map = put(json, r#"{"a":{"b":[1]}}"#, cbor, sha2).await.unwrap();
    let raw = dag.get_encoded(&map, codes::RAW).await;
    assert!(matches!(raw, Err(Error::Invalid { .. })), "{raw:?}");
    let unknown = dag.get_encoded(&map, 0x9999).await;
    assert!(matches!(unknown, Err(Error::UnknownCodec(0x9999))));
    assert_eq!(dag.get_encoded(format!("{map}/a/b/0"), cbor).await.unwrap(), b"\x01"[..]);

    // An identity CID holds the value, however long its text was.
    let text = r#"                                                                       "short""#;
    let inline = put(json, text, cbor, codes::IDENTITY).await.unwrap();
    assert_eq!(inline.hash().digest(), b"\x65short");
    assert_eq!(dag.get(&inline).await.unwrap(), Ipld::String("short".into()));
}

/// Text of less than a block becomes a value of many times its size: 2 GB from 64 MiB of `[0,0,…`.
#[tokio::test]
async fn the_length_of_what_is_put_is_bounded() {
    let node = offline().await;
    let put = async |len: usize, large| {
        let mut options = stored_as(codes::RAW);
        options.allow_large = large;
        node.dag().put_encoded(codes::RAW, vec![7; len], options).await
    };
    let limit = |put: Result<Cid, Error>| match put {
        Err(Error::Limit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    };
    assert_eq!(limit(put((2 << 20) + 1, false).await), 2 << 20);
    assert_eq!(limit(put((16 << 20) + 1, false).await), 16 << 20);
    assert_eq!(limit(put((64 << 20) + 1, true).await), 64 << 20);
    let large = put((16 << 20) + 1, true).await.unwrap();
    assert_eq!(node.blocks().stat(&large).await.unwrap().size, (16 << 20) + 1);
    put(2 << 20, false).await.unwrap();
}

/// dag-cbor, dag-pb and raw on one path, in both namespaces.
#[tokio::test]
async fn paths_cross_codecs() {
    let node = offline().await;
    let dag = node.dag();
    let leaf = Block::of(codes::RAW, codes::SHA2_256, "leaf", node.hashes()).unwrap();
    node.blocks().put(leaf.clone()).await.unwrap();
    let (leaf, put) =
        (*leaf.cid(), |text| dag.put_encoded(codes::DAG_JSON, text, stored_as(codes::DAG_PB)));
    // A directory, and a node that is no UnixFS: its links have names all the same.
    let link = format!(r#"{{"Hash":{{"/":"{leaf}"}},"Name":"file","Tsize":4}}"#);
    let folder = format!(r#"{{"Data":{{"/":{{"bytes":"CAE"}}}},"Links":[{link}]}}"#);
    let plain = format!(r#"{{"Data":{{"/":{{"bytes":"/w"}}}},"Links":[{link}]}}"#);
    for node in [put(folder).await.unwrap(), put(plain).await.unwrap()] {
        let json = dag.put_with(codes::DAG_JSON, codes::SHA2_256, &list(&[node])).await.unwrap();
        let root = Ipld::Map([("a".to_owned(), Ipld::List(vec![list(&[json])]))].into());
        let root = dag.put(&root).await.unwrap();
        for path in
            [format!("/ipfs/{root}/a/0/0/0/file"), format!("/ipld/{root}/a/0/0/0/Links/0/Hash")]
        {
            let found = dag.resolve(&path).await.unwrap();
            assert_eq!((found.cid, found.rest.len()), (leaf, 0), "{path}");
            assert_eq!(dag.get_encoded(&path, codes::RAW).await.unwrap(), "leaf");
            let below = dag.resolve(format!("{path}/x")).await;
            assert!(
                matches!(below, Err(Error::NoEntry { .. } | Error::WrongKind { .. })),
                "{below:?}"
            );
        }
        let inside = dag.resolve(format!("/ipld/{root}/a/0/0/0/Links/0/Tsize")).await.unwrap();
        assert_eq!((inside.cid, &inside.rest.join("/")[..]), (node, "Links/0/Tsize"));
        let inside = dag.resolve(format!("/ipfs/{root}/a/0")).await.unwrap();
        assert_eq!((inside.cid, &inside.rest.join("/")[..]), (root, "a/0"));
    }
}

/// A path led on through blocks that are nothing but a link, where Kubo finds nothing; a chain of
/// them, as long as a stranger wants, was fetched for one name.
#[tokio::test]
async fn nothing_is_below_a_block_that_is_a_link() {
    let node = offline().await;
    let dag = node.dag();
    let end = dag.put(&Ipld::Map([("a".to_owned(), Ipld::Integer(1))].into())).await.unwrap();
    let link = dag.put(&Ipld::Link(end)).await.unwrap();
    let root = dag.put(&list(&[link])).await.unwrap();
    assert_eq!(dag.get(format!("/ipld/{root}/0")).await.unwrap(), Ipld::Link(end));
    assert_eq!(dag.resolve(format!("/ipld/{root}/0")).await.unwrap().cid, link);
    let below = dag.get(format!("/ipld/{root}/0/a")).await;
    assert!(
        matches!(&below, Err(Error::NoEntry { name, within }) if name == "a" && **within == link),
        "{below:?}"
    );
}
