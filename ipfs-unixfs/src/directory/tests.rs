use std::{collections::BTreeMap, sync::Arc};

use ipfs_traits::{
    Block, BlockSource, Blockstore, Bytes, Cid, Error, HashTable, Local, VirtualRuntime,
    async_trait, codes, memory::MemoryStore,
};
use proptest::prelude::*;

use super::*;
use crate::{Name, Params, Sharding, attributes::Attributes, child::Child};

/// A change of a directory: where an entry leads now, or that it is gone.
type Change = (u8, Option<u8>);

fn target(number: u8) -> Target {
    let block = Block::of(codes::RAW, codes::SHA2_256, vec![number], &HashTable::standard());
    Target { cid: *block.unwrap().cid(), dag_size: u64::from(number) * 100 }
}

fn params() -> impl Strategy<Value = Params> {
    let sharding = prop_oneof![
        Just(Sharding::Never),
        (0..1500_usize).prop_map(Sharding::ByLinks),
        (0..1500_usize).prop_map(Sharding::ByBlock),
    ];
    let v1 = any::<bool>();
    (sharding, prop::option::of(1..30_usize), 3..=10_u32, v1).prop_map(
        |(sharding, max_directory_links, bits, v1)| Params {
            sharding,
            max_directory_links,
            fanout: 1 << bits,
            ..if v1 { Params::unixfs_v1_2025() } else { Params::unixfs_v0_2015() }
        },
    )
}

struct Desk {
    runtime: VirtualRuntime,
    store: Arc<MemoryStore>,
    params: Params,
}

impl Desk {
    fn new(params: Params) -> Self {
        Self { runtime: VirtualRuntime::new(), store: Arc::default(), params }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    fn source(&self) -> Arc<dyn BlockSource> {
        Arc::new(Local(self.store.clone()))
    }

    fn editor(&self) -> DirectoryEditor {
        DirectoryEditor::new(self.source(), &self.params, &HashTable::standard())
    }

    fn open(&self, cid: &Cid) -> ipfs_traits::Result<DirectoryEditor> {
        let hashes = HashTable::standard();
        self.run(DirectoryEditor::open(self.source(), cid, &self.params, &hashes))
    }

    /// The root of these entries, made at once.
    fn at_once(&self, entries: &BTreeMap<Name, Target>, attributes: Attributes) -> Target {
        let entries = entries
            .iter()
            .rev()
            .map(|(name, to)| (name.clone(), Child { cid: to.cid, size: 0, tsize: to.dag_size }));
        let hashes = HashTable::standard();
        let mut new =
            NewDirectory::new(&self.params, &hashes, entries.collect(), attributes).unwrap();
        loop {
            if let (_, Some(root)) = new.step().unwrap() {
                return root.into();
            }
        }
    }
}

fn name(number: u8) -> Name {
    // Some are long, so that sizes differ.
    format!("name{}", "x".repeat(usize::from(number % 40)) + &number.to_string()).into()
}

fn entries_of(desk: &Desk, editor: &DirectoryEditor) -> BTreeMap<Name, Target> {
    let mut found = BTreeMap::new();
    let each = editor.for_each(|name, target| {
        assert!(found.insert(name.clone(), target).is_none());
    });
    desk.run(each).unwrap();
    found
}

proptest! {
    /// What a directory is depends on its entries alone, whatever was put in and taken out, written
    /// and opened on the way.
    #[test]
    fn it_is_a_map_and_its_cid_depends_on_its_entries_alone(
        params in params(),
        steps in prop::collection::vec(
            (prop::collection::vec(any::<Change>(), 1..30), any::<bool>()), 1..6
        ),
        mode in prop::option::of(1..0o777_u32),
    ) {
        let desk = Desk::new(params);
        let mut editor = desk.editor();
        editor.set_stat(mode, None);
        let mut model = BTreeMap::new();
        for (changes, reopen) in steps {
            for (number, to) in changes {
                let name = name(number);
                let (old, was) = match to.map(target) {
                    Some(to) => (
                        desk.run(editor.insert(name.clone(), to)).unwrap(),
                        model.insert(name.clone(), to),
                    ),
                    None => (desk.run(editor.remove(&name)).unwrap(), model.remove(&name)),
                };
                prop_assert_eq!(old, was);
                prop_assert_eq!(desk.run(editor.get(&name)).unwrap(), to.map(target));
            }
            prop_assert_eq!(&entries_of(&desk, &editor), &model);
            let written = desk.run(editor.write(&desk.store)).unwrap();
            prop_assert_eq!(written, desk.at_once(&model, Attributes { mode, mtime: None }));
            prop_assert_eq!(&entries_of(&desk, &editor), &model);
            if reopen {
                editor = desk.open(&written.cid).unwrap();
                prop_assert_eq!(editor.mode(), mode);
                prop_assert_eq!(&entries_of(&desk, &editor), &model);
            }
        }
    }
}

/// A store that counts what is read and written.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryStore,
    counts: std::sync::Mutex<(usize, usize)>,
    /// Whether puts fail.
    full: std::sync::atomic::AtomicBool,
}

