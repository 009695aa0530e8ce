//! The queue of what is below one block.

use std::{collections::VecDeque, task::Context, task::Poll};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use ipfs_traits::{Block, Cid, Error, Result};

use super::{
    Admit, MAX_ASKED, MAX_NESTED, Opened, Reader, SLOT,
    asked::{Asked, Number},
};

/// A block to ask for, and what it should be.
pub(crate) struct Want<R: Reader> {
    pub(crate) cid: Cid,
    pub(crate) role: R::Role,
    /// How many bytes it is taken for until it is here.
    estimate: usize,
    admitted: bool,
    /// Its own first item is left out.
    pub(super) muted: bool,
}

impl<R: Reader> Want<R> {
    pub(crate) const fn new(cid: Cid, role: R::Role, estimate: usize) -> Self {
        Self { cid, role, estimate, admitted: false, muted: false }
    }
}

/// What comes next below a block.
pub(crate) enum Next<R: Reader> {
    /// A block to ask for.
    Want(Want<R>),
    /// An item that is there already.
    Item(R::Item),
}

type Rest<R> = Box<dyn Iterator<Item = Next<R>> + Send>;

/// The queue of what is below one block.
pub(crate) struct Level<R: Reader> {
    slots: VecDeque<Slot<R>>,
    /// What was not looked at yet.
    rest: Option<Rest<R>>,
    /// What is told when all is read.
    end: Option<R::Item>,
    /// Bytes of the block that all this is read from.
    weight: usize,
    /// How many blocks lead here.
    depth: usize,
    muted: bool,
}

pub(super) enum Slot<R: Reader> {
    /// Not asked for yet, or given up again.
    Idle(Want<R>),
    Asked {
        number: Number,
        want: Want<R>,
    },
    /// What is in it is being found out.
    Busy {
        want: Want<R>,
        work: BoxFuture<'static, Result<Opened<R>>>,
        depth: usize,
    },
    Ready {
        want: Option<Want<R>>,
        item: R::Item,
    },
    Below {
        want: Want<R>,
        level: Box<Level<R>>,
    },
    Failed {
        want: Option<Want<R>>,
        error: Error,
    },
}

/// What a pass through the slots works with.
pub(super) struct Pass<'a, 'cx, R: Reader> {
    pub(super) reader: &'a mut R,
    pub(super) asked: &'a mut Asked,
    pub(super) cx: &'a mut Context<'cx>,
    pub(super) busy: &'a mut usize,
    pub(super) slots: &'a mut usize,
}

/// How far ahead of the reader the place is that a pass has come to.
pub(super) struct Room {
    window: usize,
    bytes: usize,
    /// There are too many slots already: only what is wanted next is looked at.
    narrow: bool,
}

impl Room {
    pub(super) const fn new(window: usize, narrow: bool) -> Self {
        Self { window, bytes: 0, narrow }
    }

    const fn left(&self) -> bool {
        self.bytes < self.window && !(self.narrow && self.bytes > 0)
    }
}

impl<R: Reader> Level<R> {
    /// What is in a block of so many bytes: items, then what `rest` gives, then an item for the end.
    pub(crate) fn new(
        weight: usize,
        items: impl IntoIterator<Item = R::Item>,
        rest: Option<Rest<R>>,
        end: Option<R::Item>,
    ) -> Self {
        let slots = items.into_iter().map(|item| Slot::Ready { want: None, item }).collect();
        Self { slots, rest, end, weight, depth: 0, muted: false }
    }

    /// One block, not asked for yet.
    pub(crate) fn one(want: Want<R>) -> Self {
        Self { slots: VecDeque::from([Slot::Idle(want)]), ..Self::empty() }
    }

    pub(super) fn empty() -> Self {
        Self::new(0, [], None, None)
    }

    /// Whether there is nothing more in it, not even an end.
    pub(super) fn is_over(&self) -> bool {
        self.slots.is_empty() && self.rest.is_none() && self.end.is_none()
    }

