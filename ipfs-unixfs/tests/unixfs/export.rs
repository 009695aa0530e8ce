//! How exporting behaves: reading ahead, ranges, lies in blocks, names on disk.

use std::{
    collections::BTreeMap,
    fs,
    io::SeekFrom,
    path::Path,
    sync::{Arc, Mutex},
};

use futures::{AsyncReadExt, AsyncSeekExt, StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, Error, HashTable, Local, Prefix, Result, async_trait,
    codes, memory::MemoryStore,
};
use ipfs_unixfs::{
    Chunker, Event, Exporter, Item, Params,
    dagpb::{self, Link},
    data::{Kind, NewData},
};
use proptest::prelude::*;

use crate::content::{Desk, chacha20};

/// Counts how often each block was asked for, and how many at once.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Local<Arc<MemoryStore>>,
    asked: Arc<Mutex<BTreeMap<Cid, usize>>>,
}

#[async_trait]
impl BlockSource for Watched {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        *self.asked.lock().unwrap().entry(*cid).or_default() += 1;
        self.inner.get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let asked = self.asked.clone();
        let counted = cids.inspect(move |cid| *asked.lock().unwrap().entry(*cid).or_default() += 1);
        self.inner.get_many(counted.boxed())
    }
}

impl Watched {
    pub(crate) fn exporter(desk: &Desk) -> (Exporter, Arc<Mutex<BTreeMap<Cid, usize>>>) {
        let (source, asked) = Self::new(desk);
        (Exporter::new(Arc::new(source), Arc::new(desk.runtime.clone())), asked)
    }

    pub(crate) fn new(desk: &Desk) -> (Self, Arc<Mutex<BTreeMap<Cid, usize>>>) {
        let asked: Arc<Mutex<BTreeMap<Cid, usize>>> = Arc::default();
        let source = Self { inner: Local(desk.store.clone()), asked: asked.clone() };
        (source, asked)
    }
}

