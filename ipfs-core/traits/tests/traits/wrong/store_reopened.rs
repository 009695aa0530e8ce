//! Stores that break one promise each, of those about being opened again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    executor::block_on,
    stream::{self, BoxStream},
};
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, async_trait, codes, conformance,
    memory::MemoryStore,
};

use super::{caught, caught_by};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Shared,
    Forgets,
    KeepsItsLock,
    LetsASecondIn,
    RefusesThoughShared,
    SharersAreBlind,
    TearsAtDrop,
    LosesAtDrop,
    ListsWhatIsGone,
}

/// Where a store is kept while nobody has it open.
#[derive(Debug, Default)]
struct Place {
    store: Arc<MemoryStore>,
    opened: AtomicUsize,
}

/// A handle of a store with one fault.
#[derive(Debug)]
struct Store {
    fault: Fault,
    place: Arc<Place>,
    store: Arc<MemoryStore>,
    unflushed: Mutex<BTreeSet<Multihash>>,
    open: AtomicBool,
}

impl Store {
    fn open(place: &Arc<Place>, fault: Fault) -> Result<Self> {
        let shared = matches!(fault, Fault::Shared | Fault::LetsASecondIn | Fault::SharersAreBlind);
        let others = place.opened.fetch_add(1, Ordering::Relaxed);
        if others > 0 && !shared {
            place.opened.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::InUse("the store".into()));
        }
        let store = match fault {
            Fault::Forgets => Arc::default(),
            Fault::SharersAreBlind if others > 0 => copy_of(&place.store),
            _ => place.store.clone(),
        };
        let (unflushed, open) = (Mutex::default(), AtomicBool::new(true));
        Ok(Self { fault, place: place.clone(), store, unflushed, open })
    }

    fn let_go(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            self.place.opened.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A store with the same blocks, which does not follow the other one.
fn copy_of(store: &MemoryStore) -> Arc<MemoryStore> {
    let copy = Arc::new(MemoryStore::new());
    block_on_now(async {
        let all: Vec<(Multihash, u64)> = store.list().try_concat().await.unwrap();
        let cids: Vec<Cid> = all.iter().map(|(hash, _)| Cid::new_v1(codes::RAW, *hash)).collect();
        for block in store.get_many(&cids).await {
            copy.put_many(&[block.unwrap().unwrap()]).await.unwrap();
        }
    });
    copy
}

/// A store in memory never waits.
fn block_on_now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

impl Drop for Store {
    fn drop(&mut self) {
        self.let_go();
        let unflushed = self.unflushed.lock().unwrap();
        let cids = |hashes: &BTreeSet<Multihash>| {
            hashes.iter().map(|hash| Cid::new_v1(codes::RAW, *hash)).collect::<Vec<_>>()
        };
        match self.fault {
            Fault::TearsAtDrop => {
                block_on_now(self.store.delete_many(&cids(&unflushed))).unwrap();
                let torn = cids(&unflushed).into_iter().map(|cid| Block::trusted(cid, "".into()));
                let torn: Vec<Block> = torn.collect();
                block_on_now(self.store.put_many(&torn)).unwrap();
            }
            Fault::LosesAtDrop if !unflushed.is_empty() => {
                let all: Vec<_> = futures::TryStreamExt::try_concat(self.store.list())
                    .now_or_never()
                    .unwrap()
                    .unwrap();
                let all = all.into_iter().map(|(hash, _)| hash).collect();
                self.store.delete_many(&cids(&all)).now_or_never().unwrap().unwrap();
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Blockstore for Store {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.store.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.unflushed.lock().unwrap().extend(blocks.iter().map(|block| *block.hash()));
        self.store.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let mut unflushed = self.unflushed.lock().unwrap().clone();
        unflushed.retain(|hash| !cids.iter().any(|cid| cid.hash() == hash));
        *self.unflushed.lock().unwrap() = unflushed;
        self.store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        match self.fault {
            Fault::ListsWhatIsGone => {
                let gone = Multihash::wrap(0x12, &[7; 32]).unwrap();
                self.store.list().chain(stream::iter([Ok(vec![(gone, 7)])])).boxed()
            }
            _ => self.store.list(),
        }
    }
    async fn flush(&self) -> Result<()> {
        self.unflushed.lock().unwrap().clear();
        Ok(())
    }
    fn shared(&self) -> bool {
        matches!(self.fault, Fault::Shared | Fault::RefusesThoughShared | Fault::SharersAreBlind)
    }
    async fn close(&self) -> Result<()> {
        if self.fault != Fault::KeepsItsLock {
            self.let_go();
        }
        self.flush().await
    }
}

fn run(fault: Fault) -> conformance::Verdict {
    let place = Arc::new(Place::default());
    let open = || {
        let store = Store::open(&place, fault);
        async move { store }
    };
    block_on(conformance::blockstore_reopen(open))
}

#[test]
fn wrong_stores_are_caught() {
    use Fault as F;
    run(F::None).unwrap();
    run(F::Shared).unwrap();
    let forgets = block_on(conformance::blockstore_reopen(|| async { Ok(MemoryStore::new()) }));
    caught("a store that forgets", forgets);
    let second =
        "a second opener is refused as long as the first has the store, unless it is shared";
    let whole = "what was not flushed is there whole or not at all";
    let closed = "a closed store can be opened again, though its handle lives, and has flushed";
    for (fault, rule) in [
        (F::Forgets, "what was flushed is there when the store is opened again"),
        (F::KeepsItsLock, closed),
        (F::LetsASecondIn, second),
        (F::RefusesThoughShared, second),
        (F::SharersAreBlind, "those who share a store see what the others have flushed"),
        (F::TearsAtDrop, whole),
        (F::LosesAtDrop, "a store that is dropped without a close loses nothing that was flushed"),
        (F::ListsWhatIsGone, "a store that was dropped lists what it has"),
    ] {
        caught_by(fault, run(fault), rule);
    }
}
