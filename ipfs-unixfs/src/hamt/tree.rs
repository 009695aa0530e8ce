//! A sharded directory under change: what is on the way of a change is loaded, and nothing else.

use std::ops::ControlFlow;

use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, Error, Result};

use super::{
    bitmap::Bitmap,
    build::encode,
    hash::NameHash,
    shard::{Shape, Shard, Slot},
};
use crate::{
    Node,
    attributes::Attributes,
    child::{Child, Sealer},
    directory::{Loads, Target},
};

/// A sharded directory.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    shape: Shape,
    root: Branch,
}

/// A block of it, in memory.
#[derive(Clone, Debug, Default)]
struct Branch {
    bitmap: Bitmap,
    /// As many as slots are taken, in their order.
    twigs: Vec<Twig>,
    /// Its block, unless it was changed since that was made.
    sealed: Option<Target>,
    /// Whether that block is stored.
    stored: bool,
}

#[derive(Clone, Debug)]
enum Twig {
    Entry(Entry),
    Stored(Box<Target>),
    Loaded(Box<Branch>),
}

/// An entry in as little memory as it has in a block.
#[derive(Clone, Debug)]
struct Entry {
    /// The CID, and then the name.
    bytes: Box<[u8]>,
    name_at: u8,
    dag_size: u64,
}

impl Entry {
    fn new(name: &[u8], target: Target) -> Self {
        let len = target.cid.encoded_len();
        let mut bytes = Vec::with_capacity(len + name.len());
        target.cid.write_bytes(&mut bytes).expect("writing to memory cannot fail");
        // A CID has at most some 100 bytes.
        let name_at = bytes.len() as u8;
        bytes.extend_from_slice(name);
        Self { bytes: bytes.into(), name_at, dag_size: target.dag_size }
    }

    fn name(&self) -> &[u8] {
        &self.bytes[self.name_at.into()..]
    }

    fn target(&self) -> Target {
        let cid = Cid::read_bytes(&self.bytes[..self.name_at.into()]);
        Target { cid: cid.expect("it was a CID"), dag_size: self.dag_size }
    }
}

/// What a visitor says of each entry: whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], Target) -> ControlFlow<()> + Send + 'a;

impl Tree {
    pub(crate) fn new(fanout: usize) -> Self {
        Self { shape: Shape::new(fanout), root: Branch::default() }
    }

    pub(crate) fn of(shard: &Shard) -> Self {
        Self { shape: shard.shape(), root: Branch::of(shard, None) }
    }

    /// The entry of this name. `None` if blocks are missing.
    pub(crate) fn get(&mut self, loads: &mut Loads, name: &[u8]) -> Result<Option<Option<Target>>> {
        let mut hash = NameHash::of(name);
        let mut branch = &mut self.root;
        loop {
            let slot = hash.next(self.shape.bits())?;
            if !branch.bitmap.has(slot) {
                return Ok(Some(None));
            }
            let at = branch.bitmap.before(slot);
            if !branch.open(loads, self.shape, at)? {
                return Ok(None);
            }
            match &mut branch.twigs[at] {
                Twig::Entry(there) => {
                    return Ok(Some((there.name() == name).then(|| there.target())));
                }
                Twig::Loaded(below) => branch = below,
                Twig::Stored(_) => return Err(not_loaded()),
            }
        }
    }

    /// Adds an entry, or changes where it leads; gives what was there. `None` if blocks are missing,
    /// and then nothing is changed, nor after an error.
    pub(crate) fn insert(
        &mut self,
        loads: &mut Loads,
        name: &[u8],
        target: Target,
    ) -> Result<Option<Option<Target>>> {
        let hash = NameHash::of(name);
        self.root.insert(loads, self.shape, hash, Entry::new(name, target))
    }

    /// Takes an entry out; gives what was there. `None` as for [`insert`](Self::insert).
    pub(crate) fn remove(
        &mut self,
        loads: &mut Loads,
        name: &[u8],
    ) -> Result<Option<Option<Target>>> {
        self.root.remove(loads, self.shape, NameHash::of(name), name)
    }

    /// All entries whose blocks are here, until the visitor has enough. `None` if blocks are missing
    /// and it has not.
    pub(crate) fn visit_loaded(
        &self,
        loads: &mut Loads,
        visit: &mut Visit<'_>,
    ) -> Result<Option<()>> {
        let flow = self.root.visit_loaded(loads, self.shape, 0, visit)?;
        Ok((flow.is_break() || !loads.are_missing()).then_some(()))
    }

    /// All entries, in the order of their hashes, until the visitor has enough. What is loaded for
    /// it is not kept. Whether all were visited.
    pub(crate) async fn visit(
        &self,
        source: &dyn BlockSource,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        self.root.visit(source, self.shape, 0, visit).await.map(|flow| flow.is_continue())
    }

    /// The root, and in `out` the blocks that are not known to be stored.
    pub(crate) fn seal(
        &mut self,
        sealer: &Sealer,
        attributes: Attributes,
        out: &mut Vec<Block>,
    ) -> Result<Child> {
        let below = self.root.seal_below(self.shape, sealer, out)?;
        let (block, child) = sealer.seal(self.root.encode(self.shape, attributes), 0, below)?;
        out.push(block);
        Ok(child)
    }

