//! Archives: the same tree comes back, by our reader and by others'; hostile ones are refused.

use std::{io::Write, process::Command};

use flate2::{Compression, write::GzEncoder};
use futures::{TryStreamExt, io::Cursor};
use ipfs_traits::{Block, BlockSource, Error, Local, Result, RuntimeExt, codes};
use ipfs_unixfs::{
    Attribute, Params,
    data::{Kind, NewData},
    tar::{self, Part, Reader},
};
use proptest::prelude::*;

use crate::{
    content::{Desk, chacha20},
    export::{directory_of, files_below, put, put_node},
    fixtures::reading::load,
    sketch::{Sketch, at, directory, file, link, sketches},
    support,
};

fn archive(desk: &Desk, root: &Block, options: &tar::Options) -> Result<Vec<u8>> {
    let pieces: Vec<_> =
        desk.run(async { desk.exporter().tar_with(root.cid(), options)?.try_collect().await })?;
    Ok(pieces.concat())
}

fn reader(bytes: Vec<u8>) -> Reader {
    Reader::new(Cursor::new(bytes))
}

fn read(bytes: Vec<u8>) -> Result<Vec<Part>> {
    futures::executor::block_on(reader(bytes).try_collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A tree with any names, modes and times is in an archive what it was as blocks, compressed or
    /// not, and the archive is the same every time.
    #[test]
    fn trees_come_back(tree in sketches(), level in prop::option::of(0..=9_u32)) {
        let desk = Desk::new();
        let root = tree.store(&desk);
        let options = tar::Options { gzip: level, ..tar::Options::default() };
        let bytes = archive(&desk, &root, &options).unwrap();
        prop_assert_eq!(&archive(&desk, &root, &options).unwrap(), &bytes);
        let (name, found) = Sketch::of_archive(read(bytes).unwrap());
        prop_assert_eq!(name, root.cid().to_string().into_bytes());
        tree.assert_is(&found, true);
    }

    /// What an archive is imported as is what it was made of, in whichever order its entries come.
    #[test]
    fn archives_are_imported_as_what_they_were(tree in sketches(), zipped: bool) {
        let desk = Desk::new();
        let params = Params { mode: Attribute::Kept, mtime: Attribute::Kept, ..Params::default() };
        let importer = desk.importer(params);
        let options = tar::Options { gzip: zipped.then_some(1), ..tar::Options::default() };
        let first = archive(&desk, &tree.store(&desk), &options).unwrap();
        let root = desk.run(importer.tar(reader(first).strip_root())).unwrap().cid;
        let block = desk.run(Local(desk.store.clone()).get(&root)).unwrap();
        // All is said now, so that it stays as it is.
        let second = archive(&desk, &block, &options).unwrap();
        let again = desk.run(importer.tar(reader(second.clone()).strip_root())).unwrap().cid;
        prop_assert_eq!(again, root);
        let (name, found) = Sketch::of_archive(read(second.clone()).unwrap());
        prop_assert_eq!(name, root.to_string().into_bytes());
        // Links have no modes of their own, as in Kubo.
        tree.assert_is(&found, false);
        // Without its top taken off, the root is a directory of it.
        let whole = desk.run(importer.tar(reader(second))).unwrap().cid;
        prop_assert_eq!(desk.run(desk.exporter().resolve(&whole, [root.to_string()])).unwrap(), root);
    }

    /// Another reader sees the same entries.
    #[test]
    fn another_reader_agrees(tree in sketches()) {
        let desk = Desk::new();
        let bytes = archive(&desk, &tree.store(&desk), &tar::Options::default()).unwrap();
        let ours = read(bytes.clone()).unwrap();
        let mut entries = ours.iter().filter_map(|part| match part {
            Part::Entry(entry) => Some(entry),
            _ => None,
        });
        let mut theirs = ::tar::Archive::new(&bytes[..]);
        for their in theirs.entries().unwrap() {
            let (their, our) = (their.unwrap(), entries.next().unwrap());
            let path: Vec<_> = our.path.iter().map(|name| name.to_vec()).collect();
            // That reader ends a record at the first new line.
            let is_odd = match &our.kind {
                tar::Kind::Symlink { target } => target.contains(&b'\n'),
                _ => false,
            };
            if !is_odd && !path.concat().contains(&b'\n') {
                let path = path.join(&b'/');
                prop_assert_eq!(their.path_bytes().into_owned(), path);
            }
            prop_assert_eq!(their.header().mode().unwrap(), our.mode);
        }
        prop_assert!(entries.next().is_none());
    }
}

fn samples() -> Sketch {
    let long = "long/".repeat(30);
    directory([
        ("plain", file(b"plain").with(Some(0o4755), at(1_700_000_000, None))),
        ("empty", file(b"")),
        ("even", file(&[1; 512])),
        ("large", file(&chacha20("tar", 200_000)).with(None, at(1_700_000_000, Some(123_456_789)))),
        ("umläut\nline", file(b"odd")),
        ("link", link(b"plain").with(None, at(1_600_000_000, Some(1)))),
        ("far", link(long.as_bytes())),
        ("dir", directory([("inner", file(b"inner"))]).with(Some(0o700), at(1_500_000_000, None))),
    ])
}

/// GNU tar or bsdtar, whichever this system has.
#[test]
#[cfg(unix)]
fn the_systems_tar_extracts_the_same() {
    let desk = Desk::new();
    let tree = samples();
    let options = tar::Options { name: Some("tree".into()), gzip: Some(6), mtime: 86_400 };
    let bytes = archive(&desk, &tree.store(&desk), &options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.tgz"), bytes).unwrap();
    let mut tar = Command::new("tar");
    let status = tar.args(["-xpzf", "a.tgz"]).current_dir(folder.path()).status();
    assert!(status.expect("every Unix has tar").success());
    tree.assert_is(&Sketch::on_disk(&folder.path().join("tree")), false);

    // And what it makes is read.
    for format in ["ustar", "pax", "gnu"] {
        let mut tar = Command::new("tar");
        let format = format!("--format={}", if cfg!(target_os = "macos") { "pax" } else { format });
        let made = tar.args([&format, "-czf", "b.tgz", "tree/dir", "tree/even", "tree/link"]);
        assert!(made.current_dir(folder.path()).status().unwrap().success());
        let parts = read(std::fs::read(folder.path().join("b.tgz")).unwrap()).unwrap();
        let paths: Vec<String> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Entry(entry) => {
                    Some(entry.path.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"))
                }
                _ => None,
            })
            .collect();
        assert_eq!(paths, ["tree/dir", "tree/dir/inner", "tree/even", "tree/link"], "{format}");
    }
}

/// The names and links by which an archive could write outside of where it is extracted.
#[test]
fn trees_that_would_escape_make_no_archive() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"gotcha".to_vec());
    let inner = directory_of(&desk, &[("file", &leaf)]);
    let content = Some(&b"/etc"[..]);
    let outside = put_node(&desk, &[], &NewData { content, ..NewData::of(Kind::Symlink) });
    let cases: [&[(&str, &Block)]; 9] = [
        &[("../escaped", &leaf)],
        &[("..", &leaf)],
        &[(".", &inner)],
        &[("", &leaf)],
        &[("/etc/passwd", &leaf)],
        &[("a/b", &leaf)],
        &[("a\0b", &leaf)],
        // Through a symbolic link that the tree brought itself.
        &[("x", &outside), ("y", &leaf), ("x", &inner)],
        &[("x", &outside), ("x", &leaf)],
    ];
    for entries in cases {
        for root in [
            directory_of(&desk, entries),
            directory_of(&desk, &[("d", &directory_of(&desk, entries))]),
        ] {
            let error = archive(&desk, &root, &tar::Options::default()).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{entries:?}: {error:?}");
        }
    }
    // A link of the same name elsewhere is none of this.
    let root =
        directory_of(&desk, &[("a", &directory_of(&desk, &[("x", &outside)])), ("x", &inner)]);
    archive(&desk, &root, &tar::Options::default()).unwrap();
}

