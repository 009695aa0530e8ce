//! Stores that break one promise each, of those about many calls at a time, calls that are dropped,
//! and hash functions.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    executor::block_on,
    future::poll_fn,
    stream::{self, BoxStream},
};
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, async_trait, codes, conformance, limits,
    memory::MemoryStore,
};

use super::caught_by;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    TornWhilePut,
    DeleteLastsOn,
    SizeStays,
    FlushLosesPuts,
    SecondFlushFails,
    ListByOffset,
    ListLocks,
    DroppedPutTears,
    DroppedCompactLoses,
    DroppedDeletePoisons,
    SkipsTooLarge,
    RefusesLarge,
    VersionsAreTwo,
    KeyedByDigest,
    DeletesByDigest,
    OnlyOneHash,
    UnknownHashIsInvalid,
    RefusesAndKeeps,
    ForgetsUnknownHashes,
}

/// A store with one fault, which lets others go first wherever it can.
#[derive(Clone, Debug)]
struct Store {
    fault: Fault,
    inner: Arc<MemoryStore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    deleting: usize,
    flushing: usize,
    /// Blocks that were put while a delete or a flush was under way.
    overlapped: BTreeSet<Multihash>,
    changes: u64,
    twice: BTreeSet<Multihash>,
    poisoned: bool,
}

async fn others_first() {
    let mut waited = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Does something when it is dropped before its end.
struct AtDrop<F: FnMut()>(bool, F);

impl<F: FnMut()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        if self.0 {
            (self.1)();
        }
    }
}

fn half(blocks: &[Block]) -> Vec<Block> {
    let half = |block: &Block| Block::trusted(*block.cid(), block.data().slice(..block.len() / 2));
    blocks.iter().map(half).collect()
}

fn is_unknown(hash: &Multihash) -> bool {
    ![codes::SHA1, codes::SHA2_256, codes::SHA2_512, codes::IDENTITY].contains(&hash.code())
}

