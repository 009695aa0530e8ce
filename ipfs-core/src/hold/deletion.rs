//! Deletions under way, of which holds know, and other nodes where they write to the store.

use std::sync::{Arc, atomic::Ordering};

use ipfs_traits::{Error, Multihash, Result, work::give_way};

use super::{Holds, Print, print};
use crate::{lease::Collector, reach::Item};

/// A collection of garbage that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(super) holds: Holds,
    /// Where other nodes write to the store.
    pub(super) collector: Option<Arc<Collector>>,
}

impl Collection {
    /// Takes the lease to collect, where other nodes write to the store.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while another node has it.
    pub(crate) async fn take_lease(&mut self) -> Result<()> {
        if let Some(lease) = self.holds.lease() {
            let collector = lease.collect().await?;
            collector.end_lapsed().await?;
            self.collector = Some(Arc::new(collector));
        }
        Ok(())
    }

    /// Whether other nodes write to the store.
    pub(crate) const fn is_shared(&self) -> bool {
        self.collector.is_some()
    }

    /// Gives the lease up.
    pub(crate) async fn end(&self) -> Result<()> {
        match &self.collector {
            Some(collector) => collector.end().await,
            None => Ok(()),
        }
    }

    /// Begins to delete those of these that nobody keeps; says which ones these are. With `is_dry`
    /// other nodes are told nothing.
    pub(crate) async fn delete(&self, hashes: &[Multihash], is_dry: bool) -> Result<Choice> {
        let (mut chosen, mut deletion) = match self.delete_here(hashes) {
            Ok(chosen) => chosen,
            Err(new_roots) => return Ok(Err(new_roots)),
        };
        if let Some(collector) = &self.collector {
            let are_held = match is_dry {
                true => collector.are_held(&deletion.prints).await?,
                false => deletion.share(collector.clone()).await?,
            };
            leave_held(&mut chosen, are_held);
        }
        Ok(Ok((chosen, deletion)))
    }

    /// Begins to delete those of these that are not held, and were neither written nor asked for
    /// since the collection began; says which ones these are.
    ///
    /// Nobody waits for all of this. What is held or touched before the lot is known to all is seen
    /// afterwards; whoever comes later sees the lot, and waits.
    fn delete_here(&self, hashes: &[Multihash]) -> Choice {
        let prints: Vec<Print> = hashes.iter().map(print).collect();
        let mut chosen = self.free(&prints);
        let free = |chosen: &[bool]| -> Vec<Print> {
            let free = prints.iter().zip(chosen).filter(|(_, is_free)| **is_free);
            free.map(|(print, _)| *print).collect()
        };
        let lot = free(&chosen).into_iter().collect();
        let mut deletion = {
            let mut state = self.holds.lock();
            if !state.new_roots.is_empty() {
                return Err(std::mem::take(&mut state.new_roots));
            }
            self.holds.begin(&mut state, Vec::new(), lot)
        };
        let still = self.free(&prints);
        chosen.iter_mut().zip(still).for_each(|(is_free, still)| *is_free &= still);
        deletion.prints = free(&chosen);
        Ok((chosen, deletion))
    }

    /// Which of these are not held, and were not touched.
    fn free(&self, prints: &[Print]) -> Vec<bool> {
        let Some(touched) = self.holds.lock().touched.clone() else {
            return vec![false; prints.len()];
        };
        let mut free = Vec::with_capacity(prints.len());
        for some in prints.chunks(LOOKED_AT) {
            give_way();
            let untouched: Vec<bool> = some.iter().map(|print| !touched.contains(*print)).collect();
            let state = self.holds.lock();
            let held = some.iter().map(|print| state.is_held(*print));
            free.extend(untouched.iter().zip(held).map(|(untouched, held)| *untouched && !held));
        }
        free
    }
}

/// Blocks of which is looked at once whether they are held, while others wait.
const LOOKED_AT: usize = 128;

/// Which blocks are deleted; or the roots that came since the last time, and below which has to be
/// looked first.
pub(crate) type Choice = std::result::Result<(Vec<bool>, Deletion), Vec<Item>>;

/// Of those that are chosen, these are held.
fn leave_held(chosen: &mut [bool], are_held: Vec<bool>) {
    let free = chosen.iter_mut().filter(|is_free| **is_free);
    free.zip(are_held).for_each(|(is_free, is_held)| *is_free = !is_held);
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.holds.0.collection.store(0, Ordering::SeqCst);
        let mut state = self.holds.lock();
        state.touched = None;
        state.new_roots = Vec::new();
    }
}

/// A deletion under way; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Deletion {
    pub(super) holds: Holds,
    pub(super) id: u64,
    pub(super) prints: Vec<Print>,
    /// Where other nodes write to the store.
    pub(super) collector: Option<Arc<Collector>>,
}

impl Deletion {
    /// Tells other nodes of it; says which blocks they hold.
    async fn share(&mut self, collector: Arc<Collector>) -> Result<Vec<bool>> {
        collector.intend(self.prints.clone()).await?;
        let are_held = collector.are_held(&self.prints).await;
        self.collector = Some(collector);
        are_held
    }

    /// Tells other nodes of it, where they write to the store.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when one of the blocks is held, or another node deletes something.
    pub(crate) async fn take_lease(&mut self) -> Result<()> {
        let Some(lease) = self.holds.lease() else { return Ok(()) };
        let collector = Arc::new(lease.collect().await?);
        match self.share(collector).await?.contains(&true) {
            true => Err(Error::InUse("a block that another node holds".into())),
            false => Ok(()),
        }
    }

    /// Whether other nodes wait for it.
    pub(crate) const fn is_shared(&self) -> bool {
        self.collector.is_some()
    }

    /// It has happened, or will not happen: others need not wait any more.
    pub(crate) async fn end(mut self) -> Result<()> {
        match self.collector.take().map(Arc::try_unwrap) {
            Some(Ok(last)) => last.end().await,
            Some(Err(collector)) => collector.intend(Vec::new()).await,
            None => Ok(()),
        }
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        let mut state = self.holds.lock();
        self.holds.0.deletions.fetch_sub(1, Ordering::SeqCst);
        state.deleting.retain(|(id, _)| *id != self.id);
        // Those that wait for another one look again, and wait again.
        state.waiting.clear();
    }
}
