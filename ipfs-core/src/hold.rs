//! Holds: what may not be deleted yet.

mod deletion;
mod touched;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_channel::oneshot;
use ipfs_traits::{Batch, Cid, Multihash, Result};

pub(crate) use self::deletion::{Collection, Deletion};
use self::touched::Touched;
use crate::{
    lease::{Lease, Touch},
    reach::{Follow, Item},
};

/// Keeps blocks from being deleted, until it and all its clones are dropped.
///
/// What is put or read under it ([`Node::under`](crate::Node::under)) is kept, whether it is new or
/// was there already. It costs some 16 bytes of memory a block. It is no pin: it ends with the
/// process at the latest. In a store that several nodes write to it keeps them from the others too:
/// see [`Gc`](crate::Gc).
///
/// ```
/// # use ipfs_core::{codes, Block, Error, HashTable, Node};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let node = Node::builder().offline().spawn().await?;
/// let hold = node.hold();
/// let block = Block::of(codes::RAW, codes::SHA2_256, "kept", &HashTable::standard())?;
/// node.under(&hold).blocks().put(block.clone()).await?;
///
/// let refused = node.blocks().delete(block.cid()).await;
/// assert!(matches!(refused, Err(Error::InUse(_))));
/// drop(hold);
/// node.blocks().delete(block.cid()).await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "the blocks are kept only as long as the hold lives"]
pub struct Hold(Arc<Registered>);

struct Registered {
    id: u64,
    holds: Holds,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(lease) = self.holds.lease() {
            lease.release(self.id);
        }
        let mut state = self.holds.lock();
        let Some(held) = state.held.remove(&self.id) else { return };
        // What was held while garbage is collected is kept until that ends.
        if let Some(touched) = &state.touched {
            held.into_iter().for_each(|print| touched.insert(print));
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.holds.lock().held.get(&self.0.id).map_or(0, HashSet::len);
        f.debug_struct("Hold").field("blocks", &held).finish()
    }
}

/// All that keeps blocks of a node without a pin. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// The number of the collection that runs; 0 when none does.
    collection: AtomicU64,
    /// How many deletions are under way.
    deletions: AtomicU64,
    /// Tells the other nodes that write to the store, if there are any.
    lease: OnceLock<Arc<Lease>>,
}

/// The first bytes of a digest: blocks that share them are kept together, which does no harm.
pub(crate) type Print = u64;

fn print(hash: &Multihash) -> Print {
    let mut first = [0; 8];
    let digest = hash.digest();
    let length = digest.len().min(8);
    first[..length].copy_from_slice(&digest[..length]);
    Print::from_le_bytes(first)
}

