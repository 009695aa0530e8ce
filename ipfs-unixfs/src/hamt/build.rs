//! A sharded directory made at once of all its entries.
//!
//! Sorted by the hashes of their names, the entries of any block of any level are a run. So the runs
//! are found from the top down, and the blocks are made from the bottom up, a whole level side by
//! side.

use std::ops::Range;

use ipfs_traits::{Block, Error, Result};

use super::{
    bitmap::Bitmap,
    hash::{MURMUR3, NameHash},
    shard::Shape,
};
use crate::{
    Name,
    attributes::Attributes,
    child::{Child, Sealer, Unsealed},
    dagpb::{self, Link},
    data::{Kind, NewData},
};

/// Bytes of blocks that are made at once.
const BATCH_BYTES: usize = 4 << 20;

/// A sharded directory in the making: each step gives some of its blocks.
#[derive(Debug)]
pub(crate) struct Build {
    shape: Shape,
    sealer: Sealer,
    attributes: Attributes,
    entries: Vec<(Name, Child)>,
    /// The hash of each entry and its place among them, in the order of the hashes.
    order: Vec<(u64, u32)>,
    /// The runs of entries that still need blocks, a list for each level, the top first.
    levels: Vec<Vec<Range<u32>>>,
    /// How many runs of the last level have their blocks.
    done: usize,
    /// The blocks of the level below, in its order, and how many have got a parent.
    below: Vec<Child>,
    adopted: usize,
    /// The blocks of this level.
    made: Vec<Child>,
}

impl Build {
    /// Sorts the entries.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for two of one name, [`Error::Limit`] for names whose hashes agree in all
    /// bits.
    pub(crate) fn new(
        fanout: usize,
        sealer: Sealer,
        entries: Vec<(Name, Child)>,
        attributes: Attributes,
    ) -> Result<Self> {
        let count = u32::try_from(entries.len()).map_err(|_| {
            Error::limit("entries of a directory", u32::MAX as usize, entries.len())
        })?;
        let mut order: Vec<(u64, u32)> =
            std::iter::zip(entries.iter().map(|(name, _)| NameHash::of(name).order()), 0..count)
                .collect();
        order.sort_unstable();
        let name = |at: usize| &entries[order[at].1 as usize].0;
        let twice = (1..order.len())
            .find(|at| order[at - 1].0 == order[*at].0 && name(at - 1) == name(*at));
        if let Some(at) = twice {
            return Err(Error::invalid("entries", format!("{:?} is twice among them", name(at))));
        }
        let shape = Shape::new(fanout);
        let levels = levels(shape, &order)?;
        Ok(Self {
            shape,
            sealer,
            attributes,
            entries,
            order,
            levels,
            done: 0,
            below: Vec::new(),
            adopted: 0,
            made: Vec::new(),
        })
    }

    /// The next blocks, and the root once it is among them. It computes for a while.
    pub(crate) fn step(&mut self) -> Result<(Vec<Block>, Option<Child>)> {
        let (mut nodes, mut bytes) = (Vec::new(), 0);
        let depth = self.levels.len() - 1;
        while bytes < BATCH_BYTES && self.done < self.levels[depth].len() {
            let run = self.levels[depth][self.done].clone();
            let (node, below) = self.node(run, depth as u32);
            bytes += node.len();
            nodes.push(Unsealed { bytes: node.into(), size: 0, below });
            self.done += 1;
        }
        let (blocks, children): (Vec<Block>, Vec<Child>) =
            self.sealer.seal_many(nodes)?.into_iter().unzip();
        self.made.extend(children);
        if self.done < self.levels[depth].len() {
            return Ok((blocks, None));
        }
        self.levels.pop();
        self.below = std::mem::take(&mut self.made);
        (self.done, self.adopted) = (0, 0);
        let root = self.levels.is_empty().then(|| self.below[0]);
        Ok((blocks, root))
    }

    /// The bytes of the block of a run, and how many those below it have.
    fn node(&mut self, run: Range<u32>, depth: u32) -> (Vec<u8>, u64) {
        let mut bitmap = Bitmap::default();
        let (mut names, mut children) = (Vec::new(), Vec::new());
        for part in Parts::new(self.shape, &self.order, run, depth) {
            let slot = slot(self.shape, self.order[part.start as usize].0, depth);
            bitmap.set(slot);
            let start = names.len();
            self.shape.write_slot(slot, &mut names);
            if part.len() == 1 {
                let (name, child) = &self.entries[self.order[part.start as usize].1 as usize];
                names.extend_from_slice(name);
                children.push((start..names.len(), *child));
            } else {
                children.push((start..names.len(), self.below[self.adopted]));
                self.adopted += 1;
            }
        }
        let links = children.iter().map(|(name, child)| child.link(&names[name.clone()]));
        let attributes = if depth == 0 { self.attributes } else { Attributes::NONE };
        let bytes = encode(self.shape, bitmap, links, attributes);
        (bytes, children.iter().map(|(_, child)| child.tsize).sum())
    }
}

/// The bytes of a shard.
pub(super) fn encode<'a>(
    shape: Shape,
    bitmap: Bitmap,
    links: impl Iterator<Item = Link<'a>> + Clone,
    attributes: Attributes,
) -> Vec<u8> {
    let bitmap = bitmap.to_bytes();
    let data = NewData {
        content: Some(&bitmap),
        hash_type: Some(MURMUR3),
        fanout: Some(shape.fanout() as u64),
        ..attributes.data(Kind::HamtShard)
    };
    dagpb::encode(links, Some(&data.encode()))
}

/// The runs of entries that have blocks, level by level. The first level is the run of all.
fn levels(shape: Shape, order: &[(u64, u32)]) -> Result<Vec<Vec<Range<u32>>>> {
    // As many as the entries, which were counted in 32 bits.
    let mut levels = vec![vec![0..order.len() as u32]];
    loop {
        let depth = levels.len() as u32;
        let next: Vec<Range<u32>> = levels[levels.len() - 1]
            .iter()
            .flat_map(|run| Parts::new(shape, order, run.clone(), depth - 1))
            .filter(|part| part.len() > 1)
            .collect();
        if next.is_empty() {
            return Ok(levels);
        }
        if (depth + 1) * shape.bits() > u64::BITS {
            let most = (u64::BITS / shape.bits()) as usize;
            return Err(Error::limit("levels of a sharded directory", most, most + 1));
        }
        levels.push(next);
    }
}

/// The slot of a hash in a block of this level.
const fn slot(shape: Shape, hash: u64, depth: u32) -> usize {
    // At most 10 bits.
    ((hash << (depth * shape.bits())) >> (u64::BITS - shape.bits())) as usize
}

/// The parts of a run that share a slot each.
struct Parts<'a> {
    shape: Shape,
    order: &'a [(u64, u32)],
    rest: Range<u32>,
    depth: u32,
}

impl<'a> Parts<'a> {
    const fn new(shape: Shape, order: &'a [(u64, u32)], run: Range<u32>, depth: u32) -> Self {
        Self { shape, order, rest: run, depth }
    }
}

impl Iterator for Parts<'_> {
    type Item = Range<u32>;

    fn next(&mut self) -> Option<Range<u32>> {
        let of = |at: u32| slot(self.shape, self.order[at as usize].0, self.depth);
        let start = self.rest.next()?;
        let first = of(start);
        while !self.rest.is_empty() && of(self.rest.start) == first {
            self.rest.start += 1;
        }
        Some(start..self.rest.start)
    }
}
