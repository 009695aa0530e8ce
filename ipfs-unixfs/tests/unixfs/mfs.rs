//! The mutable tree, against a model of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use ipfs_traits::{
    Batch, Block, BlockSource, Blockstore, BlockstoreExt, Bytes, Cid, Datastore, Error, HashTable,
    Local, Multihash, Result, VirtualRuntime, async_trait, codes,
    memory::{MemoryDatastore, MemoryStore},
};
use ipfs_unixfs::{
    Chunker, DirectoryEditor, Params, Sharding, StatKind, Target,
    data::Mtime,
    mfs::{FileOptions, Mfs, Options, Parts},
};
use proptest::prelude::*;

/// A store that forgets in a crash what was not flushed.
#[derive(Debug, Default)]
struct Volatile {
    durable: MemoryStore,
    fresh: Mutex<Vec<Block>>,
    all: MemoryStore,
}

impl Volatile {
    /// What is left after a loss of power.
    async fn crash(&self) -> Arc<Self> {
        let left = Self::default();
        let pages: Vec<Vec<_>> = self.durable.list().try_collect().await.unwrap();
        for (hash, _) in pages.concat() {
            let block = self.durable.get(&Cid::new_v1(codes::RAW, hash)).await.unwrap().unwrap();
            left.durable.put(block.clone()).await.unwrap();
            left.all.put(block).await.unwrap();
        }
        Arc::new(left)
    }
}

#[async_trait]
impl Blockstore for Volatile {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.all.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.all.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.fresh.lock().unwrap().extend_from_slice(blocks);
        self.all.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.all.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.all.list()
    }
    async fn flush(&self) -> Result<()> {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap());
        self.durable.put_many(&fresh).await
    }
}

pub(crate) fn options(params: Params) -> Options {
    Options { params, ..Options::default() }
}

/// A tree on a store and a datastore.
struct Desk {
    runtime: VirtualRuntime,
    store: Arc<Volatile>,
    datastore: Arc<MemoryDatastore>,
    params: Params,
}

impl Desk {
    fn new(params: Params) -> Self {
        let runtime = VirtualRuntime::new();
        Self { runtime, store: Arc::default(), datastore: Arc::default(), params }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    fn source(&self) -> Arc<dyn BlockSource> {
        Arc::new(Local(self.store.clone()))
    }

    fn parts(&self) -> Parts {
        Parts {
            source: self.source(),
            store: self.store.clone(),
            datastore: self.datastore.clone(),
            runtime: Arc::new(self.runtime.clone()),
        }
    }

    fn open(&self) -> Mfs {
        self.run(Mfs::open(self.parts(), options(self.params.clone()))).unwrap()
    }

    /// The same machine after a loss of power.
    fn crash(&mut self) -> Mfs {
        self.store = self.run(self.store.crash());
        self.open()
    }

    fn file(&self, content: u8) -> Cid {
        let block =
            Block::of(codes::RAW, codes::SHA2_256, vec![content; 20], &HashTable::standard());
        let block = block.unwrap();
        self.run(self.store.put(block.clone())).unwrap();
        *block.cid()
    }
}

/// What the tree should be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Model {
    Dir { mode: Option<u32>, mtime: Option<Mtime>, entries: BTreeMap<String, Self> },
    File(Target),
}

impl Model {
    const fn dir() -> Self {
        Self::Dir { mode: None, mtime: None, entries: BTreeMap::new() }
    }

