//! Trees on disk under every option, beside the CIDs that Kubo 0.43 prints for them.

#![cfg(unix)]

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
    time::{Duration, SystemTime},
};

use cid::Version;
use ipfs_traits::{Error, codes};
use ipfs_unixfs::{Attribute, Params, Symlinks, data::Mtime};

use crate::content::Desk;

/// What `ipfs add --cid-version=1` does.
fn v1() -> Params {
    Params { cid_version: Version::V1, raw_leaves: true, ..Params::unixfs_v0_2015() }
}

fn of_hash(hash: u64) -> Params {
    Params { hash, ..v1() }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

/// A tree with something for every option; with a link, or with times, as a link's cannot be set.
fn tree(folder: &Path, with_link: bool) {
    let write = |path: &str, content: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("a.txt", b"hello\n");
    write(".hid", b"hidden");
    write("hidden_only/.x", b"hidden");
    write("big", &(0..300_000).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    write("none", b"");
    write("sub/small", b"x");
    write("log.log", b"log");
    write("hundred", format!("{:0100}", 7).as_bytes());
    fs::create_dir_all(folder.join("nest/inner")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    if with_link {
        symlink("../a.txt", folder.join("sub/link")).unwrap();
    }
    // Deepest first, as making an entry changes the time of its directory.
    let epoch = SystemTime::UNIX_EPOCH;
    let common = epoch + Duration::from_secs(1_600_000_000);
    for (path, mode, time) in [
        ("a.txt", 0o4711, epoch + Duration::new(1_500_000_000, 123_456_789)),
        ("big", 0o644, epoch - Duration::from_millis(5500)),
        ("none", 0o400, common),
        ("sub/small", 0o644, epoch),
        ("log.log", 0o644, common),
        ("hundred", 0o644, common),
        ("nest/inner", 0o755, common),
        ("nest", 0o755, common),
        ("empty", 0o500, common),
        ("hidden_only", 0o755, common),
        ("sub", 0o1777, epoch + Duration::from_secs(1_700_000_000)),
        ("", 0o755, common),
    ] {
        let file = File::open(folder.join(path)).unwrap();
        file.set_modified(time).unwrap();
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
    }
}

fn check(folder: &Path, cases: Vec<(&str, Params, &str)>) {
    let mut wrong = Vec::new();
    for (options, params, expected) in cases {
        let desk = Desk::new();
        let importer = desk.importer(params);
        let imported = desk.run(importer.path(folder)).unwrap();
        let only = desk.run(importer.only_hash().path(folder)).unwrap();
        assert_eq!((only.cid, only.blocks), (imported.cid, imported.blocks), "{options}");
        let found = imported.cid.to_string();
        if found != expected {
            wrong.push(format!("{options}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_option_gives_the_cid_of_kubo() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("t2");
    fs::create_dir(&folder).unwrap();
    tree(&folder, true);
    let v0 = Params::unixfs_v0_2015;
    let seven = Attribute::Set(Mtime { seconds: 7, nanos: None });
    check(
        &folder,
        vec![
            ("", v0(), "QmWW1LkX7fcoKjjLaxRvAGqqGJv7dU8Eb7hmwifpZM9ymk"),
            (
                "-H",
                Params { hidden: true, ..v0() },
                "QmVC7uCvVZfdX1azKJze3aRcKaTZsV1TegmQEm66jhrPWv",
            ),
            (
                "--empty-dirs=false",
                Params { empty_directories: false, ..v0() },
                "QmVRSKePbZ3YVtvVtj8fHYgrWXSQH1Ev7Vjtk55BXsN13h",
            ),
            ("v1", v1(), "bafybeibtinmm3lhugp5hwjfifepnzosikiw4a6uqxrba7k4tzm3pqm5kqa"),
            (
                "--raw-leaves",
                Params { raw_leaves: true, ..v0() },
                "QmfHPTbcszHfRs7KtA1hEZHYotkDqPQyQi7q4T7yGuNg24",
            ),
            (
                "-w",
                Params { wrap: Some("t2".into()), ..v0() },
                "QmSnxyCrxZtFpLEQtZ11bdvZJPmLjFdiDRKGQ3Gjz6giAh",
            ),
            (
                "--preserve-mode",
                Params { mode: Attribute::Kept, ..v0() },
                "QmcBZZSH6w57QoLi3ygP6mzP6yyj3qEmrvewUZPTAgcSxj",
            ),
            (
                "--preserve-mode --empty-dirs=false",
                Params { mode: Attribute::Kept, empty_directories: false, ..v0() },
                "QmPv2MgrtWMfF43NrRbdkF4ZwvK4RB3pptcjJgtETCcVaL",
            ),
            (
                "--mode=0640",
                Params { mode: Attribute::Set(0o640), ..v0() },
                "QmVH82sjc4ZGYWzMYvZFXzDvabg8aqpZHk8gk73h9D61sE",
            ),
            (
                "--mtime=1234 --mtime-nsecs=5",
                Params { mtime: Attribute::Set(Mtime { seconds: 1234, nanos: Some(5) }), ..v0() },
                "QmWdLJZQMaGMzJ4Umb6yBKE24h4Nm4pP79ALx8AYPRKged",
            ),
            (
                "--mode=0755 --mtime=7",
                Params { mode: Attribute::Set(0o755), mtime: seven, ..v0() },
                "QmX3iphGnassowbZm7gNq7Q82Kd2Q1oW1d2W5BZzFuVuJ1",
            ),
            (
                "-w --mode=0700 --mtime=5",
                Params {
                    wrap: Some("t2".into()),
                    mode: Attribute::Set(0o700),
                    mtime: Attribute::Set(Mtime { seconds: 5, nanos: Some(0) }),
                    ..v0()
                },
                "QmfYMgsfVF7pNvT4Eog8LuwPBysm4TDvtaxHQPgQn2FZdG",
            ),
            (
                "--cid-version=1 --mode=0700 --mtime=-5",
                Params {
                    mode: Attribute::Set(0o700),
                    mtime: Attribute::Set(Mtime { seconds: -5, nanos: None }),
                    ..v1()
                },
                "bafybeic3iwlv4wtjal2kzcdu6klpnxx7yf5ydclmih4ha4qqdzslg2o5dm",
            ),
            (
                "--dereference-symlinks",
                Params { symlinks: Symlinks::Followed, ..v0() },
                "QmagiWXp7uYBYxxKs8D72XWRmKLjsaxG12Sop4MkRFGw25",
            ),
            (
                "--ignore=*.log",
                Params { ignore: lines(&["*.log"]), ..v0() },
                "QmfWDcfXx1DSjBqbBftTC4AahF2YaDz7ERMzoZWJ16ZycY",
            ),
            (
                "--ignore=sub",
                Params { ignore: lines(&["# of tests", "sub"]), ..v0() },
                "QmVvdU3V3s9BPAt6wvNUEV9aTudmCwb7tav9Ru82AJKF1U",
            ),
            (
                "--ignore=*.txt --ignore=!a.txt",
                Params { ignore: lines(&["*.txt", "!a.txt"]), ..v0() },
                "QmWW1LkX7fcoKjjLaxRvAGqqGJv7dU8Eb7hmwifpZM9ymk",
            ),
            (
                "-H --ignore=.*",
                Params { hidden: true, ignore: lines(&[".*"]), ..v0() },
                "QmWW1LkX7fcoKjjLaxRvAGqqGJv7dU8Eb7hmwifpZM9ymk",
            ),
        ],
    );
}

#[test]
fn every_way_of_cutting_and_hashing_gives_the_cid_of_kubo() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("t2");
    fs::create_dir(&folder).unwrap();
    tree(&folder, true);
    let v0 = Params::unixfs_v0_2015;
    let inline = |most, params| Params { inline: Some(most), ..params };
    let cut = |text: &str, max_links, params| Params {
        chunker: text.parse().unwrap(),
        max_links,
        ..params
    };
    let kept = || Params { mode: Attribute::Kept, ..v0() };
    let raw = || Params { raw_leaves: true, ..v0() };
    check(
        &folder,
        vec![
            ("--inline", inline(32, v0()), "QmRkbedMvucjBuVmUi8kSqVYDkjXAryncvXCxYNoXq64Dr"),
            ("--inline 64", inline(64, v0()), "QmNkgen8FBNSdn7E36mArSc2nwbb4Z3y3ZbZXrR33M6rQG"),
            (
                "v1 --inline 64",
                inline(64, v1()),
                "bafybeigkkpklwwghylzofsz3n5wpgult5xsegem4aakruox67avme7gtba",
            ),
            (
                "--raw-leaves --inline 10",
                inline(10, raw()),
                "QmSKympuyQLSDa7Qs7Tcr5aWWt5TeTCWnNUEZLmiUX2jRe",
            ),
            (
                "--hash=blake3",
                of_hash(codes::BLAKE3),
                "bafyb4ida5t4uysqzchicuce4tr4xynt72ivlhuayjfdxl4p45n2xbwrvoi",
            ),
            (
                "--hash=sha2-512",
                of_hash(codes::SHA2_512),
                "bafybgqav4ygpu7ratk3eivnuooq7o3vi4l5gnlzbe7ml4kvixca4se4q3xcvn3ypr5udoix2rluygxqvylssbecb4f3dcp5somgvpomro5cis",
            ),
            (
                "--hash=blake2b-256 --inline",
                inline(32, of_hash(codes::BLAKE2B + 32)),
                "bafykbzaceaz3twb4ombydss7enycaca6uynkf6uknc2wb7izkx5eo27za2jwe",
            ),
            ("--hash=sha1", of_hash(codes::SHA1), "bafybcfev2gg3abnujbockanryzsnn7jabwssqsy"),
            (
                "--hash=sha3-256",
                of_hash(codes::SHA3_256),
                "bafybmiabame54dr2sq2g2yelpdhq7kga2hfkfb4kurz4isuj5y52q7q2om",
            ),
            (
                "--hash=keccak-256",
                of_hash(codes::KECCAK_256),
                "bafybwidtdfbdi2efqyfgblnivxkwmedcvxj3ivtuxthqbemr6cvbmpzxcu",
            ),
            (
                "--hash=dbl-sha2-256",
                of_hash(codes::DBL_SHA2_256),
                "bafyfmihcbsghnds4trjjdevs6emfdbj24n3in2aip2itns7662vty6wvui",
            ),
            (
                "--hash=shake-256",
                of_hash(codes::SHAKE_256),
                "bafybsqbrluhx6briqhtaxva53a357yeqiisvcoh243ep5bge4v7nozot55wohwnoh3unvwsymseh2oudedlyk2kwwx76e5rselysmheaawcha",
            ),
            (
                "--max-file-links=2 --chunker=size-1000",
                cut("size-1000", 2, v0()),
                "QmT6VjvoMgnRTDyrk23Bn8J3tXnYw7U7evqnJa42PFBGGE",
            ),
            (
                "--max-file-links=2 --chunker=size-1000 --preserve-mode",
                cut("size-1000", 2, kept()),
                "QmUUPJEu1eUQp1tYyHbgNu1Z1WsNYeT1aCDZtCiXt371r8",
            ),
            (
                "--chunker=buzhash",
                cut("buzhash", 174, v0()),
                "QmcfUeDE2ZcKSUNSQcn7fVFF9rE36HA7zToTyDe8zB3fSU",
            ),
            (
                "--chunker=rabin-18-256-1000 --raw-leaves",
                cut("rabin-18-256-1000", 174, raw()),
                "QmSDy1sxWcbPpaNXg6rBrTcG8kQER3Xnhkyw8DJv6249bS",
            ),
            (
                "--max-file-links=3 --chunker=rabin-64-200-400 --inline --inline-limit=64 --mode=0600",
                cut(
                    "rabin-64-200-400",
                    3,
                    Params { mode: Attribute::Set(0o600), ..inline(64, v0()) },
                ),
                "QmcK8GNPQyEdLBPSg9iiphZwj1hxqnwQ3j1S35A7t2Em8Z",
            ),
        ],
    );
}

#[test]
fn times_of_the_disk_give_the_cid_of_kubo() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("t2");
    fs::create_dir(&folder).unwrap();
    tree(&folder, false);
    let kept = |params| Params { mtime: Attribute::Kept, ..params };
    let both = |params| Params { mode: Attribute::Kept, ..kept(params) };
    let v0 = Params::unixfs_v0_2015;
    check(
        &folder,
        vec![
            ("--preserve-mtime", kept(v0()), "QmRJANEfu8uc86GccWAFbsHUxi9ThhS5EjjYT1rRY9iCZA"),
            ("both", both(v0()), "QmVUJAe1JMrtYwc6bBGztTFn1eZD4ZMbQ6JgBmSy3qV2AV"),
            ("v1", both(v1()), "bafybeiekvlyfiguh66vb2ecwufq6isejoupkmddjbxnk5vuff3lg5itxgu"),
            (
                "-w",
                Params { wrap: Some("t2".into()), ..both(v0()) },
                "QmTLZ8z6tZTCJghj6jACSqLCkR8PCTkgpWVrSG8T6ZRNFj",
            ),
            (
                "--preserve-mtime --mode=0644",
                Params { mode: Attribute::Set(0o644), ..kept(v0()) },
                "QmbMbvvPhapVJhZa6MFbaHH3RD16HggJ7PLjwwjw8JXnNi",
            ),
            (
                "--inline --inline-limit=64",
                Params { inline: Some(64), ..both(v0()) },
                "QmU6Jp5ZoNF9cTDYpHV8LrXUrUR79SvdaqKewrM8FjiVHk",
            ),
        ],
    );
    check(
        &folder.join("big"),
        vec![("one file", both(v0()), "QmYmT3zZbjwYsR2agoF1Ta2rbsjj9Q871TV9Ssh83cs2PQ")],
    );
}

#[test]
fn a_file_or_link_alone_can_be_wrapped() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path(), true);
    let wrap = |name: &str| Params { wrap: Some(name.into()), ..Params::unixfs_v0_2015() };
    check(
        &folder.path().join("a.txt"),
        vec![
            ("-w", wrap("a.txt"), "QmRL7MpyuT5GhpLr8asWP6hgWpCkhKm8ENYa4TykfAcj7E"),
            (
                "--mode=0600",
                Params { mode: Attribute::Set(0o600), ..Params::unixfs_v0_2015() },
                "QmWXtanbvhNL2gTvtBboUD9Ti8xTnHEUuEhZtPjSbh1PBs",
            ),
        ],
    );
    let mtime = Attribute::Set(Mtime { seconds: 5, nanos: None });
    check(
        &folder.path().join("sub/link"),
        vec![(
            "-w --mtime=5",
            Params { mtime, ..wrap("link") },
            "QmVatAYpUDmhkQTTQHN8wvY1p3oVjP39W6xzKdyVbeNzmP",
        )],
    );
}

/// Names and targets that are no text. Only some disks take them.
#[cfg(target_os = "linux")]
#[test]
fn names_of_any_bytes_give_the_cid_of_kubo() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    fs::write(at(b"\xff"), "ff").unwrap();
    symlink(OsStr::from_bytes(b"\xfe/x"), at(b"\xc3\x28")).unwrap();
    fs::create_dir(at(b"\x80d")).unwrap();
    fs::write(at("ä".as_bytes()), "x").unwrap();
    fs::write(at(b"a\nb"), "y").unwrap();
    fs::write(at(b"back\\slash"), "z").unwrap();
    check(
        folder.path(),
        vec![
            ("", Params::unixfs_v0_2015(), "QmQ2VtEvNmFfzbmBeJ41moMDPveAL8kNkZ3ejpvPZxdw5b"),
            ("v1", v1(), "bafybeia53a2z2jz57l2vwx7vf3cemtbpzcsms7gn57bgjyyus3lymr2a7e"),
        ],
    );
}

#[test]
fn rules_are_held_against_paths_below_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["build/out", "src/build/in", "src/a.o", "src/keep.o", "a.o"] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let desk = Desk::new();
    let files = |rules: &[&str]| {
        let params = Params { ignore: lines(rules), ..Params::default() };
        desk.run(desk.importer(params).path(folder.path())).unwrap().files
    };
    assert_eq!(files(&[]), 5);
    assert_eq!(files(&["/build"]), 4);
    assert_eq!(files(&["build/"]), 3);
    assert_eq!(files(&["src/*.o", "!keep.o"]), 4);
    assert_eq!(files(&["/a.o", "src/**"]), 1);
    // Nothing is brought back below a folder that is left out.
    assert_eq!(files(&["src", "!keep.o"]), 2);
    // The folder itself is never left out.
    assert_eq!(files(&["*"]), 0);
}

#[test]
fn links_that_lead_back_are_refused_when_followed() {
    let followed = || Params { symlinks: Symlinks::Followed, ..Params::default() };
    for target in [".", "..", "../../loop", "inner"] {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("loop/inner");
        fs::create_dir_all(&inner).unwrap();
        symlink(target, inner.join("inner")).unwrap();
        let desk = Desk::new();
        let importer = desk.importer(followed());
        let error = desk.run(importer.path(folder.path().join("loop"))).unwrap_err();
        let is_typed = matches!(error, Error::Invalid { what: "path to import", .. });
        // A link to itself is an error of the disk.
        assert!(is_typed || target == "inner", "{target}: {error:?}");
        let kept = desk.importer(Params::default()).path(folder.path().join("loop"));
        assert_eq!(desk.run(kept).unwrap().symlinks, 1);
    }
}

#[test]
fn the_same_folder_may_be_followed_twice() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    fs::write(folder.path().join("real/file"), "x").unwrap();
    for link in ["one", "two"] {
        symlink("real", folder.path().join(link)).unwrap();
    }
    let desk = Desk::new();
    let params = Params { symlinks: Symlinks::Followed, ..Params::default() };
    let imported = desk.run(desk.importer(params.clone()).path(folder.path())).unwrap();
    assert_eq!((imported.files, imported.directories, imported.symlinks), (3, 4, 0));
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    let error = desk.run(desk.importer(params).path(folder.path())).unwrap_err();
    assert!(matches!(error, Error::Component { .. }), "{error:?}");
}
