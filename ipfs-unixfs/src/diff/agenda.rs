//! What is still to be told, in order, and what is looked at ahead of its turn.
//!
//! The agenda is one flat list, so that no depth of a tree is a depth of calls. What needs blocks
//! stands in it as one slot, in whose place comes what the blocks say as soon as they are here.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    task::{Context, Poll},
};

use ipfs_traits::{BlockSource, Cid, Error, Result};

use super::{
    load::{Blocks, Load},
    node::{Found, look},
    piece::{Pair, Step, may_be_directories},
};
use crate::{Change, Name, Target, data::Mtime};

/// Pairs of blocks that are asked for or held at once.
const AHEAD: usize = 32;

/// Slots, counted from the front, of which those that need blocks ask for them.
const HORIZON: usize = 256;

/// Bytes of the agenda beyond which nothing is asked for but what is needed next.
const WINDOW: usize = 16 << 20;

/// Bytes of the agenda that are never exceeded by more than one pair of blocks adds: several levels
/// of the largest directories, all entries of which differ.
const MAX_HELD: usize = 256 << 20;

/// Levels of directories: deeper than any path that a system opens.
const MAX_DEPTH: usize = 1024;

/// Pairs of directories that are known not to differ, some 200 bytes each.
const MAX_ALIKE: usize = 16_384;

pub(super) struct Agenda {
    load: Load,
    slots: VecDeque<Slot>,
    /// Bytes that the slots take, and may take.
    held: usize,
    most: usize,
    /// The directories that the front is in, from the root on.
    open: Vec<Open>,
    alike: HashSet<(Cid, Cid)>,
    /// Pairs that were asked for and are not left yet: where one stands again it can wait, since
    /// they may turn out not to differ.
    begun: HashSet<(Cid, Cid)>,
    told: u64,
    done: bool,
}

/// A directory that the front is in.
struct Open {
    name: Name,
    /// How many changes were told when it was entered.
    told: u64,
}

enum Slot {
    Tell(Tell),
    /// Something to look at, and under which number its blocks were asked for.
    Look(Look, usize, Option<u64>),
    Enter(Name),
    /// The end of what differs in two directories.
    Leave(Cid, Cid),
    Failed(Error),
}

enum Tell {
    Added(Name, Target),
    Removed(Name, Target),
    Changed(Name, Target, Target),
    Touched(Option<u32>, Option<Mtime>),
}

enum Look {
    /// Two things of one name, which may be directories.
    Name(Name, Target, Target),
    /// Two parts of sharded directories.
    Part(Pair),
}

