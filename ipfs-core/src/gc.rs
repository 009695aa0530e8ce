//! Garbage collection: what nothing keeps goes, while the node goes on.

mod mark;
mod policy;
mod sweep;

use ipfs_traits::{
    Batch, Error, Result,
    work::{Meter, Work},
};

pub use self::policy::CollectWhen;
use self::{mark::mark, sweep::Sweep};
use crate::{Node, keeper::Keeper};

/// Garbage collection: see [`Node::gc`].
///
/// A collection deletes all blocks but those that
/// - are pinned, or below a recursive pin;
/// - are held ([`Hold`](crate::Hold)), or below a [`TemporaryPin`](crate::TemporaryPin);
/// - are below the root of the mutable tree, or what the node has published under a name, as far as
///   that is here;
/// - were written, or asked for by anyone, since it began.
///
/// Nothing waits for it: the node adds, fetches, pins and reads meanwhile, and it keeps one processor
/// busy, which it gives up for whatever else is to be done. Only a call that asks for a block whose
/// deletion has begun waits for that, and for some two thousand others that go with it. Where a pin
/// is not whole, or what is below it cannot be understood, nobody knows what else it keeps: then
/// nothing is deleted.
///
/// # Several nodes, one store
///
/// In a store that others write to ([`Blockstore::shared`](ipfs_traits::Blockstore::shared)) garbage
/// is collected only if the nodes share their datastore too
/// ([`Datastore::shared`](ipfs_traits::Datastore::shared)), and all that write to the store do so.
/// Then each tells the others there what it holds, one collects at a time, and it keeps all that is
/// pinned, held, written or asked for by any of them. What a node holds counts for two minutes after
/// it was last heard of, and half a minute more, for clocks may be so far apart. When a node was away
/// for longer, and another one has collected meanwhile, what is written under its old holds gives
/// [`Error::TimedOut`].
///
/// It costs a commit of the datastore for each batch of blocks that is held, of which those of one
/// moment share one: with 8 bytes for each block, and up to 4 kB for each hold that are written again.
/// While nobody collects, reading costs a look into the datastore for each batch; meanwhile also a
/// commit for each batch with blocks that are here and were not asked for before. A call that asks
/// for a block that another node deletes waits for the batch of some thousand blocks.
///
/// ```
/// # use ipfs_core::{Error, Node};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let node = Node::builder().offline().spawn().await?;
/// // What was added is held only as long as the answer lives.
/// let kept = node.unixfs().add_bytes("kept").await?.cid;
/// node.pins().add(kept).await?;
/// let gone = node.unixfs().add_bytes("gone").await?.cid;
///
/// let collected = node.gc().collect().await?;
/// assert_eq!((collected.kept_blocks, collected.deleted_blocks), (1, 1));
/// assert!(node.blocks().has(&kept).await? && !node.blocks().has(&gone).await?);
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Gc {
    node: Node,
}

/// A collection of garbage that is to be made: see [`Gc::collect`]. It is done when it is awaited, or
/// by the [`Work`] that it is [started](Self::start) as: the blocks of its progress are those that
/// were gone through, marking and then deleting; the bytes are those of deleted blocks.
///
/// # Errors
///
/// [`Error::Incomplete`] when a pin is not whole or cannot be understood, naming the blocks, before
/// anything is deleted; [`Error::InUse`] while another collection runs; [`Error::Unsupported`] in a
/// store that others write to, if they do not share the datastore; [`Error::TimedOut`] when the lease
/// of two minutes that it is collected under could not be renewed, and then nothing more is deleted;
/// what the store and the datastore say.
///
/// # Cancel safety
///
/// Dropping it ends it after what is being deleted. What was deleted by then was garbage; the next
/// collection deletes the rest. So it is after a crash.
///
/// # Memory
///
/// Some 40 MB at the most, and 1.5 bytes for each block that is kept, where the node has a data
/// directory for the rest; otherwise 20 to 40 bytes for each of them. In a store that others write to, also
/// some 16 bytes for each block that they hold.
#[derive(Clone, Debug)]
#[must_use = "nothing is collected before it is started or awaited"]
pub struct Collect {
    node: Node,
    is_dry: bool,
    compacts: bool,
}

/// What a collection has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Blocks that stay, for whatever reason.
    pub kept_blocks: u64,
    /// Bytes of them.
    pub kept_bytes: u64,
    /// Blocks that were deleted, or would have been, in a dry run.
    pub deleted_blocks: u64,
    /// Bytes of them.
    pub deleted_bytes: u64,
}

impl Gc {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    /// Collects the garbage, and gives the space back.
    pub fn collect(&self) -> Collect {
        Collect { node: self.node.clone(), is_dry: false, compacts: true }
    }

    /// Whether a collection was begun that did not come to its end, in this process or one before.
    ///
    /// # Errors
    ///
    /// What the datastore says.
    pub async fn is_unfinished(&self) -> Result<bool> {
        is_unfinished(self.node.keeper()).await
    }
}

/// Stands in the datastore as long as a collection runs.
const UNDER_WAY: &str = "gc/under-way";

async fn is_unfinished(keeper: &Keeper) -> Result<bool> {
    Ok(keeper.datastore.get(UNDER_WAY.as_bytes()).await?.is_some())
}

impl Collect {
    /// Only says what would be deleted.
    pub const fn dry_run(mut self) -> Self {
        self.is_dry = true;
        self
    }

    /// Leaves the space of what was deleted to the store, which gives it back when it thinks fit.
    pub const fn without_compaction(mut self) -> Self {
        self.compacts = false;
        self
    }

    /// The work, which goes on as long as it is polled.
    pub fn start(self) -> Work<Collected> {
        let meter = Meter::default();
        Work::new(meter.clone(), self.run(meter))
    }

    async fn run(self, meter: Meter) -> Result<Collected> {
        let keeper = self.node.keeper().clone();
        let store = &keeper.site.store;
        if store.shared() && keeper.holds.lease().is_none() {
            return Err(Error::unsupported(
                "collecting garbage in a store of several nodes that have each a datastore of its own",
            ));
        }
        let blocks = store.usage().await?.and_then(|usage| usage.blocks);
        let collection = keeper.holds.collect(blocks);
        let mut collection =
            collection.ok_or_else(|| Error::InUse("the collection of garbage".into()))?;
        collection.take_lease().await?;
        let marks = mark(&keeper, &meter).await?;
        marks.settle().await?;
        if self.is_dry {
            let sweep = Sweep::new(&self.node, marks, collection, meter);
            return sweep.count().await;
        }
        keeper.datastore.commit(Batch::new().put(UNDER_WAY, "")).await?;
        let sweep = Sweep::new(&self.node, marks, collection, meter);
        let collected = sweep.delete().await?;
        store.flush().await?;
        if self.compacts {
            store.compact().await?;
        }
        keeper.datastore.commit(Batch::new().delete(UNDER_WAY)).await?;
        Ok(collected)
    }
}

impl IntoFuture for Collect {
    type Output = Result<Collected>;
    type IntoFuture = Work<Collected>;

    fn into_future(self) -> Work<Collected> {
        self.start()
    }
}
