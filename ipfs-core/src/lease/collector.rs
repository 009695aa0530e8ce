//! The lease to delete blocks that other nodes might hold.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::TryStreamExt;
use ipfs_traits::{Batch, Bytes, Datastore, Error, Result, Runtime, RuntimeExt, Task, sync::lock};

use super::{
    AGAIN, LEASE, Lease, RENEWED,
    record::{self, Collecting, Millis, Writer},
    running,
    scribe::{WRITES, take_number},
};
use crate::hold::Print;

/// Has the lease until it is dropped, or cannot renew it. One node has it at a time.
#[derive(Debug)]
pub(crate) struct Collector {
    lease: Arc<Lease>,
    post: Arc<Post>,
    /// What each other node holds, as it was read last.
    held: Mutex<HashMap<u64, Held>>,
    _renewal: Task,
}

/// What a node holds.
#[derive(Debug)]
struct Held {
    /// Of the record of the node.
    writes: u64,
    prints: HashSet<Print>,
}

#[derive(Debug)]
struct Post {
    datastore: Arc<dyn Datastore>,
    runtime: Arc<dyn Runtime>,
    number: u64,
    /// When the lease ends.
    end: AtomicU64,
}

impl Lease {
    /// Takes the lease to delete.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while another node has it, or this one.
    pub(crate) async fn collect(self: &Arc<Self>) -> Result<Collector> {
        let (datastore, runtime) = (&self.datastore, &self.runtime);
        let (number, end) = loop {
            let before = datastore.get(record::COLLECTOR).await?;
            if running(&**datastore, &**runtime).await?.is_some() {
                return Err(Error::InUse("the collection of garbage".into()));
            }
            let (batch, number) = take_number(&**datastore).await?;
            let end = record::end_of_lease(runtime.wall());
            let taken = Collecting { number, end, deleting: Vec::new() }.encode();
            let batch = batch.expect(record::COLLECTOR, before).put(record::COLLECTOR, taken);
            if datastore.commit(batch).await? {
                break (number, end);
            }
        };
        self.collecting.store(number, Ordering::SeqCst);
        let (datastore, end) = (datastore.clone(), AtomicU64::new(end));
        let post = Arc::new(Post { datastore, runtime: runtime.clone(), number, end });
        let renewal = runtime.spawn(Box::pin(post.clone().renew()));
        Ok(Collector { lease: self.clone(), post, held: Mutex::default(), _renewal: renewal })
    }
}

impl Collector {
    /// Says that these are about to be deleted: from now on whoever wants to hold one of them waits
    /// until the next call. Others have said before that they hold them.
    pub(crate) async fn intend(&self, mut prints: Vec<Print>) -> Result<()> {
        prints.sort_unstable();
        self.post.update(Some(prints)).await
    }

    /// Which of these other nodes hold.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] when the lease might lapse before they are deleted.
    pub(crate) async fn are_held(&self, prints: &[Print]) -> Result<Vec<bool>> {
        let known = mem::take(&mut *lock(&self.held));
        let held = self.read_held(known).await?;
        let is_held = |print| held.values().any(|held| held.prints.contains(print));
        let are_held = prints.iter().map(is_held).collect();
        *lock(&self.held) = held;
        self.post.check()?;
        Ok(are_held)
    }

    /// Reads anew what has changed.
    async fn read_held(&self, mut known: HashMap<u64, Held>) -> Result<HashMap<u64, Held>> {
        let mut held = HashMap::new();
        let writers = self.writers().await?;
        for (number, writer) in
            writers.into_iter().filter(|(number, _)| !self.lease.is_own(*number))
        {
            let now = match known.remove(&number) {
                Some(held) if held.writes == writer.writes => held,
                _ => Held { writes: writer.writes, prints: self.held_by(number).await? },
            };
            held.insert(number, now);
        }
        Ok(held)
    }

    async fn held_by(&self, number: u64) -> Result<HashSet<Print>> {
        let mut prints = HashSet::new();
        let mut pages = self.post.datastore.scan(&record::key(record::HELD, number, &[]));
        while let Some(page) = pages.try_next().await? {
            for (_, value) in page {
                prints.extend(record::decode(&value)?);
            }
        }
        Ok(prints)
    }

    async fn writers(&self) -> Result<Vec<(u64, Writer)>> {
        let mut writers = Vec::new();
        let mut pages = self.post.datastore.scan(record::WRITERS);
        while let Some(page) = pages.try_next().await? {
            for (key, value) in page {
                let number = record::number_in(record::WRITERS, &key)?;
                writers.push((number, Writer::decode(&value)?));
            }
        }
        Ok(writers)
    }

