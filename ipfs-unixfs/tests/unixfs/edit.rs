//! Files that are changed in place: against a model, an import, and what Kubo makes of them.

use std::sync::Arc;

use futures::TryStreamExt;
use ipfs_traits::{Block, BlockSource, Cid, Error, HashTable, Local, codes};
use ipfs_unixfs::{
    Chunker, FileEditor, Layout, Params, Target, dagpb,
    data::{Kind, Mtime, NewData},
};
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    content::Desk,
    support::{Report, table},
};

impl Desk {
    pub(crate) fn source(&self) -> Arc<dyn BlockSource> {
        Arc::new(Local(self.store.clone()))
    }

    fn edit(&self, cid: Option<&Cid>, params: &Params) -> ipfs_traits::Result<FileEditor> {
        let runtime = Arc::new(self.runtime.clone());
        let (source, store) = (self.source(), self.store.clone());
        match cid {
            None => Ok(FileEditor::create(source, store, runtime, params)),
            Some(cid) => self.run(FileEditor::open(source, store, runtime, cid, params)),
        }
    }

    fn content(&self, target: Target) -> Vec<u8> {
        let exporter = self.exporter();
        self.run(async {
            let file = exporter.open(&target.cid).await.unwrap();
            let runs: Vec<_> = file.range(..).try_collect().await.unwrap();
            runs.concat()
        })
    }
}

/// Bytes that differ from write to write, as the cases were made with.
fn bytes(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + number * 13 + (at >> 8)) as u8).collect()
}

#[test]
fn cids_of_files_that_were_changed() {
    let path = "unixfs/edits.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let desk = Desk::new();
        let options: Value = serde_json::from_str(&case["options"]).unwrap();
        let v1 = options["cid_version"] == 1;
        let chunker: Chunker = options["chunker"].as_str().unwrap().parse().unwrap();
        let raw_leaves = options["raw_leaves"].as_bool().unwrap();
        let profile = if v1 { Params::unixfs_v1_2025() } else { Params::unixfs_v0_2015() };
        let params = Params { chunker, raw_leaves, max_links: 174, ..profile };
        let mut model = Vec::new();
        let start = (!case["file"].is_empty()).then(|| {
            let file: Value = serde_json::from_str(&case["file"]).unwrap();
            let layout = match &file["layout"] {
                Value::String(layout) if layout == "trickle" => Layout::Trickle,
                _ => Layout::Balanced,
            };
            model = bytes(99, file["size"].as_u64().unwrap() as usize);
            let added = desk.import_bytes(model.clone(), Params { layout, ..params.clone() });
            assert_eq!(added.cid.to_string(), file["cid"].as_str().unwrap(), "{}", case.id());
            added.cid
        });
        let params = Params { layout: Layout::Trickle, ..params };
        let mut root = start;
        let writes: Value = serde_json::from_str(&case["writes"]).unwrap();
        for write in writes.as_array().unwrap() {
            let number = |at: usize| write[at].as_u64().unwrap_or_default() as usize;
            let (offset, data) = (number(0), bytes(number(2), number(1)));
            // A file that Kubo makes is a node; what it is opened with says whether leaves are raw.
            let mut file = desk.edit(root.as_ref(), &params).unwrap();
            desk.run(async {
                if number(3) == 1 {
                    file.truncate(0).await.unwrap();
                    model.clear();
                }
                if offset as u64 > file.size() {
                    file.truncate(offset as u64).await.unwrap();
                    model.resize(offset, 0);
                }
                file.write_at(offset as u64, &data).await.unwrap();
            });
            model.resize(model.len().max(offset + data.len()), 0);
            model[offset..offset + data.len()].copy_from_slice(&data);
            root = Some(desk.run(file.flush()).unwrap().cid);
        }
        let root = root.unwrap();
        assert!(desk.content(Target { cid: root, dag_size: 0 }) == model, "{}", case.id());
        report.same(case.id(), &*root.to_string(), &case["cid"]);
    }
    report.finish();
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Append(Vec<u8>),
    Truncate(u64),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let data = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        3 => (0..800_u64, data()).prop_map(|(at, data)| Step::Write(at, data)),
        3 => data().prop_map(Step::Append),
        2 => (0..800_u64).prop_map(Step::Truncate),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

