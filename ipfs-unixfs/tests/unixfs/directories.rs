//! Directories: listings, sharded ones, and what is on the way of a path.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use ipfs_traits::{Block, Cid, Error, Result, codes};
use ipfs_unixfs::{
    Item, LinksOnPath, Listed, Name, Resolution, StatKind,
    dagpb::{self, Link},
    data::{Kind, Mtime, NewData},
};

use crate::{
    content::Desk,
    export::{Watched, directory_of, file_of, put, put_node},
};

fn symlink(desk: &Desk, target: &[u8]) -> Block {
    put_node(desk, &[], &NewData { content: Some(target), ..NewData::of(Kind::Symlink) })
}

/// A block of a sharded directory, with links in the slots that their names say.
fn shard(desk: &Desk, fanout: u64, links: &[(&str, Cid)]) -> Block {
    let digits = if fanout > 256 { 3 } else { 1 + usize::from(fanout > 16) };
    let mut bitmap = vec![0; (fanout / 8) as usize];
    for (name, _) in links {
        let slot = usize::from_str_radix(&name[..digits], 16).unwrap();
        let end = bitmap.len() - 1;
        bitmap[end - slot / 8] |= 1 << (slot % 8);
    }
    let bitmap: Vec<u8> = bitmap.into_iter().skip_while(|byte| *byte == 0).collect();
    raw_shard(desk, &bitmap, Some(0x22), Some(fanout), links)
}

fn raw_shard(
    desk: &Desk,
    bitmap: &[u8],
    hash_type: Option<u64>,
    fanout: Option<u64>,
    links: &[(&str, Cid)],
) -> Block {
    let data = NewData { content: Some(bitmap), hash_type, fanout, ..NewData::of(Kind::HamtShard) };
    let links = links.iter().map(|(name, cid)| Link {
        cid: *cid,
        name: Some(name.as_bytes()),
        tsize: Some(1),
    });
    put(desk, codes::DAG_PB, dagpb::encode(links.collect::<Vec<_>>(), Some(&data.encode())))
}

fn names(desk: &Desk, root: &Cid) -> Result<Vec<String>> {
    desk.run(async {
        let entries: Vec<_> = desk.exporter().list(root).await?.try_collect().await?;
        Ok(entries.iter().map(|entry| entry.name.to_string()).collect())
    })
}

/// All calls that read a directory.
fn refused_everywhere(desk: &Desk, root: &Cid, is: fn(&Error) -> bool) {
    let exporter = desk.exporter();
    let check = |error: Error| assert!(is(error.what()), "{error:?}");
    check(names(desk, root).unwrap_err());
    let items: Result<Vec<Item>> = desk.run(exporter.tree(root).try_collect());
    check(items.unwrap_err());
    let listed: Result<Vec<Listed>> =
        desk.run(async { exporter.list_with(root).await?.try_collect().await });
    check(listed.unwrap_err());
}

const MALFORMED: fn(&Error) -> bool = |error| matches!(error, Error::Malformed { .. });
const LIMIT: fn(&Error) -> bool = |error| matches!(error, Error::Limit { .. });

/// A bitmap, a hash function, a fanout, and links.
type Bad<'a> = (&'a [u8], Option<u64>, Option<u64>, &'a [(&'a str, Cid)]);

/// What brought down decoders of others: CVE-2023-23625, CVE-2023-23626, CVE-2023-23631, and a
/// bitmap that is larger than the fanout, or says another number of links.
#[test]
fn shards_that_contradict_themselves() {
    let desk = Desk::new();
    let leaf = *put(&desk, codes::RAW, b"x".to_vec()).cid();
    let one: &[(&str, Cid)] = &[("00x", leaf)];
    let bad: &[Bad<'_>] = &[
        (&[1], Some(0x22), None, one),
        (&[1], Some(0x22), Some(0), one),
        (&[1], Some(0x22), Some(1), one),
        (&[1], Some(0x22), Some(4), one),
        (&[1], Some(0x22), Some(255), one),
        (&[1], Some(0x22), Some(2048), &[("000x", leaf)]),
        (&[1], Some(0x22), Some(1 << 40), one),
        (&[1], Some(0x22), Some(u64::MAX), one),
        (&[1], None, Some(256), one),
        (&[1], Some(0), Some(256), one),
        (&[1], Some(0x12), Some(256), one),
        // Bits beyond the fanout.
        (&[1; 33], Some(0x22), Some(256), one),
        (&[0; 33], Some(0x22), Some(256), &[]),
        // Not as many links as bits.
        (&[3], Some(0x22), Some(256), one),
        (&[], Some(0x22), Some(256), one),
        (&[1], Some(0x22), Some(256), &[]),
        (&[1], Some(0x22), Some(256), &[("00x", leaf), ("01y", leaf)]),
        // Names that are not their slots', too short, or written in another way.
        (&[1], Some(0x22), Some(256), &[("01x", leaf)]),
        (&[1], Some(0x22), Some(256), &[("0", leaf)]),
        (&[1], Some(0x22), Some(256), &[("", leaf)]),
        (&[1], Some(0x22), Some(256), &[("\u{e4}", leaf)]),
        (&[8, 0], Some(0x22), Some(256), &[("0bx", leaf)]),
        (&[3], Some(0x22), Some(256), &[("01x", leaf), ("00y", leaf)]),
    ];
    for (bitmap, hash_type, fanout, links) in bad {
        let root = raw_shard(&desk, bitmap, *hash_type, *fanout, links);
        refused_everywhere(&desk, root.cid(), MALFORMED);
        let stat = desk.run(desk.exporter().stat(root.cid()));
        assert!(matches!(stat, Err(Error::Malformed { .. })), "{bitmap:?} {fanout:?}");
        // Looking up a name reads only what it needs, and may find that it is not there.
        let found = desk.run(desk.exporter().resolve(root.cid(), ["x"])).unwrap_err();
        assert!(matches!(found.what(), Error::Malformed { .. } | Error::NoEntry { .. }), "{found}");
    }
}

