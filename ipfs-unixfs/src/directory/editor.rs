//! A directory that is changed an entry at a time.

use std::{ops::ControlFlow, sync::Arc};

#[cfg(doc)]
use ipfs_traits::Error;
use ipfs_traits::{Block, BlockSource, Blockstore, Cid, HashTable, Result};

use super::{Directory, Loads, Target, state::Form};
use crate::{
    Name, Node, Params, attributes::Attributes, child::stored, data::Mtime, hamt::NameHash,
};

/// A directory that is changed an entry at a time: a value in memory, until it is
/// [written](Self::write).
///
/// A directory that has become too large for one block is spread over many, and gathered again when
/// it fits, at exactly the sizes that [`Params`] say: what it is depends on its entries alone, not
/// on the way they came. Of a directory over many blocks a change loads and writes the blocks on the
/// way of the name's hash, one for each level. To see whether it would fit one block again, a
/// removal must also look at other entries; that is done once for about as many removals as one
/// block has entries.
///
/// ```
/// # use std::sync::Arc;
/// # use ipfs_traits::{memory::MemoryStore, HashTable, Local, VirtualRuntime};
/// use ipfs_unixfs::{DirectoryEditor, Importer, Params, Target};
///
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// let file = Importer::new(store.clone(), Arc::new(runtime.clone())).bytes("hello").await?;
///
/// let source = Arc::new(Local(store.clone()));
/// let mut directory = DirectoryEditor::new(source, &Params::default(), &HashTable::standard());
/// let target = Target { cid: file.cid, dag_size: file.dag_size };
/// directory.insert("hello.txt", target).await?;
/// let written = directory.write(&store).await?;
/// assert_eq!(
///     written.cid.to_string(),
///     "bafybeifvbzj3rk2unsdhbq6wisbcblekwf2pjpgjmppv6ejplsyyhdn4ym",
/// );
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct DirectoryEditor {
    source: Arc<dyn BlockSource>,
    directory: Directory,
}

impl DirectoryEditor {
    /// A directory without entries, over what `source` has.
    pub fn new(source: Arc<dyn BlockSource>, params: &Params, hashes: &HashTable) -> Self {
        Self { source, directory: Directory::new(params, hashes) }
    }

    /// The directory at `cid`, whose first block is fetched and no other.
    ///
    /// New blocks get CIDs as `params` say, whatever that of the directory is; see
    /// [`seal_like`](Self::seal_like).
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory; [`Error::Malformed`], also for one that has
    /// two entries of one name; what the source says.
    pub async fn open(
        source: Arc<dyn BlockSource>,
        cid: &Cid,
        params: &Params,
        hashes: &HashTable,
    ) -> Result<Self> {
        let node = Node::parse(&source.get(cid).await?)?;
        Self::of(source, node, params, hashes)
    }

    /// The same for a first block that is here.
    pub(crate) fn of(
        source: Arc<dyn BlockSource>,
        node: Node,
        params: &Params,
        hashes: &HashTable,
    ) -> Result<Self> {
        Ok(Self { source, directory: Directory::of(node, params, hashes)? })
    }

    /// From now on new blocks get CIDs of the version and hash function that `cid` has, which is that
    /// of the directory as a rule. Instead of an identity CID they get such as long as they fit
    /// there, and beyond that what the parameters say.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHash`] for a hash function that is not in the table, [`Error::Limit`] or
    /// [`Error::Malformed`] for a digest that is too short or too long for its own.
    pub fn seal_like(&mut self, cid: &Cid) -> Result<()> {
        self.directory.seal_like(cid)
    }

    /// Permissions and other bits of the mode.
    pub const fn mode(&self) -> Option<u32> {
        self.directory.attributes().mode
    }

    /// When it was changed.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.directory.attributes().mtime
    }

    /// Sets the mode and the time of change. They count for the size of a directory in one block,
    /// which the next change of an entry looks at.
    pub fn set_stat(&mut self, mode: Option<u32>, mtime: Option<Mtime>) {
        self.directory.set_attributes(Attributes { mode, mtime });
    }

    /// Where the entry of this name leads.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::Limit`] for blocks that are no directory's; what the source
    /// says.
    pub async fn get(&mut self, name: impl AsRef<[u8]>) -> Result<Option<Target>> {
        let (directory, name) = (&mut self.directory, name.as_ref());
        Loads::until_done(&*self.source, |loads| directory.get(loads, name)).await
    }

    /// Adds an entry, or changes where it leads; gives where it led before.
    ///
    /// # Cancel safety
    ///
    /// A call that fails or is dropped has changed nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name without bytes; otherwise as [`get`](Self::get).
    pub async fn insert(
        &mut self,
        name: impl Into<Name>,
        target: Target,
    ) -> Result<Option<Target>> {
        let (directory, name) = (&mut self.directory, name.into());
        Loads::until_done(&*self.source, |loads| directory.insert(loads, &name, target)).await
    }

    /// Adds many entries, of which the last of a name counts: faster than one after the other, for
    /// it goes along the directory once. All of them are held until then, some 150 bytes each.
    ///
    /// # Cancel safety
    ///
    /// A call that fails or is dropped has added some of them, and none in part.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub async fn extend<N: Into<Name>>(
        &mut self,
        entries: impl IntoIterator<Item = (N, Target)>,
    ) -> Result<()> {
        let hashed = entries.into_iter().map(|(name, target)| {
            let name = name.into();
            (NameHash::of(&name).order(), name, target)
        });
        let mut entries: Vec<_> = hashed.collect();
        // Those of one name stay in their order.
        entries.sort_by_key(|(hash, ..)| *hash);
        for (_, name, target) in entries {
            self.insert(name, target).await?;
        }
        Ok(())
    }

    /// Takes an entry out; gives where it led.
    ///
    /// # Cancel safety
    ///
    /// As [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn remove(&mut self, name: impl AsRef<[u8]>) -> Result<Option<Target>> {
        let (directory, name) = (&mut self.directory, name.as_ref());
        Loads::until_done(&*self.source, |loads| directory.remove(loads, name)).await
    }

    /// Calls `visit` with every entry: by name in a directory of one block, by hash in one of many.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn for_each(&self, mut visit: impl FnMut(&Name, Target) + Send) -> Result<()> {
        match &self.directory.form {
            Form::Basic { entries, .. } => {
                entries.iter().for_each(|(name, target)| visit(name, *target));
                Ok(())
            }
            Form::Sharded { tree, .. } => {
                let mut visit = |name: &[u8], target: Target| {
                    visit(&name.into(), target);
                    ControlFlow::Continue(())
                };
                tree.visit(&*self.source, &mut visit).await.map(drop)
            }
        }
    }

    /// The root, and in `out` the blocks that are to be stored before anything links to it.
    pub(crate) fn seal(&mut self, out: &mut Vec<Block>) -> Result<Target> {
        self.directory.seal(out)
    }

    /// Stores what was changed, and gives the directory's root. It does not flush the store.
    ///
    /// # Cancel safety
    ///
    /// Of a call that fails or is dropped the next one stores all again.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a directory that is to be in one block and has no room there; what the
    /// store says.
    pub async fn write(&mut self, store: &impl Blockstore) -> Result<Target> {
        let mut blocks = Vec::new();
        let target = self.directory.seal(&mut blocks)?;
        store.put_many(&stored(blocks)).await?;
        self.directory.settle(target);
        Ok(target)
    }
}
