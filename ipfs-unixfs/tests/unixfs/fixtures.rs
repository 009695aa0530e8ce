//! Cases of other implementations.

use std::collections::BTreeSet;

use ipfs_traits::{
    Block, BlockSource, BlockstoreExt, Cid, Codec, Error, HashTable, Local,
    car::{Decoder, Item},
    codes,
};
use ipfs_unixfs::{
    Chunker, Params, Sharding, Stat,
    dagpb::{self, DagPb, Link, Node},
    data::{Data, Kind},
};
use serde_json::Value;

use crate::{
    content::{Desk, file, on_disk},
    support::{self, Case, Report, hex, table, to_hex},
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

/// Why a case cannot run yet, if so.
fn not_yet(case: &Case, options: &Value) -> Option<&'static str> {
    let input: Value = serde_json::from_str(&case["input"]).unwrap();
    let metadata = |entry: &Value| entry.get(2).is_some();
    if options["layout"] != "balanced" {
        return Some("layouts other than balanced");
    }
    if !options["chunker"].as_str().unwrap().starts_with("size-") {
        return Some("content-defined chunkers");
    }
    if options.get("mode").is_some()
        || options.get("mtime").is_some()
        || input["entries"].as_array().is_some_and(|entries| entries.iter().any(metadata))
    {
        return Some("mode and mtime");
    }
    if options.get("reduce_single_leaf").is_some() || options.get("leaf_type").is_some() {
        return Some("leaves as only js-ipfs made them");
    }
    if &case["category"] == "profile-1GiB" && std::env::var_os("IPFS_SOAK").is_none() {
        return Some("1 GiB, which runs where IPFS_SOAK is set");
    }
    None
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
    let chunk = text("chunker").strip_prefix("size-").unwrap().parse().unwrap();
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
        chunker: Chunker::fixed(chunk).unwrap(),
        max_links: number("max_links"),
        sharding,
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
        if let Some(reason) = not_yet(&case, &options) {
            report.left_out(reason);
            continue;
        }
        let desk = Desk::new();
        let input: Value = serde_json::from_str(&case["input"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let importer = desk.importer(params(&options));
        let is_tree = !["text", "hex", "file", "fill", "chacha20", "chacha8rand"]
            .contains(&input["t"].as_str().unwrap());
        let import = match is_tree {
            true => on_disk(&input, folder.path()).map(|path| importer.path(path)),
            false => file(&input).map(|bytes| importer.bytes(bytes)),
        };
        let Some(import) = import else {
            report.left_out("inputs that are not stored here");
            continue;
        };
        let imported = match desk.run(import) {
            Err(Error::Unsupported(what)) if what.contains("sharded") => {
                report.left_out("sharded directories, a typed error");
                continue;
            }
            imported => imported.unwrap(),
        };
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
            one => vec![one.as_str().unwrap()],
        };
        expected.sort_unstable();
        assert_eq!(found, expected, "{} {path}", case.id());
    }
}

/// Visits all nodes below `cid`, parents first, and says of each whether it has no links.
fn descend(desk: &Desk, cid: Cid, visit: &mut dyn FnMut(Cid, bool)) {
    let block = desk.run(desk.store.get(&cid)).unwrap().unwrap();
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

#[test]
fn lookups_in_directories() {
    let path = "unixfs/lookups.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let root: Cid = case["root"].parse().unwrap();
        let desk = Desk::new();
        let bytes = support::bytes(&format!("unixfs/blocks/{root}.bin"));
        let block = Block::verify(root, bytes.into(), &HashTable::standard()).unwrap();
        desk.run(desk.store.put(block)).unwrap();
        match desk.run(desk.exporter().resolve(&root, [&case["path"]])) {
            Err(Error::NotFound(_)) => report.left_out("blocks of the next level"),
            Err(Error::NoEntry { .. }) => report.same(case.id(), "NOT FOUND", &case["expected"]),
            found => report.same(case.id(), &*found.unwrap().to_string(), &case["expected"]),
        }
    }
    report.finish();
}

