//! Cases of other implementations.

pub(crate) mod reading;

use std::collections::BTreeSet;

use ipfs_traits::{Block, BlockstoreExt, Cid, Codec, HashTable, codes};
use ipfs_unixfs::{
    Attribute, Chunker, Layout, Params, Sharding,
    dagpb::{self, DagPb, Link, Node},
    data::{Data, Kind},
};
use serde_json::Value;

use self::reading::sha256;
use crate::{
    content::{Desk, as_entries, file, on_disk},
    support::{Case, Report, hex, table, to_hex},
};

#[test]
fn unixfs_messages() {
    let path = "unixfs/unixfs_data.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let bytes = hex(&case["data_hex"]);
        let data = Data::parse(bytes.clone().into()).unwrap();
        report.same(case.id(), to_hex(&data.to_new().encode()), to_hex(&bytes));
        let expected = match case.id() {
            "symlink.txt.unixfs" => Kind::Symlink,
            "empty-dir" => Kind::Directory,
            _ => Kind::File,
        };
        assert_eq!(data.kind(), expected, "{}", case.id());
    }
    report.finish();
}

#[test]
fn lengths_of_links() {
    let path = "unixfs/link_sizes.tsv";
    let mut report = Report::new(path);
    let hashes = HashTable::standard();
    let v0 = ipfs_traits::Prefix::v0().cid(b"", &hashes).unwrap();
    let v1 = v0.into_v1().unwrap();
    for case in table(path) {
        let number = |column: &str| case[column].parse::<usize>().unwrap();
        let cid = if number("cid_len") == 34 { v0 } else { v1 };
        let name = vec![b'a'; number("name_len")];
        let link = Link { cid, name: Some(&name), tsize: Some(number("tsize") as u64) };
        report.same(case.id(), dagpb::encoded_link_len(&link), number("serialized_link_bytes"));
    }
    report.finish();
}

/// Whether a case takes too long for every run.
fn is_long(case: &Case) -> bool {
    &case["category"] == "profile-1GiB" && std::env::var_os("IPFS_SOAK").is_none()
}

fn params(options: &Value) -> Params {
    let text = |key: &str| options[key].as_str().unwrap();
    let number = |key: &str| options[key].as_u64().unwrap() as usize;
    let hash = match text("hash") {
        "sha2-256" => codes::SHA2_256,
        "sha2-512" => codes::SHA2_512,
        "blake2b-256" => codes::BLAKE2B + 32,
        "blake3" => codes::BLAKE3,
        "identity" => codes::IDENTITY,
        other => panic!("{other}"),
    };
    // Kubo turns CIDs of other hashes to version 1 by itself; here that is said.
    let v0 = number("cid_version") == 0 && hash == codes::SHA2_256;
    let sharding = match text("hamt_estimation") {
        "links" => Sharding::ByLinks(number("hamt_threshold")),
        "block" => Sharding::ByBlock(number("hamt_threshold")),
        _ => Sharding::Never,
    };
    Params {
        cid_version: if v0 { cid::Version::V0 } else { cid::Version::V1 },
        hash,
        raw_leaves: options["raw_leaves"].as_bool().unwrap(),
        chunker: text("chunker").parse().unwrap(),
        // A flat file is a balanced one whose only node takes all.
        max_links: if text("layout") == "flat" { Params::MAX_LINKS } else { number("max_links") },
        layout: if text("layout") == "trickle" { Layout::Trickle } else { Layout::Balanced },
        sharding,
        fanout: number("hamt_fanout"),
        hidden: true,
        ..Params::default()
    }
}

#[test]
fn cids_of_imports() {
    let path = "unixfs/import_cids.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let options: Value = serde_json::from_str(&case["options"]).unwrap();
        if is_long(&case) {
            report.left_out("1 GiB, which runs where IPFS_SOAK is set");
            continue;
        }
        let desk = Desk::new();
        let input: Value = serde_json::from_str(&case["input"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut params = params(&options);
        let keeps = options.get("mode").is_some()
            || options.get("mtime").is_some()
            || input["entries"]
                .as_array()
                .is_some_and(|all| all.iter().any(|e| e.get(2).is_some()));
        if keeps {
            (params.mode, params.mtime) = (Attribute::Kept, Attribute::Kept);
        }
        let importer = desk.importer(params);
        let is_tree = !["text", "hex", "file", "fill", "chacha20", "chacha8rand"]
            .contains(&input["t"].as_str().unwrap());
        let as_entries = || {
            let entries = as_entries(&input, &options)?;
            Some(importer.entries(futures::stream::iter(entries.into_iter().map(Ok))))
        };
        let import = match (is_tree, keeps) {
            (_, true) => as_entries(),
            (true, _) => on_disk(&input, folder.path()).map(|path| importer.path(path)),
            (false, _) => file(&input).map(|bytes| importer.bytes(bytes)),
        };
        let Some(import) = import else {
            report.left_out("inputs that are not stored here");
            continue;
        };
        let imported = desk.run(import).unwrap();
        // A tree is the same from wherever it comes.
        assert_eq!(desk.run(as_entries().unwrap()).unwrap(), imported, "{}", case.id());
        // Some cases name only nodes within.
        let found = imported.cid.to_string();
        let expected = match &case["expected_cid"] {
            "" => found.clone(),
            expected => expected.parse::<Cid>().unwrap().to_string(),
        };
        report.same(case.id(), found, expected);
        if !case["dag_size"].is_empty() {
            assert_eq!(imported.dag_size.to_string(), case["dag_size"], "{}", case.id());
        }
        nodes_inside(&desk, &case, imported.cid);
    }
    report.finish();
}

#[test]
fn spellings_of_chunkers() {
    let path = "unixfs/chunker_specs.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let found = case["spec"].parse::<Chunker>();
        report.same(case.id(), found.is_ok(), case["expected"].starts_with("ok"));
        if case["expected"].ends_with("default") {
            assert_eq!(found.unwrap(), Chunker::fixed(256 << 10).unwrap());
        }
    }
    report.finish();
}

