//! Pins: what a node keeps for good.

mod add;
mod find;
mod record;
mod temporary;
mod verify;

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use ipfs_traits::{Batch, Cid, Error, Result};

pub(crate) use self::record::{of_block, scan};
pub use self::{
    add::AddPin,
    find::{Indirect, PinnedBy},
    temporary::TemporaryPin,
    verify::{Verified, VerifyPins},
};
use crate::{Follow, IntoPath, Node, NodeEvent, keeper::Keeper, reach::Item};

/// A pin: a block, or a DAG, that stays until the pin is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// What is pinned.
    pub cid: Cid,
    /// The block alone, or all below it.
    pub mode: PinMode,
    /// What the application calls it, of at most [`Pins::MAX_NAME`] bytes. Several pins may have one
    /// name.
    pub name: Option<String>,
    /// What the application says of it, at most [`Pins::MAX_METADATA`] bytes of keys and values.
    pub metadata: BTreeMap<String, String>,
    /// When it was made, or made anew; in whole seconds.
    pub created: SystemTime,
}

/// What a pin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PinMode {
    /// The block alone.
    Direct,
    /// The block and all below it, along these links.
    Recursive(Follow),
}

impl Pin {
    /// What a walk over all that it keeps begins with, if it keeps more than the block.
    pub(crate) fn root(&self) -> Option<Item> {
        match self.mode {
            PinMode::Direct => None,
            PinMode::Recursive(follow) => Some(Item { cid: self.cid, follow }),
        }
    }

    /// Whether it keeps all below the block.
    pub const fn is_recursive(&self) -> bool {
        matches!(self.mode, PinMode::Recursive(_))
    }
}

/// Pins: see [`Node::pins`].
///
/// A recursive pin is complete when it is made: all blocks that it keeps are here, and durable. No
/// list of them is kept: what is below several pins costs nothing more. One CID has one pin at most.
///
/// ```
/// # use futures::TryStreamExt;
/// # use ipfs_core::{Error, Node};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let node = Node::builder().offline().spawn().await?;
/// let added = node.unixfs().add_bytes("hello world").await?;
/// node.pins().add(&added.cid).name("greeting").await?;
///
/// let pins: Vec<_> = node.pins().named("greeting").try_collect().await?;
/// assert_eq!(pins[0].cid, added.cid);
/// let refused = node.blocks().delete(&added.cid).await;
/// drop(added.hold);
/// assert!(matches!(node.blocks().delete(&added.cid).await, Err(Error::Pinned { .. })));
///
/// node.pins().remove(&added.cid).await?;
/// node.blocks().delete(&added.cid).await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Pins {
    node: Node,
}

impl Pins {
    /// Bytes of a name at the most: what Kubo and pinning services take.
    pub const MAX_NAME: usize = 255;

    /// Bytes of all keys and values of metadata at the most, so that many pins can be listed at once.
    pub const MAX_METADATA: usize = 4096;

    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    fn keeper(&self) -> &Arc<Keeper> {
        self.node.keeper()
    }

    /// Pins what a path leads to, with all below it, unless the [`AddPin`] is told otherwise.
    /// Nothing happens before it is awaited or started.
    pub fn add(&self, path: impl IntoPath) -> AddPin {
        AddPin::new(self.clone(), path.into_path())
    }

    /// Moves a recursive pin from one root to another, with its name and metadata: the new one is
    /// pinned first, and the old one is then dropped in the same step.
    ///
    /// # Errors
    ///
    /// As [`AddPin`]; [`Error::NotPinned`] when the old one is not, or no longer when the new one is
    /// whole. The old one stays then.
    pub fn update(&self, old: &Cid, path: impl IntoPath) -> AddPin {
        self.add(path).replacing(*old)
    }

    /// The pin of a CID itself, if it has one.
    ///
    /// # Errors
    ///
    /// What the datastore says.
    pub async fn get(&self, cid: &Cid) -> Result<Option<Pin>> {
        record::get(&*self.keeper().datastore, cid).await
    }

    /// Removes the pin of a CID. What it kept stays until garbage is collected.
    ///
    /// # Errors
    ///
    /// [`Error::NotPinned`] where the CID has none of its own; what the datastore says.
    pub async fn remove(&self, cid: &Cid) -> Result<()> {
        let datastore = &self.keeper().datastore;
        loop {
            let key = record::key(cid);
            let Some(found) = datastore.get(&key).await? else {
                return Err(Error::NotPinned(*cid));
            };
            let removal = Batch::new().expect(key.clone(), Some(found)).delete(key);
            if datastore.commit(removal).await? {
                self.node.emit(NodeEvent::Unpinned { root: *cid });
                return Ok(());
            }
        }
    }

    /// All pins, direct and recursive, in no particular order; as they were when the first was asked
    /// for.
    ///
    /// An item may be an error, which ends the stream: a listing that ends without one is whole.
    pub fn list(&self) -> BoxStream<'static, Result<Pin>> {
        let pages = scan(self.keeper().datastore.clone());
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten().boxed()
    }

    /// The pins of a name.
    pub fn named(&self, name: impl Into<String>) -> BoxStream<'static, Result<Pin>> {
        let name = Some(name.into());
        self.list().try_filter(move |pin| future::ready(pin.name == name)).boxed()
    }

    /// Keeps a block with all below it that is here, or comes, as long as the handle lives: for what
    /// is not whole, or not decided yet. It costs nothing for each block, and ends with the process.
    /// Other nodes that write to the store know of it before the next pin is made, or the next block
    /// kept by a hold.
    pub fn temporary(&self, cid: &Cid) -> TemporaryPin {
        self.temporary_with(cid, Follow::All)
    }

    /// The same, along some of the links.
    pub fn temporary_with(&self, cid: &Cid, follow: Follow) -> TemporaryPin {
        TemporaryPin::new(*cid, self.keeper().holds.keep_root(*cid, follow))
    }
}