/// The blocks of an archive, verified, in a store.
pub(crate) fn load(desk: &Desk, car: &[u8]) -> Vec<Cid> {
    let mut decoder = Decoder::new();
    decoder.push(car.to_vec().into());
    let mut roots = Vec::new();
    while let Some(item) = decoder.next().unwrap() {
        match item {
            Item::Header(header) => roots.extend(header.roots()),
            Item::Section(section) => {
                let block =
                    Block::verify(section.cid, section.data, &HashTable::standard()).unwrap();
                desk.run(desk.store.put(block)).unwrap();
            }
        }
    }
    decoder.finish().unwrap();
    roots
}

#[test]
fn archives_of_files() {
    for entry in std::fs::read_dir(support::folder().join("unixfs/export")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".json") else {
            continue;
        };
        let path = format!("unixfs/export/{name}");
        let listing: Value = serde_json::from_str(&support::text(&format!("{path}.json"))).unwrap();
        let desk = Desk::new();
        let roots = load(&desk, &support::bytes(&format!("{path}.car")));
        let mut report = Report::new(&format!("{path}.car"));
        for entry in listing["entries"].as_array().unwrap() {
            listed(&desk, roots[0], entry, &mut report);
        }
        for missing in listing["errors"].as_array().unwrap() {
            let cid: Cid = missing["cid"].as_str().unwrap().parse().unwrap();
            let found = desk.run(Local(desk.store.clone()).get(&cid));
            let file = desk.run(desk.exporter().open(&cid));
            let whole = file.and_then(|file| desk.run(read(&file, 0, u64::MAX)));
            report.same(&cid.to_string(), found.is_err() || whole.is_err(), true);
        }
        report.finish();
    }
}

async fn read(file: &ipfs_unixfs::File, from: u64, len: u64) -> ipfs_traits::Result<Vec<u8>> {
    use futures::TryStreamExt;
    let runs: Vec<_> = file.range(from..from.saturating_add(len)).try_collect().await?;
    Ok(runs.concat())
}

fn sha256(bytes: &[u8]) -> String {
    to_hex(HashTable::standard().hash(codes::SHA2_256, bytes).unwrap().digest())
}

/// Checks one entry of a listing.
fn listed(desk: &Desk, root: Cid, entry: &Value, report: &mut Report) {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let cid: Cid = text("cid").parse().unwrap();
    let exporter = desk.exporter();
    match (text("type"), text("unixfs")) {
        ("object", _) => {
            let unknown = matches!(desk.run(exporter.stat(&cid)), Err(Error::UnknownCodec(_)));
            return report.same(text("path"), unknown, true);
        }
        (_, "hamt-sharded-directory") => {
            let stat = desk.run(exporter.stat(&cid)).unwrap();
            return report.same(text("path"), stat, Stat::ShardedDirectory);
        }
        ("directory", _) => {
            let names = text("path").split('/').filter(|name| !name.is_empty());
            let found = desk.run(exporter.resolve(&root, names));
            return report.same(text("path"), found.ok(), Some(cid));
        }
        _ => {}
    }
    if entry.get("error").is_some() {
        let whole = desk.run(async { read(&exporter.open(&cid).await?, 0, u64::MAX).await });
        return report.same(text("path"), whole.is_err(), true);
    }
    let file = desk.run(exporter.open(&cid)).unwrap();
    let whole = desk.run(read(&file, 0, u64::MAX)).unwrap();
    assert_eq!(Some(file.size()), entry["size"].as_u64());
    assert_eq!(whole.len() as u64, file.size());
    report.same(text("path"), sha256(&whole), text("sha256").to_owned());
    for range in entry["ranges"].as_array().into_iter().flatten() {
        let (from, len) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
        let part = desk.run(read(&file, from, len)).unwrap();
        report.same(
            &format!("{} {range}", text("path")),
            sha256(&part),
            range[2].as_str().unwrap().to_owned(),
        );
    }
}