    /// What was sealed last is stored now, and need not be in memory any more.
    pub(crate) fn settle(&mut self) {
        for twig in &mut self.root.twigs {
            if let Twig::Loaded(below) = twig
                && let Some(target) = below.sealed
            {
                *twig = Twig::Stored(Box::new(target));
            }
        }
    }
}

impl Branch {
    fn of(shard: &Shard, sealed: Option<Target>) -> Self {
        let twig = |slot| match slot {
            Slot::Entry(link) => {
                let target = Target { cid: link.cid, dag_size: link.tsize.unwrap_or(0) };
                Twig::Entry(Entry::new(&link.name, target))
            }
            Slot::Shard { cid, tsize } => {
                Twig::Stored(Box::new(Target { cid, dag_size: tsize.unwrap_or(0) }))
            }
        };
        let twigs = shard.slots().map(|(_, slot)| twig(slot)).collect();
        Self { bitmap: shard.bitmap(), twigs, sealed, stored: sealed.is_some() }
    }

    fn load(block: &Block, shape: Shape, target: Target) -> Result<Self> {
        match Node::parse(block)? {
            Node::Shard(shard) if shard.shape() == shape => Ok(Self::of(&shard, Some(target))),
            Node::Shard(_) => Err(Error::malformed("HAMT shard", "its fanout is not its parent's")),
            _ => Err(Error::malformed("HAMT shard", "what is below it is no shard")),
        }
    }

    /// Loads what is at a place, unless it is here; `false` if its block is missing.
    fn open(&mut self, loads: &mut Loads, shape: Shape, at: usize) -> Result<bool> {
        if let Twig::Stored(target) = &self.twigs[at] {
            let Some(block) = loads.get(&target.cid) else {
                return Ok(false);
            };
            let loaded = Self::load(&block, shape, **target)?;
            self.twigs[at] = Twig::Loaded(Box::new(loaded));
        }
        Ok(true)
    }

    const fn changed(&mut self) {
        self.sealed = None;
        self.stored = false;
    }

    fn insert(
        &mut self,
        loads: &mut Loads,
        shape: Shape,
        mut hash: NameHash,
        new: Entry,
    ) -> Result<Option<Option<Target>>> {
        let slot = hash.next(shape.bits())?;
        let at = self.bitmap.before(slot);
        if !self.bitmap.has(slot) {
            self.bitmap.set(slot);
            self.twigs.insert(at, Twig::Entry(new));
            self.changed();
            return Ok(Some(None));
        }
        if !self.open(loads, shape, at)? {
            return Ok(None);
        }
        let old = match &mut self.twigs[at] {
            Twig::Entry(there) if there.name() == new.name() => {
                Some(Some(std::mem::replace(there, new).target()))
            }
            Twig::Entry(there) => {
                // Both go a level deeper, where their hashes may differ.
                let mut below = Self::default();
                below.insert(loads, shape, hash.of_other(there.name()), there.clone())?;
                below.insert(loads, shape, hash, new)?;
                self.twigs[at] = Twig::Loaded(Box::new(below));
                Some(None)
            }
            Twig::Loaded(below) => below.insert(loads, shape, hash, new)?,
            Twig::Stored(_) => return Err(not_loaded()),
        };
        if old.is_some() {
            self.changed();
        }
        Ok(old)
    }

    fn remove(
        &mut self,
        loads: &mut Loads,
        shape: Shape,
        mut hash: NameHash,
        name: &[u8],
    ) -> Result<Option<Option<Target>>> {
        let slot = hash.next(shape.bits())?;
        if !self.bitmap.has(slot) {
            return Ok(Some(None));
        }
        let at = self.bitmap.before(slot);
        if !self.open(loads, shape, at)? {
            return Ok(None);
        }
        let removed = match &mut self.twigs[at] {
            Twig::Entry(there) if there.name() == name => {
                let target = there.target();
                self.bitmap.clear(slot);
                self.twigs.remove(at);
                Some(Some(target))
            }
            Twig::Entry(_) => Some(None),
            Twig::Loaded(below) => {
                let removed = below.remove(loads, shape, hash, name)?;
                if let Some(Some(_)) = removed {
                    self.shrink(slot, at);
                }
                removed
            }
            Twig::Stored(_) => return Err(not_loaded()),
        };
        if let Some(Some(_)) = removed {
            self.changed();
        }
        Ok(removed)
    }

    /// A block below with one entry is not there: its entry stands in its place.
    fn shrink(&mut self, slot: usize, at: usize) {
        let Twig::Loaded(below) = &mut self.twigs[at] else {
            return;
        };
        match &below.twigs[..] {
            [] => {
                self.bitmap.clear(slot);
                self.twigs.remove(at);
            }
            [Twig::Entry(_)] => {
                if let Some(only) = below.twigs.pop() {
                    self.twigs[at] = only;
                }
            }
            _ => {}
        }
    }

