//! Writing to disk: modes and times, what is at the target, and going on after a stop.

#![cfg(unix)]

mod resume;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, stream::BoxStream};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, Error, Local, Result, RuntimeExt, async_trait, codes,
    memory::MemoryStore,
};
use ipfs_unixfs::{Disk, Exported, Exporter, data::Kind as DataKind, data::NewData};
use proptest::prelude::*;

use crate::{
    content::Desk,
    export::{directory_of, file_of, files_below, put, put_node},
    sketch::{Sketch, at, directory, file, link, sketches},
};

const RESUME: Disk = Disk { modes: true, mtimes: true, replace: false, resume: true, sync: false };

/// A folder, and a target in it that is not there yet.
fn target() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    (folder, target)
}

fn write(desk: &Desk, root: &Block, target: &Path, options: Disk) -> Result<Exported> {
    let exported = desk.run(desk.exporter().write_with(root.cid(), target, options));
    settle(desk);
    exported
}

/// What was begun is removed in its own time; on this runtime that is the next turn.
fn settle(desk: &Desk) {
    desk.run(desk.runtime.sleep(std::time::Duration::from_secs(1)));
}

fn names(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A tree with any names, modes and times is on disk what it was as blocks, whether it was
    /// written at once or may be resumed.
    #[test]
    #[cfg(target_os = "linux")]
    fn trees_come_back(tree in sketches(), resume: bool) {
        let desk = Desk::new();
        let (_folder, target) = target();
        let root = tree.store(&desk);
        write(&desk, &root, &target, Disk { resume, ..Disk::default() }).unwrap();
        tree.assert_is(&Sketch::on_disk(&target), false);
    }

    /// An export that stops at any block goes on where it stopped, as often as it stops.
    #[test]
    #[cfg(target_os = "linux")]
    fn stopped_exports_go_on(tree in sketches(), skip in 1..5_usize) {
        let desk = Desk::new();
        let (folder, target) = target();
        let root = tree.store(&desk);
        let all = blocks(&desk);
        desk.run(desk.store.delete_many(&all.iter().map(|block| *block.cid()).collect::<Vec<_>>())).unwrap();
        for block in all.iter().rev().step_by(skip).chain(&all) {
            let done = write(&desk, &root, &target, RESUME);
            if done.is_ok() {
                break;
            }
            assert!(!target.exists());
            desk.run(desk.store.put_many(std::slice::from_ref(block))).unwrap();
        }
        if fs::symlink_metadata(&target).is_err() {
            write(&desk, &root, &target, RESUME).unwrap();
        }
        tree.assert_is(&Sketch::on_disk(&target), false);
        assert_eq!(names(folder.path()).len(), 1, "nothing is left");
    }
}

fn blocks(desk: &Desk) -> Vec<Block> {
    desk.run(async {
        let pages: Vec<_> = desk.store.list().collect().await;
        let hashes = pages.into_iter().flat_map(Result::unwrap);
        let cids: Vec<_> = hashes.map(|(hash, _)| Cid::new_v1(codes::RAW, hash)).collect();
        let got = desk.store.get_many(&cids).await;
        got.into_iter().map(|block| block.unwrap().unwrap()).collect()
    })
}

/// boxo keeps the three bits above the rights, and so lets a stranger make programs that run as the
/// user.
#[test]
fn no_program_gets_the_rights_of_its_owner() {
    let desk = Desk::new();
    let (_folder, target) = target();
    let tree = directory([("p", file(b"x").with(Some(0o7755), None))]).with(Some(0o7777), None);
    write(&desk, &tree.store(&desk), &target, Disk::default()).unwrap();
    assert_eq!((mode(&target), mode(&target.join("p"))), (0o777, 0o755));
}

