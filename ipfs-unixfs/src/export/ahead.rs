//! Reading in order, and fetching ahead: blocks are asked for in the order in which their content
//! will be wanted, many at once, and may come in any.
//!
//! What is not read yet is a queue of slots: a block that was asked for, something that is ready, or
//! the level below a node, which is a queue of its own and asks for more as room comes free. How far
//! ahead of its reader a slot may be is counted from the front of the queue, so that what is wanted
//! first is never kept waiting by what came early.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_channel::mpsc;
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use ipfs_traits::{Block, BlockSource, Cid, Error, Result, limits};

use super::{Entry, Item};
use crate::{
    Name,
    dagpb::IntoLinks,
    node::{FileNode, Node, SymlinkNode, sharded},
};

/// The most bytes that are read ahead of a reader.
pub(super) const WINDOW: usize = 16 << 20;

/// The most blocks that are asked for at once.
const MAX_ASKED: usize = 128;

/// What a slot counts for beside its content, so that a thousand empty ones are as far ahead as one
/// may be.
const SLOT: usize = 16 << 10;

/// What the first block of a directory's entry counts for, if the directory says nothing smaller.
const ENTRY: usize = 256 << 10;

/// What a block of links within a file counts for.
const LINKS: usize = 64 << 10;

/// How deep a tree may be: deeper than any path that a system opens, and shallow enough to recurse.
const MAX_DEPTH: usize = 1024;

/// A reader of what is below a node.
pub(super) struct Ahead {
    asked: Asked,
    root: Level,
    window: usize,
    done: bool,
}

/// The blocks that were asked for.
struct Asked {
    ask: mpsc::UnboundedSender<Cid>,
    answers: BoxStream<'static, (Cid, Result<Block>)>,
    /// Which slots wait for a CID.
    waiting: BTreeMap<Cid, VecDeque<u64>>,
    arrived: BTreeMap<u64, Result<Block>>,
    last: u64,
}

/// The queue of what is below one node.
struct Level {
    slots: VecDeque<Slot>,
    rest: Rest,
    /// What is told when all is read.
    end: Option<Item>,
    depth: usize,
}

enum Slot {
    Asked { number: u64, want: Want },
    Ready(Item),
    Below(Box<Level>),
    Failed(Error),
}

/// A block to ask for, and what it should be.
struct Want {
    cid: Cid,
    role: Role,
    /// How many bytes it is taken for until it is here.
    estimate: usize,
}

enum Role {
    /// A file, directory or symbolic link of this name.
    Entry(Name),
    /// A part of a file with so many bytes, of which these are wanted.
    Part(u64, Range<u64>),
}

/// What was not asked for yet.
enum Rest {
    Nothing,
    One(Want),
    Entries(IntoLinks),
    Listed(std::vec::IntoIter<Entry>),
    Parts(Box<Parts>),
}

struct Parts {
    children: Box<dyn Iterator<Item = (Cid, u64)> + Send>,
    /// Where in the file the next child begins.
    offset: u64,
    range: Range<u64>,
}

impl Ahead {
    /// All below `root`, whatever it is.
    pub(super) fn tree(source: Arc<dyn BlockSource>, root: Cid) -> Self {
        let want = Want { cid: root, role: Role::Entry(Name::default()), estimate: ENTRY };
        let level = Level { slots: VecDeque::new(), rest: Rest::One(want), end: None, depth: 0 };
        Self::new(&*source, level, WINDOW)
    }

    /// These entries of a directory, and all below them.
    pub(super) fn entries(source: &dyn BlockSource, entries: Vec<Entry>) -> Self {
        let rest = Rest::Listed(entries.into_iter());
        let level = Level { slots: VecDeque::new(), rest, end: None, depth: 0 };
        Self::new(source, level, WINDOW)
    }

    /// A range of a file's bytes, which must lie within it.
    pub(super) fn file(
        source: &dyn BlockSource,
        file: FileNode,
        range: Range<u64>,
        window: usize,
    ) -> Self {
        Self::new(source, Level::file(file, range, None, 0), window)
    }

    fn new(source: &dyn BlockSource, root: Level, window: usize) -> Self {
        let (ask, cids) = mpsc::unbounded();
        let answers = source.get_many(cids.boxed());
        let (waiting, arrived) = (BTreeMap::new(), BTreeMap::new());
        let asked = Asked { ask, answers, waiting, arrived, last: 0 };
        Self { asked, root, window, done: false }
    }

    /// Reads further ahead from now on, if it is more than before.
    pub(super) fn widen(&mut self, window: usize) {
        self.window = self.window.max(window);
    }