    fn visit<'a>(
        &'a self,
        source: &'a dyn BlockSource,
        shape: Shape,
        depth: u32,
        visit: &'a mut Visit<'_>,
    ) -> BoxFuture<'a, Result<ControlFlow<()>>> {
        async move {
            check_depth(shape, depth)?;
            let mut loaded = self.fetch(source, shape).await?;
            for (at, twig) in self.twigs.iter().enumerate() {
                let flow = match twig {
                    Twig::Entry(entry) => visit(entry.name(), entry.target()),
                    Twig::Loaded(below) => below.visit(source, shape, depth + 1, visit).await?,
                    Twig::Stored(_) => match loaded[at].take() {
                        Some(below) => below.visit(source, shape, depth + 1, visit).await?,
                        None => return Err(not_loaded()),
                    },
                };
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            Ok(ControlFlow::Continue(()))
        }
        .boxed()
    }

    fn visit_loaded(
        &self,
        loads: &mut Loads,
        shape: Shape,
        depth: u32,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>> {
        check_depth(shape, depth)?;
        for twig in &self.twigs {
            let flow = match twig {
                Twig::Entry(entry) => visit(entry.name(), entry.target()),
                Twig::Loaded(below) => below.visit_loaded(loads, shape, depth + 1, visit)?,
                Twig::Stored(target) => match loads.get(&target.cid) {
                    Some(block) => {
                        let below = Self::load(&block, shape, **target)?;
                        below.visit_loaded(loads, shape, depth + 1, visit)?
                    }
                    // It will be asked for, with others.
                    None if !loads.are_many() => ControlFlow::Continue(()),
                    None => return Ok(ControlFlow::Continue(())),
                },
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The blocks below that are not loaded, each in its place, asked for together.
    async fn fetch(&self, source: &dyn BlockSource, shape: Shape) -> Result<Vec<Option<Self>>> {
        let mut loaded: Vec<Option<Self>> = self.twigs.iter().map(|_| None).collect();
        let stored: Vec<(usize, Target)> = self
            .twigs
            .iter()
            .enumerate()
            .filter_map(|(at, twig)| match twig {
                Twig::Stored(target) => Some((at, **target)),
                _ => None,
            })
            .collect();
        let cids: Vec<Cid> = stored.iter().map(|(_, target)| target.cid).collect();
        let mut answers = source.get_many(stream::iter(cids).boxed());
        while let Some((cid, block)) = answers.next().await {
            let block = block?;
            for (at, target) in stored.iter().filter(|(_, target)| target.cid == cid) {
                loaded[*at] = Some(Self::load(&block, shape, *target)?);
            }
        }
        Ok(loaded)
    }

    /// Seals what is below; how many bytes it has.
    fn seal_below(&mut self, shape: Shape, sealer: &Sealer, out: &mut Vec<Block>) -> Result<u64> {
        self.twigs.iter_mut().try_fold(0_u64, |sum, twig| {
            let size = match twig {
                Twig::Entry(entry) => entry.dag_size,
                Twig::Stored(target) => target.dag_size,
                Twig::Loaded(below) => below.seal(shape, sealer, out)?.dag_size,
            };
            // A stranger's hint can be anything.
            Ok(sum.saturating_add(size))
        })
    }

    fn seal(&mut self, shape: Shape, sealer: &Sealer, out: &mut Vec<Block>) -> Result<Target> {
        if let Some(sealed) = self.sealed.filter(|_| self.stored) {
            return Ok(sealed);
        }
        let below = self.seal_below(shape, sealer, out)?;
        let (block, child) = sealer.seal(self.encode(shape, Attributes::NONE), 0, below)?;
        out.push(block);
        self.sealed = Some(child.into());
        Ok(child.into())
    }

    /// The bytes of its block, once all below is sealed.
    fn encode(&self, shape: Shape, attributes: Attributes) -> Vec<u8> {
        let (mut names, mut links) = (Vec::new(), Vec::with_capacity(self.twigs.len()));
        for (slot, twig) in std::iter::zip(self.bitmap.slots(), &self.twigs) {
            let start = names.len();
            shape.write_slot(slot, &mut names);
            let target = match twig {
                Twig::Entry(entry) => {
                    names.extend_from_slice(entry.name());
                    Some(entry.target())
                }
                Twig::Stored(target) => Some(**target),
                Twig::Loaded(below) => below.sealed,
            };
            links.extend(target.map(|target| (start..names.len(), target)));
        }
        let links = links.iter().map(|(name, target)| target.link(&names[name.clone()]));
        encode(shape, self.bitmap, links, attributes)
    }
}

fn check_depth(shape: Shape, depth: u32) -> Result<()> {
    let most = u64::BITS / shape.bits();
    match depth < most {
        true => Ok(()),
        false => {
            Err(Error::limit("levels of a sharded directory", most as usize, depth as usize + 1))
        }
    }
}

/// What cannot be, since the way was loaded before.
fn not_loaded() -> Error {
    Error::malformed("HAMT shard", "it was not loaded")
}