/// Modes and times of directories must not be disturbed by what is written into them.
#[test]
fn directories_are_told_last() {
    let desk = Desk::new();
    let (folder, target) = target();
    let old = at(-1_000_000, Some(5));
    let inner = directory([("f", file(b"x")), ("l", link(b"f"))]).with(Some(0o555), old);
    let tree = directory([("d", inner), ("e", file(b"y"))]).with(Some(0o500), at(7, None));
    let root = tree.store(&desk);
    write(&desk, &root, &target, Disk::default()).unwrap();
    tree.assert_is(&Sketch::on_disk(&target), false);
    // Over one that nobody may write to, too.
    let options = Disk { replace: true, ..Disk::default() };
    write(&desk, &root, &target, options).unwrap();
    tree.assert_is(&Sketch::on_disk(&target), false);
    assert_eq!(names(folder.path()).len(), 1);
    unlock(&target);
}

fn unlock(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            unlock(&path);
        }
    }
}

/// What a link points to must keep its own time.
#[test]
fn links_have_times_of_their_own() {
    let desk = Desk::new();
    let (folder, target) = target();
    let outside = folder.path().join("outside");
    fs::write(&outside, "x").unwrap();
    let before = Sketch::on_disk(&outside);
    let tree = directory([("l", link(b"../outside").with(Some(0o600), at(5, Some(6))))]);
    write(&desk, &tree.store(&desk), &target, Disk::default()).unwrap();
    tree.assert_is(&Sketch::on_disk(&target), false);
    assert_eq!(Sketch::on_disk(&outside), before);
}

#[test]
fn modes_and_times_can_be_ignored() {
    let desk = Desk::new();
    let (_folder, target) = target();
    let tree = directory([("f", file(b"x").with(Some(0o4711), at(5, None)))])
        .with(Some(0o711), at(5, None));
    let options = Disk { modes: false, mtimes: false, ..Disk::default() };
    write(&desk, &tree.store(&desk), &target, options).unwrap();
    for path in [target.clone(), target.join("f")] {
        assert_ne!(mode(&path) & 0o777, 0o711);
        assert_ne!(fs::metadata(&path).unwrap().mtime(), 5);
    }
}

/// A tree deeper than a process may have files open, and whose paths are longer than any call takes.
#[test]
fn deep_trees_are_written_and_removed() {
    let desk = Desk::new();
    let long = "n".repeat(200);
    let levels = 400;
    let deep = |inner: Block| {
        let leaf = put(&desk, codes::RAW, b"leaf".to_vec());
        (0..levels).fold(inner, |node, _| directory_of(&desk, &[(&long, &node), ("z", &leaf)]))
    };
    let (folder, target) = target();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(256), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let root = deep(directory_of(&desk, &[]));
    let done = write(&desk, &root, &target, Disk::default()).unwrap();
    assert_eq!((done.directories, done.files), (levels + 1, levels));
    // It goes away again, and so does one that fails at its deepest.
    let small = put(&desk, codes::RAW, b"small".to_vec());
    write(&desk, &small, &target, Disk { replace: true, ..Disk::default() }).unwrap();
    let bad = deep(directory_of(&desk, &[("..", &small)]));
    let error = write(&desk, &bad, &folder.path().join("bad"), Disk::default()).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }));
    assert_eq!(names(folder.path()), BTreeSet::from(["out".to_owned()]));
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// A source at which something happens when a block is asked for.
struct Trap {
    inner: Local<Arc<MemoryStore>>,
    at: Cid,
    act: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Trap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trap")
    }
}

#[async_trait]
impl BlockSource for Trap {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.inner.get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let (at, act) = (self.at, self.act.clone());
        let watched = self.inner.get_many(cids).inspect(move |(cid, _)| {
            if *cid == at {
                act();
            }
        });
        watched.boxed()
    }
}

/// Exports, while something happens when a block is asked for.
fn trapped(
    desk: &Desk,
    at: &Block,
    act: impl Fn() + Send + Sync + 'static,
    root: &Block,
    target: &Path,
) -> Result<Exported> {
    let trap = Trap { inner: Local(desk.store.clone()), at: *at.cid(), act: Arc::new(act) };
    let exporter = Exporter::new(Arc::new(trap), Arc::new(desk.runtime.clone()));
    let done = desk.run(exporter.write(root.cid(), target));
    settle(desk);
    done
}

