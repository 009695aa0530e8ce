//! The mutable tree.

mod files;
mod kubo;
mod model;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use ipfs_traits::{
    Batch, Block, BlockSource, Blockstore, BlockstoreExt, Bytes, Cid, Datastore, Error, HashTable,
    Local, Multihash, Result, VirtualRuntime, async_trait, codes,
    memory::{MemoryDatastore, MemoryStore},
};
use ipfs_unixfs::{
    Params, StatKind,
    mfs::{FileOptions, Mfs, Options, Parts},
};

/// A store that forgets in a crash what was not flushed.
#[derive(Debug, Default)]
struct Volatile {
    durable: MemoryStore,
    fresh: Mutex<Vec<Block>>,
    all: MemoryStore,
    after_put: Mutex<Meanwhile>,
}

/// What happens next, once, while a put is not done yet.
#[derive(Default)]
struct Meanwhile(Option<BoxFuture<'static, ()>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
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
        self.all.put_many(blocks).await?;
        let meanwhile = self.after_put.lock().unwrap().0.take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        Ok(())
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

fn options(params: Params) -> Options {
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
        mfs.write("/b", 0, "one", FileOptions::write()).await.unwrap();
        mfs.write("/a/b/b", 0, "another", FileOptions::write()).await.unwrap();
        let moved = mfs.mv("/b", "/a/b").await;
        assert!(matches!(moved, Err(Error::Exists(path)) if path == "/a/b/b"));
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
        mfs.stat("/").await.unwrap();
        let written = desk.store.fresh.lock().unwrap().len();
        assert_eq!(written, 2, "its directory, and the root");
    });
}

#[test]
fn what_is_changed_during_a_flush_is_in_the_next_one() {
    let desk = Desk::new(Params::default());
    let mfs = desk.open();
    desk.run(async {
        mfs.mkdir("/a/before", true).await.unwrap();
        let other = mfs.clone();
        let change = async move { other.mkdir("/a/during", false).await.unwrap() };
        desk.store.after_put.lock().unwrap().0 = Some(change.boxed());
        mfs.flush().await.unwrap();
        assert!(desk.store.after_put.lock().unwrap().0.is_none());
        mfs.flush().await.unwrap();
    });
    drop(mfs);
    let again = desk.open();
    let listed = desk.run(async { again.list("/a").await.unwrap().try_collect::<Vec<_>>().await });
    let names: Vec<_> = listed.unwrap().iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names, ["before", "during"]);
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
