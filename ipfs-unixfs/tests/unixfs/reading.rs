//! Files that nobody makes any more, or that were never made well: what is read, and what refused.

use std::{
    io::SeekFrom,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{AsyncReadExt, AsyncSeekExt, StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, Error, HashTable, Local, Prefix, Result, async_trait,
    codes, memory::MemoryStore,
};
use ipfs_unixfs::{
    Chunker, Exporter, Item, Params, StatKind,
    dagpb::{self, Link},
    data::{Kind, NewData},
};
use proptest::prelude::*;

use crate::{
    content::{Desk, chacha20},
    export::{Watched, directory_of, file_of, put, put_node, small},
};

/// A node with parts that it does not name.
fn node_of(desk: &Desk, parts: &[Cid], data: &NewData<'_>) -> Block {
    let links: Vec<Link<'_>> =
        parts.iter().map(|cid| Link { cid: *cid, name: Some(b""), tsize: None }).collect();
    put(desk, codes::DAG_PB, dagpb::encode(links, Some(&data.encode())))
}

fn leaf(desk: &Desk, kind: Kind, content: &[u8], stated: bool) -> Block {
    let file_size = stated.then_some(content.len() as u64);
    node_of(desk, &[], &NewData { content: Some(content), file_size, ..NewData::of(kind) })
}

fn inline(codec: u64, data: &[u8]) -> Cid {
    Prefix::v1(codec, codes::IDENTITY).cid(data, &HashTable::standard()).unwrap()
}

fn file(sizes: &[u64], content: Option<&'static [u8]>, size: Option<u64>) -> NewData<'static> {
    let block_sizes = sizes.to_vec();
    NewData { content, file_size: size, block_sizes, ..NewData::of(Kind::File) }
}

/// What a file gives in one go, checked against all its ranges and against a reader that seeks.
fn read_in_every_way(desk: &Desk, root: &Cid) -> Result<Vec<u8>> {
    desk.run(async {
        let mut file = desk.exporter().open(root).await?;
        let whole: Vec<_> = file.range(..).try_collect().await?;
        let whole = whole.concat();
        assert_eq!(file.size(), whole.len() as u64);
        let StatKind::File { size, .. } = desk.exporter().stat(root).await?.kind else {
            panic!("it is a file")
        };
        assert_eq!(size, file.size());
        let step = whole.len() / 12 + 1;
        for from in (0..=whole.len()).step_by(step) {
            for to in (from..=whole.len()).step_by(step) {
                let part: Vec<_> = file.range(from as u64..to as u64).try_collect().await?;
                assert_eq!(part.concat(), &whole[from..to], "{from}..{to}");
            }
            file.seek(SeekFrom::End(-((whole.len() - from) as i64))).await.unwrap();
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, &whole[from..]);
        }
        let items: Vec<Item> = desk.exporter().tree(root).try_collect().await?;
        let data = items.iter().filter_map(|item| match item {
            Item::Data(data) => Some(&data[..]),
            _ => None,
        });
        assert_eq!(data.collect::<Vec<_>>().concat(), whole);
        Ok(whole)
    })
}

/// What Kubo 0.43 reads, and gives these bytes of.
#[test]
fn odd_files_that_are_read() {
    let desk = Desk::new();
    let raw = *put(&desk, codes::RAW, b"0123456789".to_vec()).cid();
    let empty = *put(&desk, codes::RAW, Vec::new()).cid();
    let of_file = *leaf(&desk, Kind::File, b"abcde", true).cid();
    let of_raw = *leaf(&desk, Kind::Raw, b"ABCDE", true).cid();
    let v0 = Cid::new_v0(*of_file.hash()).unwrap();
    let unstated = *leaf(&desk, Kind::File, b"abcde", false).cid();
    let hi = inline(codes::RAW, b"hi");
    let message = NewData { content: Some(b"hi"), ..NewData::of(Kind::File) }.encode();
    let hi_in_dag_pb = inline(codes::DAG_PB, &dagpb::encode([], Some(&message)));
    let sizeless = *node_of(&desk, &[raw, of_file], &file(&[], None, None)).cid();
    let meta = |target: Cid| *node_of(&desk, &[target], &NewData::of(Kind::Metadata)).cid();
    let described = meta(of_file);
    let whole = b"0123456789abcde";
    let cases: &[(&str, &[Cid], NewData<'_>, &[u8])] = &[
        ("no sizes of parts", &[raw, of_file], file(&[], None, Some(15)), whole),
        ("no sizes", &[raw, of_file], file(&[], None, None), whole),
        ("no size", &[raw, of_file], file(&[10, 5], None, None), whole),
        ("a part without a size", &[raw, unstated], file(&[10, 5], None, Some(15)), whole),
        ("an inline part", &[hi, raw], file(&[2, 10], None, Some(12)), b"hi0123456789"),
        ("of dag-pb", &[hi_in_dag_pb, raw], file(&[2, 10], None, Some(12)), b"hi0123456789"),
        ("empty parts", &[empty, raw, empty], file(&[0, 10, 0], None, Some(10)), b"0123456789"),
        ("empty, no sizes", &[empty, raw, empty], file(&[], None, None), b"0123456789"),
        ("both versions", &[v0, of_file, v0], file(&[5, 5, 5], None, None), b"abcdeabcdeabcde"),
        (
            "no sizes below no sizes",
            &[sizeless, raw],
            file(&[], None, None),
            b"0123456789abcde0123456789",
        ),
        (
            "no sizes below sizes",
            &[sizeless, raw],
            file(&[15, 10], None, Some(25)),
            b"0123456789abcde0123456789",
        ),
        (
            "metadata as a part",
            &[described, raw],
            file(&[5, 10], None, Some(15)),
            b"abcde0123456789",
        ),
        ("the same, no sizes", &[described, raw], file(&[], None, None), b"abcde0123456789"),
        // Kubo leaves out the bytes of a node that has parts; the specification puts them first.
        ("bytes and parts", &[raw], file(&[10], Some(b"abc"), Some(13)), b"abc0123456789"),
        ("the same, no sizes", &[raw], file(&[], Some(b"abc"), None), b"abc0123456789"),
    ];
    for (name, parts, data, bytes) in cases {
        let root = node_of(&desk, parts, data);
        let found = read_in_every_way(&desk, root.cid());
        assert_eq!(found.unwrap_or_else(|error| panic!("{name}: {error}")), *bytes, "{name}");
    }
    let inner = NewData { kind: Kind::Raw, ..file(&[10, 5], None, Some(15)) };
    let inner = node_of(&desk, &[raw, of_raw], &inner);
    assert_eq!(read_in_every_way(&desk, inner.cid()).unwrap(), b"0123456789ABCDE");
    for root in [of_raw, unstated, hi, hi_in_dag_pb, described, meta(described), meta(raw)] {
        assert!(!read_in_every_way(&desk, &root).unwrap().is_empty());
    }
    assert_eq!(read_in_every_way(&desk, &empty).unwrap(), b"");
    let named = [("a", &put(&desk, codes::RAW, b"0123456789".to_vec()))];
    let named = put_node(&desk, &named, &file(&[10], None, Some(10)));
    assert_eq!(read_in_every_way(&desk, named.cid()).unwrap(), b"0123456789");
}

/// Sizes that lie, and parts that are none: an error, and never a byte in the wrong place.
#[test]
fn odd_files_that_are_refused() {
    let desk = Desk::new();
    let raw = *put(&desk, codes::RAW, b"0123456789".to_vec()).cid();
    let of_file = *leaf(&desk, Kind::File, b"abcde", true).cid();
    let directory = *directory_of(&desk, &[]).cid();
    let link =
        node_of(&desk, &[], &NewData { content: Some(b"xyz"), ..NewData::of(Kind::Symlink) });
    let nothing = *put(&desk, codes::DAG_PB, Vec::new()).cid();
    let cases: &[(&str, &[Cid], NewData<'_>)] = &[
        ("fewer sizes than parts", &[raw, of_file], file(&[10], None, Some(15))),
        ("more sizes than parts", &[raw], file(&[10, 5], None, Some(15))),
        ("sizes of no parts", &[], file(&[10], None, Some(10))),
        ("a size that is not the sum", &[raw, of_file], file(&[10, 5], None, Some(99))),
        ("the same, no sizes of parts", &[raw, of_file], file(&[], None, Some(99))),
        ("a part that is longer", &[raw, of_file], file(&[7, 5], None, Some(12))),
        ("a part that is shorter", &[raw, of_file], file(&[11, 5], None, Some(16))),
        ("a leaf that is longer", &[], file(&[], Some(b"abc"), Some(2))),
        ("a leaf that is shorter", &[], file(&[], Some(b"abc"), Some(4))),
        ("bytes that are not in the size", &[raw], file(&[10], Some(b"abc"), Some(10))),
        ("beyond 64 bits", &[raw, raw], file(&[u64::MAX, 1], None, None)),
        ("a part that is a directory", &[directory, raw], file(&[1, 10], None, Some(11))),
        ("the same, no sizes", &[directory, raw], file(&[], None, None)),
        ("a part that is a link", &[*link.cid(), raw], file(&[3, 10], None, Some(13))),
        ("a part that is nothing", &[nothing, raw], file(&[1, 10], None, Some(11))),
        ("metadata of nothing", &[], NewData::of(Kind::Metadata)),
    ];
    for (name, parts, data) in cases {
        let root = node_of(&desk, parts, data);
        let found = read_in_every_way(&desk, root.cid());
        assert!(
            matches!(&found, Err(error) if matches!(error.what(), Error::Malformed { .. })),
            "{name}: {found:?}"
        );
    }
    let meta = node_of(&desk, &[directory], &NewData::of(Kind::Metadata));
    let opened = desk.run(desk.exporter().open(meta.cid()));
    assert!(matches!(opened, Err(Error::WrongKind { expected: "a file", .. })));
    let items: Vec<Result<Item>> = desk.run(desk.exporter().tree(meta.cid()).collect());
    assert!(matches!(items[..], [Err(Error::Malformed { .. })]), "{items:?}");
}

/// Metadata that is of metadata, and so on.
#[test]
fn a_chain_of_metadata_is_cut_off() {
    let desk = Desk::new();
    let mut node = *leaf(&desk, Kind::File, b"abc", true).cid();
    for _ in 0..1100 {
        node = *node_of(&desk, &[node], &NewData::of(Kind::Metadata)).cid();
    }
    let exporter = desk.exporter();
    let limited = |error: &Error| matches!(error.what(), Error::Limit { limit: 1024, .. });
    assert!(limited(&desk.run(exporter.open(&node)).unwrap_err()));
    assert!(limited(&desk.run(exporter.stat(&node)).unwrap_err()));
    let items: Vec<Result<Item>> = desk.run(exporter.tree(&node).collect());
    assert!(matches!(&items[..], [Err(error)] if limited(error)));
    let folder = directory_of(&desk, &[]);
    let listed = node_of(&desk, &[node], &NewData::of(Kind::Directory));
    let listed: Vec<_> = desk
        .run(async { exporter.list_with(listed.cid()).await.unwrap().collect::<Vec<_>>().await });
    assert!(matches!(&listed[..], [Err(error)] if limited(error)));
    assert!(desk.run(exporter.stat(folder.cid())).is_ok());
}

/// A thousand parts that are each a thousand parts and so on, and none of which says its size.
#[test]
fn a_file_without_sizes_is_measured_a_block_at_a_time() {
    let desk = Desk::new();
    let pile = |of: &[u8], levels: usize| {
        let mut node = *put(&desk, codes::RAW, of.to_vec()).cid();
        for _ in 0..levels {
            node = *node_of(&desk, &vec![node; 1000], &file(&[], None, None)).cid();
        }
        node
    };
    let (exporter, asked) = Watched::exporter(&desk);
    let empty = desk.run(exporter.open(&pile(b"", 12))).unwrap();
    assert_eq!(empty.size(), 0);
    let asked = asked.lock().unwrap().clone();
    assert!(asked.len() == 13 && asked.values().all(|count| *count <= 2), "{asked:?}");
    // Three bytes for each: more than a file can have.
    let error = desk.run(exporter.open(&pile(b"abc", 12))).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    // Where it stays within 64 bits, any place of it can be read.
    let large = desk.run(exporter.open(&pile(b"abc", 6))).unwrap();
    assert_eq!(large.size(), 3 * 10_u64.pow(18));
    let at = 2 * 10_u64.pow(18) + 1;
    let part: Vec<_> = desk.run(large.range(at..at + 5).try_collect()).unwrap();
    assert_eq!(at % 3, 0);
    assert_eq!(part.concat(), b"abcab");
}

#[test]
fn parts_that_never_end_are_a_limit() {
    let desk = Desk::new();
    let mut node = *put(&desk, codes::RAW, b"x".to_vec()).cid();
    for _ in 0..1100 {
        node = *node_of(&desk, &[node], &file(&[], None, None)).cid();
    }
    let error = desk.run(desk.exporter().open(&node)).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "levels of a tree", .. }), "{error}");
}