    fn at(&mut self, path: &str) -> Option<&mut Self> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(self, |at, name| match at {
            Self::Dir { entries, .. } => entries.get_mut(name),
            Self::File(_) => None,
        })
    }

    /// The entries of the directory that a path stands in, and its name there.
    fn above<'a>(&mut self, path: &'a str) -> Option<(&mut BTreeMap<String, Self>, &'a str)> {
        let (above, name) = path.rsplit_once('/')?;
        match self.at(above)? {
            Self::Dir { entries, .. } if !name.is_empty() => Some((entries, name)),
            _ => None,
        }
    }

    /// Where it leads if it is made anew, entry by entry.
    fn root<'a>(&'a self, desk: &'a Desk) -> BoxFuture<'a, Target> {
        Box::pin(async move {
            let Self::Dir { mode, mtime, entries } = self else {
                let Self::File(target) = self else { unreachable!() };
                return *target;
            };
            let (source, hashes) = (desk.source(), HashTable::standard());
            let mut editor = DirectoryEditor::new(source, &desk.params, &hashes);
            editor.set_stat(*mode, *mtime);
            for (name, below) in entries {
                let target = below.root(desk).await;
                editor.insert(name.as_str(), target).await.unwrap();
            }
            editor.write(&MemoryStore::new()).await.unwrap()
        })
    }
}

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String, bool),
    Put(String, u8),
    Cp(String, String),
    Mv(String, String),
    Rm(String, bool),
    Chmod(String, Option<u32>),
    Touch(String, i64),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Stat(String),
    Flush,
    Crash,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "long name of an entry"]), 0..4)
        .prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (path(), any::<bool>()).prop_map(|(path, parents)| Op::Mkdir(path, parents)),
        4 => (path(), any::<u8>()).prop_map(|(path, content)| Op::Put(path, content)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Cp(from, to)),
        3 => (path(), path()).prop_map(|(from, to)| Op::Mv(from, to)),
        2 => (path(), any::<bool>()).prop_map(|(path, recursive)| Op::Rm(path, recursive)),
        1 => (path(), prop::option::of(1..0o777_u32)).prop_map(|(path, mode)| Op::Chmod(path, mode)),
        1 => (path(), 1..1000_i64).prop_map(|(path, seconds)| Op::Touch(path, seconds)),
        4 => (path(), 0..60_u64, prop::collection::vec(any::<u8>(), 1..60))
            .prop_map(|(path, at, data)| Op::Write(path, at, data)),
        1 => (path(), 0..80_u64).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => path().prop_map(Op::Stat),
        1 => Just(Op::Flush),
        1 => Just(Op::Crash),
    ]
}

/// Does to the model what an operation does to a tree, and says whether it may be done.
fn apply(model: &mut Model, desk: &Desk, op: &Op) -> bool {
    match op {
        Op::Mkdir(path, parents) => {
            if *parents {
                let mut at = &mut *model;
                let names = path.split('/').filter(|name| !name.is_empty());
                let backup = at.clone();
                for name in names {
                    let Model::Dir { entries, .. } = at else {
                        *model = backup;
                        return false;
                    };
                    at = entries.entry(name.into()).or_insert_with(Model::dir);
                }
                if matches!(at, Model::File(_)) {
                    *model = backup;
                    return false;
                }
                return true;
            }
            match model.above(path) {
                Some((entries, name)) if !entries.contains_key(name) => {
                    entries.insert(name.into(), Model::dir()).is_none()
                }
                _ => false,
            }
        }
        Op::Put(path, content) => {
            let target = Target { cid: desk.file(*content), dag_size: 20 };
            new_entry(model, path, Model::File(target))
        }
        Op::Cp(from, to) => match model.at(from).cloned() {
            Some(copied) => new_entry(model, to, copied),
            None => false,
        },
        Op::Mv(from, to) => mv(model, from, to),
        Op::Rm(path, recursive) => match model.above(path) {
            Some((entries, name)) => match entries.get(name) {
                Some(Model::Dir { .. }) if !recursive => false,
                _ => entries.remove(name).is_some(),
            },
            None => false,
        },
        Op::Chmod(path, new) => match model.at(path) {
            Some(Model::Dir { mode, .. }) => {
                *mode = *new;
                true
            }
            file => file.is_some(),
        },
        Op::Touch(path, seconds) => match model.at(path) {
            Some(Model::Dir { mtime, .. }) => {
                *mtime = Some(Mtime { seconds: *seconds, nanos: None });
                true
            }
            file => file.is_some(),
        },
        Op::Write(path, ..) => {
            let can_make = model.above(path).is_some();
            match model.at(path) {
                Some(Model::File(_)) => true,
                Some(Model::Dir { .. }) => false,
                None => can_make && new_entry(model, path, Model::File(nothing())),
            }
        }
        Op::Truncate(path, _) => matches!(model.at(path), Some(Model::File(_))),
        Op::Stat(path) => model.at(path).is_some(),
        Op::Flush | Op::Crash => true,
    }
}