/// Many files, the last of which comes when the others are written.
fn many(desk: &Desk, last: &Block) -> Block {
    let entries: Vec<(String, Block)> = (0..3000_u32)
        .map(|i| (format!("{i:05}"), put(desk, codes::RAW, i.to_be_bytes().to_vec())))
        .collect();
    let mut links: Vec<_> = entries.iter().map(|(name, block)| (&name[..], block)).collect();
    links.push(("z", last));
    directory_of(desk, &links)
}

/// Somebody beside us moves a directory, deep below which we are, to where its parent is another.
#[test]
fn the_way_up_is_the_way_down() {
    let desk = Desk::new();
    let (folder, target) = target();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let last = put(&desk, codes::RAW, b"last".to_vec());
    let deep = (0..40).fold(many(&desk, &last), |node, _| directory_of(&desk, &[("d", &node)]));
    let root = directory_of(&desk, &[("d", &deep), ("file", &last)]);
    let (from, to) = (folder.path().join(".out.partial-0/tree/d"), outside.join("d"));
    let act = move || drop(fs::rename(&from, &to));
    let error = trapped(&desk, &last, act, &root, &target).unwrap_err();
    assert!(matches!(error, Error::Component { .. }), "{error}");
    assert_eq!(names(&outside), BTreeSet::from(["d".to_owned()]));
    assert!(!target.exists());
}

/// Somebody beside us puts a link in the place of a directory while it is filled.
#[test]
fn a_directory_that_is_swapped_is_not_followed() {
    let desk = Desk::new();
    let (folder, target) = target();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let last = put(&desk, codes::RAW, b"last".to_vec());
    let root = directory_of(&desk, &[("d", &many(&desk, &last))]);
    let partial = folder.path().join(".out.partial-0/tree/d");
    let (there, aside) = (partial.clone(), folder.path().join("aside"));
    let (moved, to) = (aside.clone(), outside.clone());
    let act = move || {
        fs::rename(&there, &moved).unwrap();
        symlink(&to, &there).unwrap();
    };
    trapped(&desk, &last, act, &root, &target).unwrap();
    assert_eq!(names(&outside).len(), 0, "nothing was written through the link");
    assert_eq!(names(&aside).len(), 3001);
}

#[test]
fn what_is_replaced_is_gone_and_what_links_point_to_stays() {
    let desk = Desk::new();
    let (folder, target) = target();
    let options = Disk { replace: true, sync: true, ..Disk::default() };
    let tree = directory([("new", file(b"tree"))]).store(&desk);
    let alone = file(b"file").store(&desk);
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    let pointing = link(b"outside").store(&desk);
    for (first, then) in
        [(&tree, &alone), (&alone, &tree), (&tree, &tree), (&pointing, &tree), (&pointing, &alone)]
    {
        write(&desk, first, &target, options).unwrap();
        let before = files_below(folder.path());
        let error = write(&desk, then, &target, Disk::default()).unwrap_err();
        assert!(matches!(error, Error::InUse(_)));
        assert_eq!(files_below(folder.path()), before, "not without being asked");
        write(&desk, then, &target, options).unwrap();
        match then.cid() == tree.cid() {
            true => assert_eq!(fs::read(target.join("new")).unwrap(), b"tree"),
            false => assert_eq!(fs::read(&target).unwrap(), b"file"),
        }
        assert_eq!(names(folder.path()).len(), 2);
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"x");
    }
    fs::remove_file(&target).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &target, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let error = write(&desk, &alone, &target, options).unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "a pipe, or /dev/null");
}

