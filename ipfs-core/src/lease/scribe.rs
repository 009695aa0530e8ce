//! The task that writes down what a node holds, for the others: one commit for all who ask at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures_channel::oneshot;
use futures_util::{
    FutureExt,
    future::{Either, select},
};
use ipfs_traits::{Batch, Bytes, Cid, Datastore, Error, Result, Runtime};

use super::{
    AGAIN, RENEWED, lapsed,
    notes::{Notes, Owner},
    record::{self, Millis, Writer},
    running,
};
use crate::{hold::Print, reach::Follow};

type Answer<T> = oneshot::Sender<Result<T>>;

/// What the task is asked to do. An answer is given when all that was asked before is durable.
pub(super) enum Ask {
    /// To keep these; the answer is the number under which it is done.
    Keep {
        owner: Owner,
        prints: Vec<Print>,
        answer: Answer<u64>,
    },
    Release {
        hold: u64,
    },
    Root {
        id: u64,
        cid: Cid,
        follow: Follow,
    },
    ReleaseRoot {
        id: u64,
    },
    /// What a commit has to expect, that it may happen only while the root is kept.
    Sure {
        id: u64,
        answer: Answer<(Bytes, Bytes)>,
    },
    End {
        answer: Answer<()>,
    },
}

impl Ask {
    const fn is_about_collections(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Keep { owner: Owner::Touched(_), .. })
    }
}

/// What is asked that one commit may do.
const ASKS: usize = 256;

/// What is written in one commit: with full pages 1 MiB.
pub(super) const WRITES: usize = 256;

/// Where something is written, under whatever number the node has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Page(Owner, u64),
    Root(u64),
}

impl Place {
    fn key(self, number: u64) -> Bytes {
        match self {
            Self::Page(owner, page) => record::key(record::HELD, number, &owner.key(page)),
            Self::Root(id) => record::key(record::ROOTS, number, &id.to_be_bytes()),
        }
    }
}

struct Root {
    value: Bytes,
    /// The number of the node under which it is written, once it is.
    since: Option<u64>,
}

/// The record of this node.
#[derive(Clone, Copy)]
struct Own {
    number: u64,
    record: Writer,
}

impl Own {
    fn key(self) -> Bytes {
        record::key(record::WRITERS, self.number, &[])
    }
}

pub(super) struct Scribe {
    datastore: Arc<dyn Datastore>,
    runtime: Arc<dyn Runtime>,
    own: Option<Own>,
    /// For others to know.
    own_number: Arc<AtomicU64>,
    notes: BTreeMap<Owner, Notes>,
    roots: BTreeMap<u64, Root>,
    /// What is not written yet; `None` where something is to be removed.
    unwritten: BTreeMap<Place, Option<Bytes>>,
    /// When to renew, or to try again.
    next: Instant,
}

impl Scribe {
    pub(super) fn new(
        datastore: Arc<dyn Datastore>,
        runtime: Arc<dyn Runtime>,
        own_number: Arc<AtomicU64>,
    ) -> Self {
        let next = runtime.now();
        let (notes, roots, unwritten) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { datastore, runtime, own: None, own_number, notes, roots, unwritten, next }
    }

    /// Works until it is told to end, or nobody can ask any more.
    pub(super) async fn run(mut self, asked: async_channel::Receiver<Ask>) {
        loop {
            let is_idle = self.own.is_none() && self.unwritten.is_empty();
            let timer = match is_idle {
                true => std::future::pending().boxed(),
                false => self.runtime.sleep_until(self.next),
            };
            let first = match select(std::pin::pin!(asked.recv()), timer).await {
                Either::Left((Ok(ask), _)) => ask,
                Either::Left((Err(_), _)) => return,
                Either::Right(_) => {
                    let looked = self.look_after().await;
                    self.plan(&looked);
                    continue;
                }
            };
            let mut asks = vec![first];
            asks.extend(std::iter::from_fn(|| asked.try_recv().ok()).take(ASKS - 1));
            if self.round(asks).await {
                return;
            }
        }
    }

    /// Does what is asked; says whether that was to end.
    async fn round(&mut self, asks: Vec<Ask>) -> bool {
        let ends = asks.iter().any(|ask| matches!(ask, Ask::End { .. }));
        let runs = match asks.iter().any(Ask::is_about_collections) {
            true => self.forget_over().await,
            false => None,
        };
        for ask in &asks {
            self.take(ask, runs);
        }
        if ends {
            self.forget_all();
        }
        let mut written = self.write(false).await;
        if ends && written.is_ok() {
            written = self.retire().await;
        }
        self.plan(&written);
        for ask in asks {
            self.answer(ask, &written);
        }
        ends
    }

