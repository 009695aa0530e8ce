//! Pins and garbage: the same DAGs, pins and losses here and there, and the same said of them.

use std::{collections::BTreeSet, fs, sync::Arc};

use futures::{TryStreamExt, io::Cursor};
use ipfs_core::{
    Blockstore, BlockstoreExt, Cid, Error, ImportOptions, Node, codes, memory::MemoryStore,
};
use ipld_git::GitCodec;

use super::{Kubo, program, text};
use crate::content;

/// A file, a sharded directory, a value above both, and a git object: their roots.
fn roots(kubo: &Kubo) -> Vec<Cid> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), content::bytes(1, 300_000)).unwrap();
    fs::create_dir(at("names")).unwrap();
    (0..300).for_each(|n| fs::write(at("names").join(format!("{n}")), [n as u8]).unwrap());
    // Kubo does not look for raw leaves when it verifies a pin: without them it sees a loss.
    let file = at("file");
    let file =
        ["add", "-Q", "--pin=false", "--raw-leaves=false", "--chunker=size-10000", text(&file)];
    let file = kubo.run(&file);
    kubo.run(&["config", "Import.UnixFSHAMTDirectorySizeThreshold", "1000B"]);
    let names = kubo.run(&["add", "-r", "-Q", "--pin=false", text(&at("names"))]);
    fs::write(at("value"), format!(r#"{{"all":[{{"/":"{file}"}},{{"/":"{names}"}}]}}"#)).unwrap();
    let value = kubo.run(&["dag", "put", "--pin=false", text(&at("value"))]);
    fs::write(at("blob"), ipld_git::blob(b"a file in git")).unwrap();
    let blob = at("blob");
    let git = ["block", "put", "--cid-codec", "git-raw", "--mhtype", "sha1", text(&blob)];
    let git = kubo.run(&git);
    [file, names, value, git].iter().map(|cid| cid.parse().unwrap()).collect()
}

/// All blocks of a repository, as CIDs of raw blocks.
fn local(kubo: &Kubo) -> BTreeSet<Cid> {
    kubo.run(&["refs", "local"]).lines().map(|cid| raw(&cid.parse().unwrap())).collect()
}

fn raw(cid: &Cid) -> Cid {
    Cid::new_v1(codes::RAW, *cid.hash())
}

async fn here(node: &Node) -> BTreeSet<Cid> {
    let pages: Vec<_> = node.blocks().list().try_collect().await.unwrap();
    pages.concat().into_iter().map(|(hash, _)| Cid::new_v1(codes::RAW, hash)).collect()
}

/// The pins that are not whole, as Kubo says it.
fn broken(kubo: &Kubo) -> BTreeSet<Cid> {
    let out = kubo.command(&["pin", "verify", "--verbose"]).output().unwrap();
    let says = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{says}");
    let out = String::from_utf8(out.stdout).unwrap();
    let broken = out.lines().filter_map(|line| line.strip_suffix(" broken"));
    broken.map(|cid| v1(&cid.parse().unwrap())).collect()
}

fn v1(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

async fn broken_here(node: &Node) -> BTreeSet<Cid> {
    let all: Vec<_> = node.pins().verify().all().try_collect().await.unwrap();
    let broken = all.iter().filter(|verified| verified.whole.is_err());
    broken.map(|verified| v1(&verified.pin.cid)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_and_garbage_are_the_same_here_and_there() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let roots = roots(&kubo);
    let store = Arc::new(MemoryStore::new());
    let given = store.clone() as Arc<dyn Blockstore>;
    let node = Node::builder().offline().codec(GitCodec).store(given).spawn().await.unwrap();

    // One archive with several roots, which Kubo has written root by root.
    for root in &roots {
        let root_text = root.to_string();
        let export = ["dag", "export", "--progress=false", &root_text];
        let export = kubo.command(&export).output().unwrap();
        assert!(export.status.success());
        let mut options = ImportOptions::default();
        options.pin_roots = true;
        let archive = Cursor::new(export.stdout);
        let imported = node.dag().import_with(archive, options).await.unwrap();
        assert!(node.pins().get(&imported.roots[0]).await.unwrap().is_some());
        kubo.run(&["pin", "add", "--progress=false", &root.to_string()]);
    }
    assert_eq!((broken(&kubo), broken_here(&node).await), (BTreeSet::new(), BTreeSet::new()));

    // What is below pins.
    let theirs = kubo.run(&["pin", "ls", "--quiet", "--type", "indirect"]);
    let theirs: BTreeSet<Cid> = theirs.lines().map(|cid| v1(&cid.parse().unwrap())).collect();
    let ours: Vec<_> = node.pins().indirect().try_collect().await.unwrap();
    let ours: BTreeSet<Cid> = ours.iter().map(|found| v1(&found.cid)).collect();
    assert_eq!(ours, theirs);
    println!("{} blocks below {} pins", ours.len(), roots.len());

    // Ours as one archive of all roots: Kubo pins them.
    let out = tempfile::NamedTempFile::new().unwrap();
    let file = futures::io::AllowStdIo::new(out.reopen().unwrap());
    node.dag().export(&roots, file).await.unwrap();
    let other = Kubo::new(&program);
    other.run(&["dag", "import", "--offline", text(out.path())]);
    let pinned = other.run(&["pin", "ls", "--quiet", "--type", "recursive"]);
    let pinned: BTreeSet<Cid> = pinned.lines().map(|cid| v1(&cid.parse().unwrap())).collect();
    assert!(roots.iter().all(|root| pinned.contains(&v1(root))), "{pinned:?}");

    // Garbage goes, and no more.
    let [file, names, value, _] = roots[..] else { panic!() };
    for gone in [value, names] {
        kubo.run(&["pin", "rm", &gone.to_string()]);
        node.pins().remove(&gone).await.unwrap();
    }
    let before = here(&node).await.len();
    kubo.run(&["repo", "gc", "--quiet"]);
    node.gc().collect().await.unwrap();
    let (ours, theirs) = (here(&node).await, local(&kubo));
    assert!(ours.len() < before && ours.is_subset(&theirs));
    // The tree of a new repository and its one directory are Kubo's own.
    let own: Vec<&Cid> = theirs.difference(&ours).collect();
    assert!(own.len() <= 1, "{own:?}");

    // The last leaf is lost on both sides.
    let links = node.dag().links(&file).await.unwrap();
    let leaf = links.last().unwrap();
    for kept in [file, *leaf] {
        assert!(matches!(node.blocks().delete(&kept).await, Err(Error::Pinned { .. })), "{kept}");
    }
    store.delete(leaf).await.unwrap();
    let key = data_encoding::BASE32_NOPAD.encode(&leaf.hash().to_bytes());
    let shard = &key[key.len() - 3..key.len() - 1];
    fs::remove_file(kubo.repo().join("blocks").join(shard).join(format!("{key}.data"))).unwrap();
    assert_eq!(broken_here(&node).await, BTreeSet::from([v1(&file)]));
    assert_eq!(broken(&kubo), BTreeSet::from([v1(&file)]));
    // Neither collects then, nor pins it anew.
    assert!(!kubo.command(&["repo", "gc"]).output().unwrap().status.success());
    assert!(matches!(node.gc().collect().await, Err(Error::Incomplete { .. })));
}
