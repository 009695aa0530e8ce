//! Who uses the node of a run, all at the same time.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    mem,
    sync::Arc,
    task::Poll,
};

use futures::{AsyncReadExt, FutureExt, poll};
use ipfs_core::{
    Block, Blockstore, BlockstoreExt, Cid, Error, Node, Result,
    unixfs::mfs::{FileOptions, Mfs},
};

use super::{
    dags::{Dags, params, pick},
    known::{Entry, Known, OWNERS, Pins, Tree},
};
use crate::{content, faulty::Faulty, numbers::Numbers};

/// A node in use.
pub(super) struct Run<'a> {
    pub(super) node: Node,
    /// The store below the node, which can be looked into without the node knowing.
    pub(super) below: Arc<dyn Blockstore>,
    pub(super) files: Faulty,
    pub(super) dags: &'a Dags,
    pub(super) known: &'a RefCell<Known>,
}

/// What each one does.
const ROUNDS: usize = 6;

/// Lets the others go on, for a while that looks like chance.
async fn pause(numbers: &mut Numbers) {
    // Mostly short, so that all kinds of order come.
    let bound = 1 << numbers.below(6);
    for _ in 0..numbers.below(bound) {
        let mut yielded = false;
        poll_fn(|cx| match mem::replace(&mut yielded, true) {
            true => Poll::Ready(()),
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
    }
}

impl Run<'_> {
    /// Whether the disk has gone, and nothing has to succeed any more.
    fn is_over(&self) -> bool {
        self.files.has_crashed() || self.known.borrow().wrong.is_some()
    }

    fn wrong(&self, what: &str, why: impl std::fmt::Debug) {
        if !self.is_over() {
            self.known.borrow_mut().wrong = Some(format!("{what}: {why:?}"));
        }
    }

    fn succeeds<T>(&self, what: &str, done: Result<T>) -> Option<T> {
        done.map_err(|error| self.wrong(what, error)).ok()
    }

    /// Looks whether some blocks are here, unnoticed.
    async fn are_here(&self, blocks: &[Block], why: &str) {
        let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
        let Some(sizes) = self.succeeds(why, self.below.sizes(&cids).await) else { return };
        if let Some(gone) = sizes.iter().position(Option::is_none) {
            self.wrong(why, format!("{} is gone", cids[gone]));
        }
        self.known.borrow_mut().counts.held += 1;
    }

    /// Imports files, and keeps them by a hold, and then by a temporary pin.
    pub(super) async fn import(&self, mut numbers: Numbers) {
        for _ in 0..ROUNDS {
            pause(&mut numbers).await;
            let (cid, data) = pick(&self.dags.files, &mut numbers);
            let adding = self.node.unixfs().params(params()).add_bytes(data);
            let Some(added) = self.succeeds("import", adding.await) else { return };
            if added.cid != cid {
                return self.wrong("import", added.cid);
            }
            self.keep(cid, added.hold, &mut numbers).await;
        }
    }

    /// Fetches DAGs, and keeps them in the same way.
    pub(super) async fn fetch(&self, mut numbers: Numbers) {
        for _ in 0..ROUNDS {
            pause(&mut numbers).await;
            let root = pick(&self.dags.roots, &mut numbers);
            let fetched = self.node.fetch(root).await;
            let Some(fetched) = self.succeeds("fetch", fetched) else { return };
            self.keep(root, fetched.hold, &mut numbers).await;
        }
    }

    async fn keep(&self, root: Cid, hold: ipfs_core::Hold, numbers: &mut Numbers) {
        let below = self.dags.below(&root);
        pause(numbers).await;
        self.are_here(&below, "what is held").await;
        let kept = self.node.pins().temporary(&root);
        drop(hold);
        pause(numbers).await;
        pause(numbers).await;
        self.are_here(&below, "what is pinned temporarily").await;
        drop(kept);
    }

    /// Pins what is not here yet, and then brings it, the upper blocks first.
    pub(super) async fn bring(&self, mut numbers: Numbers) {
        for _ in 0..ROUNDS {
            pause(&mut numbers).await;
            let below = self.dags.below(&pick(&self.dags.roots, &mut numbers));
            let kept = self.node.pins().temporary(below[0].cid());
            for (number, block) in below.iter().enumerate() {
                let put = self.node.blocks().put(block.clone()).await;
                if self.succeeds("put", put).is_none() {
                    return;
                }
                pause(&mut numbers).await;
                self.are_here(&below[..=number], "what came below a temporary pin").await;
            }
            drop(kept);
        }
    }

    /// Puts and asks for blocks that nothing keeps: they stay as long as the collection runs in which
    /// that was.
    pub(super) async fn note(&self, mut numbers: Numbers) {
        let blocks = self.dags.blocks();
        for _ in 0..4 * ROUNDS {
            pause(&mut numbers).await;
            let (block, running) = (pick(&blocks, &mut numbers), self.known.borrow().collecting);
            let deletes = self.known.borrow().counts.deletes;
            let here = match numbers.below(3) {
                0 => self.node.blocks().has(block.cid()).await,
                _ => self.node.blocks().put(block.clone()).await.map(|()| true),
            };
            let Some(here) = self.succeeds("a block", here) else { return };
            pause(&mut numbers).await;
            let still = self.below.has(block.cid()).await;
            let Some(still) = self.succeeds("a block", still) else { return };
            let known = self.known.borrow();
            let same = running.is_some() && running == known.collecting;
            if here && same && deletes == known.counts.deletes {
                drop(known);
                self.known.borrow_mut().counts.noted += 1;
                if !still {
                    return self.wrong("noted", format!("{} is gone", block.cid()));
                }
            }
        }
    }

    /// Deletes single blocks, as far as it may.
    pub(super) async fn delete(&self, mut numbers: Numbers) {
        let blocks = self.dags.deletable();
        for _ in 0..ROUNDS {
            pause(&mut numbers).await;
            let cid = *pick(&blocks, &mut numbers).cid();
            self.known.borrow_mut().counts.deletes += 1;
            let deleted = self.node.blocks().delete(&cid).await;
            self.known.borrow_mut().counts.deletes += 1;
            match deleted {
                Ok(()) | Err(Error::InUse(_) | Error::Pinned { .. }) => {}
                Err(error) => return self.wrong("delete", error),
            }
        }
    }

    /// Reads blocks and files, from here or from the other node.
    pub(super) async fn read(&self, mut numbers: Numbers) {
        let blocks = self.dags.blocks();
        for _ in 0..ROUNDS {
            pause(&mut numbers).await;
            let block = pick(&blocks, &mut numbers);
            let got = self.node.blocks().get(block.cid()).await;
            let Some(got) = self.succeeds("get", got) else { return };
            if got != block {
                return self.wrong("get", block.cid());
            }
            let (cid, data) = pick(&self.dags.files, &mut numbers);
            let mut read = Vec::new();
            let reading = async {
                let mut file = self.node.unixfs().open(&cid).await?;
                let read = file.read_to_end(&mut read).await;
                read.map_err(|error| Error::component("file", error))
            };
            if self.succeeds("read", reading.await).is_some() && read != data {
                return self.wrong("read", cid);
            }
        }
    }

    /// Collects again and again, as long as others work.
    pub(super) async fn collect(&self, mut numbers: Numbers, others: impl Future<Output = ()>) {
        let mut others = Box::pin(others.fuse());
        let collecting = async {
            loop {
                self.collect_once(&mut numbers).await;
                pause(&mut numbers).await;
                if self.is_over() {
                    return;
                }
            }
        };
        let mut collecting = Box::pin(collecting.fuse());
        futures::select_biased! { () = others => {}, () = collecting => others.await }
        self.known.borrow_mut().collecting = None;
    }

    async fn collect_once(&self, numbers: &mut Numbers) {
        let mut collect = self.node.gc().collect();
        if numbers.below(3) == 0 {
            collect = collect.without_compaction();
        }
        let mut work = collect.start();
        let mut collected = poll!(&mut work);
        if collected.is_pending() {
            // It has begun: another one cannot.
            let other = self.node.gc().collect().await;
            if !matches!(other, Err(Error::InUse(_))) {
                self.wrong("a second collection", other);
            }
            let number = self.known.borrow().counts.collections;
            self.known.borrow_mut().collecting = Some(number);
            if numbers.below(6) == 0 {
                pause(numbers).await;
                collected = poll!(&mut work);
            } else {
                collected = Poll::Ready((&mut work).await);
            }
        }
        self.known.borrow_mut().collecting = None;
        drop(work);
        let Poll::Ready(collected) = collected else { return };
        let Some(collected) = self.succeeds("collect", collected) else { return };
        let counts = &mut self.known.borrow_mut().counts;
        counts.collections += 1;
        counts.deleted += collected.deleted_blocks;
    }

    pub(super) async fn compact(&self, mut numbers: Numbers) {
        for _ in 0..ROUNDS {
            pause(&mut numbers).await;
            self.succeeds("compact", self.below.compact().await);
        }
    }
}

/// Pins.
impl Run<'_> {
    pub(super) async fn pin(&self, owner: usize, mut numbers: Numbers) {
        for _ in 0..2 * ROUNDS {
            pause(&mut numbers).await;
            match numbers.below(6) {
                0..3 => self.add(owner, &mut numbers).await,
                3 => self.remove(owner, &mut numbers).await,
                4 => self.update(owner, &mut numbers).await,
                _ => self.verify(owner).await,
            }
            if self.is_over() {
                return;
            }
        }
        self.begin_to_add(owner, &mut numbers).await;
    }

    fn own(&self, owner: usize, numbers: &mut Numbers) -> Cid {
        let own: Vec<Cid> = self.dags.roots.iter().skip(owner).step_by(OWNERS).copied().collect();
        pick(&own, numbers)
    }

    fn pins(&self, owner: usize) -> Pins {
        self.known.borrow().pins[owner].now()
    }

    /// Makes a change, and notes what has come of it.
    async fn change<T>(
        &self,
        owner: usize,
        after: Pins,
        change: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.known.borrow_mut().pins[owner].begin(after);
        let done = change.await;
        let pins = &mut self.known.borrow_mut().pins[owner];
        match &done {
            Ok(_) => pins.done(),
            // Nobody knows what has reached the disk.
            Err(_) if self.files.has_crashed() => {}
            Err(_) => pins.failed(),
        }
        done
    }

    async fn add(&self, owner: usize, numbers: &mut Numbers) {
        let (root, before) = (self.own(owner, numbers), self.pins(owner));
        let (name, fetches) = (numbers.below(100).to_string(), numbers.below(2) == 0);
        let mut after = before.clone();
        after.insert(root, name.clone());
        if !fetches && numbers.below(2) == 0 {
            // Nothing but the pin makes them durable.
            let put = self.node.blocks().put_many(&self.dags.below(&root)).await;
            if self.succeeds("put", put).is_none() {
                return;
            }
        }
        let add = self.node.pins().add(root).name(name);
        let add = if fetches { add.fetch() } else { add };
        match self.change(owner, after, add.start()).await {
            Ok(_) => self.known.borrow_mut().counts.pins += 1,
            // What is pinned already is whole.
            Err(Error::Incomplete { .. }) if !fetches && !before.contains_key(&root) => {}
            Err(error) => self.wrong("pin", error),
        }
    }

    /// Begins to pin, and does not wait for the end: nobody knows then whether it is pinned.
    async fn begin_to_add(&self, owner: usize, numbers: &mut Numbers) {
        let (root, mut after) = (self.own(owner, numbers), self.pins(owner));
        after.insert(root, "begun".to_owned());
        self.known.borrow_mut().pins[owner].begin(after);
        let mut add = self.node.pins().add(root).name("begun").fetch().start();
        for _ in 0..numbers.below(30) {
            if poll!(&mut add).is_ready() {
                return;
            }
            pause(numbers).await;
        }
    }

    async fn remove(&self, owner: usize, numbers: &mut Numbers) {
        let (root, before) = (self.own(owner, numbers), self.pins(owner));
        let mut after = before.clone();
        let is_pinned = after.remove(&root).is_some();
        // Something else keeps it from then on.
        let kept = (numbers.below(2) == 0).then(|| self.node.pins().temporary(&root));
        match self.change(owner, after, self.node.pins().remove(&root)).await {
            Ok(()) if is_pinned => self.known.borrow_mut().counts.unpins += 1,
            Err(Error::NotPinned(_)) if !is_pinned => return,
            other => return self.wrong("unpin", other),
        }
        if let Some(kept) = kept {
            pause(numbers).await;
            pause(numbers).await;
            self.are_here(&self.dags.below(&root), "what was pinned before").await;
            drop(kept);
        }
    }

    async fn update(&self, owner: usize, numbers: &mut Numbers) {
        let (old, new) = (self.own(owner, numbers), self.own(owner, numbers));
        let (before, fetches) = (self.pins(owner), numbers.below(2) == 0);
        let mut after = before.clone();
        let name = after.remove(&old);
        after.extend(name.clone().map(|name| (new, name)));
        let update = self.node.pins().update(&old, new);
        let update = if fetches { update.fetch() } else { update };
        match self.change(owner, after, update.start()).await {
            Ok(_) if name.is_some() => self.known.borrow_mut().counts.pins += 1,
            Err(Error::NotPinned(_)) if name.is_none() => {}
            Err(Error::Incomplete { .. }) if !fetches && !before.contains_key(&new) => {}
            other => self.wrong("update", other),
        }
    }

    async fn verify(&self, owner: usize) {
        for (root, name) in self.pins(owner) {
            let pin = self.node.pins().get(&root).await;
            let Some(pin) = self.succeeds("get a pin", pin) else { return };
            match pin {
                Some(pin) if pin.name.as_ref() == Some(&name) => {
                    self.succeeds("verify", self.node.pins().verify().hashing().one(&pin).await);
                }
                other => self.wrong("a pin", (root, other)),
            }
        }
    }
}

