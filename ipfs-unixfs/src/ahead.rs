//! Reading in order, and fetching ahead: blocks are asked for in the order in which they will be
//! wanted, many at once, and may come in any.
//!
//! What a block becomes is the business of a [`Reader`]: items, and further blocks below it. What is
//! not read yet is a queue of slots: a block that was asked for, something that is ready, or the
//! level below a block, which is a queue of its own and asks for more as room comes free. How far
//! ahead of its reader a slot may be is counted from the front of the queue, so that what is wanted
//! first is never kept waiting by what came early; and what came early and is far from the front is
//! given up again when it is too much, to be asked for once more.

mod asked;
mod level;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{Stream, future::BoxFuture};
use ipfs_traits::{Block, BlockSource, Cid, Error, Result};

pub(crate) use self::level::{Level, Next, Want};
use self::{
    asked::Asked,
    level::{Pass, Room, Slot},
};

/// The most bytes that are read ahead of a reader.
pub(crate) const WINDOW: usize = 16 << 20;

/// The most blocks that are asked for at once.
const MAX_ASKED: usize = 128;

/// What a slot counts for beside its content, so that a thousand empty ones are as far ahead as one
/// may be.
const SLOT: usize = 16 << 10;

/// How many windows may be held in all. On the way down a deep tree each level has read ahead.
const MAX_HELD: usize = 4;

/// How many levels below what is read next are read ahead.
const MAX_NESTED: usize = 64;

/// Slots that wait for their turn in all levels; beyond that only what is wanted next is looked at.
const MAX_SLOTS: usize = 64 << 10;

/// What becomes of blocks.
pub(crate) trait Reader: Sized + Send + Unpin + 'static {
    /// What a block should be.
    type Role: Send;

    /// What comes out.
    type Item: Send;

    /// Whether the roles of all blocks on the way down are kept for [`blame`](Self::blame). The way
    /// is then to be bounded.
    const KEEPS_WAY: bool;

    /// What is in a block. `depth` is how many blocks lead to it, itself counted.
    fn open(&mut self, role: &Self::Role, block: Block, depth: usize) -> Result<Opened<Self>>;

    /// How many bytes of content an item holds.
    fn len(_: &Self::Item) -> usize {
        0
    }

    /// Whether a block will probably not be read, so that it is not asked for ahead.
    fn is_known(&self, _: &Cid, _: &Self::Role) -> bool {
        false
    }

    /// Whether a block is read. It is asked once for each, in the order of reading.
    fn admit(&mut self, _: &Cid, _: &Self::Role) -> Result<Admit> {
        Ok(Admit::Take)
    }

    /// Says where an error was met: at the end of this way.
    fn blame<'a>(error: Error, _: impl Iterator<Item = &'a Self::Role>) -> Error {
        error
    }
}

/// What is done with a block whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// It is read.
    Take,
    /// What is below it is read, and its own first item left out.
    Below,
    /// It is passed over with all that is below it.
    Skip,
}

/// What is in a block.
pub(crate) enum Opened<R: Reader> {
    /// One item.
    Item(R::Item),
    /// Several, and what is below.
    Level(Level<R>),
    /// It has to be found out first.
    Later(BoxFuture<'static, Result<Self>>),
}

/// A reader of blocks, and what it has read ahead.
pub(crate) struct Ahead<R: Reader> {
    reader: R,
    asked: Asked,
    /// The way to what is read next, the innermost level last, each with what led to it.
    way: Vec<(Option<R::Role>, Level<R>)>,
    window: usize,
    pace: Pace,
    done: bool,
}

/// When to look through the slots, and when to count them.
struct Pace {
    /// There may be room that was not there when the slots were looked through last.
    stale: bool,
    /// Bytes that were taken since then.
    taken: usize,
    /// Slots whose content is being found out.
    busy: usize,
    /// Slots in all, or some more.
    slots: usize,
}

enum Popped<R: Reader> {
    Item(R::Item),
    Failed(Error),
    Wait,
    End,
}

impl<R: Reader> Ahead<R> {
    /// A reader that begins with a block, or with what is known to be there.
    pub(crate) fn new(source: &dyn BlockSource, reader: R, first: Level<R>, window: usize) -> Self {
        let pace = Pace { stale: true, taken: 0, busy: 0, slots: 0 };
        let way = vec![(None, first)];
        Self { reader, asked: Asked::new(source), way, window, pace, done: false }
    }

    /// What it reads with.
    pub(crate) const fn reader(&self) -> &R {
        &self.reader
    }

    /// Reads further ahead from now on, if it is more than before.
    pub(crate) fn widen(&mut self, window: usize) {
        self.pace.stale |= window > self.window;
        self.window = self.window.max(window);
    }

