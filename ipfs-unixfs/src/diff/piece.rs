//! Directories as pieces that lie in the order of the hashes of their names, and which pieces of two
//! directories belong together.

use std::{cmp::Ordering, iter::Peekable, vec::IntoIter};

use ipfs_traits::{Block, Cid, Error, Result, codes};

use crate::{
    Name, Node, Target,
    dagpb::OwnedLink,
    hamt::{NameHash, Shape, Shard, Slot},
};

/// A part of a directory: an entry, or a block of a sharded one with all that is below it.
#[derive(Debug)]
pub(super) struct Piece {
    place: Place,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Entry(Name, Target),
    Shard(Cid, Shape),
}

/// The hashes that begin with the first `bits` of `start`, whose other bits are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: u64,
    bits: u32,
}

/// Two directories that are not the same, or two parts of them where hashes begin alike.
#[derive(Debug, Default)]
pub(super) struct Pair {
    before: Vec<Piece>,
    after: Vec<Piece>,
}

/// What differs in two directories, or may.
#[derive(Debug)]
pub(super) enum Step {
    Added(Name, Target),
    Removed(Name, Target),
    /// The same name leads to something else.
    Changed(Name, Target, Target),
    /// To be looked at closer, once the blocks are here that it [wants](Pair::wants).
    Part(Pair),
}

impl Place {
    const ALL: Self = Self { start: 0, bits: 0 };

    const fn of(hash: u64) -> Self {
        Self { start: hash, bits: u64::BITS }
    }

    const fn holds(self, other: Self) -> bool {
        let differ = self.start ^ other.start;
        self.bits <= other.bits && (self.bits == 0 || differ >> (u64::BITS - self.bits) == 0)
    }

    /// The part of it that a slot of a shard is, if hashes have so many bits.
    fn slot(self, slot: usize, shape: Shape) -> Result<Self> {
        let bits = self.bits + shape.bits();
        if bits > u64::BITS {
            let most = (u64::BITS / shape.bits()) as usize;
            return Err(Error::limit("levels of a sharded directory", most, most + 1));
        }
        Ok(Self { start: self.start | (slot as u64) << (u64::BITS - bits), bits })
    }
}

impl Piece {
    fn entry(link: OwnedLink, place: Place) -> Self {
        let target = Target { cid: link.cid, dag_size: link.tsize.unwrap_or(0) };
        Self { place, part: Part::Entry(link.name, target) }
    }

    fn name(&self) -> &[u8] {
        match &self.part {
            Part::Entry(name, _) => name,
            Part::Shard(..) => &[],
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        let place = |piece: &Self| (piece.place.start, piece.place.bits);
        place(self).cmp(&place(other)).then_with(|| self.name().cmp(other.name()))
    }

    /// So that it does not keep the block alive where it was found.
    fn detach(&mut self) {
        if let Part::Entry(name, _) = &mut self.part {
            *name = detached(name);
        }
    }
}

fn detached(name: &Name) -> Name {
    Name::from(name.as_bytes())
}

/// The entries of a directory in one block, by name, or by the hashes of their names if it is
/// compared with a sharded one.
pub(super) fn of_entries(links: Vec<OwnedLink>, by_hash: bool) -> Vec<Piece> {
    let place = |link: &OwnedLink| match by_hash {
        true => Place::of(NameHash::of(&link.name).order()),
        false => Place::of(0),
    };
    let mut pieces: Vec<Piece> = links
        .into_iter()
        .map(|link| {
            let place = place(&link);
            Piece::entry(link, place)
        })
        .collect();
    pieces.sort_by(Piece::order);
    pieces
}

/// What the first block of a sharded directory holds.
pub(super) fn of_root(shard: &Shard) -> Result<Vec<Piece>> {
    of_shard(shard, Place::ALL)
}

fn of_shard(shard: &Shard, place: Place) -> Result<Vec<Piece>> {
    let shape = shard.shape();
    shard
        .slots()
        .map(|(number, slot)| {
            let place = place.slot(number, shape)?;
            match slot {
                Slot::Shard { cid, .. } => {
                    // What is below it has a place too.
                    place.slot(0, shape)?;
                    Ok(Piece { place, part: Part::Shard(cid, shape) })
                }
                Slot::Entry(link) => {
                    let hash = Place::of(NameHash::of(&link.name).order());
                    match place.holds(hash) {
                        true => Ok(Piece::entry(link, hash)),
                        false => Err(malformed("an entry is not where its name's hash leads")),
                    }
                }
            }
        })
        .collect()
}

impl Pair {
    /// The blocks that it cannot be looked at closer without: that of the piece that holds all
    /// others, on either side.
    pub(super) fn wants(&self) -> [Option<Cid>; 2] {
        let [before, after] = self.outer();
        [before, after].map(|outer| outer.map(|(cid, ..)| cid))
    }

