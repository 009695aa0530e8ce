//! How trees differ: against a model, against Kubo, and what is read for it.

mod hostile;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use ipfs_traits::{
    Block, BlockSource, BlockstoreExt, Cid, Error, HashTable, Local, Result, async_trait, codes,
};
use ipfs_unixfs::{
    Change, Diff, DirectoryEditor, Name, Params, Sharding, Target,
    dagpb::encode,
    data::{Kind, NewData},
};
use proptest::prelude::*;

use crate::{
    content::Desk,
    fixtures::reading::load,
    patch::{link, patcher, put},
    support::{self, Report, table},
};

fn source(desk: &Desk) -> Arc<dyn BlockSource> {
    Arc::new(Local(desk.store.clone()))
}

fn diff(desk: &Desk, before: &Cid, after: &Cid) -> Result<Vec<Change>> {
    desk.run(Diff::new(source(desk), before, after).try_collect())
}

/// A tree: a file of some number, or a directory with a mode.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    File(u8),
    Directory(BTreeMap<u8, Self>, Option<u32>),
}

fn name(number: u8) -> Name {
    format!("name {}", "x".repeat(usize::from(number % 7) * 3) + &number.to_string()).into()
}

/// A file: raw, in dag-pb, or, so that it could be taken for a directory, with a link.
fn file(desk: &Desk, number: u8) -> Target {
    let hashes = HashTable::standard();
    let raw = Block::of(codes::RAW, codes::SHA2_256, vec![number], &hashes).unwrap();
    desk.run(desk.store.put(raw.clone())).unwrap();
    let content = [number];
    let data = |content, block_sizes| NewData {
        content,
        file_size: Some(1),
        block_sizes,
        ..NewData::of(Kind::File)
    };
    match number % 3 {
        0 => Target::of(&raw).unwrap(),
        1 => put(desk, encode([], Some(&data(Some(&content), vec![]).encode()))),
        _ => {
            let leaf = Target::of(&raw).unwrap();
            put(desk, encode([link(leaf, b"")], Some(&data(None, vec![1]).encode())))
        }
    }
}

fn write(desk: &Desk, model: &Model, params: &Params) -> Target {
    match model {
        Model::File(number) => file(desk, *number),
        Model::Directory(entries, mode) => {
            let hashes = HashTable::standard();
            let mut editor = DirectoryEditor::new(source(desk), params, &hashes);
            editor.set_stat(*mode, None);
            for (number, below) in entries {
                let target = write(desk, below, params);
                desk.run(editor.insert(name(*number), target)).unwrap();
            }
            desk.run(editor.write(&desk.store)).unwrap()
        }
    }
}

/// What a change says, less how large things are.
type Plain = (Vec<Name>, char, Option<Cid>, Option<Cid>);

fn plain(change: &Change) -> Plain {
    let (sign, before, after) = match change {
        Change::Added { after, .. } => ('+', None, Some(after.cid)),
        Change::Removed { before, .. } => ('-', Some(before.cid), None),
        Change::Changed { before, after, .. } => ('~', Some(before.cid), Some(after.cid)),
        _ => ('t', None, None),
    };
    (change.path().to_vec(), sign, before, after)
}

fn sorted(changes: &[Change]) -> Vec<Plain> {
    let mut all: Vec<Plain> = changes.iter().map(plain).collect();
    all.sort();
    all
}

/// How two models differ, by the book.
fn expected(
    (desk, params): (&Desk, [&Params; 2]),
    path: &mut Vec<Name>,
    [before, after]: [&Model; 2],
    out: &mut Vec<Plain>,
) {
    let cid = |model, side: usize| Some(write(desk, model, params[side]).cid);
    let (Model::Directory(a, was), Model::Directory(b, is)) = (before, after) else {
        if cid(before, 0) != cid(after, 1) {
            out.push((path.clone(), '~', cid(before, 0), cid(after, 1)));
        }
        return;
    };
    if was != is {
        out.push((path.clone(), 't', None, None));
    }
    let numbers: std::collections::BTreeSet<&u8> = a.keys().chain(b.keys()).collect();
    for number in numbers {
        path.push(name(*number));
        match (a.get(number), b.get(number)) {
            (Some(a), Some(b)) => expected((desk, params), path, [a, b], out),
            (Some(a), None) => out.push((path.clone(), '-', cid(a, 0), None)),
            (None, b) => out.push((path.clone(), '+', None, b.and_then(|b| cid(b, 1)))),
        }
        path.pop();
    }
}