/// A file whose content is told later.
fn nothing() -> Target {
    let block = Block::of(codes::RAW, codes::SHA2_256, "", &HashTable::standard()).unwrap();
    Target { cid: *block.cid(), dag_size: 0 }
}

fn new_entry(model: &mut Model, path: &str, new: Model) -> bool {
    match model.above(path) {
        Some((entries, name)) if !entries.contains_key(name) => {
            entries.insert(name.into(), new).is_none()
        }
        _ => false,
    }
}

fn mv(model: &mut Model, from: &str, to: &str) -> bool {
    let Some(moved) = model.at(from).cloned().filter(|_| !from.is_empty()) else {
        return false;
    };
    let name = from.rsplit('/').next().unwrap();
    let to = match model.at(to) {
        Some(Model::Dir { .. }) => format!("{to}/{name}"),
        _ => to.to_owned(),
    };
    let is_dir = matches!(moved, Model::Dir { .. });
    if is_dir && to.starts_with(&format!("{from}/")) {
        return false;
    }
    match model.at(&to) {
        _ if to == from => return true,
        Some(Model::Dir { .. }) => return false,
        _ => {}
    }
    let Some((entries, name)) = model.above(&to) else {
        return false;
    };
    entries.insert(name.into(), moved);
    if let Some((entries, name)) = model.above(from) {
        entries.remove(name);
    }
    true
}

async fn perform(mfs: &Mfs, desk: &Desk, op: &Op) -> Result<()> {
    match op {
        Op::Mkdir(path, parents) => mfs.mkdir(path, *parents).await,
        Op::Put(path, content) => {
            let block =
                Block::of(codes::RAW, codes::SHA2_256, vec![*content; 20], &HashTable::standard());
            let _ = desk;
            mfs.put(path, block.unwrap().cid()).await
        }
        Op::Cp(from, to) => mfs.cp(from, to).await,
        Op::Mv(from, to) => mfs.mv(from, to).await,
        Op::Rm(path, recursive) => mfs.rm(path, *recursive).await,
        Op::Chmod(path, mode) => mfs.chmod(path, *mode).await,
        Op::Touch(path, seconds) => {
            mfs.touch(path, Some(Mtime { seconds: *seconds, nanos: None })).await
        }
        Op::Write(path, at, data) => mfs.write(path, *at, data, FileOptions::write()).await,
        Op::Truncate(path, size) => mfs.truncate(path, *size).await,
        Op::Stat(path) => mfs.stat(path).await.map(drop),
        Op::Flush | Op::Crash => Ok(()),
    }
}

/// What the file holds that an operation writes to, if it is there.
fn contents(desk: &Desk, mfs: &Mfs, op: &Op) -> Option<Vec<u8>> {
    let (Op::Write(path, ..) | Op::Truncate(path, _)) = op else {
        return None;
    };
    desk.run(async {
        let file = mfs.read(path).await.ok()?;
        let runs: Vec<Bytes> = file.range(..).try_collect().await.unwrap();
        Some(runs.concat())
    })
}

/// What a file holds after a write.
fn written(mut content: Vec<u8>, op: &Op) -> Vec<u8> {
    match op {
        Op::Write(_, at, data) => {
            let (at, end) = (*at as usize, *at as usize + data.len());
            content.resize(content.len().max(end), 0);
            content[at..end].copy_from_slice(data);
        }
        Op::Truncate(_, size) => content.resize(*size as usize, 0),
        _ => {}
    }
    content
}

/// A file that was changed has another CID.
fn follow(desk: &Desk, mfs: &Mfs, model: &mut Model, path: &str) {
    if let Some(Model::File(target)) = model.at(path) {
        let stat = desk.run(mfs.stat(path)).unwrap();
        *target = Target { cid: stat.cid, dag_size: stat.dag_size };
    }
}