#[test]
fn shards_below_shards_that_do_not_fit() {
    let desk = Desk::new();
    let leaf = *put(&desk, codes::RAW, b"x".to_vec()).cid();
    let wide = *shard(&desk, 256, &[("00a", leaf), ("01b", leaf)]).cid();
    for below in [wide, leaf, *directory_of(&desk, &[]).cid(), *symlink(&desk, b"x").cid()] {
        let root = shard(&desk, 8, &[("0", below), ("1y", leaf)]);
        refused_everywhere(&desk, root.cid(), MALFORMED);
    }
    // As deep as a hash has bits, and one level more.
    for (fanout, digits, levels) in [(8, 1, 21), (256, 2, 8), (1024, 3, 6)] {
        let slot = "0".repeat(digits);
        let mut node = *shard(&desk, fanout, &[(&format!("{slot}deep"), leaf)]).cid();
        for _ in 1..levels {
            node = *shard(&desk, fanout, &[(&slot, node)]).cid();
        }
        assert_eq!(names(&desk, &node).unwrap(), ["deep"]);
        node = *shard(&desk, fanout, &[(&slot, node)]).cid();
        refused_everywhere(&desk, &node, LIMIT);
    }
}

/// 1,024 times 1,024 times … empty shards: no name in them, and no end.
#[test]
fn shards_without_entries_are_not_visited_for_ever() {
    let desk = Desk::new();
    let slots: Vec<String> = (0..1024).map(|slot| format!("{slot:03X}")).collect();
    let mut node = *shard(&desk, 1024, &[]).cid();
    for _ in 0..5 {
        let links: Vec<(&str, Cid)> = slots.iter().map(|slot| (&slot[..], node)).collect();
        node = *shard(&desk, 1024, &links).cid();
    }
    refused_everywhere(&desk, &node, LIMIT);
}