pub(crate) fn small(max_links: usize) -> Params {
    Params { chunker: Chunker::fixed(10).unwrap(), max_links, ..Params::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any range gives its bytes, and touches no leaf outside of it.
    #[test]
    fn ranges(len in 0..500_usize, from in 0..520_u64, count in 0..300_u64, max_links in 2..5_usize) {
        let desk = Desk::new();
        let bytes = chacha20("ranges", len);
        let root = desk.import_bytes(bytes.clone(), small(max_links)).cid;
        let (exporter, asked) = Watched::exporter(&desk);
        let file = desk.run(exporter.open(&root)).unwrap();
        asked.lock().unwrap().clear();
        let runs: Vec<_> = desk.run(file.range(from..from + count).try_collect()).unwrap();
        let end = (from + count).min(len as u64).max(from.min(len as u64)) as usize;
        prop_assert_eq!(runs.concat(), &bytes[from.min(len as u64) as usize..end]);

        let asked = asked.lock().unwrap();
        let leaves = asked.keys().filter(|cid| cid.codec() == codes::RAW).count() as u64;
        let wanted = end as u64 - from.min(end as u64);
        let touched = if wanted == 0 { 0 } else { (end as u64 - 1) / 10 - from / 10 + 1 };
        // A root that is a leaf itself was read when the file was opened.
        prop_assert_eq!(leaves, if len <= 10 { 0 } else { touched });
    }

    /// Reading and seeking about gives what the same does in memory.
    #[test]
    fn seeking(len in 0..400_usize, steps in prop::collection::vec((-300..300_i64, 0..100_usize), 1..12)) {
        let desk = Desk::new();
        let bytes = chacha20("seeking", len);
        let root = desk.import_bytes(bytes.clone(), small(3)).cid;
        desk.run(async {
            let mut file = desk.exporter().open(&root).await.unwrap();
            let mut model = futures::io::Cursor::new(bytes);
            for (i, (by, count)) in steps.into_iter().enumerate() {
                let to = match i % 3 {
                    0 => SeekFrom::Start(by.unsigned_abs()),
                    1 => SeekFrom::Current(by),
                    _ => SeekFrom::End(by),
                };
                let (ours, theirs) = (file.seek(to).await, model.seek(to).await);
                assert_eq!(ours.as_ref().ok(), theirs.as_ref().ok());
                let (mut a, mut b) = (Vec::new(), Vec::new());
                (&mut file).take(count as u64).read_to_end(&mut a).await.unwrap();
                (&mut model).take(count as u64).read_to_end(&mut b).await.unwrap();
                assert_eq!(a, b);
            }
        });
    }
}

/// A reader that reads little has little fetched for it; one that goes on has more.
#[test]
fn reading_ahead_grows_with_what_is_read() {
    let desk = Desk::new();
    let params = Params { chunker: Chunker::fixed(64 << 10).unwrap(), ..Params::default() };
    let root = desk.import_bytes(chacha20("ahead", 40 << 20), params).cid;
    let (exporter, asked) = Watched::exporter(&desk);
    desk.run(async {
        let mut file = exporter.open(&root).await.unwrap();
        let mut byte = [0];
        file.read_exact(&mut byte).await.unwrap();
        let first = asked.lock().unwrap().len();
        assert!(first <= 20, "{first} blocks for one byte");
        let mut much = vec![0; 20 << 20];
        file.read_exact(&mut much).await.unwrap();
        let then = asked.lock().unwrap().len();
        let read = 20 * 16;
        assert!((read + 100..read + 300).contains(&then), "{then} blocks for 20 MiB");
        assert!(asked.lock().unwrap().values().all(|count| *count == 1), "none is asked for twice");
    });
}

pub(crate) fn put(desk: &Desk, codec: u64, data: Vec<u8>) -> Block {
    let prefix = Prefix::v1(codec, codes::SHA2_256);
    let block = Block::with_prefix(&prefix, data, &HashTable::standard()).unwrap();
    desk.run(desk.store.put_many(std::slice::from_ref(&block))).unwrap();
    block
}

pub(crate) fn put_linked(desk: &Desk, links: &[(&[u8], &Block)], data: &NewData<'_>) -> Block {
    let links = links.iter().map(|(name, block)| Link {
        cid: *block.cid(),
        name: Some(name),
        tsize: Some(block.len() as u64),
    });
    put(desk, codes::DAG_PB, dagpb::encode(links.collect::<Vec<_>>(), Some(&data.encode())))
}

pub(crate) fn put_node(desk: &Desk, links: &[(&str, &Block)], data: &NewData<'_>) -> Block {
    let links: Vec<_> = links.iter().map(|(name, block)| (name.as_bytes(), *block)).collect();
    put_linked(desk, &links, data)
}

pub(crate) fn file_of(desk: &Desk, parts: &[(&Block, u64)], said: u64) -> Block {
    let data = NewData {
        file_size: Some(said),
        block_sizes: parts.iter().map(|(_, size)| *size).collect(),
        ..NewData::of(Kind::File)
    };
    let links: Vec<(&str, &Block)> = parts.iter().map(|(block, _)| ("", *block)).collect();
    put_node(desk, &links, &data)
}

pub(crate) fn directory_of(desk: &Desk, entries: &[(&str, &Block)]) -> Block {
    put_node(desk, entries, &NewData::of(Kind::Directory))
}

fn whole(desk: &Desk, root: &Block) -> Result<Vec<u8>> {
    desk.run(async {
        let file = desk.exporter().open(root.cid()).await?;
        let runs: Vec<_> = file.range(..).try_collect().await?;
        Ok(runs.concat())
    })
}

#[test]
fn files_that_lie_about_their_sizes_are_malformed() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"0123456789".to_vec());
    let honest = file_of(&desk, &[(&leaf, 10), (&leaf, 10)], 20);
    assert_eq!(whole(&desk, &honest).unwrap(), b"01234567890123456789");
    let directory = directory_of(&desk, &[]);
    for lie in [
        file_of(&desk, &[(&leaf, 10)], 11),                  // the sum
        file_of(&desk, &[(&leaf, 9)], 9),                    // a leaf that is longer
        file_of(&desk, &[(&leaf, 11)], 11),                  // a leaf that is shorter
        file_of(&desk, &[(&honest, 21)], 21),                // a part that is shorter
        file_of(&desk, &[(&directory, 1)], 1),               // a part that is none
        file_of(&desk, &[(&leaf, u64::MAX), (&leaf, 2)], 1), // beyond 64 bits
    ] {
        assert!(matches!(whole(&desk, &lie), Err(Error::Malformed { .. })), "{lie:?}");
    }
}