fn params() -> impl Strategy<Value = Params> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1..40_usize, 2..6_usize).prop_map(
        |(v1, raw_leaves, trickle, size, max_links)| Params {
            raw_leaves,
            max_links,
            chunker: Chunker::fixed(size).unwrap(),
            layout: if trickle { Layout::Trickle } else { Layout::Balanced },
            ..if v1 { Params::unixfs_v1_2025() } else { Params::unixfs_v0_2015() }
        },
    )
}

proptest! {
    #[test]
    fn a_file_is_the_bytes_that_were_written(
        params in params(),
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let desk = Desk::new();
        let mut file = desk.edit(None, &params).unwrap();
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Write(at, data) => {
                    desk.run(file.write_at(at, &data)).unwrap();
                    let (at, end) = (at as usize, at as usize + data.len());
                    if !data.is_empty() {
                        model.resize(model.len().max(end), 0);
                        model[at..end].copy_from_slice(&data);
                    }
                }
                Step::Append(data) => {
                    desk.run(file.append(&data)).unwrap();
                    model.extend(data);
                }
                Step::Truncate(size) => {
                    desk.run(file.truncate(size)).unwrap();
                    model.resize(size as usize, 0);
                }
                Step::Flush => {
                    let target = desk.run(file.flush()).unwrap();
                    prop_assert!(desk.content(target) == model);
                }
                Step::Reopen => {
                    let target = desk.run(file.flush()).unwrap();
                    file = desk.edit(Some(&target.cid), &params).unwrap();
                }
            }
            prop_assert_eq!(file.size(), model.len() as u64);
        }
        let target = desk.run(file.flush()).unwrap();
        prop_assert!(desk.content(target) == model);
        if params.layout == Layout::Balanced {
            let imported = desk.import_bytes(model, params);
            prop_assert_eq!((target.cid, target.dag_size), (imported.cid, imported.dag_size));
        }
    }

    #[test]
    fn what_is_appended_is_cut_as_if_it_had_been_there(
        sizes in prop::collection::vec(0..3000_usize, 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let desk = Desk::new();
        let params = Params { chunker: "rabin-64-128-256".parse().unwrap(), max_links: 4, ..Params::default() };
        let mut file = desk.edit(None, &params).unwrap();
        let mut model = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let data = bytes(number, size);
            desk.run(async {
                file.append(&data).await.unwrap();
                file.flush().await.unwrap();
            });
            model.extend(data);
        }
        if let Some(cut) = cut {
            let size = cut.index(model.len() + 1);
            desk.run(file.truncate(size as u64)).unwrap();
            model.truncate(size);
        }
        let target = desk.run(file.flush()).unwrap();
        prop_assert_eq!(target.cid, desk.import_bytes(model, params).cid);
    }
}

#[test]
fn modes_and_times_stay_with_what_is_changed() {
    for layout in [Layout::Balanced, Layout::Trickle] {
        let desk = Desk::new();
        let params = Params { layout, chunker: Chunker::fixed(4).unwrap(), ..Params::default() };
        let mut file = desk.edit(None, &params).unwrap();
        let mtime = Some(Mtime { seconds: 5, nanos: None });
        desk.run(async {
            file.append("abc").await.unwrap();
            file.set_stat(Some(0o640), mtime).await.unwrap();
            for more in ["d", "efghi"] {
                file.append(more).await.unwrap();
                file.flush().await.unwrap();
            }
            file.truncate(2).await.unwrap();
            let target = file.flush().await.unwrap();
            let node = desk.store_node(&target.cid).await;
            let data = ipfs_unixfs::data::Data::parse(node.data().unwrap()).unwrap();
            assert_eq!((data.mode(), data.mtime()), (Some(0o640), mtime), "{layout:?}");
        });
    }
}

impl Desk {
    async fn store_node(&self, cid: &Cid) -> dagpb::Node {
        let block = self.source().get(cid).await.unwrap();
        dagpb::Node::parse(block.data().clone()).unwrap()
    }

    fn dag_pb(&self, links: &[(Cid, u64)], data: &NewData<'_>) -> Cid {
        let links =
            links.iter().map(|(cid, _)| dagpb::Link { cid: *cid, name: Some(b""), tsize: Some(1) });
        let bytes = dagpb::encode(links.collect::<Vec<_>>(), Some(&data.encode()));
        let block =
            Block::of(codes::DAG_PB, codes::SHA2_256, bytes, &HashTable::standard()).unwrap();
        let cid = *block.cid();
        use ipfs_traits::BlockstoreExt;
        self.run(self.store.put(block)).unwrap();
        cid
    }
}

