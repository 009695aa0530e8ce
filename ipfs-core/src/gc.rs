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
/// busy, so that others are left to those. A call that asks for a
/// block waits for the deletion of just this one, if that has begun. Where a pin is not whole, or
/// what is below it cannot be understood, nobody knows what else it keeps: then nothing is deleted.
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
/// store that others write to; what the store and the datastore say.
///
/// # Cancel safety
///
/// Dropping it ends it after what is being deleted. What was deleted by then was garbage; the next
/// collection deletes the rest. So it is after a crash.
///
/// # Memory
///
/// Some 40 MB at the most, and 1.5 bytes for each block that is kept, where the node has a data
/// directory for the rest; otherwise 20 to 40 bytes for each of them.
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
        if store.shared() {
            return Err(Error::unsupported("collecting garbage in a store that others write to"));
        }
        let blocks = store.usage().await?.and_then(|usage| usage.blocks);
        let collection = keeper.holds.collect(blocks);
        let collection =
            collection.ok_or_else(|| Error::InUse("the collection of garbage".into()))?;
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