/// Nodes of nothing but empty parts, a thousand times a thousand times a thousand of them.
#[test]
fn parts_without_bytes_are_not_visited() {
    let desk = Desk::new();
    let mut node = put(&desk, codes::RAW, Vec::new());
    for _ in 0..10 {
        node = file_of(&desk, &vec![(&node, 0); 1000], 0);
    }
    let (exporter, asked) = Watched::exporter(&desk);
    let file = desk.run(exporter.open(node.cid())).unwrap();
    let runs: Vec<_> = desk.run(file.range(..).try_collect()).unwrap();
    assert_eq!(runs.concat(), b"");
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_missing_block_is_an_error_where_it_is_missed() {
    let desk = Desk::new();
    let imported = desk.import_bytes(chacha20("missing", 100), small(4));
    let mut leaves = Vec::new();
    let listed: Vec<_> = desk.run(desk.store.list().try_collect::<Vec<_>>()).unwrap().concat();
    for (hash, _) in listed {
        leaves.push(Cid::new_v1(codes::RAW, hash));
    }
    let file = desk.run(desk.exporter().open(&imported.cid)).unwrap();
    let first: Vec<_> = desk.run(file.range(50..60).try_collect()).unwrap();
    let gone = Prefix::v1(codes::RAW, codes::SHA2_256).cid(&first.concat(), &HashTable::standard());
    let gone = gone.unwrap();
    desk.run(desk.store.delete_many(&[gone])).unwrap();
    let mut runs = file.range(..);
    desk.run(async {
        let mut before = Vec::new();
        let error = loop {
            match runs.next().await.unwrap() {
                Ok(run) => before.extend(run),
                Err(error) => break error,
            }
        };
        assert_eq!(before.len(), 50);
        assert!(matches!(error, Error::NotFound(cid) if cid == gone), "{error}");
        assert!(runs.next().await.is_none());
        let mut reader = desk.exporter().open(&imported.cid).await.unwrap();
        let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn what_is_there_is_of_the_right_kind() {
    let desk = Desk::new();
    let exporter = desk.exporter();
    let leaf = put(&desk, codes::RAW, b"x".to_vec());
    let directory = directory_of(&desk, &[("x", &leaf)]);
    let shard = put_node(&desk, &[], &NewData::of(Kind::HamtShard));
    let cbor = put(&desk, codes::DAG_CBOR, vec![0xa0]);
    let open = |block: &Block| desk.run(exporter.open(block.cid())).map(drop);
    assert!(matches!(open(&directory), Err(Error::WrongKind { expected: "a file", .. })));
    assert!(matches!(open(&cbor), Err(Error::UnknownCodec(codes::DAG_CBOR))));
    let list = |block: &Block| desk.run(exporter.list(block.cid())).map(drop);
    assert!(matches!(list(&leaf), Err(Error::WrongKind { expected: "a directory", .. })));
    assert!(matches!(list(&shard), Err(Error::Malformed { .. })));
    let resolve = |path: &[&str]| desk.run(exporter.resolve(directory.cid(), path.iter().copied()));
    assert_eq!(resolve(&[]).unwrap(), *directory.cid());
    assert_eq!(resolve(&["x"]).unwrap(), *leaf.cid());
    assert!(matches!(resolve(&["y"]), Err(Error::NoEntry { name, .. }) if name == "y"));
    assert!(matches!(resolve(&["x", "y"]), Err(Error::WrongKind { .. })));
}

pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            found.insert(name + "/", Vec::new());
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            found.insert(name + "@", target.to_string_lossy().into_owned().into_bytes());
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_tree_comes_back_byte_for_byte() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in");
    for i in 0..300 {
        let path = source.join(format!("d{}/e{}/file {i}", i % 7, i % 3));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, chacha20(&i.to_string(), i * 13)).unwrap();
    }
    fs::write(source.join("large"), chacha20("large", 9 << 20)).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../large", source.join("d1/link")).unwrap();
    let root = desk.run(desk.importer(Params::default()).path(&source)).unwrap();
    let target = folder.path().join("out");
    desk.run(async {
        let mut export = desk.exporter().write(&root.cid, &target);
        let mut told = 0;
        while let Some(event) = export.try_next().await.unwrap() {
            if let Event::Done(exported) = event {
                assert_eq!((exported.files, exported.bytes), (root.files, root.bytes));
                assert_eq!(exported.directories, root.directories);
            } else {
                told += 1;
            }
        }
        assert!(told > 0);
    });
    assert_eq!(files_below(&source), files_below(&target));
    // Nothing but the two trees is there.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// A tree that a stranger made to escape from the folder it is written to.
#[test]
fn hostile_names_write_nothing() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"gotcha".to_vec());
    let inner = directory_of(&desk, &[("file", &leaf)]);
    let link = |target: &'static str| {
        let content = Some(target.as_bytes());
        put_node(&desk, &[], &NewData { content, ..NewData::of(Kind::Symlink) })
    };
    let outside = link("../outside");
    let cases: [&[(&str, &Block)]; 8] = [
        &[("../escaped", &leaf)],
        &[("..", &leaf)],
        &[("", &leaf)],
        &[("/etc/passwd", &leaf)],
        &[("a/b", &leaf)],
        // Through a symbolic link that the tree brought itself.
        &[("x", &outside), ("x", &inner)],
        &[("x", &outside), ("x", &leaf)],
        &[("x", &leaf), ("x", &leaf)],
    ];
    for entries in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        let before = files_below(folder.path());
        for root in [
            directory_of(&desk, entries),
            directory_of(&desk, &[("d", &directory_of(&desk, entries))]),
        ] {
            let target = folder.path().join("out");
            let error = desk.run(desk.exporter().write(root.cid(), &target)).unwrap_err();
            assert!(
                matches!(error, Error::Malformed { .. } | Error::InUse(_)),
                "{entries:?}: {error:?}"
            );
            // What was begun is removed in its own time; on this runtime that is the next turn.
            desk.run(ipfs_traits::RuntimeExt::sleep(
                &desk.runtime,
                std::time::Duration::from_secs(1),
            ));
            assert_eq!(files_below(folder.path()), before, "{entries:?}");
        }
    }
}

