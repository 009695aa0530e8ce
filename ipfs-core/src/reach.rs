//! What can be reached from some roots through what is here: for pins, and for what collects
//! garbage.
//!
//! Nothing is fetched, order does not matter, and memory is bounded whatever the number of blocks:
//! that tells it from a [`Walk`](ipfs_unixfs::Walk) and from a [`Fetch`](crate::Fetch).

pub(crate) mod marks;
mod rules;
pub(crate) mod scratch;
mod stack;
mod walking;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use ipfs_traits::{
    Block, Blockstore, Cid, CodecTable, Error, HashTable, Multihash, Result, Runtime, RuntimeExt,
    codes, sync::lock, work::Meter,
};

pub use self::rules::Follow;
use self::{
    marks::{ALONE, Class, Marks, UNKNOWN},
    scratch::Scratch,
    stack::Stack,
};
pub(crate) use self::{stack::Item, walking::Walking};
use crate::fetch::Lacking;

/// Where blocks are read, and how.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) store: Arc<dyn Blockstore>,
    pub(crate) codecs: Arc<CodecTable>,
    pub(crate) hashes: HashTable,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Where that goes which does not fit into memory.
    pub(crate) scratch: Option<Arc<Scratch>>,
}

/// What a walk does with what it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Blocks without links are not looked for.
    Trust,
    /// They are looked for, and what is not here is missing.
    Check,
    /// They are read too, and all that is read is hashed.
    Read,
}

/// What a walk does about blocks that are missing or cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are named.
    Names,
    /// What is below them does not count.
    Passes,
}

/// A walk over what is here.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    site: Site,
    leaves: Leaves,
    missing: Missing,
    parallel: usize,
    /// All that is new is told of, and not only what has to be looked for.
    tells: bool,
    meter: Meter,
    /// The codecs that are known.
    codes: Arc<[u64]>,
    /// Whether blocks wait to be read; changed with the state.
    waiting: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    marks: Marks,
    stack: Stack,
    lacking: Lacking,
}

/// Blocks that are read in one go at the most, and bytes of them.
const BATCH: usize = 1024;
const BATCH_BYTES: u64 = 1 << 20;

/// Such goes at the same time.
const PARALLEL: usize = 3;

/// Of a few blocks each go takes a share, so that the others have something to do as well.
const SHARES: usize = 2 * PARALLEL;

/// Leaves that are looked for in one go.
const LOOK_UPS: usize = 32 << 10;

/// The blocks of a batch that are here, and which links of each lead on.
type Read = Vec<(Block, Follow)>;

impl Reach {
    pub(crate) fn new(site: Site, leaves: Leaves, meter: Meter) -> Self {
        let marks = Marks::new(site.scratch.clone());
        let (stack, lacking) = (Stack::new(site.scratch.clone()), Lacking::default());
        let state = Arc::new(Mutex::new(State { marks, stack, lacking }));
        let codes = site.codecs.codes().collect();
        let (missing, parallel) = (Missing::Names, PARALLEL);
        let (tells, waiting) = (false, Arc::default());
        Self { site, leaves, missing, parallel, tells, meter, codes, waiting, state }
    }

    /// The same walk, which keeps one processor busy at the most.
    pub(crate) fn gently(self) -> Self {
        Self { parallel: 1, ..self }
    }

    /// The same walk, with another way about what is missing.
    pub(crate) fn passing_missing(&self) -> Self {
        Self { missing: Missing::Passes, ..self.clone() }
    }

    /// Comes to some blocks and not to what they link to; says of each whether it is new so.
    pub(crate) async fn mark(&self, hashes: Vec<Multihash>) -> Result<Vec<bool>> {
        let alone: Vec<_> = hashes.into_iter().map(|hash| (hash, ALONE)).collect();
        self.work(move |state| state.marks.insert(&alone)).await
    }

    /// An error if something is missing, which names it. What is asked for anew is no longer known
    /// to be missing.
    pub(crate) async fn lacking(&self) -> Result<()> {
        self.work(|state| std::mem::take(&mut state.lacking).into_result()).await
    }