fn directory(of: impl Strategy<Value = Model>) -> impl Strategy<Value = Model> {
    let entries = prop::collection::btree_map(0..40_u8, of, 0..14);
    let mode = prop_oneof![4 => Just(None), 1 => (1..3_u32).prop_map(Some)];
    (entries, mode).prop_map(|(entries, mode)| Model::Directory(entries, mode))
}

fn tree() -> impl Strategy<Value = Model> {
    let file = (0..9_u8).prop_map(Model::File);
    let two = directory(prop_oneof![3 => file.clone(), 1 => directory(file.clone())]);
    directory(prop_oneof![2 => file, 1 => two])
}

fn params() -> impl Strategy<Value = Params> {
    let sharding = prop_oneof![
        Just(Sharding::Never),
        (0..900_usize).prop_map(Sharding::ByLinks),
        (0..900_usize).prop_map(Sharding::ByBlock),
    ];
    (sharding, 3..=10_u32, any::<bool>()).prop_map(|(sharding, bits, v1)| Params {
        sharding,
        fanout: 1 << bits,
        ..if v1 { Params::unixfs_v1_2025() } else { Params::unixfs_v0_2015() }
    })
}

/// Another tree with most of the same in it.
fn edited(mut model: Model, edits: &[(Vec<u8>, Option<u8>)]) -> Model {
    for (path, to) in edits {
        let mut at = &mut model;
        for (step, pick) in path.iter().enumerate() {
            let Model::Directory(entries, mode) = at else {
                break;
            };
            let Some(number) =
                entries.keys().nth(usize::from(*pick) % entries.len().max(1)).copied()
            else {
                break;
            };
            if step + 1 == path.len() {
                match to {
                    Some(0) => *mode = Some(7),
                    Some(to) if to % 2 == 0 => drop(entries.insert(*to, Model::File(*to))),
                    Some(to) => drop(entries.insert(number, Model::File(*to))),
                    None => drop(entries.remove(&number)),
                }
                break;
            }
            at = entries.get_mut(&number).unwrap();
        }
    }
    model
}

fn pair() -> impl Strategy<Value = (Model, Model)> {
    let edits = prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 1..4), any::<Option<u8>>()),
        0..6,
    );
    prop_oneof![
        3 => (tree(), edits).prop_map(|(tree, edits)| (tree.clone(), edited(tree, &edits))),
        1 => (tree(), tree()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// The differences are those of the trees, whatever the forms of their directories, and making
    /// them gives the other tree.
    #[test]
    fn differences_lead_from_one_tree_to_the_other(
        (a, b) in pair(),
        params in params(),
        other in prop::option::of(params()),
    ) {
        let desk = Desk::new();
        let other = other.unwrap_or_else(|| params.clone());
        let (before, after) = (write(&desk, &a, &params), write(&desk, &b, &other));
        let changes = diff(&desk, &before.cid, &after.cid).unwrap();
        let mut model = Vec::new();
        expected((&desk, [&params, &other]), &mut vec![], [&a, &b], &mut model);
        model.sort();
        prop_assert_eq!(sorted(&changes), model);

        // Slow answers in any order change nothing.
        let late = Late { source: source(&desk), asked: AtomicUsize::new(0) };
        let again = Diff::new(Arc::new(late), &before.cid, &after.cid).try_collect::<Vec<_>>();
        prop_assert_eq!(&desk.run(again).unwrap(), &changes);

        let patcher = patcher(&desk).params(other.clone());
        let made = patcher.apply(&before.cid, stream::iter(changes.into_iter().map(Ok)));
        let made = desk.run(made).unwrap();
        if params == other {
            prop_assert_eq!(made, after);
        }
        prop_assert_eq!(diff(&desk, &made.cid, &after.cid).unwrap(), []);
    }
}

/// A source whose answers come late, and the later the earlier they were asked for.
#[derive(Debug)]
struct Late {
    source: Arc<dyn BlockSource>,
    asked: AtomicUsize,
}

struct Yields(usize);

impl Future for Yields {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl BlockSource for Late {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        Yields(7 - asked % 8).await;
        self.source.get(cid).await
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        self.source.get_many(cids)
    }
}

/// A source that counts what is asked of it, and how much of that at once.
#[derive(Debug)]
struct Counting {
    source: Arc<dyn BlockSource>,
    counts: Arc<[AtomicUsize; 3]>,
}

impl Counting {
    fn new(desk: &Desk) -> (Arc<Self>, Arc<[AtomicUsize; 3]>) {
        let counts = Arc::<[AtomicUsize; 3]>::default();
        (Arc::new(Self { source: source(desk), counts: counts.clone() }), counts)
    }
}

#[async_trait]
impl BlockSource for Counting {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        let [all, now, most] = &*self.counts;
        all.fetch_add(1, Ordering::Relaxed);
        most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Yields(1).await;
        let block = self.source.get(cid).await;
        now.fetch_sub(1, Ordering::Relaxed);
        block
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        self.source.get_many(cids)
    }
}