    fn end(&mut self, last: Option<Error>) -> Poll<Option<Result<Item>>> {
        self.done = true;
        Poll::Ready(last.map(Err))
    }
}

impl Stream for Ahead {
    type Item = Result<Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Item>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        loop {
            // Polled even while there is something to give: that is what makes the source go on.
            let answers = this.asked.poll_answers(cx);
            let before = this.asked.last;
            let mut room = Room { window: this.window, bytes: 0, asked: 0 };
            this.root.advance(&mut this.asked, &mut room);
            match this.root.pop() {
                Popped::Item(item) => return Poll::Ready(Some(Ok(item))),
                Popped::Failed(error) => return this.end(Some(error)),
                Popped::End => return this.end(None),
                Popped::Wait if this.asked.last > before => {}
                Popped::Wait if !ready!(answers) => {
                    return this.end(Some(Error::Closed("the source of blocks")));
                }
                Popped::Wait => {}
            }
        }
    }
}

impl Asked {
    fn ask(&mut self, want: Want) -> Slot {
        self.last += 1;
        let number = self.last;
        self.waiting.entry(want.cid).or_default().push_back(number);
        // The receiver is held by the stream of answers; when that ends, it is seen there.
        let _ = self.ask.unbounded_send(want.cid);
        Slot::Asked { number, want }
    }