    /// Gives back some blocks, and whether each was come to.
    pub(crate) async fn contains<T: Send + 'static>(
        &self,
        blocks: Vec<T>,
        hash: fn(&T) -> &Multihash,
    ) -> Result<(Vec<T>, Vec<bool>)> {
        let contains = move |state: &mut State| {
            let are_known = state.marks.contains(blocks.iter().map(hash))?;
            Ok((blocks, are_known))
        };
        self.work(contains).await
    }

    /// Frees what memory it can: nothing more is come to.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.work(|state| state.marks.settle()).await
    }

    /// How many blocks were come to.
    pub(crate) async fn len(&self) -> Result<u64> {
        self.work(|state| Ok(state.marks.len())).await
    }

    /// Works on what was come to, where it may block: that may read and write files.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let state = self.state.clone();
        self.site.runtime.blocking(move || work(&mut lock(&state))).await?
    }

    /// The next blocks that are read together.
    async fn next(&self) -> Result<Vec<Item>> {
        let waiting = self.waiting.clone();
        self.work(move |state| {
            let next = state.stack.pop(state.stack.len().div_ceil(SHARES).clamp(1, BATCH));
            waiting.store(!state.stack.is_empty(), Ordering::Relaxed);
            next
        })
        .await
    }

    async fn begin(self, roots: Vec<Item>) -> Result<Vec<Cid>> {
        let reach = self.clone();
        let come_to = move || {
            let mut new = Vec::new();
            reach.take(roots, &mut new).map(|()| new)
        };
        let new = self.site.runtime.blocking(come_to).await??;
        self.look_for(&new).await?;
        Ok(new)
    }

    /// Reads some blocks and comes to what they link to; gives what is new.
    async fn step(self) -> Result<Vec<Cid>> {
        let mut all = Vec::new();
        for items in self.here(self.next().await?).await? {
            let read = self.read(items).await?;
            let reach = self.clone();
            let new = self.site.runtime.blocking(move || reach.go_on(read)).await??;
            self.look_for(&new).await?;
            if self.tells {
                all.extend(new);
            }
        }
        Ok(all)
    }

    /// Those that are here, in groups of not too many bytes.
    async fn here(&self, batch: Vec<Item>) -> Result<Vec<Vec<Item>>> {
        let asked: Vec<Cid> = batch.iter().map(|item| item.cid).collect();
        let sizes = self.sizes(&asked).await?;
        let (mut groups, mut bytes) = (vec![Vec::new()], 0);
        for (item, size) in batch.into_iter().zip(sizes) {
            let Some(size) = size else {
                self.lacks(item.cid, Error::NotFound(item.cid))?;
                continue;
            };
            bytes += size;
            if bytes > BATCH_BYTES {
                groups.push(Vec::new());
                bytes = size;
            }
            let last = groups.len() - 1;
            groups[last].push(item);
        }
        Ok(groups)
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let stored: Vec<Cid> = cids.iter().filter(|cid| !is_inline(cid)).copied().collect();
        let mut sizes = self.site.store.sizes(&stored).await?.into_iter();
        let size = |cid: &Cid| match is_inline(cid) {
            true => Some(u64::from(cid.hash().size())),
            false => sizes.next().flatten(),
        };
        Ok(cids.iter().map(size).collect())
    }

    async fn read(&self, items: Vec<Item>) -> Result<Read> {
        let (inline, stored): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| is_inline(&item.cid));
        let inline = inline
            .into_iter()
            .filter_map(|Item { cid, follow }| Some((Block::inline(&cid)?, follow)));
        let mut read: Read = inline.collect();
        let cids: Vec<Cid> = stored.iter().map(|item| item.cid).collect();
        let blocks = self.site.store.get_many(&cids).await;
        for (item, block) in stored.into_iter().zip(blocks) {
            match block {
                Ok(Some(block)) => read.push((block, item.follow)),
                Ok(None) => self.lacks(item.cid, Error::NotFound(item.cid))?,
                Err(error) => self.lacks(item.cid, error)?,
            }
        }
        Ok(read)
    }

    /// Comes to what some blocks link to; gives what is new.
    fn go_on(&self, read: Read) -> Result<Vec<Cid>> {
        let mut new = Vec::new();
        for (block, follow) in read {
            self.meter.blocks(1);
            self.meter.bytes(block.len() as u64);
            match self.links(&block, follow) {
                Ok(links) => {
                    let items = links.into_iter().map(|cid| Item { cid, follow });
                    self.take(items.collect(), &mut new)?;
                }
                Err(error) => self.lacks(*block.cid(), error)?,
            }
        }
        Ok(new)
    }

    fn links(&self, block: &Block, follow: Follow) -> Result<Vec<Cid>> {
        if self.leaves == Leaves::Read {
            Block::verify(*block.cid(), block.data().clone(), &self.site.hashes)?;
        }
        follow.links(&self.site.codecs, block)
    }

    /// Takes those that are new.
    fn take(&self, items: Vec<Item>, new: &mut Vec<Cid>) -> Result<()> {
        let mut classes = Vec::with_capacity(items.len());
        for item in &items {
            classes.push((*item.cid.hash(), self.class(item)?));
        }
        let mut state = lock(&self.state);
        let are_new = state.marks.insert(&classes)?;
        let mut waits = false;
        // The first link shall be followed first.
        for ((item, (_, class)), is_new) in items.into_iter().zip(classes).zip(are_new).rev() {
            if !is_new {
                continue;
            }
            if self.tells || self.looks_for(&item.cid) {
                new.push(item.cid);
            }
            if !matches!(class, ALONE | UNKNOWN) {
                state.stack.push(item)?;
                waits = true;
            }
        }
        self.waiting.fetch_or(waits, Ordering::Relaxed);
        Ok(())
    }

    /// What a block is come to for: by codec, for the links depend on it, and which are followed.
    fn class(&self, item: &Item) -> Result<Class> {
        let code = item.cid.codec();
        if code == codes::RAW && self.leaves != Leaves::Read {
            return Ok(ALONE);
        }
        if let Err(error) = self.site.codecs.of(&item.cid) {
            self.lacks(item.cid, error)?;
            return Ok(UNKNOWN);
        }
        let place = self.codes.binary_search(&code).unwrap_or_default();
        let class = Class::try_from(1 + 2 * place + item.follow as usize);
        let class = class.ok().filter(|class| *class != UNKNOWN);
        class.ok_or_else(|| Error::limit("codecs of a node", usize::from(Class::MAX) / 2, place))
    }

    /// Whether a block is only looked for.
    fn looks_for(&self, cid: &Cid) -> bool {
        self.leaves == Leaves::Check && cid.codec() == codes::RAW && !is_inline(cid)
    }

    async fn look_for(&self, new: &[Cid]) -> Result<()> {
        let leaves: Vec<Cid> = new.iter().filter(|cid| self.looks_for(cid)).copied().collect();
        for some in leaves.chunks(LOOK_UPS) {
            let sizes = self.site.store.sizes(some).await?;
            for (cid, size) in some.iter().zip(sizes) {
                match size {
                    Some(size) => {
                        self.meter.blocks(1);
                        self.meter.bytes(size);
                    }
                    None => self.lacks(*cid, Error::NotFound(*cid))?,
                }
            }
        }
        Ok(())
    }

    /// Goes on without a block, if it can.
    fn lacks(&self, cid: Cid, why: Error) -> Result<()> {
        if !is_of_block(&why) {
            return Err(why);
        }
        if self.missing == Missing::Names {
            lock(&self.state).lacking.add(cid, why);
        }
        Ok(())
    }
}

/// Whether an error says that a block is missing or bad, and not that nobody can know.
pub(crate) fn is_of_block(error: &Error) -> bool {
    use Error::{Corrupt, Invalid, Limit, Malformed, NotFound, UnknownCodec, UnknownHash};
    matches!(
        error.what(),
        NotFound(_)
            | Corrupt(_)
            | Malformed { .. }
            | Invalid { .. }
            | Limit { .. }
            | UnknownCodec(_)
            | UnknownHash(_)
    )
}

fn is_inline(cid: &Cid) -> bool {
    cid.hash().code() == codes::IDENTITY
}