    /// Whether all of it was looked at.
    pub(super) const fn is_drawn(&self) -> bool {
        self.rest.is_none()
    }

    pub(super) const fn end(&mut self) -> Option<R::Item> {
        self.end.take()
    }

    pub(super) fn front(&mut self) -> Option<&mut Slot<R>> {
        self.slots.front_mut()
    }

    pub(super) fn drop_front(&mut self) {
        self.slots.pop_front();
    }

    /// Takes the first slot if it can be read or followed; asks for it if it was not asked for.
    pub(super) fn take_front(&mut self, asked: &mut Asked) -> Option<Slot<R>> {
        let front = self.slots.front_mut()?;
        match front {
            Slot::Idle(_) => {
                front.ask(asked);
                None
            }
            Slot::Asked { .. } | Slot::Busy { .. } => None,
            _ => self.slots.pop_front(),
        }
    }

    /// The item, unless it is the one that is left out.
    pub(super) fn unmuted(&mut self, item: R::Item) -> Option<R::Item> {
        (!std::mem::take(&mut self.muted)).then_some(item)
    }

    pub(super) const fn mute(&mut self) {
        self.muted = true;
    }

    /// Looks through the slots from the front, opens what has arrived, and asks for more where
    /// there is room; `false` when there is none behind it.
    pub(super) fn advance(
        &mut self,
        pass: &mut Pass<'_, '_, R>,
        room: &mut Room,
        nested: usize,
    ) -> bool {
        let mut at = 0;
        while room.left() {
            if at == self.slots.len() {
                match self.rest.as_mut().and_then(Iterator::next) {
                    Some(Next::Want(want)) => self.slots.push_back(Slot::Idle(want)),
                    Some(Next::Item(item)) => {
                        self.slots.push_back(Slot::Ready { want: None, item })
                    }
                    None => {
                        self.rest = None;
                        return true;
                    }
                }
                *pass.slots += 1;
            }
            if !self.slots[at].advance(pass, room, self.depth + 1, nested) {
                return false;
            }
            at += 1;
        }
        false
    }

    /// How many bytes are held.
    pub(super) fn held(&self, asked: &Asked) -> usize {
        self.weight + self.slots.iter().map(|slot| slot.held(asked)).sum::<usize>()
    }

    /// How many slots there are, those of the levels below counted.
    pub(super) fn slots(&self) -> usize {
        let below = |slot: &Slot<R>| match slot {
            Slot::Below { level, .. } => level.slots(),
            _ => 0,
        };
        self.slots.len() + self.slots.iter().map(below).sum::<usize>()
    }

    /// Gives up so many bytes of what is read last.
    pub(super) fn give_up(&mut self, asked: &mut Asked, excess: &mut usize) {
        for slot in self.slots.iter_mut().skip(1).rev() {
            if *excess == 0 {
                return;
            }
            let held = slot.held(asked);
            if held > 0 {
                slot.give_up(asked);
                *excess = excess.saturating_sub(held);
            }
        }
    }
}

impl<R: Reader> Slot<R> {
    const fn want(&mut self) -> Option<&mut Want<R>> {
        match self {
            Self::Idle(want)
            | Self::Asked { want, .. }
            | Self::Busy { want, .. }
            | Self::Below { want, .. } => Some(want),
            Self::Ready { want, .. } | Self::Failed { want, .. } => want.as_mut(),
        }
    }

