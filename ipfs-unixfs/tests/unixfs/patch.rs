//! Trees changed at a path: as Kubo changes them, and where it should not.

use std::sync::Arc;

use futures::stream;
use ipfs_traits::{Block, BlockstoreExt, Cid, Error, HashTable, Local, Prefix, Result, codes};
use ipfs_unixfs::{
    Change, Params, Patcher, Sharding, Target,
    dagpb::{Link, encode},
    data::{Kind, Mtime, NewData},
};

use crate::{
    content::Desk,
    fixtures::reading::load,
    support::{self, Report, table},
};

pub(crate) fn patcher(desk: &Desk) -> Patcher {
    Patcher::new(Arc::new(Local(desk.store.clone())), desk.store.clone())
}

pub(crate) fn put(desk: &Desk, bytes: Vec<u8>) -> Target {
    let block = Block::of(codes::DAG_PB, codes::SHA2_256, bytes, &HashTable::standard()).unwrap();
    desk.run(desk.store.put(block.clone())).unwrap();
    Target::of(&block).unwrap()
}

pub(crate) fn link(target: Target, name: &[u8]) -> Link<'_> {
    Link { cid: target.cid, name: Some(name), tsize: Some(target.dag_size) }
}

/// What is done otherwise than by Kubo.
enum Otherwise {
    /// Kubo spoils a file, or a symbolic link.
    WrongKind,
    /// Kubo looks only whether the root is UnixFS.
    NotUnixFs,
    /// Kubo refuses it, or spoils the directory.
    Sharded,
}

fn otherwise(id: &str) -> Option<Otherwise> {
    if id.ends_with("-in-raw-or-file") || id.ends_with("-in-symlink") {
        return Some(Otherwise::WrongKind);
    }
    if id.starts_with("odd-plain-below") && !id.contains("allowed") {
        return Some(Otherwise::NotUnixFs);
    }
    (id.starts_with("shard-") && id != "shard-make-below").then_some(Otherwise::Sharded)
}

#[test]
fn as_kubo_patches() {
    let path = "unixfs/patches.tsv";
    let mut report = Report::new(path);
    let desk = Desk::new();
    load(&desk, &support::bytes("unixfs/patches.car"));
    let params = Params { sharding: Sharding::Never, ..Params::unixfs_v0_2015() };
    for case in table(path) {
        let root: Cid = case["root"].parse().unwrap();
        let patcher = patcher(&desk)
            .params(params.clone())
            .make_parents(&case["flags"] == "-p")
            .allow_plain(&case["flags"] == "--allow-non-unixfs");
        let names = || case["path"].split('/');
        let found = match &case["op"] {
            "add-link" => {
                let target = case["target"].parse().unwrap();
                let target = desk.run(patcher.target(&target)).unwrap();
                desk.run(patcher.add_link(&root, names(), target))
            }
            _ => desk.run(patcher.remove_link(&root, names())),
        };
        let found = match (otherwise(case.id()), found) {
            (Some(Otherwise::WrongKind | Otherwise::NotUnixFs), Err(Error::WrongKind { .. })) => {
                report.ran(case.id(), Ok::<(), &str>(()));
                continue;
            }
            (Some(Otherwise::Sharded), found) => {
                let resolved = desk.run(desk.exporter().resolve(&found.unwrap().cid, names()));
                let expected = case["target"].parse().ok();
                report.same(case.id(), resolved.ok(), expected);
                continue;
            }
            (None, found) => found,
            (Some(_), found) => panic!("{}: {found:?}", case.id()),
        };
        match (&case["error"], found) {
            ("", found) => {
                report.same(case.id(), &*found.unwrap().cid.to_string(), &case["expected"])
            }
            (_, Err(Error::NoEntry { .. } | Error::WrongKind { .. })) => {
                report.ran(case.id(), Ok::<(), &str>(()));
            }
            (expected, found) => report.ran(case.id(), Err(format!("{expected}: {found:?}"))),
        }
    }
    report.finish();
}

/// `{"a": {"b": {}}}`, and what that is made of.
fn nested(desk: &Desk) -> (Target, Target) {
    let directory = NewData::of(Kind::Directory).encode();
    let empty = put(desk, encode([], Some(&directory)));
    let a = put(desk, encode([link(empty, b"b")], Some(&directory)));
    (put(desk, encode([link(a, b"a")], Some(&directory))), empty)
}

