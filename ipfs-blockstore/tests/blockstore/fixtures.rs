//! Cases of other implementations.

mod car;

use std::{fs, path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_blockstore::{FlatStore, flat::Sharding};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, Cid, Error, HashTable, Multihash, TokioRuntime, codes,
};

pub(crate) use self::car::Links;
use crate::support::{Report, folder, hex, table};

/// What a case of the table says, and what it should.
fn outcome(op: &str, input: &str) -> Option<String> {
    let parsed = |text: &str| Sharding::parse(&format!("/repo/flatfs/shard/v1/{text}"));
    if let Some(function) = op.strip_prefix("shard ") {
        return Some(parsed(function).unwrap().directory(input));
    }
    match op {
        "SHARDING file" => Some(match Sharding::parse(input) {
            Ok(Sharding::NextToLast(2)) => "next-to-last 2 (default)".into(),
            Ok(other) => other.to_string(),
            Err(_) => "error".into(),
        }),
        _ => None,
    }
}

#[test]
fn keys_and_directories() {
    let path = "blockstore/vectors.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let (op, input, expected) = (&case["op"], &case["input"], &case["expected"]);
        if let Some(found) = outcome(op, input) {
            let expected = if expected.starts_with("error") { "error" } else { expected };
            report.same(case.id(), &*found, expected);
            continue;
        }
        match op {
            "read through" => {
                // The link in that block has a digest of one byte: refused, and nothing is asked.
                let block = hex("0a05080218d40112070a05015512016d");
                let link = ipfs_traits::parse_cid(&block[block.len() - 5..]).unwrap();
                let refused = HashTable::standard().check(&link);
                report.same(case.id(), matches!(refused, Err(Error::Limit { .. })), true);
            }
            "datastore key roundtrip" | "multihash -> datastore key -> multihash" => {
                let cid: Cid = input.parse().unwrap();
                let key = data_encoding::BASE32_NOPAD.encode(&cid.hash().to_bytes());
                let back = data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap();
                report.same(case.id(), back, cid.hash().to_bytes());
            }
            "has/get by multihash" => report.left_out("a promise of every store, in its suite"),
            "key valid" => {
                report.left_out("keys of other datastores: ours are made of multihashes")
            }
            "block put" | "block bytes" => report.left_out("limits and codecs of the node's calls"),
            other => panic!("{other}"),
        }
    }
    report.finish();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A folder that Kubo wrote is opened, listed, read and added to.
#[tokio::test]
async fn a_folder_of_kubos() {
    let path = "blockstore/kubo-v16-repo-blocks";
    let mut report = Report::new(path);
    let temp = tempfile::tempdir().unwrap();
    copy(&folder().join(path), temp.path());
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let store = FlatStore::open(temp.path(), runtime).await.unwrap();
    let listed: Vec<Vec<(Multihash, u64)>> = store.list().try_collect().await.unwrap();
    for (hash, len) in listed.concat() {
        let cid = Cid::new_v1(codes::RAW, hash);
        let block = store.get(&cid).await.unwrap().unwrap();
        assert_eq!(block.len() as u64, len);
        report.ran(&cid.to_string(), HashTable::standard().verify(&cid, block.data()));
    }
    let name = "X3/CIQFTFEEHEDF6KLBT32BFAGLXEZL4UWFNWM4LFTLMXQBCERZ6CMLX3Y.data";
    assert!(temp.path().join(name).exists());
    // Kubo's figure is kept up to date: all that is there, and one more file in a directory of its own.
    let kubos = store.disk_usage().unwrap();
    let new = Block::of(codes::RAW, codes::SHA2_256, vec![1; 1000], &HashTable::standard());
    store.put(new.unwrap()).await.unwrap();
    store.close().await.unwrap();
    let usage = fs::read_to_string(temp.path().join("diskUsage.cache")).unwrap();
    let expected = kubos + 1000 + 4096;
    assert_eq!(usage, format!("{{\"diskUsage\":{expected},\"accuracy\":\"initial-exact\"}}\n"));
    report.finish();
}