impl Store {
    fn new(fault: Fault) -> Self {
        Self { fault, inner: Arc::default(), state: Arc::default() }
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
    fn key(&self, cid: &Cid) -> Cid {
        match self.fault {
            Fault::KeyedByDigest => {
                let hash = Multihash::wrap(codes::SHA2_256, cid.hash().digest()).unwrap();
                Cid::new_v1(codes::RAW, hash)
            }
            _ => *cid,
        }
    }
    fn keys(&self, cids: &[Cid]) -> Vec<Cid> {
        cids.iter().map(|cid| self.key(cid)).collect()
    }
    fn hidden(&self, hash: &Multihash) -> bool {
        self.has(Fault::DeleteLastsOn) && self.state().overlapped.contains(hash)
    }
    fn refuse(&self, blocks: &[Block]) -> Result<()> {
        for block in blocks {
            let code = block.hash().code();
            match self.fault {
                Fault::RefusesLarge if block.len() > 1 << 20 => {
                    return Err(Error::limit("bytes of a block", 1 << 20, block.len()));
                }
                Fault::OnlyOneHash if code != codes::SHA2_256 => {
                    return Err(Error::UnknownHash(code));
                }
                Fault::UnknownHashIsInvalid if is_unknown(block.hash()) => {
                    return Err(Error::invalid("block", "nobody knows its hash"));
                }
                _ => {}
            }
        }
        match self.state().poisoned {
            true => Err(Error::Closed("the store")),
            false => Ok(()),
        }
    }
    async fn everything(inner: &MemoryStore) -> Vec<(Multihash, u64)> {
        inner.list().try_concat().await.unwrap()
    }
}

#[async_trait]
impl Blockstore for Store {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let found = self.inner.get_many(&self.keys(cids)).await;
        let answer = |(cid, found): (&Cid, Result<Option<Block>>)| {
            let found = found?.filter(|_| !self.hidden(cid.hash()));
            Ok(found.map(|block| Block::trusted(*cid, block.data().clone())))
        };
        std::iter::zip(cids, found).map(answer).collect()
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let sizes = self.inner.sizes(&self.keys(cids)).await?;
        let size = |(cid, size): (&Cid, Option<u64>)| {
            let stays = self.has(Fault::SizeStays) && self.state().overlapped.contains(cid.hash());
            if stays { Some(300) } else { size.filter(|_| !self.hidden(cid.hash())) }
        };
        Ok(std::iter::zip(cids, sizes).map(size).collect())
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.refuse(blocks)?;
        let mut blocks = blocks.to_vec();
        if self.has(Fault::SkipsTooLarge) && blocks.len() > 1 {
            blocks.retain(|block| block.len() <= limits::MAX_STORED_BLOCK);
        }
        {
            let mut state = self.state();
            state.changes += 1;
            let mut cids = std::iter::zip(&blocks, blocks.iter().skip(1));
            if cids.any(|(a, b)| a.hash() == b.hash() && a.cid() != b.cid()) {
                state.twice.insert(*blocks[0].hash());
            }
        }
        if self.has(Fault::TornWhilePut) {
            self.inner.put_many(&half(&blocks)).await?;
        }
        let torn = half(&blocks);
        let tear = || drop(self.inner.put_many(&torn).now_or_never());
        let mut dropped = AtDrop(self.has(Fault::DroppedPutTears), tear);
        others_first().await;
        dropped.0 = false;
        {
            let mut state = self.state();
            let others = match self.fault {
                Fault::FlushLosesPuts => state.flushing,
                _ => state.deleting,
            };
            if others > 0 {
                state.overlapped.extend(blocks.iter().map(|block| *block.hash()));
            }
        }
        if self.has(Fault::TornWhilePut) {
            let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
            self.inner.delete_many(&cids).await?;
        }
        let key = |block: &Block| Block::trusted(self.key(block.cid()), block.data().clone());
        self.inner.put_many(&blocks.iter().map(key).collect::<Vec<_>>()).await?;
        match blocks.iter().find(|block| is_unknown(block.hash())) {
            Some(block) if self.has(Fault::RefusesAndKeeps) => {
                Err(Error::UnknownHash(block.hash().code()))
            }
            _ => Ok(()),
        }
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let poison = || self.state().poisoned = true;
        let mut dropped = AtDrop(self.has(Fault::DroppedDeletePoisons), poison);
        self.state().changes += 1;
        self.state().deleting += 1;
        others_first().await;
        self.state().deleting -= 1;
        dropped.0 = false;
        let mut gone = self.keys(cids);
        if self.has(Fault::DeletesByDigest) {
            let same = |hash: &Multihash| cids.iter().any(|c| c.hash().digest() == hash.digest());
            let all = Self::everything(&self.inner).await.into_iter().map(|(hash, _)| hash);
            gone.extend(all.filter(same).map(|hash| Cid::new_v1(codes::RAW, hash)));
        }
        self.state().twice.retain(|hash| !cids.iter().any(|cid| cid.hash() == hash));
        self.inner.delete_many(&gone).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        match self.fault {
            Fault::ListByOffset => {
                stream::unfold((self.inner.clone(), 0), |(inner, at)| async move {
                    let all = Self::everything(&inner).await;
                    let page: Vec<_> = all.into_iter().skip(at).take(1000).collect();
                    (!page.is_empty()).then(|| (Ok(page.clone()), (inner, at + page.len())))
                })
                .boxed()
            }
            Fault::ListLocks => {
                let state = self.state.clone();
                let lock = AtDrop(true, move || state.lock().unwrap().poisoned = true);
                let pages = self.inner.list();
                stream::unfold((pages, lock), |(mut pages, mut lock)| async {
                    let page = pages.next().await;
                    lock.0 = page.is_some();
                    page.map(|page| (page, (pages, lock)))
                })
                .boxed()
            }
            Fault::VersionsAreTwo => {
                let twice: Vec<_> = self.state().twice.iter().map(|hash| (*hash, 4)).collect();
                let more = (!twice.is_empty()).then_some(Ok(twice));
                self.inner.list().chain(stream::iter(more)).boxed()
            }
            _ => {
                let store = self.clone();
                let seen = move |page: Vec<(Multihash, u64)>| {
                    page.into_iter().filter(|(hash, _)| !store.hidden(hash)).collect::<Vec<_>>()
                };
                self.inner.list().map_ok(seen).boxed()
            }
        }
    }
    async fn flush(&self) -> Result<()> {
        let changes = std::mem::take(&mut self.state().changes);
        if self.has(Fault::SecondFlushFails) && changes == 0 {
            return Err(Error::invalid("flush", "there is nothing to do"));
        }
        self.state().flushing += 1;
        others_first().await;
        self.state().flushing -= 1;
        let all = Self::everything(&self.inner).await.into_iter().map(|(hash, _)| hash);
        let gone: Vec<Cid> = match self.fault {
            Fault::FlushLosesPuts => {
                let overlapped = std::mem::take(&mut self.state().overlapped);
                overlapped.into_iter().map(|hash| Cid::new_v1(codes::RAW, hash)).collect()
            }
            Fault::ForgetsUnknownHashes => {
                all.filter(is_unknown).map(|hash| Cid::new_v1(codes::RAW, hash)).collect()
            }
            _ => Vec::new(),
        };
        self.inner.delete_many(&gone).await
    }
    async fn compact(&self) -> Result<()> {
        let all = Self::everything(&self.inner).await.into_iter();
        let all: Vec<Cid> = all.map(|(hash, _)| Cid::new_v1(codes::RAW, hash)).collect();
        let lose = || drop(self.inner.delete_many(&all).now_or_never());
        let mut dropped = AtDrop(self.has(Fault::DroppedCompactLoses), lose);
        others_first().await;
        dropped.0 = false;
        Ok(())
    }
}