/// The trees that gateways are asked for as archives: one whose name leads out of the root, one whose
/// name leads about within it. No name is a path here, and neither is written anywhere.
#[test]
fn trees_of_the_tests_of_gateways_make_no_archive() {
    for (place, root) in [
        ("inside", "bafybeibfevfxlvxp5vxobr5oapczpf7resxnleb7tkqmdorc4gl5cdva3y"),
        ("outside", "bafybeicaj7kvxpcv4neaqzwhrqqmdstu4dhrwfpknrgebq6nzcecfucvyu"),
    ] {
        let desk = Desk::new();
        let car = format!("unixfs/export/gwc__path_gateway_tar__{place}-root.car");
        load(&desk, &support::bytes(&car));
        let root = desk.run(Local(desk.store.clone()).get(&root.parse().unwrap())).unwrap();
        let error = archive(&desk, &root, &tar::Options::default()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b");
        std::fs::create_dir(folder.path().join("a")).unwrap();
        let error = desk.run(desk.exporter().write(root.cid(), &target)).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        desk.run(desk.runtime.sleep(std::time::Duration::from_secs(1)));
        assert_eq!(files_below(folder.path()).len(), 2, "nothing but the two folders");
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let desk = Desk::new();
    let root = put(&desk, codes::RAW, b"x".to_vec());
    for bad in [
        tar::Options { gzip: Some(10), ..tar::Options::default() },
        tar::Options { name: Some("a/b".into()), ..tar::Options::default() },
        tar::Options { name: Some("".into()), ..tar::Options::default() },
    ] {
        assert!(matches!(archive(&desk, &root, &bad), Err(Error::Invalid { .. })), "{bad:?}");
    }
}

/// A path longer than readers hold is refused, however it comes about.
#[test]
fn paths_are_bounded() {
    let desk = Desk::new();
    let name = "n".repeat(1000);
    let deep =
        (0..70).fold(directory_of(&desk, &[]), |node, _| directory_of(&desk, &[(&name, &node)]));
    let error = archive(&desk, &deep, &tar::Options::default()).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "bytes of a path", .. }));
}