/// The collections that something was noted for: of this node, and of another one.
pub(crate) type Noted = (Option<u64>, Option<Touch>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: BTreeMap<u64, HashSet<Print>>,
    /// Roots that are kept with all below them that is here.
    roots: BTreeMap<u64, (Cid, Follow)>,
    /// Those that came since the collection that runs looked last, dropped by now or not: what they
    /// kept may have been handed on to what it had looked at before.
    new_roots: Vec<Item>,
    /// What was written or asked for since the collection began that runs.
    touched: Option<Arc<Touched>>,
    collections: u64,
    /// What is being deleted now, each lot under a number.
    deleting: Vec<(u64, Arc<HashSet<Print>>)>,
    /// Those that wait until something is deleted.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells other nodes from now on of what is held.
    pub(crate) fn share(&self, lease: Lease) {
        // There is one for each node.
        let _ = self.0.lease.set(Arc::new(lease));
    }

    /// Tells other nodes that nothing is held any more.
    pub(crate) async fn end_lease(&self) -> Result<()> {
        match self.lease() {
            Some(lease) => lease.end().await,
            None => Ok(()),
        }
    }

    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        self.0.lease.get()
    }

    /// A new hold, of nothing yet.
    pub(crate) fn start(&self) -> Hold {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.held.insert(id, HashSet::new());
        Hold(Arc::new(Registered { id, holds: self.clone() }))
    }

    /// Begins to delete, unless one of the blocks is held: then its place is given.
    pub(crate) fn delete<'a>(
        &self,
        hashes: impl Iterator<Item = &'a Multihash>,
    ) -> Result<Deletion, usize> {
        let prints: Vec<Print> = hashes.map(print).collect();
        let lot = prints.iter().copied().collect();
        let mut state = self.lock();
        match prints.iter().position(|print| state.is_held(*print)) {
            Some(place) => Err(place),
            None => Ok(self.begin(&mut state, prints, lot)),
        }
    }

    fn begin(&self, state: &mut State, prints: Vec<Print>, lot: HashSet<Print>) -> Deletion {
        let id = state.next;
        state.next += 1;
        state.deleting.push((id, Arc::new(lot)));
        self.0.deletions.fetch_add(1, Ordering::SeqCst);
        Deletion { holds: self.clone(), id, prints, collector: None }
    }

    /// Keeps a root with all below it that is here, until the guard is dropped.
    pub(crate) fn keep_root(&self, root: Cid, follow: Follow) -> KeptRoot {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.roots.insert(id, (root, follow));
        if state.touched.is_some() {
            state.new_roots.push(Item { cid: root, follow });
        }
        if let Some(lease) = self.lease() {
            lease.keep_root(id, root, follow);
        }
        KeptRoot { id, holds: self.clone() }
    }

    /// The roots that are kept now, by this node and by others.
    pub(crate) async fn roots(&self) -> Result<Vec<(Cid, Follow)>> {
        let mut roots: Vec<_> = self.lock().roots.values().copied().collect();
        if let Some(lease) = self.lease() {
            roots.extend(lease.roots().await?);
        }
        Ok(roots)
    }

    /// Begins a collection of garbage among so many blocks: from now on all that is written or asked
    /// for is noted. `None` while another one runs.
    pub(crate) fn collect(&self, blocks: Option<u64>) -> Option<Collection> {
        let mut state = self.lock();
        if state.touched.is_some() {
            return None;
        }
        state.touched = Some(Arc::new(Touched::for_blocks(blocks)));
        state.collections += 1;
        self.0.collection.store(state.collections, Ordering::SeqCst);
        Some(Collection { holds: self.clone(), collector: None })
    }

    /// Notes that these were written or are asked for, if a collection runs, and waits for deletions
    /// of them that have begun. Gives what they were noted for.
    pub(crate) async fn touch<'a>(
        &self,
        hashes: impl Iterator<Item = &'a Multihash> + Clone,
    ) -> Result<Noted> {
        let elsewhere = match self.lease() {
            Some(lease) => lease.touch(&hashes.clone().map(print).collect::<Vec<_>>()).await?,
            None => None,
        };
        Ok((self.touch_here(hashes).await, elsewhere))
    }

    /// The same, for the collection of this node alone.
    pub(crate) async fn touch_here<'a>(
        &self,
        hashes: impl Iterator<Item = &'a Multihash>,
    ) -> Option<u64> {
        let is_quiet = |count: &AtomicU64| count.load(Ordering::SeqCst) == 0;
        if is_quiet(&self.0.collection) && is_quiet(&self.0.deletions) {
            return None;
        }
        let prints: Vec<Print> = hashes.map(print).collect();
        let mut running = None;
        self.settle(&prints, |state, collection| {
            running = state.touched.as_ref().map(|touched| {
                prints.iter().for_each(|print| touched.insert(*print));
                collection
            });
        })
        .await;
        running
    }

    /// Does something once, and then waits as long as one of these is being deleted.
    async fn settle(&self, prints: &[Print], once: impl FnOnce(&mut State, u64)) {
        let mut once = Some(once);
        loop {
            let deleted = {
                let mut state = self.lock();
                if let Some(once) = once.take() {
                    let collection = state.collections;
                    once(&mut state, collection);
                }
                if !prints.iter().any(|print| state.is_deleted(*print)) {
                    return;
                }
                let (deleted, wait) = oneshot::channel();
                state.waiting.push(deleted);
                wait
            };
            let _ = deleted.await;
        }
    }
}

impl State {
    fn is_held(&self, print: Print) -> bool {
        self.held.values().any(|hold| hold.contains(&print))
    }

    fn is_deleted(&self, print: Print) -> bool {
        self.deleting.iter().any(|(_, lot)| lot.contains(&print))
    }
}

/// Keeps a root with all below it that is here, until it is dropped.
pub(crate) struct KeptRoot {
    id: u64,
    holds: Holds,
}

impl KeptRoot {
    /// The batch, which is then written only if all of it was kept from its beginning until then.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](ipfs_traits::Error::TimedOut) when other nodes took it for lapsed.
    pub(crate) async fn guard(&self, batch: Batch) -> Result<Batch> {
        match self.holds.lease() {
            Some(lease) => lease.while_root_kept(self.id, batch).await,
            None => Ok(batch),
        }
    }
}