#[test]
fn where_chunkers_cut() {
    let path = "unixfs/chunk_boundaries.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let input: Value = serde_json::from_str(&case["input"]).unwrap();
        let content = file(&input).unwrap();
        let chunker: Chunker = case["chunker"].parse().unwrap();
        let with = |params| Params { chunker: chunker.clone(), max_links: 174, ..params };
        let desk = Desk::new();
        let v0 = desk.import_bytes(content.clone(), with(Params::unixfs_v0_2015()));
        let v1 = desk.import_bytes(content, with(Params::unixfs_v1_2025()));
        let mut lengths = Vec::new();
        descend(&desk, v1.cid, &mut |cid, _| {
            if cid.codec() == codes::RAW {
                let size = desk.run(desk.store.size(&cid)).unwrap().unwrap();
                lengths.push(size.to_string());
            }
        });
        assert_eq!(lengths.len().to_string(), case["chunks"], "{}", case.id());
        assert_eq!(lengths.last().unwrap(), &case["last_length"], "{}", case.id());
        report.same(case.id(), sha256(lengths.join(" ").as_bytes()), case["lengths_sha256"].into());
        assert_eq!(v0.cid.to_string(), case["cid_v0_dagpb"], "{}", case.id());
        assert_eq!(v1.cid.to_string(), case["cid_v1_raw"], "{}", case.id());
    }
    report.finish();
}

/// The nodes that a case names, by path, by number of the leaf, or all of them.
fn nodes_inside(desk: &Desk, case: &Case, root: Cid) {
    if case["expected_nodes"].is_empty() {
        return;
    }
    let nodes: Value = serde_json::from_str(&case["expected_nodes"]).unwrap();
    for (path, expected) in nodes.as_object().unwrap() {
        let found = match path.strip_prefix('#') {
            None => {
                let names = path.split('/').filter(|name| !name.is_empty());
                vec![desk.run(desk.exporter().resolve(&root, names)).unwrap()]
            }
            Some("all") => {
                let mut all = BTreeSet::new();
                descend(desk, root, &mut |cid, _| {
                    all.insert(cid);
                });
                all.into_iter().collect()
            }
            Some(leaf) => {
                let mut leaves = Vec::new();
                descend(desk, root, &mut |cid, is_leaf| leaves.extend(is_leaf.then_some(cid)));
                let number: usize = leaf.strip_prefix("leaf").unwrap().parse().unwrap();
                vec![leaves[number]]
            }
        };
        let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.sort();
        let mut expected: Vec<&str> = match expected {
            Value::Array(all) => all.iter().map(|cid| cid.as_str().unwrap()).collect(),
            one => one.as_str().unwrap().split(' ').collect(),
        };
        expected.sort_unstable();
        assert_eq!(found, expected, "{} {path}", case.id());
    }
}

/// Visits all nodes below `cid`, parents first, and says of each whether it has no links.
fn descend(desk: &Desk, cid: Cid, visit: &mut dyn FnMut(Cid, bool)) {
    let block = Block::inline(&cid);
    let block = block.unwrap_or_else(|| desk.run(desk.store.get(&cid)).unwrap().unwrap());
    let mut links = Vec::new();
    if cid.codec() == codes::DAG_PB {
        DagPb.links(&cid, block.data(), &mut |link| links.push(link)).unwrap();
    }
    visit(cid, links.is_empty());
    links.into_iter().for_each(|link| descend(desk, link, visit));
}

#[test]
fn dag_pb_bytes() {
    let path = "codecs/byte-vectors.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        if &case["codec"] != "dag-pb" {
            report.left_out("other codecs, which are not of this crate");
            continue;
        }
        let bytes = hex(&case["hex"]);
        let parsed = Node::parse(bytes.clone().into());
        match &case["expect"] {
            "roundtrip" => {
                let node = parsed.unwrap();
                let again = dagpb::encode(node.links(), node.data().as_deref());
                report.same(case.id(), to_hex(&again), to_hex(&bytes));
            }
            "decode-error" => report.same(case.id(), parsed.is_err(), true),
            "implementation-defined" => report.ran(case.id(), Ok::<(), &str>(())),
            other => panic!("{other}"),
        }
    }
    report.finish();
}
