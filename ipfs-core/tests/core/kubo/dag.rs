//! Values, paths, sizes and single blocks: what Kubo's `dag` and `block` do with them.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Output};

use futures::io::AllowStdIo;
use ipfs_core::{
    BlockstoreExt, Cid, Ipld, Node, Prefix, PutOptions, codes,
    unixfs::{Params, Sharding},
};
use ipld_git::{GitCodec, ObjectFormat};
use serde_json::Value;

use super::{Kubo, program, text};
use crate::{content, git::History};

/// A repository of Kubo, a node, and a folder for what goes between them.
struct Pair {
    kubo: Kubo,
    node: Node,
    folder: tempfile::TempDir,
}

impl Pair {
    async fn new() -> Option<Self> {
        let program = program()?;
        let node = Node::builder().codec(GitCodec).offline().spawn().await.unwrap();
        Some(Self { kubo: Kubo::new(&program), node, folder: tempfile::tempdir().unwrap() })
    }

    fn file(&self, name: &str, data: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, data).unwrap();
        path
    }

    /// What Kubo gives, and `None` for what it refuses.
    fn try_run(&self, args: &[&str]) -> Option<Vec<u8>> {
        let Output { status, stdout, .. } = self.kubo.command(args).output().unwrap();
        status.success().then_some(stdout)
    }

    fn try_line(&self, args: &[&str]) -> Option<String> {
        self.try_run(args).map(|out| String::from_utf8(out).unwrap().trim().to_owned())
    }

    /// Gives Kubo all below some roots.
    async fn hand_over(&self, roots: &[Cid]) {
        let car = self.folder.path().join("over.car");
        let out = AllowStdIo::new(fs::File::create(&car).unwrap());
        self.node.dag().export(roots, out).await.unwrap();
        self.kubo.run(&["dag", "import", "--pin-roots=false", text(&car)]);
    }
}

const CODECS: &[(&str, u64)] = &[
    ("dag-json", codes::DAG_JSON),
    ("dag-cbor", codes::DAG_CBOR),
    ("dag-pb", codes::DAG_PB),
    ("raw", codes::RAW),
];