    /// Looks through the slots from the front, opens what has arrived, and asks for more where
    /// there is room.
    fn advance(&mut self, cx: &mut Context<'_>) {
        (self.pace.stale, self.pace.taken, self.pace.busy) = (false, 0, 0);
        let many = self.pace.slots > MAX_SLOTS;
        let mut room = Room::new(self.window, many);
        let mut pass = Pass {
            reader: &mut self.reader,
            asked: &mut self.asked,
            cx,
            busy: &mut self.pace.busy,
            slots: &mut self.pace.slots,
        };
        for (_, level) in self.way.iter_mut().rev() {
            if !level.advance(&mut pass, &mut room, 0) {
                break;
            }
        }
        if self.asked.news > self.window / 2 {
            self.give_up();
        }
    }

    /// Counts what is held, and gives up what is far from the front if it is too much.
    fn give_up(&mut self) {
        self.asked.news = 0;
        let held: usize = self.way.iter().map(|(_, level)| level.held(&self.asked)).sum();
        self.pace.slots = self.way.iter().map(|(_, level)| level.slots()).sum();
        if let Some(mut excess) = held.checked_sub(MAX_HELD * self.window) {
            excess += self.window;
            for (_, level) in &mut self.way {
                level.give_up(&mut self.asked, &mut excess);
            }
        }
    }

    /// Takes the next item from the front.
    fn pop(&mut self) -> Popped<R> {
        loop {
            let Some((_, level)) = self.way.last_mut() else { return Popped::End };
            let Some(slot) = level.front() else {
                if !level.is_drawn() {
                    return Popped::Wait;
                }
                let end = level.end();
                match end {
                    Some(item) => return Popped::Item(item),
                    None => drop(self.way.pop()),
                }
                continue;
            };
            match slot.admit(&mut self.reader, &mut self.asked) {
                Ok(true) => {}
                Ok(false) => {
                    level.drop_front();
                    self.pace.slots = self.pace.slots.saturating_sub(1);
                    continue;
                }
                Err(error) => return self.fail(error),
            }
            let Some(slot) = level.take_front(&mut self.asked) else { return Popped::Wait };
            self.pace.slots = self.pace.slots.saturating_sub(1);
            match slot {
                Slot::Ready { want, item } => {
                    let muted = want.is_some_and(|want| want.muted);
                    if let Some(item) = level.unmuted(item).filter(|_| !muted) {
                        return Popped::Item(item);
                    }
                }
                Slot::Below { want, level: below } => self.go_down(want, *below),
                Slot::Failed { want, error } => {
                    self.way.push((want.map(|want| want.role), Level::empty()));
                    return self.fail(error);
                }
                _ => return Popped::Wait,
            }
        }
    }

    fn go_down(&mut self, want: Want<R>, mut below: Level<R>) {
        if want.muted {
            below.mute();
        }
        // What has nothing left is not kept, so that the way along a chain stays short.
        if !R::KEEPS_WAY {
            self.way.pop_if(|(_, level)| level.is_over());
        }
        self.way.push((R::KEEPS_WAY.then_some(want.role), below));
    }

    fn fail(&mut self, error: Error) -> Popped<R> {
        Popped::Failed(R::blame(error, self.way.iter().filter_map(|(role, _)| role.as_ref())))
    }

    fn end(&mut self, last: Option<Error>) -> Poll<Option<Result<R::Item>>> {
        self.done = true;
        self.way.clear();
        Poll::Ready(last.map(Err))
    }
}

/// Nothing in it is pinned.
impl<R: Reader> Unpin for Ahead<R> {}

impl<R: Reader> Stream for Ahead<R> {
    type Item = Result<R::Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        loop {
            // Polled even while there is something to give: that is what makes the source go on.
            let answers = this.asked.poll_answers(cx);
            let before = this.asked.count();
            let advanced = answers == Poll::Ready(true) || this.pace.stale || this.pace.busy > 0;
            if advanced {
                this.advance(cx);
            }
            match this.pop() {
                Popped::Item(item) => {
                    this.pace.taken += R::len(&item) + SLOT;
                    this.pace.stale |= this.pace.taken > this.window / 8;
                    return Poll::Ready(Some(Ok(item)));
                }
                Popped::Failed(error) => return this.end(Some(error)),
                Popped::End => return this.end(None),
                Popped::Wait if !advanced => this.pace.stale = true,
                Popped::Wait if this.asked.count() > before => {}
                Popped::Wait => match answers {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(true) => {}
                    Poll::Ready(false) if this.pace.busy > 0 => return Poll::Pending,
                    Poll::Ready(false) => {
                        return this.end(Some(Error::Closed("the source of blocks")));
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
