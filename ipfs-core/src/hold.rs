//! Holds: what may not be deleted yet.

mod touched;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_channel::oneshot;
use ipfs_traits::{Cid, Multihash};

use self::touched::Touched;
use crate::reach::{Follow, Item};

/// Keeps blocks from being deleted, until it and all its clones are dropped.
///
/// What is put or read under it ([`Node::under`](crate::Node::under)) is kept, whether it is new or
/// was there already. It costs some 16 bytes of memory a block. It is no pin: it ends with the
/// process at the latest.
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
        let mut state = self.holds.lock();
        let Some(held) = state.held.remove(&self.id) else { return };
        // What was held while garbage is collected is kept until that ends.
        if let Some(touched) = &mut state.touched {
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
}

/// The first bytes of a digest: blocks that share them are kept together, which does no harm.
type Print = u64;

fn print(hash: &Multihash) -> Print {
    let mut first = [0; 8];
    let digest = hash.digest();
    let length = digest.len().min(8);
    first[..length].copy_from_slice(&digest[..length]);
    Print::from_le_bytes(first)
}

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
    touched: Option<Touched>,
    collections: u64,
    /// What is being deleted now, and by how many.
    deleting: HashMap<Print, usize>,
    /// Those that wait until something is deleted.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut state = self.lock();
        let prints: Vec<Print> = hashes.map(print).collect();
        match prints.iter().position(|print| state.is_held(*print)) {
            Some(place) => Err(place),
            None => Ok(self.begin(&mut state, prints)),
        }
    }

    fn begin(&self, state: &mut State, prints: Vec<Print>) -> Deletion {
        for print in &prints {
            *state.deleting.entry(*print).or_default() += 1;
        }
        self.0.deletions.fetch_add(1, Ordering::SeqCst);
        Deletion { holds: self.clone(), prints }
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
        KeptRoot { id, holds: self.clone() }
    }

    /// The roots that are kept now.
    pub(crate) fn roots(&self) -> Vec<(Cid, Follow)> {
        self.lock().roots.values().copied().collect()
    }

    /// Begins a collection of garbage among so many blocks: from now on all that is written or asked
    /// for is noted. `None` while another one runs.
    pub(crate) fn collect(&self, blocks: Option<u64>) -> Option<Collection> {
        let mut state = self.lock();
        if state.touched.is_some() {
            return None;
        }
        state.touched = Some(Touched::for_blocks(blocks));
        state.collections += 1;
        self.0.collection.store(state.collections, Ordering::SeqCst);
        Some(Collection { holds: self.clone() })
    }

    /// Notes that these were written or are asked for, if a collection runs, and waits for deletions
    /// of them that have begun. Gives the number of the collection.
    pub(crate) async fn touch<'a>(
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
            running = state.touched.as_mut().map(|touched| {
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
                if !prints.iter().any(|print| state.deleting.contains_key(print)) {
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
}

/// Keeps a root with all below it that is here, until it is dropped.
pub(crate) struct KeptRoot {
    id: u64,
    holds: Holds,
}

impl fmt::Debug for KeptRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRoot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for KeptRoot {
    fn drop(&mut self) {
        self.holds.lock().roots.remove(&self.id);
    }
}

/// A collection of garbage that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Collection {
    holds: Holds,
}

impl Collection {
    /// Begins to delete those of these that are not held, and were neither written nor asked for
    /// since the collection began; says which ones these are.
    ///
    /// # Errors
    ///
    /// The roots that came since the last time: what is below them has to be looked at first.
    pub(crate) fn delete<'a>(
        &self,
        hashes: impl Iterator<Item = &'a Multihash>,
    ) -> Result<(Vec<bool>, Deletion), Vec<Item>> {
        let mut state = self.holds.lock();
        if !state.new_roots.is_empty() {
            return Err(std::mem::take(&mut state.new_roots));
        }
        let mut free = Vec::new();
        let chosen: Vec<bool> = hashes
            .map(print)
            .map(|print| {
                let is_touched = state.touched.as_ref().is_none_or(|all| all.contains(print));
                let is_free = !is_touched && !state.is_held(print);
                if is_free {
                    free.push(print);
                }
                is_free
            })
            .collect();
        let deletion = self.holds.begin(&mut state, free);
        Ok((chosen, deletion))
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.holds.0.collection.store(0, Ordering::SeqCst);
        let mut state = self.holds.lock();
        state.touched = None;
        state.new_roots = Vec::new();
    }
}

impl Hold {
    /// Keeps these from now on, and waits for deletions of them that have begun: what is put or
    /// found afterwards stays.
    pub(crate) async fn keep<'a>(&self, hashes: impl Iterator<Item = &'a Multihash>) {
        let prints: Vec<Print> = hashes.map(print).collect();
        let keep = |state: &mut State, _| {
            if let Some(held) = state.held.get_mut(&self.0.id) {
                held.extend(&prints);
            }
        };
        self.0.holds.settle(&prints, keep).await;
    }
}

/// A deletion under way; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Deletion {
    holds: Holds,
    prints: Vec<Print>,
}

impl Drop for Deletion {
    fn drop(&mut self) {
        let mut state = self.holds.lock();
        self.holds.0.deletions.fetch_sub(1, Ordering::SeqCst);
        for print in &self.prints {
            if let Some(count) = state.deleting.get_mut(print) {
                *count -= 1;
                if *count == 0 {
                    state.deleting.remove(print);
                }
            }
        }
        // Those that wait for another one look again, and wait again.
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
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
        block_on(hold.keep([&one].into_iter()));
        assert_eq!(holds.delete([&two, &one].into_iter()).unwrap_err(), 1);
        let clone = hold.clone();
        drop(hold);
        assert!(holds.delete([&one].into_iter()).is_err());
        drop(clone);
        assert!(holds.delete([&one].into_iter()).is_ok());
        assert!(holds.lock().held.is_empty() && holds.lock().deleting.is_empty());
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