#[test]
fn wrong_stores_are_caught() {
    use Fault as F;
    let run = |fault| block_on(conformance::blockstore(|| async move { Ok(Store::new(fault)) }));
    run(F::None).unwrap();
    let whole = "while a block is put and deleted, it is there whole or not at all";
    let obeyed = "a put or a delete that comes after others is obeyed";
    let rest = "when all calls have returned, all that is asked says the same";
    let dropped = "of a call that was dropped, each block is there whole or not at all";
    let usable = "a store from which a future was dropped is usable";
    let once = "what is there from the beginning of a listing to its end is listed exactly once";
    let any = "a block is taken whatever its hash function, or refused as of an unknown one";
    let given = "what was taken is given back, whatever its hash function";
    for (fault, rule) in [
        (F::TornWhilePut, whole),
        (F::DeleteLastsOn, obeyed),
        (F::SizeStays, rest),
        (F::FlushLosesPuts, "what is put while others flush is there"),
        (F::SecondFlushFails, "a flush with nothing to do is no error"),
        (F::ListByOffset, once),
        (F::ListLocks, "a listing that is dropped midway leaves nothing behind"),
        (F::DroppedPutTears, dropped),
        (F::DroppedCompactLoses, "dropping a future takes nothing that was flushed before"),
        (F::DroppedDeletePoisons, usable),
        (F::SkipsTooLarge, "a batch with a block over 64 MiB is refused with a limit"),
        (F::RefusesLarge, "blocks of 0 bytes to 64 MiB are taken"),
        (F::VersionsAreTwo, "the versions of a CID are one block in a batch too"),
        (F::KeyedByDigest, given),
        (F::DeletesByDigest, "a delete takes the block of that hash function alone"),
        (F::OnlyOneHash, "blocks of every allowed hash function are taken"),
        (F::UnknownHashIsInvalid, any),
        (F::RefusesAndKeeps, any),
        (F::ForgetsUnknownHashes, given),
    ] {
        caught_by(fault, run(fault), rule);
    }
}