    /// Ends what was kept until a collection is over that is. Gives the number of the one that runs;
    /// 0 when that is not known.
    async fn forget_over(&mut self) -> Option<u64> {
        let runs = match running(&*self.datastore, &*self.runtime).await {
            Ok(running) => running.map(|running| running.number),
            Err(error) => {
                tracing::debug!(%error, "whether garbage is collected is not known");
                return Some(0);
            }
        };
        let is_over = |notes: &Notes| notes.until.is_some() && notes.until != runs;
        let over = self.notes.iter().filter(|(_, notes)| is_over(notes));
        let over: Vec<Owner> = over.map(|(owner, _)| *owner).collect();
        over.into_iter().for_each(|owner| self.forget(owner));
        runs
    }

    fn take(&mut self, ask: &Ask, runs: Option<u64>) {
        match ask {
            Ask::Keep { owner, prints, .. } => {
                let notes = self.notes.entry(*owner).or_default();
                if let Owner::Touched(number) = owner {
                    notes.until = Some(*number);
                }
                if !notes.are_lost {
                    let changed = notes.add(prints);
                    self.write_pages(*owner, changed);
                }
            }
            // What was held while garbage is collected is kept until that ends.
            Ask::Release { hold } => match (self.notes.get_mut(&Owner::Hold(*hold)), runs) {
                (Some(notes), Some(_)) if !notes.are_lost => notes.until = runs,
                (Some(_), _) => self.forget(Owner::Hold(*hold)),
                (None, _) => {}
            },
            Ask::Root { id, cid, follow } => {
                let value = record::encode_root(cid, *follow);
                self.unwritten.insert(Place::Root(*id), Some(value.clone()));
                self.roots.insert(*id, Root { value, since: None });
            }
            Ask::ReleaseRoot { id } => {
                self.roots.remove(id);
                self.unwritten.insert(Place::Root(*id), None);
            }
            Ask::Sure { .. } | Ask::End { .. } => {}
        }
    }

    fn write_pages(&mut self, owner: Owner, pages: Vec<(u64, Vec<Print>)>) {
        let written = |(page, prints): (u64, Vec<Print>)| {
            (Place::Page(owner, page), Some(record::encode(&prints)))
        };
        self.unwritten.extend(pages.into_iter().map(written));
    }

    fn forget(&mut self, owner: Owner) {
        let Some(notes) = self.notes.remove(&owner) else { return };
        if !notes.are_lost {
            self.unwritten.extend(notes.pages().map(|page| (Place::Page(owner, page), None)));
        }
    }

    fn forget_all(&mut self) {
        let owners: Vec<Owner> = self.notes.keys().copied().collect();
        owners.into_iter().for_each(|owner| self.forget(owner));
        let roots = std::mem::take(&mut self.roots);
        self.unwritten.extend(roots.into_keys().map(|id| (Place::Root(id), None)));
    }

    fn answer(&self, ask: Ask, written: &Result<()>) {
        // Nobody may wait any more.
        match ask {
            Ask::Keep { owner, answer, .. } => {
                let _ = answer.send(written.clone().and_then(|()| self.kept_under(owner)));
            }
            Ask::Sure { id, answer } => {
                let _ = answer.send(written.clone().and_then(|()| self.expectation(id)));
            }
            Ask::End { answer } => {
                let _ = answer.send(written.clone());
            }
            Ask::Release { .. } | Ask::Root { .. } | Ask::ReleaseRoot { .. } => {}
        }
    }

    fn kept_under(&self, owner: Owner) -> Result<u64> {
        match self.notes.get(&owner) {
            Some(notes) if !notes.are_lost => Ok(self.own.map_or(0, |own| own.number)),
            _ => Err(lapsed()),
        }
    }

    fn expectation(&self, root: u64) -> Result<(Bytes, Bytes)> {
        let own = self.own.ok_or_else(lapsed)?;
        let since = self.roots.get(&root).and_then(|root| root.since);
        let is_kept = since == Some(own.number);
        is_kept.then(|| (own.key(), own.record.encode())).ok_or_else(lapsed)
    }

    /// When to look after all again.
    fn plan(&mut self, written: &Result<()>) {
        if let Err(error) = written {
            tracing::debug!(%error, "what is held was not told to the other nodes");
            self.next = self.runtime.now() + AGAIN;
        }
    }