/// Their codec, and bytes in it. Of what dag-pb need not have nothing is absent: Kubo gives it as
/// null, which it does not take again. Plain JSON and CBOR are only read: how they are written nothing
/// fixes, and Kubo keeps keys in the order in which they came.
const VALUES: &[(&str, &[u8])] = &[
    (
        "dag-json",
        r#"{"b": [1, -2, 1.5, true, null, "ü"], "aa": {"/": {"bytes": "AAEC"}},
            "c": {"/": "bafkqaaa"}, "": {}, "long": 9007199254740993}"#
            .as_bytes(),
    ),
    ("dag-json", br#"{"/":"bafkqaaa"}"#),
    ("dag-json", br#"{"/":{"bytes":"AAEC"}}"#),
    (
        "dag-json",
        br#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Name":"b","Tsize":3},
            {"Hash":{"/":"bafkqaaa"},"Name":"","Tsize":2},{"Hash":{"/":"bafkqaaa"},"Name":"a","Tsize":1}],
            "Data":{"/":{"bytes":"CAE"}}}"#,
    ),
    ("dag-json", br#"{"Links":[],"More":1}"#),
    ("cbor", b"\xa2\x61b\x01\x61a\x02"),
    ("dag-cbor", b"\x81\xfb\x3f\xf8\0\0\0\0\0\0"),
    ("dag-cbor", b"\xa1\x61a"),
    ("dag-pb", b"\x12\x0a\x0a\x04\x01\x55\x00\x00\x12\x00\x18\x05\x0a\x02\x08\x01"),
    (
        "dag-pb",
        b"\x12\x0b\x0a\x04\x01\x55\x00\x00\x12\x01b\x18\x01\x12\x0b\x0a\x04\x01\x55\x00\x00\x12\x01a\x18\x02\x0a\x02\x08\x01",
    ),
    ("raw", b"just bytes"),
    ("json", br#"{"b":{"c":[1,2]},"a":null}"#),
    ("cbor", b"\xa1\x61a\xf6"),
];

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn code(name: &str) -> u64 {
    let plain = [("json", codes::JSON), ("cbor", codes::CBOR)];
    let known = CODECS.iter().chain(&plain).find(|(known, _)| *known == name);
    known.unwrap().1
}

/// Each value in each codec that has it, put and given, or refused by both.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_put_and_given_as_kubo_does() {
    let Some(pair) = Pair::new().await else { return };
    let _daemon = pair.kubo.start();
    let (dag, mut stored, mut wrong) = (pair.node.dag(), BTreeSet::new(), Vec::new());
    for (number, (input, data)) in VALUES.iter().enumerate() {
        let file = pair.file("value", data);
        for (store, codec) in CODECS {
            let id = format!("{number} {input} {store}");
            let mut options = PutOptions::default();
            options.codec = *codec;
            let ours = dag.put_encoded(code(input), *data, options).await;
            let (from, to) = (format!("--input-codec={input}"), format!("--store-codec={store}"));
            let theirs = pair.try_line(&["dag", "put", &from, &to, text(&file)]);
            if ours.as_ref().ok().map(ToString::to_string) != theirs {
                wrong.push(format!("{id}: {ours:?}, {theirs:?}"));
            }
            stored.extend(ours.ok());
        }
    }
    assert!(stored.len() > 20, "{}", stored.len());
    for cid in stored {
        for (output, codec) in CODECS {
            let ours = dag.get_encoded(&cid, *codec).await;
            let codec = format!("--output-codec={output}");
            let theirs = pair.try_run(&["dag", "get", &codec, &cid.to_string()]);
            if ours.as_deref().ok() != theirs.as_deref() {
                wrong.push(format!(
                    "{cid} as {output}: {ours:?}, {:?}",
                    theirs.as_deref().map(shown)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Objects of git, by the codec of the application and by Kubo's.
#[tokio::test(flavor = "multi_thread")]
async fn git_objects_are_put_and_counted_as_kubo_does() {
    let Some(pair) = Pair::new().await else { return };
    let history = History::new(ObjectFormat::Sha1, false);
    let dag = pair.node.dag();
    // A tag without a message loses its last line when Kubo writes it.
    let (_, objects) = history.blocks.split_last().unwrap();
    let git = ["--input-codec=git-raw", "--store-codec=git-raw", "--hash=sha1"];
    for (cid, object) in &history.blocks {
        let mut options = PutOptions::default();
        (options.codec, options.hash) = (codes::GIT_RAW, codes::SHA1);
        let ours = dag.put_encoded(codes::GIT_RAW, object.clone(), options).await.unwrap();
        assert_eq!(ours, *cid);
    }
    for (cid, object) in objects {
        let file = pair.file("object", object);
        let put = [&["dag", "put"], &git[..], &[text(&file)]].concat();
        assert_eq!(pair.kubo.run(&put), cid.to_string());
    }
    pair.hand_over(&[history.tag]).await;
    same_stat(&pair, &[history.tag]).await;
}

/// Counts some DAGs on both sides.
async fn same_stat(pair: &Pair, roots: &[Cid]) {
    let names: Vec<String> = roots.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let said =
        pair.kubo.run(&[&["dag", "stat", "--progress=false", "--enc=json"], &names[..]].concat());
    let theirs: Value = serde_json::from_str(&said).unwrap();
    let ours = pair.node.dag().stat(roots).await.unwrap();
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or_default();
    for (ours, theirs) in ours.roots.iter().zip(theirs["DagStats"].as_array().unwrap()) {
        let theirs = (theirs["Cid"].as_str(), number(theirs, "NumBlocks"), number(theirs, "Size"));
        assert_eq!((Some(&ours.cid.to_string()[..]), ours.blocks, ours.bytes), theirs);
    }
    assert_eq!(ours.unique_blocks, number(&theirs, "UniqueBlocks"), "{said}");
    assert_eq!(ours.unique_bytes, number(&theirs, "TotalSize"), "{said}");
    assert_eq!(ours.shared_bytes(), number(&theirs, "SharedSize"), "{said}");
    assert_eq!(ours.ratio() as f32, theirs["Ratio"].as_f64().unwrap() as f32, "{said}");
    assert_eq!(ours.roots.len(), roots.len());
}

/// A tree of files, and a value of DAG-CBOR over it with what has stumbled others: a CID that holds
/// its block, a block under two CIDs, links that stand there twice.
async fn some_dags(pair: &Pair) -> (Cid, Cid) {
    let tree = pair.folder.path().join("tree");
    content::tree(&tree, 31);
    let files = pair.node.unixfs();
    let tree = files.clone().add_path(&tree).await.unwrap().cid;
    let old = pair.node.blocks().put_bytes(&Prefix::v0(), b"\x0a\x02\x08\x01".to_vec()).await;
    let old = old.unwrap();
    let inline = "bafkqac3imvwgy3zao5xxe3de".parse().unwrap();
    let links = [tree, inline, old, tree, old.into_v1().unwrap()].map(Ipld::Link);
    let value = Ipld::Map([("all".into(), Ipld::List(links.into()))].into());
    (tree, pair.node.dag().put(&value).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn dags_are_counted_as_kubo_does() {
    let Some(pair) = Pair::new().await else { return };
    let (tree, value) = some_dags(&pair).await;
    let params = Params { sharding: Sharding::ByBlock(500), fanout: 8, ..Params::default() };
    let files = pair.node.unixfs().params(params);
    let sharded = files.add_path(pair.folder.path().join("tree")).await.unwrap().cid;
    let inline: Cid = "bafkqac3imvwgy3zao5xxe3de".parse().unwrap();
    pair.hand_over(&[value, sharded]).await;
    for roots in
        [&[tree][..], &[value], &[sharded], &[inline], &[value, tree, sharded], &[tree, tree]]
    {
        same_stat(&pair, roots).await;
    }
}

/// Where paths lead, in both namespaces, and which lead nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn paths_lead_where_those_of_kubo_do() {
    let Some(pair) = Pair::new().await else { return };
    let _daemon = pair.kubo.start();
    let (tree, value) = some_dags(&pair).await;
    let dag = pair.node.dag();
    let link = dag.put(&Ipld::Link(value)).await.unwrap();
    // A node with names that is no UnixFS.
    let mut options = PutOptions::default();
    options.codec = codes::DAG_PB;
    let plain = format!(
        r#"{{"Data":{{"/":{{"bytes":"/w"}}}},"Links":[{{"Hash":{{"/":"{value}"}},"Name":"x","Tsize":1}}]}}"#
    );
    let plain = dag.put_encoded(codes::DAG_JSON, plain, options).await.unwrap();
    let root = [("link", link), ("plain", plain), ("value", value)];
    let root = root.map(|(name, cid)| (name.to_owned(), Ipld::Link(cid)));
    let root = dag.put(&Ipld::Map(root.into())).await.unwrap();
    pair.hand_over(&[root]).await;
    let ways = [
        "",
        "value",
        "value/all",
        "value/all/0",
        "value/all/0/a/b/c/d/deep",
        "value/all/0/many/7",
        "value/all/0/many/7/x",
        "value/all/0/absent",
        "value/all/1",
        "value/all/1/x",
        "value/all/9",
        "value/all/-1",
        "value/all/x",
        "value/absent",
        "value/all/0/Links",
        "value/all/0/Links/0",
        "value/all/0/Links/0/Hash",
        "value/all/0/Links/0/Hash/Links/0/Name",
        "value/all/0/Links/0/x",
        "value/all/0/small.txt/x",
        "value/all/0/large.bin",
        "value/all/0/large.bin/x",
        "value/all/0/a/link",
        "value/all/0/a/link/x",
        "plain",
        "plain/x",
        "plain/x/all",
        "plain/Links",
        "plain/Links/0/Hash/all",
        "plain/Data",
        "plain/y",
        "link",
        "link/all",
        "link/all/0",
    ];
    let mut wrong = Vec::new();
    for namespace in ["ipfs", "ipld"] {
        for way in ways {
            let path = format!("/{namespace}/{root}/{way}");
            let ours = dag.resolve(&path).await.map(|found| {
                let cid = found.cid.to_string();
                found.rest.iter().fold(cid, |path, name| format!("{path}/{name}"))
            });
            let theirs = pair.try_line(&["dag", "resolve", &path]);
            if ours.as_ref().ok() != theirs.as_ref() {
                wrong.push(format!("resolve {path}: {ours:?}, {theirs:?}"));
            }
            let ours = dag.get_encoded(&path, codes::DAG_JSON).await;
            let theirs = pair.try_run(&["dag", "get", &path]);
            if ours.as_deref().ok() != theirs.as_deref() {
                wrong.push(format!("get {path}: {ours:?}, {:?}", theirs.as_deref().map(shown)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(dag.resolve(format!("{root}/value/all/0")).await.unwrap().cid, tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_blocks_are_put_measured_and_removed_as_kubo_does() {
    let Some(pair) = Pair::new().await else { return };
    let blocks = pair.node.blocks();
    let data = pair.file("data", b"a block");
    let sha3 = Prefix::v1(codes::RAW, codes::SHA3_512);
    let cases: [(Prefix, &[&str]); 7] = [
        (Prefix::v1(codes::RAW, codes::SHA2_256), &[]),
        (Prefix::v0(), &["--format=v0"]),
        (Prefix::v1(codes::DAG_CBOR, codes::SHA2_256), &["--cid-codec=dag-cbor"]),
        (Prefix::v1(codes::RAW, codes::BLAKE3), &["--mhtype=blake3"]),
        (
            Prefix::v1(codes::RAW, codes::IDENTITY).with_digest_len(3),
            &["--mhtype=identity", "--mhlen=3"],
        ),
        (sha3.with_digest_len(20), &["--mhtype=sha3-512", "--mhlen=20"]),
        (sha3.with_digest_len(19), &["--mhtype=sha3-512", "--mhlen=19"]),
    ];
    for (prefix, how) in cases {
        let ours = blocks.put_bytes(&prefix, "a block").await;
        let theirs = pair.try_line(&[&["block", "put"], how, &[text(&data)]].concat());
        assert_eq!(ours.as_ref().ok().map(ToString::to_string), theirs, "{how:?}: {ours:?}");
        let Ok(cid) = ours else { continue };
        let said = pair.kubo.run(&["block", "stat", &cid.to_string()]);
        let stat = blocks.stat(&cid).await.unwrap();
        assert_eq!(said, format!("Key: {}\nSize: {}", stat.cid, stat.size));
    }
    let large = vec![0; (2 << 20) + 1];
    assert!(pair.try_run(&["block", "put", text(&pair.file("large", &large))]).is_none());
    assert!(blocks.put_bytes(&sha3, large).await.is_err());

    let cid = blocks.put_bytes(&Prefix::v1(codes::RAW, codes::SHA2_256), "a block").await.unwrap();
    for there in [true, false] {
        let removed = pair.try_run(&["block", "rm", &cid.to_string()]);
        assert_eq!(removed.is_some(), there);
        assert_eq!(blocks.delete_many(&[cid]).await.unwrap(), [there]);
    }
    assert!(!pair.node.store().has(&cid).await.unwrap());
}

/// What is left of a DAG when blocks are gone, to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_dag_is_exported_as_kubo_does() {
    let Some(pair) = Pair::new().await else { return };
    // Not the value above it: of one block under two CIDs Kubo writes one here.
    let (tree, _) = some_dags(&pair).await;
    pair.hand_over(&[tree]).await;
    let gone = pair.node.unixfs().resolve(format!("{tree}/a")).await.unwrap();
    pair.kubo.run(&["block", "rm", &gone.to_string()]);
    pair.node.blocks().delete(&gone).await.unwrap();
    let theirs =
        pair.try_run(&["dag", "export", "--local-only", "--progress=false", &tree.to_string()]);
    let ours = pair.folder.path().join("ours.car");
    let out = AllowStdIo::new(fs::File::create(&ours).unwrap());
    let done = pair.node.dag().export_local(&[tree], out).await.unwrap();
    assert_eq!((done.left_out, done.missing[0].cid), (1, gone));
    assert!(fs::read(ours).unwrap() == theirs.unwrap(), "the same archive, to the byte");
}