impl Agenda {
    pub(super) fn new(source: Arc<dyn BlockSource>, before: Cid, after: Cid) -> Self {
        let mut slots = VecDeque::new();
        if before != after {
            // How large they are their blocks will say.
            let root = |cid| Target { cid, dag_size: 0 };
            let look = Look::Name(Name::default(), root(before), root(after));
            slots.push_back(Slot::Look(look, 0, None));
        }
        let held = slots.iter().map(Slot::cost).sum();
        let (load, open) = (Load::new(source), Vec::new());
        let (alike, begun) = (HashSet::new(), HashSet::new());
        Self { load, slots, held, most: MAX_HELD, open, alike, begun, told: 0, done: false }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Change>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = self.next(cx);
        if !matches!(next, Poll::Ready(Some(Ok(_))) | Poll::Pending) {
            self.done = true;
            self.slots.clear();
        }
        next
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Change>>> {
        loop {
            self.advance(cx);
            match self.slots.pop_front() {
                None => return Poll::Ready(None),
                Some(Slot::Failed(error)) => return Poll::Ready(Some(Err(error))),
                Some(look @ Slot::Look(..)) => {
                    self.slots.push_front(look);
                    return Poll::Pending;
                }
                Some(slot) => {
                    self.held -= slot.cost();
                    if let Some(change) = self.pass(slot) {
                        self.told += 1;
                        return Poll::Ready(Some(Ok(change)));
                    }
                }
            }
        }
    }

    /// What a slot at the front has to tell.
    fn pass(&mut self, slot: Slot) -> Option<Change> {
        match slot {
            Slot::Tell(tell) => Some(self.tell(tell)),
            Slot::Enter(name) => {
                self.open.push(Open { name, told: self.told });
                None
            }
            Slot::Leave(before, after) => {
                self.begun.remove(&(before, after));
                if self.open.pop().is_some_and(|open| open.told == self.told) {
                    if self.alike.len() >= MAX_ALIKE {
                        self.alike.clear();
                    }
                    self.alike.insert((before, after));
                }
                None
            }
            Slot::Look(..) | Slot::Failed(_) => None,
        }
    }

    fn tell(&self, tell: Tell) -> Change {
        // The root has no name, neither as a directory nor as what was changed.
        let path = |name: Option<Name>| {
            let way = self.open.iter().map(|open| open.name.clone()).chain(name);
            way.skip(1).collect()
        };
        match tell {
            Tell::Added(name, after) => Change::Added { path: path(Some(name)), after },
            Tell::Removed(name, before) => Change::Removed { path: path(Some(name)), before },
            Tell::Changed(name, before, after) => {
                Change::Changed { path: path(Some(name)), before, after }
            }
            Tell::Touched(mode, mtime) => Change::Touched { path: path(None), mode, mtime },
        }
    }

    /// Looks through the slots from the front, opens those whose blocks are here, and asks for more.
    fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            self.load.poll(cx);
            // What is asked for must be polled once, or nothing wakes this.
            if !self.walk() {
                return;
            }
        }
    }

    /// One way through the slots; whether anything was asked for.
    fn walk(&mut self) -> bool {
        let (mut at, mut first, mut any) = (0, true, false);
        while at < HORIZON {
            match self.slots.get_mut(at) {
                None | Some(Slot::Failed(_)) => break,
                Some(Slot::Look(look, ..)) if look.is_among(&self.alike) => {
                    self.replace(at, Vec::new());
                    continue;
                }
                Some(Slot::Look(look, _, None)) if at > 0 && look.is_among(&self.begun) => {
                    first = false;
                }
                Some(Slot::Look(look, _, asked @ None)) => {
                    // What is at the front is needed in any case.
                    let room = self.load.count() < AHEAD && self.held < WINDOW;
                    if !room && !first {
                        break;
                    }
                    *asked = Some(self.load.ask(look.wants()));
                    self.begun.extend(look.pair());
                    (first, any) = (false, true);
                }
                Some(Slot::Look(_, _, Some(number))) => {
                    if let Some(blocks) = self.load.take(*number) {
                        self.open(at, blocks);
                        continue;
                    }
                    first = false;
                }
                Some(_) => {}
            }
            at += 1;
        }
        any
    }

    /// Puts what blocks say in the place of a slot that needed them.
    fn open(&mut self, at: usize, blocks: Result<Blocks>) {
        let Some(Slot::Look(look, depth, _)) = self.slots.get_mut(at) else {
            return;
        };
        let (look, depth) = (std::mem::replace(look, Look::Part(Pair::default())), *depth);
        self.held -= look.cost();
        let pair = look.pair();
        let slots = blocks.and_then(|blocks| look.open(blocks, depth));
        if let Some(pair) = pair
            && !slots.as_ref().is_ok_and(|slots| matches!(slots.last(), Some(Slot::Leave(..))))
        {
            self.begun.remove(&pair);
        }
        self.replace(at, slots.unwrap_or_else(|error| vec![Slot::Failed(error)]));
        if self.held > self.most {
            let error = Error::limit("bytes of differences under way", self.most, self.held);
            self.replace(at, vec![Slot::Failed(error)]);
        }
    }

    fn replace(&mut self, at: usize, slots: Vec<Slot>) {
        let before: Vec<Slot> = self.slots.drain(..at).collect();
        if let Some(old) = self.slots.pop_front() {
            self.held -= old.cost();
        }
        self.held += slots.iter().map(Slot::cost).sum::<usize>();
        for slot in before.into_iter().chain(slots).rev() {
            self.slots.push_front(slot);
        }
    }
}