#[test]
fn many_changes_write_each_directory_once() {
    let desk = Desk::new();
    let (root, empty) = nested(&desk);
    let add = |path: &[&str]| {
        let path = path.iter().map(|name| (*name).into()).collect();
        Ok(Change::Added { path, after: empty })
    };
    let patcher = patcher(&desk).make_parents(true);
    let before = desk.run(desk.store.usage_blocks());
    let changes = [
        add(&["a", "b", "1"]),
        add(&["a", "b", "2"]),
        add(&["a", "c", "1"]),
        add(&["d"]),
        Ok(Change::Touched {
            path: vec!["a".into()],
            mode: Some(0o700),
            mtime: Some(Mtime { seconds: 7, nanos: None }),
        }),
    ];
    let found = desk.run(patcher.apply(&root.cid, stream::iter(changes))).unwrap();
    // The root, `a` twice, since it was left between, `b`, and `c`.
    assert_eq!(desk.run(desk.store.usage_blocks()) - before, 5);
    for path in [&["a", "b", "1"][..], &["a", "c", "1"], &["d"]] {
        assert_eq!(desk.run(desk.exporter().resolve(&found.cid, path)).unwrap(), empty.cid);
    }
    // In reverse order it is the same tree.
    let changes = [
        Ok(Change::Touched {
            path: vec!["a".into()],
            mode: Some(0o700),
            mtime: Some(Mtime { seconds: 7, nanos: None }),
        }),
        add(&["d"]),
        add(&["a", "c", "1"]),
        add(&["a", "b", "2"]),
        add(&["a", "b", "1"]),
    ];
    let again = desk.run(patcher.apply(&root.cid, stream::iter(changes))).unwrap();
    assert_eq!(again, found);
    // Nothing changed, and the whole changed.
    assert_eq!(desk.run(patcher.apply(&root.cid, stream::empty())).unwrap(), root);
    let whole = Change::Changed { path: vec![], before: root, after: empty };
    let changes = [add(&["x"]), Ok(whole), add(&["1"])];
    let found = desk.run(patcher.apply(&root.cid, stream::iter(changes))).unwrap();
    let expected = desk.run(patcher.add_link(&empty.cid, ["1"], empty)).unwrap();
    assert_eq!(found, expected);
}

trait Count {
    /// How many blocks there are.
    async fn usage_blocks(&self) -> u64;
}

impl Count for ipfs_traits::memory::MemoryStore {
    async fn usage_blocks(&self) -> u64 {
        ipfs_traits::Blockstore::usage(self).await.unwrap().unwrap().blocks.unwrap_or_default()
    }
}

#[test]
fn paths_that_lead_nowhere() {
    let desk = Desk::new();
    let (root, empty) = nested(&desk);
    let patcher = patcher(&desk).make_parents(true);
    let add = |path: &[&str]| -> Result<Target> {
        desk.run(patcher.add_link(&root.cid, path.iter().copied(), empty))
    };
    for bad in [&[][..], &[""], &["", "a"], &["a", ""], &["a", "", "b"]] {
        assert!(matches!(add(bad), Err(Error::Invalid { .. })), "{bad:?}");
    }
    assert!(matches!(add(&["x"; 1025]), Err(Error::Limit { limit: 1024, .. })));
    assert!(add(&["x"; 1024]).is_ok());
    let remove = |path: &[&str]| desk.run(patcher.remove_link(&root.cid, path.iter().copied()));
    assert!(matches!(remove(&["a", "x"]), Err(Error::NoEntry { name, .. }) if name == "x"));
    // Nothing is made on the way of what is to go.
    assert!(matches!(remove(&["x", "y"]), Err(Error::NoEntry { name, .. }) if name == "x"));
    let lost = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".parse().unwrap();
    let missing = desk.run(patcher.remove_link(&lost, ["a"]));
    assert!(matches!(missing, Err(Error::NotFound(cid)) if cid == lost));
    let raw = Block::of(codes::RAW, codes::SHA2_256, "", &HashTable::standard()).unwrap();
    desk.run(desk.store.put(raw.clone())).unwrap();
    let raw = desk.run(patcher.add_link(raw.cid(), ["a"], empty));
    assert!(matches!(raw, Err(Error::WrongKind { .. })));
}

#[test]
fn directories_inside_their_cids_leave_them_when_they_grow() {
    let desk = Desk::new();
    let (_, empty) = nested(&desk);
    let prefix = Prefix::v1(codes::DAG_PB, codes::IDENTITY);
    let directory = NewData::of(Kind::Directory).encode();
    let inline = prefix.cid(&encode([], Some(&directory)), &HashTable::standard()).unwrap();
    let patcher = patcher(&desk);
    let one = desk.run(patcher.add_link(&inline, ["1"], empty)).unwrap();
    assert_eq!(one.cid.hash().code(), codes::IDENTITY);
    let two = desk.run(patcher.add_link(&one.cid, ["2"], empty)).unwrap();
    assert_eq!(two.cid.hash().code(), codes::SHA2_256);
    let less = desk.run(patcher.remove_link(&two.cid, ["2"])).unwrap();
    assert_eq!(less.dag_size, one.dag_size);
}
