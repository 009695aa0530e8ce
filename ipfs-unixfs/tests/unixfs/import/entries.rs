//! Trees that come as entries.

use std::{
    fs, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, StreamExt, io::Cursor, stream};
use ipfs_traits::{Error, Result};
use ipfs_unixfs::{Attribute, Imported, Name, NewContent, NewEntry, Params, data::Mtime};
use proptest::prelude::*;

use crate::content::{Desk, chacha20};

fn import(params: Params, entries: Vec<NewEntry>) -> Result<Imported> {
    let desk = Desk::new();
    let entries = stream::iter(entries.into_iter().map(Ok));
    desk.run(desk.importer(params).entries(entries))
}

fn path(path: &str) -> Vec<Name> {
    path.split('/').filter(|name| !name.is_empty()).map(Name::from).collect()
}

/// Paths of files, directories and links in an order of their own, and a tree of them on disk.
fn some() -> Vec<(&'static str, Option<usize>)> {
    vec![
        ("b/deep/er/file", Some(10)),
        ("a.txt", Some(0)),
        ("b", None),
        ("b/big", Some(5 << 20)),
        ("empty/inner", None),
        ("b/deep/file", Some(3000)),
        ("b/deep", None),
        ("", None),
    ]
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    for (path, len) in some() {
        let path = folder.path().join(path);
        match len {
            None => fs::create_dir_all(path).unwrap(),
            Some(len) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, chacha20("order", len)).unwrap();
            }
        }
    }
    let desk = Desk::new();
    let from_disk = desk.run(desk.importer(Params::default()).path(folder.path())).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(16));
    let shuffled = Just(some()).prop_shuffle();
    runner
        .run(&(shuffled, 0..3_usize), |(order, way)| {
            let entry =
                |(at, len): (&str, Option<usize>)| match len.map(|len| chacha20("order", len)) {
                    None => NewEntry::directory(path(at)),
                    Some(_) if way == 0 => {
                        NewEntry::new(path(at), NewContent::Disk(folder.path().join(at)))
                    }
                    Some(bytes) if way == 1 => NewEntry::reader(path(at), Cursor::new(bytes)),
                    Some(bytes) => NewEntry::file(path(at), bytes),
                };
            let imported = import(Params::default(), order.into_iter().map(entry).collect());
            prop_assert_eq!(&imported.unwrap(), &from_disk);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_root_can_be_anything() {
    let file = import(Params::default(), vec![NewEntry::file(path(""), "hello world")]).unwrap();
    let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    assert_eq!(file.cid.to_string(), cid);
    let none = import(Params::default(), Vec::new()).unwrap();
    assert_eq!((none.files, none.directories), (0, 1));
    let link = import(Params::default(), vec![NewEntry::symlink(path(""), "x")]).unwrap();
    assert_eq!(link.symlinks, 1);
}

#[test]
fn modes_and_times_give_the_cid_of_kubo() {
    let with_mode = |mut entry: NewEntry, mode| {
        entry.mode = Some(mode);
        entry
    };
    let kept = || Params { mode: Attribute::Kept, ..Params::unixfs_v0_2015() };
    // A file that nobody may read states no mode, a directory states 0. The type is not written.
    let tree = vec![
        with_mode(NewEntry::directory(path("")), 0o40755),
        with_mode(NewEntry::file(path("f"), "zero"), 0),
        with_mode(NewEntry::directory(path("d")), 0),
    ];
    let imported = import(kept(), tree).unwrap();
    assert_eq!(imported.cid.to_string(), "QmZJYcu4z8ACTy4XEMXzPCpbmDd3WZJMBq7maS5Hv5byTn");
    let file = || with_mode(NewEntry::file(path(""), "zero"), 0o100_000);
    let cid = import(kept(), vec![file()]).unwrap().cid;
    assert_eq!(cid.to_string(), "QmT78E2UDBLJSMcyEsETJ5N2MWpQzHSshsre6eoWmktNZ5");
    // Of what is not asked for, nothing is written.
    let mut entry = with_mode(NewEntry::file(path(""), "hello world"), 0o600);
    entry.mtime = Some(Mtime { seconds: 5, nanos: None });
    let plain = import(Params::default(), vec![entry]).unwrap();
    assert_eq!(
        plain.cid,
        import(Params::default(), vec![NewEntry::file(path(""), "hello world")]).unwrap().cid
    );
}

#[test]
fn two_things_at_one_path_are_refused() {
    let file = |at| NewEntry::file(path(at), "x");
    let link = |at| NewEntry::symlink(path(at), "x");
    let directory = |at| NewEntry::directory(path(at));
    for entries in [
        vec![file("a"), file("a")],
        vec![file("a"), link("a")],
        vec![file("a"), directory("a")],
        vec![directory("a"), file("a")],
        vec![file("a"), file("a/b")],
        vec![file("a/b"), file("a")],
        vec![directory("a"), directory("a")],
        vec![directory(""), directory("")],
        vec![file(""), file("")],
        vec![file(""), file("a")],
        vec![file("a"), file("")],
        vec![directory(""), file("")],
    ] {
        let told = format!("{entries:?}");
        let error = import(Params::default(), entries).unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "entry", .. }), "{told}: {error}");
    }
    // A directory may be told once its entries have shown that it is there.
    let late = vec![file("a/b"), directory("a"), directory("")];
    assert_eq!(import(Params::default(), late).unwrap().directories, 2);
}

