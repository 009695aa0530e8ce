//! Archives and folders that Kubo writes beside ours: the same tree, and the same tree from each
//! other's.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
    sync::Arc,
};

use futures::{TryStreamExt, io::Cursor};
use ipfs_core::{
    Cid, Local, Node, TokioRuntime,
    blockstore::FlatStore,
    unixfs::{
        Attribute, Exporter, Params,
        tar::{Options, Reader},
    },
};

use super::{Kubo, program, text};

/// What is at a name: what it holds or points to, its mode, its time.
type Seen = (Vec<u8>, u32, (i64, i64));

/// All below a path.
fn seen(path: &Path) -> BTreeMap<OsString, Seen> {
    let mut found = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(at) = open.pop() {
        let about = fs::symlink_metadata(&at).unwrap();
        let is = if about.is_dir() {
            open.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
            b"directory".to_vec()
        } else if about.is_symlink() {
            fs::read_link(&at).unwrap().into_os_string().into_encoded_bytes()
        } else {
            fs::read(&at).unwrap()
        };
        let name = at.strip_prefix(path).unwrap().as_os_str().to_owned();
        found.insert(name, (is, about.mode() & 0o7777, (about.mtime(), about.mtime_nsec())));
    }
    found
}

/// A tree in which everything has a mode and a time of its own.
fn grow(at: &Path) {
    let long = "n".repeat(180);
    fs::create_dir_all(at.join("a").join(&long).join("deep")).unwrap();
    let files = [
        ("a/file", &b"file"[..]),
        ("a/empty", b""),
        ("ümläut\nline", b"x"),
        ("large", &[7; 3 << 20]),
    ];
    for (name, content) in files {
        fs::write(at.join(name), content).unwrap();
    }
    fs::write(at.join("a").join(&long).join("deep/file"), "below a long name").unwrap();
    let modes = [("a/file", 0o751), ("a/empty", 0o400), ("large", 0o600), ("a", 0o711)];
    for (name, mode) in modes {
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("a/file", at.join("link")).unwrap();
    symlink(format!("a/{}", "t".repeat(200)), at.join("far")).unwrap();
    let mut paths: Vec<_> = seen(at).into_keys().map(|name| at.join(name)).collect();
    // The innermost first, whose times the making of others does not change.
    paths.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
    for (i, path) in (1..).zip(&paths) {
        let time = format!("@{}.{:09}", 1_500_000_000 + i, 111_111_111 * (i % 9));
        assert!(
            Command::new("touch").args(["-h", "-d", &time]).arg(path).status().unwrap().success()
        );
    }
}

fn extract(archive: &[u8], into: &Path) {
    fs::create_dir(into).unwrap();
    let path = into.join("a.tar");
    fs::write(&path, archive).unwrap();
    let mut tar = Command::new("tar");
    assert!(tar.args(["-xpf", "a.tar"]).current_dir(into).status().unwrap().success());
    fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubo_gets_is_what_we_write() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("input")).unwrap();
    grow(&at("input"));
    let said = ["add", "-Qr", "--preserve-mode", "--preserve-mtime", "--raw-leaves=false"];
    let root = kubo.run(&[&said[..], &[text(&at("input"))]].concat());
    let cid: Cid = root.parse().unwrap();

    // On disk.
    kubo.run(&["get", "--offline", &root, "-o", text(&at("theirs"))]);
    let store =
        FlatStore::open(kubo.repo().join("blocks"), Arc::new(TokioRuntime::current().unwrap()));
    let store = Arc::new(store.await.unwrap());
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let exporter = Exporter::new(Arc::new(Local(store)), runtime);
    exporter.write(&cid, at("ours")).await.unwrap();
    assert_eq!(seen(&at("ours")), seen(&at("theirs")));
    assert_eq!(seen(&at("ours")), seen(&at("input")));

    // As archives.
    kubo.run(&["get", "--offline", "-a", &root, "-o", text(&at("theirs.tar"))]);
    let theirs = fs::read(at("theirs.tar")).unwrap();
    let ours: Vec<_> = exporter.tar(&cid).try_collect().await.unwrap();
    let ours = ours.concat();
    extract(&theirs, &at("from theirs"));
    extract(&ours, &at("from ours"));
    assert_eq!(seen(&at("from ours").join(&root)), seen(&at("input")));
    // That archive of Kubo's has whole seconds.
    let whole = |tree: BTreeMap<OsString, Seen>| -> BTreeMap<OsString, _> {
        tree.into_iter().map(|(name, (is, mode, _))| (name, (is, mode))).collect()
    };
    assert_eq!(
        whole(seen(&at("from ours").join(&root))),
        whole(seen(&at("from theirs").join(&root)))
    );

    // And back: theirs and ours, compressed too, are what Kubo adds.
    kubo.run(&["get", "--offline", "-a", "-C", &root, "-o", text(&at("theirs.tar.gz"))]);
    let plain = kubo.run(&["add", "-Qrn", text(&at("input"))]);
    let node = Node::builder().offline().spawn().await.unwrap();
    let zipped = Options { gzip: Some(6), ..Options::default() };
    let zipped: Vec<_> = exporter.tar_with(&cid, &zipped).unwrap().try_collect().await.unwrap();
    for archive in [theirs, fs::read(at("theirs.tar.gz")).unwrap(), ours.clone(), zipped.concat()] {
        let added = node.unixfs().add_tar(Reader::new(Cursor::new(archive)).strip_root());
        assert_eq!(added.await.unwrap().cid.to_string(), plain);
    }
    let params = Params { mode: Attribute::Kept, mtime: Attribute::Kept, ..Params::default() };
    let archive = Reader::new(Cursor::new(ours)).strip_root();
    assert_eq!(node.unixfs().params(params).add_tar(archive).await.unwrap().cid, cid);
    node.close().await.unwrap();
}
