//! Leases: what nodes that write to one store tell each other of what they hold, through the
//! datastore that they share.
//!
//! Whoever deletes says first what it is about to delete, and then reads what is held. Whoever holds
//! says first what it holds, and then reads what is being deleted, and waits for that. A datastore
//! whose commits are atomic and seen by all later reads lets one of the two always see the other.
//!
//! A node that holds something has a number, and a record that it renews. When the record has not
//! been renewed in time, whoever collects garbage removes it, and what stands under its number counts
//! for nothing from then on: every commit of the node expects its record, so that it cannot miss it.

mod collector;
mod notes;
mod record;
mod scribe;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_channel::oneshot;
use futures_util::TryStreamExt;
use ipfs_traits::{Batch, Cid, Datastore, Error, Result, Runtime, RuntimeExt, Task};

pub(crate) use self::collector::Collector;
use self::{
    notes::Owner,
    record::Collecting,
    scribe::{Ask, Scribe},
};
use crate::{hold::Print, reach::Follow};

/// How long a lease lasts that is not renewed: longer than a node or its datastore is away when it
/// is restarted, and so short that what a crashed node has held goes soon.
const LEASE: Duration = Duration::from_secs(120);

/// When a lease is renewed: twice may fail.
const RENEWED: Duration = Duration::from_secs(40);

/// When what has failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How far the clocks of the machines may be apart: others wait so much longer before they take a
/// lease for lapsed. Clocks that are set over the network differ by much less than a second.
const SKEW: Duration = Duration::from_secs(30);

/// How often one who waits for a deletion of another node looks whether it is over: a deletion of
/// some thousand blocks takes about as long.
const POLL: Duration = Duration::from_millis(50);

/// The part of a node that tells other nodes what it holds.
#[derive(Debug)]
pub(crate) struct Lease {
    datastore: Arc<dyn Datastore>,
    runtime: Arc<dyn Runtime>,
    asks: async_channel::Sender<Ask>,
    /// The number of the collection that this node has the lease for; 0 when it has none.
    collecting: AtomicU64,
    /// The number of this node, which knows better what it holds than what stands under that; 0
    /// before it has one.
    own: Arc<AtomicU64>,
    _scribe: Task,
}

/// What was noted for a collection of garbage of another node: its number, and under which number of
/// this node.
pub(crate) type Touch = (u64, u64);

impl Lease {
    /// Nothing is written before something is held.
    pub(crate) fn spawn(datastore: Arc<dyn Datastore>, runtime: Arc<dyn Runtime>) -> Self {
        // Who asks waits for the answer, and what does not wait are holds and roots that end: there
        // are no more of either than the application has made.
        let (asks, asked) = async_channel::unbounded();
        let own = Arc::new(AtomicU64::new(0));
        let scribe = Scribe::new(datastore.clone(), runtime.clone(), own.clone());
        let scribe = runtime.spawn(Box::pin(scribe.run(asked)));
        Self { datastore, runtime, asks, collecting: AtomicU64::new(0), own, _scribe: scribe }
    }

    /// Has all nodes keep these as long as the hold lives, and waits while another node deletes one
    /// of them.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] when the hold counts for nothing any more.
    pub(crate) async fn keep(&self, hold: u64, prints: Vec<Print>) -> Result<()> {
        self.note(Owner::Hold(hold), prints.clone()).await?;
        while let Some(other) = self.other().await?
            && other.deletes(&prints)
        {
            self.runtime.sleep(POLL).await;
        }
        Ok(())
    }

    /// Has the collection of garbage of another node, if one runs, keep these, and waits while it
    /// deletes one of them.
    pub(crate) async fn touch(&self, prints: &[Print]) -> Result<Option<Touch>> {
        let mut noted = None;
        while let Some(other) = self.other().await? {
            match noted {
                Some((number, _)) if number == other.number => {
                    if !other.deletes(prints) {
                        break;
                    }
                    self.runtime.sleep(POLL).await;
                }
                _ => {
                    let owner = Owner::Touched(other.number);
                    noted = Some((other.number, self.note(owner, prints.to_vec()).await?));
                }
            }
        }
        Ok(noted)
    }

    /// The collection of garbage that another node has the lease for.
    pub(crate) async fn other(&self) -> Result<Option<Collecting>> {
        let running = running(&*self.datastore, &*self.runtime).await?;
        Ok(running.filter(|running| running.number != self.collecting.load(Ordering::SeqCst)))
    }

    async fn note(&self, owner: Owner, prints: Vec<Print>) -> Result<u64> {
        self.ask(|answer| Ask::Keep { owner, prints, answer }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T>>) -> Ask) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.tell(ask(answer));
        answered.await.map_err(|_| Error::Closed("the node"))?
    }

    /// What is told to one who has ended needs nobody any more.
    fn tell(&self, ask: Ask) {
        let _ = self.asks.try_send(ask);
    }

    /// The hold has ended.
    pub(crate) fn release(&self, hold: u64) {
        self.tell(Ask::Release { hold });
    }

    /// Has all nodes keep what is below a root: before anything that is asked for later is answered.
    pub(crate) fn keep_root(&self, id: u64, cid: Cid, follow: Follow) {
        self.tell(Ask::Root { id, cid, follow });
    }

    pub(crate) fn release_root(&self, id: u64) {
        self.tell(Ask::ReleaseRoot { id });
    }

    /// The batch, which is then written only if all nodes have kept what is below a root, from its
    /// beginning until then.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] when they have not.
    pub(crate) async fn while_root_kept(&self, id: u64, batch: Batch) -> Result<Batch> {
        let (key, value) = self.ask(|answer| Ask::Sure { id, answer }).await?;
        Ok(batch.expect(key, Some(value)))
    }

    fn is_own(&self, number: u64) -> bool {
        self.own.load(Ordering::SeqCst) == number
    }

    /// The roots that other nodes keep.
    pub(crate) async fn roots(&self) -> Result<Vec<(Cid, Follow)>> {
        let mut roots = Vec::new();
        let mut pages = self.datastore.scan(record::ROOTS);
        while let Some(page) = pages.try_next().await? {
            for (key, value) in page {
                if !self.is_own(record::number_in(record::ROOTS, &key)?) {
                    roots.push(record::decode_root(&value)?);
                }
            }
        }
        Ok(roots)
    }

    /// Ends all that this node has told others, and takes nothing more.
    pub(crate) async fn end(&self) -> Result<()> {
        match self.ask(|answer| Ask::End { answer }).await {
            // It has ended before.
            Err(Error::Closed(_)) => Ok(()),
            ended => ended,
        }
    }
}

/// The collection of garbage that a node has the lease for, if that has not lapsed.
async fn running(datastore: &dyn Datastore, runtime: &dyn Runtime) -> Result<Option<Collecting>> {
    let Some(value) = datastore.get(record::COLLECTOR).await? else { return Ok(None) };
    let found = Collecting::decode(&value)?;
    Ok((!record::has_lapsed(found.end, runtime.wall())).then_some(found))
}

/// What was held may be gone.
const fn lapsed() -> Error {
    Error::TimedOut("renewing the lease of what is held")
}