/// 100 directories of 100 files each, in one directory, or 10,000 files in one.
fn large(desk: &Desk, changed: Option<usize>, deep: bool, sharding: Sharding) -> Target {
    let params = Params { sharding, ..Params::default() };
    let hashes = HashTable::standard();
    let directory = |entries: &mut dyn Iterator<Item = (String, Target)>| {
        let mut editor = DirectoryEditor::new(source(desk), &params, &hashes);
        for (name, target) in entries {
            desk.run(editor.insert(name, target)).unwrap();
        }
        desk.run(editor.write(&desk.store)).unwrap()
    };
    let (one, two) = (file(desk, 0), file(desk, 3));
    let file = |number: usize| if changed == Some(number) { two } else { one };
    if !deep {
        return directory(&mut (0..10_000).map(|number| (number.to_string(), file(number))));
    }
    directory(&mut (0..100).map(|outer: usize| {
        let files = (0..100).map(|inner| (inner.to_string(), file(outer * 100 + inner)));
        (outer.to_string(), directory(&mut files.into_iter()))
    }))
}

#[test]
fn only_the_way_to_what_differs_is_read() {
    let never = Sharding::Never;
    // In one block; in a directory of 100; over three levels of blocks of a directory, on each side.
    for (deep, sharding, most) in
        [(false, never, 2), (true, never, 4), (false, Sharding::ByBlock(20_000), 6)]
    {
        let desk = Desk::new();
        let before = large(&desk, None, deep, sharding);
        let after = large(&desk, Some(7777), deep, sharding);
        let (source, counts) = Counting::new(&desk);
        let mut diff = Diff::new(source, &before.cid, &after.cid);
        let change = desk.run(diff.next()).unwrap().unwrap();
        assert_eq!(change.path(), if deep { &["77", "77"][..] } else { &["7777"] });
        assert!(desk.run(diff.next()).is_none());
        let read = counts[0].load(Ordering::Relaxed);
        assert!((2..=most).contains(&read), "{read}");
    }
    // What is the same is not looked at, and what is on one side is told of by its root.
    let desk = Desk::new();
    let tree = large(&desk, None, true, never);
    let (source, counts) = Counting::new(&desk);
    let same = Diff::new(source.clone(), &tree.cid, &tree.cid).try_collect::<Vec<_>>();
    assert_eq!(desk.run(same).unwrap(), []);
    assert_eq!(counts[0].load(Ordering::Relaxed), 0);
    let directory = NewData::of(Kind::Directory).encode();
    let (none, one) = (
        put(&desk, encode([], Some(&directory))),
        put(&desk, encode([link(tree, b"tree")], Some(&directory))),
    );
    let changes: Vec<_> = desk.run(Diff::new(source, &none.cid, &one.cid).try_collect()).unwrap();
    assert_eq!(changes, [Change::Added { path: vec!["tree".into()], after: tree }]);
    assert_eq!(counts[0].load(Ordering::Relaxed), 2);
}