    /// Removes the records of nodes whose leases have lapsed: they cannot renew them any more. Then
    /// all goes that stands under a number without a record.
    pub(crate) async fn end_lapsed(&self) -> Result<()> {
        let datastore = &self.post.datastore;
        for (number, writer) in self.writers().await? {
            if record::has_lapsed(writer.end, self.post.runtime.wall()) {
                let key = record::key(record::WRITERS, number, &[]);
                let removal = Batch::new().expect(key.clone(), Some(writer.encode())).delete(key);
                // Unless it was renewed in this moment.
                datastore.commit(removal).await?;
            }
        }
        for of in [record::HELD, record::ROOTS] {
            let mut pages = datastore.scan(of);
            while let Some(page) = pages.try_next().await? {
                self.remove_orphans(of, page.into_iter().map(|(key, _)| key)).await?;
            }
        }
        Ok(())
    }

    async fn remove_orphans(&self, of: &[u8], keys: impl Iterator<Item = Bytes>) -> Result<()> {
        let mut are_orphans: HashMap<u64, bool> = HashMap::new();
        let mut removal = Batch::new();
        for key in keys {
            let number = record::number_in(of, &key)?;
            if let std::collections::hash_map::Entry::Vacant(unknown) = are_orphans.entry(number) {
                // A record comes before all that stands under it, and a number does not come back.
                let record = record::key(record::WRITERS, number, &[]);
                unknown.insert(self.post.datastore.get(&record).await?.is_none());
            }
            if are_orphans[&number] {
                removal = removal.delete(key);
            }
            if removal.len() == WRITES {
                self.post.datastore.commit(mem::take(&mut removal)).await?;
            }
        }
        match removal.is_empty() {
            true => Ok(()),
            false => self.post.datastore.commit(removal).await.map(drop),
        }
    }

    /// Gives the lease up.
    pub(crate) async fn end(&self) -> Result<()> {
        self.post.end.store(0, Ordering::SeqCst);
        self.post.give_up().await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let number = self.post.number;
        let own = &self.lease.collecting;
        let _ = own.compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst);
        if self.post.end.load(Ordering::SeqCst) == 0 {
            return;
        }
        let post = self.post.clone();
        let give_up = async move {
            if let Err(error) = post.give_up().await {
                tracing::debug!(%error, "the lease to collect garbage lapses by itself");
            }
        };
        self.post.runtime.spawn(Box::pin(give_up)).detach();
    }
}

impl Post {
    /// Renews the lease as long as it can be.
    async fn renew(self: Arc<Self>) {
        loop {
            self.runtime.sleep(RENEWED).await;
            while let Err(error) = self.update(None).await {
                if matches!(error, Error::TimedOut(_)) {
                    return;
                }
                self.runtime.sleep(AGAIN).await;
            }
        }
    }

    /// Renews the lease, and says what is being deleted, if that is not what it was.
    async fn update(&self, deleting: Option<Vec<Print>>) -> Result<()> {
        loop {
            let (before, now) = self.read().await?;
            // Others do not reckon with it any more.
            if record::is_over(now.end, self.runtime.wall()) {
                return Err(lapsed());
            }
            let end = record::end_of_lease(self.runtime.wall());
            let deleting = deleting.clone().unwrap_or(now.deleting);
            let next = Collecting { number: self.number, end, deleting }.encode();
            let batch = Batch::new().expect(record::COLLECTOR, Some(before));
            if self.datastore.commit(batch.put(record::COLLECTOR, next)).await? {
                self.extend(end);
                return Ok(());
            }
        }
    }

    /// Unless it was given up.
    fn extend(&self, end: Millis) {
        let later = |before| (before != 0).then_some(end.max(before));
        let _ = self.end.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }

    async fn read(&self) -> Result<(Bytes, Collecting)> {
        let value = self.datastore.get(record::COLLECTOR).await?.ok_or_else(lapsed)?;
        let found = Collecting::decode(&value)?;
        if found.number == self.number { Ok((value, found)) } else { Err(lapsed()) }
    }

    /// Whether enough of the lease is left to delete something.
    fn check(&self) -> Result<()> {
        let end = self.end.load(Ordering::SeqCst);
        match record::is_over(end, self.runtime.wall() + LEASE / 2) {
            true => Err(lapsed()),
            false => Ok(()),
        }
    }

    async fn give_up(&self) -> Result<()> {
        loop {
            let (before, _) = match self.read().await {
                Err(Error::TimedOut(_)) => return Ok(()),
                read => read?,
            };
            let removal = Batch::new().expect(record::COLLECTOR, Some(before));
            if self.datastore.commit(removal.delete(record::COLLECTOR)).await? {
                return Ok(());
            }
        }
    }
}

/// Others may have held meanwhile what was about to be deleted.
const fn lapsed() -> Error {
    Error::TimedOut("renewing the lease to collect garbage")
}
