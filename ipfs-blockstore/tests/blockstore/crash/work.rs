//! Random work of several writers on a store, and what must hold of what is left of it.

use std::{cell::RefCell, path::Path, sync::Arc};

use futures::TryStreamExt;
use ipfs_traits::{Block, Blockstore, Cid, HashTable, Multihash, Result, VirtualRuntime, codes};

use super::{
    kind::{Ask, Kind, ROOT},
    model::Model,
    schedule::{Labelled, interleaved, labelled},
};
use crate::{faulty::Faulty, numbers::Numbers};

const WRITERS: u64 = 4;

/// What each writer asks, if no crash comes.
const ASKS: u64 = 52;

/// Blocks that the writers share.
const BLOCKS: u64 = 60;

pub(super) fn block(data: Vec<u8>) -> Block {
    Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard()).unwrap()
}

fn cids(blocks: &[Block]) -> Vec<Cid> {
    blocks.iter().map(|block| *block.cid()).collect()
}

/// A store that is worked on, and what was acknowledged.
pub(super) struct Work {
    kind: Kind,
    seed: u64,
    runtime: VirtualRuntime,
    pub(super) blocks: Vec<Block>,
    model: RefCell<Model>,
    /// What was wrong while it was worked on.
    wrong: RefCell<Option<String>>,
}

impl Work {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let mut random = |i: u64| {
            let len = numbers.below(60) as usize;
            block([vec![i as u8], (0..len).map(|_| numbers.next() as u8).collect()].concat())
        };
        let blocks: Vec<Block> = (0..BLOCKS).map(&mut random).collect();
        let model = RefCell::new(Model::new(blocks.iter().map(|block| *block.hash())));
        let (runtime, wrong) = (VirtualRuntime::new(), RefCell::default());
        Self { kind, seed, runtime, blocks, model, wrong }
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    pub(super) fn open(&self, files: &Faulty) -> Result<Arc<dyn Blockstore>> {
        let runtime = Labelled { runtime: self.runtime.clone(), files: files.clone() };
        let opened = self.kind.open(files.clone(), Arc::new(runtime));
        self.run(labelled(files.clone(), "open", opened))
    }

    /// All writers work until they are done, or something fails.
    pub(super) fn go(&self, files: &Faulty, store: &dyn Blockstore) {
        let writers = (0..WRITERS).map(|number| {
            let numbers = Numbers(self.seed ^ (number + 1).wrapping_mul(0x5bd1_e995_9e37_79b9));
            Box::pin(self.write(files, store, numbers)) as futures::future::LocalBoxFuture<'_, ()>
        });
        self.run(interleaved(writers.collect(), Numbers(self.seed ^ 0x7e57)));
    }

    async fn write(&self, files: &Faulty, store: &dyn Blockstore, mut numbers: Numbers) {
        for _ in 0..ASKS {
            let asks = self.kind.asks();
            let ask = asks[numbers.below(asks.len() as u64) as usize];
            let blocks = self.some(&mut numbers);
            let asked = match ask {
                Ask::Put => self.put(files, store, &blocks).await,
                Ask::Delete => self.delete(files, store, &blocks).await,
                Ask::Flush => self.flush(files, store).await,
                Ask::Compact => labelled(files.clone(), "compact", store.compact()).await,
                Ask::Read => self.read(files, store, &blocks).await,
            };
            if let Err(error) = asked {
                if !files.has_crashed() {
                    self.say(format!("{ask:?} failed before the crash: {error:?}"));
                }
                return;
            }
        }
    }

    fn say(&self, wrong: String) {
        self.wrong.borrow_mut().get_or_insert(wrong);
    }

    fn some(&self, numbers: &mut Numbers) -> Vec<Block> {
        // Few at a time are synced one by one, many all at once.
        let count = if numbers.below(4) == 0 { 40 } else { 4 };
        let count = 1 + numbers.below(count);
        (0..count).map(|_| self.blocks[numbers.below(BLOCKS) as usize].clone()).collect()
    }

    async fn put(&self, files: &Faulty, store: &dyn Blockstore, blocks: &[Block]) -> Result<()> {
        let hashes = hashes(blocks);
        let began = self.model.borrow_mut().begin(&hashes, true);
        labelled(files.clone(), "put", store.put_many(blocks)).await?;
        self.model.borrow_mut().end(&hashes, began);
        Ok(())
    }