    /// Takes all answers that are here; `false` when there will be no more.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut any = false;
        loop {
            match self.answers.poll_next_unpin(cx) {
                Poll::Ready(Some((cid, answer))) => {
                    any = true;
                    self.take(cid, answer);
                }
                Poll::Ready(None) => return Poll::Ready(any),
                Poll::Pending if any => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(&mut self, cid: Cid, answer: Result<Block>) {
        let Some(numbers) = self.waiting.get_mut(&cid) else {
            return;
        };
        if let Some(number) = numbers.pop_front() {
            self.arrived.insert(number, answer);
        }
        if numbers.is_empty() {
            self.waiting.remove(&cid);
        }
    }
}

/// How far ahead of the reader the place is that a pass has come to.
struct Room {
    window: usize,
    bytes: usize,
    asked: usize,
}

impl Room {
    const fn left(&self) -> bool {
        self.bytes < self.window && self.asked < MAX_ASKED
    }
}

enum Popped {
    Item(Item),
    Failed(Error),
    Wait,
    End,
}

impl Level {
    /// The wanted bytes of a file, its own and those of its children.
    fn file(file: FileNode, range: Range<u64>, end: Option<Item>, depth: usize) -> Self {
        let own = file.content().len() as u64;
        let mut slots = VecDeque::new();
        if range.start < own.min(range.end) {
            // Both ends are at most the length of the content, which is in memory.
            let own = range.start as usize..range.end.min(own) as usize;
            slots.push_back(Slot::Ready(Item::Data(file.content().slice(own))));
        }
        let children = Box::new(file.into_children());
        let rest = Rest::Parts(Box::new(Parts { children, offset: own, range }));
        Self { slots, rest, end, depth }
    }

    /// Looks through the slots from the front, opens what has arrived, and asks for more where
    /// there is room.
    fn advance(&mut self, asked: &mut Asked, room: &mut Room) {
        let mut at = 0;
        loop {
            if at == self.slots.len() {
                if !room.left() {
                    return;
                }
                match self.rest.next() {
                    Some(Ok(want)) => self.slots.push_back(asked.ask(want)),
                    Some(Err(error)) => self.slots.push_back(Slot::Failed(error)),
                    None => return,
                }
            }
            let slot = &mut self.slots[at];
            if let Slot::Asked { number, .. } = slot
                && let Some(answer) = asked.arrived.remove(number)
            {
                slot.open(answer, self.depth + 1);
            }
            match slot {
                Slot::Asked { want, .. } => {
                    room.bytes += want.estimate + SLOT;
                    room.asked += 1;
                }
                Slot::Ready(item) => room.bytes += item.len() + SLOT,
                Slot::Below(level) => level.advance(asked, room),
                // Nothing behind it will be read.
                Slot::Failed(_) => return,
            }
            at += 1;
        }
    }

    /// Takes the next item from the front.
    fn pop(&mut self) -> Popped {
        loop {
            match self.slots.front_mut() {
                None if !matches!(self.rest, Rest::Nothing) => return Popped::Wait,
                None => return self.end.take().map_or(Popped::End, Popped::Item),
                Some(Slot::Asked { .. }) => return Popped::Wait,
                Some(Slot::Below(level)) => match level.pop() {
                    Popped::End => drop(self.slots.pop_front()),
                    other => return other,
                },
                Some(Slot::Ready(_) | Slot::Failed(_)) => {
                    return match self.slots.pop_front() {
                        Some(Slot::Ready(item)) => Popped::Item(item),
                        Some(Slot::Failed(error)) => Popped::Failed(error),
                        _ => Popped::Wait,
                    };
                }
            }
        }
    }
}

impl Slot {
    /// Puts what a block holds in the place of the question.
    fn open(&mut self, answer: Result<Block>, depth: usize) {
        let Self::Asked { want, .. } = self else {
            return;
        };
        *self = match answer.and_then(|block| want.open(&block, depth)) {
            Ok(slot) => slot,
            Err(error) => Self::Failed(error),
        };
    }
}

impl Want {
    /// The first block of an entry of a directory, which says how many bytes are below it.
    fn entry(cid: Cid, name: Name, said: Option<u64>) -> Self {
        let estimate = said.map_or(ENTRY, |said| said.min(ENTRY as u64) as usize);
        Self { cid, role: Role::Entry(name), estimate }
    }

    fn open(&mut self, block: &Block, depth: usize) -> Result<Slot> {
        if depth > MAX_DEPTH {
            return Err(Error::limit("levels of a tree", MAX_DEPTH, depth));
        }
        match &mut self.role {
            Role::Entry(name) => open_entry(Node::parse(block)?, std::mem::take(name), depth),
            Role::Part(size, range) => open_part(Node::parse(block)?, *size, range.clone(), depth),
        }
    }
}

fn open_entry(node: Node, name: Name, depth: usize) -> Result<Slot> {
    let (first, mut level) = match node {
        Node::File(file) => {
            let (size, mode, mtime) = (file.size(), file.mode(), file.mtime());
            (
                Item::File { name, size, mode, mtime },
                Level::file(file, 0..size, Some(Item::End), depth),
            )
        }
        Node::Directory(directory) => {
            let (mode, mtime) = (directory.mode(), directory.mtime());
            let rest = Rest::Entries(directory.into_entries());
            let end = Some(Item::Leave);
            (Item::Enter { name, mode, mtime }, Level { slots: VecDeque::new(), rest, end, depth })
        }
        Node::Symlink(SymlinkNode { target, mode, mtime }) => {
            return Ok(Slot::Ready(Item::Symlink { name, target, mode, mtime }));
        }
        Node::Shard => return Err(sharded()),
    };
    level.slots.push_front(Slot::Ready(first));
    Ok(Slot::Below(Box::new(level)))
}

fn open_part(node: Node, size: u64, range: Range<u64>, depth: usize) -> Result<Slot> {
    const WHAT: &str = "UnixFS file";
    let Node::File(file) = node else {
        return Err(Error::malformed(WHAT, "a part of it is no part of a file"));
    };
    if file.size() != size {
        return Err(Error::malformed(WHAT, "a part of it has not the size that it should"));
    }
    Ok(Slot::Below(Box::new(Level::file(file, range, None, depth))))
}

impl Rest {
    /// What to ask for next. It is `Nothing` as soon as there is nothing.
    fn next(&mut self) -> Option<Result<Want>> {
        let next = match self {
            Self::Nothing => None,
            Self::One(_) => match std::mem::replace(self, Self::Nothing) {
                Self::One(want) => Some(Ok(want)),
                _ => None,
            },
            Self::Entries(links) => {
                links.next().map(|link| Ok(Want::entry(link.cid, link.name, link.tsize)))
            }
            Self::Listed(entries) => {
                entries.next().map(|entry| Ok(Want::entry(entry.cid, entry.name, entry.dag_size)))
            }
            Self::Parts(parts) => parts.next().map(Ok),
        };
        if next.is_none() {
            *self = Self::Nothing;
        }
        next
    }
}

impl Parts {
    /// The next child that holds wanted bytes. Children without bytes are never asked for.
    fn next(&mut self) -> Option<Want> {
        loop {
            let (cid, size) = self.children.next()?;
            // The sum of the sizes was checked when the node was parsed.
            let start = self.offset;
            self.offset += size;
            if start >= self.range.end {
                return None;
            }
            let wanted = self.range.start.max(start)..self.range.end.min(self.offset);
            if !wanted.is_empty() {
                let wanted = wanted.start - start..wanted.end - start;
                let is_leaf = size <= limits::MAX_BLOCK as u64;
                let estimate = if is_leaf { size as usize } else { LINKS };
                return Some(Want { cid, role: Role::Part(size, wanted), estimate });
            }
        }
    }
}

/// The next run of bytes of a reader of one file.
pub(super) fn data(item: Result<Item>) -> Result<Bytes> {
    match item? {
        Item::Data(data) => Ok(data),
        _ => Err(Error::malformed("UnixFS file", "it holds something else than bytes")),
    }
}
