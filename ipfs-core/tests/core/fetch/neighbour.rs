//! An exchange that gives the blocks of a store in the same process, and fails as it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future, stream::BoxStream};
use ipfs_core::{
    Block, BlockSource, Blockstore, BlockstoreExt, Cid, Error, Exchange, Node, PeerInfo, Result,
    RuntimeExt, Session, VirtualRuntime, async_trait, memory::MemoryStore,
};

/// What becomes of a want that is not just answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Absent,
    Damaged,
    Silent,
}

/// Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<MemoryStore>,
    faults: Mutex<BTreeMap<Cid, Fault>>,
    asked: Mutex<Vec<Cid>>,
    named: Mutex<Vec<PeerInfo>>,
    /// How many answers it still gives.
    left: AtomicUsize,
    /// How long it takes to answer.
    delay: Mutex<Option<(VirtualRuntime, Duration)>>,
    /// Answers that are waited for.
    open: AtomicUsize,
}

/// Blocks that it answers at once.
const AT_ONCE: usize = 64;

impl Neighbour {
    pub(crate) fn new() -> Self {
        let (store, faults, asked) = (Arc::default(), Mutex::default(), Mutex::default());
        let (left, open) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        let (named, delay) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { store, faults, asked, named, left, delay, open }))
    }

    /// A node that adds to what the neighbour has.
    pub(crate) async fn origin(&self, runtime: &VirtualRuntime) -> Node {
        let node = Node::builder().runtime(runtime.clone()).store(self.0.store.clone());
        node.offline().spawn().await.unwrap()
    }

    /// A node that has nothing, and gets its blocks here.
    pub(crate) async fn node(&self, runtime: &VirtualRuntime) -> Node {
        self.node_with(runtime, MemoryStore::new()).await
    }

    pub(crate) async fn node_with(&self, runtime: &VirtualRuntime, store: MemoryStore) -> Node {
        let node = Node::builder().runtime(runtime.clone()).store(store).exchange(self.clone());
        node.offline().spawn().await.unwrap()
    }

    pub(crate) async fn put(&self, block: &Block) {
        self.0.store.put(block.clone()).await.unwrap();
    }

    pub(crate) fn fault(&self, cid: Cid, fault: Fault) {
        self.0.faults.lock().unwrap().insert(cid, fault);
    }

    pub(crate) fn heal(&self) {
        self.0.faults.lock().unwrap().clear();
        self.stop_after(usize::MAX);
    }

    pub(crate) fn delay(&self, runtime: &VirtualRuntime, time: Duration) {
        *self.0.delay.lock().unwrap() = Some((runtime.clone(), time));
    }

    pub(crate) fn stop_after(&self, answers: usize) {
        self.0.left.store(answers, Ordering::Relaxed);
    }

    /// What it was asked for since this was called last, which is for nothing twice.
    pub(crate) fn asked(&self) -> BTreeSet<Cid> {
        let asked = std::mem::take(&mut *self.0.asked.lock().unwrap());
        let all: BTreeSet<Cid> = asked.iter().copied().collect();
        assert_eq!(all.len(), asked.len(), "a block was asked for twice");
        all
    }

    pub(crate) fn named(&self) -> Vec<PeerInfo> {
        self.0.named.lock().unwrap().clone()
    }

    pub(crate) fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    async fn answer(&self, cid: Cid) -> Result<Block> {
        let _open = Open::new(self.0.clone());
        self.0.asked.lock().unwrap().push(cid);
        let delay = self.0.delay.lock().unwrap().clone();
        if let Some((runtime, time)) = delay {
            runtime.sleep(time).await;
        }
        let fault = self.0.faults.lock().unwrap().get(&cid).copied();
        let is_left = |left: usize| left.checked_sub(1);
        let left = self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_left);
        match fault {
            _ if left.is_err() => future::pending().await,
            Some(Fault::Silent) => future::pending().await,
            Some(Fault::Absent) => Err(Error::NotFound(cid)),
            Some(Fault::Damaged) => Err(Error::Corrupt(cid)),
            None => self.0.store.get(&cid).await?.ok_or(Error::NotFound(cid)),
        }
    }
}

struct Open(Arc<Inner>);

impl Open {
    fn new(inner: Arc<Inner>) -> Self {
        inner.open.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange for Neighbour {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(self.clone())
    }
}

impl Session for Neighbour {
    fn providers(&self, peers: &[PeerInfo]) {
        self.0.named.lock().unwrap().extend_from_slice(peers);
    }
}

#[async_trait]
impl BlockSource for Neighbour {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.answer(*cid).await
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let this = self.clone();
        cids.map(move |cid| {
            let this = this.clone();
            async move { (cid, this.answer(cid).await) }
        })
        .buffer_unordered(AT_ONCE)
        .boxed()
    }
}

/// All blocks that a store has.
pub(crate) async fn all(node: &Node) -> BTreeSet<ipfs_core::Multihash> {
    let mut all = BTreeSet::new();
    let mut list = node.store().list();
    while let Some(page) = list.next().await {
        all.extend(page.unwrap().into_iter().map(|(hash, _)| hash));
    }
    all
}