    /// Of each side its only piece, if it is a shard that the other side lies within.
    fn outer(&self) -> [Option<(Cid, Shape, Place)>; 2] {
        let only = |pieces: &[Piece]| match pieces {
            [Piece { place, part: Part::Shard(cid, shape) }] => Some((*cid, *shape, *place)),
            _ => None,
        };
        let (before, after) = (only(&self.before), only(&self.after));
        let within = |outer: (Cid, Shape, Place), pieces: &[Piece]| {
            pieces.iter().all(|piece| outer.2.holds(piece.place)).then_some(outer)
        };
        [
            before.and_then(|outer| within(outer, &self.after)),
            after.and_then(|outer| within(outer, &self.before)),
        ]
    }

    /// What differs, from the blocks it wanted.
    pub(super) fn open(mut self, blocks: [Option<&Block>; 2]) -> Result<Vec<Step>> {
        let outer = self.outer();
        for (side, (outer, block)) in std::iter::zip(outer, blocks).enumerate() {
            if let (Some((_, shape, place)), Some(block)) = (outer, block) {
                let pieces = if side == 0 { &mut self.before } else { &mut self.after };
                *pieces = below(block, shape, place)?;
            }
        }
        Ok(compare(self.before, self.after))
    }

    /// Bytes that it takes, and those that are behind it.
    pub(super) fn cost(&self) -> usize {
        let pieces = self.before.iter().chain(&self.after);
        pieces.map(|piece| size_of::<Piece>() + piece.name().len()).sum()
    }
}

/// What a block below the first holds. It is not empty: so no block can stand in two places, and a
/// tree of few blocks cannot have very many.
fn below(block: &Block, shape: Shape, place: Place) -> Result<Vec<Piece>> {
    match Node::parse(block)? {
        Node::Shard(shard) if shard.shape() != shape => {
            Err(malformed("its fanout is not its parent's"))
        }
        Node::Shard(shard) if shard.is_empty() => Err(malformed("a block below it is empty")),
        Node::Shard(shard) => of_shard(&shard, place),
        _ => Err(malformed("what is below it is no shard")),
    }
}

fn malformed(reason: &'static str) -> Error {
    Error::malformed("HAMT shard", reason)
}

/// What differs between pieces that are sorted by their places.
pub(super) fn compare(before: Vec<Piece>, after: Vec<Piece>) -> Vec<Step> {
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    let mut steps = Vec::new();
    loop {
        let first = match (before.peek(), after.peek()) {
            (Some(a), Some(b)) if a.order(b).is_le() => a,
            (_, Some(b)) => b,
            (Some(a), None) => a,
            (None, None) => return steps,
        };
        // Of two places that meet one holds the other, and the larger one begins first.
        let (place, is_entry) = (first.place, matches!(first.part, Part::Entry(..)));
        if is_entry {
            let side = match (before.peek(), after.peek()) {
                (Some(a), Some(b)) => a.order(b),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            let a = if side.is_le() { before.next() } else { None };
            let b = if side.is_ge() { after.next() } else { None };
            steps.extend(entry(a, b));
            continue;
        }
        let pair = Pair { before: within(&mut before, place), after: within(&mut after, place) };
        if !pair.is_equal() {
            steps.push(Step::Part(pair));
        }
    }
}

/// The next pieces that lie in a place.
fn within(pieces: &mut Peekable<IntoIter<Piece>>, place: Place) -> Vec<Piece> {
    let mut found = Vec::new();
    while let Some(mut piece) = pieces.next_if(|piece| place.holds(piece.place)) {
        piece.detach();
        found.push(piece);
    }
    found
}

impl Pair {
    fn is_equal(&self) -> bool {
        let [before, after] = self.outer();
        matches!((before, after), (Some(a), Some(b)) if (a.0, a.2) == (b.0, b.2))
    }
}

/// What differs between an entry on one side, and that of the same name on the other.
fn entry(before: Option<Piece>, after: Option<Piece>) -> Option<Step> {
    let entry = |piece: Piece| match piece.part {
        Part::Entry(name, target) => Some((name, target)),
        Part::Shard(..) => None,
    };
    match (before.and_then(entry), after.and_then(entry)) {
        (None, None) => None,
        (Some((name, before)), None) => Some(Step::Removed(detached(&name), before)),
        (None, Some((name, after))) => Some(Step::Added(detached(&name), after)),
        (Some((_, before)), Some((_, after))) if before.cid == after.cid => None,
        (Some((name, before)), Some((_, after))) => {
            Some(Step::Changed(detached(&name), before, after))
        }
    }
}

/// Whether two things that are not the same may both be directories.
pub(super) fn may_be_directories(before: &Target, after: &Target) -> bool {
    [before, after].iter().all(|target| target.cid.codec() == codes::DAG_PB)
}