    async fn delete(&self, files: &Faulty, store: &dyn Blockstore, blocks: &[Block]) -> Result<()> {
        let hashes = hashes(blocks);
        let began = self.model.borrow_mut().begin(&hashes, false);
        labelled(files.clone(), "delete", store.delete_many(&cids(blocks))).await?;
        self.model.borrow_mut().end(&hashes, began);
        Ok(())
    }

    async fn flush(&self, files: &Faulty, store: &dyn Blockstore) -> Result<()> {
        let began = self.model.borrow_mut().now();
        labelled(files.clone(), "flush", store.flush()).await?;
        self.model.borrow_mut().flushed(began);
        Ok(())
    }

    async fn read(&self, files: &Faulty, store: &dyn Blockstore, blocks: &[Block]) -> Result<()> {
        let reading = self.model.borrow_mut().begin_read(&hashes(blocks));
        let found = labelled(files.clone(), "read", store.get_many(&cids(blocks))).await;
        for (found, block) in std::iter::zip(found, blocks) {
            let found = found?;
            if found.as_ref().is_some_and(|found| found != block) {
                self.say("a read gave other bytes".into());
            }
            if !self.model.borrow_mut().read(&reading, block.hash(), found.is_some()) {
                self.say(format!("a read gave what nobody wrote: {}", found.is_some()));
            }
        }
        Ok(())
    }

    /// All is put, and flushed.
    pub(super) fn put_all(&self, store: &dyn Blockstore) -> Result<()> {
        self.run(async {
            store.put_many(&self.blocks).await?;
            store.flush().await
        })?;
        self.model.borrow_mut().all_present();
        Ok(())
    }

    /// What is wrong with what survived, if anything.
    pub(super) fn check(&self, files: &Faulty) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        self.agrees_without_index(files)?;
        let store = self.agrees(files)?;
        // What the crash left torn is not taken for whole once more has been made durable behind it.
        let more: Vec<Block> = (0..60_u8).map(|i| block(vec![0xee, i, 0xee])).collect();
        let added = self.run(async {
            for some in more.chunks(20) {
                store.put_many(some).await?;
                store.flush().await?;
            }
            Ok::<_, ipfs_traits::Error>(())
        });
        added.map_err(|error| format!("it takes nothing more: {error:?}"))?;
        self.agrees_without_index(files).map_err(|wrong| format!("later, {wrong}"))?;
        // All can be put again, and is then there.
        self.put_all(&*store).map_err(|error| format!("it cannot be repeated: {error:?}"))?;
        self.agrees(&files.after_kill()).map(drop)
    }

    /// An index that is lost is made anew, and then says the same.
    fn agrees_without_index(&self, files: &Faulty) -> Result<(), String> {
        let Some(index) = self.kind.index() else { return Ok(()) };
        let agreed = self.agrees(&files.after_loss_of(&Path::new(ROOT).join(index)));
        agreed.map(drop).map_err(|wrong| format!("without an index: {wrong}"))
    }

    /// Opens a store, and compares it with what is known.
    fn agrees(&self, files: &Faulty) -> Result<Arc<dyn Blockstore>, String> {
        let store = self.open(files).map_err(|error| format!("it does not open: {error:?}"))?;
        let found = self.run(store.get_many(&cids(&self.blocks)));
        let mut there = Vec::new();
        for (found, block) in std::iter::zip(found, &self.blocks) {
            let found = found.map_err(|error| format!("{error:?}"))?;
            if found.as_ref().is_some_and(|found| found != block) {
                return Err("a torn block was given".into());
            }
            let possible = self.model.borrow().after_crash(block.hash());
            match found {
                None if !possible.absent => return Err("a block that was flushed is gone".into()),
                Some(_) if !possible.present => {
                    return Err("a delete that was flushed is undone".into());
                }
                None => {}
                Some(found) => there.push((*found.hash(), found.len() as u64)),
            }
        }
        let listed: Vec<Vec<(Multihash, u64)>> =
            self.run(store.list().try_collect()).map_err(|error| format!("{error:?}"))?;
        let mut listed = listed.concat();
        // Those that are put to see whether it takes more are listed too.
        listed.retain(|(hash, _)| self.blocks.iter().any(|block| block.hash() == hash));
        listed.sort_unstable();
        there.sort_unstable();
        match listed == there {
            true => Ok(store),
            false => Err("a listing and what is there differ".into()),
        }
    }
}

fn hashes(blocks: &[Block]) -> Vec<Multihash> {
    blocks.iter().map(|block| *block.hash()).collect()
}