/// Deletes the `nth` leaf that an export comes to, and gives it.
fn lose(desk: &Desk, root: &Block, nth: usize) -> Block {
    let items: Vec<_> = desk.run(desk.exporter().tree(root.cid()).collect());
    let mut data = items.into_iter().filter_map(|item| match item.unwrap() {
        ipfs_unixfs::Item::Data(data) => Some(data),
        _ => None,
    });
    let block = put(desk, codes::RAW, data.nth(nth).unwrap().to_vec());
    desk.run(desk.store.delete_many(&[*block.cid()])).unwrap();
    block
}

/// The same name twice is one file on disk, as `a` and `A` are on some: refused when it is written,
/// and when the first of the two was written by an export that was stopped.
#[test]
fn two_entries_that_are_one_on_disk_are_refused() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"x".to_vec());
    let inner = directory_of(&desk, &[("file", &leaf)]);
    let content = Some(&b"../outside"[..]);
    let outside = put_node(&desk, &[], &NewData { content, ..NewData::of(DataKind::Symlink) });
    let late = file(&[9; 3000]).store(&desk);
    let cases: [[&Block; 2]; 4] =
        [[&leaf, &leaf], [&outside, &inner], [&outside, &leaf], [&inner, &inner]];
    for [first, second] in cases {
        let (folder, target) = target();
        fs::create_dir(folder.path().join("outside")).unwrap();
        let root = directory_of(
            &desk,
            &[("d", &directory_of(&desk, &[("x", first), ("y", &late), ("x", second)]))],
        );
        let lost = lose_leaf(&desk, &late);
        assert!(write(&desk, &root, &target, RESUME).unwrap_err().is_not_found());
        desk.run(desk.store.put_many(&[lost])).unwrap();
        let error = write(&desk, &root, &target, RESUME).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        for options in [Disk::default(), RESUME] {
            let fresh = write(&desk, &root, &target, options).unwrap_err();
            assert!(matches!(fresh, Error::InUse(_)), "{fresh}");
        }
        let left: Vec<_> = files_below(folder.path()).into_keys().collect();
        assert_eq!(left, ["/", "outside/"]);
    }
}

fn lose_leaf(desk: &Desk, of: &Block) -> Block {
    lose(desk, of, 1)
}

/// What no other try would mend leaves nothing, wherever it is met.
#[test]
fn what_can_never_be_whole_is_not_kept() {
    let desk = Desk::new();
    let (folder, target) = target();
    let leaf = put(&desk, codes::RAW, b"x".to_vec());
    let lie = file_of(&desk, &[(&leaf, 2)], 2);
    let root = directory_of(&desk, &[("d", &directory_of(&desk, &[("a", &leaf), ("z", &lie)]))]);
    let error = write(&desk, &root, &target, RESUME).unwrap_err();
    assert!(matches!(error.what(), Error::Malformed { .. }), "{error}");
    assert_eq!(names(folder.path()).len(), 0);
}

/// Names that are as long as a system takes, and targets that leave no room beside them.
#[test]
fn long_names_are_written_or_refused() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let leaf = file(b"x").store(&desk);
    for resume in [false, true] {
        let target = folder.path().join(if resume { "ä".repeat(127) } else { "t".repeat(255) });
        let name = "n".repeat(255);
        let root = directory_of(&desk, &[(&name, &leaf)]);
        write(&desk, &root, &target, Disk { resume, ..Disk::default() }).unwrap();
        assert_eq!(fs::read(target.join(name)).unwrap(), b"x");
    }
    let root = directory_of(&desk, &[(&"n".repeat(256), &leaf)]);
    let error = write(&desk, &root, &folder.path().join("x"), Disk::default()).unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 255, actual: 256, .. }));
}

#[test]
fn links_without_a_path_are_malformed() {
    let desk = Desk::new();
    for target_of_link in [&b""[..], b"a\0b"] {
        let (folder, target) = target();
        let root = directory([("l", link(target_of_link))]).store(&desk);
        let error = write(&desk, &root, &target, Disk::default()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }));
        assert_eq!(names(folder.path()).len(), 0);
    }
}