    /// Renews the lease, if anything is still held.
    async fn look_after(&mut self) -> Result<()> {
        self.forget_over().await;
        self.write(true).await?;
        match self.notes.is_empty() && self.roots.is_empty() {
            true => self.retire().await,
            false => Ok(()),
        }
    }

    /// Writes all that is not written, under a lease that has not lapsed.
    async fn write(&mut self, renews: bool) -> Result<()> {
        let mut renews = renews && self.own.is_some();
        loop {
            let is_late = |own: Own| record::is_over(own.record.end, self.runtime.wall());
            if self.unwritten.is_empty() && !renews && !self.own.is_some_and(is_late) {
                break;
            }
            let own = match self.own {
                Some(own) => own,
                None => self.register().await?,
            };
            renews &= !self.write_some(own).await?;
        }
        if let Some(own) = self.own {
            let notes = self.notes.values_mut().map(|notes| &mut notes.since);
            let since = notes.chain(self.roots.values_mut().map(|root| &mut root.since));
            since.filter(|since| since.is_none()).for_each(|since| *since = Some(own.number));
        }
        Ok(())
    }

    /// Takes a number, which nobody has had.
    async fn register(&mut self) -> Result<Own> {
        loop {
            let (batch, number) = take_number(&*self.datastore).await?;
            let record = Writer { end: self.new_end(), writes: 0 };
            let own = Own { number, record };
            let now = self.runtime.now();
            if self.datastore.commit(batch.put(own.key(), record.encode())).await? {
                (self.own, self.next) = (Some(own), now + RENEWED);
                self.own_number.store(number, Ordering::SeqCst);
                return Ok(own);
            }
        }
    }

    fn new_end(&self) -> Millis {
        record::end_of_lease(self.runtime.wall())
    }

    /// Writes some, and renews the lease; says whether that was done.
    async fn write_some(&mut self, own: Own) -> Result<bool> {
        let record = Writer { end: self.new_end(), writes: own.record.writes + 1 };
        let mut batch = Batch::new().expect(own.key(), Some(own.record.encode()));
        batch = batch.put(own.key(), record.encode());
        let some: Vec<Place> = self.unwritten.keys().take(WRITES).copied().collect();
        for place in &some {
            let key = place.key(own.number);
            batch = match &self.unwritten[place] {
                Some(value) => batch.put(key, value.clone()),
                None => batch.delete(key),
            };
        }
        let now = self.runtime.now();
        if self.datastore.commit(batch).await? {
            (self.own, self.next) = (Some(Own { record, ..own }), now + RENEWED);
            some.iter().for_each(|place| drop(self.unwritten.remove(place)));
            return Ok(true);
        }
        match self.datastore.get(&own.key()).await? {
            // A commit that seemed to fail has happened: nobody else writes this.
            Some(found) => self.own = Some(Own { record: Writer::decode(&found)?, ..own }),
            None => self.lose(),
        }
        Ok(false)
    }

    /// The lease has lapsed, and what was kept under it may be gone. Holds say so to whoever uses
    /// them. Roots keep what is there, from now on.
    fn lose(&mut self) {
        tracing::warn!("the lease of what is held has lapsed");
        self.own = None;
        self.unwritten.clear();
        let mut again = Vec::new();
        for (owner, notes) in &mut self.notes {
            match owner {
                Owner::Hold(_) if notes.since.is_some() || notes.are_lost => notes.lose(),
                _ => again.push((*owner, notes.begin_again())),
            }
        }
        again.into_iter().for_each(|(owner, pages)| self.write_pages(owner, pages));
        let roots =
            self.roots.iter().map(|(id, root)| (Place::Root(*id), Some(root.value.clone())));
        self.unwritten.extend(roots);
    }

    /// Removes the record of the node, under which nothing stands any more.
    async fn retire(&mut self) -> Result<()> {
        if let Some(own) = self.own {
            self.datastore.commit(Batch::new().delete(own.key())).await?;
            self.own = None;
        }
        Ok(())
    }
}

/// A number that nobody has had, and what takes it.
pub(super) async fn take_number(datastore: &dyn Datastore) -> Result<(Batch, u64)> {
    let last = datastore.get(record::NUMBERS).await?;
    let number = match &last {
        None => 1,
        Some(value) => match record::decode(value)?[..] {
            [last] if last < u64::MAX => last + 1,
            _ => return Err(Error::malformed("record of a lease", "not the number of a lease")),
        },
    };
    let batch = Batch::new().expect(record::NUMBERS, last);
    Ok((batch.put(record::NUMBERS, record::encode(&[number])), number))
}