proptest! {
    #[test]
    fn a_tree_is_its_model_and_a_crash_gives_the_last_flush_back(
        ops in prop::collection::vec(op(), 1..60),
        threshold in prop::option::of(0..400_usize),
    ) {
        let sharding = threshold.map_or(Sharding::Never, Sharding::ByLinks);
        let mut desk = Desk::new(Params {
            sharding,
            fanout: 8,
            chunker: Chunker::fixed(16).unwrap(),
            ..Params::default()
        });
        let mut mfs = desk.open();
        let (mut model, mut flushed) = (Model::dir(), Model::dir());
        for op in ops {
            let before = contents(&desk, &mfs, &op);
            let may = apply(&mut model, &desk, &op);
            let done = desk.run(perform(&mfs, &desk, &op));
            prop_assert_eq!(done.is_ok(), may, "{:?}: {:?}", op, done);
            match &op {
                Op::Chmod(path, _) | Op::Touch(path, _) if may => {
                    follow(&desk, &mfs, &mut model, path);
                }
                Op::Write(path, ..) | Op::Truncate(path, _) if may => {
                    follow(&desk, &mfs, &mut model, path);
                    let expected = written(before.unwrap_or_default(), &op);
                    prop_assert_eq!(contents(&desk, &mfs, &op), Some(expected));
                }
                Op::Flush => {
                    let root = desk.run(mfs.flush()).unwrap();
                    prop_assert_eq!(root, desk.run(model.root(&desk)).cid);
                    flushed = model.clone();
                }
                Op::Crash => {
                    mfs = desk.crash();
                    model = flushed.clone();
                    let root = desk.run(mfs.stat("/")).unwrap();
                    prop_assert_eq!(root.cid, desk.run(model.root(&desk)).cid);
                }
                _ => {}
            }
        }
        let root = desk.run(mfs.flush()).unwrap();
        prop_assert_eq!(root, desk.run(model.root(&desk)).cid);
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        mfs.mkdir("/a/b", true).await.unwrap();
        assert!(matches!(mfs.mkdir("/a/b", false).await, Err(Error::Exists(path)) if path == "/a/b"));
        assert!(matches!(mfs.mkdir("/x/y", false).await, Err(Error::NoEntry { name, .. }) if name == "x"));
        assert!(matches!(mfs.mkdir("/", false).await, Err(Error::Exists(_))));
        assert!(matches!(mfs.rm("/a", false).await, Err(Error::WrongKind { .. })));
        assert!(matches!(mfs.rm("/", true).await, Err(Error::Invalid { .. })));
        assert!(matches!(mfs.mv("/a", "/a/b/c").await, Err(Error::Invalid { .. })));
        assert!(matches!(mfs.mv("/", "/a").await, Err(Error::Invalid { .. })));
        assert!(matches!(mfs.stat("/a/../b").await, Err(Error::Invalid { .. })));
        let absent = Block::of(codes::RAW, codes::SHA2_256, "absent", &HashTable::standard());
        let absent = *absent.unwrap().cid();
        assert!(matches!(mfs.put("/f", &absent).await, Err(Error::NotFound(cid)) if cid == absent));
        let cbor = Block::of(codes::DAG_CBOR, codes::SHA2_256, vec![0xa0], &HashTable::standard());
        desk.store.put(cbor.clone().unwrap()).await.unwrap();
        let put = mfs.put("/f", cbor.unwrap().cid()).await;
        assert!(matches!(put, Err(Error::UnknownCodec(_))));
    });
}

/// Two trees that keep their roots in one place: the second to flush is told, and nothing is lost.
#[test]
fn another_tree_in_the_same_place_is_seen() {
    let desk = Desk::new(Params::default());
    let (one, other) = (desk.open(), desk.open());
    desk.run(async {
        one.mkdir("/one", false).await.unwrap();
        other.mkdir("/other", false).await.unwrap();
        let root = one.flush().await.unwrap();
        assert!(matches!(other.flush().await, Err(Error::InUse(_))));
        let stored = desk.datastore.get(b"/local/filesroot").await.unwrap().unwrap();
        assert_eq!(stored, root.to_bytes());
    });
    let batch =
        Batch::new().put(Bytes::from_static(b"/local/filesroot"), Bytes::from_static(b"junk"));
    desk.run(desk.datastore.commit(batch)).unwrap();
    let opened = desk.run(Mfs::open(desk.parts(), Options::default()));
    assert!(opened.is_err(), "a root that is no CID");
}

