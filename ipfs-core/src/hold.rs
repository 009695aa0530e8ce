//! Holds: what may not be deleted yet.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_channel::oneshot;
use ipfs_traits::Multihash;

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
        self.holds.lock().held.remove(&self.id);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.holds.lock().held.get(&self.0.id).map_or(0, HashSet::len);
        f.debug_struct("Hold").field("blocks", &held).finish()
    }
}

/// All the holds of a node. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Mutex<State>>);

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
    /// What is being deleted now, and by how many.
    deleting: HashMap<Print, usize>,
    /// Those that wait until something is deleted.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let held = |print| state.held.values().any(|hold| hold.contains(print));
        if let Some(place) = prints.iter().position(held) {
            return Err(place);
        }
        for print in &prints {
            *state.deleting.entry(*print).or_default() += 1;
        }
        Ok(Deletion { holds: self.clone(), prints })
    }
}

impl Hold {
    /// Keeps these from now on, and waits for deletions of them that have begun: what is put or
    /// found afterwards stays.
    pub(crate) async fn keep<'a>(&self, hashes: impl Iterator<Item = &'a Multihash>) {
        let prints: Vec<Print> = hashes.map(print).collect();
        loop {
            let deleted = {
                let mut state = self.0.holds.lock();
                if let Some(held) = state.held.get_mut(&self.0.id) {
                    held.extend(&prints);
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

/// A deletion under way; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Deletion {
    holds: Holds,
    prints: Vec<Print>,
}

impl Drop for Deletion {
    fn drop(&mut self) {
        let mut state = self.holds.lock();
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