/// The mutable tree.
impl Run<'_> {
    pub(super) async fn tree(&self, mut numbers: Numbers) {
        let mut tree = match self.node.mfs().await {
            Ok(tree) => tree,
            Err(error) => return self.wrong("tree", error),
        };
        let mut now = Tree::new();
        for _ in 0..2 * ROUNDS {
            pause(&mut numbers).await;
            let done = match numbers.below(8) {
                0..5 => self.change_tree(&tree, &mut now, &mut numbers).await,
                5 | 6 => self.flush_tree(&tree, &now).await,
                _ => {
                    drop(tree);
                    now = self.known.borrow().tree.now();
                    tree = match self.node.mfs().await {
                        Ok(tree) => tree,
                        Err(error) => return self.wrong("tree", error),
                    };
                    Ok(())
                }
            };
            if self.succeeds("tree", done).is_none() {
                return;
            }
        }
    }

    async fn change_tree(&self, tree: &Mfs, now: &mut Tree, numbers: &mut Numbers) -> Result<()> {
        let name = format!("/{}", numbers.below(6));
        if now.contains_key(&name) {
            tree.rm(&name, true).await?;
            now.remove(&name);
            return Ok(());
        }
        let entry = match numbers.below(3) {
            0 => {
                tree.mkdir(&name, false).await?;
                Entry::Directory
            }
            1 => {
                let data = content::bytes(numbers.next(), 500);
                tree.write(&name, 0, &data, FileOptions::write()).await?;
                Entry::File(data)
            }
            _ => {
                // What is put is kept until the tree that has it is flushed.
                let (root, data) = pick(self.dags.of_tree(), numbers);
                let fetched = self.node.fetch(root).await?;
                tree.put(&name, &root).await?;
                now.insert(name, Entry::File(data));
                pause(numbers).await;
                self.flush_tree(tree, now).await?;
                drop(fetched);
                return Ok(());
            }
        };
        now.insert(name, entry);
        Ok(())
    }

    async fn flush_tree(&self, tree: &Mfs, now: &Tree) -> Result<()> {
        self.known.borrow_mut().tree.begin(now.clone());
        tree.flush().await?;
        let known = &mut *self.known.borrow_mut();
        known.tree.done();
        known.counts.flushes += 1;
        Ok(())
    }
}