#[test]
fn a_root_is_told_after_each_flush_that_changed_it() {
    let desk = Desk::new(Params::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let published: Arc<dyn Fn(Cid) + Send + Sync> =
        Arc::new(move |cid| tell.lock().unwrap().push(cid));
    let options = Options { published: Some(published), ..Options::default() };
    let mfs = desk.run(Mfs::open(desk.parts(), options)).unwrap();
    let (first, second) = desk.run(async {
        let first = mfs.flush().await.unwrap();
        mfs.flush().await.unwrap();
        mfs.mkdir("/a", false).await.unwrap();
        (first, mfs.flush().await.unwrap())
    });
    assert_eq!(*told.lock().unwrap(), [first, second]);
}

/// A source that gives one block only when it is let go.
#[derive(Debug)]
struct Slow {
    store: Arc<Volatile>,
    held: Mutex<Option<Cid>>,
    asked: AtomicBool,
}

#[async_trait]
impl BlockSource for Slow {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        if *self.held.lock().unwrap() == Some(*cid) {
            self.asked.store(true, Ordering::SeqCst);
            futures::future::pending::<()>().await;
        }
        Local(self.store.clone()).get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let (store, held) = (self.store.clone(), *self.held.lock().unwrap());
        self.asked.store(true, Ordering::SeqCst);
        cids.then(move |cid| {
            let store = store.clone();
            async move {
                if Some(cid) == held {
                    futures::future::pending::<()>().await;
                }
                (cid, Local(store).get(&cid).await)
            }
        })
        .boxed()
    }
}

/// Kubo's tree waits for the network under its locks, so that one block that nobody has stops all.
#[test]
fn what_waits_for_a_block_stops_nothing_else() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    let far = desk.run(async {
        mfs.mkdir("/far/below", true).await.unwrap();
        mfs.mkdir("/near", false).await.unwrap();
        mfs.flush().await.unwrap();
        mfs.stat("/far").await.unwrap().cid
    });
    let slow = Arc::new(Slow {
        store: desk.store.clone(),
        held: Mutex::new(Some(far)),
        asked: AtomicBool::new(false),
    });
    let parts = Parts { source: slow.clone(), ..desk.parts() };
    let mfs = desk.run(Mfs::open(parts, Options::default())).unwrap();
    desk.run(async {
        let waiting = mfs.mkdir("/far/more", false);
        let mut waiting = Box::pin(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(slow.asked.load(Ordering::SeqCst));
        mfs.mkdir("/near/more", false).await.unwrap();
        let root = mfs.flush().await.unwrap();
        assert!(futures::poll!(&mut waiting).is_pending());
        // Dropped, it has done nothing.
        drop(waiting);
        assert_eq!(mfs.flush().await.unwrap(), root);
        *slow.held.lock().unwrap() = None;
        let names: Vec<_> = mfs.list("/far").await.unwrap().try_collect().await.unwrap();
        assert_eq!(names.len(), 1);
    });
}

#[test]
fn one_change_in_a_large_tree_writes_its_way_alone() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    let file = desk.file(1);
    desk.run(async {
        for dir in 0..20 {
            mfs.mkdir(format!("/{dir}"), false).await.unwrap();
            for name in 0..500 {
                mfs.put(format!("/{dir}/file {name}"), &file).await.unwrap();
            }
        }
        mfs.flush().await.unwrap();
        desk.store.fresh.lock().unwrap().clear();
        mfs.rm("/7/file 77", false).await.unwrap();
        let root = mfs.target_blocks(&desk).await;
        assert_eq!(root, 2, "its directory, and the root");
    });
}

trait Counted {
    fn target_blocks(&self, desk: &Desk) -> impl Future<Output = usize>;
}

impl Counted for Mfs {
    /// How many blocks a flush puts.
    async fn target_blocks(&self, desk: &Desk) -> usize {
        self.stat("/").await.unwrap();
        let count = desk.store.fresh.lock().unwrap().len();
        self.flush().await.unwrap();
        count
    }
}