#[test]
fn blocks_are_asked_for_ahead_and_not_too_many() {
    let desk = Desk::new();
    let all = |number: u8| {
        let file = file(&desk, number);
        let directory = NewData::of(Kind::Directory).encode();
        let all: Vec<(String, Target)> = (0..500)
            .map(|number| {
                let name = format!("{number:03}");
                let below = encode([link(file, name.as_bytes())], Some(&directory));
                (name, put(&desk, below))
            })
            .collect();
        put(
            &desk,
            encode(all.iter().map(|(name, to)| link(*to, name.as_bytes())), Some(&directory)),
        )
    };
    let (before, after) = (all(0), all(3));
    let (source, counts) = Counting::new(&desk);
    let changes: Vec<Change> =
        desk.run(Diff::new(source, &before.cid, &after.cid).try_collect()).unwrap();
    assert_eq!(changes.len(), 500);
    assert!(changes.is_sorted_by_key(|change| change.path().to_vec()));
    let most = counts[2].load(Ordering::Relaxed);
    assert!((33..=66).contains(&most), "{most}");
}

#[test]
fn a_block_that_is_missing_is_named_behind_what_comes_before_it() {
    let desk = Desk::new();
    let (one, two) = (file(&desk, 0), file(&desk, 3));
    let directory = NewData::of(Kind::Directory).encode();
    let inner = put(&desk, encode([link(one, b"x")], Some(&directory)));
    let lost: Cid = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku".parse().unwrap();
    let lost = Target { cid: lost, dag_size: 1 };
    let of =
        |a, b| put(&desk, encode([link(a, b"a"), link(b, b"b"), link(a, b"c")], Some(&directory)));
    let (before, after) = (of(one, inner), of(two, lost));
    let found: Vec<Result<Change>> =
        desk.run(Diff::new(source(&desk), &before.cid, &after.cid).collect());
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].as_ref().unwrap().path(), ["a"]);
    assert!(matches!(&found[1], Err(Error::NotFound(cid)) if *cid == lost.cid));
}

/// What differs where Kubo does not say so, or says something else.
fn otherwise(id: &str) -> Option<&'static [&'static str]> {
    Some(match id {
        "version" => &["~ a/1", "~ a/b/2", "~ big", "~ c/3", "~ link", "~ x"],
        "directory-to-v0-file" | "v0-file-to-directory" | "directory-to-symlink" => &["~ k"],
        "large-files" | "large-to-v0-file" | "v0-to-large-file" => &["~ f"],
        "shards" | "flat-and-shard" => &["+ file 99", "- file 3", "~ file 7"],
        "shard-and-flat" => &[],
        "plain" | "plain-data" => &["~ "],
        // Directories in whose places came dag-pb files and symbolic links, or the other way.
        "random-6" => &["- e f", "~ b", "~ dd"],
        "random-8" => &["+ a/c", "~ b", "~ c/dd/c", "~ dd", "~ e f"],
        _ => return None,
    })
}

#[test]
fn as_kubo_tells_or_better() {
    let path = "unixfs/diffs.tsv";
    let mut report = Report::new(path);
    let desk = Desk::new();
    load(&desk, &support::bytes("unixfs/patches.car"));
    for case in table(path) {
        let cid = |column: &str| case[column].parse::<Cid>().unwrap();
        let found = sorted(&diff(&desk, &cid("before"), &cid("after")).unwrap());
        let text =
            |path: &[Name]| path.iter().map(ToString::to_string).collect::<Vec<_>>().join("/");
        if let Some(expected) = otherwise(case.id()) {
            let mut found: Vec<String> =
                found.iter().map(|(path, sign, ..)| format!("{sign} {}", text(path))).collect();
            found.sort();
            report.same(case.id(), found, expected.iter().map(ToString::to_string).collect());
            continue;
        }
        let kubo: Vec<[String; 4]> = serde_json::from_str(&case["changes"]).unwrap();
        let mut kubo: Vec<_> = kubo
            .into_iter()
            .map(|[sign, path, before, after]| (path, sign, before, after))
            .collect();
        kubo.sort();
        let mut found: Vec<_> = found
            .into_iter()
            .map(|(path, sign, before, after)| {
                let cid = |cid: Option<Cid>| cid.map_or_else(String::new, |cid| cid.to_string());
                (text(&path), sign.to_string(), cid(before), cid(after))
            })
            .collect();
        found.sort();
        report.same(case.id(), found, kubo);
    }
    report.finish();
}
