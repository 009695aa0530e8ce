//! Trees that nobody makes but to do harm.

use super::*;

/// A directory below itself, as deep as `levels`, and what stands at the bottom.
fn chain(desk: &Desk, levels: usize, bottom: Target, names: &[&str]) -> Target {
    let directory = NewData::of(Kind::Directory).encode();
    (0..levels).fold(bottom, |below, _| {
        put(desk, encode(names.iter().map(|name| link(below, name.as_bytes())), Some(&directory)))
    })
}

#[test]
fn trees_may_be_so_deep_and_no_deeper() {
    let desk = Desk::new();
    let (one, two) = (file(&desk, 0), file(&desk, 3));
    let at = |levels| {
        let (a, b) = (chain(&desk, levels, one, &["a"]), chain(&desk, levels, two, &["a"]));
        diff(&desk, &a.cid, &b.cid)
    };
    assert_eq!(at(1025).unwrap()[0].path().len(), 1025);
    assert!(matches!(at(1026), Err(Error::Limit { what: "levels of a tree", limit: 1024, .. })));
}

/// Two trees of a few hundred blocks, with 2^200 places in each, in none of which they differ.
#[test]
fn the_same_few_directories_in_very_many_places_are_compared_once() {
    let desk = Desk::new();
    let leaf = file(&desk, 0);
    let (a, b) = (leaf, Target { dag_size: 7, ..leaf });
    let (a, b) = (chain(&desk, 200, a, &["a", "b"]), chain(&desk, 200, b, &["a", "b"]));
    let (source, counts) = Counting::new(&desk);
    let changes = desk.run(Diff::new(source, &a.cid, &b.cid).try_collect::<Vec<_>>()).unwrap();
    assert_eq!(changes, []);
    let read = counts[0].load(Ordering::Relaxed);
    assert!(read <= 402, "{read}");
    // Where they differ everywhere, the reader takes as much as it likes.
    let (a, b) =
        (chain(&desk, 200, leaf, &["a", "b"]), chain(&desk, 200, file(&desk, 3), &["a", "b"]));
    let some = Diff::new(self::source(&desk), &a.cid, &b.cid).take(1000).try_collect::<Vec<_>>();
    let some = desk.run(some).unwrap();
    assert!(some.iter().all(|change| change.path().len() == 200));
    assert!(some.is_sorted_by_key(|change| change.path().to_vec()));
}

fn shard(links: &[(usize, &str, Target)]) -> Vec<u8> {
    let mut bits = [0_u8; 2];
    links.iter().for_each(|(slot, ..)| bits[1 - slot / 8] |= 1 << (slot % 8));
    let start = bits.iter().position(|byte| *byte != 0).unwrap_or(2);
    let data = NewData {
        content: Some(&bits[start..]),
        hash_type: Some(0x22),
        fanout: Some(16),
        ..NewData::of(Kind::HamtShard)
    };
    let names: Vec<String> =
        links.iter().map(|(slot, name, _)| format!("{slot:X}{name}")).collect();
    let links = std::iter::zip(&names, links).map(|(name, (.., to))| link(*to, name.as_bytes()));
    encode(links.collect::<Vec<_>>(), Some(&data.encode()))
}

/// Sharded directories in which few blocks stand in very many places.
#[test]
fn shards_that_are_not_where_their_names_lead() {
    let desk = Desk::new();
    let leaf = file(&desk, 0);
    let directory = NewData::of(Kind::Directory).encode();
    let empty = put(&desk, encode([], Some(&directory)));
    let fail = |root: Target| {
        let found = [diff(&desk, &empty.cid, &root.cid), diff(&desk, &root.cid, &empty.cid)];
        assert_eq!(format!("{:?}", found[0]), format!("{:?}", found[1]));
        found.into_iter().next().unwrap().unwrap_err()
    };
    // "hello" hashes to 0xcbd8…: its slots are 12, 11, 13, 8.
    let right = put(&desk, shard(&[(12, "hello", leaf)]));
    assert_eq!(diff(&desk, &empty.cid, &right.cid).unwrap().len(), 1);
    let wrong = put(&desk, shard(&[(11, "hello", leaf)]));
    assert!(matches!(fail(wrong), Error::Malformed { .. }));
    let below = |block: Target, slots: &[usize]| {
        let slots: Vec<_> = slots.iter().map(|slot| (*slot, "", block)).collect();
        put(&desk, shard(&slots))
    };
    let all: Vec<usize> = (0..16).collect();
    // In all slots of all levels: the first look at an entry ends it.
    let many =
        (0..12).fold(put(&desk, shard(&[(12, "hello", leaf)])), |block, _| below(block, &all));
    assert!(matches!(fail(many), Error::Malformed { .. }));
    // Without any entry.
    let hollow = (0..12).fold(put(&desk, shard(&[])), |block, _| below(block, &all));
    assert!(matches!(fail(hollow), Error::Malformed { .. }));
    // Deeper than a hash.
    let deep =
        (0..16).fold(put(&desk, shard(&[(12, "hello", leaf)])), |block, _| below(block, &[0]));
    assert!(matches!(fail(deep), Error::Limit { limit: 16, .. }));
    // Below it no shard, or one of another fanout.
    assert!(matches!(fail(below(empty, &[1])), Error::Malformed { .. }));
    let params = Params { sharding: Sharding::ByLinks(0), fanout: 8, ..Params::default() };
    let mut editor = DirectoryEditor::new(source(&desk), &params, &HashTable::standard());
    desk.run(editor.insert("hello", leaf)).unwrap();
    let other = desk.run(editor.write(&desk.store)).unwrap();
    assert!(matches!(fail(below(other, &[12])), Error::Malformed { .. }));
    // What is the same on both sides is not looked at, here neither.
    assert_eq!(diff(&desk, &hollow.cid, &hollow.cid).unwrap(), []);
}

#[test]
fn what_no_path_leads_into_is_compared_as_a_whole() {
    let desk = Desk::new();
    let (one, two) = (file(&desk, 0), file(&desk, 3));
    let directory = NewData::of(Kind::Directory).encode();
    let of = |links: &[(&str, Target)], data: Option<&[u8]>| {
        let links: Vec<_> = links.iter().map(|(name, to)| link(*to, name.as_bytes())).collect();
        put(&desk, encode(links, data))
    };
    let good = of(&[("a", one)], Some(&directory));
    let whole = |other: Target, before: Target| {
        let changes = diff(&desk, &before.cid, &other.cid).unwrap();
        assert_eq!(changes, [Change::Changed { path: vec![], before, after: other }]);
    };
    whole(of(&[("a", one), ("a", two)], Some(&directory)), good);
    whole(of(&[("", two)], Some(&directory)), good);
    whole(of(&[("a", two)], None), good);
    whole(of(&[("a", two)], Some(b"other data")), good);
    whole(of(&[("a", two)], Some(b"other data")), of(&[("a", one)], None));
    let plain = [of(&[("a", one)], None), of(&[("a", two)], None)];
    let changes = diff(&desk, &plain[0].cid, &plain[1].cid).unwrap();
    assert_eq!(changes[0].path(), ["a"]);
    let patcher = patcher(&desk);
    let apply = |patcher: ipfs_unixfs::Patcher| {
        let changes = stream::iter(changes.clone().into_iter().map(Ok));
        desk.run(async move { patcher.apply(&plain[0].cid, changes).await })
    };
    assert!(matches!(apply(patcher.clone()), Err(Error::WrongKind { .. })));
    assert_eq!(apply(patcher.allow_plain(true)).unwrap(), plain[1]);
}