impl Look {
    /// The two things of one name.
    const fn pair(&self) -> Option<(Cid, Cid)> {
        match self {
            Self::Name(_, before, after) => Some((before.cid, after.cid)),
            Self::Part(_) => None,
        }
    }

    fn is_among(&self, pairs: &HashSet<(Cid, Cid)>) -> bool {
        self.pair().is_some_and(|pair| pairs.contains(&pair))
    }

    fn wants(&self) -> [Option<Cid>; 2] {
        match self {
            Self::Name(_, before, after) => [Some(before.cid), Some(after.cid)],
            Self::Part(pair) => pair.wants(),
        }
    }

    /// What there is to tell and to look at, at this depth.
    fn open(self, [before, after]: Blocks, depth: usize) -> Result<Vec<Slot>> {
        if depth > MAX_DEPTH {
            return Err(Error::limit("levels of a tree", MAX_DEPTH, depth));
        }
        let (name, (was, is), blocks) = match (self, before, after) {
            (Self::Part(pair), before, after) => {
                let steps = pair.open([before.as_ref(), after.as_ref()])?;
                return Ok(steps.into_iter().map(|step| Slot::of(step, depth)).collect());
            }
            (Self::Name(name, was, is), Some(before), Some(after)) => {
                (name, (was, is), (before, after))
            }
            (Self::Name(..), ..) => return Err(Error::Closed("the source of blocks")),
        };
        let (touched, steps) = match look(&blocks.0, &blocks.1)? {
            Found::Directories { touched, steps } => (touched, steps),
            Found::Whole if depth == 0 => {
                let (was, is) = (Target::of(&blocks.0)?, Target::of(&blocks.1)?);
                return Ok(vec![Slot::Tell(Tell::Changed(name, was, is))]);
            }
            Found::Whole => return Ok(vec![Slot::Tell(Tell::Changed(name, was, is))]),
        };
        let touched = touched.map(|(mode, mtime)| Slot::Tell(Tell::Touched(mode, mtime)));
        let steps = steps.into_iter().map(|step| Slot::of(step, depth + 1));
        let first = std::iter::once(Slot::Enter(name)).chain(touched);
        Ok(first.chain(steps).chain([Slot::Leave(was.cid, is.cid)]).collect())
    }

    fn cost(&self) -> usize {
        match self {
            Self::Name(name, ..) => name.len(),
            Self::Part(pair) => pair.cost(),
        }
    }
}

impl Slot {
    fn of(step: Step, depth: usize) -> Self {
        match step {
            Step::Added(name, after) => Self::Tell(Tell::Added(name, after)),
            Step::Removed(name, before) => Self::Tell(Tell::Removed(name, before)),
            Step::Changed(name, before, after) if may_be_directories(&before, &after) => {
                Self::Look(Look::Name(name, before, after), depth, None)
            }
            Step::Changed(name, before, after) => Self::Tell(Tell::Changed(name, before, after)),
            Step::Part(pair) => Self::Look(Look::Part(pair), depth, None),
        }
    }

    /// Bytes that it takes, and those that are behind it.
    fn cost(&self) -> usize {
        let behind = match self {
            Self::Tell(Tell::Added(name, _) | Tell::Removed(name, _) | Tell::Changed(name, ..))
            | Self::Enter(name) => name.len(),
            Self::Look(look, ..) => look.cost(),
            Self::Tell(Tell::Touched(..)) | Self::Leave(..) | Self::Failed(_) => 0,
        };
        size_of::<Self>() + behind
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