/// Entries come slot by slot, those of a sub-shard in the place of its slot, and reading ahead does
/// not change that.
#[test]
fn a_sharded_directory_is_listed_in_the_order_of_hashes() {
    let desk = Desk::new();
    let leaf = *put(&desk, codes::RAW, b"xyz".to_vec()).cid();
    let lower = *shard(&desk, 16, &[("3c", leaf), ("Fb", leaf)]).cid();
    let middle = *shard(&desk, 16, &[("0", lower), ("1a", leaf), ("9", lower)]).cid();
    let mode = Some(0o750);
    let root = shard(&desk, 16, &[("2z", leaf), ("7", middle), ("8y", leaf)]);
    let expected = ["z", "c", "b", "a", "c", "b", "y"];
    assert_eq!(names(&desk, root.cid()).unwrap(), expected);
    let items: Vec<Item> = desk.run(desk.exporter().tree(root.cid()).try_collect()).unwrap();
    let files: Vec<String> = items
        .iter()
        .filter_map(|item| match item {
            Item::File { name, .. } => Some(name.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(files, expected);
    assert!(matches!(&items[0], Item::Enter { name, .. } if name.is_empty()));
    assert!(matches!(items.last(), Some(Item::Leave)));
    let stat = desk.run(desk.exporter().stat(root.cid())).unwrap();
    assert!(matches!(stat.kind, StatKind::ShardedDirectory { fanout: 16, .. }));
    assert!(stat.is_directory() && stat.mode != mode);
}

/// A listing fetches no entry unless it is asked what they are, and then only those that do not say
/// it themselves.
#[test]
fn listings_fetch_what_they_must() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"0123456789".to_vec());
    let large = file_of(&desk, &[(&leaf, 10), (&leaf, 10)], 20);
    let mtime = Some(Mtime { seconds: -7, nanos: Some(1) });
    let dated = NewData {
        mode: Some(0o4711),
        mtime,
        content: Some(b"abc"),
        file_size: Some(3),
        ..NewData::of(Kind::File)
    };
    let dated = put_node(&desk, &[], &dated);
    let link = symlink(&desk, b"\xff/../x");
    let folder = put_node(
        &desk,
        &[("x", &leaf)],
        &NewData { mode: Some(0o700), mtime, ..NewData::of(Kind::Directory) },
    );
    let cbor = put(&desk, codes::DAG_CBOR, vec![0xa0]);
    let meta = put_node(&desk, &[("", &dated)], &NewData::of(Kind::Metadata));
    let unsized_ = put_node(&desk, &[("", &leaf)], &NewData::of(Kind::File));
    let root = directory_of(
        &desk,
        &[
            ("raw", &leaf),
            ("large", &large),
            ("dated", &dated),
            ("link", &link),
            ("folder", &folder),
            ("cbor", &cbor),
            ("meta", &meta),
            ("unsized", &unsized_),
        ],
    );
    let (exporter, asked) = Watched::exporter(&desk);
    let plain: Vec<_> =
        desk.run(async { exporter.list(root.cid()).await.unwrap().try_collect().await }).unwrap();
    assert_eq!(asked.lock().unwrap().len(), 1, "the directory alone");
    let listed: Vec<Listed> = desk
        .run(async { exporter.list_with(root.cid()).await.unwrap().try_collect().await })
        .unwrap();
    assert!(listed.iter().map(|listed| &listed.entry).eq(&plain));
    let kinds: Vec<String> =
        listed.iter().map(|listed| format!("{:?}", listed.stat.kind)).collect();
    assert_eq!(
        kinds,
        [
            "File { size: 10 }",
            "File { size: 20 }",
            "File { size: 3 }",
            "Symlink { target: b\"\\xff/../x\" }",
            "Directory { entries: 1 }",
            "Other { codec: 113 }",
            "File { size: 3 }",
            "File { size: 10 }",
        ]
    );
    assert_eq!((listed[2].stat.mode, listed[2].stat.mtime), (Some(0o4711), mtime));
    assert_eq!((listed[4].stat.mode, listed[4].stat.mtime), (Some(0o700), mtime));
    assert_eq!(listed[6].stat, listed[2].stat);
    assert_eq!(listed[4].stat.dag_size, Some(folder.len() as u64 + 10));
    let asked = asked.lock().unwrap().clone();
    assert!(!asked.contains_key(cbor.cid()));
    // The leaf is fetched to measure the file that does not state sizes.
    assert_eq!(asked.get(leaf.cid()), Some(&1));
    let items: Vec<Item> = desk.run(exporter.tree(folder.cid()).try_collect()).unwrap();
    assert!(
        matches!(items[0], Item::Enter { mode: Some(0o700), mtime: found, .. } if found == mtime)
    );
}

#[test]
fn old_nodes_are_directories_by_their_names() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"x".to_vec());
    let link = Link { cid: *leaf.cid(), name: Some(b"x"), tsize: None };
    let bare = put(&desk, codes::DAG_PB, dagpb::encode([link], None));
    let odd = put(&desk, codes::DAG_PB, dagpb::encode([link], Some(b"not UnixFS")));
    assert_eq!(names(&desk, bare.cid()).unwrap(), ["x"]);
    let find = |root: &Block| desk.run(desk.exporter().resolve(root.cid(), ["x"]));
    assert_eq!(find(&bare).unwrap(), *leaf.cid());
    assert_eq!(find(&odd).unwrap(), *leaf.cid());
    assert!(matches!(names(&desk, odd.cid()), Err(Error::Malformed { .. })));
    // Of two entries with one name the first is meant.
    let other = put(&desk, codes::RAW, b"y".to_vec());
    let twice = directory_of(&desk, &[("x", &leaf), ("x", &other)]);
    assert_eq!(find(&twice).unwrap(), *leaf.cid());
    assert_eq!(names(&desk, twice.cid()).unwrap(), ["x", "x"]);
}

fn rest(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::from(*name)).collect()
}