/// What a file is made of.
#[derive(Clone, Debug)]
enum Made {
    Raw(Vec<u8>),
    Inline(Vec<u8>),
    Leaf(bool, bool, Vec<u8>),
    Described(Box<Self>),
    Node { own: Vec<u8>, parts: Vec<Self>, stated: bool, sized: bool },
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..8);
    let leaf = prop_oneof![
        bytes().prop_map(Made::Raw),
        bytes().prop_map(Made::Inline),
        (any::<bool>(), any::<bool>(), bytes())
            .prop_map(|(raw, stated, b)| Made::Leaf(raw, stated, b)),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let parts = prop::collection::vec(inner.clone(), 1..5);
        prop_oneof![
            1 => inner.prop_map(|file| Made::Described(Box::new(file))),
            6 => (bytes(), parts, any::<bool>(), any::<bool>())
                .prop_map(|(own, parts, stated, sized)| Made::Node { own, parts, stated, sized }),
        ]
    })
}

impl Made {
    fn make(&self, desk: &Desk) -> (Cid, Vec<u8>) {
        match self {
            Self::Raw(bytes) => (*put(desk, codes::RAW, bytes.clone()).cid(), bytes.clone()),
            Self::Inline(bytes) => (inline(codes::RAW, bytes), bytes.clone()),
            Self::Leaf(raw, stated, bytes) => {
                let kind = if *raw { Kind::Raw } else { Kind::File };
                (*leaf(desk, kind, bytes, *stated).cid(), bytes.clone())
            }
            Self::Described(file) => {
                let (cid, bytes) = file.make(desk);
                (*node_of(desk, &[cid], &NewData::of(Kind::Metadata)).cid(), bytes)
            }
            Self::Node { own, parts, stated, sized } => {
                let parts: Vec<_> = parts.iter().map(|part| part.make(desk)).collect();
                let sizes: Vec<u64> = parts.iter().map(|(_, bytes)| bytes.len() as u64).collect();
                let mut whole = own.clone();
                parts.iter().for_each(|(_, bytes)| whole.extend(bytes));
                let data = NewData {
                    content: (!own.is_empty()).then_some(&own[..]),
                    file_size: stated.then_some(whole.len() as u64),
                    block_sizes: if *sized { sizes } else { Vec::new() },
                    ..NewData::of(Kind::File)
                };
                let cids: Vec<Cid> = parts.iter().map(|(cid, _)| *cid).collect();
                (*node_of(desk, &cids, &data).cid(), whole)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Of any tree of parts, odd ones too, a range is the slice.
    #[test]
    fn ranges_of_odd_files(made in made(), from in 0..200_usize, count in 0..200_usize) {
        let desk = Desk::new();
        let (root, bytes) = made.make(&desk);
        let read = read_in_every_way(&desk, &root).unwrap();
        prop_assert_eq!(&read, &bytes);
        let file = desk.run(desk.exporter().open(&root)).unwrap();
        let part: Vec<_> =
            desk.run(file.range(from as u64..(from + count) as u64).try_collect()).unwrap();
        let (from, to) = (from.min(bytes.len()), (from + count).min(bytes.len()));
        prop_assert_eq!(part.concat(), &bytes[from..to]);
    }
}

/// Seeking within what is at hand, or was read ahead, asks for nothing again; a reader that does
/// nothing but seek has less and less read ahead for it.
#[test]
fn seeking_keeps_what_is_useful() {
    const LEAF: u64 = 64 << 10;
    let desk = Desk::new();
    let params = Params { chunker: Chunker::fixed(LEAF as usize).unwrap(), ..Params::default() };
    let root = desk.import_bytes(chacha20("seek", 40 << 20), params).cid;
    let (exporter, asked) = Watched::exporter(&desk);
    let count = || asked.lock().unwrap().values().sum::<usize>();
    desk.run(async {
        let mut file = exporter.open(&root).await.unwrap();
        let mut byte = [0];
        let mut at = async |position| {
            file.seek(SeekFrom::Start(position)).await.unwrap();
            file.read_exact(&mut byte).await.unwrap();
            count()
        };
        let first = at(0).await;
        assert_eq!(at(LEAF - 1).await, first, "forward within a leaf");
        assert_eq!(at(5).await, first, "and back");
        let forward = at(8 * LEAF).await;
        assert!(forward > first && forward < first + 16, "{first} {forward}");
        assert!(asked.lock().unwrap().values().all(|count| *count == 1), "nothing twice");
        let mut last = 0;
        for place in [400, 100, 500, 200, 600, 300] {
            let before = count();
            last = at(place * LEAF).await - before;
        }
        assert!(last <= 6, "{last} blocks for one byte");
    });
}

/// A source that says how many of its streams are alive.
#[derive(Debug)]
struct Counted(Local<Arc<MemoryStore>>, Arc<AtomicUsize>);

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl BlockSource for Counted {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.0.get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(self.1.clone());
        let answers = self.0.get_many(cids);
        answers.inspect(move |_| assert!(alive.0.load(Ordering::SeqCst) > 0)).boxed()
    }
}

#[test]
fn what_is_dropped_asks_for_nothing_more() {
    let desk = Desk::new();
    let root = desk.import_bytes(chacha20("dropped", 4000), small(5)).cid;
    let alive = Arc::new(AtomicUsize::new(0));
    let source = Counted(Local(desk.store.clone()), alive.clone());
    let exporter = Exporter::new(Arc::new(source), Arc::new(desk.runtime.clone()));
    desk.run(async {
        let mut file = exporter.open(&root).await.unwrap();
        let mut range = file.range(100..);
        range.next().await.unwrap().unwrap();
        file.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 2);
        drop(range);
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        drop(file);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        let mut tree = exporter.tree(&root);
        tree.next().await.unwrap().unwrap();
        drop(tree);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// An error says which block is missing, and of which file.
#[test]
fn a_missing_block_is_named_with_its_path() {
    let desk = Desk::new();
    let parts: Vec<Block> = (0..3_u8).map(|i| put(&desk, codes::RAW, vec![i; 3])).collect();
    let parts: Vec<(&Block, u64)> = parts.iter().map(|part| (part, 3)).collect();
    let file = file_of(&desk, &parts, 9);
    let inner = directory_of(&desk, &[("ok", parts[0].0), ("sub \u{e4}", &file)]);
    let root = directory_of(&desk, &[("a", &inner), ("b", parts[0].0)]);
    let gone = *parts[1].0.cid();
    desk.run(desk.store.delete_many(&[gone])).unwrap();
    let told = |error: &Error, at: &str| match error {
        Error::At { path, source } => {
            assert_eq!(**path, *at);
            assert!(matches!(**source, Error::NotFound(cid) if cid == gone), "{source}");
            assert!(error.is_not_found());
        }
        other => panic!("{other}"),
    };
    let exporter = desk.exporter();
    desk.run(async {
        let items: Vec<Result<Item>> = exporter.tree(root.cid()).collect().await;
        told(items.last().unwrap().as_ref().unwrap_err(), "/a/sub \u{e4}");
        let opened = exporter.open(file.cid()).await.unwrap().at("/ipfs/x/y");
        let runs: Result<Vec<_>> = opened.range(..).try_collect().await;
        told(&runs.unwrap_err(), "/ipfs/x/y");
        let mut opened = opened;
        let error = opened.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        told(error.get_ref().unwrap().downcast_ref().unwrap(), "/ipfs/x/y");

        desk.store.delete_many(&[*inner.cid()]).await.unwrap();
        let error = exporter.resolve(root.cid(), ["a", "ok"]).await.unwrap_err();
        assert!(matches!(&error, Error::At { path, .. } if **path == *"/a"), "{error}");
        let list: Vec<_> = exporter.list_with(root.cid()).await.unwrap().collect().await;
        let [Err(error)] = &list[..] else { panic!("{list:?}") };
        assert!(matches!(error, Error::At { path, .. } if **path == *"/a"), "{error}");
        assert!(error.is_not_found());
    });
}