#[test]
fn what_is_at_the_target_is_never_touched() {
    let desk = Desk::new();
    let leaf = put(&desk, codes::RAW, b"new".to_vec());
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    fs::write(&target, "old").unwrap();
    let error = desk.run(desk.exporter().write(leaf.cid(), &target)).unwrap_err();
    assert!(matches!(error, Error::InUse(_)));
    assert_eq!(fs::read(&target).unwrap(), b"old");
    let error = desk.run(desk.exporter().write(leaf.cid(), "/")).unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "target", .. }));
}

/// Directories within directories, deeper than any system opens.
#[test]
fn a_tree_without_end_is_cut_off() {
    let desk = Desk::new();
    let mut node = directory_of(&desk, &[]);
    for _ in 0..1100 {
        node = directory_of(&desk, &[("d", &node)]);
    }
    let items: Vec<Result<Item>> = desk.run(desk.exporter().tree(node.cid()).collect());
    let Some(Err(error)) = items.last() else { panic!("{:?}", items.last()) };
    assert!(matches!(error.what(), Error::Limit { limit: 1024, .. }), "{error}");
}

/// A reader that stops reading holds what is in the window and no more.
#[test]
fn a_tree_of_many_files_is_not_fetched_ahead_without_end() {
    let desk = Desk::new();
    let files: Vec<Block> =
        (0..5000_u32).map(|i| put(&desk, codes::RAW, i.to_be_bytes().to_vec())).collect();
    let names: Vec<String> = (0..5000).map(|i| format!("{i:05}")).collect();
    let entries: Vec<(&str, &Block)> = names.iter().map(|n| &n[..]).zip(&files).collect();
    let root = directory_of(&desk, &entries);
    let (exporter, asked) = Watched::exporter(&desk);
    desk.run(async {
        let mut tree = exporter.tree(root.cid());
        for _ in 0..10 {
            tree.next().await.unwrap().unwrap();
        }
        let asked = asked.lock().unwrap().len();
        assert!(asked < 1200, "{asked} blocks for 10 items");
    });
}