#[test]
fn symbolic_links_are_reported_or_followed_within_the_root() {
    let desk = Desk::new();
    let file = put(&desk, codes::RAW, b"x".to_vec());
    let link = |target: &[u8]| symlink(&desk, target);
    let (down, up, out) = (link(b"sub/./file"), link(b"../file"), link(b"../../file"));
    let (absolute, gone, around, none) =
        (link(b"/file"), link(b"nothing"), link(b"around"), link(b""));
    let to_folder = link(b"sub//");
    let cbor = put(&desk, codes::DAG_CBOR, vec![0xa0]);
    let sub = directory_of(&desk, &[("file", &file), ("out", &out), ("up", &up), ("cbor", &cbor)]);
    let root = directory_of(
        &desk,
        &[
            ("file", &file),
            ("sub", &sub),
            ("down", &down),
            ("absolute", &absolute),
            ("gone", &gone),
            ("around", &around),
            ("none", &none),
            ("folder", &to_folder),
            ("through", &link(b"folder/../file")),
            ("past", &link(b"file/../sub")),
        ],
    );
    let go = |path: &[&str], symlinks| {
        desk.run(desk.exporter().resolve_with(root.cid(), path, symlinks))
    };
    let follow = |path: &[&str]| go(path, LinksOnPath::Follow);
    let stops = |link: &Block, target: &'static [u8], names: &[&str]| Resolution::Symlink {
        cid: *link.cid(),
        target: target.into(),
        rest: rest(names),
    };
    // Reported: the one at the end is what the path leads to.
    let report = |path: &[&str]| go(path, LinksOnPath::Report).unwrap();
    assert_eq!(report(&["down"]), Resolution::Found(*down.cid()));
    assert_eq!(report(&["folder", "file"]), stops(&to_folder, b"sub//", &["file"]));
    let strict = desk.run(desk.exporter().resolve(root.cid(), ["folder", "file"]));
    assert!(matches!(strict, Err(Error::WrongKind { found: "a symbolic link", .. })));
    // Followed.
    let found = Resolution::Found(*file.cid());
    for path in [
        &["down"][..],
        &["folder", "file"],
        &["folder", "up"],
        &["sub", "up"],
        &["through"],
        &["file"],
    ] {
        assert_eq!(follow(path).unwrap(), found, "{path:?}");
    }
    assert_eq!(follow(&["folder"]).unwrap(), Resolution::Found(*sub.cid()));
    // Never out of the root.
    assert_eq!(follow(&["sub", "out"]).unwrap(), stops(&out, b"../../file", &[]));
    assert_eq!(follow(&["folder", "out", "a"]).unwrap(), stops(&out, b"../../file", &["a"]));
    assert_eq!(follow(&["absolute", "a"]).unwrap(), stops(&absolute, b"/file", &["a"]));
    assert_eq!(follow(&["none"]).unwrap(), stops(&none, b"", &[]));
    assert!(matches!(follow(&["gone"]), Err(Error::NoEntry { name, .. }) if name == "nothing"));
    assert!(matches!(follow(&["past"]), Err(Error::WrongKind { .. })));
    // Round and round.
    let error = follow(&["around"]).unwrap_err();
    assert!(matches!(error.what(), Error::Limit { limit: 32, .. }), "{error}");
    // A root that is a link has nothing to be followed in.
    let alone = desk.exporter();
    let alone = desk.run(alone.resolve_with(up.cid(), ["a"], LinksOnPath::Follow)).unwrap();
    assert_eq!(alone, stops(&up, b"../file", &["a"]));
    // What is not UnixFS ends a path too.
    let foreign = Resolution::Foreign { cid: *cbor.cid(), rest: rest(&["a", "b"]) };
    assert_eq!(report(&["sub", "cbor", "a", "b"]), foreign);
    assert_eq!(follow(&["folder", "cbor", "a", "b"]).unwrap(), foreign);
    assert_eq!(follow(&["sub", "cbor"]).unwrap(), Resolution::Found(*cbor.cid()));
    let strict = desk.run(desk.exporter().resolve(root.cid(), ["sub", "cbor", "a"]));
    assert!(matches!(strict, Err(Error::UnknownCodec(codes::DAG_CBOR))));
}

/// A listing of many entries is read ahead, and not without end.
#[test]
fn a_listing_is_read_ahead_as_far_as_there_is_room() {
    let desk = Desk::new();
    let entries: Vec<Block> = (0..3000_u32)
        .map(|i| {
            let content = i.to_be_bytes();
            put_node(&desk, &[], &NewData { content: Some(&content), ..NewData::of(Kind::File) })
        })
        .collect();
    let names: Vec<String> = (0..3000).map(|i| format!("{i:05}")).collect();
    let entries: Vec<(&str, &Block)> = names.iter().map(|n| &n[..]).zip(&entries).collect();
    let root = directory_of(&desk, &entries);
    let (exporter, asked) = Watched::exporter(&desk);
    desk.run(async {
        let mut list = exporter.list_with(root.cid()).await.unwrap();
        list.next().await.unwrap().unwrap();
        let first = asked.lock().unwrap().len();
        assert!((100..1200).contains(&first), "{first} blocks for one entry");
        let rest: Vec<Listed> = list.try_collect().await.unwrap();
        let found: BTreeSet<String> =
            rest.iter().map(|listed| listed.entry.name.to_string()).collect();
        assert!(found.len() == 2999 && rest.is_sorted_by_key(|listed| listed.entry.name.clone()));
    });
}