#[test]
fn names_that_lead_elsewhere_and_endless_paths_are_refused() {
    for bad in ["", ".", "..", "a/b", "a\0"] {
        for at in [vec![bad], vec!["a", bad], vec![bad, "a"]] {
            let error = import(Params::default(), vec![NewEntry::file(at, "x")]).unwrap_err();
            assert!(matches!(error, Error::Invalid { what: "entry", .. }), "{bad:?}: {error}");
        }
    }
    let deep = |depth| vec![NewEntry::file(vec!["a"; depth], "x")];
    let imported = import(Params::default(), deep(NewEntry::MAX_DEPTH)).unwrap();
    assert_eq!(imported.directories, NewEntry::MAX_DEPTH as u64);
    let error = import(Params::default(), deep(NewEntry::MAX_DEPTH + 1)).unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 2048, actual: 2049, .. }), "{error}");
}

#[test]
fn an_error_among_the_entries_ends_the_import() {
    let desk = Desk::new();
    let entries = stream::iter([
        Ok(NewEntry::file(["a"], "x")),
        Err(Error::malformed("archive", "it ends too early")),
        Ok(NewEntry::file(["b"], "x")),
    ]);
    let error = desk.run(desk.importer(Params::default()).entries(entries)).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let absent = NewEntry::new(["a"], NewContent::Disk("/nowhere/at all".into()));
    assert!(matches!(import(Params::default(), vec![absent]), Err(Error::Component { .. })));
    let folder = tempfile::tempdir().unwrap();
    let folder = NewEntry::new(["a"], NewContent::Disk(folder.path().into()));
    assert!(matches!(import(Params::default(), vec![folder]), Err(Error::Invalid { .. })));
}

/// A reader that says when it has come to its end.
struct Part {
    left: usize,
    open: Arc<AtomicBool>,
}

impl AsyncRead for Part {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = buf.len().min(self.left).min(100_000);
        buf[..count].fill(7);
        self.left -= count;
        self.open.store(count > 0, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }
}

/// An archive can give its parts as readers of itself.
#[test]
fn a_reader_is_read_to_its_end_before_the_next_entry_is_asked_for() {
    let desk = Desk::new();
    let open = Arc::new(AtomicBool::new(false));
    let lens = [5, 0, 20 << 20, 1000, 5 << 20, 3 << 20, 300_000, 33 << 20, 1];
    let entries = stream::iter(lens.into_iter().enumerate()).map(move |(number, left)| {
        assert!(!open.swap(true, Ordering::Relaxed), "entry {number} was asked for too early");
        let part = Part { left, open: open.clone() };
        Ok(NewEntry::reader([number.to_string()], part))
    });
    let imported = desk.run(desk.importer(Params::default()).entries(entries)).unwrap();
    assert_eq!((imported.bytes, imported.files), (lens.iter().sum::<usize>() as u64, 9));
}