#[test]
fn trees_that_cannot_be_changed_say_why() {
    let desk = Desk::new();
    let params = Params::default();
    let file = |size: u64, sizes: Vec<u64>| NewData {
        file_size: Some(size),
        block_sizes: sizes,
        ..NewData::of(Kind::File)
    };
    let leaf = desk.import_bytes(b"leaf".to_vec(), params.clone()).cid;
    // It says that its leaf is longer than it is.
    let lies = desk.dag_pb(&[(leaf, 5)], &file(5, vec![5]));
    for layout in [Layout::Balanced, Layout::Trickle] {
        let params = Params { layout, ..params.clone() };
        let mut editor = desk.edit(Some(&lies), &params).unwrap();
        desk.run(editor.write_at(1, "x")).unwrap();
        assert!(matches!(desk.run(editor.flush()), Err(Error::Malformed { .. })));
        let mut editor = desk.edit(Some(&lies), &params).unwrap();
        assert!(matches!(desk.run(editor.truncate(1)), Err(Error::Malformed { .. })));
    }
    let open = |cid: &Cid| desk.edit(Some(cid), &params).map(drop).unwrap_err();
    for (links, sizes) in [(1, vec![]), (2, vec![4]), (1, vec![4, 4])] {
        // The sum agrees with what can be paired.
        let size = 4 * links.min(sizes.len()) as u64;
        let unpaired = desk.dag_pb(&vec![(leaf, 4); links], &file(size, sizes));
        assert!(matches!(open(&unpaired), Error::Malformed { .. }));
    }
    let sum = desk.dag_pb(&[(leaf, 4)], &file(9, vec![4]));
    assert!(matches!(open(&sum), Error::Malformed { .. }));
    let beyond = desk.dag_pb(
        &[(leaf, 4), (leaf, 4)],
        &NewData { block_sizes: vec![u64::MAX, 2], ..NewData::of(Kind::File) },
    );
    assert!(matches!(open(&beyond), Error::Malformed { .. }));
    let directory = desk.dag_pb(&[], &NewData::of(Kind::Directory));
    assert!(matches!(open(&directory), Error::WrongKind { .. }));
    // Deeper than any file that somebody made.
    let mut deep = leaf;
    for _ in 0..100 {
        deep = desk.dag_pb(&[(deep, 4)], &file(4, vec![4]));
    }
    for layout in [Layout::Balanced, Layout::Trickle] {
        let params = Params { layout, ..params.clone() };
        let mut editor = desk.edit(Some(&deep), &params).unwrap();
        desk.run(editor.write_at(0, "x")).unwrap();
        assert!(matches!(desk.run(editor.flush()), Err(Error::Limit { .. })));
        let mut editor = desk.edit(Some(&deep), &params).unwrap();
        assert!(matches!(desk.run(editor.truncate(1)), Err(Error::Limit { .. })));
    }
    let mut editor = desk.edit(None, &params).unwrap();
    assert!(matches!(desk.run(editor.write_at(u64::MAX, "x")), Err(Error::Limit { .. })));
    assert!(matches!(desk.run(editor.truncate(5 << 30)), Err(Error::Limit { .. })));
    assert!(matches!(desk.run(editor.write_at(5 << 30, "x")), Err(Error::Limit { .. })));
    assert_eq!(editor.size(), 0);
}

/// A write reads and makes anew the leaf that it covers, and the nodes above it.
#[test]
fn a_write_costs_the_depth_of_the_tree() {
    let desk = Desk::new();
    let params =
        Params { chunker: Chunker::fixed(10).unwrap(), max_links: 10, ..Params::default() };
    let added = desk.import_bytes(bytes(1, 10_000), params.clone());
    for layout in [Layout::Balanced, Layout::Trickle] {
        let before = desk.count();
        let params = Params { layout, ..params.clone() };
        let mut file = desk.edit(Some(&added.cid), &params).unwrap();
        desk.run(async {
            file.write_at(5_003, "here").await.unwrap();
            file.flush().await.unwrap();
        });
        assert_eq!(desk.count() - before, if layout == Layout::Balanced { 4 } else { 0 });
    }
}

impl Desk {
    fn count(&self) -> usize {
        use ipfs_traits::Blockstore;
        let pages: Vec<Vec<_>> = self.run(self.store.list().try_collect()).unwrap();
        pages.concat().len()
    }
}