    /// Whether this is read, now that its turn has come.
    pub(super) fn admit(&mut self, reader: &mut R, asked: &mut Asked) -> Result<bool> {
        let Some(want) = self.want().filter(|want| !want.admitted) else { return Ok(true) };
        want.admitted = true;
        match reader.admit(&want.cid, &want.role)? {
            Admit::Take => {}
            Admit::Below => want.muted = true,
            Admit::Skip => {
                if let Self::Asked { number, want } = self {
                    asked.forget(&want.cid, *number);
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ask(&mut self, asked: &mut Asked) {
        self.change(|slot| match slot {
            Self::Idle(want) => Self::Asked { number: asked.ask(want.cid), want },
            other => other,
        });
    }

    /// Puts something else in its place, made of what it was.
    fn change(&mut self, make: impl FnOnce(Self) -> Self) {
        let hole = Self::Failed { want: None, error: Error::Closed("a slot") };
        *self = make(std::mem::replace(self, hole));
    }

    /// Opens it as far as it can be, asks for it if it was not, and counts it; `false` when nothing
    /// behind it will be read.
    fn advance(
        &mut self,
        pass: &mut Pass<'_, '_, R>,
        room: &mut Room,
        depth: usize,
        nested: usize,
    ) -> bool {
        if let Self::Idle(want) = self
            && pass.asked.under_way() < MAX_ASKED
            && !pass.reader.is_known(&want.cid, &want.role)
        {
            self.ask(pass.asked);
        }
        if let Self::Asked { number, .. } = self
            && let Some(answer) = pass.asked.take(*number)
        {
            self.open(pass, answer, depth);
        }
        self.find_out(pass);
        match self {
            Self::Idle(_) => room.bytes += SLOT,
            Self::Asked { want, .. } => room.bytes += want.estimate + SLOT,
            Self::Busy { want, .. } => {
                *pass.busy += 1;
                room.bytes += want.estimate + SLOT;
            }
            Self::Ready { item, .. } => room.bytes += R::len(item) + SLOT,
            Self::Below { level, .. } => {
                room.bytes += SLOT;
                return nested >= MAX_NESTED || level.advance(pass, room, nested + 1);
            }
            Self::Failed { .. } => return false,
        }
        true
    }

    /// Puts what a block holds in the place of the question.
    fn open(&mut self, pass: &mut Pass<'_, '_, R>, answer: Result<Block>, depth: usize) {
        self.change(|slot| {
            let Self::Asked { want, .. } = slot else { return slot };
            let opened = answer.and_then(|block| pass.reader.open(&want.role, block, depth));
            Self::opened(want, opened, depth)
        });
        self.count(pass);
    }

    /// Counts the slots that came with a level.
    fn count(&self, pass: &mut Pass<'_, '_, R>) {
        if let Self::Below { level, .. } = self {
            *pass.slots += level.slots.len();
        }
    }

    fn opened(want: Want<R>, opened: Result<Opened<R>>, depth: usize) -> Self {
        match opened {
            Ok(Opened::Item(item)) => Self::Ready { want: Some(want), item },
            Ok(Opened::Level(level)) => {
                let level = Box::new(Level { depth, ..level });
                Self::Below { want, level }
            }
            Ok(Opened::Later(work)) => Self::Busy { want, work, depth },
            Err(error) => Self::Failed { want: Some(want), error },
        }
    }

    fn find_out(&mut self, pass: &mut Pass<'_, '_, R>) {
        if let Self::Busy { work, .. } = self
            && let Poll::Ready(found) = work.poll_unpin(pass.cx)
        {
            self.change(|slot| match slot {
                Self::Busy { want, depth, .. } => Self::opened(want, found, depth),
                other => other,
            });
            self.count(pass);
        }
    }

    /// How many bytes it holds of a block that can be asked for again.
    fn held(&self, asked: &Asked) -> usize {
        match self {
            Self::Asked { number, .. } => asked.held(*number),
            Self::Ready { want: Some(_), item } => R::len(item),
            Self::Below { level, .. } => level.held(asked),
            _ => 0,
        }
    }

    /// Becomes a block that was not asked for, if it holds one.
    fn give_up(&mut self, asked: &mut Asked) {
        self.change(|slot| match slot {
            Self::Asked { number, want } => {
                asked.forget(&want.cid, number);
                Self::Idle(want)
            }
            Self::Ready { want: Some(want), .. } | Self::Below { want, .. } => Self::Idle(want),
            other => other,
        });
    }
}