impl fmt::Debug for KeptRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRoot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for KeptRoot {
    fn drop(&mut self) {
        self.holds.lock().roots.remove(&self.id);
        if let Some(lease) = self.holds.lease() {
            lease.release_root(self.id);
        }
    }
}

impl Hold {
    /// Keeps these from now on, and waits for deletions of them that have begun: what is put or
    /// found afterwards stays.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](ipfs_traits::Error::TimedOut) when others took the hold for lapsed; what
    /// the datastore says.
    pub(crate) async fn keep<'a>(&self, hashes: impl Iterator<Item = &'a Multihash>) -> Result<()> {
        let prints: Vec<Print> = hashes.map(print).collect();
        let keep = |state: &mut State, _| {
            if let Some(held) = state.held.get_mut(&self.0.id) {
                held.extend(&prints);
            }
        };
        self.0.holds.settle(&prints, keep).await;
        match self.0.holds.lease() {
            Some(lease) => lease.keep(self.0.id, prints).await,
            None => Ok(()),
        }
    }

    /// Whether what was kept was kept until now.
    ///
    /// # Errors
    ///
    /// As [`keep`](Self::keep).
    pub(crate) async fn check(&self) -> Result<()> {
        match self.0.holds.lease() {
            Some(lease) => lease.keep(self.0.id, Vec::new()).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, atomic::AtomicBool},
        thread,
    };

    use futures::{FutureExt, executor::block_on};
    use ipfs_traits::{HashTable, codes};

    use super::*;

    fn hash(data: &[u8]) -> Multihash {
        HashTable::standard().hash(codes::SHA2_256, data).unwrap()
    }

    #[test]
    fn a_hold_keeps_until_its_last_clone_is_dropped() {
        let (holds, one, two) = (Holds::default(), hash(b"1"), hash(b"2"));
        let hold = holds.start();
        block_on(hold.keep([&one].into_iter())).unwrap();
        assert_eq!(holds.delete([&two, &one].into_iter()).unwrap_err(), 1);
        let clone = hold.clone();
        drop(hold);
        assert!(holds.delete([&one].into_iter()).is_err());
        drop(clone);
        assert!(holds.delete([&one].into_iter()).is_ok());
        assert!(holds.lock().held.is_empty() && holds.lock().deleting.is_empty());
    }

    /// Whoever keeps a block while garbage is chosen either is seen, or waits until it is gone.
    #[test]
    fn what_is_kept_while_it_is_chosen_stays_or_is_waited_for() {
        let all: Vec<Multihash> = (0..3000_u32).map(|n| hash(&n.to_le_bytes())).collect();
        for round in 0..200 {
            let holds = Holds::default();
            let collection = holds.collect(Some(3000)).unwrap();
            let (begin, is_gone) = (Barrier::new(2), AtomicBool::new(false));
            let (is_chosen, saw_it_gone) = thread::scope(|scope| {
                let collecting = scope.spawn(|| {
                    begin.wait();
                    let choice = block_on(collection.delete(&all, false)).unwrap();
                    let (chosen, deletion) = choice.unwrap_or_else(|_| panic!("no roots"));
                    is_gone.store(true, Ordering::SeqCst);
                    drop(deletion);
                    chosen[0]
                });
                let hold = holds.start();
                begin.wait();
                // At some moment of the choosing.
                (0..round * 40).for_each(|_| thread::yield_now());
                block_on(hold.keep(all[..1].iter())).unwrap();
                let saw_it_gone = is_gone.load(Ordering::SeqCst);
                (collecting.join().unwrap(), saw_it_gone)
            });
            assert!(!is_chosen || saw_it_gone, "it was kept, and is deleted");
        }
    }

    #[test]
    fn keeping_waits_for_a_deletion_that_has_begun() {
        let (holds, one, two) = (Holds::default(), hash(b"1"), hash(b"2"));
        let first = holds.delete([&one, &two].into_iter()).unwrap();
        let second = holds.delete([&one].into_iter()).unwrap();
        let hold = holds.start();
        let all = [one, two];
        let mut keep = hold.keep(all.iter()).boxed();
        assert!((&mut keep).now_or_never().is_none());
        drop(first);
        assert!((&mut keep).now_or_never().is_none());
        drop(second);
        assert!(keep.now_or_never().is_some());
        assert!(holds.delete([&one].into_iter()).is_err());
    }
}