#[test]
fn a_directory_can_get_other_cids() {
    let desk = Desk::new(Params::unixfs_v0_2015());
    let mfs = desk.open();
    desk.run(async {
        mfs.mkdir("/a/b", true).await.unwrap();
        mfs.set_cid_format("/a", cid::Version::V1, codes::SHA2_512).await.unwrap();
        let a = mfs.stat("/a").await.unwrap();
        assert_eq!((a.cid.version(), a.cid.hash().code()), (cid::Version::V1, codes::SHA2_512));
        assert_eq!(mfs.stat("/a/b").await.unwrap().cid.version(), cid::Version::V0);
        assert!(matches!(a.kind, StatKind::Directory { .. }));
        mfs.flush().await.unwrap();
        // It stays so when it is opened again.
        let again = Mfs::open(desk.parts(), options(desk.params.clone())).await.unwrap();
        again.rm("/a/b", true).await.unwrap();
        assert_eq!(again.stat("/a").await.unwrap().cid.hash().code(), codes::SHA2_512);
        let format = mfs.set_cid_format("/a", cid::Version::V0, codes::SHA2_512).await;
        assert!(matches!(format, Err(Error::Invalid { .. })));
    });
}

#[test]
fn a_file_has_one_writer_or_many_readers() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        let read = FileOptions::default();
        assert!(matches!(mfs.open_file("/f", read).await, Err(Error::NoEntry { .. })));
        mfs.write("/f", 0, "first", FileOptions::write()).await.unwrap();
        let mut one = mfs.open_file("/f", read).await.unwrap();
        let other = mfs.open_file("/f", read).await.unwrap();
        assert!(matches!(one.write_at(0, "x").await, Err(Error::Invalid { .. })));
        let mut writer = Box::pin(mfs.open_file("/f", FileOptions::write()));
        assert!(futures::poll!(&mut writer).is_pending());
        drop(one);
        assert!(futures::poll!(&mut writer).is_pending());
        drop(other);
        let mut writer = writer.await.unwrap();
        let mut waiting = Box::pin(mfs.open_file("/f", read));
        assert!(futures::poll!(&mut waiting).is_pending());
        writer.append(" and second").await.unwrap();
        // Without a flush it is lost.
        drop(writer);
        let reader = waiting.await.unwrap();
        assert_eq!(reader.size().await.unwrap(), 5);
        // Others are not kept from anything meanwhile.
        mfs.write("/g", 0, "other", FileOptions::write()).await.unwrap();
        drop(reader);
    });
}

#[test]
fn a_file_that_is_moved_or_removed_while_it_is_open_goes_on() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        mfs.mkdir("/a", false).await.unwrap();
        let options = FileOptions { parents: true, ..FileOptions::write() };
        let mut file = mfs.open_file("/a/b/f", options).await.unwrap();
        file.append("one").await.unwrap();
        mfs.mv("/a/b", "/b").await.unwrap();
        mfs.mv("/b/f", "/b/g").await.unwrap();
        // What is stored is closed, but not what is in use.
        mfs.flush().await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(mfs.read("/b/g").await.unwrap().size(), 3);
        let root = mfs.flush().await.unwrap();
        mfs.rm("/b", true).await.unwrap();
        file.append("two").await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(file.size().await.unwrap(), 6);
        assert!(mfs.stat("/b").await.is_err());
        drop(file);
        assert_ne!(mfs.flush().await.unwrap(), root);
        let names: Vec<_> = mfs.list("/").await.unwrap().try_collect().await.unwrap();
        assert_eq!(names.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>(), ["a"]);
    });
}

/// Kubo's tree tells the time of a change of a file that has one, and of no other.
#[test]
fn what_has_a_time_gets_that_of_its_change() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        let mtime = Some(Mtime { seconds: 1, nanos: None });
        for path in ["/timed", "/plain"] {
            mfs.write(path, 0, "a", FileOptions::write()).await.unwrap();
        }
        mfs.touch("/timed", mtime).await.unwrap();
        for path in ["/timed", "/plain"] {
            mfs.write(path, 1, "b", FileOptions::write()).await.unwrap();
        }
        let timed = mfs.stat("/timed").await.unwrap().mtime;
        assert!(timed.is_some() && timed != mtime);
        assert_eq!(mfs.stat("/plain").await.unwrap().mtime, None);
    });
}
