//! A store and a datastore that several nodes share, each over a way of its own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use ipfs_core::{
    Batch, Block, Blockstore, BlockstoreExt, Bytes, Cid, Datastore, Error, Multihash, Node, Result,
    RuntimeExt, VirtualRuntime, async_trait,
    memory::{MemoryDatastore, MemoryStore},
};

use crate::numbers::Numbers;

/// Microseconds that a call takes at the most, where calls take time.
const CALL: u64 = 2000;
/// Those of a deletion: so long that others do much before it happens.
const DELETION: u64 = 40_000;

/// What nodes share.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) runtime: VirtualRuntime,
    store: Arc<MemoryStore>,
    datastore: Arc<MemoryDatastore>,
    /// What must not be deleted.
    pub(super) kept: Arc<Mutex<Vec<Cid>>>,
    /// How long a call takes, at random.
    numbers: Option<Arc<Mutex<Numbers>>>,
}

/// The way of one node to what is shared.
#[derive(Clone, Debug)]
pub(super) struct Way {
    place: Place,
    is_cut: Arc<AtomicBool>,
    stuck: Arc<Mutex<Option<Call>>>,
    pub(super) shares_datastore: bool,
}

/// A call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// With which a collection begins to look for garbage, after it has marked what stays.
    List,
    Delete,
    /// Which a pin waits for before it is made, and a collection after it has deleted.
    Flush,
    /// The block is there, and the call does not end.
    Put,
}

impl Place {
    pub(super) fn new() -> Self {
        Self {
            runtime: VirtualRuntime::new(),
            store: Arc::new(MemoryStore::new()),
            datastore: Arc::new(MemoryDatastore::new()),
            kept: Arc::default(),
            numbers: None,
        }
    }

    /// One whose calls take their time.
    pub(super) fn slow(seed: u64) -> Self {
        Self { numbers: Some(Arc::new(Mutex::new(Numbers(seed)))), ..Self::new() }
    }

    pub(super) fn way(&self) -> Way {
        let (is_cut, stuck) = (Arc::default(), Arc::default());
        Way { place: self.clone(), is_cut, stuck, shares_datastore: true }
    }

    pub(super) async fn node(&self) -> (Node, Way) {
        let way = self.way();
        (way.node().await, way)
    }

    pub(super) async fn has(&self, cid: &Cid) -> bool {
        self.store.has(cid).await.unwrap()
    }

    /// The keys of leases, but for the number that was given last.
    pub(super) async fn leases(&self) -> Vec<Bytes> {
        let pages: Vec<_> = self.datastore.scan(b"lease/").collect().await;
        let keys = pages.into_iter().flat_map(Result::unwrap).map(|(key, _)| key);
        keys.filter(|key| key != "lease/numbers").collect()
    }

    /// Waits until there is a key of leases that begins so.
    pub(super) async fn lease(&self, prefix: &str) {
        while !self.leases().await.iter().any(|key| key.starts_with(prefix.as_bytes())) {
            self.runtime.sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Way {
    pub(super) async fn node(&self) -> Node {
        let builder = Node::builder().offline().runtime(self.place.runtime.clone());
        builder.store(self.clone()).datastore(Shared(self.clone())).spawn().await.unwrap()
    }

    /// What is asked of the datastore fails.
    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// The next such call waits, until another one shall.
    pub(super) fn stick(&self, call: Option<Call>) {
        *self.stuck.lock().unwrap() = call;
    }

    async fn pass(&self, call: Call) {
        while *self.stuck.lock().unwrap() == Some(call) {
            self.place.runtime.sleep(Duration::from_millis(1)).await;
        }
    }

    async fn datastore(&self) -> Result<&MemoryDatastore> {
        self.take_time(CALL).await;
        match self.is_cut.load(Ordering::SeqCst) {
            true => Err(Error::component("datastore", "it is cut off")),
            false => Ok(&self.place.datastore),
        }
    }

    async fn store(&self) -> &MemoryStore {
        self.take_time(CALL).await;
        &self.place.store
    }

    async fn take_time(&self, most: u64) {
        if let Some(numbers) = &self.place.numbers {
            let time = Duration::from_micros(numbers.lock().unwrap().below(most));
            self.place.runtime.sleep(time).await;
        }
    }
}

#[async_trait]
impl Blockstore for Way {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.store().await.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.store().await.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.store().await.put_many(blocks).await?;
        self.pass(Call::Put).await;
        Ok(())
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.pass(Call::Delete).await;
        self.take_time(DELETION).await;
        let store = self.store().await;
        for kept in self.place.kept.lock().unwrap().iter() {
            assert!(!cids.iter().any(|cid| cid.hash() == kept.hash()), "{kept} is kept");
        }
        store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let way = self.clone();
        let list = async move {
            way.pass(Call::List).await;
            way.place.store.list()
        };
        stream::once(list).flatten().boxed()
    }
    async fn flush(&self) -> Result<()> {
        self.pass(Call::Flush).await;
        self.store().await.flush().await
    }
    fn shared(&self) -> bool {
        true
    }
    /// The others go on.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Shared(Way);

#[async_trait]
impl Datastore for Shared {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.0.datastore().await?.get(key).await
    }
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        let (way, prefix) = (self.0.clone(), prefix.to_vec());
        let scan = async move {
            match way.datastore().await {
                Ok(datastore) => datastore.scan(&prefix),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(scan).flatten().boxed()
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        self.0.datastore().await?.commit(batch).await
    }
    fn shared(&self) -> bool {
        self.0.shares_datastore
    }
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