/// An archive of entries as they are given, without any checks.
fn made(entries: &[(u8, &[u8], &[u8], u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, content, said) in entries {
        let mut header = ::tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(::tar::EntryType::new(*kind));
        header.set_size(*said);
        header.set_mode(0o644);
        header.set_mtime(5);
        if *kind == b'2' {
            header.as_old_mut().linkname[..6].copy_from_slice(b"target");
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn paths_that_lead_elsewhere_are_malformed() {
    let bad: [&[u8]; 10] =
        [b"../a", b"a/../b", b"/a", b"a//b", b"", b".", b"a/..", b"..", b"./../a", b"a/"];
    for path in bad {
        let error = read(made(&[(b'0', path, b"", 0)])).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{}", path.escape_ascii());
    }
    // A record may hold what a header cannot.
    for value in ["a\0b", "../a"] {
        let record = format!("path={value}\n");
        let record = format!("{} {record}", record.len() + 3);
        let len = record.len() as u64;
        let bytes = made(&[(b'x', b"x", record.as_bytes(), len), (b'0', b"a", b"", 0)]);
        assert!(matches!(read(bytes), Err(Error::Malformed { .. })), "{value:?}");
    }
    let good =
        read(made(&[(b'5', b"./", b"", 0), (b'5', b"./a/", b"", 0), (b'0', b"./a/b", b"hi", 2)]));
    let paths: Vec<usize> = good
        .unwrap()
        .iter()
        .filter_map(|part| match part {
            Part::Entry(entry) => Some(entry.path.len()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, [0, 1, 2]);
}

#[test]
fn what_is_no_file_directory_or_link_is_unsupported() {
    for kind in *b"1346SVMDXN" {
        let error = read(made(&[(kind, b"a", b"", 0)])).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{}", char::from(kind));
    }
}

/// Cut anywhere, an archive is not taken for a shorter one; nor is one that was spoiled by gzip.
#[test]
fn archives_that_are_cut_off_are_malformed() {
    let desk = Desk::new();
    let bytes = archive(&desk, &samples().store(&desk), &tar::Options::default()).unwrap();
    let end = bytes.len() - 1024;
    for cut in (0..end).step_by(97).chain((0..end).step_by(512)) {
        let error = read(bytes[..cut].to_vec()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{cut}: {error}");
    }
    assert!(read(bytes[..end + 512].to_vec()).is_ok(), "some writers leave it at one block");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&bytes).unwrap();
    let zipped = encoder.finish().unwrap();
    assert_eq!(read(zipped.clone()).unwrap(), read(bytes).unwrap());
    for cut in (2..zipped.len()).step_by(997).chain(zipped.len() - 8..zipped.len()) {
        assert!(matches!(read(zipped[..cut].to_vec()), Err(Error::Malformed { .. })), "{cut}");
    }
    let mut spoiled = zipped;
    let checksum = spoiled.len() - 8;
    spoiled[checksum] ^= 1;
    assert!(matches!(read(spoiled), Err(Error::Malformed { what: "gzip", .. })));
}

/// A few bytes that say they are much: no memory for what does not come.
#[test]
fn sizes_that_lie_take_no_memory() {
    for kind in *b"xLK" {
        let bytes = made(&[(kind, b"a", b"", 1 << 32)]);
        assert!(matches!(read(bytes), Err(Error::Limit { limit: 1_048_576, .. })));
    }
    let bytes = made(&[(b'0', b"a", b"x", 1 << 32)]);
    let (read, held) = crate::memory::peak(|| read(bytes));
    assert!(matches!(read, Err(Error::Malformed { .. })));
    assert!(held < 1 << 20, "{held} bytes held");
}

/// A bomb: what comes out of it is given piece by piece, and never held.
#[test]
fn gzip_is_taken_off_as_it_is_read() {
    let size = 64 << 20;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let whole = made(&[(b'0', b"zeros", b"", size)]);
    encoder.write_all(&whole[..512]).unwrap();
    for _ in 0..size >> 20 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    encoder.write_all(&[0; 1024]).unwrap();
    let zipped = encoder.finish().unwrap();
    let (total, held) = crate::memory::peak(|| {
        futures::executor::block_on(async {
            let mut total = 0;
            let mut reader = Reader::new(Cursor::new(zipped));
            while let Some(part) = reader.try_next().await.unwrap() {
                if let Part::Data(data) = part {
                    total += data.len() as u64;
                }
            }
            total
        })
    });
    assert_eq!(total, size);
    assert!(held < 4 << 20, "{held} bytes held");
}

/// An archive as it comes when files were added to it later: children first, and a directory last.
#[test]
fn entries_come_in_any_order() {
    let desk = Desk::new();
    let import = |entries: &[(u8, &[u8], &[u8], u64)]| {
        desk.run(desk.importer(Params::default()).tar(reader(made(entries)))).map(|done| done.cid)
    };
    let ordered = import(&[(b'5', b"a/", b"", 0), (b'0', b"a/b", b"hi", 2), (b'0', b"c", b"x", 1)]);
    let other = import(&[(b'0', b"c", b"x", 1), (b'0', b"./a/b", b"hi", 2), (b'5', b"a", b"", 0)]);
    assert_eq!(ordered.unwrap(), other.unwrap());
    let twice = import(&[(b'0', b"c", b"x", 1), (b'0', b"c", b"y", 1)]);
    assert!(matches!(twice, Err(Error::Invalid { .. })), "{twice:?}");
    let below_a_link = import(&[(b'2', b"l", b"", 0), (b'0', b"l/x", b"y", 1)]);
    assert!(matches!(below_a_link, Err(Error::Invalid { .. })), "{below_a_link:?}");
}

#[test]
fn what_is_wrong_with_an_archive_is_what_an_import_says() {
    let desk = Desk::new();
    let import = |archive: Reader| {
        desk.run(desk.importer(Params::default()).tar(archive)).map(|done| done.cid)
    };
    let whole = made(&[(b'0', b"a", &[7; 5000], 5000), (b'0', b"b", b"x", 1)]);
    for cut in [600, 3000, 5632, 5700] {
        let cut_off = import(reader(whole[..cut].to_vec()));
        assert!(matches!(&cut_off, Err(Error::Malformed { .. })), "{cut}: {cut_off:?}");
    }
    let roots = import(reader(whole.clone()).strip_root());
    assert!(matches!(roots, Err(Error::Malformed { .. })), "{roots:?}");
    let file = made(&[(b'0', b"a", b"only", 4)]);
    let alone = import(reader(file).strip_root()).unwrap();
    assert_eq!(alone, desk.import_bytes(b"only".to_vec(), Params::default()).cid);
}
