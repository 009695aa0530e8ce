//! What a node keeps: how much it is, whether it is whole, and what it takes on disk.

mod damage;
mod look;
mod stat;
mod verify;

use ipfs_traits::{Blockstore, Result, Usage, work::Work};

pub(crate) use self::damage::Damage;
pub use self::{
    stat::{FolderStat, RepoStat},
    verify::{Fault, Faults, Mend, VerifiedBlocks},
};
use crate::{Node, data_dir};

/// What a node keeps: see [`Node::repo`].
///
/// ```
/// # use ipfs_core::{Error, Mend, Node};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// let node = Node::builder().data_dir(folder.path()).offline().spawn().await?;
/// node.unixfs().add_bytes("hello world").await?;
///
/// let stat = node.repo().stat().await?;
/// assert_eq!(stat.usage.expect("this store counts").bytes, 11);
/// assert_eq!(stat.folder.expect("it has one").version, 1);
///
/// let verified = node.repo().verify(Mend::No).await?;
/// assert_eq!((verified.blocks, verified.damaged.count), (1, 0));
/// # node.close().await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Repo {
    node: Node,
}

impl Repo {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    /// What is kept, and what it takes on disk.
    ///
    /// It looks at the size of every file in the data directory: some thousands in a pack store, and
    /// one for each block in a flatfs. [`usage`](Self::usage) is cheap.
    ///
    /// # Errors
    ///
    /// What the store says, and [`Error::Component`](crate::Error::Component) with what the disk
    /// says.
    pub async fn stat(&self) -> Result<RepoStat> {
        stat::stat(&self.node).await
    }

    /// What the store holds, as far as it knows.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn usage(&self) -> Result<Option<Usage>> {
        self.node.usage().await
    }

    /// The version of the data directory, if the node has one: that of this software, for an older
    /// one was migrated when it was opened ([`Builder::migrate`](crate::Builder::migrate)).
    pub fn version(&self) -> Option<u64> {
        self.node.data_dir().map(|_| data_dir::VERSION)
    }

    /// Reads and hashes every block of the store, on as many threads as there are cores, and says
    /// which ones are damaged; these it leaves, deletes, or fetches again. Blocks that come
    /// meanwhile may be left out.
    ///
    /// Only what is known to be damaged is ever deleted, and never what is whole or could not be
    /// checked. Whether it is held or pinned makes no difference: its bytes are worth nothing, and as
    /// long as they are there no put and no fetch brings better ones. Of what is held or pinned one
    /// wants to have it again, so [`Mend::Fetch`] is what to use where others have it; what is
    /// deleted and not had again is fetched by whatever reads it next.
    ///
    /// Dropping the work ends it. What was mended by then stays so.
    ///
    /// # Errors
    ///
    /// What the store says to a listing and a flush, and [`Error::Closed`](crate::Error::Closed).
    /// That a block is damaged, cannot be read or not be had is no error of the work.
    ///
    /// # Memory
    ///
    /// For each core 16 MiB of blocks, and one block more; of what is wrong the first
    /// [`Faults::MAX`] are named and the others counted.
    pub fn verify(&self, mend: Mend) -> Work<VerifiedBlocks> {
        verify::verify(self.node.clone(), mend)
    }

    /// Gives back to the disk what deletes have freed, where the store has to be told.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn compact(&self) -> Result<()> {
        self.node.guarded().compact().await
    }

    /// Returns when all that was put or deleted before is durable.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn flush(&self) -> Result<()> {
        self.node.guarded().flush().await
    }
}