impl Counting {
    /// Blocks read and written since the last call.
    fn take(&self) -> (usize, usize) {
        std::mem::take(&mut self.counts.lock().unwrap())
    }
}

#[async_trait]
impl Blockstore for Counting {
    async fn get_many(&self, cids: &[Cid]) -> Vec<ipfs_traits::Result<Option<Block>>> {
        self.counts.lock().unwrap().0 += cids.len();
        self.store.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> ipfs_traits::Result<Vec<Option<u64>>> {
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> ipfs_traits::Result<()> {
        if self.full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Full { used: 0, limit: 0 });
        }
        self.counts.lock().unwrap().1 += blocks.len();
        self.store.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> ipfs_traits::Result<()> {
        self.store.delete_many(cids).await
    }
    fn list(
        &self,
    ) -> futures_core::stream::BoxStream<
        'static,
        ipfs_traits::Result<Vec<(ipfs_traits::Multihash, u64)>>,
    > {
        self.store.list()
    }
    async fn flush(&self) -> ipfs_traits::Result<()> {
        Ok(())
    }
}

fn large() -> BTreeMap<Name, Target> {
    (0..20_000_u32).map(|number| (format!("entry {number}").into(), target(number as u8))).collect()
}

#[test]
fn a_change_touches_the_way_of_its_name_alone() {
    let runtime = VirtualRuntime::new();
    let store = Arc::new(Counting::default());
    let source = || Arc::new(Local(store.clone()));
    let (params, hashes) = (Params::default(), HashTable::standard());
    let mut editor = DirectoryEditor::new(source(), &params, &hashes);
    runtime
        .block_on(async {
            for (name, target) in large() {
                editor.insert(name, target).await.unwrap();
            }
            let root = editor.write(&store).await.unwrap();
            store.take();
            // 20,000 names stand at the third level of 256 each.
            let mut editor =
                DirectoryEditor::open(source(), &root.cid, &params, &hashes).await.unwrap();
            editor.insert("new", target(1)).await.unwrap();
            editor.write(&store).await.unwrap();
            let (read, written) = store.take();
            assert!((2..=3).contains(&read), "{read}");
            assert!((2..=3).contains(&written), "{written}");
            // To see whether all would fit one block a removal must read on, but only until it knows,
            // and then not soon again.
            editor.remove("entry 7").await.unwrap();
            let (read, _) = store.take();
            assert!(read > 100, "{read}");
            for number in 8..1000 {
                editor.remove(format!("entry {number}")).await.unwrap();
            }
            editor.write(&store).await.unwrap();
            store.take();
            editor.remove("entry 1000").await.unwrap();
            editor.write(&store).await.unwrap();
            let (read, written) = store.take();
            assert!(read <= 3, "{read}");
            assert!((2..=3).contains(&written), "{written}");
        })
        .unwrap();
}

#[test]
fn what_a_store_does_not_take_is_written_later() {
    let runtime = VirtualRuntime::new();
    let store = Arc::new(Counting::default());
    let (params, hashes) = (Params::default(), HashTable::standard());
    runtime
        .block_on(async {
            let source = Arc::new(Local(store.clone()));
            let mut editor = DirectoryEditor::new(source.clone(), &params, &hashes);
            for (name, target) in large() {
                editor.insert(name, target).await.unwrap();
            }
            store.full.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(matches!(editor.write(&store).await, Err(Error::Full { .. })));
            assert_eq!(editor.get("entry 7").await.unwrap(), Some(target(7)));
            store.full.store(false, std::sync::atomic::Ordering::Relaxed);
            let root = editor.write(&store).await.unwrap();
            let again = DirectoryEditor::open(source, &root.cid, &params, &hashes).await.unwrap();
            let mut count = 0;
            again.for_each(|_, _| count += 1).await.unwrap();
            assert_eq!(count, 20_000);
        })
        .unwrap();
}

/// A source that has lost a block below a change keeps the change from happening, and nothing else.
#[test]
fn a_change_that_cannot_be_finished_is_undone() {
    let desk =
        Desk::new(Params { sharding: Sharding::ByLinks(3000), fanout: 8, ..Params::default() });
    let mut editor = desk.editor();
    for number in 0..80 {
        desk.run(editor.insert(name(number), target(number))).unwrap();
    }
    let whole = desk.run(editor.write(&desk.store)).unwrap();
    let mut editor = desk.open(&whole.cid).unwrap();
    let first = name(0);
    assert!(desk.run(editor.get(&first)).unwrap().is_some());
    // All that is not loaded by now is lost.
    let all: Vec<Cid> = desk.store_cids();
    desk.run(desk.store.delete_many(&all)).unwrap();
    assert!(matches!(desk.run(editor.remove(&first)), Err(Error::NotFound(_))));
    assert_eq!(desk.run(editor.get(&first)).unwrap(), Some(target(0)));
    let root = desk.run(editor.write(&desk.store)).unwrap();
    assert_eq!(root, whole);
}

impl Desk {
    fn store_cids(&self) -> Vec<Cid> {
        use futures_util::TryStreamExt;
        let pages: Vec<Vec<_>> = self.run(self.store.list().try_collect()).unwrap();
        pages.concat().into_iter().map(|(hash, _)| Cid::new_v1(codes::RAW, hash)).collect()
    }
}

#[test]
fn names_that_are_twice_there_or_empty_are_refused() {
    let desk = Desk::new(Params::default());
    let twice =
        vec![(Name::from("a"), child()), (Name::from("b"), child()), (Name::from("a"), child())];
    for sharding in [Sharding::Never, Sharding::ByLinks(0)] {
        let params = Params { sharding, ..Params::default() };
        let hashes = HashTable::standard();
        let new = NewDirectory::new(&params, &hashes, twice.clone(), Attributes::NONE);
        assert!(matches!(new, Err(Error::Invalid { what: "entries", .. })));
    }
    let mut editor = desk.editor();
    assert!(matches!(desk.run(editor.insert("", target(1))), Err(Error::Invalid { .. })));
    // A block with two entries of one name can be read, and not changed.
    let link = target(1).link(b"a");
    let data = crate::data::NewData::of(crate::data::Kind::Directory).encode();
    let bytes = Bytes::from(crate::dagpb::encode([link, link], Some(&data)));
    let block = Block::of(codes::DAG_PB, codes::SHA2_256, bytes, &HashTable::standard()).unwrap();
    desk.run(desk.store.put_many(std::slice::from_ref(&block))).unwrap();
    assert!(matches!(desk.open(block.cid()), Err(Error::Malformed { .. })));
}

#[test]
fn many_at_once_are_as_one_after_the_other() {
    for sharding in [Sharding::Never, Sharding::ByLinks(500)] {
        let desk = Desk::new(Params { sharding, fanout: 8, ..Params::default() });
        let (mut one, mut many) = (desk.editor(), desk.editor());
        // Some names come twice.
        let entries: Vec<_> = (0..250).map(|n| ((n % 200).to_string(), target(n))).collect();
        for (name, target) in entries.clone() {
            desk.run(one.insert(name, target)).unwrap();
        }
        desk.run(many.insert("0", target(255))).unwrap();
        desk.run(many.extend(entries)).unwrap();
        let written = desk.run(many.write(&desk.store)).unwrap();
        assert_eq!(written, desk.run(one.write(&desk.store)).unwrap());
        let refused = desk.run(many.extend([("", target(1))]));
        assert!(matches!(refused, Err(Error::Invalid { .. })));
    }
}

/// However few bytes a block may have.
#[test]
fn a_directory_without_entries_is_one_block() {
    let desk = Desk::new(Params { sharding: Sharding::ByBlock(1), ..Params::default() });
    let mut editor = desk.editor();
    let empty = desk.run(editor.write(&desk.store)).unwrap();
    assert_eq!(empty.dag_size, 4);
    desk.run(editor.insert("a", target(1))).unwrap();
    assert_ne!(desk.run(editor.write(&desk.store)).unwrap().dag_size, 4);
    desk.run(editor.remove("a")).unwrap();
    assert_eq!(desk.run(editor.write(&desk.store)).unwrap(), empty);
    assert_eq!(desk.at_once(&BTreeMap::new(), Attributes::NONE), empty);
}

/// A node of a sharded directory whose fanout is not that of the node above it.
#[test]
fn fanouts_that_differ_are_refused() {
    let desk = Desk::new(Params { sharding: Sharding::ByLinks(0), fanout: 8, ..Params::default() });
    let mut editor = desk.editor();
    for n in 0..20 {
        desk.run(editor.insert(n.to_string(), target(n))).unwrap();
    }
    let whole = desk.run(editor.write(&desk.store)).unwrap();
    let block = desk.run(desk.source().get(&whole.cid)).unwrap();
    let node = crate::dagpb::Node::parse(block.data().clone()).unwrap();
    let data = crate::data::NewData {
        content: Some(&[1; 2]),
        hash_type: Some(0x22),
        fanout: Some(16),
        ..crate::data::NewData::of(crate::data::Kind::HamtShard)
    };
    let leaf = crate::dagpb::Link { cid: target(0).cid, name: Some(b"0x"), tsize: Some(1) };
    let other = crate::dagpb::Link { name: Some(b"8x"), ..leaf };
    let wrong = Bytes::from(crate::dagpb::encode([leaf, other], Some(&data.encode())));
    let wrong = Block::of(codes::DAG_PB, codes::SHA2_256, wrong, &HashTable::standard()).unwrap();
    // In the place of every node below the root.
    let links: Vec<_> = node
        .links()
        .map(|link| match link.name {
            Some([_]) => crate::dagpb::Link { cid: *wrong.cid(), ..link },
            _ => link,
        })
        .collect();
    let root = Bytes::from(crate::dagpb::encode(links, node.data().as_deref()));
    let root = Block::of(codes::DAG_PB, codes::SHA2_256, root, &HashTable::standard()).unwrap();
    desk.run(desk.store.put_many(&[wrong, root.clone()])).unwrap();
    let mut editor = desk.open(root.cid()).unwrap();
    let mut refused = 0;
    for n in 0..20 {
        let got = desk.run(editor.get(n.to_string()));
        refused += usize::from(matches!(got, Err(Error::Malformed { what: "HAMT shard", .. })));
        assert!(!matches!(got, Ok(None)), "{n}");
    }
    assert!(refused > 0);
}

fn child() -> Child {
    Child { cid: target(1).cid, size: 0, tsize: 1 }
}

#[test]
fn names_whose_hashes_agree_cannot_be_told_apart() {
    // Two names of 16 bytes that MurmurHash3 gives one hash.
    let (a, b) = crate::hamt::colliding_names();
    let desk = Desk::new(Params { sharding: Sharding::ByLinks(0), ..Params::default() });
    let mut editor = desk.editor();
    desk.run(editor.insert(a.clone(), target(1))).unwrap();
    assert!(matches!(
        desk.run(editor.insert(b.clone(), target(2))),
        Err(Error::Limit { limit: 8, .. })
    ));
    assert_eq!(entries_of(&desk, &editor), BTreeMap::from([(a.clone(), target(1))]));
    let entries = vec![(a, child()), (b, child())];
    let new = NewDirectory::new(&desk.params, &HashTable::standard(), entries, Attributes::NONE);
    assert!(matches!(new, Err(Error::Limit { .. })));
}
